"""Mosaic Outlier: deviation of each frame from the others at the same position."""

from __future__ import annotations

from typing import Any

from pymopex.kit.deviations import map_deviations
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``interp_<base>_outlier.fits``: (value - centre) / scatter of the stack, in sigma."""
    p = run.params
    map_deviations(run, "outlier", _statistics, (int(p.THRESH_OPTION), p.MIN_PIX_NUM))


def _statistics(stack: Any, core: Any, reach: Any, settings: tuple) -> Any:
    from pymopex.outliers import temporal_statistics

    option, least = settings
    centre, scatter = temporal_statistics(stack, thresh_option=option, min_pix_num=least)
    place = core.within(reach)
    return centre[place], scatter[place]
