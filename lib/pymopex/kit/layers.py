"""Interpolated frames on the grid of the mosaic: where each lies, and stacks of them on a tile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pymopex.kit import sheets
from pymopex.kit.errors import InputError
from pymopex.kit.files import remembered
from pymopex.kit.images import FrameFiles, frame_geometry, read_section

if TYPE_CHECKING:
    import numpy as np
    from astropy.wcs import WCS

    from pymopex.geometry import Box, FiducialFrame, FrameMap
    from pymopex.kit.task import Run
    from pymopex.overlap_kernels import Parts
    from pymopex.stack import Stack


@dataclass(frozen=True)
class Layer:
    """One interpolated frame: its place on the mosaic and its files (no uncertainty, no variance: empty names)."""

    files: FrameFiles
    box: Box
    data: str
    coverage: str
    sigma: str
    variance: str = ""


def layers(run: Run, kind: str = "interp") -> list[Layer]:
    """Give the interpolated ('interp') or reinterpolated ('reinterp') frames that lie on the mosaic.

    Raises
    ------
    InputError
        If the table of interpolated frames is missing or does not match the list of frames.
    """
    from pymopex.geometry import Box
    from pymopex.kit.ipac import read_table

    path = run.existing(f"{kind}_table")
    table = read_table(path)
    names = {str(name): i for i, name in enumerate(table.column("name"))}
    place = [table.column(key) for key in ("offset_x", "offset_y", "nx", "ny")]
    found = []
    for files in run.frames():
        i = names.get(f"interp_{files.base}.fits")
        if i is None:
            raise InputError(f"{path}: has no row for {files.image}; run {_maker(kind)} again")
        box = Box(*(int(column[i]) for column in place))
        if box.nx and box.ny:
            data, coverage = (run.path(f"{kind}{part}", base=files.base) for part in ("", "_covg"))
            sigma = run.path(f"{kind}_unc", base=files.sigma_base) if files.sigma else ""
            variance = run.path(f"{kind}_var", base=files.base) if files.sigma else ""
            found.append(Layer(files, box, data, coverage, sigma, variance))
    return found


def _maker(kind: str) -> str:
    return "mosaic_interp" if kind == "interp" else "mosaic_reinterp"


def best_layers(run: Run) -> list[Layer]:
    """Give the frames to be co-added, with the coverage of Fix Coverage if ``use_fixed_coverage`` is 1."""
    found = plain_layers(run)
    if not (run.globals.use_fixed_coverage and "fix_coverage" in sheets.pipeline_tasks(run.pipeline)):
        return found
    return [replace(layer, coverage=run.existing("fixed_covg", base=layer.files.base)) for layer in found]


def problems_of_coverage(run: Run) -> list[str]:
    """Name the coverage maps that ``use_fixed_coverage`` asks for, if nothing makes them."""
    p = run.globals
    if run.pipeline != "mosaic" or not p.use_fixed_coverage or run.switched("fix_coverage"):
        return []
    if all(os.path.exists(run.path("fixed_covg", base=files.base)) for files in run.frames()):
        return []
    return [
        f"{p.origin('use_fixed_coverage')}: use_fixed_coverage = 1, and Fix Coverage (run_fix_coverage) is off"
    ]


def plain_layers(run: Run) -> list[Layer]:
    """Give the reinterpolated frames if Mosaic Reinterpolate is to run, else the interpolated ones."""
    return layers(run, "reinterp" if run.settings.triggered("mosaic_reinterp") else "interp")


def write_layer_table(run: Run, kind: str, boxes: list[Box | None]) -> None:
    """Write the table of interpolated frames: name, offset from the mosaic's origin, size (0 if off the mosaic)."""
    from pymopex import columns

    frames = run.frames()
    data: dict[str, Any] = {
        "name": [f"interp_{files.base}.fits" for files in frames],
        "nx": [box.nx if box else 0 for box in boxes],
        "ny": [box.ny if box else 0 for box in boxes],
        "offset_x": [box.x0 if box else 0 for box in boxes],
        "offset_y": [box.y0 if box else 0 for box in boxes],
    }
    write_table_whole(run, run.path(f"{kind}_table"), columns.INTERP, data)


def write_table_whole(run: Run, path: str, spec: Any, data: dict[str, Any], keywords: Any = ()) -> None:
    """Write an IPAC table, whole or not at all, and count it as a product of the task."""
    from pymopex import __version__
    from pymopex.kit.files import whole
    from pymopex.kit.ipac import write_table

    comments = [f"Output from pymopex {__version__} {run.task}", *run.params.cards()]
    with whole(path) as temporary:
        write_table(temporary, spec, data, keywords=list(keywords), comments=comments)
    run.keep(path)


def stack(chosen: list[Layer], tile: Box, *, need_sigma: bool = True, need_coverage: bool = True) -> Stack:
    """Read the parts of interpolated frames that lie on a tile, sorted by pixel.

    Without the coverages, what has a value counts: interpolation gives none where there is no coverage.
    """
    from pymopex.stack import Stack

    return Stack.build(tile, *_read_parts(chosen, tile, need_coverage, need_sigma))


def parts(chosen: list[Layer], tile: Box) -> Parts:
    """Read the parts of interpolated frames that lie on a tile, one behind the other."""
    from pymopex.overlap_kernels import Parts

    boxes, data, coverage, sigma = _read_parts(chosen, tile, need_coverage=True, need_sigma=True)
    assert coverage is not None
    return Parts.build(tile, boxes, data, coverage, sigma)


