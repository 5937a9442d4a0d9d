"""Processes that compile one after another: what one has compiled, those that waited load."""

from __future__ import annotations

import os
from contextlib import suppress
from types import ModuleType
from typing import IO, Any

from pymopex.kit import after_import


def take_turns() -> None:
    """Let this process compile a function that is kept on disk only while no other does, now or when numba is imported.

    Else the workers of a pool would all compile the same at the same time, each with the memory that this takes.
    """
    after_import.change("numba.core.dispatcher", _change)


class _Turn:
    """The turn of this process, a lock on a file beside the compiled code; it ends with the process at the latest."""

    file: IO[str] | None = None

    @classmethod
    def wait(cls, folder: str) -> bool:
        """Wait for the turn; False if it has come already, or nothing can be locked."""
        if cls.file is not None:
            return False
        with suppress(ImportError, OSError):
            import fcntl

            os.makedirs(folder, exist_ok=True)
            file = open(os.path.join(folder, "compiling.lock"), "w", encoding="ascii")  # noqa: SIM115
            fcntl.flock(file, fcntl.LOCK_EX)
            cls.file = file
        return cls.file is not None

    @classmethod
    def end(cls) -> None:
        """Let another process have it."""
        if cls.file is not None:
            cls.file.close()
            cls.file = None


def _change(dispatcher: ModuleType) -> None:
    """Put our functions round those of numba that load and compile."""
    from numba.core.caching import Cache

    load, compile_ = Cache._load_overload, dispatcher.Dispatcher.compile
    if getattr(load, "waits", False):
        return

    def load_or_wait(self: Any, sig: Any, target_context: Any) -> Any:
        found = load(self, sig, target_context)
        if found is None and self._enabled and _Turn.wait(self.cache_path):
            found = load(self, sig, target_context)
        return found

    def compile_and_end(self: Any, sig: Any) -> Any:
        mine = _Turn.file is None
        try:
            return compile_(self, sig)
        finally:
            if mine:
                _Turn.end()

    load_or_wait.waits = True  # type: ignore[attr-defined]
    Cache._load_overload = load_or_wait  # type: ignore[method-assign]
    dispatcher.Dispatcher.compile = compile_and_end
