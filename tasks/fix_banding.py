"""Fix Banding: light along the rows and columns of bright sources in IRAC 3 and 4."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.mitigation import check_channel, mitigate
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.artifacts import Found


def check(run: Run) -> list[str]:
    """Name frames of other channels."""
    return check_channel(run, (3, 4))


def run(run: Run) -> None:
    """Write the frames without bands, under their own names, their list, and ``banding.tbl``.

    Notes
    -----
    Rows and columns through pixels of Trigger_DN and more are compared with their neighbours as in Fix Pull-Down; only
    bands that add light are taken off. Their flaring towards the edges of the array is not modelled; the exponential
    may follow it in part.
    """
    from pymopex.artifacts import LineSettings

    p = run.params
    how = LineSettings(p.Significance, p.Reach, p.Clear_Radius, p.Model == "exponential", positive=True)
    mitigate(run, "banding", _bands, (how, p.Directions))


def _bands(data: np.ndarray, bad: np.ndarray, triggers: np.ndarray, settings: Any) -> Found:
    from pymopex.artifacts import Found, column_offsets, row_offsets

    how, directions = settings
    image, count = 0 * data.astype("f8"), 0
    for name, find in (("rows", row_offsets), ("columns", column_offsets)):
        if directions in ("both", name):
            found = find(data - image, bad, triggers, how)
            image, count = image + found.image, count + found.count
    return Found(image, count)
