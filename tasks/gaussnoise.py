"""Gaussnoise: maps of the background fluctuation."""

from __future__ import annotations

from typing import Any

from pymopex.kit.backgrounds import check_window, median_window
from pymopex.kit.checking import refused
from pymopex.kit.images import read_cards, write_image
from pymopex.kit.searched import area_of, searched
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    return check_window(run)


def run(run: Run) -> None:
    """Write ``coadd_Tile_<n>_Image_noise.fits`` for each background-subtracted tile, or ``<base>_noise.fits``.

    Notes
    -----
    Windows of 22 pixels or more are put round every second pixel or fewer (their side over 11), and the map is
    interpolated between. Of 45 pixels, round every fourth, it differs by 0.6 per cent from that of windows round each
    pixel, whose own scatter is 2.1 per cent.
    """
    map_noises(run, "tile_minback", "tile_noise")


def map_noises(run: Run, source: str, target: str) -> None:
    """Measure the noise of a product of each image that is searched, whole windows at the borders of tiles too."""
    how, stamp, tiles = median_window(run.params), run.stamp(), searched(run)
    jobs = []
    for tile in tiles:
        area = area_of(tile, tiles, max(how.window_x, how.window_y) // 2)
        paths = area.paths(lambda other: run.existing(source, tile=other.number))
        own = run.path(source, tile=tile.number)
        jobs.append((area, paths, own, run.path(target, tile=tile.number), how, stamp))
    run.keep(*run.map(map_noise, jobs, "tiles"))
    run.note(f"{len(jobs)} tiles, windows of {how.window_x} x {how.window_y} pixels")


def map_noise(job: Any) -> str:
    """Write the noise map of one image."""
    import numpy as np
    from pymopex.noise import gaussian_noise

    area, paths, source, target, how, stamp = job
    image = area.read(paths)
    with refused(source):
        known = np.isfinite(image).any()
        noise = gaussian_noise(image, None, how) if known else np.full(image.shape, np.nan, "f4")
    return write_image(target, area.cut(noise), read_cards(source), stamp, (source,))
