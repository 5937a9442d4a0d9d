"""Values of header cards without the library that reads all cards there may be: its import takes longer than a task."""

from __future__ import annotations

import re
from typing import Any

_PLAIN = re.compile(
    r"[A-Z0-9_-]{1,8} *= *(?:'(?P<text>[^']*)'|(?P<number>[+-]?\d+(?P<real>\.\d*(?:E[+-]?\d+)?|E[+-]?\d+)?)"
    r"|(?P<truth>[TF])) *(?:/.*)?$"
)


def value_of(card: str) -> Any:
    """Give the value of a card of 80 characters; one that is not of the plainest kind is read by astropy."""
    plain = _PLAIN.match(card)
    if plain is None:
        from astropy.io import fits

        return fits.Card.fromstring(card).value
    if plain["text"] is not None:
        return plain["text"].rstrip()
    if plain["truth"] is not None:
        return plain["truth"] == "T"
    return int(plain["number"]) if plain["real"] is None else float(plain["number"])