def _read_parts(
    chosen: list[Layer], tile: Box, need_coverage: bool, need_sigma: bool
) -> tuple[list[Box], np.ndarray, np.ndarray | None, np.ndarray | None]:
    """Give the places of the parts on a tile, and lines of their values, coverages and uncertainties (or None)."""
    where = [(layer, layer.box.intersect(tile)) for layer in chosen]
    inside = [(layer, box) for layer, box in where if box is not None]
    need_sigma = need_sigma and all(layer.sigma for layer, _ in inside)
    return (
        [box for _, box in inside],
        _line([(layer.data, layer.box, box) for layer, box in inside]),
        _line([(layer.coverage, layer.box, box) for layer, box in inside]) if need_coverage else None,
        _line([(layer.sigma, layer.box, box) for layer, box in inside]) if need_sigma else None,
    )


def _line(parts: list[tuple[str, Box, Box]]) -> np.ndarray:
    """Read parts of images, of which the places of the image and of the part are given, one behind the other."""
    import numpy as np

    line, end = np.empty(sum(part.nx * part.ny for *_, part in parts), np.float32), 0
    for path, image, part in parts:
        out = line[end : end + part.nx * part.ny].reshape(part.shape)
        read_section(path, *part.within(image), out=out)
        end += out.size
    return line


def on_tile(chosen: list[Layer], tile: Box) -> list[Layer]:
    """Give the layers that touch a tile."""
    return [layer for layer in chosen if layer.box.intersect(tile) is not None]


def read_mosaic_part(tiles: list[tuple[Box, str]], box: Box, plane: int | None = None) -> np.ndarray:
    """Put together a rectangle of the mosaic from tile images (of cubes: one plane); NaN where no tile is."""
    import numpy as np

    parts = [(tile, path, common) for tile, path in tiles if (common := tile.intersect(box)) is not None]
    out = np.empty(box.shape, dtype=np.float32)
    if sum(common.nx * common.ny for *_, common in parts) < out.size:  # tiles do not overlap
        out[:] = np.nan
    for tile, path, common in parts:
        read_section(path, *common.within(tile), plane, out[common.within(box)])
    return out


def frame_map(files: FrameFiles, run_grid: FiducialFrame, refined: bool) -> FrameMap | None:
    """Place a frame on the mosaic by its header."""
    return placed_on(run_grid, files.image, refined)


@remembered(4096)
def placed_on(grid: FiducialFrame, image: str, refined: bool) -> FrameMap | None:
    """Place an image on the mosaic by its header; five modules ask for the same."""
    from pymopex.geometry import FrameMap

    return FrameMap.make(*frame_geometry(image, refined), _grid_wcs(grid), grid.shape)


@lru_cache(maxsize=4)
def _grid_wcs(grid: FiducialFrame) -> WCS:
    return grid.wcs()


def mosaic_strips(grid: FiducialFrame, tiles: list[tuple[Box, str]]) -> Iterator[np.ndarray]:
    """Give the whole mosaic in strips of rows, one after the other."""
    from pymopex.geometry import Box

    for y in range(0, grid.naxis2, _STRIP):
        yield read_mosaic_part(tiles, Box(0, y, grid.naxis1, min(_STRIP, grid.naxis2 - y)))


def tile_boxes(run: Run, x_key: str = "TILE_XSIZ", y_key: str = "TILE_YSIZ", task: str = "") -> list[Box]:
    """Cut the mosaic into tiles by the sizes of a task, that at work unless one is named, and by `Memory`.

    Notes
    -----
    Products do not depend on the tiles. With `Memory` the sizes are halved until the stack of values of the fullest
    tile fits the share of each process.
    """
    from pymopex.tiling import tiles

    grid, p = run.fiducial(), run.params_of(task or run.task)
    size_x, size_y = getattr(p, x_key), getattr(p, y_key)
    boxes = tiles(grid.naxis1, grid.naxis2, size_x, size_y)
    budget = run.globals.Memory
    if not budget:
        return boxes
    room = max(1e9 * budget / run.pool.count - _PROCESS, _LEAST_ROOM)
    chosen = layers(run)
    while min(size_x, size_y) > _LEAST_TILE and max(_stack_bytes(box, chosen) for box in boxes) > room:
        size_x, size_y = size_x // 2, size_y // 2
        boxes = tiles(grid.naxis1, grid.naxis2, size_x, size_y)
    return boxes


_PROCESS, _LEAST_ROOM = 3e8, 5e7  # bytes: programs and compiled code, and what a stack gets at least
_LEAST_TILE = 64  # pixels
_STRIP = 256  # rows of the mosaic in memory at once
_PER_VALUE, _PER_PIXEL = (
    44,
    60,
)  # bytes, at the peak: what is read, the stack, a copy of it; and of the products


def _stack_bytes(tile: Box, chosen: list[Layer]) -> float:
    parts = (layer.box.intersect(tile) for layer in chosen)
    return _PER_PIXEL * tile.nx * tile.ny + _PER_VALUE * sum(part.nx * part.ny for part in parts if part)


def tile_rows(tiles: list) -> dict[str, list]:
    """Give the rows of a table of tiles."""
    return {
        "name": [os.path.basename(path) for _, path in tiles],
        "nx": [box.nx for box, _ in tiles],
        "ny": [box.ny for box, _ in tiles],
        "offset_x": [box.x0 for box, _ in tiles],
        "offset_y": [box.y0 for box, _ in tiles],
    }


def coadd_tiles(run: Run, part: str) -> list:
    """Give the place and the path of each co-added tile."""
    from pymopex.geometry import Box
    from pymopex.kit.ipac import read_table

    table = read_table(run.existing("coadd_tiles"))
    place = zip(*(table.column(key) for key in ("offset_x", "offset_y", "nx", "ny")), strict=True)
    return [
        (Box(*(int(value) for value in row)), run.existing(f"coadd_{part}", tile=number))
        for number, row in enumerate(place, 1)
    ]
