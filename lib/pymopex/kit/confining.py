"""Products stay in `OUTPUT_DIR`: no folder or file name of a namelist leads out of it."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from pymopex.kit.products import PRODUCTS

if TYPE_CHECKING:
    from pymopex.kit.parameters import Value
    from pymopex.kit.task import Run

_ASKED = ("default", "command line")


def problems_of_places(run: Run, tasks: list[str]) -> list[str]:
    """Name the keys of the namelist by which products would be written, or removed, outside `OUTPUT_DIR`.

    Parameters
    ----------
    run : Run
        The namelist at work.
    tasks : list of str
        The tasks that it runs.

    Notes
    -----
    `OUTPUT_DIR` itself is the user's choice, and so is what the command line says. Links below it are followed: a
    namelist can use them and not make them.
    """
    output = run.globals.OUTPUT_DIR
    return [
        f"{value.origin}: {value.parameter.full_name} = {value.value}: leads out of OUTPUT_DIR ({output}), where "
        f"products stay; write a name below it{_such_as(value, run)}, or give the key on the command line"
        for value in _places(run, tasks)
        if value.origin not in _ASKED and value.value and not _inside(output, str(value.value))
    ]


def fiducial_leads_out(run: Run) -> bool:
    """Tell whether the namelist puts the fiducial table out of `OUTPUT_DIR`, as legacy ones do: beside it."""
    keys = run.globals
    outside = not _inside(keys.OUTPUT_DIR, os.path.join(os.getcwd(), keys.FIF_FILE_NAME or keys.OUTPUT_DIR))
    return outside and keys.origin("FIF_FILE_NAME") not in _ASKED


def _places(run: Run, tasks: list[str]) -> Iterator[Value]:
    """Give the values that are parts of the paths of products, each once."""
    for params in (run.globals, *(run.params_of(task) for task in tasks)):
        for value in params:
            if value.parameter.name in _keys() and (params is run.globals or value.parameter.block):
                yield value


@cache
def _keys() -> frozenset[str]:
    """Give the keys that stand in the names of products, but for the folder of all."""
    fields = {key for _, template in PRODUCTS.values() for key in re.findall(r"{(\w+)}", template)}
    named = {key for key in fields if key[0].isupper()}
    return frozenset(named | {"Combined_Image"}) - {"OUTPUT_DIR"}


def _such_as(value: Value, run: Run) -> str:
    default = value.parameter.default_in(run.pipeline)
    return f" such as {default}" if default else ""


def _inside(output: str, name: str) -> bool:
    """Tell whether a name, seen from a folder, leads to a place below the folder."""
    top = os.path.abspath(output)
    path = os.path.join(top, name)
    if ".." not in name.split(os.sep) and _below(os.path.abspath(path), top):
        return True
    return _below(os.path.realpath(path), os.path.realpath(top))


def _below(path: str, top: str) -> bool:
    return os.path.commonpath([path, top]) == top
