"""Extract MedFilter: frames minus their background, for the fit."""

from __future__ import annotations

from pymopex.kit.backgrounds import check_window
from pymopex.kit.task import Run
from pymopex.tasks.medfilter import filter_frames


def check(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    return check_window(run)


def run(run: Run) -> None:
    """Write ``<base>_minus_median_extract.fits`` for each frame, or for the one image."""
    filter_frames(run, "minus_median_extract")
