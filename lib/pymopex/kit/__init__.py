"""The plumbing: namelists, parameters, tasks, tables, products, parallel work."""
