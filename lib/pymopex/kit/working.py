"""A run at work in its output directory: alone, with enough memory to begin, and with processes that end with it."""

from __future__ import annotations

import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

from pymopex.kit import lock, resume
from pymopex.kit.allocation import reuse_memory
from pymopex.kit.errors import TaskFailed

if TYPE_CHECKING:
    from pymopex.kit.task import Run


@contextmanager
def at_work(run: Run, check_first: Callable[[], None], *, make: bool = True) -> Iterator[None]:
    """Keep other runs out of the output directory while this one is at work, and end its processes in the end.

    Parameters
    ----------
    run : Run
        The namelist at work.
    check_first : callable
        Finds the problems of the run; it makes nothing, not even the output directory.
    make : bool
        Whether the folder is held where nobody is at work: tools that make something else need not.
    """
    output = run.globals.OUTPUT_DIR
    _check_limits()
    reuse_memory()
    try:
        with lock.hold(output, make=False) as left:
            check_first()
            with lock.hold(output, make=make) as found:
                elsewhere = resume.folders_elsewhere(run)
                if left or found:
                    lock.remove_unfinished(output, elsewhere)
                try:
                    yield
                except (KeyboardInterrupt, TaskFailed):
                    run.pool.stop()
                    lock.remove_unfinished(output, elsewhere)  # of killed workers
                    raise
                finally:
                    run.pool.close()
    finally:
        run.pool.close()


@cache
def _check_limits() -> None:
    """Refuse a limit of the address space in which libraries hang for ever, while they are loaded or later."""
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return
    least = _LEAST if limit < _LEAST else max(_LEAST, _used() + 3 * _BLOCK)
    if limit < least:
        raise TaskFailed(
            f"processes may have no more than {limit >> 20} MB of address space here (ulimit -v): "
            f"not enough memory; at least {least >> 20} MB are needed"
        )
    _let_algebra_take_memory()


def _used() -> int:
    """Give the address space that is used once the libraries of linear algebra are loaded; 0 if that is not known."""
    import scipy.linalg  # noqa: F401

    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:  # not on this system
        return 0


def _let_algebra_take_memory() -> None:
    """Let the libraries of numpy and of scipy take a block each, for good: else they ask for ever if there is none.

    Workers have the blocks from their parent.
    """
    import numpy as np
    import scipy.linalg

    np.linalg.cholesky(np.eye(2))
    scipy.linalg.cho_factor(np.eye(2))


_BLOCK = 34 << 20  # bytes, of one library
_LEAST = 500 << 20  # bytes; with 600 MB a small run begins, and ends with a message
