"""Cut FIF: the grid of a wide mosaic cut into tiles that jobs make apart from each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from pymopex.kit.checking import problems_of
from pymopex.kit.errors import InputError
from pymopex.kit.fif import read_fif, write_fif
from pymopex.kit.files import whole
from pymopex.kit.layers import tile_rows, write_table_whole
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.fiducial import FiducialFrame
    from pymopex.geometry import Box


def check(run: Run) -> list[str]:
    """Name a missing or unusable fiducial image frame."""
    return problems_of(lambda: _grid(run) and None)


def run(run: Run) -> None:
    """Write the grid, for each tile its frame and that of the job, which has a margin, and an index table.

    Notes
    -----
    All have the pixels of the grid, which has those of the mosaic (``MOSAIC_PIXEL_SIZE_X``), so that images made on
    them fit to each other pixel by pixel. Values near the rim of a job's frame lack part of the frames' pixels that
    outliers are judged by: the margin is cut off from the products. ``scripts/batch_tiles.sh`` shows the way.
    """
    from pymopex import columns
    from pymopex.tiling import tiles

    p, grid = run.params, _grid(run)
    boxes = tiles(grid.naxis1, grid.naxis2, p.Tile_Size, p.Tile_Size)
    margin = p.Tile_Margin, p.Tile_Margin
    written = [("tiled_grid", "", grid)]
    for number, box in enumerate(boxes, 1):
        written.append(("tile_core", str(number), _part(grid, box)))
        written.append(("tile_job", str(number), _part(grid, box.grown(margin, grid.shape))))
    for product, number, frame in written:
        path = run.path(product, tile=number)
        with whole(path) as temporary:
            write_fif(temporary, frame, "Output from Cut_FIF")
        run.keep(path)
    cores = [(box, run.path("tile_core", tile=number)) for number, box in enumerate(boxes, 1)]
    write_table_whole(run, run.path("tile_index"), columns.TILES, tile_rows(cores))
    run.note(f"{len(boxes)} tiles of a mosaic of {grid.naxis1} x {grid.naxis2} pixels")


def _grid(run: Run) -> FiducialFrame:
    """Read the fiducial image frame, with the pixels of the mosaic."""
    from pymopex.tasks.mosaic_interp import pixel_size

    path = run.params.FIF_FILE_NAME
    if not path:
        raise InputError("FIF_FILE_NAME: no fiducial image frame is given")
    grid = read_fif(path)
    return grid.rescaled(*pixel_size(run, grid.cdelt1, grid.cdelt2))


def _part(grid: FiducialFrame, box: Box) -> FiducialFrame:
    shifted = {"crpix1": grid.crpix1 - box.x0, "crpix2": grid.crpix2 - box.y0}
    return replace(grid, naxis1=box.nx, naxis2=box.ny, **shifted)
