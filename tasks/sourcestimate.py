"""Source Estimate: one fit of each source, or blend, in all frames that hold it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of_settings
from pymopex.kit.layers import write_table_whole
from pymopex.kit.prfs import check_prfs, save_table
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.kit.fit_blocks import Fitted

_FIELDS = {
    "chi_threshold": "Chi_Threshold",
    "max_n_ps": "Max_Number_PS",
    "max_iterations": "Max_N_Iteration",
    "ftol": "MinimizeFtolSuccess",
}
_BLOCK = 400  # sources of a block: enough that reading the frames again for each block costs little


def check(run: Run) -> list[str]:
    """Name missing PRFs, and boxes and recipes that contradict each other."""
    p, problems = run.params, check_prfs(run)
    if (p.Fitting_Area_X is None) != (p.Fitting_Area_Y is None):
        problems.append("SOURCESTIMATE.Fitting_Area_X and Fitting_Area_Y must be given together")
    if p.Fitting_Area_X is None and not run.settings.triggered("fit_radius"):
        problems.append(
            f"{run.settings.namelist.path}: SOURCESTIMATE.Fitting_Area_X/Y are not given and Fit Radius "
            "(run_fit_radius) is off; the fit needs one of them"
        )
    if not p.SIGMALIST_FILE_NAME:
        run.settings.warnings.append(
            "no uncertainties are given: all pixels are fitted with weight 1, chi2 means nothing"
        )
    return problems + problems_of_settings(run, lambda: _settings(run), _FIELDS)


@dataclass
class _Sources:
    """The sources at work: detection rows, start positions, and what the last pass found."""

    detid: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    start_ra: np.ndarray
    start_dec: np.ndarray
    flux: np.ndarray
    group: np.ndarray
    fit_size: np.ndarray


def run(run: Run) -> None:
    """Write ``extract_raw.tbl``: fitted positions, fluxes, uncertainties and flags of all detections.

    Notes
    -----
    The detections are grouped (by blend, or by ``Angular_Distance``) and each group is fitted in all frames that
    hold it, in a box round each source. From the second pass on, all other sources are subtracted first, and the
    places in the frames are computed anew at the fitted positions with the full WCS. Fluxes use the solid angle of
    the pixel at the source's place in each frame. References: MOPEX User's Guide, section 8.6.
    """
    from pymopex import columns
    from pymopex.kit.fit_rows import table_rows

    sources = _detections(run)
    table = save_table(run)
    found: list[Fitted] = []
    for number in range(1, run.params.Fit_Passes + 1):
        found = _fit_pass(run, sources, table)
        if number < run.params.Fit_Passes:
            _take_over(sources, found)
            _merge_twins(run, sources)
    rows = table_rows(run, sources, found)
    spec = columns.extract_columns(background=run.params.Background_Fit)
    keywords = [("real", "Conversion", f"{_conversion(run):.8f}")]
    write_table_whole(run, run.path("extract_raw"), spec, rows, keywords)
    _report(run, rows, found)


def _detections(run: Run) -> _Sources:
    """Read the detections and group them."""
    import numpy as np
    from pymopex.grouping import group_by_distance, group_by_label
    from pymopex.kit.ipac import read_table

    p, grid = run.params, run.fiducial("mosaic_fif" if os.path.exists(run.path("mosaic_fif")) else "fif")
    table = read_table(run.existing("detect"))
    x, y = (np.asarray(table.column(name), dtype=float) for name in ("x", "y"))
    sky = grid.wcs().all_pix2world(np.column_stack([x, y]), 1) if len(x) else np.zeros((0, 2))
    if p.Angular_Distance is not None:
        link = p.Angular_Distance / (3600 * abs(grid.cdelt1))
        groups = group_by_distance(x, y, link, p.Max_Group_Size)
    elif "blendid" in {name.casefold() for name in table.columns}:
        groups = group_by_label(x, y, np.asarray(table.column("BlendId")), p.Max_Group_Size)
    else:
        groups = group_by_distance(x, y, 0.0, 1)
    if groups.n_split:
        run.note(
            f"{groups.n_split} groups of more than {p.Max_Group_Size} sources were split (Max_Group_Size)"
        )
    if p.Fitting_Area_X is not None:
        size = np.tile([p.Fitting_Area_X, p.Fitting_Area_Y], (len(x), 1))
    else:
        size = np.column_stack([table.column("FitX"), table.column("FitY")]).astype(int)
    detid = np.asarray(table.column("srcid"), dtype=int)
    ra, dec = sky[:, 0].copy(), sky[:, 1].copy()
    return _Sources(detid, ra, dec, ra.copy(), dec.copy(), np.zeros(len(x)), groups.number, size)


def _fit_pass(run: Run, sources: _Sources, table: str) -> list[Fitted]:
    from pymopex.grouping import blocks
    from pymopex.kit.fit_blocks import FitJob, fit_block

    frames, settings = run.frames(), _settings(run)
    count = max(len(sources.ra) // _BLOCK, 2 * run.pool.count if run.pool.count > 1 else 1)
    images: tuple[str, ...] = ()
    if run.params.use_background_subtracted_image_for_fitting:
        images = tuple(run.existing("minus_median_extract", base=files.base) for files in frames)
    jobs = [
        FitJob(
            sources.ra,
            sources.dec,
            sources.flux,
            sources.group,
            members,
            frames,
            run.bits,
            run.params.USE_REFINED_POINTING,
            sources.fit_size,
            run.params.N_Edge,
            settings,
            run.params.Robust_Sigma if run.params.Robust_Fit else 0.0,
            table,
            images,
        )
        for members in blocks(sources.ra, sources.dec, sources.group, count)
    ]
    return [fitted for part in run.map(fit_block, jobs, "blocks of sources") for fitted in part]


def _settings(run: Run) -> Any:
    from pymopex.fitting import FitSettings

    p = run.params
    return FitSettings(
        background=p.Background_Fit,
        max_n_ps=p.Max_Number_PS,
        chi_threshold=p.Chi_Threshold,
        chi2_improvement=p.Chi2_Improvement,
        max_iterations=p.Max_N_Iteration,
        ftol=p.MinimizeFtolSuccess or 1e-9,
        max_shift=max(p.MaxShift_X or 0, p.MaxShift_Y or 0) or None,
    )


def _take_over(sources: _Sources, found: list[Fitted]) -> None:
    """Take positions and fluxes of a pass as the start of the next; failed fits start again from the detection."""
    import numpy as np
    from pymopex.fit_data import offset_sky
    from pymopex.fitting import FitStatus

    sources.flux[:] = 0
    for fitted in found:
        for source, fit in zip(fitted.members, fitted.fit.sources, strict=False):
            good = fit.status in (FitStatus.SUCCESS, FitStatus.CHI2_ABOVE_THRESHOLD) and fit.flux > 0
            if good and np.isfinite(fit.flux):
                ra, dec = offset_sky(sources.ra[source], sources.dec[source], fit.u, fit.v)
                sources.ra[source], sources.dec[source] = float(ra), float(dec)
                sources.flux[source] = fit.flux
            else:
                sources.ra[source], sources.dec[source] = sources.start_ra[source], sources.start_dec[source]


def _merge_twins(run: Run, sources: _Sources) -> None:
    """Keep the brighter of two detections that ran to the same place: they are one star."""
    import numpy as np
    from scipy.spatial import cKDTree

    if len(sources.ra) < 2:
        return
    across = np.cos(np.radians(sources.dec.mean()))
    points = np.column_stack([(sources.ra - sources.ra.mean()) * across, sources.dec]) * 3600
    pairs = cKDTree(points).query_pairs(_TWINS, output_type="ndarray")
    fainter = {int(a if sources.flux[a] < sources.flux[b] else b) for a, b in pairs}
    if fainter:
        keep = np.array([i not in fainter for i in range(len(sources.ra))])
        for name in ("detid", "ra", "dec", "start_ra", "start_dec", "flux", "group", "fit_size"):
            setattr(sources, name, getattr(sources, name)[keep])
        run.note(f"{len(fainter)} detections ran to the place of a brighter one and were dropped")


_TWINS = 0.6  # arcsec, half a pixel of IRAC


def _conversion(run: Run) -> float:
    """Microjansky per MJy/sr in a pixel of the mosaic."""
    import numpy as np
    from pymopex.geometry import pixel_solid_angle
    from pymopex.units import ujy_per_mjysr

    grid = run.fiducial("mosaic_fif" if os.path.exists(run.path("mosaic_fif")) else "fif")
    centre = np.array([(grid.naxis1 - 1) / 2]), np.array([(grid.naxis2 - 1) / 2])
    return float(ujy_per_mjysr(pixel_solid_angle(grid.wcs(), *centre))[0])


def _report(run: Run, rows: dict[str, Any], found: list[Fitted]) -> None:
    import numpy as np

    status, chi = np.asarray(rows["status"]), np.asarray(rows["chi2/dof"], dtype=float)
    good = status == 1
    dropped = sum(fitted.dropped for fitted in found)
    middle = f"{np.nanmedian(chi[good]):.3f}" if good.any() else "none"
    run.note(f"{len(status)} sources fitted, {int(good.sum())} successfully; median chi2/dof {middle}")
    if dropped:
        run.note(f"{dropped} pixels dropped as hits that no mask holds (Robust_Fit)")
