"""Files that appear whole or not at all, and where calibration files are looked for."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, is_dataclass
from functools import lru_cache, wraps
from importlib import resources
from typing import Any, TypeVar

from pymopex.kit.errors import InputError

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
            return kept(tuple(_stamps(argument) for argument in arguments), *arguments)

        return call  # type: ignore[return-value]

    return decorate


def _stamps(argument: Any) -> Any:
    if isinstance(argument, str):
        try:
            found = os.stat(argument)
        except OSError:
            return os.path.abspath(argument)
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    if is_dataclass(argument) and not isinstance(argument, type):
        return tuple(_stamps(value) for value in astuple(argument) if isinstance(value, str) and value)
    return None


@contextmanager
def whole(path: str) -> Iterator[str]:
    """Give a temporary name in the folder of `path`; on leaving without a failure it becomes `path`."""
    folder, name = os.path.split(path)
    try:
        os.makedirs(folder or ".", exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise InputError(f"{folder}: cannot be a folder: a file is in the way") from None
    temporary = os.path.join(folder, f".{os.getpid()}.{name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


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
