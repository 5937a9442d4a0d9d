"""Detect MedFilter: co-added tiles, or the one image, minus their background."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.backgrounds import check_window, median_window
from pymopex.kit.checking import refused
from pymopex.kit.images import FatalBits, FrameFiles, read_cards, read_frame, write_image
from pymopex.kit.searched import area_of, searched
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np


def check(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    return check_window(run)


def run(run: Run) -> None:
    """Write ``coadd_Tile_<n>_Image_minback.fits`` for each tile, or ``<base>_minus_median_detect.fits``.

    Notes
    -----
    Pixels of the one image that its masks make unusable are NaN in the product, and so are not searched. The
    background of a tile is measured with a margin of two windows from its neighbours.
    """
    how, stamp, tiles = median_window(run.params), run.stamp(), searched(run)
    margin = 2 * max(how.window_x, how.window_y)
    jobs = [
        (
            area_of(tile, tiles, margin),
            tile.files,
            run.bits,
            run.path("tile_minback", tile=tile.number),
            how,
            stamp,
        )
        for tile in tiles
    ]
    run.keep(*run.map(_filter_tile, jobs, "tiles"))
    run.note(f"{len(jobs)} tiles, windows of {how.window_x} x {how.window_y} pixels")


def _filter_tile(job: Any) -> str:
    import numpy as np
    from pymopex.background import background

    area, files, bits, target, how, stamp = job
    image = area.read(area.paths(lambda tile: tile.files.image))
    bad = ~np.isfinite(image)
    if (masked := _masked(files, bits)) is not None:
        bad |= masked
    with refused(files.image):
        if not bad.all():
            image -= background(image, bad, how)
    np.copyto(image, np.nan, where=bad)
    return write_image(target, area.cut(image), read_cards(files.image), stamp, (files.image,))


def _masked(files: FrameFiles, bits: FatalBits) -> np.ndarray | None:
    """Give the pixels that the masks of the one image make unusable; None if there are no masks."""
    masked = files.dmask or files.pmask or files.rmask
    return read_frame(files, bits, need_sigma=False).bad if masked else None
