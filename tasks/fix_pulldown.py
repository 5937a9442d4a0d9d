"""Fix Pull-Down: offsets of the columns of bright sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymopex.kit.mitigation import check_channel, mitigate
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.artifacts import Found, LineSettings


def check(run: Run) -> list[str]:
    """Name frames that are not of IRAC."""
    return check_channel(run, (1, 2, 3, 4))


def run(run: Run) -> None:
    """Write the frames without pull-down and pull-up, under their own names, their list, and ``pulldown.tbl``.

    Notes
    -----
    A column with a pixel of Trigger_DN and more, or one that the status mask calls saturated (bit 13), is
    compared in each row with the median of the nearest columns without such a pixel. Above and below the
    bright pixels a constant is fitted to these differences, with an exponential of the distance where that
    fits better, outliers clipped. Sides without a significant offset, and all other columns, stay as they
    are.
    """
    from pymopex.artifacts import LineSettings

    p = run.params
    how = LineSettings(p.Significance, p.Reach, p.Clear_Radius, p.Model == "exponential")
    mitigate(run, "pulldown", _offsets, how)


def _offsets(data: np.ndarray, bad: np.ndarray, triggers: np.ndarray, how: LineSettings) -> Found:
    from pymopex.artifacts import column_offsets

    return column_offsets(data, bad, triggers, how)
