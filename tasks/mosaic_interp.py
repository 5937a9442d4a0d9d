"""Mosaic Interpolate: frames interpolated onto the grid of the mosaic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymopex.kit import log
from pymopex.kit.checking import problems_of_settings, refused
from pymopex.kit.errors import InputError
from pymopex.kit.interpolate import InterpolationJob, interpolate_frame, wanted_method
from pymopex.kit.layers import frame_map, write_layer_table
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.fiducial import FiducialFrame

_FIELDS = {"fineres": "FINERES", "driz_fac": "DRIZ_FAC", "grid_ratio": "GRID_RATIO", "alpha": "ALPHA"}


def check(run: Run) -> list[str]:
    """Name contradictions in the pixel size and in the settings of the method."""
    problems = problems_of_settings(run, lambda: pixel_size(run, 1.0, 1.0))
    return problems + problems_of_settings(run, lambda: wanted_method(run), _FIELDS)


def run(run: Run) -> None:
    """Write ``mosaic_fif.tbl`` and the interpolated images, coverages and uncertainties, with their table and lists.

    Notes
    -----
    In Mosaic, drizzle and grid (``INTERP_METHOD`` 2 and 3) take two passes if Mosaic RMask is switched on: this
    module interpolates by area overlap, the outliers are found, and Mosaic Reinterpolate makes the second pass by
    the method asked for, without them. Without Mosaic RMask the method is used here, with the masks of
    ``RMASK_LIST`` if they are given.

    Frames in counts (``BUNIT`` is no surface brightness) keep their sums: a mosaic pixel gets the counts of its part
    of the frame's pixels. Overlap averages counts as well, so that the offsets are in counts of the frames.
    """
    from pymopex.kit.fif import write_fif
    from pymopex.kit.files import whole

    fiducial = run.fiducial("fif")
    with refused(run.fiducial_path()):
        grid = fiducial.rescaled(*pixel_size(run, fiducial.cdelt1, fiducial.cdelt2))
    with whole(run.path("mosaic_fif")) as temporary:
        write_fif(temporary, grid, "Output from Mosaic_INT")
    run.keep(run.path("mosaic_fif"))
    bright = run.pipeline == "overlap" and run.params.mask_bright and run.settings.triggered("detect_outlier")
    jobs = [_job(run, files, grid, bright) for files in run.frames()]
    _tell_space(run, grid)
    boxes = run.map(interpolate_frame, jobs)
    write_layer_table(run, "interp", boxes)
    _write_lists(run, jobs, boxes)
    if like_image(run) and run.params.is_set("MOSAIC_PIXEL_SIZE_X"):
        run.note(f"pixel size of {like_image(run)} (Like_Image) in place of MOSAIC_PIXEL_SIZE_X and _Y")
    inside = sum(box is not None for box in boxes)
    run.note(f"{inside} of {len(jobs)} frames on a mosaic of {grid.naxis1} x {grid.naxis2} pixels")
    if not inside:
        raise InputError(f"{run.fiducial_path()}: none of the frames lies on this fiducial frame")


def _tell_space(run: Run, grid: FiducialFrame) -> None:
    """Tell how much space the images of the frames on the mosaic will take, and warn if there is less."""
    import shutil

    on = [task for task in _BYTES if task == run.task or run.switched(task)]
    frames = run.frames()
    for files in (frames[0], frames[-1]):
        placed = frame_map(files, grid, run.params.USE_REFINED_POINTING)
        if placed is not None:
            need = len(frames) * placed.box.nx * placed.box.ny * sum(_BYTES[task] for task in on)
            free = shutil.disk_usage(run.globals.OUTPUT_DIR).free
            run.note(
                f"images of the frames on the mosaic will take {need / 1e9:.1f} GB of {free / 1e9:.1f} GB that are free"
            )
            if need > free:
                log.say(f"Warning: {run.globals.OUTPUT_DIR}: too little space for the images of this run")
            return


_BYTES = {
    "mosaic_interp": 12,
    "mosaic_proj": 4,
    "mosaic_dual_outlier": 4,
    "level": 4,
    "mosaic_outlier": 4,
    "mosaic_box_outlier": 4,
    "mosaic_reinterp": 12,
}
"""Bytes that a module writes for each pixel of the mosaic under a frame."""


def like_image(run: Run) -> str:
    """Give the image whose grid the mosaic takes, pixel size included; empty if none is given."""
    return run.params_of("fiducial_image_frame").Like_Image


def pixel_size(run: Run, cdelt1: float, cdelt2: float) -> tuple[float, float]:
    """Give the pixel size of the mosaic, that of the fiducial frame being `cdelt1` and `cdelt2` [deg].

    Raises
    ------
    InputError
        Size and ratio are both given, or one of them along one axis only.
    """
    p = run.params
    sizes, ratios = (
        (p.MOSAIC_PIXEL_SIZE_X, p.MOSAIC_PIXEL_SIZE_Y),
        (p.MOSAIC_PIXEL_RATIO_X, p.MOSAIC_PIXEL_RATIO_Y),
    )
    if any(sizes) and any(ratios):
        raise InputError(
            f"{p.origin('MOSAIC_PIXEL_RATIO_X')}: MOSAIC_PIXEL_SIZE_X/Y and MOSAIC_PIXEL_RATIO_X/Y are both given; "
            "give one of them"
        )
    for name, pair in (("SIZE", sizes), ("RATIO", ratios)):
        if any(pair) and not all(pair):
            key = f"MOSAIC_PIXEL_{name}_{'X' if pair[0] else 'Y'}"
            raise InputError(
                f"{p.origin(key)}: MOSAIC_PIXEL_{name}_X and MOSAIC_PIXEL_{name}_Y must be given together"
            )
    if like_image(run):
        return cdelt1, cdelt2
    if all(sizes):
        return sizes
    if all(ratios):
        return cdelt1 / ratios[0], cdelt2 / ratios[1]
    return cdelt1, cdelt2


def _job(run: Run, files, grid, bright: bool) -> InterpolationJob:
    from pymopex.interpolation import Interpolation

    # The variance belongs to the pass that is co-added.
    with_variance = (
        run.params.create_var_mosaic and files.sigma and not run.settings.triggered("mosaic_reinterp")
    )
    return InterpolationJob(
        files,
        run.bits,
        grid,
        run.params.USE_REFINED_POINTING,
        Interpolation() if run.settings.two_passes else wanted_method(run),
        run.path("interp", base=files.base),
        run.path("interp_covg", base=files.base),
        run.path("interp_unc", base=files.sigma_base) if files.sigma else "",
        run.stamp(),
        run.existing("detmap", base=files.base) if bright else "",
        run.path("interp_var", base=files.base) if with_variance else "",
        as_brightness=run.pipeline == "overlap",
    )


def _write_lists(run: Run, jobs: list[InterpolationJob], boxes: list) -> None:
    inside = [job for job, box in zip(jobs, boxes, strict=True) if box is not None]
    run.keep(*(job.variance for job in inside if job.variance))
    lists = {
        "interp_list": [job.data for job in inside],
        "interp_covg_list": [job.coverage for job in inside],
        "interp_unc_list": [job.sigma for job in inside if job.sigma],
    }
    for product, paths in lists.items():
        if paths:
            write_list(run.path(product), paths)
            run.keep(run.path(product), *paths)
