"""Calibration files that ship with the package, and their index."""
