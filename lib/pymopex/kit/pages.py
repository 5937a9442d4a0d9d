"""The manual: a page for each task, and pages for pipelines, tables, masks and codes, in Markdown.

Everything comes from where it is declared: parameter sheets, docstrings of the tasks, columns, mask bits, codes.
"""

from __future__ import annotations

import ast
import os
import re
from collections.abc import Iterable
from importlib import resources
from inspect import cleandoc
from itertools import pairwise

from pymopex.kit import driver, files, manual, products, sheets
from pymopex.kit.sheets import Parameter

_SECTION = re.compile(r"^([A-Z][A-Za-z ]*)\n-+\n", re.MULTILINE)


def write(folder: str) -> list[str]:
    """Write all pages and their index; gives the paths."""
    pages = {f"{task}.md": task_page(task) for task in sheets.tasks()}
    pages |= {"pipelines.md": pipelines_page(), "tables.md": tables_page(), "masks.md": masks_page()}
    pages |= {"codes.md": codes_page(), "legacy.md": legacy_page(), "README.md": index_page()}
    for name, text in pages.items():
        files.write_text(os.path.join(folder, name), text)
    return [os.path.join(folder, name) for name in pages]


def index_page() -> str:
    """Give the index of the manual."""
    others = {
        "pipelines": "the drivers, their flags and modules",
        "tables": "columns of all tables",
        "masks": "bits of the masks",
        "codes": "status of a fit, letters of the column deblend, exit status",
        "legacy": "keys and blocks of legacy MOPEX that no module acts on",
    }
    return _page(
        "Manual",
        "Made by `mopex manual` from parameter sheets, docstrings and declarations.",
        *_table(("page", "content"), ((f"[{name}]({name}.md)", text) for name, text in others.items())),
        "## Modules",
        *_table(
            ("module", "what it makes"),
            ((f"[{task}]({task}.md)", sheets.sheet(task).purpose) for task in sheets.tasks()),
        ),
    )


def task_page(task: str) -> str:
    """Give the page of a task: what it is, how it works, what it makes and takes."""
    sheet, (summary, notes) = sheets.sheet(task), docstring(task)
    made = "\n".join(f"- `{name}`" for name in products.made_by(task))
    return _page(
        task,
        f"{sheet.title}. {sheet.purpose}.",
        f"    mopex {task} NAMELIST [KEY=VALUE ...]",
        "\n".join(f"- {fact}" for fact in _facts(task)),
        *_titled("What it does", summary),
        *_titled("Notes", notes),
        *_titled("Products", made),
        *_parameters(f"Parameters of &{sheet.block}", sheet.own),
        *_parameters("Global keys", [p for p in sheet.parameters if not p.block]),
    )


def _facts(task: str) -> list[str]:
    sheet = sheets.sheet(task)
    homes = [name for name in sheets.PIPELINES if task in driver.pipeline_tasks(name)]
    pairs = (
        ("switch", ", ".join(f"`{trigger}`" for trigger in sheet.triggers)),
        ("part of", ", ".join(f"`{name}.sh`" for name in homes)),
        ("needs", ", ".join(f"[{name}]({name}.md)" for name in sheet.needs)),
    )
    return [f"{name}: {text}" for name, text in pairs if text]


def docstring(task: str) -> tuple[str, str]:
    """Read summary and Notes of the function ``run`` of a task, without importing it.

    Returns
    -------
    summary, notes : str
        In Markdown; empty if there is none.
    """
    source = resources.files("pymopex.tasks").joinpath(f"{task}.py").read_text(encoding="utf-8")
    found = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    text = next((ast.get_docstring(node) or "" for node in found if node.name == "run"), "")
    head, parts = sections(text)
    return head, parts.get("Notes", "")


def sections(text: str) -> tuple[str, dict[str, str]]:
    """Split a numpydoc docstring into what stands before its sections, and the sections by title, in Markdown."""
    text = cleandoc(text).replace("``", "`")
    starts = list(_SECTION.finditer(text))
    ends = [*(match.start() for match in starts), len(text)]
    bodies = {
        match[1]: text[match.end() : end].strip()
        for match, (_, end) in zip(starts, pairwise(ends), strict=True)
    }
    return text[: ends[0]].strip(), bodies


