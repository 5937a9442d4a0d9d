"""One run at a time in an output directory: a lock that ends with the processes that hold it."""

from __future__ import annotations

import errno
import json
import os
import shutil
import socket
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from pymopex.kit import log
from pymopex.kit.errors import InputError, TaskFailed
from pymopex.kit.files import reason_of, writer_of

try:
    import fcntl
except ImportError:  # not on this system
    fcntl = None  # type: ignore[assignment]

NAME = "run.lock"
_ENDING = 10.0  # s, for the worker processes of a run whose main process is gone
_UNLOCKED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL)
_held: dict[
    str, tuple[int, bool]
] = {}  # folders that are held, by which process, and whether a run was cut there
_tidied: set[str] = set()  # of these, where nothing half written is left of it
_warned: set[str] = set()


@contextmanager
def hold(folder: str, *, make: bool = True) -> Iterator[bool]:
    """Keep other runs out of a folder; within a process it may be held again.

    Parameters
    ----------
    folder : str
        An output directory.
    make : bool
        False makes nothing: without a lock file nobody is at work there, and the folder is not held.

    Yields
    ------
    bool
        Whether a run was cut there before, and may have left files half written (`remove_unfinished`).

    Raises
    ------
    InputError
        Another run is at work there; the message says which.
    TaskFailed
        The folder cannot be written.

    Notes
    -----
    The lock is that of ``flock``. It is gone with the last process of the run, its workers included, however they
    end; NFS passes it on to other machines where its lock service runs. The file is removed in the end: where
    it is left, a run was cut, and nobody has called `remove_unfinished` since.
    """
    key, path = os.path.realpath(folder), os.path.join(folder, NAME)
    owner, cut = _held.get(key, (0, False))
    if owner == os.getpid():
        yield cut
        return
    descriptor = None
    if fcntl is not None and (make or os.path.exists(path)):
        descriptor, cut = _take(folder, path, make)
    if descriptor is None:
        yield False
        return
    _held[key] = os.getpid(), cut
    try:
        yield cut
    finally:
        if _held.get(key, (0, False))[0] == os.getpid():
            del _held[key]
            if not cut or key in _tidied:
                with suppress(OSError):
                    os.unlink(path)
            _tidied.discard(key)
            with suppress(OSError):
                fcntl.flock(descriptor, fcntl.LOCK_UN)  # workers that still end have it, too
            os.close(descriptor)


def _take(folder: str, path: str, make: bool) -> tuple[int | None, bool]:
    """Lock the file; gives its descriptor (None without a lock), and whether a run before was cut."""
    until = time.monotonic() + _ENDING
    while True:
        try:
            os.makedirs(folder, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except (FileExistsError, NotADirectoryError):
            raise InputError(f"{folder}: cannot be a folder: a file is in the way") from None
        except OSError as problem:
            if not make:
                _ask(folder, path)
                return None, False
            raise TaskFailed(f"{path}: cannot be written: {reason_of(problem) or problem}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as problem:
            holder = _read(descriptor)
            os.close(descriptor)
            if problem.errno in _UNLOCKED:
                with suppress(OSError):
                    os.unlink(path)
                if folder not in _warned:
                    log.say(f"Warning: {folder}: its file system has no locks; start no second run there")
                _warned.add(folder)
                return None, False
            if time.monotonic() > until or not _gone(holder):
                raise InputError(_refusal(folder, holder)) from None
            time.sleep(0.05)
            continue
        if _is(descriptor, path):
            cut = os.fstat(descriptor).st_size > 0
            _write(descriptor)
            return descriptor, cut
        os.close(descriptor)  # the run that had it has just ended, and removed the file


def _ask(folder: str, path: str) -> None:
    """Refuse to go on where another run has a lock that this one may not write."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    except OSError as problem:
        raise TaskFailed(
            f"{path}: cannot be read, and whether another run is at work there is not known: "
            f"{reason_of(problem) or problem}"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError as problem:
        if problem.errno not in _UNLOCKED:
            raise InputError(_refusal(folder, _read(descriptor))) from None
    finally:
        os.close(descriptor)


def _is(descriptor: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def _write(descriptor: int) -> None:
    about = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": time.strftime("%Y-%m-%d %H:%M:%S"),
        "command": " ".join([os.path.basename(sys.argv[0]), *sys.argv[1:]])[:1000],
    }
    with suppress(OSError):  # the lock does not depend on it
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, json.dumps(about).encode(), 0)


def _read(descriptor: int) -> dict[str, Any]:
    try:
        found = json.loads(os.pread(descriptor, 16384, 0))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _gone(holder: dict[str, Any]) -> bool:
    """Tell whether the main process of a run has ended, or has not said yet who it is."""
    if not holder:
        return True
    return holder.get("host") == socket.gethostname() and not _alive(holder.get("pid"))


def _alive(pid: Any) -> bool:
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True


def _refusal(folder: str, holder: dict[str, Any]) -> str:
    about = "another run is at work there"
    if holder:
        about = (
            f"another run is at work there since {holder.get('since')}: process {holder.get('pid')} on "
            f"{holder.get('host')} ({holder.get('command')})"
        )
    return f"{folder}: {about}; wait for its end, or give another OUTPUT_DIR"


def remove_unfinished(output: str, elsewhere: Iterable[str] = ()) -> None:
    """Remove the temporary files and folders that processes which are gone have left.

    Parameters
    ----------
    output : str
        An output directory, with all folders below.
    elsewhere : iterable of str
        Other folders, without those below.
    """
    count = 0
    for folder, below, names in os.walk(output):
        count += _remove_of_gone(folder, [*below, *names])
        below[:] = [name for name in below if not writer_of(name)]
    for folder in elsewhere:
        count += _remove_of_gone(folder, os.listdir(folder))
    _tidied.update({os.path.realpath(output)} & _held.keys())
    if count:
        log.say(f"{count} half-written files of a run that was cut are removed")


def _remove_of_gone(folder: str, names: Iterable[str]) -> int:
    count = 0
    for name in names:
        writer, path = writer_of(name), os.path.join(folder, name)
        if not writer or (writer != os.getpid() and _alive(writer)):
            continue
        with suppress(OSError):
            if os.path.isdir(path) and not os.path.islink(path):
                shutil.rmtree(path, ignore_errors=True)
            else:
                os.unlink(path)
            count += 1
    return count
