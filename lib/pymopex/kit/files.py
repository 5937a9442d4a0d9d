"""Files that appear whole or not at all, and where calibration files are looked for."""

from __future__ import annotations

import errno
import os
import re
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import astuple, is_dataclass
from functools import lru_cache, wraps
from importlib import resources
from typing import Any, TypeVar

from pymopex.kit.errors import InputError, TaskFailed

_F = TypeVar("_F", bound=Callable[..., Any])


def remembered(maxsize: int) -> Callable[[_F], _F]:
    """Keep results of a function of files as long as the files are what they were.

    Its arguments that are text, or dataclasses with text in them, name the files. A process may serve several runs,
    and a run may make a file anew: the name alone does not tell the content.
    """

    def decorate(function: _F) -> _F:
        @lru_cache(maxsize=maxsize)
        def kept(stamps: tuple, *arguments: Any) -> Any:
            return function(*arguments)

        @wraps(function)
        def call(*arguments: Any) -> Any:
            return kept(tuple(stamps_of(argument) for argument in arguments), *arguments)

        return call  # type: ignore[return-value]

    return decorate


def stamps_of(argument: Any) -> Any:
    """Give what changes with the files that an argument names: itself, or the text in a dataclass."""
    if isinstance(argument, str):
        try:
            found = os.stat(argument)
        except OSError:
            return os.path.abspath(argument)
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    if is_dataclass(argument) and not isinstance(argument, type):
        return tuple(stamps_of(value) for value in astuple(argument) if isinstance(value, str) and value)
    return None


@contextmanager
def whole(path: str) -> Iterator[str]:
    """Give a temporary name in the folder of `path`; on leaving without a failure it becomes `path`.

    Raises
    ------
    InputError
        If a file is in the way of the folder.
    TaskFailed
        If the file cannot be written: no space, no permission, a disk that fails.
    """
    folder, name = os.path.split(path)
    try:
        os.makedirs(folder or ".", exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: cannot be a folder: a file is in the way") from None
    except OSError as problem:
        raise TaskFailed(f"{path}: cannot be written: {reason_of(problem) or problem}") from None
    temporary = os.path.join(folder, unfinished_prefix() + name)
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException as problem:
        with suppress(OSError):
            os.unlink(temporary)
        reason = _not_written(problem, {temporary, path, folder})
        if reason:
            raise TaskFailed(f"{path}: cannot be written: {reason}") from None
        raise


@lru_cache
def _machine() -> str:
    """Give how the names of all temporary files and folders of this machine begin."""
    host = re.sub(r"[^\w.]", "", os.uname().nodename)[:40]
    return f".pymopex-{host}-"


def unfinished_prefix() -> str:
    """Give how the names of temporary files and folders begin: with the machine and the process that writes."""
    return f"{_machine()}{os.getpid()}-"


def writer_of(name: str) -> int:
    """Give the process of this machine that made a temporary file or folder; 0 for any other name."""
    if not name.startswith(_machine()):
        return 0
    number, dash, _ = name.removeprefix(_machine()).partition("-")
    return int(number) if dash and number.isdecimal() else 0


_OF_THE_DISK = {
    errno.ENOSPC: "no space left on the disk",
    errno.EDQUOT: "the quota of the disk is used up",
    errno.EFBIG: "files may not be that large here (ulimit -f)",
    errno.EROFS: "the file system is read-only",
    errno.EIO: "the disk fails",
}
_OF_THE_PLACE = {
    errno.EACCES: "no permission",
    errno.EPERM: "no permission",
    errno.EMFILE: "too many open files (ulimit -n)",
    errno.ENFILE: "too many open files on this machine",
}


def reason_of(problem: BaseException) -> str:
    """Say in words why the system refused to work with a file; empty for what is no such refusal."""
    number = problem.errno if isinstance(problem, OSError) else None
    return {**_OF_THE_DISK, **_OF_THE_PLACE}.get(number or 0, "")


def _not_written(problem: BaseException, paths: set[str]) -> str:
    """Say why a file could not be written, if that is what failed; libraries hide the first cause behind others."""
    cause: BaseException | None = problem
    while cause is not None:
        number = cause.errno if isinstance(cause, OSError) else 0
        if number in _OF_THE_DISK or (number in _OF_THE_PLACE and getattr(cause, "filename", "") in paths):
            return reason_of(cause)
        if isinstance(cause, OSError) and number is None and " written" in str(cause):  # tofile of numpy
            return _OF_THE_DISK[errno.ENOSPC]
        if type(cause).__name__ == "HDF5ExtError":
            return "HDF5 fails, perhaps for lack of space on the disk"
        cause = cause.__cause__ or cause.__context__
    return ""


def read_bytes(path: str) -> bytes:
    """Read a small file that the user names.

    Raises
    ------
    InputError
        If it is missing or no regular file: a pipe would be waited for, a device may have no end.
    """
    try:
        kind = stat.S_IFMT(os.stat(path).st_mode)
        if kind not in (stat.S_IFREG, stat.S_IFDIR):
            raise InputError(
                f"{path}: is {_KINDS.get(kind, 'no file')}; a file that can be read again is needed"
            )
        with open(path, "rb") as file:
            return file.read()
    except (OSError, ValueError) as problem:
        reason = (
            "no such file" if isinstance(problem, FileNotFoundError) else getattr(problem, "strerror", None)
        )
        raise InputError(f"{path}: {reason or problem}") from None


_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}


def write_text(path: str, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def calibration_folder() -> str:
    """Give the user's folder of calibration files: that of ``MOPEX_CAL``, or ``cal`` of the working directory."""
    return os.path.expanduser(os.environ.get("MOPEX_CAL", "")) or "cal"


def calibration_file(name: str, *, relative_to: str = "") -> str:
    """Find a calibration file: as given, beside the file that names it, in ``cal/``, ``MOPEX_CAL``, then the package.

    Raises
    ------
    InputError
        If it is nowhere; the message says where it was looked for.
    """
    places = [name, os.path.join("cal", name), os.path.join(calibration_folder(), name)]
    if relative_to:
        places.insert(1, os.path.join(os.path.dirname(relative_to), name))
    places.append(str(resources.files("pymopex.cal").joinpath(name)))
    for place in places:
        if os.path.isfile(place):
            return place
    raise InputError(f"{name}: no such file, neither here nor in cal/ nor in the package's cal/")
