"""Shell drivers: one per pipeline, the ordered list of its tasks."""
