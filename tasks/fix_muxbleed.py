"""Fix Muxbleed: trails behind bright sources in IRAC 1 and 2."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.mitigation import check_channel, mitigate
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.artifacts import Found


def check(run: Run) -> list[str]:
    """Name frames of other channels."""
    return check_channel(run, (1, 2))


def run(run: Run) -> None:
    """Write the frames without muxbleed, under their own names, their list, and ``muxbleed.tbl``.

    Notes
    -----
    Behind a pixel of Trigger_DN and more every fourth pixel along the readout is compared with the pixels
    beside it, and the published decay is scaled to the differences (IRAC Instrument Handbook, section
    5.1.11). Trails whose amplitude is not significant stay. The warm mission has none.
    """
    p = run.params
    mitigate(run, "muxbleed", _trails, (p.Significance, p.Length))


def _trails(data: np.ndarray, bad: np.ndarray, triggers: np.ndarray, settings: Any) -> Found:
    from pymopex.readout import trails

    significance, length = settings
    return trails(data, bad, triggers, significance=significance, length=length)
