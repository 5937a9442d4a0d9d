"""``report.html``: one page that tells what a run did, how good it is, and how to repeat it.

The page holds its pictures and its style; it needs no other file and no network.
"""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from pymopex import __version__
from pymopex.kit import provenance
from pymopex.kit.errors import InputError
from pymopex.kit.files import write_text
from pymopex.kit.ipac import Table, read_table

_MANY_WARNINGS = 50

_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #222; max-width: 68rem; margin: 2rem auto; padding: 0 1rem; }
h1 { font-size: 1.6rem; margin-bottom: 0.2rem; } h2 { font-size: 1.2rem; margin-top: 2.2rem; }
h2 { border-bottom: 1px solid #ccc; padding-bottom: 0.2rem; }
table { border-collapse: collapse; margin: 0.6rem 0; } caption { text-align: left; color: #555; }
th, td { text-align: left; padding: 0.15rem 0.9rem 0.15rem 0; vertical-align: top; border-bottom: 1px solid #eee; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; } code, pre { font-size: 0.9em; }
pre { background: #f5f5f5; padding: 0.6rem; overflow-x: auto; } figure { margin: 1rem 0; }
img { max-width: 100%; } figcaption { color: #555; } .bad { color: #a00; font-weight: 600; } .quiet { color: #666; }
details > summary { cursor: pointer; color: #346; }
"""


@dataclass(frozen=True)
class Products:
    """Where the products of a run lie, as its records tell.

    Attributes
    ----------
    folder : str
        The output directory.
    records : list of dict
        What each task left in ``provenance.json``, in order of time.
    """

    folder: str
    records: list[dict[str, Any]] = field(default_factory=list)
    _tables: dict[str, Table | None] = field(default_factory=dict, repr=False)

    def find(self, name: str, pipelines: Iterable[str] = ()) -> str | None:
        """Find the newest existing product of a file name, made by one of the pipelines; None if there is none."""
        wanted = set(pipelines)
        for one in reversed(self.records):
            if (wanted and one.get("pipeline") not in wanted) or str(one["task"]).startswith("create_"):
                continue  # create_rmask_mosaic and its like name their mosaics as the main one
            made = one.get("products", ())
            # Many products are counted by folder, and not named.
            known = [os.path.join(place, name) for place in made] if isinstance(made, dict) else made
            for product in known:
                path = os.path.join(self.folder, product)
                if os.path.basename(product) == name and os.path.isfile(path):
                    return path
        return None

    def table(self, name: str, pipelines: Iterable[str] = ()) -> Table | None:
        """Read a product that is a table; None if there is none that can be read."""
        path = self.find(name, pipelines)
        if path and path not in self._tables:
            try:
                self._tables[path] = read_table(path)
            except InputError:
                self._tables[path] = None
        return self._tables[path] if path else None

    def link(self, path: str) -> str:
        """Give a link to a product, relative to the page."""
        name = os.path.relpath(path, self.folder)
        return f'<a href="{_text(name)}">{_text(name)}</a>'


def write_report(folder: str, path: str = "") -> str:
    """Write the report of a run; gives its path.

    Parameters
    ----------
    folder : str
        An output directory with its ``provenance.json``.
    path : str
        File to write; by default ``report.html`` in that folder.

    Raises
    ------
    InputError
        If nothing was made there.
    """
    records = provenance.read(os.path.join(folder, "provenance.json"))
    if not records:
        raise InputError(f"{folder}: no provenance.json of a run is there; wanted: the OUTPUT_DIR of a run")
    from pymopex.kit import report_pictures as pictures

    products = Products(folder, records)
    path = path or os.path.join(folder, "report.html")
    parts = [
        _head(products),
        _section("In short", _in_short(products)),
        _section("Warnings and failures", _warnings(records)),
        *(_section(title, _pictures(products, draw)) for title, draw in pictures.PAGES),
        _section("Modules", _modules(records)),
        _section("Products", _links(products)),
        _section("How to repeat it", _repeat(products)),
    ]
    body = "\n".join(part for part in parts if part)
    title = _text(os.path.basename(os.path.abspath(folder)))
    page = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Report of {title}</title>\n'
        f"<style>{_STYLE}</style></head>\n<body>\n{body}\n</body></html>\n"
    )
    write_text(path, page)
    return path


def _text(value: Any) -> str:
    return html.escape(str(value), quote=True)


def _section(title: str, content: str) -> str:
    return f"<h2>{title}</h2>\n{content}" if content else ""


def _rows(head: Iterable[str], rows: Iterable[Iterable[str]], numbers: Iterable[int] = ()) -> str:
    """Make a table; the cells are HTML already."""
    right = set(numbers)
    mark = [' class="n"' if n in right else "" for n in range(64)]
    top = "".join(f"<th{mark[n]}>{cell}</th>" for n, cell in enumerate(head))
    lines = ("".join(f"<td{mark[n]}>{cell}</td>" for n, cell in enumerate(row)) for row in rows)
    return f"<table><tr>{top}</tr>\n" + "\n".join(f"<tr>{line}</tr>" for line in lines) + "\n</table>"


def _head(products: Products) -> str:
    pipelines = list(dict.fromkeys(str(one.get("pipeline", "")) for one in products.records))
    seconds = sum(float(one.get("seconds", 0)) for one in products.records)
    memory = max(float(one.get("megabytes", 0)) for one in products.records)
    return (
        f"<h1>Report of {_text(os.path.abspath(products.folder))}</h1>\n"
        f'<p class="quiet">pymopex {_text(__version__)}; {_text(", ".join(pipelines))}; '
        f"{seconds:.0f} s in all tasks, peak memory {memory:.0f} MB.</p>"
    )


def _in_short(products: Products) -> str:
    from pymopex.kit import report_facts

    rows = [(_text(name), _text(value)) for name, value in report_facts.facts(products)]
    return _rows(("quantity", "value"), rows) if rows else ""


def _warnings(records: list[dict[str, Any]]) -> str:
    """List what the logs warned of; the last run of each task counts."""
    lines = []
    for one in _latest(records):
        status = str(one.get("status", "done"))
        if status != "done":
            lines.append(f'<li class="bad">{_text(one["task"])}: {_text(status)}</li>')
        said = [text for text in one.get("log", ()) if str(text).lstrip().startswith("Warning")]
        lines += [f"<li>{_text(one['task'])}: {_text(str(text).strip())}</li>" for text in said]
    if not lines:
        return "<p>None.</p>"
    more = len(lines) - _MANY_WARNINGS
    end = f"<li>and {more} more</li>" if more > 0 else ""
    return f"<ul>{''.join(lines[:_MANY_WARNINGS])}{end}</ul>"


def _latest(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    last = {(one.get("pipeline"), one["task"]): number for number, one in enumerate(records)}
    return [records[number] for number in sorted(last.values())]


def _modules(records: list[dict[str, Any]]) -> str:
    rows = []
    for one in _latest(records):
        changed = [
            f"{_text(name)} = {_text(entry.get('value'))}"
            for name, entry in one.get("parameters", {}).items()
            if entry.get("origin") != "default"
        ]
        made = one.get("products", [])
        count = len(made) if isinstance(made, list) else sum(made.values())
        status = str(one.get("status", "done"))
        rows.append(
            (
                _text(one.get("pipeline", "")),
                f"<code>{_text(one['task'])}</code>",
                _text(status) if status == "done" else f'<span class="bad">{_text(status)}</span>',
                f"{float(one.get('seconds', 0)):.1f}",
                f"{float(one.get('megabytes', 0)):.0f}",
                str(count),
                f"<details><summary>{len(changed)}</summary>{'<br>'.join(changed)}</details>"
                if changed
                else "0",
            )
        )
    head = ("pipeline", "module", "status", "time [s]", "memory [MB]", "files", "parameters that were set")
    return (
        _rows(head, rows, (3, 4, 5))
        + '<p class="quiet">The last run of each module; memory: peak up to then.</p>'
    )


def _pictures(products: Products, draw: Callable[[Products], Iterable[tuple[str, bytes]]]) -> str:
    """Put the pictures of a section into the page."""
    figures = []
    for caption, png in draw(products):
        code = base64.b64encode(png).decode("ascii")
        figures.append(
            f'<figure><img alt="{_text(caption)}" src="data:image/png;base64,{code}">'
            f"<figcaption>{_text(caption)}</figcaption></figure>"
        )
    return "\n".join(figures)


_MAIN = (
    "offsets.tbl", "mosaic.fits", "mosaic_unc.fits", "mosaic_cov.fits", "mosaic_std.fits", "mosaic_arraycorr.fits",
    "rejected.tbl", "detect.tbl", "extract_raw.tbl", "extract.tbl", "extract.h5", "comparison.txt",
)  # fmt: skip


def _links(products: Products) -> str:
    first = ("mosaic", "apex")
    found = [products.find(name, first) or products.find(name) for name in _MAIN]
    mosaics = (products.find("mosaic.fits", [name]) for name in ("overlap", "mosaic", "apex", "apex_qa"))
    paths = dict.fromkeys(path for path in (*found, *mosaics) if path)
    lines = [f"<li>{products.link(path)} ({os.path.getsize(path) / 1e6:.2f} MB)</li>" for path in paths]
    record = os.path.join(products.folder, "provenance.json")
    return (
        f"<ul>{''.join(lines)}<li>{products.link(record)}: every task, version, parameter and input</li></ul>"
    )


def _repeat(products: Products) -> str:
    """Give the commands: the namelists left in the folder hold all values."""
    commands = []
    for one in products.records:
        name, namelist = str(one.get("pipeline", "")), os.path.basename(str(one.get("namelist", "")))
        path = os.path.join(products.folder, namelist)
        if namelist.endswith(".nl") and os.path.isfile(path):
            commands.append(f"{name}.sh -n {path}")
    lines = "\n".join(_text(line) for line in dict.fromkeys(commands))
    if not lines:
        return ""
    told = f"By pymopex {_text(__version__)}, in {_text(os.getcwd())}; the namelists hold all values of this run:"
    return f"<p>{told}</p>\n<pre>{lines}</pre>"
