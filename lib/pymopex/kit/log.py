"""What a run tells: one block of lines per module on standard output, progress on a terminal."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TypeVar

_T = TypeVar("_T")


_kept: list[list[str]] = []  # where lines are kept, innermost last


def say(text: str = "") -> None:
    """Write a line of the log."""
    print(text, flush=True)
    if _kept:
        _kept[-1].append(text)


@contextmanager
def kept() -> Iterator[list[str]]:
    """Keep the lines that are written meanwhile."""
    lines: list[str] = []
    _kept.append(lines)
    try:
        yield lines
    finally:
        _kept.remove(lines)


def fail(text: str) -> None:
    """Write the lines of a failure; each bears the word that callers search the log for."""
    for line in text.splitlines():
        print(f"Error: {line}", flush=True)


def progress(items: Iterable[_T], total: int, what: str) -> Iterator[_T]:
    """Pass items on; on a terminal show how far the work is."""
    if total < 2 or not sys.stderr.isatty():
        yield from items
        return
    shown = started = time.monotonic()
    for done, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - shown > 0.2:
            left = (now - started) / done * (total - done)
            sys.stderr.write(f"\r  {done} of {total} {what}, {left:.0f} s left \x1b[K")
            sys.stderr.flush()
            shown = now
    sys.stderr.write("\r\x1b[K")
    sys.stderr.flush()


def peak_memory() -> float:
    """Peak resident memory of this process and of its largest child, in megabytes."""
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    unit = 1024 if sys.platform != "darwin" else 1024**2
    return max(own, child) / unit
