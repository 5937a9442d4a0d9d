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

from pymopex.kit import driver, files, legacy, manual, products, sheets
from pymopex.kit.sheets import Parameter

_SECTION = re.compile(r"^([A-Z][A-Za-z ]*)\n-+\n", re.MULTILINE)


def write(folder: str) -> list[str]:
    """Write all pages and their index; gives the paths."""
    pages = {f"{task}.md": task_page(task) for task in sheets.tasks()}
    pages |= {"pipelines.md": pipelines_page(), "tables.md": tables_page(), "masks.md": masks_page()}
    pages |= {"codes.md": codes_page(), "legacy.md": legacy_page(), "README.md": index_page()}
    pages["coming_from_mopex.md"] = coming_page()
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
        "coming_from_mopex": "what became of every command, flag, module, key and file of MOPEX",
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
        "\n".join(
            f"    {usage}" for usage in (f"mopex {task} NAMELIST [KEY=VALUE ...]", *legacy.usages(task))
        ),
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
        "`--memory 1GB` cuts tiles so small that all processes together keep within it (`Memory`). "
        "`--from MODULE` begins with a module, on the products that are there, and `--only MODULE` runs it alone; in a "
        "flow, where several pipelines have it, `PIPELINE.MODULE`. "
        "`--resume` goes on with a run that was cut, or whose inputs or parameters have changed since: modules "
        "that are done and hold are skipped, and the products are those of a run without a break. "
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
        "stamps": columns.STAMPS,
        "stamps of a PRF": columns.FIT_STATISTICS,
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
    exits = (
        ("0", "done"),
        ("1", "failed"),
        ("2", "bad input or parameters"),
        ("130", "interrupted"),
        ("143", "terminated (SIGTERM)"),
    )
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


def coming_page() -> str:
    """Give the page for those who come from legacy MOPEX: commands, flags, modules, keys and products."""
    return _page(
        "Coming from MOPEX",
        "Namelists, lists, tables and command lines of MOPEX are read as they are. Below stands what became of all "
        "that MOPEX had: commands, flags, switches of modules, keys of namelists, files. A key that neither stands "
        "here nor on the page of a module is refused, with the spelling that may be meant.",
        *_legacy_commands(),
        *_legacy_flags(),
        "## Modules",
        "By the switches that turn them on in a namelist.",
        *_table(("switch", "block", "module", "pipelines"), _legacy_modules()),
        "## Keys",
        "The pages of the modules tell their defaults and ranges.",
        *_legacy_keys(),
        "## Files",
        "`<base>` is the file name of a frame without its ending, `<list>` that of the list of frames, `<n>` the "
        "number of a tile. Folders are named by their keys; their defaults are those of release 18. Namelists of "
        "older releases set their own, such as `COMBINER_DIR = Combine/`.",
        "All stay in `OUTPUT_DIR`: a folder or file name of a namelist that leads out of it is refused, unless the "
        "command line gives it. A table that `FIF_FILE_NAME` wants elsewhere is made as `OUTPUT_DIR/FIF.tbl`, and the "
        "log says so.",
        *_table(("file", "made by"), _legacy_products()),
    )


def _legacy_commands() -> list[str]:
    rows = [
        (f"`{name}.pl`", f"the same name, or `{name}.sh`: pipeline [{name}](pipelines.md)")
        for name in sheets.PIPELINES
        if name not in sheets.without_legacy("pipelines")
    ]
    rows += [
        (f"`{name}`", f"the same name: [{tool.task}]({tool.task}.md)") for name, tool in legacy.TOOLS.items()
    ]
    rows += [(f"`{name}`", text) for name, text in sheets.legacy_section("scripts").items()]
    return ["## Commands", *_table(("command", "what became of it"), sorted(rows))]


def _legacy_flags() -> list[str]:
    found: dict[tuple[str, str], list[str]] = {}
    for name in sheets.PIPELINES:
        if name not in sheets.without_legacy("pipelines"):
            for flag, (key, text) in driver.flags_of(name).items():
                found.setdefault((flag, key or text), []).append(f"{name}.pl")
    for name, tool in legacy.TOOLS.items():
        for flag, (key, _) in tool.flags.items():
            found.setdefault((flag, key), []).append(name)
    rows = [
        (f"`-{flag}`", f"`{key}`" if " " not in key else key, ", ".join(names))
        for (flag, key), names in found.items()
    ]
    return [
        "## Flags",
        "The value stands behind the flag or is glued to it: `-F FIF.tbl`, `-FFIF.tbl`.",
        *_table(("flag", "key it sets, or meaning", "commands"), sorted(rows)),
    ]


def _legacy_modules() -> list[tuple[str, ...]]:
    rows = []
    for task in sheets.tasks():
        sheet = sheets.sheet(task)
        homes = [name for name in sheets.PIPELINES if task in driver.pipeline_tasks(name)]
        if homes and task not in sheets.without_legacy("modules"):
            block = f"`&{sheet.block}`" if sheet.block else ""
            for trigger in sheet.triggers:
                rows.append((f"`{trigger}`", block, f"[{task}]({task}.md)", ", ".join(homes)))
    return sorted(rows)


def _legacy_keys() -> list[str]:
    parts = []
    for block, names in sheets.legacy_keys().items():
        title = "Without a block" if block == "globals" else f"&{block}"
        rows = ((f"`{name}`", _what_became(block, name)) for name in names)
        parts += [f"### {title}", *_table(("key", "what became of it"), rows)]
    _, blocks = sheets.legacy()
    quiet = [(f"`&{name.upper()}`", text or "passed over") for name, text in sorted(blocks.items())]
    return parts + (["### Blocks that are passed over", *_table(("block", "why"), quiet)] if quiet else [])


def _what_became(block: str, name: str) -> str:
    """Tell what became of a key of a legacy namelist."""
    homes = [sheets.common()] if block == "globals" else [
        sheet for sheet in map(sheets.sheet, sheets.tasks()) if sheet.block == block
    ]  # fmt: skip
    for home in homes:
        target = home.aliases.get(name.casefold(), name)
        for parameter in home.own:
            if parameter.name.casefold() == target.casefold():
                other = (
                    ""
                    if target.casefold() == name.casefold()
                    else f"another spelling of `{parameter.name}`: "
                )
                return other + _meaning(parameter)
    keys, _ = sheets.legacy()
    if name.casefold() in keys:
        return f"not acted on{': ' if keys[name.casefold()] else ', and passed over in silence'}{keys[name.casefold()]}"
    raise KeyError(f"{block}.{name}: the legacy key has no declaration")


def _legacy_products() -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        (f"`{name}`", f"[{task}]({task}.md)")
        for task in sheets.tasks()
        if task not in sheets.without_legacy("modules")
        for name in products.made_by(task)
    ]
    return rows + [(f"`{name}`", text) for name, text in sheets.legacy_section("products").items()]


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
