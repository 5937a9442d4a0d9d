"""Values that the library refuses: each may be in its range, but together they contradict each other, or the data.

A library function raises ValueError in its own terms. Here the message is put into those of the user: the names of
the keys, and the file and line that set them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from pymopex.kit import sheets
from pymopex.kit.errors import InputError, InputErrors

if TYPE_CHECKING:
    from pymopex.kit.task import Run


def problems_of(action: Callable[..., list[str] | None], *arguments: Any, **named: Any) -> list[str]:
    """Give the problems that a check names, or fails with."""
    try:
        return action(*arguments, **named) or []
    except InputErrors as found:
        return found.problems
    except InputError as found:
        return [str(found)]


def problems_of_settings(
    run: Run, make: Callable[[], Any], fields: Mapping[str, str] | None = None, also: Sequence[str] = ()
) -> list[str]:
    """Make the settings of the task at work; give why the library refuses them, as ``file:line: BLOCK: reason``.

    Parameters
    ----------
    run : Run
        The task at work.
    make : callable
        Makes the settings from ``run.params``, as the task will.
    fields : mapping of str to str, optional
        Name in the library to key of the namelist: the message gets the keys.
    also : sequence of str, optional
        Further keys that may be at fault; the line of the first one that is set is told if the message names no key
        that is.
    """
    try:
        make()
    except InputError as problem:
        return [str(problem)]
    except ValueError as problem:
        return [_line(run, str(problem), dict(fields or {}), also)]
    return []


def _line(run: Run, reason: str, fields: Mapping[str, str], also: Sequence[str]) -> str:
    named: list[str] = []

    def key(match: re.Match[str]) -> str:
        if fields[match[0]] in named:
            return match[0]
        named.append(fields[match[0]])
        return named[-1]

    if fields:
        reason = re.sub(r"\b(?:" + "|".join(map(re.escape, fields)) + r")\b", key, reason)
    block = sheets.sheet(run.task).block
    return f"{_origin(run, [*named, *also])}: {f'{block}: ' if block else ''}{reason}"


def _origin(run: Run, keys: Sequence[str]) -> str:
    """Tell where the first of the keys that are set was set, or the namelist."""
    origins = (run.params.origin(key) for key in keys)
    return next((origin for origin in origins if origin != "default"), run.settings.namelist.path)


@contextmanager
def refused(where: str) -> Iterator[None]:
    """Turn a ValueError of the library, which is about the data of a file, into an InputError that names the file."""
    try:
        yield
    except ValueError as problem:
        raise InputError(f"{where}: {problem}") from None
