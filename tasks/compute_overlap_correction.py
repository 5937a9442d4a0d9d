"""Compute Overlap Correction: one additive constant per frame that makes overlapping frames agree."""

from __future__ import annotations

import math
from typing import Any

from pymopex.kit.errors import TaskFailed
from pymopex.kit.images import read_image, write_image
from pymopex.kit.layers import layers, on_tile, stack, write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

_CLIP_PASSES = 4
_TILE = 512  # pixels; bounds the memory of a job, has no influence on the result but for rounding


def run(run: Run) -> None:
    """Write the table of offsets and, with ``apply_overlap_correction``, the corrected frames and their list."""
    from pymopex.overlap import OverlapParams

    p, frames = run.params, run.frames()
    chosen = layers(run)
    how = OverlapParams(
        p.TOP_THRESHOLD, p.BOTTOM_THRESHOLD, p.MIN_IMG_NUM, p.WEIGHT, p.USE_SPARSE_FOR_MANY_FILES
    )
    number = {files.index: n for n, files in enumerate(frames)}
    tiles = _tiles(run)
    jobs: list[Any] = [(box, part, [number[layer.files.index] for layer in part], None, 0.0)
            for box in tiles if len(part := on_tile(chosen, box)) > 1]  # fmt: skip
    result = _solve(run, jobs, len(frames), how)
    for _ in range(_CLIP_PASSES if p.Clip_Sigma > 0 and jobs else 0):
        # Hits, movers and the rims of stars pull the mean difference of a pair: leave them out by the last solution.
        before = result.offsets
        jobs = [(box, part, numbers, before, p.Clip_Sigma) for box, part, numbers, _, _ in jobs]
        result = _solve(run, jobs, len(frames), how)
        if _settled(before, result):
            break
    _write_offsets(run, frames, result)
    _report(run, frames, result, p.SKIP_BAD_IMAGE_CHECK)
    if p.apply_overlap_correction:
        _apply(run, frames, result.offsets)


def _solve(run: Run, jobs: list, count: int, how: Any) -> Any:
    from pymopex.overlap import merge, solve_offsets

    sums = merge(run.map(_pair_sums, jobs, "tiles"))
    try:
        return solve_offsets(count, sums, how)
    except ValueError as problem:
        raise TaskFailed(f"{problem} (WEIGHT above 0 damps them)") from None


def _settled(before: Any, result: Any) -> bool:
    """Tell whether a pass changed no offset by more than a tenth of its uncertainty."""
    import numpy as np

    change = np.abs(result.offsets - before)[~result.bad]
    return bool((change <= 0.1 * result.uncertainty[~result.bad]).all())


def _tiles(run: Run) -> list:
    from pymopex.tiling import tiles

    grid = run.fiducial()
    return tiles(grid.naxis1, grid.naxis2, _TILE, _TILE)


def _pair_sums(job: Any) -> Any:
    from pymopex.overlap import pair_sums

    box, part, numbers, offsets, clip = job
    stacked = stack(part, box)
    mine = None if offsets is None else offsets[numbers]
    return pair_sums(stacked, numbers, offsets=mine, clip_sigma=clip)


def _write_offsets(run: Run, frames, result) -> None:
    from pymopex import columns

    rows = {
        "index": list(range(1, len(frames) + 1)),
        "file": [files.image for files in frames],
        "offset": result.offsets,
        "delta_offset": result.uncertainty,
        "group": result.group,
        "outlier": [int(flag) for flag in result.outlier],
        "no_overlap": [int(flag) for flag in result.bad],
    }
    write_table_whole(run, run.path("offsets"), columns.OFFSETS, rows)


def _report(run: Run, frames, result, quiet: bool) -> None:
    spread = float(result.offsets.std()) if len(frames) > 1 else 0.0
    groups = len({int(group) for group in result.group})
    run.note(f"{len(frames)} offsets, rms {spread:.5f} image units, {groups} connected groups")
    alone = [files.image for files, flag in zip(frames, result.bad, strict=True) if flag]
    if alone and not quiet:
        run.note(
            f"Warning: {len(alone)} frames overlap no other and keep their level: {', '.join(alone[:5])}"
        )


def _apply(run: Run, frames, offsets) -> None:
    stamp = run.stamp()
    jobs = [
        (files.image, float(offset), run.path("corrected", base=files.base), stamp)
        for files, offset in zip(frames, offsets, strict=True)
    ]
    paths = run.map(_correct, jobs)
    write_list(run.path("corrected_list"), paths)
    run.keep(run.path("corrected_list"), *paths)


def _correct(job: Any) -> str:
    import numpy as np

    source, offset, target, stamp = job
    assert math.isfinite(offset)
    data, header = read_image(source)
    dtype = data.dtype if data.dtype.kind == "f" else np.float32
    header["OVERLAPC"] = (offset, "constant added by the overlap correction")
    return write_image(target, (data.astype("f8") + offset).astype(dtype), header, stamp, (source,))
