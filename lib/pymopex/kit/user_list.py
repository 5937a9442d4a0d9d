"""The positions at which sources are measured: the rows of the detection table, or of the user's list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymopex.kit.errors import InputError

if TYPE_CHECKING:
    import numpy as np

    from pymopex.kit.ipac import Table
    from pymopex.kit.searched import PixelGrid
    from pymopex.kit.task import Run

_SKY, _PIXELS = ("RA", "Dec"), ("x", "y")


@dataclass(frozen=True, eq=False)
class Positions:
    """Where sources are: number, degrees, pixels of the mosaic or of the one image (from 1), and their table."""

    detid: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    x: np.ndarray
    y: np.ndarray
    table: Table

    def has(self, *names: str) -> bool:
        """Tell whether the table has columns."""
        known = {name.casefold() for name in self.table.columns}
        return known.issuperset(name.casefold() for name in names)


def positions(run: Run, grid: PixelGrid) -> Positions:
    """Give the positions of a run.

    Raises
    ------
    InputError
        The table is missing or has no columns of positions.

    Notes
    -----
    A user's list has RA and Dec in degrees, or x and y, by ``use_input_list_type``; of a list with both, RA and Dec
    count. A list that has the other pair only, such as an edited detection table, is taken by that.
    """
    import numpy as np

    from pymopex.kit.ipac import read_table

    table = read_table(run.globals.INPUT_USER_LIST if run.user_list else run.existing("detect"))
    pair = _pair(run, table)
    first, second = (np.asarray(table.column(name), dtype=float) for name in pair)
    if run.user_list and (pair == _PIXELS) != (run.globals.use_input_list_type == "0"):
        run.note(f"{table.path}: the positions are taken from {' and '.join(pair)}")
    if pair == _SKY:
        ra, dec, (x, y) = first, second, grid.to_pixels(first, second)
    else:
        x, y, (ra, dec) = first, second, grid.to_sky(first, second)
    return Positions(_numbers(table), ra, dec, x, y, table)


def _pair(run: Run, table: Table) -> tuple[str, str]:
    """Tell which columns give the positions."""
    known = {name.casefold() for name in table.columns}
    wanted, other = (_SKY, _PIXELS) if run.globals.use_input_list_type != "0" else (_PIXELS, _SKY)
    if not run.user_list:
        return _PIXELS
    for pair in (wanted, other):
        if known.issuperset(name.casefold() for name in pair):
            return pair
    raise InputError(
        f"{table.path}: has neither RA and Dec nor x and y; its columns are {', '.join(table.columns)}"
    )


def _numbers(table: Table) -> np.ndarray:
    """Give the column srcid, or count the rows from 1."""
    import numpy as np

    if "srcid" in {name.casefold() for name in table.columns}:
        return np.asarray(table.column("srcid"), dtype=int)
    return np.arange(1, len(table) + 1)


def check_user_list(run: Run) -> list[str]:
    """Name a user's list that is missing or cannot be read."""
    from pymopex.kit.ipac import read_table

    if not run.user_list:
        return []
    keys = run.globals
    if not keys.INPUT_USER_LIST:
        return [f"{run.settings.namelist.path}: INPUT_USER_LIST: no list of positions is given (-u)"]
    try:
        _pair(run, read_table(keys.INPUT_USER_LIST))
    except InputError as problem:
        return [f"{keys.origin('INPUT_USER_LIST')}: INPUT_USER_LIST = {problem}"]
    return []
