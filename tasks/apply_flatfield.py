"""Apply Flatfield: frames and uncertainties divided by the flat field, or by its median.

The flat is the one of this run, of the scan leg of each frame, or any other that FLATFIELD_FILE_NAME names.

References
----------
README of flatfield.pl, distributed with MOPEX.
"""

from __future__ import annotations

import os
from typing import Any

from pymopex.kit.checking import refused
from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, read_image, write_image
from pymopex.kit.ipac import read_table
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name a flat that cannot be read or is of another size than the frames."""
    if not run.params.FLATFIELD_FILE_NAME:
        return []
    path = run.calibration("FLATFIELD_FILE_NAME")
    size = _size(path)
    return [
        f"{path}: is {size[0]} x {size[1]} pixels; {files.image} is {got[0]} x {got[1]}"
        for files in run.frames()
        if (got := _size(files.image)) != size
    ][:1]


def run(run: Run) -> None:
    """Write ``flat_<base>.fits`` for each frame and its uncertainty, and their lists.

    Notes
    -----
    A frame has no value where the flat has none, or one below Min_Flat.
    """
    p, stamp, frames = run.params, run.stamp(), run.frames()
    jobs = []
    for files, flat in zip(frames, _flats(run), strict=True):
        pairs = [(files.image, run.path("flattened", base=files.base))]
        if files.sigma:
            pairs.append((files.sigma, run.path("flattened", base=files.sigma_base)))
        jobs.append((pairs, flat, p.Min_Flat, stamp))
    for written in run.map(_divide, jobs):
        run.keep(*written)
    lists = [("flattened_list", [job[0][0][1] for job in jobs])]
    if all(files.sigma for files in frames):
        lists.append(("flattened_unc_list", [job[0][1][1] for job in jobs]))
    for product, paths in lists:
        write_list(run.path(product), paths)
        run.keep(run.path(product))
    run.note(f"{len(jobs)} frames divided by {', '.join(sorted({job[1] for job in jobs}))}")


def _size(path: str) -> tuple[int, int]:
    header = read_header(path)
    return header["NAXIS1"], header["NAXIS2"]


def _flats(run: Run) -> list[str]:
    """Give the flat of each frame."""
    frames = run.frames()
    if run.params.FLATFIELD_FILE_NAME:
        return [run.calibration("FLATFIELD_FILE_NAME")] * len(frames)
    product = "flat" if run.params.Flat_To_Apply == "flat" else "flat_median"
    table = read_table(run.existing("flat_table"))
    legs = dict(zip(map(str, table.column("file")), map(int, table.column("leg")), strict=True))
    out = []
    for files in frames:
        leg = legs.get(os.path.basename(files.image))
        if leg is None:
            raise InputError(f"{table.path}: has no row for {files.image}; run flatfield again")
        out.append(run.existing(product, leg=f"_leg{leg}" if leg else ""))
    return out


def _divide(job: Any) -> list[str]:
    from pymopex.flatfield import flattened

    pairs, path, least, stamp = job
    flat = read_image(path, dtype="f8")[0]
    written = []
    for source, target in pairs:
        image, header = read_image(source, dtype="f4")
        with refused(source):
            out = flattened(image, flat, least)
        written.append(write_image(target, out, header, stamp, (source, path)))
    return written
