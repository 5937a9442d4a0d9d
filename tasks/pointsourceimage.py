"""Point Source Image: frames minus the fitted sources."""

from __future__ import annotations

from collections.abc import Callable
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
class SubtractJob:
    """One image: its files, the sources, the PRFs, and where the images without and of the sources go."""

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
    outer = reach(run)
    jobs = [
        SubtractJob(
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
    counts = run.map(subtract_sources, jobs)
    for product, paths in (
        ("residual_list", [job.residual for job in jobs if job.residual]),
        ("pointsource_list", [job.pointsource for job in jobs if job.pointsource]),
    ):
        if paths:
            write_list(run.path(product), paths)
            run.keep(run.path(product), *paths)
    run.note(f"{len(flux)} sources, {sum(counts) / len(jobs):.1f} a frame, {len(jobs)} frames")


def reach(run: Run) -> float | None:
    """Give the radius at which the PRF is cut: of the parameters that cut it, the smallest."""
    p = run.params
    sizes = [p.PS_Image_Xsize, p.PS_Image_Ysize]
    cuts = [p.Outer_Radius, *(size * p.PRF_ResampleX_Factor / 2 for size in sizes if size)]
    given = [cut for cut in cuts if cut is not None]
    return min(given) if given else None


def _sources(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import os

    p = run.params
    path = p.EXTRACTION_TABLE or next(
        (run.path(name) for name in ("extract", "extract_raw") if os.path.exists(run.path(name))), ""
    )
    if not path:
        raise InputError(
            "EXTRACTION_TABLE: no table of sources is given (-E), and there is no extract.tbl here"
        )
    return columns_of(run, path, _from_frame(run))


def _from_frame(run: Run) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """Turn pixels of the fiducial frame into positions on the sky."""
    from pymopex.kit.searched import PixelGrid

    def to_sky(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        frame = run.fiducial("fif")
        return PixelGrid(frame.wcs(), frame.shape, 0.0).to_sky(x, y)

    return to_sky


def columns_of(
    run: Run, path: str, to_sky: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read right ascension, declination and flux of all sources of a table.

    Parameters
    ----------
    run : Run
        The task at work; its parameters name the columns.
    path : str
        The table.
    to_sky : callable
        Turns pixels, from 1, into degrees, for a table of pixels.

    Raises
    ------
    InputError
        A column is missing.
    """
    import numpy as np
    from pymopex.kit.ipac import read_table

    p, table = run.params, read_table(path)
    try:
        first, second, flux = (
            np.asarray(table.column(name), dtype=float)
            for name in (p.X_Column_Name, p.Y_Column_Name, p.Flux_Column_Name)
        )
    except KeyError as problem:
        raise InputError(f"{path}: {problem}") from None
    if not p.Input_RA_Dec and len(first):
        first, second = to_sky(first, second)
    return first, second, flux


def subtract_sources(job: SubtractJob) -> int:
    """Write the images of a job; gives the number of sources on it."""
    import numpy as np
    from pymopex.fit_data import place_sources
    from pymopex.geometry import frame_wcs, pixel_solid_angle
    from pymopex.kit.fit_frames import near_frame
    from pymopex.residuals import render, subtract
    from pymopex.units import ujy_per_mjysr

    data, header = read_image(job.files.image, dtype=np.float32)
    table, where, _ = load_table(job.table)
    wcs = frame_wcs(header, refined=job.refined)
    near = near_frame(wcs, data.shape, job.ra, job.dec, max(20.0, *table.half_size))
    model, used = np.zeros(data.shape), 0
    if near.size:
        x, y, _ = place_sources(wcs, job.ra[near], job.dec[near])
        scale = 1 / np.asarray(ujy_per_mjysr(pixel_solid_angle(wcs, x, y)))
        prf, mix = where.mix_at(x, y)
        cuts = {"mix": mix, "hole_radius": job.hole, "outer_radius": job.outer}
        model = render(x, y, job.flux[near] * scale, prf, table, data.shape, **cuts)
        inside = (x > -0.5) & (y > -0.5) & (x < data.shape[1] - 0.5) & (y < data.shape[0] - 0.5)
        used = int(inside.sum())
    if job.residual:
        write_image(job.residual, subtract(data, model), header, job.stamp, (job.files.image,))
    if job.pointsource:
        write_image(job.pointsource, model.astype("f4"), header, job.stamp, (job.files.image,))
    return used
