"""Namelist templates, made from the parameter sheets and the table ``par/templates.ini``."""

from __future__ import annotations

import os
from importlib import resources
from typing import Any

from pymopex.kit import driver, files, manual, sheets
from pymopex.kit.errors import InputError, suggestion
from pymopex.kit.namelist import METADATA

_TITLES = {
    "overlap": "Overlap",
    "mosaic": "Mosaic",
    "apex": "APEX multiframe",
    "apex_user_list": "APEX multiframe at the positions of a list",
    "apex_1frame": "APEX on one image",
    "apex_user_list_1frame": "APEX on one image at the positions of a list",
    "apex_qa": "APEX QA multiframe",
    "apex_qa_1frame": "APEX QA on one image",
}


def make(pipeline: str, instrument: str = "I1") -> str:
    """Give the text of a template.

    Raises
    ------
    InputError
        If the pipeline or the instrument is not known.
    """
    table = _table()
    if pipeline not in _TITLES:
        raise InputError(f"{pipeline}: no such pipeline{suggestion(pipeline, _TITLES)}")
    known = table["instruments"]
    if instrument not in known:
        raise InputError(f"{instrument}: no such instrument; known are {', '.join(known)}")
    about, special = table[pipeline], known[instrument]
    home = about.get("pipeline", pipeline)
    tasks = [
        task for task in driver.pipeline_tasks(home) if task not in sheets._split(about.get("without", ""))
    ]
    lines = [f"# {_TITLES[pipeline]}, {special['name']}\n", f"{METADATA}Flow={about['flow']}\n", "\n"]
    lines += ["###### Modules ######\n", *_triggers(tasks, about), "\n", "###### Files and settings ######\n"]
    lines += [_key(name, about, special, home) for name in sheets._split(about["keys"])]
    lines += ["\n", "###### Parameters of the modules ######\n"]
    for block in _blocks(tasks, about, home):
        lines += [*block, "\n"]
    return "".join(lines) + "#END\n"


def file_name(pipeline: str, instrument: str = "I1") -> str:
    """Give the file name of a template, as legacy MOPEX named it."""
    return f"{pipeline}_{instrument}.nl"


def write(words: list[str]) -> list[str]:
    """Write templates into the working directory: ``mopex new PIPELINE|flow [INSTRUMENT]``.

    Raises
    ------
    InputError
        If a name is not known, or a file is there already.
    """
    if not words or len(words) > 2:
        raise InputError(
            f"new: write 'mopex new {'|'.join(_TITLES)}|flow [instrument]', e.g. mopex new flow I1"
        )
    pipelines = sheets.FLOW if words[0] == "flow" else (words[0],)
    instrument = words[1] if len(words) > 1 else "I1"
    texts = {file_name(pipeline, instrument): make(pipeline, instrument) for pipeline in pipelines}
    there = [name for name in texts if os.path.exists(name)]
    if there:
        raise InputError(f"{', '.join(there)}: already here; remove or rename first")
    for name, text in texts.items():
        files.write_text(name, text)
    return list(texts)


def _table() -> Any:
    from configobj import ConfigObj

    text = resources.files("pymopex.par").joinpath("templates.ini").read_text(encoding="utf-8")
    return ConfigObj(text.splitlines(), list_values=False, interpolation=False)


def _triggers(tasks: list[str], about: Any) -> list[str]:
    off = sheets._split(about["off"])
    return [f"{sheets.sheet(task).triggers[0]} = {int(task not in off)}\n" for task in tasks]


def _key(name: str, about: Any, special: Any, pipeline: str) -> str:
    parameter = sheets.common().parameters_by_name[name.casefold()]
    value = special.get(name, about.get("globals", {}).get(name, parameter.default_in(pipeline)))
    value = "" if value in ("None", ".") else value
    unit = f"[{parameter.unit}] " if parameter.unit else ""
    assignment = f"{name} = {manual.quoted(parameter, value) if value else ''}"
    return f"{assignment:44s} # {unit}{parameter.meaning}\n"


def _blocks(tasks: list[str], about: Any, pipeline: str) -> list[list[str]]:
    blocks = []
    for task in tasks:
        sheet = sheets.sheet(task)
        if sheet.block:
            values = {k.casefold(): v for k, v in about.get(sheet.block, {}).items()}
            blocks.append(manual.block_lines(sheet, values, pipeline))
    return blocks
