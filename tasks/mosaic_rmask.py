"""Mosaic RMask: outlier masks in the pixels of the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.images import FrameFiles, Stamp, read_header, read_image, read_section, write_image
from pymopex.kit.layers import Layer, layers, write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.geometry import FiducialFrame
    from pymopex.rmask import RMaskParams


@dataclass(frozen=True)
class _Job:
    files: FrameFiles
    layer: Layer | None
    covg_map: str
    temporal: str
    dual: str
    box: str
    sources: str
    grid: FiducialFrame
    refined: bool
    radhit_bit: int
    how: RMaskParams
    target: str
    stamp: Stamp


def run(run: Run) -> None:
    """Write ``<base>_rmask.fits`` for each frame, their list, and the table of rejected pixels by method."""
    from pymopex import columns

    placed = {layer.files.index: layer for layer in layers(run)}
    jobs = [_job(run, files, placed.get(files.index)) for files in run.frames()]
    counts = run.map(_mask_frame, jobs)
    write_list(run.path("rmask_list"), [job.target for job in jobs])
    run.keep(run.path("rmask_list"), *(job.target for job in jobs))
    rows: dict[str, list] = {"file": [job.files.image for job in jobs]}
    for i, name in enumerate(("n_pixels", "radhit", "temporal", "dual", "box", "rejected")):
        rows[name] = [count[i] for count in counts]
    write_table_whole(run, run.path("rejected"), columns.REJECTED, rows)
    _note(run, counts)


def _job(run: Run, files: FrameFiles, layer: Layer | None) -> _Job:
    p, base = run.params, files.base
    on = layer is not None
    temporal = on and p.USE_OUTLIER_FOR_RMASK
    dual = on and p.USE_DUAL_OUTLIER_FOR_RMASK
    box = on and p.USE_BOX_OUTLIER_FOR_RMASK
    sources = dual or (on and p.REFINE_OUTLIER and run.settings.triggered("level"))
    level = run.existing("level", base=base) if sources else ""
    return _Job(
        files,
        layer,
        run.existing("covg_map"),
        run.existing("outlier", base=base) if temporal else "",
        level if dual else "",
        run.existing("box_outlier", base=base) if box else "",
        level,
        run.fiducial(),
        p.USE_REFINED_POINTING,
        p.DCE_Status_Mask_Radhit_Bit,
        _settings(p),
        run.path("rmask", base=base),
        run.stamp(),
    )


def _settings(p: Any) -> RMaskParams:
    from pymopex.rmask import RMaskParams

    return RMaskParams(
        rm_thresh=p.RM_THRESH,
        bottom=p.BOTTOM_THRESHOLD,
        top=p.TOP_THRESHOLD,
        min_coverage=p.MIN_COVERAGE,
        max_coverage=p.MAX_COVERAGE,
        refine=p.REFINE_OUTLIER,
        refine_thresh=p.REFINE_OUTLIER_THRESH,
        box_bottom=p.BOX_BOTTOM_THRESHOLD,
        box_top=p.BOX_TOP_THRESHOLD,
        box_min_coverage=p.BOX_MIN_COVERAGE,
        dual_thresh=p.DUAL_CONFIRM_THRESHOLD,
    )


def _note(run: Run, counts: list) -> None:
    import numpy as np

    total, *by_method = np.sum(counts, axis=0)
    names = ("radhit", "temporal", "dual", "box", "any")
    shares = ", ".join(
        f"{name} {100 * n / max(total, 1):.3f} %" for name, n in zip(names, by_method, strict=True)
    )
    run.note(f"{len(counts)} frames; rejected pixels: {shares}")


def _mask_frame(job: _Job) -> tuple[int, ...]:
    import numpy as np
    from pymopex.rmask import compose_rmask

    header = read_header(job.files.image)
    shape = (header["NAXIS2"], header["NAXIS1"])
    radhit = None
    if job.files.dmask:
        radhit = (read_image(job.files.dmask)[0].astype(np.int64) >> job.radhit_bit) & 1 > 0
    fractions = _fractions(job) if job.layer is not None else (None, None, None)
    mask = compose_rmask(radhit, *fractions, job.how.rm_thresh, shape=shape)
    if job.files.rmask:
        mask |= read_image(job.files.rmask)[0].astype(mask.dtype)  # left out by the second pass too
    write_image(job.target, mask, header, job.stamp, (job.files.image,))
    bits = [int(np.count_nonzero(mask & (1 << bit))) for bit in range(4)]
    return mask.size, *bits, int(np.count_nonzero(mask))


def _fractions(job: _Job) -> tuple[Any, Any, Any]:
    """Project the outliers of each method back onto the frame: covered fraction of each frame pixel."""
    from pymopex.interpolation import back_project
    from pymopex.kit.layers import frame_map
    from pymopex.rmask import box_flags, dual_flags, temporal_flags

    assert job.layer is not None
    coverage = read_section(job.covg_map, *job.layer.box.slices)
    sources = read_image(job.sources)[0] > 0 if job.sources else None
    placed = frame_map(job.files, job.grid, job.refined)
    maps = {path: read_image(path)[0] for path in (job.temporal, job.dual, job.box) if path}
    deviation = _largest([maps[path] for path in (job.temporal, job.box) if path])
    flags = (
        (job.temporal, lambda image: temporal_flags(image, coverage, sources, job.how)),
        (job.dual, lambda image: dual_flags(image, coverage, job.how, deviation)),
        (job.box, lambda image: box_flags(image, coverage, sources, job.how)),
    )
    return tuple(back_project(flag(maps[path]), placed) if path else None for path, flag in flags)


def _largest(deviations: list) -> Any:
    """Give the larger deviation of the methods that ran, None if none did."""
    import numpy as np

    if not deviations:
        return None
    return np.fmax(*deviations) if len(deviations) == 2 else deviations[0]
