"""Detect MedFilter: co-added tiles minus their background."""

from __future__ import annotations

from typing import Any

from pymopex.kit.backgrounds import check_window, median_window
from pymopex.kit.checking import refused
from pymopex.kit.images import read_image, write_image
from pymopex.kit.layers import coadd_tiles
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    return check_window(run)


def run(run: Run) -> None:
    """Write ``coadd_Tile_<n>_Image_minback.fits`` for each tile."""
    how, stamp = median_window(run.params), run.stamp()
    jobs = [
        (path, run.path("tile_minback", tile=number), how, stamp)
        for number, (_, path) in enumerate(coadd_tiles(run, "image"), 1)
    ]
    run.keep(*run.map(_filter_tile, jobs, "tiles"))
    run.note(f"{len(jobs)} tiles, windows of {how.window_x} x {how.window_y} pixels")


def _filter_tile(job: Any) -> str:
    import numpy as np
    from pymopex.background import background

    source, target, how, stamp = job
    image, header = read_image(source, dtype="f4")
    bad = ~np.isfinite(image)
    with refused(source):
        minus = image if bad.all() else image - background(image, bad, how).astype("f4")
    return write_image(target, minus, header, stamp, (source,))
