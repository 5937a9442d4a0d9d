"""Mosaic MedFilter: the mosaic minus its background, for a look and for photometry on it."""

from __future__ import annotations

from pymopex.kit.backgrounds import check_window, median_window
from pymopex.kit.checking import refused
from pymopex.kit.images import read_image, write_image
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    return check_window(run)


def run(run: Run) -> None:
    """Write ``mosaic_minback.fits``."""
    import numpy as np
    from pymopex.background import background

    how, source = median_window(run.params), run.existing("mosaic")
    image, header = read_image(source, dtype="f4")
    bad = ~np.isfinite(image)
    with refused(source):
        minus = image if bad.all() else image - background(image, bad, how).astype("f4")
    run.keep(write_image(run.path("mosaic_minback"), minus, header, run.stamp(), (source,)))
    ny, nx = image.shape
    run.note(f"{nx} x {ny} pixels, windows of {how.window_x} x {how.window_y} pixels")
