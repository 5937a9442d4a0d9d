"""Source Estimate: one fit of each source, or blend, in all frames that hold it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of_settings
from pymopex.kit.files import unfinished_prefix
from pymopex.kit.layers import write_table_whole
from pymopex.kit.prfs import check_prfs, save_map, save_table
from pymopex.kit.searched import pixel_grid
from pymopex.kit.task import Run
from pymopex.kit.user_list import check_user_list, positions

if TYPE_CHECKING:
    import numpy as np
    from pymopex.kit.fit_blocks import Fitted
    from pymopex.kit.fit_frames import FitJob

_FIELDS = {
    "chi_threshold": "Chi_Threshold",
    "max_n_ps": "Max_Number_PS",
    "max_iterations": "Max_N_Iteration",
    "ftol": "MinimizeFtolSuccess",
}
_FITTED = 0.8  # of Residual_Sigma: the signal-to-noise ratio of the fit with which a source found in residuals stays
_BLOCK = 400  # sources of a block: enough that reading the frames again for each block costs little


def check(run: Run) -> list[str]:
    """Name missing PRFs, and boxes and recipes that contradict each other."""
    p, problems = run.params, check_prfs(run) + check_user_list(run)
    if (p.Fitting_Area_X is None) != (p.Fitting_Area_Y is None):
        problems.append("SOURCESTIMATE.Fitting_Area_X and Fitting_Area_Y must be given together")
    if p.Fitting_Area_X is None and run.user_list:
        run.settings.warnings.append(
            "SOURCESTIMATE.Fitting_Area_X/Y are not given: the user list must have the columns FitX and FitY"
        )
    elif p.Fitting_Area_X is None and not run.settings.triggered("fit_radius"):
        problems.append(
            f"{run.settings.namelist.path}: SOURCESTIMATE.Fitting_Area_X/Y are not given and Fit Radius "
            "(run_fit_radius) is off; the fit needs one of them"
        )
    if not run.has_uncertainties:
        run.settings.warnings.append(
            "no uncertainties are given: all pixels are fitted with weight 1, chi2 means nothing"
        )
    if p.Detect_Residual and p.Fit_Passes < 2 and not run.user_list:
        problems.append(
            f"{p.origin('Detect_Residual')}: SOURCESTIMATE.Detect_Residual = 1 needs Fit_Passes of 2 or more: the "
            "sources that it finds are fitted in the last pass"
        )
    return problems + problems_of_settings(run, lambda: _settings(run), _FIELDS)


@dataclass
class _Sources:
    """The sources at work: detection rows, start positions, what the last pass found, and whose core is masked."""

    detid: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    start_ra: np.ndarray
    start_dec: np.ndarray
    flux: np.ndarray
    group: np.ndarray
    fit_size: np.ndarray
    bright: np.ndarray
    added: np.ndarray


def run(run: Run) -> None:
    """Write ``extract_raw.tbl``: fitted positions, fluxes, uncertainties and flags of all detections.

    Notes
    -----
    The detections are grouped (by blend, or by ``Angular_Distance``) and each group is fitted in all frames that
    hold it, in a box round each source. From the second pass on, all other sources are subtracted first, and the
    places in the frames are computed anew at the fitted positions with the full WCS. Fluxes use the solid angle of
    the pixel at the source's place in each frame. Of one image the table is ``<base>_extract_raw.tbl``, and the
    image is the one frame.

    With ``Write_HDF5`` the flux of each source in each frame alone, at the place of the fit of all frames and with the
    other sources taken off, goes to ``extract.h5`` (with its catalogue and the frames), and so does the step of the
    position in that frame.

    With ``Detect_Residual`` the residuals of the first pass in all frames are searched for further sources: companions
    of bright stars, and stars that the mosaic did not show. One that is significant at ``Residual_Sigma``, in more than
    one frame if there are several, and brighter than a tenth of what the known sources have at its place, is fitted
    together with its neighbours. In the halo and the spikes of a bright star, where the residuals are worse than the
    noise, it must stand out of what they are within 15 pixels. It stays if its flux is above 0.8 times
    ``Residual_Sigma`` then. Its ``detid`` follows behind the last of the detection table.

    Rows of a user list whose place no frame holds are left out, and counted in the log. The others are grouped by
    ``Angular_Distance``, or by the blends of an edited detection table. None is dropped for running to the place of
    another, and ``MaxShift_X`` and ``MaxShift_Y`` do not bound the fit but mark it with the letter O. With
    ``Fixed_Positions`` the positions stay, and so their uncertainties are 0.

    Uncertainties come from those of the pixels. Where the uncertainty images are of a wrong scale, as the archive's
    are, ``Scale_Errors`` multiplies them by the square root of chi2/dof of the fit, which is the measured noise over
    the stated one; chi2 itself, the SNR column and the single frames of ``extract.h5`` stay as they are.
    With ``Frame_Errors`` they are those of the single frames: position and flux scatter from frame to frame by more
    than the pixels' noise, where PRF, pointing or the response within pixels are not perfectly known. The variances
    of the fit are multiplied by the variance of these deviations over their uncertainties; the stated one (with
    ``Scale_Errors`` that of chi2/dof) counts as four frames, since a few frames cannot tell.

    With ``Unbiased_Flux`` the fluxes are freed of the bias that any fit with free positions has: it settles where the
    noise makes the source bright, and finds 1/SNR of a sigma too much of a source alone (4 % at SNR 5, 0.1 % at SNR
    30), more or less of a blend. The bias is that of Box (1971), from the second derivatives of the model and the
    covariance of all parameters of the group (see `pymopex.fit_bias`); of a source alone, in noise that is the same in
    all pixels, it is the variance of the flux over the flux. Fixed positions, fits that did not converge, and positions
    that ran to their limit have none. The noise is that of the uncertainties, or less where chi2/dof is below 1 (those
    of the archive are too large); with ``Scale_Errors`` chi2/dof tells it, and ``Noise_Correlation`` counts. Below SNR
    4 a part of the bias stays (0.1 sigma at SNR 3), and fluxes stay positive. The uncertainties stay as they are; the
    SNR column, what `photcorr` makes of the fluxes, and residual images follow the flux of the table. Fluxes of single
    frames in ``extract.h5``, at the place of the fit of all, keep its bias, which is small beside their own
    uncertainties.

    Pixels of a mosaic that are smaller than those of the frames share their noise, and the recipes of the SNR column,
    like the uncertainties, count them as independent: both are too good on a mosaic of 0.6 arcsec. With
    ``Noise_Correlation``, as `create_var_mosaic` writes it for a radius of 2 pixels, they are what the noise allows.
    Of one image there is no ``extract.h5``: its fluxes in single frames are those of the table.

    References: MOPEX User's Guide, section 8.6.
    """
    from pymopex import columns
    from pymopex.kit.fit_rows import table_rows

    sources = _detections(run)
    table = save_table(run)
    if run.single:
        save_map(run)
    found: list[Fitted] = []
    with _folder_of_curves(run) as folder:
        for number in range(1, run.params.Fit_Passes + 1):
            last = number == run.params.Fit_Passes
            found = _fit_pass(run, sources, table, folder, last=last)
            if not last:
                found = _between_passes(run, sources, found, table, first=number == 1)
        rows = table_rows(run, sources, found)
        spec = columns.extract_columns(background=run.params.Background_Fit)
        keywords = [("real", "Conversion", f"{_conversion(run):.8f}")]
        write_table_whole(run, run.path("extract_raw"), spec, rows, keywords)
        if folder:
            _write_measurements(run, spec, rows, folder)
    _report(run, rows, found, len(sources.ra))


def _between_passes(
    run: Run, sources: _Sources, found: list[Fitted], table: str, *, first: bool
) -> list[Fitted]:
    """Take over what a pass found, and drop detections that are no stars of their own; rows of a user list stay."""
    from pymopex.kit import bright_stars
    from pymopex.kit.fit_rows import frame_pixel

    free = not run.user_list and not run.params.Fixed_Positions
    if free and first:
        found, again = bright_stars.merge_rings(run, sources, found, frame_pixel(run))
        if again.any():
            found = found + _fit_pass(run, sources, table, only=again)
    _take_over(sources, found)
    bright_stars.widen(run, sources, found)
    if free:
        _merge_twins(run, sources)
        bright_stars.drop_in_wings(run, sources, table, frame_pixel(run))
        if run.params.Detect_Residual:
            _search_residuals(run, sources, table, frame_pixel(run))
    return found


def _search_residuals(run: Run, sources: _Sources, table: str, scale: float) -> None:
    """Add sources that the residuals show, and fit them with their neighbours, as long as there are more."""
    import numpy as np
    from pymopex.kit.bright_stars import keep
    from pymopex.kit.residual_search import append, further_sources, regroup

    new: tuple[np.ndarray, np.ndarray] | None = None
    for _ in range(run.params.Residual_Rounds):
        job = _jobs(run, sources, table, np.arange(len(sources.ra)))[0]
        new = ra, dec = further_sources(run, job, scale, new)
        if not len(ra):
            break
        known = len(sources.ra)
        append(sources, ra, dec)
        regroup(run, sources, scale)
        touched = np.isin(sources.group, sources.group[known:])
        found = _fit_pass(run, sources, table, only=touched)
        _take_over(sources, found)
        keep(sources, ~(sources.added & _weak(sources, found, _FITTED * run.params.Residual_Sigma)))
        _merge_twins(run, sources)
        regroup(run, sources, scale)
    run.note(f"{np.count_nonzero(sources.added)} sources were found in the residuals (Detect_Residual)")


def _weak(sources: _Sources, found: list[Fitted], least: float) -> np.ndarray:
    """Tell which of the sources of a fit are below a signal-to-noise ratio, or failed."""
    import numpy as np
    from pymopex.fitting import FitStatus

    weak = np.zeros(len(sources.ra), bool)
    for fitted in found:
        for source, fit in zip(fitted.members, fitted.fit.sources, strict=False):
            converged = fit.status in (FitStatus.SUCCESS, FitStatus.CHI2_ABOVE_THRESHOLD)
            weak[source] = not (converged and fit.flux >= least * np.sqrt(fit.covariance[2, 2]))
    return weak


@contextmanager
def _folder_of_curves(run: Run) -> Iterator[str]:
    """Make a folder for the measurements of the jobs, which is gone in the end; an empty name if none are wanted."""
    if run.single or not run.params.Write_HDF5:
        yield ""
        return
    with tempfile.TemporaryDirectory(prefix=unfinished_prefix(), dir=run.globals.OUTPUT_DIR) as folder:
        yield folder


def _write_measurements(run: Run, spec: Any, rows: dict[str, Any], folder: str) -> None:
    from pymopex.kit.catalogues import Catalogue, provenance
    from pymopex.kit.measurements import write_measurements

    values = {column.name: rows[column.name] for column in spec}
    parts = [os.path.join(folder, name) for name in sorted(os.listdir(folder))]
    catalogue = Catalogue(spec, values, {"Conversion": _conversion(run)}, provenance(run))
    write_measurements(run, catalogue, rows["key"], parts)


def _detections(run: Run) -> _Sources:
    """Read the detections and group them."""
    import numpy as np
    from pymopex.grouping import group_by_distance, group_by_label

    p, grid = run.params, pixel_grid(run)
    at = positions(run, grid)
    x, y = at.x, at.y
    blend = next((name for name in ("BlendId", "deblend_id") if at.has(name)), "")
    if p.Angular_Distance is not None:
        x, y = (np.nan_to_num(v, nan=-1e9) for v in (x, y))
        groups = group_by_distance(x, y, p.Angular_Distance / (3600 * grid.side), p.Max_Group_Size)
    elif blend:
        groups = group_by_label(x, y, np.asarray(at.table.column(blend)), p.Max_Group_Size)
    else:
        groups = group_by_distance(x, y, 0.0, 1)
    if groups.n_split:
        run.note(
            f"{groups.n_split} groups of more than {p.Max_Group_Size} sources were split (Max_Group_Size)"
        )
    if p.Fitting_Area_X is not None:
        size = np.tile([p.Fitting_Area_X, p.Fitting_Area_Y], (len(x), 1))
    else:
        size = np.column_stack([at.table.column("FitX"), at.table.column("FitY")]).astype(int)
    ra, dec = np.array(at.ra), np.array(at.dec)
    nothing = np.zeros(len(x))
    start = ra.copy(), dec.copy()
    no = nothing.astype(bool)
    return _Sources(at.detid, ra, dec, *start, nothing, groups.number, size, no, no.copy())


def _fit_pass(
    run: Run,
    sources: _Sources,
    table: str,
    folder: str = "",
    only: np.ndarray | None = None,
    *,
    last: bool = False,
) -> list[Fitted]:
    """Fit all sources, or those of some whole groups; in the last pass single frames are measured too."""
    import numpy as np
    from pymopex.kit.fit_blocks import fit_block

    which = np.arange(len(sources.ra)) if only is None else np.flatnonzero(only)
    jobs = _jobs(run, sources, table, which, folder, last=last)
    return [fitted for part in run.map(fit_block, jobs, "blocks of sources") for fitted in part]


def _jobs(
    run: Run, sources: _Sources, table: str, which: np.ndarray, folder: str = "", *, last: bool = False
) -> list[FitJob]:
    """Make the jobs that fit some of the sources, in whole groups."""
    from pymopex.grouping import blocks
    from pymopex.kit.fit_frames import FitJob

    frames, settings = run.frames(), _settings(run, last=last)
    count = max(len(which) // _BLOCK, 2 * run.pool.count if run.pool.count > 1 else 1)
    images: tuple[str, ...] = ()
    if run.params.use_background_subtracted_image_for_fitting:
        images = tuple(run.existing("minus_median_extract", base=files.base) for files in frames)
    return [
        FitJob(
            sources.ra,
            sources.dec,
            sources.flux,
            sources.group,
            which[members],
            frames,
            run.bits,
            run.params.USE_REFINED_POINTING,
            sources.fit_size,
            run.params.N_Edge,
            settings,
            run.params.Robust_Sigma if run.params.Robust_Fit else 0.0,
            table,
            images,
            saturation=run.params.Saturation_Level,
            bright=sources.bright,
            hole=run.params.Bright_Hole,
            curves=os.path.join(folder, f"{number:06d}.npy") if folder and last else "",
            frame_errors=_expected_factor(run) if last else None,
        )
        for number, members in enumerate(
            blocks(sources.ra[which], sources.dec[which], sources.group[which], count)
        )
    ]


def _expected_factor(run: Run) -> float | None:
    """Give what single frames are expected to scatter by (0: chi2/dof); None if they are not asked."""
    if run.single or not run.params.Frame_Errors:
        return None
    return 0.0 if run.params.Scale_Errors else 1.0


def _settings(run: Run, *, last: bool = False) -> Any:
    """Give the settings of the fit; those of the last pass work out the biases of the fluxes, if that is wanted."""
    from pymopex.fitting import FitSettings
    from pymopex.kit.fit_rows import noise_correlation

    p = run.params
    return FitSettings(
        background=p.Background_Fit,
        max_n_ps=p.Max_Number_PS,
        chi_threshold=p.Chi_Threshold,
        chi2_improvement=p.Chi2_Improvement,
        max_iterations=p.Max_N_Iteration,
        ftol=p.MinimizeFtolSuccess or 1e-9,
        fixed_positions=p.Fixed_Positions,
        max_shift=None if run.user_list else max(p.MaxShift_X or 0, p.MaxShift_Y or 0) or None,
        bias_noise=noise_correlation(run) ** 2 if last and p.Unbiased_Flux else None,
        bias_scaled=p.Scale_Errors,
    )


def _take_over(sources: _Sources, found: list[Fitted]) -> None:
    """Take positions and fluxes of a pass as the start of the next; failed fits start again from the detection."""
    import numpy as np
    from pymopex.fit_data import offset_sky
    from pymopex.fitting import FitStatus

    for fitted in found:
        sources.flux[fitted.members] = 0
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
    from pymopex.kit.bright_stars import keep
    from scipy.spatial import cKDTree

    if len(sources.ra) < 2:
        return
    across = np.cos(np.radians(sources.dec.mean()))
    points = np.column_stack([(sources.ra - sources.ra.mean()) * across, sources.dec]) * 3600
    pairs = cKDTree(points).query_pairs(_TWINS, output_type="ndarray")
    fainter = {int(a if sources.flux[a] < sources.flux[b] else b) for a, b in pairs}
    if fainter:
        keep(sources, np.array([i not in fainter for i in range(len(sources.ra))]))
        run.note(f"{len(fainter)} detections ran to the place of a brighter one and were dropped")


_TWINS = 0.6  # arcsec, half a pixel of IRAC


def _conversion(run: Run) -> float:
    """Microjansky per MJy/sr in a pixel of the mosaic."""
    import numpy as np
    from pymopex.geometry import pixel_solid_angle
    from pymopex.units import ujy_per_mjysr

    grid = pixel_grid(run)
    centre = np.array([(grid.shape[1] - 1) / 2]), np.array([(grid.shape[0] - 1) / 2])
    return float(ujy_per_mjysr(pixel_solid_angle(grid.wcs, *centre))[0])


def _report(run: Run, rows: dict[str, Any], found: list[Fitted], wanted: int) -> None:
    import numpy as np

    status, chi = np.asarray(rows["status"]), np.asarray(rows["chi2/dof"], dtype=float)
    good = status == 1
    dropped = sum(fitted.dropped for fitted in found)
    middle = f"{np.nanmedian(chi[good]):.3f}" if good.any() else "none"
    run.note(f"{len(status)} sources fitted, {int(good.sum())} successfully; median chi2/dof {middle}")
    sizes = np.array([len(fitted.members) for fitted in found], int)
    if (sizes > 1).any():
        full = np.count_nonzero(sizes >= run.params.Max_Group_Size)
        capped = (
            f" (Max_Group_Size; {full} groups, which larger ones may have been split into)" if full else ""
        )
        run.note(
            f"{np.count_nonzero(sizes > 1)} groups of two sources or more, the largest of {sizes.max()}{capped}"
        )
    left_out = wanted - len(np.unique(rows["detid"]))
    if left_out:
        run.note(f"{left_out} sources left out: off the frames, at their edge, or without good pixels")
    if dropped:
        run.note(f"{dropped} pixels dropped as hits that no mask holds (Robust_Fit)")
