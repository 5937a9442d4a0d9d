"""Parameter sheets and namelist templates."""
