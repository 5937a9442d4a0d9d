"""Values of the rows of an IPAC table: cut between the bars of the header, or split at the blanks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from pymopex.kit.errors import InputError

CHUNK = 20_000  # rows at a time: bounds the memory, has no influence on the result
_ALLOWED = "char, int, long, real, float, double"
_NULLS = {"null", "nan", "none", "n/a", "-nan", "+nan"}


@dataclass
class Layout:
    """What the header says: names and, per column, kind, unit, text for null, and where the bars are."""

    path: str
    names: list[str]
    kinds: list[str]
    units: list[str]
    nulls: list[str]
    bars: list[int]

    @classmethod
    def from_header(cls, path: str, header: list[tuple[int, str]]) -> Layout:
        """Read the header rows, each with its line number."""
        if len(header) > 4:
            raise InputError(
                f"{path}:{header[4][0]}: a fifth header row; there are names, types, units, nulls"
            )
        rows = [_header_cells(line) for _, line in header]
        names, first = rows[0], header[0][1].rstrip()
        for (number, _), row in zip(header, rows, strict=True):
            if len(row) != len(names):
                raise InputError(f"{path}:{number}: {len(row)} cells; the row of names has {len(names)}")
        _check_names(path, header[0][0], names)
        kinds = [_kind(path, header[1][0], word) for word in rows[1]] if len(rows) > 1 else []
        blank = [""] * len(names)
        units, nulls = (rows[i] if len(rows) > i else blank for i in (2, 3))
        bars = [i for i, letter in enumerate(first) if letter == "|"]
        if len(bars) == len(names):
            bars.append(len(first))
        return cls(path, names, kinds, units, nulls, bars)


def _header_cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.rstrip().removeprefix("|").removesuffix("|").split("|")]


def _check_names(path: str, number: int, names: list[str]) -> None:
    for name in names:
        if not name:
            raise InputError(f"{path}:{number}: a column without a name")
        if names.count(name) > 1:
            raise InputError(f"{path}:{number}: more than one column is named {name}")


def _kind(path: str, number: int, word: str) -> str:
    start = word.casefold()
    for kind, long_names in (
        ("char", ("char", "str", "string", "text", "date")),
        ("int", ("integer", "long")),
        ("double", ("double", "real", "float")),
    ):
        if start and any(name.startswith(start) for name in long_names):
            return kind
    raise InputError(f"{path}:{number}: type {word or 'missing'}: not one of {_ALLOWED}")


def found_kinds(layout: Layout, rows: list[str], numbers: list[int]) -> list[str]:
    """Find the types of a table that does not tell them: numbers if all values are, integers if they look so."""
    kinds = []
    layout.kinds = ["char"] * len(layout.names)
    columns: list[list[str]] = [[] for _ in layout.names]
    for parts in chunks(layout, rows, numbers):
        for column, part in zip(columns, parts, strict=True):
            column.extend(part.tolist())
    for column in columns:
        values = [_number(text, "") for text in column]
        if None in values or not values:
            kinds.append("char" if values else "double")
        else:
            kinds.append("int" if all(text.lstrip("+-").isdecimal() for text in column) else "double")
    return kinds


def chunks(layout: Layout, rows: list[str], numbers: list[int]) -> Iterator[list[np.ndarray]]:
    """Give the values of each column, some thousand rows at a time."""
    for start in range(0, len(rows), CHUNK):
        yield _chunk(layout, rows[start : start + CHUNK], numbers[start : start + CHUNK])


def _chunk(layout: Layout, rows: list[str], numbers: list[int]) -> list[np.ndarray]:
    cells, off = _cut(layout, rows)
    split = {int(i): _split(layout, rows[i], numbers[i]) for i in np.flatnonzero(off)}
    values = [_quick(cell, kind) for cell, kind in zip(cells, layout.kinds, strict=True)]
    for i in _doubtful(layout, cells, values, off):
        words = rows[i].split()
        if len(words) == len(cells) and not _wrong(layout, words):
            split[i] = words
        elif wrong := _wrong(layout, [_text(cell[i : i + 1])[0] for cell in cells], empty=True):
            raise InputError(f"{layout.path}:{numbers[i]}: {wrong}")
    if split:
        cells = _with_split(cells, split)
        values = [_quick(cell, kind) for cell, kind in zip(cells, layout.kinds, strict=True)]
    given = zip(values, cells, layout.kinds, layout.nulls, strict=True)
    return [_values(cell, kind, null) if known is None else known for known, cell, kind, null in given]


def _cut(layout: Layout, rows: list[str]) -> tuple[list[np.ndarray], np.ndarray]:
    """Cut the rows at the bars; gives the cells of each column, and which rows do not stand between the bars."""
    letters = _letters(rows, layout.bars[-1] + 1)
    one_byte = letters.dtype.itemsize == 1
    codes = letters.view(np.uint8 if one_byte else np.uint32)
    off = (codes[:, layout.bars] != ord(" ")).any(axis=1)
    off |= (codes[:, layout.bars[-1] :] != ord(" ")).any(axis=1)
    cells = []
    for left, right in zip(layout.bars[:-1], layout.bars[1:], strict=True):
        cut = np.ascontiguousarray(letters[:, left + 1 : right])
        kind = f"{'S' if one_byte else 'U'}{right - left - 1}"
        cells.append(cut.view(kind)[:, 0] if cut.size else np.zeros(len(rows), "U1"))
    return cells, off


def _letters(rows: list[str], width: int) -> np.ndarray:
    """Give the rows as an array of single characters, padded with blanks."""
    width = max(width, max(map(len, rows)))
    text = "".join([row.ljust(width) for row in rows])
    if text.isascii():
        return np.frombuffer(text.encode(), "S1").reshape(len(rows), width)
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<U1").reshape(len(rows), width)


def _split(layout: Layout, row: str, number: int) -> list[str]:
    """Split a row that does not stand under the header."""
    words = row.split()
    if len(words) != len(layout.names):
        raise InputError(
            f"{layout.path}:{number}: {len(words)} values, not under the {len(layout.names)} columns of the header"
        )
    wrong = _wrong(layout, words)
    if wrong:
        raise InputError(f"{layout.path}:{number}: {wrong}")
    return words


def _doubtful(
    layout: Layout, cells: list[np.ndarray], values: list[np.ndarray | None], off: np.ndarray
) -> list[int]:
    """Find the rows under the header with a cell that should be a number and is none."""
    rows: set[int] = set()
    for cell, known, kind, null in zip(cells, values, layout.kinds, layout.nulls, strict=True):
        if kind != "char" and known is None:
            rows.update(i for i, text in enumerate(_text(cell)) if not off[i] and _number(text, null) is None)
    return sorted(rows)


def _quick(cell: np.ndarray, kind: str) -> np.ndarray | None:
    """Read a column of numbers in one go, if it holds nothing else."""
    if kind == "char":
        return None
    try:
        return cell.astype(np.int64 if kind == "int" else np.float64)
    except (ValueError, OverflowError):
        return None


def _strings(cell: np.ndarray) -> np.ndarray:
    return cell.astype(f"U{cell.dtype.itemsize}") if cell.dtype.kind == "S" else cell


def _text(cell: np.ndarray) -> list[str]:
    return [text.strip() for text in _strings(cell).tolist()]


def _number(text: str, null: str) -> float | None:
    """Read a number; null is NaN, anything else None."""
    try:
        return float(text)
    except ValueError:
        return float("nan") if text.casefold() in _NULLS or (text and text == null) else None


def _wrong(layout: Layout, words: list[str], *, empty: bool = False) -> str:
    """Name the first word that should be a number and is none; an empty one may pass for null."""
    for name, kind, null, word in zip(layout.names, layout.kinds, layout.nulls, words, strict=True):
        if kind != "char" and not (empty and not word) and _number(word, null) is None:
            return f"column {name}: {word or 'nothing'} is not a number"
    return ""


def _with_split(cells: list[np.ndarray], split: dict[int, list[str]]) -> list[np.ndarray]:
    """Put the words of the split rows into the columns."""
    where, result = list(split), []
    for cell, words in zip(cells, zip(*split.values(), strict=True), strict=True):
        new = np.array(words)
        text = _strings(cell)
        text = text.astype(np.promote_types(text.dtype, new.dtype))
        text[where] = new
        result.append(text)
    return result


def _values(cell: np.ndarray, kind: str, null: str) -> np.ndarray:
    """Read a column that holds text or nulls; whole numbers that are written as floats are integers."""
    if kind == "char":
        return np.array(_text(cell), dtype=str)
    found = (_number(text, null) for text in _text(cell))
    values = np.array([np.nan if value is None else value for value in found])
    if kind == "int" and (np.abs(values) < 2**53).all() and (values % 1 == 0).all():
        return values.astype(np.int64)
    return values
