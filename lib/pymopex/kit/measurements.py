"""``extract.h5``: the catalogue, the light curves of all sources and the frames, in tables that can be queried.

References
----------
PyTables User's Guide, "Optimization tips" (indexes, chunks, compression).
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex import __version__
from pymopex.columns import FRAMES, LIGHTCURVE, Column
from pymopex.kit.files import whole
from pymopex.kit.light_curves import ROW

if TYPE_CHECKING:
    import tables

    from pymopex.kit.catalogues import Catalogue
    from pymopex.kit.images import FrameFiles
    from pymopex.kit.task import Run

_NUMBERS = 100_000  # more than the sources of a group


def write_measurements(run: Run, catalogue: Catalogue, keys: Sequence, parts: Sequence[str]) -> None:
    """Write ``extract.h5``, whole or not at all.

    Parameters
    ----------
    run : Run
        Source Estimate at work.
    catalogue : Catalogue
        The content of ``extract_raw.tbl``.
    keys : sequence of (int, int)
        The name of each source in the rows of the jobs: first member of its group, and number there.
    parts : sequence of str
        Files of the jobs with their rows; one is in memory at a time.
    """
    import tables

    path, frames = run.path("extract_h5"), _frames(run.frames())
    with whole(path) as temporary, tables.open_file(temporary, "w") as file:
        file.root._v_attrs.program = f"pymopex {__version__} {run.task}"
        group = file.create_group("/", "parameters", "Parameters that made this file")
        for value in run.params:
            group._v_attrs[value.parameter.name] = "" if value.value is None else str(value.value)
        _add_catalogue(file, "catalogue", "All sources of extract_raw.tbl", catalogue)
        _add_table(file, "frames", "Frames", FRAMES, frames)
        _add_curves(file, catalogue.values["srcid"], keys, parts, frames)
    run.keep(path)


def add_selected(path: str, catalogue: Catalogue) -> None:
    """Write the table ``selected`` of ``extract.h5``: the rows of ``extract.tbl``; what else it holds is kept."""
    import tables

    with whole(path) as temporary:
        if os.path.exists(path):
            shutil.copyfile(path, temporary)
        with tables.open_file(temporary, "a") as file:
            if "/selected" in file:
                file.remove_node("/selected")
            _add_catalogue(file, "selected", "Sources of extract.tbl", catalogue)


def column_name(name: str) -> str:
    """Give the name that a column has in HDF5, where ``/`` stands between groups: ``chi2_dof`` for ``chi2/dof``."""
    return name.replace("/", "_")


def _add_catalogue(file: tables.File, name: str, title: str, catalogue: Catalogue) -> None:
    table = _add_table(file, name, title, catalogue.columns, catalogue.values)
    for key, value in catalogue.keywords.items():
        table.attrs[column_name(key)] = value
    table.attrs.provenance = "\n".join(catalogue.provenance)
    if "srcid" in table.colnames:
        table.cols.srcid.create_csindex(filters=_filters())


def _filters() -> tables.Filters:
    import tables

    return tables.Filters(complevel=5, complib="blosc", shuffle=True)


def _add_table(
    file: tables.File, name: str, title: str, spec: Sequence[Column], values: dict[str, Any]
) -> tables.Table:
    """Write a table with units and meanings of its columns as attributes."""
    arrays = [_stored(values[column.name]) for column in spec]
    dtype = np.dtype([(column_name(c.name), a.dtype) for c, a in zip(spec, arrays, strict=True)])
    rows = np.zeros(len(arrays[0]), dtype)
    for column, array in zip(spec, arrays, strict=True):
        rows[column_name(column.name)] = array
    table = _create(file, name, title, dtype, len(rows), spec)
    table.append(rows)
    table.flush()
    return table


def _create(
    file: tables.File, name: str, title: str, dtype: np.dtype, expected: int, spec: Sequence[Column]
) -> tables.Table:
    table = file.create_table(
        "/", name, dtype, title, filters=_filters(), expectedrows=max(expected, 1), track_times=False
    )
    for number, column in enumerate(spec):
        table.attrs[f"FIELD_{number}_UNIT"] = column.unit
        table.attrs[f"FIELD_{number}_MEANING"] = column.meaning
    return table


def _stored(values: Any) -> np.ndarray:
    """Turn text into bytes of at least one letter; numbers stay."""
    array = np.asarray(values)
    if array.dtype.kind not in "US":
        return array
    array = np.char.encode(array, "utf-8") if array.dtype.kind == "U" else array
    return array.astype(f"S{max(1, array.dtype.itemsize)}")


def _frames(frames: Sequence[FrameFiles]) -> dict[str, np.ndarray]:
    """Read when and how long the frames were exposed."""
    from pymopex.kit.images import read_header

    headers = [read_header(files.image) for files in frames]
    found: dict[str, np.ndarray] = {
        "frame": np.array([files.index + 1 for files in frames], np.int32),
        "file": np.array([os.path.basename(files.image) for files in frames]),
    }
    for name, key in (("mjd", "MJD_OBS"), ("bmjd", "BMJD_OBS"), ("exptime", "EXPTIME")):
        found[name] = np.array([_number(header.get(key)) for header in headers])
    return found


def _number(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) else float("nan")


def _add_curves(
    file: tables.File, srcid: np.ndarray, keys: Sequence, parts: Sequence[str], frames: dict[str, np.ndarray]
) -> None:
    """Append the rows of the jobs by source and frame, however the jobs were cut, and index them."""
    mjd = np.full(int(frames["frame"].max()) + 1, np.nan)
    mjd[frames["frame"]] = frames["mjd"]
    names = np.array([first * _NUMBERS + number for first, number in keys], np.int64)
    order = np.argsort(names)
    names, numbers = names[order], np.asarray(srcid)[order]
    expected = sum(_name_rows(part, names, numbers, mjd) for part in parts)
    table = _create(file, "lightcurve", "Sources in single frames", ROW, expected, LIGHTCURVE)
    step = max(1, _ROWS * len(srcid) // max(expected, 1))  # each step reads all files
    for first in range(1, len(srcid) + 1, step):
        found = np.concatenate([_between(part, first, first + step) for part in parts])
        table.append(found[np.lexsort((found["frame"], found["srcid"]))])
        table.flush()
    table.cols.srcid.create_csindex(filters=_filters())
    table.cols.frame.create_csindex(filters=_filters())


_ROWS = 500_000  # rows in memory at a time, about


def _name_rows(part: str, names: np.ndarray, numbers: np.ndarray, mjd: np.ndarray) -> int:
    """Give the rows of a job the numbers of their sources and the dates, in order of the numbers; counts them."""
    found = np.load(part)
    wanted = found["first"] * _NUMBERS + found["number"]
    place = np.minimum(np.searchsorted(names, wanted), len(names) - 1)
    rows = np.zeros(len(found), ROW)
    for name in ROW.names or ():
        rows[name] = found[name]
    rows["srcid"] = numbers[place]
    rows["mjd"] = mjd[rows["frame"]]
    np.save(part, rows[np.argsort(rows["srcid"], kind="stable")])
    return len(rows)


def _between(part: str, first: int, last: int) -> np.ndarray:
    """Read the rows of some sources."""
    rows = np.load(part, mmap_mode="r")
    start, end = np.searchsorted(rows["srcid"], [first, last])
    return np.array(rows[start:end])
