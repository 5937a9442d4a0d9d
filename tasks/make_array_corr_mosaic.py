"""Make Array Correction Mosaic: the array-location correction on the grid of the mosaic."""

from __future__ import annotations

import os
from dataclasses import replace

from pymopex.kit.coadding import average
from pymopex.kit.images import write_image
from pymopex.kit.interpolate import InterpolationJob, interpolate_frame, layer_header, method_of
from pymopex.kit.layers import Layer, best_layers
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``mosaic_arraycorr.fits``: corrections averaged with the coverage that the science mosaic has."""
    grid, chosen = run.fiducial(), best_layers(run)
    jobs = [_job(run, layer, grid) for layer in chosen]
    boxes = run.map(interpolate_frame, jobs)
    corrected = [
        Layer(layer.files, box, job.data, job.coverage, "")
        for layer, box, job in zip(chosen, boxes, jobs, strict=True)
        if box is not None
    ]
    run.keep(_coadd(run, grid, corrected))
    for job in jobs:
        for path in (job.data, job.coverage):
            if os.path.exists(path):
                os.unlink(path)
    run.note(f"{len(corrected)} frames")


def _job(run: Run, layer: Layer, grid) -> InterpolationJob:
    how = method_of(layer.data)
    base = layer.files.base
    image = run.existing("arraycorr", base=base)
    rmask = run.path("rmask", base=base) if run.settings.triggered("mosaic_reinterp") else layer.files.rmask
    files = replace(
        layer.files, image=image, sigma="", rmask=rmask if rmask and os.path.exists(rmask) else ""
    )
    part = run.path("arraycorr", base=f"interp_{base}")
    covg = run.path("arraycorr", base=f"interp_{base}_covg")
    refined = run.params.USE_REFINED_POINTING
    return InterpolationJob(
        files, run.bits, grid, refined, how, part, covg, "", run.stamp(), as_brightness=True
    )


def _coadd(run: Run, grid, corrected: list[Layer]) -> str:
    from astropy.io import fits
    from pymopex.geometry import Box

    image = average(grid, corrected)
    header = layer_header(fits.Header(), grid, Box(0, 0, grid.naxis1, grid.naxis2))
    header["BUNIT"] = ("", "factor on the flux of blue sources")
    return write_image(run.path("mosaic_arraycorr"), image, header, run.stamp())
