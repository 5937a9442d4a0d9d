"""Compute Overlap Correction: one additive constant per frame, or a plane, that makes overlapping frames agree."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of, refused
from pymopex.kit.errors import InputError, TaskFailed
from pymopex.kit.images import FrameFiles, read_header, read_image, write_image
from pymopex.kit.layers import Layer, layers, on_tile, parts, write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.geometry import Box
    from pymopex.overlap import Offsets, OverlapParams, PairSums, TileSums

_CLIP_PASSES = 4
# Tiles have no influence on the result but for rounding. They are wide: rows of frames are read as a whole.
_WIDTH, _HEIGHT, _LEAST_HEIGHT = 4096, 1024, 32  # pixels
_SQUARE = 512  # pixels, of tiles without uncertainties
_MOST_VALUES = 4_000_000  # of frames on a tile, which is lower if they are more: 12 bytes each
_MOST_LISTED = 4_000_000  # pixels of pairs near the limit of clipping, on all tiles: 48 bytes each


def check(run: Run) -> list[str]:
    """Name what is wrong in a table of offsets to be applied."""
    return problems_of(lambda: _given(run, run.frames()) and None) if run.params.OFFSETS_TABLE_IN else []


def run(run: Run) -> None:
    """Write the table of offsets and, with ``apply_overlap_correction``, the corrected frames and their list.

    Notes
    -----
    With OFFSETS_TABLE_IN nothing is solved: the offsets of that table are applied, those of a table that was edited,
    for example. Its rows are found by the file names of the frames; it needs the columns `file` and `offset`, and may
    have `group`, `slope_x` and `slope_y`. What was applied is written, without uncertainties, but not over that table.
    """
    frames, given = run.frames(), run.params.OFFSETS_TABLE_IN
    if given:
        result = _given(run, frames)
        run.note(f"{len(frames)} offsets of {given}, applied as they are")
    else:
        result = _find(run, frames)
        _report(run, frames, result, run.params.SKIP_BAD_IMAGE_CHECK)
    if not given or os.path.realpath(given) != os.path.realpath(run.path("offsets")):
        _write_offsets(run, frames, result)
    if run.params.apply_overlap_correction:
        _apply(run, frames, result)


def _given(run: Run, frames: tuple[FrameFiles, ...]) -> Offsets:
    """Read the offsets, and slopes if there are any, of the table that the user gives."""
    import numpy as np
    from pymopex.kit.ipac import read_table
    from pymopex.overlap import Offsets

    path = run.params.OFFSETS_TABLE_IN
    where = f"{run.params.origin('OFFSETS_TABLE_IN')}: OFFSETS_TABLE_IN = {path}"
    if not os.path.exists(path):
        raise InputError(f"{where}: no such file")
    table = read_table(path)
    missing = [name for name in ("file", "offset") if name not in table.columns]
    if missing:
        raise InputError(f"{where}: has no column {' and no column '.join(missing)}")
    rows = {os.path.basename(str(name)): i for i, name in enumerate(table.column("file"))}
    names = [os.path.basename(files.image) for files in frames]
    unknown = [name for name in names if name not in rows]
    if unknown:
        raise InputError(f"{where}: has no row for {len(unknown)} of {len(names)} frames: {_some(unknown)}")
    at = [rows[name] for name in names]
    offset, slope_x, slope_y, group = (
        np.asarray(table.column(name), dtype=float)[at] if name in table.columns else np.full(len(at), usual)
        for name, usual in (("offset", 0.0), ("slope_x", 0.0), ("slope_y", 0.0), ("group", 1.0))
    )
    good = np.isfinite([offset, slope_x, slope_y, group]).all(axis=0)
    if not good.all():
        bad = [name for name, fine in zip(names, good, strict=True) if not fine]
        raise InputError(f"{where}: offset, slope or group is not a number for {_some(bad)}")
    none, no = np.full((len(at), 2), np.nan), np.zeros(len(at), bool)
    return Offsets(offset, none[:, 0], group.astype(int), no, no, np.stack([slope_x, slope_y], axis=1), none)


def _some(names: list[str], most: int = 5) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _find(run: Run, frames: tuple[FrameFiles, ...]) -> Offsets:
    """Solve, leaving out pixels that differ too much by the solution before, until nothing changes."""
    from pymopex.overlap import OverlapParams, PairOptions

    p = run.params
    how = OverlapParams(
        *(p.TOP_THRESHOLD, p.BOTTOM_THRESHOLD, p.MIN_IMG_NUM, p.WEIGHT, p.USE_SPARSE_FOR_MANY_FILES),
        slope_damping=p.Slope_Damping,
    )
    number = {files.index: n for n, files in enumerate(frames)}
    chosen = layers(run)
    tiles = [(box, part, [number[layer.files.index] for layer in part]) for box in _tiles(run, chosen)
             if len(part := on_tile(chosen, box)) > 1]  # fmt: skip
    axes = _axes(run, frames) if p.Fit_Slopes else None
    share = _share(run, frames[0].image)
    most = _MOST_LISTED // max(1, len(tiles))
    options = [
        PairOptions(p.Count_Noise_Once, p.Clip_Sigma, bool(p.Fit_Slopes), share, (box.x0, box.y0), most)
        for box, *_ in tiles
    ]
    jobs = [(*tile, one) for tile, one in zip(tiles, options, strict=True)]
    known = run.map(_tile_sums, [(*job, {}) for job in jobs], "tiles")
    result, planes = _solve(run, [tile.all_pixels() for tile in known], how, axes)
    for _ in range(_CLIP_PASSES if p.Clip_Sigma > 0 and tiles else 0):
        # Hits, movers and the rims of stars pull the mean difference of a pair: leave them out by the last solution.
        before = result
        result, planes = _solve(run, _clipped(run, jobs, known, planes), how, axes)
        if _settled(before, result):
            break
    return result


def _clipped(run: Run, jobs: list, known: list[TileSums], planes: np.ndarray) -> list[PairSums]:
    """Give the sums of the tiles without what planes leave out; tiles that were made with others are made anew."""
    own = [planes[tile.numbers] for tile in known]
    found = [tile.clipped(part) for tile, part in zip(known, own, strict=True)]
    again = [i for i, sums in enumerate(found) if sums is None]
    new = [(*jobs[i], {"before": own[i], "margin": known[i].next_margin}) for i in again]
    for i, tile in zip(again, run.map(_tile_sums, new, "tiles"), strict=True):
        known[i], found[i] = tile, tile.clipped(own[i])
    return [sums for sums in found if sums is not None]


def _axes(run: Run, frames: tuple[FrameFiles, ...]) -> np.ndarray:
    """Give the axes of the frames on the mosaic."""
    import numpy as np

    grid, refined = run.fiducial(), run.params.USE_REFINED_POINTING
    return np.array(run.map(_axes_of, [(files.image, grid, refined) for files in frames]))


def _axes_of(job: Any) -> np.ndarray:
    from pymopex.geometry import frame_wcs
    from pymopex.overlap import detector_axes

    path, grid, refined = job
    header = read_header(path)
    with refused(path):
        return detector_axes(
            frame_wcs(header, refined=refined), (header["NAXIS2"], header["NAXIS1"]), grid.wcs()
        )


def _solve(
    run: Run, sums: list[PairSums], how: OverlapParams, axes: np.ndarray | None
) -> tuple[Offsets, np.ndarray]:
    """Solve with the sums of all tiles; gives the solution, and as planes on the mosaic."""
    from pymopex.overlap import merge, solve_offsets

    try:
        result = solve_offsets(len(run.frames()), merge(sums), how, axes)
    except ValueError as problem:
        raise TaskFailed(f"{problem} (WEIGHT above 0 damps them)") from None
    return result, result.planes(axes)


def _settled(before: Offsets, result: Offsets) -> bool:
    """Tell whether a pass changed no offset by more than a tenth of its uncertainty."""
    import numpy as np

    change = np.abs(result.offsets - before.offsets)[~result.bad]
    return bool((change <= 0.1 * result.uncertainty[~result.bad]).all())


def _tiles(run: Run, chosen: list[Layer]) -> list[Box]:
    """Cut the mosaic into tiles, by the number of values on the fullest."""
    from pymopex.tiling import tiles

    grid, height = run.fiducial(), _HEIGHT
    if not all(
        layer.sigma for layer in chosen
    ):  # a tile without uncertainties has one, which is measured on it
        return tiles(grid.naxis1, grid.naxis2, _SQUARE, _SQUARE)
    while True:
        found = tiles(grid.naxis1, grid.naxis2, _WIDTH, height)
        if height <= _LEAST_HEIGHT or max(_values(box, chosen) for box in found) <= _MOST_VALUES:
            return found
        height //= 2


def _values(tile: Box, chosen: list[Layer]) -> int:
    """Count the pixels of frames on a tile."""
    common = (layer.box.intersect(tile) for layer in chosen)
    return sum(box.nx * box.ny for box in common if box is not None)


def _tile_sums(job: Any) -> TileSums:
    from pymopex.overlap import tile_sums

    box, part, numbers, how, planes = job
    return tile_sums(parts(part, box), numbers, how, **planes)


def _write_offsets(run: Run, frames: tuple[FrameFiles, ...], result: Offsets) -> None:
    from pymopex import columns

    rows: dict[str, Any] = {
        "index": list(range(1, len(frames) + 1)),
        "file": [files.image for files in frames],
        "offset": result.offsets,
        "delta_offset": result.uncertainty,
        "group": result.group,
        "outlier": [int(flag) for flag in result.outlier],
        "no_overlap": [int(flag) for flag in result.bad],
    }
    for j, name in enumerate(("slope_x", "slope_y")):
        rows |= {name: result.slopes[:, j], f"delta_{name}": result.slope_uncertainty[:, j]}
    spec = (*columns.OFFSETS, *columns.SLOPES) if result.slopes.any() else columns.OFFSETS
    write_table_whole(run, run.path("offsets"), spec, rows)


def _share(run: Run, path: str) -> float:
    """Give the area of a pixel of the mosaic in pixels of the frame: so many independent values it holds."""
    import numpy as np
    from pymopex.geometry import frame_wcs, pixel_solid_angle

    header, grid = read_header(path), run.fiducial()
    middle = np.array([header["NAXIS1"] / 2]), np.array([header["NAXIS2"] / 2])
    centre = np.array([grid.crpix1 - 1]), np.array([grid.crpix2 - 1])
    areas = pixel_solid_angle(frame_wcs(header), *middle), pixel_solid_angle(grid.wcs(), *centre)
    return float(areas[1][0] / areas[0][0])


def _report(run: Run, frames: tuple[FrameFiles, ...], result: Offsets, quiet: bool) -> None:
    import numpy as np

    spread = float(result.offsets.std()) if len(frames) > 1 else 0.0
    sizes = sorted(np.bincount(result.group)[1:], reverse=True)
    groups = "1 connected group" if len(sizes) == 1 else f"{len(sizes)} connected groups"
    run.note(f"{len(frames)} offsets, rms {spread:.5f} image units, {groups}")
    if len(sizes) > 1:
        run.note(f"groups of {_some([str(size) for size in sizes], 10)} frames, each with a level of its own")
    if result.slopes.any():
        x, y = np.sqrt(np.mean(result.slopes**2, axis=0))
        run.note(f"slopes, rms {x:.3g} along x and {y:.3g} along y, image units per pixel")
    alone = [files.image for files, flag in zip(frames, result.bad, strict=True) if flag]
    if alone and not quiet:
        run.note(f"Warning: {len(alone)} frames overlap no other and keep their level: {_some(alone)}")


def _apply(run: Run, frames: tuple[FrameFiles, ...], result: Offsets) -> None:
    stamp = run.stamp()
    jobs = [
        (files.image, (float(offset), *map(float, slope)), run.path("corrected", base=files.base), stamp)
        for files, offset, slope in zip(frames, result.offsets, result.slopes, strict=True)
    ]
    paths = run.map(_correct, jobs)
    write_list(run.path("corrected_list"), paths)
    run.keep(run.path("corrected_list"), *paths)


def _correct(job: Any) -> str:
    import numpy as np

    source, (offset, slope_x, slope_y), target, stamp = job
    assert math.isfinite(offset)
    data, header = read_image(source)
    dtype = data.dtype if data.dtype.kind == "f" else np.float32
    header["OVERLAPC"] = (offset, "constant added by the overlap correction")
    correction: Any = offset
    if slope_x or slope_y:
        header["OVERLAPX"] = (slope_x, "[1/pixel] slope added along x, from the middle")
        header["OVERLAPY"] = (slope_y, "[1/pixel] slope added along y, from the middle")
        y, x = np.indices(data.shape)
        correction = (
            offset + slope_x * (x - (data.shape[1] - 1) / 2) + slope_y * (y - (data.shape[0] - 1) / 2)
        )
    return write_image(target, (data.astype("f8") + correction).astype(dtype), header, stamp, (source,))
