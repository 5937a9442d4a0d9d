"""List files: one path a line."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass

from pymopex.kit.errors import InputError
from pymopex.kit.files import read_bytes, whole

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f]")


@dataclass(frozen=True)
class Entry:
    """A path in a list and the line, from 1, where it stands."""

    path: str
    line: int


def read_list(path: str) -> list[Entry]:
    """Read a list of paths.

    Parameters
    ----------
    path : str
        The list; blank lines and lines that begin with ``#`` are skipped.

    Returns
    -------
    list of Entry
        Relative paths count from the working directory or, where there is no such file, from the folder of the
        list. The files need not exist.

    Raises
    ------
    InputError
        The list is missing or is no text.

    References
    ----------
    MOPEX User's Guide, Input File Lists.
    """
    entries = []
    for number, line in enumerate(_lines(path), 1):
        if _CONTROL.search(line):
            raise InputError(f"{path}:{number}: is no text; a list of paths, one a line, is needed")
        name = line.strip()
        if name and not name.startswith("#"):
            entries.append(Entry(_located(name, path), number))
    return entries


def _lines(path: str) -> list[str]:
    content = read_bytes(path)
    if content.startswith(b"SIMPLE  ="):
        raise InputError(f"{path}:1: is a FITS file; a list of paths, one a line, is needed")
    text = os.fsdecode(content.removeprefix(b"\xef\xbb\xbf"))
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _located(name: str, list_path: str) -> str:
    name = os.path.expanduser(name)
    if not os.path.isabs(name) and not os.path.exists(name):
        beside = os.path.join(os.path.dirname(list_path), name)
        if os.path.exists(beside):
            return beside
    return name


def write_list(path: str, paths: Iterable[str]) -> None:
    """Write a list of paths, whole or not at all.

    Raises
    ------
    ValueError
        A path holds a line break or another control character.
    """
    lines = [str(name) for name in paths]
    for name in lines:
        if _CONTROL.search(name) or "\n" in name:
            raise ValueError(f"{name!r}: a path with control characters cannot stand in a list")
    with whole(path) as temporary, open(temporary, "wb") as file:
        file.write(os.fsencode("".join(f"{name}\n" for name in lines)))