def pipelines_page() -> str:
    """Give the page of the drivers: usage, flags, ordered modules."""
    parts = []
    for name in (*sheets.PIPELINES, "flow"):
        usage, _, _ = manual.driver_help(name).partition("\n")
        parts += [f"## {name}", f"    {usage.removeprefix('usage: ')}"]
        if name != "flow":
            parts += _table(
                ("module", "switch", "what it makes"), map(_module_row, driver.pipeline_tasks(name))
            )
    flags = _flags(driver.FLAGS)
    others = [flag for name in sheets.PIPELINES for flag in driver.flags_of(name).items()]
    own = _flags(dict(flag for flag in others if driver.FLAGS.get(flag[0]) != flag[1]))
    return _page(
        "Pipelines",
        "A module runs if the namelist switches it on. `flow.sh` takes several namelists, and the products of one "
        "pipeline go into the next.",
        *parts,
        "## Flags",
        *_table(("flag", "key it sets", "meaning"), flags),
        "Of the pipelines that work on one image, or at the positions of a list:",
        *_table(("flag", "key it sets", "meaning"), own),
        "`--like IMAGE` takes the grid of a FITS image for the mosaic (`Like_Image`). "
        "`--skip-bad-frames` leaves out frames that cannot be used (`Skip_Bad_Frames`). `KEY=VALUE` and "
        "`BLOCK.KEY=VALUE` set any parameter.",
    )


def _flags(flags: dict[str, tuple[str, str]]) -> list[tuple[str, str, str]]:
    return [(f"`-{flag}`", f"`{key}`" if key else "", text) for flag, (key, text) in flags.items()]


def _module_row(task: str) -> tuple[str, ...]:
    sheet = sheets.sheet(task)
    return f"[{task}]({task}.md)", ", ".join(f"`{name}`" for name in sheet.triggers), sheet.purpose


def tables_page() -> str:
    """Give the page of the tables: name, type, unit and meaning of each column."""
    from pymopex import columns

    tables = {
        **columns.declared(),
        "true sources (simulation)": columns.TRUTH_SOURCES,
        "true offsets (simulation)": columns.TRUTH_OFFSETS,
    }
    parts = []
    for title, declared in tables.items():
        rows = ((f"`{c.name}`", c.type, c.unit, c.meaning) for c in declared)
        parts += [f"## {title[0].upper()}{title[1:]}", *_table(("column", "type", "unit", "meaning"), rows)]
    return _page("Tables", "IPAC tables; pixels count from 1 as in FITS.", *parts)


def masks_page() -> str:
    """Give the page of the mask bits."""
    from pymopex.masks import KINDS

    parts = []
    for name, kind in KINDS.items():
        rows = (
            (str(bit), str(2**bit), "fatal" if kind.recommended >> bit & 1 else "", text)
            for bit, text in kind.bits.items()
        )
        parts += [f"## {name}: {kind.title}", f"Recommended fatal pattern: {kind.recommended}."]
        parts += _table(("bit", "value", "recommended", "meaning"), rows)
    about = "A pattern is the sum of the values of its bits; a pixel with any bit of the fatal pattern is not used."
    return _page("Masks", about, *parts)


def codes_page() -> str:
    """Give the page of status codes, letters of the column deblend, and exit status."""
    from pymopex.fit_results import Deblend, FitStatus

    fits = ((str(code.value), str(code.legacy), code.meaning) for code in FitStatus)
    exits = (("0", "done"), ("1", "failed"), ("2", "bad input or parameters"), ("130", "interrupted"))
    return _page(
        "Codes",
        "## Status of a fit",
        *_table(("code", "status in `extract.tbl`", "meaning"), fits),
        "## Letters of the column `deblend`",
        *_table(("letter", "meaning"), ((f"`{letter.value}`", letter.meaning) for letter in Deblend)),
        "## Exit status",
        *_table(("status", "meaning"), exits),
    )


def legacy_page() -> str:
    """Give the page of what legacy MOPEX knew and no module acts on."""
    keys, blocks = sheets.legacy()
    return _page(
        "Legacy keys",
        "Keys and blocks of legacy MOPEX that no module acts on. Those with a reason draw a warning.",
        "## Keys",
        *_table(("key", "reason"), ((f"`{name}`", text) for name, text in sorted(keys.items()))),
        "## Blocks",
        *_table(("block", "reason"), ((f"`&{name.upper()}`", text) for name, text in sorted(blocks.items()))),
    )


def _parameters(title: str, chosen: Iterable[Parameter]) -> list[str]:
    rows = [(f"`{p.name}`", manual.default_text(p), p.allowed, _meaning(p)) for p in chosen]
    return [f"## {title}", *_table(("key", "default", "allowed", "meaning"), rows)] if rows else []


def _meaning(parameter: Parameter) -> str:
    return f"[{parameter.unit}] {parameter.meaning}" if parameter.unit else parameter.meaning


def _titled(title: str, text: str) -> list[str]:
    return [f"## {title}", text] if text else []


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = [head, ("---",) * len(head), *([_cell(text) for text in row] for row in rows)]
    return ["\n".join(f"| {' | '.join(cells)} |" for cells in lines)]


def _cell(text: str) -> str:
    """Keep signs of Markdown from having their meaning."""
    return text.replace("|", r"\|").replace("<", r"\<")


def _page(title: str, *parts: str) -> str:
    return "\n\n".join([f"# {title}", *(part for part in parts if part)]) + "\n"
