"""IPAC tables in and out: keyword lines, header rows between bars, values under the columns."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pymopex.columns import Column
from pymopex.kit.errors import InputError, suggestion
from pymopex.kit.files import read_bytes
from pymopex.kit.ipac_rows import CHUNK, Layout, chunks, found_kinds

NULL = "null"
_KEYWORD = re.compile(r"\\\s*(?:([A-Za-z]+)\s+)?([^\s=]+)\s*=\s*((?:.*\S)?)\s*$")


class MissingColumn(InputError, KeyError):
    """A table has no column of the name asked for."""

    __str__ = Exception.__str__


@dataclass
class Table:
    """A table as it was read.

    Parameters
    ----------
    path : str
        The file.
    columns : dict of str to ndarray
        Values by name, in the order of the file: int64, float64 (null is NaN) or text.
    types : dict of str to str
        'int', 'double' or 'char' by name.
    units : dict of str to str
        Unit by name, empty where the table has none.
    keywords : dict of str to tuple of (kind, value)
        Keyword lines without the comments; kind is the word before the name, such as 'real'.
    comments : list of str
        Text of the comment lines.
    """

    path: str
    columns: dict[str, np.ndarray] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    keywords: dict[str, tuple[str, str]] = field(default_factory=dict)
    comments: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()), ()))

    def find(self, name: str) -> np.ndarray | None:
        """Give a column by its name, None if there is none; case does not matter."""
        if name in self.columns:
            return self.columns[name]
        known = (values for other, values in self.columns.items() if other.casefold() == name.casefold())
        return next(known, None)

    def column(self, name: str) -> np.ndarray:
        """Give a column by its name; case does not matter.

        Raises
        ------
        MissingColumn
            There is none; the message, which is a KeyError and an InputError, names those there are.
        """
        values = self.find(name)
        if values is not None:
            return values
        hint = suggestion(name, self.columns)
        raise MissingColumn(f"no column {name}{hint} in {self.path}, which has {', '.join(self.columns)}")


def read_table(path: str) -> Table:
    """Read an IPAC table.

    Parameters
    ----------
    path : str
        The table: written by this package, by another program or by hand.

    Returns
    -------
    Table
        Its columns, types, units and keywords.

    Raises
    ------
    InputError
        The file is missing or is no such table; the message names the line.

    Notes
    -----
    A row whose values stand between the bars of the header is cut there, so that values may hold blanks. Any other
    row is split at its blanks. Types may have any case and be abbreviated; without a row of types they are found from
    the values. A column declared int that holds fractions or nulls is given as float.

    References
    ----------
    MOPEX User's Guide, section 8.10 (user lists). IRSA, IPAC Table Format.
    """
    table = Table(path)
    header: list[tuple[int, str]] = []
    rows: list[str] = []
    numbers: list[int] = []
    for number, line in enumerate(_lines(path), 1):
        start = line[:1]
        if start == "\\":
            _read_keyword(line, table)
        elif start == "|":
            if rows:
                raise InputError(f"{path}:{number}: a header row below the first row of values")
            header.append((number, line))
        elif start != "#" and line and not line.isspace():
            rows.append(line)
            numbers.append(number)
    if not header:
        raise InputError(f"{path}: is no IPAC table: it has no header row that begins with |")
    layout = Layout.from_header(path, header)
    if not layout.kinds:
        layout.kinds = found_kinds(layout, rows, numbers)
    _read_rows(table, layout, rows, numbers)
    return table


def _lines(path: str) -> list[str]:
    content = read_bytes(path)
    if b"\0" in content or content.startswith(b"SIMPLE  ="):
        raise InputError(f"{path}: is no text, so no IPAC table")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return [line.expandtabs() for line in lines] if "\t" in text else lines


def _read_keyword(line: str, table: Table) -> None:
    r"""Take a line such as ``\real Conversion = 8.46``; anything that is not of this form is a comment."""
    match = _KEYWORD.match(line)
    if match is None or match[2].casefold() in ("comment", "history"):
        table.comments.append(match[3] if match else line[1:].strip())
        return
    kind, name, value = match.groups()
    if len(value) > 1 and value[0] == value[-1] and value[0] in "'\"":
        value = value[1:-1].strip()
    table.keywords[name] = (kind or "", value)


def _read_rows(table: Table, layout: Layout, rows: list[str], numbers: list[int]) -> None:
    parts: list[list[np.ndarray]] = [[] for _ in layout.names]
    for chunk in chunks(layout, rows, numbers):
        for part, values in zip(parts, chunk, strict=True):
            part.append(values)
    empty = {"char": "U1", "int": "i8", "double": "f8"}
    for name, kind, unit, column in zip(layout.names, layout.kinds, layout.units, parts, strict=True):
        table.columns[name] = np.concatenate(column) if column else np.zeros(0, empty[kind])
        table.types[name], table.units[name] = kind, unit


def write_table(
    path: str,
    spec: Sequence[Column],
    data: Mapping[str, Any],
    *,
    keywords: Iterable[tuple[str, str, Any]] = (),
    comments: Iterable[str] = (),
) -> None:
    """Write an IPAC table.

    Parameters
    ----------
    path : str
        The file.
    spec : sequence of Column
        The columns, in order.
    data : mapping of str to array_like
        Values of each column, all of one length; case of the names does not matter. What is not finite, and empty
        text, is written as ``null``.
    keywords : iterable of (kind, name, value)
        Keyword lines, such as ``('real', 'Conversion', 8.46)``.
    comments : iterable of str
        Text of comment lines, which stand first.

    Raises
    ------
    ValueError
        A column is missing or of another length.

    References
    ----------
    MOPEX User's Guide, APEX output tables. IRSA, IPAC Table Format.
    """
    columns = [_Written(column, _data(column.name, data)) for column in spec]
    lengths = {len(column.values) for column in columns}
    if len(lengths) > 1:
        raise ValueError(f"columns of {sorted(lengths)} rows cannot stand in one table")
    with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as file:
        file.writelines(f"\\char comment = {_one_line(text)}\n" for text in comments)
        file.writelines(
            f"\\{kind}{' ' if kind else ''}{name} = {_one_line(value)}\n" for kind, name, value in keywords
        )
        for attribute in ("name", "type", "unit", "null"):
            file.write(f"|{'|'.join(column.header(attribute) for column in columns)}|\n")
        form = " " + " ".join(column.form for column in columns) + "\n"
        for start in range(0, lengths.pop() if lengths else 0, CHUNK):
            parts = [column.values[start : start + CHUNK] for column in columns]
            rows = zip(*(p.tolist() if isinstance(p, np.ndarray) else p for p in parts), strict=True)
            file.write("".join([form % row for row in rows]))


def _one_line(text: Any) -> str:
    return " ".join(str(text).splitlines()) if str(text) else ""


def _data(name: str, data: Mapping[str, Any]) -> np.ndarray:
    if name in data:
        return np.asarray(data[name])
    for known, values in data.items():
        if known.casefold() == name.casefold():
            return np.asarray(values)
    raise ValueError(f"no values for column {name}")


class _Written:
    """A column to be written: its values, the conversion of a cell, and its width."""

    def __init__(self, column: Column, values: np.ndarray):
        self.name, self.type, self.unit, self.null = column.name, column.type, column.unit, NULL
        form = column.format
        if column.type == "int" and values.dtype.kind == "f":
            known = values[np.isfinite(values)]
            if (known % 1 != 0).any():  # a table by hand may count in fractions
                self.type, form = "double", "r"
            elif len(known) == len(values):
                values = values.astype(np.int64)
        self.values: Any = values
        if column.type == "char":
            self.values = [_cell_text(value) for value in values.tolist()]
        elif form == "r" or (values.dtype.kind == "f" and not np.isfinite(values).all()):
            self.values = _number_texts(values.tolist(), form)
        if isinstance(self.values, list):
            form = "s"
        self.width = max(len(self.name), len(self.type), len(self.unit), len(NULL), _width(self.values, form))
        self.form = f"%{'-' if column.type == 'char' else ''}{self.width}{form}"

    def header(self, attribute: str) -> str:
        """Give the cell of a header row."""
        return str(getattr(self, attribute)).ljust(self.width)


def _cell_text(value: Any) -> str:
    text = value.decode("latin-1") if isinstance(value, bytes) else str(value)
    return (
        "".join(letter if letter.isprintable() or letter > "\ud7ff" else "?" for letter in text.strip())
        or NULL
    )


def _number_texts(values: list, form: str) -> list[str]:
    convert = repr if form == "r" else f"%{form}".__mod__
    return [convert(value) if -np.inf < value < np.inf else NULL for value in values]


def _width(values: Any, form: str) -> int:
    """Give the width that holds all values."""
    if not len(values):
        return 0
    if form == "s":
        return max(map(len, values))
    if form[-1] in "df":
        return max(len(f"%{form}" % extreme) for extreme in (values.min(), values.max()))
    return int(form.strip(".eg") or 6) + 8  # sign, point, another digit, exponent of five
