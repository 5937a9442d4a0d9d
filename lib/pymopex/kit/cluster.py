"""Jobs on the workers of a dask scheduler: the same jobs as in a process pool, on machines that share the files.

The scheduler is that of the environment variable ``DASK_SCHEDULER``: its address, or the path of its scheduler file.
Without it a scheduler and workers are started on this machine. The variable, not the namelist, names it: whoever
answers there runs code in the name of the user.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from pymopex.kit import log
from pymopex.kit.errors import InputError, TaskFailed

if TYPE_CHECKING:
    from distributed import Client

VARIABLE = "DASK_SCHEDULER"
_ONE = threading.Lock()  # a worker process does one job at a time, whatever its number of threads


class Cluster:
    """Runs jobs on a dask cluster, with the methods of `pymopex.kit.parallel.Pool`.

    Parameters
    ----------
    count : int
        Workers to start on this machine, if no scheduler is given.
    scheduler : str or None
        Address or scheduler file; None takes that of the environment, and an empty text none.
    wait : float
        Time for the scheduler to answer, and for a first worker [s].

    Raises
    ------
    InputError
        If dask.distributed is not installed.
    """

    def __init__(self, count: int = 1, scheduler: str | None = None, wait: float = 30):
        try:
            import distributed  # noqa: F401
        except ImportError:
            raise InputError(
                "do_multiprocess = dask: needs dask.distributed; install it with: pip install 'pymopex[dask]'"
            ) from None
        self.scheduler = os.environ.get(VARIABLE, "") if scheduler is None else scheduler
        self._workers, self._wait = max(1, count), wait
        self._client: Client | None = None
        self._local: Any = None

    @property
    def count(self) -> int:
        """Number of worker processes."""
        return max(1, len(self._start().nthreads()))

    def map(self, job: Callable[[Any], Any], arguments: Sequence[Any], what: str = "jobs") -> list[Any]:
        """Run ``job(argument)`` for each argument; results in the order of the arguments.

        A job whose worker is lost is begun again on another.

        Raises
        ------
        TaskFailed
            If the workers of one job are lost again and again. What a job raises is raised here.
        """
        if not arguments:
            return []
        from distributed import KilledWorker

        client = self._start()
        # Each map has keys of its own: the same job with the same argument is to be done again.
        futures = client.map(_in_folder, [(os.getcwd(), job, one) for one in arguments], pure=False)
        try:
            return list(log.progress(_results(futures), len(arguments), what))
        except KilledWorker:
            raise TaskFailed(
                f"workers were lost one after another while they worked on the same of the {what}, "
                "perhaps for lack of memory"
            ) from None
        finally:
            client.cancel(futures, force=True)

    def close(self) -> None:
        """Leave the scheduler; end it and its workers if they were started here."""
        for part in (self._client, self._local):
            if part is not None:
                part.close()
        self._client = self._local = None

    def stop(self) -> None:
        """Leave the scheduler at once: `map` has taken back the jobs that wait."""
        self.close()

    def _start(self) -> Client:
        if self._client is None:
            from distributed import Client, LocalCluster

            try:
                where = {"address": self.scheduler}
                if os.path.isfile(self.scheduler):
                    where = {"scheduler_file": self.scheduler}
                elif not self.scheduler:
                    self._local = LocalCluster(
                        n_workers=self._workers,
                        threads_per_worker=1,
                        processes=True,
                        dashboard_address="127.0.0.1:0",
                    )
                    where = {"address": self._local}
                self._client = Client(**where, timeout=self._wait, set_as_default=False)
                self._client.wait_for_workers(1, timeout=self._wait)
            except (OSError, ValueError, TimeoutError, RuntimeError) as problem:
                self.close()
                if not self.scheduler:
                    raise TaskFailed(f"no workers could be started on this machine: {problem}") from None
                raise InputError(
                    f"{VARIABLE} = {self.scheduler}: no scheduler with a worker answers there ({problem}); "
                    "wanted: an address such as tcp://host:8786, or the path of a scheduler file"
                ) from None
        return self._client


def _results(futures: Sequence[Any]) -> Iterator[Any]:
    for future in futures:
        yield future.result()


def _in_folder(what: tuple[str, Callable[[Any], Any], Any]) -> Any:
    """Do a job in the folder of the run: its paths may be relative to it."""
    folder, job, argument = what
    with _ONE:
        os.chdir(folder)
        return job(argument)
