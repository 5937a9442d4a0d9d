"""Mosaic Combine by hand: tiles of a list put together on the grid of a fiducial image frame.

The program of this name is called by scripts that make the tiles of a large mosaic one by one. In a pipeline,
Mosaic Combine (mosaic_combiner) does the same with the tiles of the run.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pymopex.kit.checking import problems_of, refused
from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, read_image, write_image
from pymopex.kit.lists import read_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.fiducial import FiducialFrame
    from pymopex.geometry import Box


def check(run: Run) -> list[str]:
    """Name what is missing, and tiles whose pixels are not those of the grid."""
    from pymopex.kit.fif import read_fif

    p, problems = run.params, []
    wanted = (("FIF_FILE_NAME", "-f"), ("Tile_List", "-g"))
    problems += [f"{key}: nothing is given ({flag})" for key, flag in wanted if not getattr(p, key)]
    if problems:
        return problems
    problems += problems_of(lambda: read_fif(p.FIF_FILE_NAME) and None)
    problems += problems_of(lambda: _tiles(run) and None)
    if not problems:
        grid = read_fif(p.FIF_FILE_NAME)
        problems += [text for path in _tiles(run) for text in problems_of(_misplaced, path, grid)]
    return problems


def run(run: Run) -> None:
    """Write the image; NaN where no tile has a value.

    Notes
    -----
    A tile lies where its world coordinates say; its pixels must be those of the grid, to 0.02 pixel. Where tiles
    overlap, the value of the first one of the list that has a value counts. What reaches over the rim of the grid is
    cut. The header is that of the first tile with the coordinates of the grid.
    """
    import numpy as np
    from pymopex.kit.fif import read_fif
    from pymopex.placing import paste

    p, paths = run.params, _tiles(run)
    grid = read_fif(p.FIF_FILE_NAME)
    mosaic = np.full(grid.shape, np.nan, np.float32)
    used = 0
    for path in paths:
        image, header = read_image(path, dtype="f4")
        used += paste(mosaic, image, _box(path, header, grid)) > 0
    header = read_header(paths[0])
    for key in ("MINTOFFX", "MINTOFFY", "HISTORY"):
        header.remove(key, ignore_missing=True, remove_all=True)
    header.update(grid.header())
    target = os.path.join(p.OUTPUT_DIR, p.Combined_Image)
    run.keep(write_image(target, mosaic, header, run.stamp(), paths[:100]))
    run.note(f"{target}: {grid.naxis1} x {grid.naxis2} pixels from {used} of {len(paths)} tiles")


def _tiles(run: Run) -> list[str]:
    name = run.params.Tile_List
    paths = [entry.path for entry in read_list(name)]
    if not paths:
        raise InputError(f"{name}: the list of tiles is empty")
    return paths


def _misplaced(path: str, grid: FiducialFrame) -> list[str]:
    _box(path, read_header(path), grid)
    return []


def _box(path: str, header, grid: FiducialFrame) -> Box:
    from pymopex.placing import box_on_grid
    from pymopex.projection import frame_wcs

    with refused(path):
        return box_on_grid(frame_wcs(header), (header["NAXIS2"], header["NAXIS1"]), grid)
