"""Tables on a page: pages of rows, filters, places on an image, and what is known of one source."""

from __future__ import annotations

import os
import threading
from typing import Any

import numpy as np

from pymopex import columns
from pymopex.kit.errors import InputError
from pymopex.kit.files import remembered
from pymopex.kit.ipac import Table, read_table, write_table
from pymopex.selection import select
from pymopex.view.sky import Sky, rounded

PAGE = 100
"""Rows of a page."""
_FITTED = (
    "extract.tbl",
    "extract_raw.tbl",
    "photcorr.tbl",
)  # tables that number sources as the light curves do
_hdf5 = threading.Lock()  # its library serves one thread at a time


@remembered(maxsize=12)
def table(path: str) -> Table:
    """Read a table, once as long as its file stays what it is."""
    return read_table(path)


def chosen(path: str, where: str = "", sort: str = "", down: bool = False) -> np.ndarray:
    """Give the rows of a table that fulfil a condition, in order.

    Parameters
    ----------
    path : str
        An IPAC table.
    where : str
        Condition, as Select has it; empty for all rows.
    sort : str
        Column to sort by; empty for the order of the file.
    down : bool
        Whether the largest comes first.

    Returns
    -------
    ndarray of int
        Numbers of the rows, from 0.

    Raises
    ------
    InputError
        The condition cannot be read, or a column is not there.
    """
    found = table(path)
    try:
        rows = np.flatnonzero(select(where, found.columns).rows)
    except ValueError as problem:
        raise InputError(str(problem)) from None
    if sort:
        values = found.column(sort)[rows]
        order = np.argsort(values, kind="stable")
        if down:
            order = order[::-1]
        if values.dtype.kind == "f":  # what is no number comes last
            order = np.concatenate([order[~np.isnan(values[order])], order[np.isnan(values[order])]])
        rows = rows[order]
    return rows


def page(path: str, where: str, sort: str, down: bool, start: int, at: int | None = None) -> dict[str, Any]:
    """Give a page of a table.

    Parameters
    ----------
    path, where, sort, down
        See `chosen`.
    start : int
        First row of the page among those chosen, from 0.
    at : int or None
        A row of the file, from 0: the page that holds it is given.

    Returns
    -------
    dict
        ``columns`` with name, unit, type and meaning; ``total`` and ``matched`` numbers of rows; ``start``; ``rows``
        of texts, and their numbers in the file, ``index``.
    """
    found, rows = table(path), chosen(path, where, sort, down)
    if at is not None and at in rows:
        start = int(np.flatnonzero(rows == at)[0]) // PAGE * PAGE
    some = rows[start : start + PAGE]
    spec = [columns.by_name(name, found) for name in found.columns]
    cells = [_texts(column, found.columns[column.name][some]) for column in spec]
    return {
        "columns": [{"name": c.name, "unit": c.unit, "type": c.type, "meaning": c.meaning} for c in spec],
        "total": len(found),
        "matched": len(rows),
        "start": start,
        "rows": [list(row) for row in zip(*cells, strict=True)],
        "index": some.tolist(),
    }


def _texts(column: columns.Column, values: np.ndarray) -> list[str]:
    form = repr if column.format == "r" else f"%{column.format}".__mod__
    if values.dtype.kind in "US":
        return [str(value) for value in values]
    if column.format == "d" and values.dtype.kind == "f":
        form = "%g".__mod__
    return ["" if value != value else form(value) for value in values.tolist()]


def has_places(found: Table) -> str:
    """Tell which columns give the places of a table: 'sky', 'pixels' or nothing."""
    if found.find("RA") is not None and found.find("Dec") is not None:
        return "sky"
    return "pixels" if found.find("x") is not None and found.find("y") is not None else ""


