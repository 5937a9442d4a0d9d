"""Point Source Image: frames minus the fitted sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles, Stamp, read_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.prfs import check_prfs, load_table, save_table
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class _Job:
    files: FrameFiles
    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    table: str
    refined: bool
    hole: float
    outer: float | None
    residual: str
    pointsource: str
    stamp: Stamp


def check(run: Run) -> list[str]:
    """Name missing PRFs."""
    return check_prfs(run)


def run(run: Run) -> None:
    """Write ``residual_<base>.fits`` (and ``pointsource_<base>.fits`` on request) for each frame, and their lists.

    Notes
    -----
    All rows of the table are used; the background of the fit is not subtracted. Radii are in PRF samples, and the
    hole is cut after the normalisation, so that the wings keep their brightness.
    """
    ra, dec, flux = _sources(run)
    p, table = run.params, save_table(run, "residual_prf_table")
    samples = p.PRF_ResampleX_Factor
    outer = _reach(run)
    jobs = [
        _Job(
            files,
            ra,
            dec,
            flux,
            table,
            p.USE_REFINED_POINTING,
            p.Hole_Radius / samples,
            None if outer is None else outer / samples,
            run.path("residual", base=files.base) if p.create_residual_images else "",
            run.path("pointsource", base=files.base) if p.create_pointsource_images else "",
            run.stamp(),
        )
        for files in run.frames()
    ]
    counts = run.map(_subtract, jobs)
    for product, paths in (
        ("residual_list", [job.residual for job in jobs if job.residual]),
        ("pointsource_list", [job.pointsource for job in jobs if job.pointsource]),
    ):
        if paths:
            write_list(run.path(product), paths)
            run.keep(run.path(product), *paths)
    run.note(f"{len(flux)} sources, {sum(counts) / len(jobs):.1f} a frame, {len(jobs)} frames")


def _reach(run: Run) -> float | None:
    """Give the radius at which the PRF is cut: of the parameters that cut it, the smallest."""
    p = run.params
    sizes = [p.PS_Image_Xsize, p.PS_Image_Ysize]
    cuts = [p.Outer_Radius, *(size * p.PRF_ResampleX_Factor / 2 for size in sizes if size)]
    given = [cut for cut in cuts if cut is not None]
    return min(given) if given else None


def _sources(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import os

    import numpy as np
    from pymopex.kit.ipac import read_table

    p = run.params
    path = p.EXTRACTION_TABLE or next(
        (run.path(name) for name in ("extract", "extract_raw") if os.path.exists(run.path(name))), ""
    )
    if not path:
        raise InputError(
            "EXTRACTION_TABLE: no table of sources is given (-E), and there is no extract.tbl here"
        )
    table = read_table(path)
    try:
        first, second, flux = (
            np.asarray(table.column(name), dtype=float)
            for name in (p.X_Column_Name, p.Y_Column_Name, p.Flux_Column_Name)
        )
    except KeyError as problem:
        raise InputError(f"{path}: {problem}") from None
    if not p.Input_RA_Dec and len(first):
        sky = run.fiducial("fif").wcs().all_pix2world(np.column_stack([first, second]), 1)
        first, second = sky[:, 0], sky[:, 1]
    return first, second, flux


def _subtract(job: _Job) -> int:
    import numpy as np
    from pymopex.fit_data import place_sources
    from pymopex.geometry import frame_wcs, pixel_solid_angle
    from pymopex.kit.fit_blocks import near_frame
    from pymopex.residuals import render, subtract
    from pymopex.units import ujy_per_mjysr

    data, header = read_image(job.files.image, dtype=np.float32)
    table, where, _ = load_table(job.table)
    wcs = frame_wcs(header, refined=job.refined)
    near = near_frame(wcs, data.shape, job.ra, job.dec)
    model, used = np.zeros(data.shape), 0
    if near.size:
        x, y, _ = place_sources(wcs, job.ra[near], job.dec[near])
        scale = 1 / np.asarray(ujy_per_mjysr(pixel_solid_angle(wcs, x, y)))
        cuts = {"hole_radius": job.hole, "outer_radius": job.outer}
        model = render(x, y, job.flux[near] * scale, where.index_at(x, y), table, data.shape, **cuts)
        inside = (x > -0.5) & (y > -0.5) & (x < data.shape[1] - 0.5) & (y < data.shape[0] - 0.5)
        used = int(inside.sum())
    if job.residual:
        write_image(job.residual, subtract(data, model), header, job.stamp, (job.files.image,))
    if job.pointsource:
        write_image(job.pointsource, model.astype("f4"), header, job.stamp, (job.files.image,))
    return used
