"""Whether the numerical code is compiled already: numba does so on its first use, and keeps it on disk."""

from __future__ import annotations

import glob
import os

from pymopex.kit import log


def tell_once() -> None:
    """Say that numerical code is going to be compiled, if none is kept yet and nothing has been said."""
    if _Told.done:
        return
    _Told.done = True
    package = os.path.dirname(os.path.dirname(__file__))
    cache = os.environ.get("NUMBA_CACHE_DIR") or package
    if any(glob.iglob(os.path.join(cache, "**", "*.nbi"), recursive=True)):
        return
    where = cache if os.access(cache, os.W_OK) else "the cache of numba in the home directory"
    log.say(f"  numerical code is compiled once on this machine, as it is needed, and kept in {where}")


class _Told:
    done = False
