"""Which frames are short, medium and long, and which short frame goes with which long one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header

if TYPE_CHECKING:
    from astropy.io import fits

_TIMES = ("EXPTIME", "FRAMTIME")


def kinds(paths: Sequence[str]) -> list[str]:
    """Tell short, medium and long frames apart by their headers.

    Raises
    ------
    InputError
        A frame cannot be read or told; the message names it.
    """
    from pymopex.hdr import exposure_kinds

    headers = [read_header(path) for path in paths]
    named = [str(header.get("HDRFRAME", "")) for header in headers]
    try:
        return exposure_kinds(named, [_time(header) for header in headers])
    except ValueError as problem:
        match = re.match(r"frame (\d+): (.*)", str(problem))
        assert match is not None
        raise InputError(f"{paths[int(match[1])]}: {match[2]}") from None


def _time(header: fits.Header) -> float:
    """Give the exposure time [s]; NaN if the header does not tell."""
    for key in _TIMES:
        if isinstance(header.get(key), (int, float)):
            return float(header[key])
    return float("nan")
