"""Mosaic Combine: tiles combined to the final mosaics."""

from __future__ import annotations

import os

from pymopex.kit.images import read_header, write_image
from pymopex.kit.layers import coadd_tiles, read_mosaic_part
from pymopex.kit.task import Run

_PRODUCTS = {"mosaic": "image", "mosaic_unc": "unc", "mosaic_cov": "cov", "mosaic_std": "std"}


def run(run: Run) -> None:
    """Write ``mosaic.fits``, ``mosaic_unc.fits``, ``mosaic_cov.fits`` and ``mosaic_std.fits``."""
    p = run.params
    switched = {"unc": p.create_unc_mosaic, "std": p.create_std_mosaic}
    for product, part in _PRODUCTS.items():
        first = run.path(f"coadd_{part}", tile=1)
        if switched.get(part, True) and (os.path.exists(first) or part == "image"):
            run.keep(combine(run, product, part))


def combine(run: Run, product: str, part: str) -> str:
    """Combine one kind of tile to a mosaic; gives its path."""
    from pymopex.geometry import Box

    grid, tiles = run.fiducial(), coadd_tiles(run, part)
    image = read_mosaic_part(tiles, Box(0, 0, grid.naxis1, grid.naxis2))
    header = read_header(tiles[0][1])
    for key in ("MINTOFFX", "MINTOFFY", "HISTORY"):
        header.remove(key, ignore_missing=True, remove_all=True)
    header.update(grid.header())
    header["TOTALBCD"] = (len(run.frames()) if run.globals.IMAGE_STACK_FILE_NAME else 0, "number of frames")
    run.note(f"{product}: {grid.naxis1} x {grid.naxis2} pixels from {len(tiles)} tiles")
    inputs = [path for _, path in tiles[:100]]
    return write_image(run.path(product), image, header, run.stamp(), inputs)
