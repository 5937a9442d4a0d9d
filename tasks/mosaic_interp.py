"""Mosaic Interpolate: frames interpolated onto the grid of the mosaic."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymopex.kit.checking import problems_of_settings, refused
from pymopex.kit.errors import InputError
from pymopex.kit.interpolate import InterpolationJob, interpolate_frame
from pymopex.kit.layers import write_layer_table
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.interpolation import Interpolation

_FIELDS = {"fineres": "FINERES", "driz_fac": "DRIZ_FAC", "grid_ratio": "GRID_RATIO", "alpha": "ALPHA"}


def check(run: Run) -> list[str]:
    """Name contradictions in the pixel size and in the settings of the method."""
    problems = problems_of_settings(run, lambda: _pixel_size(run, 1.0, 1.0))
    return problems + problems_of_settings(run, lambda: _settings(run), _FIELDS)


def run(run: Run) -> None:
    """Write ``mosaic_fif.tbl`` and the interpolated images, coverages and uncertainties, with their table and lists."""
    from pymopex.kit.fif import write_fif
    from pymopex.kit.files import whole

    fiducial = run.fiducial("fif")
    with refused(run.fiducial_path()):
        grid = fiducial.rescaled(*_pixel_size(run, fiducial.cdelt1, fiducial.cdelt2))
    with whole(run.path("mosaic_fif")) as temporary:
        write_fif(temporary, grid, "Output from Mosaic_INT")
    run.keep(run.path("mosaic_fif"))
    bright = run.pipeline == "overlap" and run.params.mask_bright and run.settings.triggered("detect_outlier")
    jobs = [_job(run, files, grid, bright) for files in run.frames()]
    boxes = run.map(interpolate_frame, jobs)
    write_layer_table(run, "interp", boxes)
    _write_lists(run, jobs, boxes)
    inside = sum(box is not None for box in boxes)
    run.note(f"{inside} of {len(jobs)} frames on a mosaic of {grid.naxis1} x {grid.naxis2} pixels")
    if not inside:
        raise InputError(f"{run.fiducial_path()}: none of the frames lies on this fiducial frame")


def _pixel_size(run: Run, cdelt1: float, cdelt2: float) -> tuple[float, float]:
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
    if all(sizes):
        return sizes
    if all(ratios):
        return cdelt1 / ratios[0], cdelt2 / ratios[1]
    return cdelt1, cdelt2


def _settings(run: Run) -> Interpolation:
    from pymopex.interpolation import Interpolation

    p = run.params
    return Interpolation(int(p.INTERP_METHOD), p.FINERES, p.DRIZ_FAC, p.GRID_RATIO, p.ALPHA)


def _job(run: Run, files, grid, bright: bool) -> InterpolationJob:
    return InterpolationJob(
        files,
        run.bits,
        grid,
        run.params.USE_REFINED_POINTING,
        _settings(run),
        run.path("interp", base=files.base),
        run.path("interp_covg", base=files.base),
        run.path("interp_unc", base=files.sigma_base) if files.sigma else "",
        run.stamp(),
        run.existing("detmap", base=files.base) if bright else "",
    )


def _write_lists(run: Run, jobs: list[InterpolationJob], boxes: list) -> None:
    inside = [job for job, box in zip(jobs, boxes, strict=True) if box is not None]
    lists = {
        "interp_list": [job.data for job in inside],
        "interp_covg_list": [job.coverage for job in inside],
        "interp_unc_list": [job.sigma for job in inside if job.sigma],
    }
    for product, paths in lists.items():
        if paths:
            write_list(run.path(product), paths)
            run.keep(run.path(product), *paths)
