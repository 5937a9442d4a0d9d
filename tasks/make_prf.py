"""Make PRF: PRFs sampled 5 times in the form sampled 100 times, with their map and the kernel for detection."""

from __future__ import annotations

import os
import re
from typing import Any

from pymopex.kit.errors import InputError
from pymopex.kit.files import whole
from pymopex.kit.images import Stamp, read_image, write_image
from pymopex.kit.task import Run

_GRID = 5  # PRFs per side of the array
_FLUX_RADIUS = 10  # pixels of the frames: the radius of the calibration of IRAC
_BORDERS = {"centroid_border": 12.5, "zero_border": 2.5}  # input samples; 250 and 50 of the published form


def check(run: Run) -> list[str]:
    """Name a folder without PRFs."""
    try:
        _files(run)
    except InputError as problem:
        return [str(problem)]
    return []


def run(run: Run) -> None:
    """Write ``apex_sh_IRAC<c>_col..._row..._x100.fits``, ``prfmap.tbl`` and ``IRAC<c>_mosaic_detect_kernel.fits``.

    Notes
    -----
    The published procedure: linear magnification, the last row and column cut to odd size, recentred on the centroid,
    border set to zero (IRAC Instrument Handbook, appendix C). In the map, PRFPos is the lower left corner of the
    region a PRF serves. The kernel ends in a circle of 10 pixels of the frames, the radius of the calibration: fluxes
    fitted with it on a mosaic are on the scale of those fitted in the frames with Normalization_Radius = 1000.
    """
    from pymopex.kit.prfmap import PrfMapTable, write_prf_map

    p, files = run.params, _files(run)
    stamp, jobs = run.stamp(), []
    for path, column, row in files:
        name = f"apex_sh_IRAC{p.Channel}_col{column:03d}_row{row:03d}_x{5 * p.Magnification}.fits"
        target = os.path.join(p.OUTPUT_DIR, name)
        jobs.append((path, p.Magnification, p.Magnification_Method, target, stamp))
    shapes = run.map(_magnify, jobs, "PRFs")
    targets = [job[3] for job in jobs]
    corners = [_corner(column, row, p.Array_Size) for _, column, row in files]
    table = os.path.join(p.OUTPUT_DIR, "prfmap.tbl")
    regions = [(x, y, _side(x, p.Array_Size), _side(y, p.Array_Size)) for x, y in corners]
    with whole(table) as temporary:
        write_prf_map(temporary, PrfMapTable([os.path.basename(t) for t in targets], regions, shapes[0]))
    kernel = _kernel(run, targets[_central(files, p.Array_Size)], stamp)
    run.keep(*targets, table, kernel)
    run.note(
        f"{len(targets)} PRFs, {shapes[0][0]} x {shapes[0][1]} samples each; map {table}; kernel {kernel}"
    )


def _files(run: Run) -> list[tuple[str, int, int]]:
    """Find the PRFs of the channel: path, column and row, in the order of the map (column by column)."""
    p = run.params
    if not p.Input_Dir or not os.path.isdir(p.Input_Dir):
        raise InputError(f"{p.origin('Input_Dir')}: Input_Dir = {p.Input_Dir}: no such folder")
    found = []
    for name in sorted(os.listdir(p.Input_Dir)):
        match = re.fullmatch(r".*IRAC(\d)_col(\d+)_row(\d+)\.fits", name)
        if match and int(match[1]) == p.Channel:
            found.append((os.path.join(p.Input_Dir, name), int(match[2]), int(match[3])))
    if not found:
        raise InputError(f"{p.Input_Dir}: holds no PRFs named ...IRAC{p.Channel}_colXXX_rowYYY.fits")
    return sorted(found, key=lambda item: item[1:])


def _corner(column: int, row: int, array: int) -> tuple[int, int]:
    """Lower left corner, from 1, of the region of the regular grid that holds a position."""
    cells = [min(_GRID - 1, (position - 1) * _GRID // array) for position in (column, row)]
    x, y = (1 + cell * array // _GRID for cell in cells)
    return x, y


def _side(corner: int, array: int) -> int:
    cell = round((corner - 1) * _GRID / array)
    return (cell + 1) * array // _GRID - cell * array // _GRID


def _central(files: list[tuple[str, int, int]], array: int) -> int:
    distance = [(column - array / 2) ** 2 + (row - array / 2) ** 2 for _, column, row in files]
    return distance.index(min(distance))


def _magnify(job: Any) -> tuple[int, int]:
    from pymopex.prf_making import fine_prf

    path, magnification, method, target, stamp = job
    samples, header = read_image(path, dtype="f8")
    factor = int(header.get("PRFXRSMP", 5))
    borders = {name: round(width * magnification) for name, width in _BORDERS.items()}
    fine = fine_prf(samples, factor, magnification, method=method, **borders)
    out = _header(factor * magnification)
    for key in ("CHAN", "PRFROW", "PRFCOL", "PRFDATE"):
        if key in header:
            out[key] = header[key]
    write_image(target, fine.samples, out, stamp, (path,))
    return fine.samples.shape[1], fine.samples.shape[0]


def _header(factor: int) -> Any:
    from astropy.io import fits

    header = fits.Header()
    header["PRFXRSMP"] = (factor, "samples per pixel along x")
    header["PRFYRSMP"] = (factor, "samples per pixel along y")
    return header


def _kernel(run: Run, path: str, stamp: Stamp) -> str:
    """Write the PRF of the mosaic from that of the middle of the array."""
    from pymopex.prf import PRF
    from pymopex.prf_making import mosaic_kernel

    p = run.params
    samples, header = read_image(path, dtype="f8")
    factor = int(header["PRFXRSMP"])
    ratio = p.Mosaic_Pixel_Size / p.Native_Pixel_Size
    size = {"sampling": p.Kernel_Sampling, "radius": _FLUX_RADIUS / ratio, "circle": True}
    kernel = mosaic_kernel(PRF(samples, factor, factor), ratio, **size)
    target = os.path.join(p.OUTPUT_DIR, f"IRAC{p.Channel}_mosaic_detect_kernel.fits")
    return write_image(target, kernel.samples.astype("f4"), _header(p.Kernel_Sampling), stamp, (path,))
