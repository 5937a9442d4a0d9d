"""Jobs in a process pool, or one after another, with the same result.

A job is a module-level function of one picklable argument; it reads and writes files and gives back little.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any, cast

from pymopex.kit import log, signals, turns
from pymopex.kit.errors import EXIT_INTERRUPTED, EXIT_TERMINATED, TaskFailed

if TYPE_CHECKING:
    from concurrent.futures import ProcessPoolExecutor


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


def make_pool(mode: str | None, count: int | None) -> Any:
    """Give what runs the jobs for ``do_multiprocess`` and ``ncpu_multiprocess``: a `Pool`, or a dask cluster."""
    if mode == "dask":
        from pymopex.kit.cluster import Cluster

        return Cluster(count if count and count > 1 else processors())
    return Pool(processes(mode, count))


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
            return list(log.progress(map(job, arguments), len(arguments), what))
        from concurrent.futures.process import BrokenProcessPool

        chunk = max(
            1, min(16, len(arguments) // (16 * self.count))
        )  # the last ones decide how long others wait
        try:
            results = self._start().map(partial(_work, job), arguments, chunksize=chunk)
            return list(log.progress(results, len(arguments), what))
        except BrokenProcessPool:
            self.stop()  # others may hang, as where a library gets no memory when it is loaded
            raise TaskFailed(
                f"a process was killed while it worked on {what}, perhaps for lack of memory"
            ) from None
        except KeyboardInterrupt:
            self.stop()  # while processes are started, they would wait for ever for a thread that is not there yet
            raise

    def close(self) -> None:
        """End the processes."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)
            self._executor = None

    def stop(self) -> None:
        """End the processes at once: jobs at work remove what they have half written, and no other is begun."""
        import multiprocessing

        executor, self._executor = self._executor, None
        if executor is None:
            return
        processes = multiprocessing.active_children()  # the executor may not know all yet
        for process in processes:
            with suppress(OSError):
                os.kill(cast(int, process.pid), signal.SIGINT)
        executor.shutdown(wait=False, cancel_futures=True)
        until = time.monotonic() + _GRACE
        for process in processes:
            process.join(max(0.0, until - time.monotonic()))
            if process.is_alive():
                threading.excepthook = lambda _: None  # of the thread that misses them
                process.kill()

    def _start(self) -> ProcessPoolExecutor:
        if self._executor is None:
            import multiprocessing
            from concurrent.futures import ProcessPoolExecutor

            methods = multiprocessing.get_all_start_methods()
            context = multiprocessing.get_context("fork" if "fork" in methods else "spawn")
            if "fork" in methods:
                _import_for_all()
            self._executor = ProcessPoolExecutor(
                self.count, mp_context=context, initializer=_listen, initargs=(os.getpid(),)
            )
        return self._executor


def _import_for_all() -> None:
    """Import what nearly all jobs need, once: processes that are forked have it then."""
    for name in ("astropy.io.fits", "astropy.wcs", "numba"):
        import_module(name)


_GRACE = 5.0  # s, for jobs to end when they are told to


class _Worker:
    """State of a process of the pool.

    An interrupt ends the job at work by an exception, so that its half-written file is removed; an idle process must
    live on until the pool is closed, or the others are killed. SIGTERM ends the process, behind the same clean end
    of its job.
    """

    busy = False
    interrupted = False
    terminated = False


def _listen(parent: int) -> None:
    signal.signal(signal.SIGINT, signals.outside_compilers(_interrupt))
    signal.signal(signal.SIGTERM, signals.outside_compilers(_terminate))
    _end_with(parent)
    turns.take_turns()


def _interrupt(_: int) -> None:
    _Worker.interrupted = True
    if _Worker.busy:
        raise SystemExit(EXIT_INTERRUPTED)


def _terminate(_: int) -> None:
    _Worker.interrupted = _Worker.terminated = True
    if not _Worker.busy:
        os._exit(EXIT_TERMINATED)
    raise SystemExit(EXIT_TERMINATED)


def _end_with(parent: int) -> None:
    """See to it that this process ends when its parent is killed: it would wait for work for ever."""
    if sys.platform == "linux":
        import ctypes

        with suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(EXIT_TERMINATED)
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os._exit(EXIT_TERMINATED)

    threading.Thread(target=watch, daemon=True).start()


_PR_SET_PDEATHSIG = 1


def _work(job: Callable[[Any], Any], argument: Any) -> Any:
    if _Worker.interrupted:
        raise SystemExit(EXIT_INTERRUPTED)
    _Worker.busy = True
    try:
        return job(argument)
    finally:
        _Worker.busy = False
        if _Worker.terminated:
            os._exit(EXIT_TERMINATED)
