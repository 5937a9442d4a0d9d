"""Mosaic Point Source Image: one image, such as a mosaic, minus the fitted sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymopex.kit.checking import problems_of
from pymopex.kit.images import FrameFiles, read_header
from pymopex.kit.prfs import check_prfs, save_table
from pymopex.kit.searched import PixelGrid, image_grid
from pymopex.kit.task import Run
from pymopex.tasks.pointsourceimage import SubtractJob, columns_of, reach, subtract_sources

if TYPE_CHECKING:
    import numpy as np


def check(run: Run) -> list[str]:
    """Name an image, a table or a PRF that is missing."""
    p, problems = run.params, check_prfs(run)
    if not p.MOSAIC_FILE_NAME:
        problems.append(f"{run.settings.namelist.path}: MOSAIC_FILE_NAME: no image is given (-T)")
    elif p.MOSAIC_FILE_NAME not in run.promised:
        problems += problems_of(_try, read_header, p.MOSAIC_FILE_NAME)
    if not p.EXTRACTION_TABLE:
        problems.append(f"{run.settings.namelist.path}: EXTRACTION_TABLE: no table of sources is given (-E)")
    elif p.EXTRACTION_TABLE not in run.promised:
        problems += problems_of(_try, _sources, run)
    return problems


def _try(action, *arguments) -> None:
    action(*arguments)


def run(run: Run) -> None:
    """Write ``residual_<base>.fits`` and, on request, ``pointsource_<base>.fits`` into ``MOSAIC_DIR``.

    Notes
    -----
    All rows of the table are used, those of sources off the image as far as their PRF reaches in; a table without
    rows leaves the image as it is. The background of the fit is not subtracted. Radii are in PRF samples, and the
    hole is cut after the normalisation, so that the wings keep their brightness.
    """
    ra, dec, flux = _sources(run)
    p, table = run.params, save_table(run, "mosaic_prf_table")
    samples, outer = p.PRF_ResampleX_Factor, reach(run)
    files = FrameFiles(0, p.MOSAIC_FILE_NAME)
    residual, pointsource = (
        run.path(product, base=files.base) if wanted else ""
        for product, wanted in (
            ("mosaic_residual", p.create_residual_mosaic),
            ("mosaic_pointsource", p.create_pointsource_mosaic),
        )
    )
    hole, outer = p.Hole_Radius / samples, None if outer is None else outer / samples
    refined, stamp = p.USE_REFINED_POINTING, run.stamp()
    job = SubtractJob(files, ra, dec, flux, table, refined, hole, outer, residual, pointsource, stamp)
    count = subtract_sources(job)
    run.keep(*(path for path in (residual, pointsource) if path))
    run.note(f"{len(flux)} sources, {count} on the image")


def _sources(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Read the sources; pixels are those of FIF_FILE_NAME, or of the image if that is not given."""
    p = run.params

    def to_sky(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if p.FIF_FILE_NAME:
            frame = run.fiducial("fif")
            return PixelGrid(frame.wcs(), frame.shape, 0.0).to_sky(x, y)
        return image_grid(p.MOSAIC_FILE_NAME, refined=p.USE_REFINED_POINTING).to_sky(x, y)

    return columns_of(run, p.EXTRACTION_TABLE, to_sky)
