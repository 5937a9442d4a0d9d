"""Gaussnoise: maps of the background fluctuation."""

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
    """Write ``coadd_Tile_<n>_Image_noise.fits`` for each background-subtracted tile."""
    how, stamp = median_window(run.params), run.stamp()
    numbers = range(1, len(coadd_tiles(run, "image")) + 1)
    jobs = [
        (run.existing("tile_minback", tile=number), run.path("tile_noise", tile=number), how, stamp)
        for number in numbers
    ]
    run.keep(*run.map(map_noise, jobs, "tiles"))
    run.note(f"{len(jobs)} tiles, windows of {how.window_x} x {how.window_y} pixels")


def map_noise(job: Any) -> str:
    """Write the noise map of one image."""
    import numpy as np
    from pymopex.noise import gaussian_noise

    source, target, how, stamp = job
    image, header = read_image(source, dtype="f4")
    bad = ~np.isfinite(image)
    with refused(source):
        noise = np.full(image.shape, np.nan) if bad.all() else gaussian_noise(image, bad, how)
    return write_image(target, noise.astype("f4"), header, stamp, (source,))
