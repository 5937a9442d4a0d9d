"""Mosaic Reinterpolate: frames interpolated again without their outliers."""

from __future__ import annotations

from dataclasses import replace

from pymopex.kit.interpolate import InterpolationJob, interpolate_frame, method_of, wanted_method
from pymopex.kit.layers import layers, write_layer_table
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write the updated images, coverages and uncertainties, with their table.

    Notes
    -----
    Method and parameters are those of the first pass, from the headers of its products. Pixels that no outlier
    touches come out the same, bit for bit.

    With drizzle or grid (``INTERP_METHOD`` 2 or 3) and Mosaic RMask, Mosaic Interpolate makes a first pass by area
    overlap, on which outliers are found, and this module makes the second one by the method asked for. It
    then runs whatever its own switch says.
    """
    grid, chosen = run.fiducial(), layers(run)
    jobs = [_job(run, layer, grid) for layer in chosen]
    found = run.map(interpolate_frame, jobs)
    place = {job.files.image: box for job, box in zip(jobs, found, strict=True)}
    write_layer_table(run, "reinterp", [place.get(files.image) for files in run.frames()])
    run.keep(*(path for job in jobs for path in (job.data, job.coverage, job.sigma, job.variance) if path))
    run.note(
        f"{len(jobs)} frames interpolated without outliers, method {jobs[0].how.method if jobs else '-'}"
    )


def _job(run: Run, layer, grid) -> InterpolationJob:
    how = wanted_method(run) if run.settings.two_passes else method_of(layer.data)
    files = replace(layer.files, rmask=run.existing("rmask", base=layer.files.base))
    with_variance = run.params.create_var_mosaic and files.sigma
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
        variance=run.path("reinterp_var", base=files.base) if with_variance else "",
    )
