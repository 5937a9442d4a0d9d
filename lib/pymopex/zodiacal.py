"""The zodiacal light in a frame, by its header."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

ESTIMATE, SKY_DARK = "ZODY_EST", "SKYDRKZB"
"""Keywords of the zodiacal light of the frame, and of the sky dark that was subtracted from it [MJy/sr]."""


def zodiacal_level(header: Mapping[str, Any]) -> float:
    """Give the zodiacal light that a frame still holds.

    Parameters
    ----------
    header : mapping of str to value
        Header of the frame.

    Returns
    -------
    float
        ZODY_EST minus SKYDRKZB, or ZODY_EST alone where there is no SKYDRKZB [MJy/sr].

    Raises
    ------
    ValueError
        ZODY_EST is missing, or one of them is no finite number.

    Notes
    -----
    The sky dark of IRAC is itself an image of the sky, so that its subtraction took some of the light off already.
    The estimate is that of a model; it is no better than some per cent.

    References
    ----------
    MOPEX User's Guide, Overlap, zodiacal subtraction; IRAC Instrument Handbook, section on the sky dark.
    """
    if header.get(ESTIMATE) in (None, ""):
        raise ValueError(f"no {ESTIMATE} in the header")
    dark = header.get(SKY_DARK)
    return _number(ESTIMATE, header[ESTIMATE]) - (0.0 if dark in (None, "") else _number(SKY_DARK, dark))


def _number(key: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{key} = {value} in the header is no number")
    return number
