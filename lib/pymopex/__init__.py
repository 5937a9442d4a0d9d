"""pymopex: mosaics and point-source photometry of Spitzer frames, from legacy MOPEX namelists."""

__version__ = "0.1.0"
