"""Mosaic Reinterpolate: frames interpolated again without their outliers."""

from __future__ import annotations

from dataclasses import replace

from pymopex.kit.images import read_header
from pymopex.kit.interpolate import InterpolationJob, interpolate_frame
from pymopex.kit.layers import layers, write_layer_table
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write the updated images, coverages and uncertainties, with their table.

    Notes
    -----
    Method and parameters are those of the first pass, from the headers of its products. Pixels that no outlier
    touches come out the same, bit for bit.
    """
    grid, chosen = run.fiducial(), layers(run)
    jobs = [_job(run, layer, grid) for layer in chosen]
    found = run.map(interpolate_frame, jobs)
    place = {job.files.image: box for job, box in zip(jobs, found, strict=True)}
    write_layer_table(run, "reinterp", [place.get(files.image) for files in run.frames()])
    run.keep(*(path for job in jobs for path in (job.data, job.coverage, job.sigma) if path))
    run.note(f"{len(jobs)} frames interpolated without outliers")


def _job(run: Run, layer, grid) -> InterpolationJob:
    from pymopex.interpolation import Interpolation

    header = read_header(layer.data)
    how = Interpolation(
        header["INTERP_M"], header["FINERES"], header["DRIZ_FAC"], header["GRID_RAT"], header["ALPHA"]
    )
    files = replace(layer.files, rmask=run.existing("rmask", base=layer.files.base))
    return InterpolationJob(
        files,
        run.bits,
        grid,
        run.params.USE_REFINED_POINTING,
        how,
        run.path("reinterp", base=files.base),
        run.path("reinterp_covg", base=files.base),
        run.path("reinterp_unc", base=files.sigma_base) if files.sigma else "",
        run.stamp(),
    )
