"""``provenance.json``: which task, version, parameters and inputs made the products of an output directory."""

from __future__ import annotations

import json
import os
from collections import Counter
from typing import Any

from pymopex import __version__
from pymopex.kit.files import write_text
from pymopex.kit.parameters import Params

_NAMED_ONE_BY_ONE = 100


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
    records = read(path)
    folder = os.path.dirname(path) or "."
    records.append(
        {
            "task": task,
            "version": __version__,
            **more,
            "parameters": {v.parameter.full_name: {"value": v.value, "origin": v.origin} for v in params},
            "products": _products(made, folder),
        }
    )
    write_text(path, json.dumps({"format": 1, "tasks": records}, indent=1) + "\n")


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
