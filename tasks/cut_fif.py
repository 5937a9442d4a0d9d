"""Cut FIF: the grid of a wide mosaic cut into tiles that jobs make apart from each other."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of, refused
from pymopex.kit.errors import InputError
from pymopex.kit.fif import read_fif, write_fif
from pymopex.kit.files import whole
from pymopex.kit.inputs import frame_files
from pymopex.kit.layers import frame_map, tile_rows, write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.fiducial import FiducialFrame
    from pymopex.geometry import Box
    from pymopex.kit.images import FrameFiles

_LISTS = {"image": "images", "sigma": "sigmas", "dmask": "masks", "rmask": "rmasks"}


def check(run: Run) -> list[str]:
    """Name a missing or unusable fiducial image frame, and lists of frames that do not fit to each other."""
    return problems_of(lambda: _grid(run) and None) + problems_of(lambda: _frames(run) and None)


def run(run: Run) -> None:
    """Write the grid, for each tile its frame, that of the job and the lists of its frames, and an index table.

    Notes
    -----
    All have the pixels of the grid, which has those of the mosaic (``MOSAIC_PIXEL_SIZE_X``), so that images made on
    them fit to each other pixel by pixel. ``scripts/batch_tiles.sh`` shows the way.

    Outliers of a frame are judged over the whole frame: a cluster of pixels gets one verdict, and its neighbours are
    judged by it. So the frame of a job holds, with ``Whole_Frames``, the whole of each frame that lies on the tile, and
    its lists have every frame that lies on that: the products of the tile are those of one run. Without, or without
    a list of frames, it holds the tile and a margin, and values near the rims of tiles differ from those of one run.
    """
    import numpy as np
    from pymopex import columns
    from pymopex.tiling import tiles

    p, grid = run.params, _grid(run)
    cores = tiles(grid.naxis1, grid.naxis2, p.Tile_Size, p.Tile_Size)
    frames = _frames(run)
    jobs = [(files, grid, p.USE_REFINED_POINTING, p.Skip_Bad_Frames) for files in frames]
    limits = np.array(run.map(_place, jobs, "headers"), dtype=int).reshape(len(frames), 4)
    margin = _margin(run)
    _write_frame(run, "tiled_grid", "", grid)
    for number, core in enumerate(cores, 1):
        job = core.grown((p.Tile_Margin, p.Tile_Margin), grid.shape)
        around = limits[_meet(limits, core)]
        if p.Whole_Frames and len(around):
            job = _round(np.vstack([around, _limits(job)])).grown(margin, grid.shape)
        _write_frame(run, "tile_core", number, _part(grid, core))
        _write_frame(run, "tile_job", number, _part(grid, job))
        if frames:
            _write_lists(run, number, [frames[i] for i in np.flatnonzero(_meet(limits, job))])
    rows = tile_rows([(core, run.path("tile_core", tile=number)) for number, core in enumerate(cores, 1)])
    write_table_whole(run, run.path("tile_index"), columns.TILES, rows)
    run.note(f"{len(cores)} tiles of a mosaic of {grid.naxis1} x {grid.naxis2} pixels")


def _grid(run: Run) -> FiducialFrame:
    """Read the fiducial image frame, with the pixels of the mosaic."""
    from pymopex.tasks.mosaic_interp import pixel_size

    path = run.params.FIF_FILE_NAME
    if not path:
        raise InputError("FIF_FILE_NAME: no fiducial image frame is given")
    grid = read_fif(path)
    return grid.rescaled(*pixel_size(run, grid.cdelt1, grid.cdelt2))


def _frames(run: Run) -> tuple[FrameFiles, ...]:
    """Give the frames as they are listed: jobs make what the modules change of them."""
    return frame_files(run.globals) if run.globals.IMAGE_STACK_FILE_NAME else ()


def _margin(run: Run) -> tuple[int, int]:
    """Give how far round a frame its pixels are judged by others: half the box of the box outliers."""
    p = run.params_of("mosaic_box_outlier")
    return p.BOX_X // 2, p.BOX_Y // 2


def _place(job: Any) -> tuple[int, int, int, int]:
    """Give the first pixels in x and y that a frame touches, and the first ones behind; of none, nothing."""
    files, grid, refined, may_fail = job
    try:
        with refused(files.image):
            placed = frame_map(files, grid, refined)
    except InputError:
        if not may_fail:
            raise
        placed = None
    return _limits(placed.box) if placed else (0, 0, 0, 0)


def _limits(box: Box) -> tuple[int, int, int, int]:
    return box.x0, box.y0, box.x1, box.y1


def _meet(limits: np.ndarray, box: Box) -> np.ndarray:
    """Tell which rectangles have pixels in common with a box."""
    x0, y0, x1, y1 = limits.T
    return (x0 < box.x1) & (box.x0 < x1) & (y0 < box.y1) & (box.y0 < y1) & (x0 < x1)


def _round(limits: np.ndarray) -> Box:
    """Give the smallest box that holds all rectangles."""
    from pymopex.geometry import Box

    (x0, y0), (x1, y1) = limits[:, :2].min(axis=0).tolist(), limits[:, 2:].max(axis=0).tolist()
    return Box(x0, y0, x1 - x0, y1 - y0)


def _part(grid: FiducialFrame, box: Box) -> FiducialFrame:
    shifted = {"crpix1": grid.crpix1 - box.x0, "crpix2": grid.crpix2 - box.y0}
    return replace(grid, naxis1=box.nx, naxis2=box.ny, **shifted)


def _write_frame(run: Run, product: str, number: int | str, frame: FiducialFrame) -> None:
    path = run.path(product, tile=number)
    with whole(path) as temporary:
        write_fif(temporary, frame, "Output from Cut_FIF")
    run.keep(path)


def _write_lists(run: Run, number: int, frames: list) -> None:
    """Write the lists of the frames of a job; of companions, those that are given."""
    for role, kind in _LISTS.items():
        paths = [getattr(files, role) for files in frames]
        if role == "image" or any(paths):
            path = run.path("tile_list", tile=number, kind=kind)
            write_list(path, paths)
            run.keep(path)
