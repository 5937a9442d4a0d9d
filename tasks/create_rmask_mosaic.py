"""Create RMask Mosaic: the outlier masks averaged on the grid of the mosaic."""

from __future__ import annotations

import os

from pymopex.kit.coadding import average
from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles, write_image
from pymopex.kit.interpolate import InterpolationJob, interpolate_frame, layer_header, method_of
from pymopex.kit.layers import Layer, best_layers
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``mosaic.fits`` in the folder of the mosaic of masks.

    Notes
    -----
    Masks are interpolated and averaged as images, by the method of the science frames and without any other
    mask, so their bits are lost: the mosaic is to be looked at. Without Mosaic RMask the masks are those of
    ``RMASK_LIST``.
    """
    grid, chosen = run.fiducial(), best_layers(run)
    jobs = [_job(run, layer, grid) for layer in chosen]
    boxes = run.map(interpolate_frame, jobs)
    placed = [
        Layer(layer.files, box, job.data, job.coverage, "")
        for layer, box, job in zip(chosen, boxes, jobs, strict=True)
        if box is not None
    ]
    run.keep(_write(run, grid, placed))
    for job in jobs:
        for path in filter(os.path.exists, (job.data, job.coverage)):
            os.unlink(path)
    run.note(f"{len(placed)} outlier masks")


def _job(run: Run, layer: Layer, grid) -> InterpolationJob:
    files = layer.files
    made = run.settings.triggered("mosaic_rmask")
    mask = run.existing("rmask", base=files.base) if made else files.rmask
    if not mask:
        raise InputError(f"{files.image}: has no outlier mask; run mosaic_rmask first, or give RMASK_LIST")
    return InterpolationJob(
        FrameFiles(files.index, mask),
        run.bits,
        grid,
        run.params.USE_REFINED_POINTING,
        method_of(layer.data),
        run.path("rmask_interp", base=files.base),
        run.path("rmask_interp_covg", base=files.base),
        "",
        run.stamp(),
        pointing=files.image,
        as_brightness=True,
    )


def _write(run: Run, grid, placed: list[Layer]) -> str:
    from astropy.io import fits
    from pymopex.geometry import Box

    header = layer_header(fits.Header(), grid, Box(0, 0, grid.naxis1, grid.naxis2))
    header["BUNIT"] = ("", "mean of the outlier masks")
    return write_image(run.path("rmask_mosaic"), average(grid, placed), header, run.stamp())
