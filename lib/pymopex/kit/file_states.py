"""Whether files are what they were: their sizes and dates, or digests of their content."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator
from contextlib import suppress

from pymopex.kit.errors import InputError
from pymopex.kit.files import calibration_file

State = list[int] | str | None
"""Of a file: size and time of its last change [ns], or a digest of its content; None without the file."""

_LISTS = (
    *("IMAGE_STACK_FILE_NAME", "SIGMALIST_FILE_NAME", "DCE_STATUS_MASK_LIST", "RMASK_LIST"),
    *("SHORT_IMAGE_STACK_FILE_NAME", "SHORT_SIGMALIST_FILE_NAME", "SHORT_DCE_STATUS_MASK_LIST"),
)
_SMALL = 1_000_000  # bytes, of lists and tables whose content is compared, not their dates


def files_of(key: str, name: str) -> Iterator[tuple[str, bool]]:
    """Give the files that the value of a key stands for, and whether each is a list or a table."""
    from pymopex.kit.lists import read_list
    from pymopex.kit.prfmap import read_prf_map

    if not os.path.exists(name):
        with suppress(InputError):
            name = calibration_file(name)
    yield name, True
    with suppress(InputError):
        if key in _LISTS:
            yield from ((entry.path, False) for entry in read_list(name))
        elif key == "PRFMAP_FILE_NAME":
            for prf in dict.fromkeys(read_prf_map(name).files):
                yield calibration_file(prf, relative_to=name), True


def named(paths: Iterable[str], top: str) -> Iterator[str]:
    """Name files as seen from the output directory, so that a run can be moved; others as full names, if given so."""
    for path in paths:
        full = os.path.abspath(path)
        if full.startswith(top + os.sep):
            yield full[len(top) + 1 :]
        else:
            yield full if os.path.isabs(path) else os.path.relpath(full, top)


def place(name: str, top: str) -> str:
    """Give the path of a file that is named as seen from the output directory."""
    return os.path.normpath(os.path.join(top, name))


def stamp(name: str) -> State:
    """Give size and time of the last change of a file."""
    try:
        found = os.stat(name)
    except (OSError, ValueError):
        return None
    return [found.st_size, found.st_mtime_ns]


def digest(name: str) -> State:
    """Give a digest of a small file, and the stamp of a large one."""
    try:
        if os.path.getsize(name) > _SMALL or not os.path.isfile(name):
            return stamp(name)
        with open(name, "rb") as file:
            return hashlib.sha256(file.read()).hexdigest()
    except (OSError, ValueError):
        return None
