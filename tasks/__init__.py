"""One file per module, named after its switch."""
