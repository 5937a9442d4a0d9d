"""PRF map tables: which PRF serves which region of the detector array."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymopex.columns import Column
from pymopex.kit.errors import InputError, InputErrors

if TYPE_CHECKING:
    from pymopex.kit.ipac import Table

COLUMNS = (
    Column("PRFNum", "int", "", "d", "number of the PRF, from 1"),
    Column("NAXIS1", "int", "pixel", "d", "width of the region that the PRF serves"),
    Column("NAXIS2", "int", "pixel", "d", "height of the region that the PRF serves"),
    Column("PRFPos1", "int", "pixel", "d", "lower left corner of the region along x, from 1"),
    Column("PRFPos2", "int", "pixel", "d", "lower left corner of the region along y, from 1"),
)
_FILE = re.compile(r"prf_?file_?name_?(\d{1,6})", re.IGNORECASE)


@dataclass(frozen=True)
class PrfMapTable:
    """A PRF map.

    Parameters
    ----------
    files : list of str
        PRF images, named as in the table.
    regions : list of (x0, y0, nx, ny)
        Region of the array that each serves [pixel]: lower left corner, from 1, and size.
    size : (nx, ny)
        Size of the PRF images in samples; 0 where the table does not tell.
    """

    files: list[str]
    regions: list[tuple[int, int, int, int]] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)


def write_prf_map(path: str, table: PrfMapTable) -> None:
    """Write a PRF map.

    Parameters
    ----------
    path : str
        The table.
    table : PrfMapTable
        Its content.

    Raises
    ------
    ValueError
        There are not as many files as regions.

    References
    ----------
    MOPEX User's Guide, section 8.7.
    """
    from pymopex.kit.ipac import write_table

    if len(table.files) != len(table.regions):
        raise ValueError(f"{len(table.files)} PRFs for {len(table.regions)} regions")
    keywords = [
        ("int", "Number_of_PRFs", len(table.files)),
        ("int", "PRF_Xsize", table.size[0]),
        ("int", "PRF_Ysize", table.size[1]),
        *(("char", f"PRF_Filename_{i}", name) for i, name in enumerate(table.files, 1)),
    ]
    names = ("PRFPos1", "PRFPos2", "NAXIS1", "NAXIS2")
    data: dict[str, list[int]] = {"PRFNum": list(range(1, len(table.files) + 1))}
    data.update({name: [int(region[i]) for region in table.regions] for i, name in enumerate(names)})
    write_table(path, COLUMNS, data, keywords=keywords, comments=["PRF map"])


def read_prf_map(path: str) -> PrfMapTable:
    """Read a PRF map, also one edited by hand.

    Parameters
    ----------
    path : str
        The table. Its rows count; the number of PRFs that it tells does not. Rows may stand in any order and use
        one PRF several times.

    Raises
    ------
    InputError
        The table cannot be read, or has no columns of the regions.
    InputErrors
        With all rows that cannot be used.

    References
    ----------
    MOPEX User's Guide, section 8.7.
    """
    import numpy as np

    from pymopex.kit.ipac import read_table

    found = read_table(path)
    names = ("PRFNum", "PRFPos1", "PRFPos2", "NAXIS1", "NAXIS2")
    rows = np.column_stack([_numbers(found, name) for name in names])
    if not len(rows):
        raise InputError(f"{path}: names no PRF: the table has no rows")
    files = {
        int(match[1]): value for key, (_, value) in found.keywords.items() if (match := _FILE.fullmatch(key))
    }
    problems = [
        f"{path}: row {i}: {reason}" for i, row in enumerate(rows, 1) if (reason := _wrong(row, files))
    ]
    if problems:
        raise InputErrors(problems)
    chosen = [files[int(row[0])] for row in rows]
    regions = [(int(row[1]), int(row[2]), int(row[3]), int(row[4])) for row in rows]
    return PrfMapTable(chosen, regions, _size(found))


def _numbers(found: Table, name: str):
    values = found.column(name)
    if values.dtype.kind not in "if":
        raise InputError(f"{found.path}: column {name} holds text; whole numbers are needed")
    return values.astype(float)


def _wrong(row, files: dict[int, str]) -> str:
    if not all(abs(value) < 1e6 and value % 1 == 0 for value in row):
        return "holds something else than whole numbers"
    if min(row[3:]) < 1:
        return f"a region of {row[3]:.0f} x {row[4]:.0f} pixels is empty"
    if not files.get(int(row[0])):
        return f"PRF {row[0]:.0f} has no line PRF_Filename_{row[0]:.0f}"
    return ""


def _size(found: Table) -> tuple[int, int]:
    """Give the size of the PRF images: the last two numbers among the keywords before the names of the files."""
    before = []
    for key, (_, value) in found.keywords.items():
        if _FILE.fullmatch(key):
            break
        last = (value.split() or [""])[-1]
        if last.isdecimal() and len(last) <= 6:
            before.append(int(last))
    return (before[-2], before[-1]) if len(before) > 1 else (0, 0)
