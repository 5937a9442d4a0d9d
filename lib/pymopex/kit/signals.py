"""Interrupts and the wish to end, as exceptions at places where they do no harm."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from types import FrameType

from pymopex.kit.errors import Terminated

_KINDS: dict[int, type[KeyboardInterrupt]] = {
    signal.SIGINT: KeyboardInterrupt,
    signal.SIGTERM: Terminated,
}
_LATER = 0.05  # s
_COMPILERS = ("numba", "llvmlite")
_received: list[int] = []


@contextmanager
def caught() -> Iterator[None]:
    """Let SIGINT and SIGTERM raise `KeyboardInterrupt` and `Terminated` meanwhile, unless others handle them."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        usual = (signal.SIG_DFL, signal.default_int_handler)
        before = {number: signal.getsignal(number) for number in _KINDS}
        before = {number: handler for number, handler in before.items() if handler in usual}
    _received.clear()
    handler = outside_compilers(partial(_raise, os.getpid()))
    for number in before:
        signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            if signal.getsignal(number) is handler:
                signal.signal(number, old)


def check() -> None:
    """Raise what was received and has got lost, as in a callback of a library."""
    lost = received()
    if lost:
        raise lost


def received() -> KeyboardInterrupt | None:
    """Give what was received last; where classes are made, Python has wrapped it in another exception."""
    return _KINDS[_received[-1]]() if _received else None


def outside_compilers(act: Callable[[int], None]) -> Callable[[int, FrameType | None], None]:
    """Give a handler of signals that acts at once or, while code is compiled, behind that.

    An exception in a callback of the compiler ends the process with a segmentation fault.
    """

    def handler(number: int, frame: FrameType | None) -> None:
        if not _compiling(frame):
            act(number)
            return
        timer = threading.Timer(_LATER, os.kill, (os.getpid(), number))
        timer.daemon = True
        timer.start()

    return handler


def _compiling(frame: FrameType | None) -> bool:
    while frame is not None:
        if str(frame.f_globals.get("__name__", "")).split(".")[0] in _COMPILERS:
            return True
        frame = frame.f_back
    return False


def _raise(owner: int, number: int) -> None:
    if os.getpid() != owner:
        os._exit(128 + number)  # a process that has just been made, and has no work yet
    _received.append(number)
    raise _KINDS[number]
