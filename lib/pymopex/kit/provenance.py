"""``provenance.json``: which task, version, parameters and inputs made the products of an output directory."""

from __future__ import annotations

import json
import os
from collections import Counter
from contextlib import suppress
from typing import Any

from pymopex import __version__
from pymopex.kit import log
from pymopex.kit.files import write_text
from pymopex.kit.parameters import Params

_NAMED_ONE_BY_ONE = 100
_HEAD = '{\n "format": 1,\n "tasks": ['
_TAIL = "\n ]\n}\n"


def record(path: str, task: str, params: Params, made: list[str], **more: Any) -> None:
    """Add the record of one task to ``provenance.json``.

    Parameters
    ----------
    path : str
        The file.
    task : str
        Name of the task.
    params : Params
        Its parameters; each is stored with its value and its origin.
    made : list of str
        Paths of the products; more than a hundred are stored as a count per folder.
    **more
        Further facts: pipeline, namelist, number of frames, seconds, status.
    """
    new = {
        "task": task,
        "version": __version__,
        **more,
        "parameters": {v.parameter.full_name: {"value": v.value, "origin": v.origin} for v in params},
        "products": _products(made, os.path.dirname(path) or "."),
    }
    write_text(path, _before(path) + _text([new])[len(_HEAD) :])


def _text(records: list[dict[str, Any]]) -> str:
    """Give the text of the file with some records, at least one."""
    return json.dumps({"format": 1, "tasks": records}, indent=1) + "\n"


def _before(path: str) -> str:
    """Give the text of the file up to a new record; the old ones are not written anew, which takes long."""
    records = read(path)
    if not records:
        _put_aside(path)
        return _HEAD
    with open(path, encoding="utf-8") as file:
        text = file.read()
    if not (text.startswith(_HEAD) and text.endswith(_TAIL)):
        text = _text(records)
    return text.removesuffix(_TAIL) + ","


def _put_aside(path: str) -> None:
    """Keep a file that cannot be read under another name, and say so."""
    aside = f"{os.path.splitext(path)[0]}_damaged.json"
    with suppress(OSError):
        if os.path.getsize(path):
            os.replace(path, aside)
            log.say(f"Warning: {path}: cannot be read, and is {aside} from now on; a new one begins")


def read(path: str) -> list[dict[str, Any]]:
    """Read the records; an absent or unreadable file has none."""
    try:
        with open(path, encoding="utf-8") as file:
            return list(json.load(file)["tasks"])
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _products(made: list[str], folder: str) -> Any:
    names = [os.path.relpath(path, folder) for path in made]
    if len(names) <= _NAMED_ONE_BY_ONE:
        return names
    return dict(Counter(os.path.dirname(name) for name in names))
