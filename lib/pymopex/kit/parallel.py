"""Jobs in a process pool, or one after another, with the same result.

A job is a module-level function of one picklable argument; it reads and writes files and gives back little.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from pymopex.kit import log
from pymopex.kit.errors import EXIT_INTERRUPTED, TaskFailed


def processors() -> int:
    """Processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def processes(mode: str | None, count: int | None) -> int:
    """Give the number of processes for ``do_multiprocess`` and ``ncpu_multiprocess``."""
    if mode == "manual":
        return max(1, count or 1)
    return processors() if mode == "on" else 1


class Pool:
    """Runs jobs; the processes are started with the first work and kept until `close`."""

    def __init__(self, count: int = 1):
        self.count = max(1, count)
        self._executor: ProcessPoolExecutor | None = None

    def map(self, job: Callable[[Any], Any], arguments: Sequence[Any], what: str = "jobs") -> list[Any]:
        """Run ``job(argument)`` for each argument; results in the order of the arguments.

        Raises
        ------
        TaskFailed
            If a process was killed. What a job raises is raised here.
        """
        if self.count == 1 or len(arguments) < 2:
            results: Iterable[Any] = map(job, arguments)
        else:
            chunk = max(1, min(16, len(arguments) // (4 * self.count)))
            results = self._start().map(job, arguments, chunksize=chunk)
        try:
            return list(log.progress(results, len(arguments), what))
        except BrokenProcessPool:
            self.close()
            raise TaskFailed(
                f"a process was killed while it worked on {what}, perhaps for lack of memory"
            ) from None

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def _start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            methods = multiprocessing.get_all_start_methods()
            context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
            self._executor = ProcessPoolExecutor(self.count, mp_context=context, initializer=_quiet)
        return self._executor


def _quiet() -> None:
    """Make an interrupted process end without a traceback, after its half-written file is removed."""
    signal.signal(signal.SIGINT, _leave)


def _leave(*_: object) -> None:
    raise SystemExit(EXIT_INTERRUPTED)
