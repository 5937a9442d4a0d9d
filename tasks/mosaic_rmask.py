"""Mosaic RMask: outlier masks in the pixels of the frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles, read_header
from pymopex.kit.layers import Layer, layers, tile_boxes, write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.masking import RMaskJob, find_peaks, mask_frame
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.core_losses import Losses
    from pymopex.frame_check import FrameCheck
    from pymopex.geometry import Box
    from pymopex.rmask import RMaskParams


def run(run: Run) -> None:
    """Write ``<base>_rmask.fits`` for each frame, their list, and the table of rejected pixels by method.

    Notes
    -----
    With ``FRAME_THRESHOLD`` the pixels of each frame are compared with the median of all frames (of two the lower),
    projected back on it; what deviates is set in the bit of the temporal outliers, or in that of the box outliers
    if only these are used.
    Where half of a frame pixel is not seen by a second frame there is no comparison.

    The log tells which part of the pixels is rejected at the cores of the ``Core_Peaks`` brightest peaks, and
    elsewhere; there is a warning if the cores lose much more, since hits fall on both alike.
    """
    from pymopex import columns

    placed = {layer.files.index: layer for layer in layers(run)}
    tiles = _statistics_tiles(run)
    shared = _check(run.params), tiles, find_peaks(run, tiles, run.params.Core_Peaks)
    jobs = [_job(run, files, placed.get(files.index), shared) for files in run.frames()]
    counts, lost = zip(*run.map(mask_frame, jobs), strict=True)
    write_list(run.path("rmask_list"), [job.target for job in jobs])
    run.keep(run.path("rmask_list"), *(job.target for job in jobs))
    rows: dict[str, list] = {"file": [job.files.image for job in jobs]}
    for i, name in enumerate(("n_pixels", "radhit", "temporal", "dual", "box", "rejected")):
        rows[name] = [count[i] for count in counts]
    write_table_whole(run, run.path("rejected"), columns.REJECTED, rows)
    _note(run, counts)
    _note_losses(run, lost, len(shared[2][0]))


def _job(run: Run, files: FrameFiles, layer: Layer | None, shared: tuple) -> RMaskJob:
    p, base = run.params, files.base
    on = layer is not None
    temporal = on and p.USE_OUTLIER_FOR_RMASK
    dual = on and p.USE_DUAL_OUTLIER_FOR_RMASK
    box = on and p.USE_BOX_OUTLIER_FOR_RMASK
    levelled = dual or (on and p.REFINE_OUTLIER and run.settings.triggered("level"))
    return RMaskJob(
        files,
        layer,
        run.existing("covg_map"),
        run.existing("outlier", base=base) if temporal else "",
        run.existing("box_outlier", base=base) if box else "",
        run.existing("level", base=base) if levelled else "",
        bool(dual),
        run.fiducial(),
        p.USE_REFINED_POINTING,
        p.DCE_Status_Mask_Radhit_Bit,
        _settings(p),
        run.path("rmask", base=base),
        run.stamp(),
        run.bits,
        *shared,
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


def _check(p: Any) -> FrameCheck:
    from pymopex.frame_check import FrameCheck

    return FrameCheck(
        p.FRAME_THRESHOLD,
        p.FRAME_GROW_THRESHOLD,
        p.FRAME_GRADIENT_TOLERANCE,
        p.REFINE_OUTLIER_THRESH if p.REFINE_OUTLIER else 0.0,
    )


def _statistics_tiles(run: Run) -> list[tuple[Box, str]]:
    """Give place and path of the tiles that tell what the frames show; none without temporal and box outliers."""
    p = run.params
    used = (("outlier", p.USE_OUTLIER_FOR_RMASK), ("box_outlier", p.USE_BOX_OUTLIER_FOR_RMASK))
    products = [product for product, use in used if use]
    if not products or not (p.FRAME_THRESHOLD or p.Core_Peaks):
        return []
    boxes = tile_boxes(run, task=f"mosaic_{products[0]}")
    paths = [run.existing(f"{products[0]}_tile", tile=number) for number in range(1, len(boxes) + 1)]
    for box, path in zip(boxes, paths, strict=True):
        header = read_header(path)
        if [header.get(f"NAXIS{axis}") for axis in (1, 2, 3)] != [box.nx, box.ny, 3]:
            raise InputError(f"{path}: is not of these tiles; run mosaic_{products[0]} again")
    return list(zip(boxes, paths, strict=True))


def _note(run: Run, counts: list) -> None:
    import numpy as np

    total, *by_method = np.sum(counts, axis=0)
    names = ("radhit", "temporal", "dual", "box", "any")
    shares = ", ".join(
        f"{name} {100 * n / max(total, 1):.3f} %" for name, n in zip(names, by_method, strict=True)
    )
    run.note(f"{len(counts)} frames; rejected pixels: {shares}")


def _note_losses(run: Run, lost: tuple[Losses, ...], n_peaks: int) -> None:
    from pymopex.core_losses import Losses
    from pymopex.kit import log

    total = sum(lost, start=Losses())
    if not total.cores:
        return
    core, sky = (100 * share for share in total.shares)
    run.note(
        f"at the {n_peaks} brightest peaks {core:.3f} % of the core pixels are rejected, elsewhere {sky:.3f} %"
    )
    if total.harmful:
        log.say(
            f"Warning: rejection takes {core:.2f} % of the pixels at the cores of bright sources, "
            f"of the sky {sky:.2f} %: their fluxes on the mosaic may be too low; "
            "raise Gradient_Tolerance, FRAME_GRADIENT_TOLERANCE or the thresholds"
        )
