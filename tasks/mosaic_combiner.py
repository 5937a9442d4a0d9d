"""Mosaic Combine: tiles combined to the final mosaics."""

from __future__ import annotations

import os

from pymopex.kit.coadding import MOSAICS, combine, parts
from pymopex.kit.layers import coadd_tiles
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``mosaic.fits``, ``mosaic_unc.fits``, ``mosaic_cov.fits``, ``mosaic_std.fits`` and the others asked for."""
    for part in parts(run):
        if part == "image" or os.path.exists(run.path(f"coadd_{part}", tile=1)):
            run.keep(combine(run, MOSAICS[part], coadd_tiles(run, part)))
