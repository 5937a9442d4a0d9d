"""Compiled code from its cache without the compiler round it.

Before numba loads a function from its cache it makes itself ready to compile one: it imports all that Python code may
call, some of scipy too, and registers how each of it is typed and made. That takes longer than many a task, and nothing
of it is needed to run code that is compiled already. What is compiled later makes numba ready then.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

from pymopex.kit import after_import

_KNOWN = ("refresh", "_guard_against_spurious_io_errors", "_load_overload")
"""What numba's function calls, in its order; one that does anything else is left as it is."""


def load_without_compiler() -> None:
    """Let numba load cached code at once, now or when it is imported."""
    after_import.change("numba.core.caching", _change)


def _change(caching: ModuleType) -> None:
    """Put our function in the place of numba's."""
    if getattr(caching.Cache.load_overload, "__code__", _load.__code__).co_names == _KNOWN:
        caching.Cache.load_overload = _load


def _load(self: Any, sig: Any, target_context: Any) -> Any:
    """Load a function as numba does, with the run-time system alone made ready: code takes its memory from there."""
    from numba.core.runtime import rtsys

    rtsys.initialize(target_context)
    with self._guard_against_spurious_io_errors():
        return self._load_overload(sig, target_context)