def places(path: str, where: str, sky: Sky) -> dict[str, Any]:
    """Give the places of the rows of a table on an image.

    Parameters
    ----------
    path, where
        See `chosen`.
    sky : Sky
        World coordinates of the image.

    Returns
    -------
    dict
        ``x`` and ``y`` in FITS pixels, from 1, the numbers of the rows in the file, ``index``, and their ``status``,
        1 where the table has none.

    Raises
    ------
    InputError
        The table has no places, or the condition cannot be read.

    Notes
    -----
    RA and Dec count where both the table and the image have them, else x and y.
    """
    found, rows = table(path), chosen(path, where)
    kind = has_places(found)
    if not kind:
        raise InputError(f"{os.path.basename(path)}: has neither RA and Dec nor x and y")
    if kind == "sky" and sky.known:
        x, y = sky.to_pixels(found.column("RA")[rows], found.column("Dec")[rows])
        x, y = x + 1, y + 1
    else:
        if found.find("x") is None:
            raise InputError(
                f"{os.path.basename(path)}: has RA and Dec, and the image has no sky coordinates"
            )
        x, y = (np.asarray(found.column(name)[rows], float) for name in "xy")
    status = found.find("status")
    known = np.ones(len(rows), int) if status is None else np.nan_to_num(status[rows]).astype(int)
    return {"x": rounded(x), "y": rounded(y), "index": rows.tolist(), "status": known.tolist()}


def source(path: str, row: int) -> dict[str, Any]:
    """Give what is known of one row: all its columns, and the light curve of a source that has one.

    Parameters
    ----------
    path : str
        An IPAC table.
    row : int
        Number of the row, from 0.

    Returns
    -------
    dict
        ``facts``, a list of name, text, unit and meaning; ``ra`` and ``dec`` [deg] or None; ``curve``, or None.
    """
    found = table(path)
    if not 0 <= row < len(found):
        raise InputError(f"{os.path.basename(path)}: has no row {row + 1}")
    spec = [columns.by_name(name, found) for name in found.columns]
    facts = [
        {
            "name": c.name,
            "text": _texts(c, found.columns[c.name][row : row + 1])[0],
            "unit": c.unit,
            "meaning": c.meaning,
        }
        for c in spec
    ]
    place = [found.find(name) for name in ("RA", "Dec")]
    ra, dec = (None if values is None else float(values[row]) for values in place)
    number = found.find("srcid")
    curve = None
    if number is not None and os.path.basename(path) in _FITTED:
        curve = _light_curve(os.path.dirname(path), int(number[row]))
    return {"facts": facts, "ra": ra, "dec": dec, "curve": curve}


def _light_curve(folder: str, srcid: int) -> dict[str, list[float | None]] | None:
    """Read the measurements of a source in single frames; None if the run has none."""
    from pymopex.kit.catalogues import read_light_curve

    path = os.path.join(folder, "extract.h5")
    if not os.path.isfile(path):
        return None
    try:
        with _hdf5:
            curve = read_light_curve(path, srcid)
    except InputError:
        return None
    return {name: _finite(np.asarray(curve[name], float)) for name in curve.colnames} if len(curve) else None


def _finite(values: np.ndarray) -> list[float | None]:
    return [float(value) if np.isfinite(value) else None for value in values]


def write_user_list(path: str, positions: list[tuple[float, float]]) -> None:
    """Write a list of positions for the user-list pipelines, whole or not at all.

    Parameters
    ----------
    path : str
        The table.
    positions : list of (float, float)
        Right ascension and declination [deg].

    Raises
    ------
    InputError
        A position is none.
    """
    from pymopex.kit.files import whole

    ra, dec = np.array(positions, float).reshape(-1, 2).T
    if not (np.isfinite(ra).all() and (np.abs(dec) <= 90).all()):
        raise InputError("a position is no right ascension and declination in degrees")
    spec = [columns.by_name(name, Table(path)) for name in ("srcid", "RA", "Dec")]
    data = {"srcid": np.arange(1, len(ra) + 1), "RA": ra % 360, "Dec": dec}
    with whole(path) as temporary:
        write_table(temporary, spec, data, comments=["positions chosen on an image"])
