"""Mosaic Box Outlier: deviation of each frame from the pixels of all frames in a box."""

from __future__ import annotations

from typing import Any

from pymopex.kit.deviations import map_deviations
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``interp_<base>_box_outlier.fits``: deviation from the biased median of the box, in sigma."""
    p = run.params
    margin = (p.BOX_X // 2, p.BOX_Y // 2)
    map_deviations(run, "box_outlier", _statistics, (p.BOX_X, p.BOX_Y, p.BOX_MEDIAN_BIAS), margin)


def _statistics(stack: Any, core: Any, reach: Any, settings: tuple) -> Any:
    from pymopex.box_outliers import box_statistics

    box_x, box_y, bias = settings
    return box_statistics(stack, box_x=box_x, box_y=box_y, bias=round(bias), core=core, reach=reach)
