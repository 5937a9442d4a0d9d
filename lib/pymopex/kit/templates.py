"""Namelist templates, made from the parameter sheets and the table ``par/templates.ini``."""

from __future__ import annotations

import os
import re
import sys
from functools import cache
from importlib import resources
from typing import Any

from pymopex.kit import driver, files, manual, sheets
from pymopex.kit.errors import InputError, suggestion
from pymopex.kit.namelist import METADATA

_TITLES = {
    "flatfield": "Flat field from the frames themselves",
    "hdr_mask": "Saturated pixels of long frames, by the short ones",
    "pointingrefine": "Refined pointing",
    "artifacts": "Artifacts",
    "overlap": "Overlap",
    "mosaic": "Mosaic",
    "apex": "APEX multiframe",
    "apex_user_list": "APEX multiframe at the positions of a list",
    "apex_1frame": "APEX on one image",
    "apex_user_list_1frame": "APEX on one image at the positions of a list",
    "apex_qa": "APEX QA multiframe",
    "apex_qa_1frame": "APEX QA on one image",
    "prf_estimate": "PRF Estimate",
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
    if (pipeline, instrument) not in every():
        raise InputError(
            f"{pipeline}: not for {special['name']}; for {', '.join(sheets._split(about['only']))}"
        )
    home = about.get("pipeline", pipeline)
    without = [name for part in (about, special) for name in sheets._split(part.get("without", ""))]
    tasks = [task for task in driver.pipeline_tasks(home) if task not in without]
    lines = [f"# {_TITLES[pipeline]}, {special['name']}\n", f"{METADATA}Flow={about['flow']}\n", "\n"]
    lines += ["###### Modules ######\n", *_triggers(tasks, about), "\n", "###### Files and settings ######\n"]
    lines += [
        _key(name, about, special, home) for name in sheets._split(about["keys"]) if name not in without
    ]
    lines += ["\n", "###### Parameters of the modules ######\n"]
    for block in _blocks(tasks, (about, special, special.get(pipeline, {})), home):
        lines += [*block, "\n"]
    return "".join(lines) + "#END\n"


def file_name(pipeline: str, instrument: str = "I1") -> str:
    """Give the file name of a template, as legacy MOPEX named it."""
    return f"{pipeline}_{instrument}.nl"


def title(pipeline: str) -> str:
    """Give the title of a pipeline."""
    return _TITLES.get(pipeline, pipeline)


def titles() -> dict[str, dict[str, str]]:
    """Give the titles of pipelines and the names of instruments that there are templates for, by their keys."""
    instruments = {key: str(about["name"]) for key, about in _table()["instruments"].items()}
    return {"pipelines": dict(_TITLES), "instruments": instruments}


def listing() -> list[str]:
    """Give what ``mopex new`` tells: the names of all templates, as a table of pipelines and instruments."""
    instruments = _table()["instruments"]
    lines = [
        "mopex new PIPELINE|flow [INSTRUMENT], or mopex new 'TITLE, INSTRUMENT', such as 'Mosaic, IRAC ch1'",
        "",
    ]
    lines += [f"  {pipeline:24s}{title}" for pipeline, title in _TITLES.items()]
    lines += [f"  {'flow':24s}the four of the recipe: {', '.join(sheets.FLOW)}", ""]
    return [*lines, *(f"  {key:24s}{about['name']}" for key, about in instruments.items())]


def write(words: list[str]) -> list[str]:
    """Write templates into the working directory: ``mopex new PIPELINE|flow [INSTRUMENT]``, or by the title.

    Raises
    ------
    InputError
        If a name is not known, or a file is there already.
    """
    words = _by_title(words[0]) if len(words) == 1 and "," in words[0] else words
    if not words or len(words) > 2:
        raise InputError(
            "new: write 'mopex new PIPELINE [INSTRUMENT]'; 'mopex new' alone tells what there is"
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


def _by_title(text: str) -> list[str]:
    """Give pipeline and instrument of a title such as ``Mosaic, IRAC ch1``."""
    title, _, name = (part.strip() for part in text.partition(","))
    titles = {_plain(words): key for key in _TITLES for words in (key, _TITLES[key])} | {"apexqa": "apex_qa"}
    names = {_plain(about["name"]): key for key, about in _table()["instruments"].items()}
    for given, known, what in ((title, titles, "pipeline"), (name, names, "instrument")):
        if _plain(given) not in known:
            raise InputError(f"new: {given}: no such {what}; 'mopex new' alone tells what there is")
    return [titles[_plain(title)], names[_plain(name)]]


def _plain(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.casefold().replace("micron", ""))


def every() -> list[tuple[str, str]]:
    """Give pipeline and instrument of all templates."""
    table = _table()
    return [
        (pipeline, key)
        for pipeline in _TITLES
        for key in table["instruments"]
        if key in (sheets._split(table[pipeline].get("only", "")) or table["instruments"])
    ]


def texts() -> dict[str, str]:
    """Give all templates by their file names."""
    return {file_name(pipeline, key): make(pipeline, key) for pipeline, key in every()}


def write_all(folder: str) -> list[str]:
    """Write every template into a folder, over those that are there: ``python -m pymopex.kit.templates par``."""
    names = every()
    for pipeline, key in names:
        files.write_text(os.path.join(folder, file_name(pipeline, key)), make(pipeline, key))
    return [file_name(pipeline, key) for pipeline, key in names]


@cache
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


def _blocks(tasks: list[str], layers: tuple[Any, ...], pipeline: str) -> list[list[str]]:
    """Give the blocks of the tasks; the values of later layers go before those of earlier ones."""
    blocks = []
    for task in tasks:
        sheet = sheets.sheet(task)
        if sheet.block:
            values = {k.casefold(): v for layer in layers for k, v in layer.get(sheet.block, {}).items()}
            blocks.append(manual.block_lines(sheet, values, pipeline))
    return blocks


if __name__ == "__main__":
    print("\n".join(write_all(sys.argv[1])))
