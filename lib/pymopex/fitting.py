"""PRF fit: flux and position of a source, or of the sources of a blend, from all frames at once."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from pymopex import fit_kernels as kernels
from pymopex.fit_bias import flux_bias
from pymopex.fit_data import GroupData
from pymopex.fit_results import Deblend, FitSettings, FitStatus, GroupFit, SourceFit
from pymopex.group_kernels import box_sums, pixels_per_arcsec
from pymopex.normal_equations import covariance as covariance_of
from pymopex.prf import PRFTable

__all__ = [
    "Deblend",
    "FitSettings",
    "FitStatus",
    "GroupFit",
    "LightCurve",
    "Solution",
    "SourceFit",
    "cramer_rao",
    "finish",
    "fit_group",
    "light_curve",
    "solve_group",
]

_GRID = 0.5  # pixel, of the search for a further source
_REACH = 1.5  # pixel of the PRF core used in that search


@dataclass(frozen=True, eq=False)
class Solution:
    """Minimum of chi2: parameters `p` and normal matrix of the sources that could be fitted, and their `parents`.

    `added` of them, the last, came from active deblending.
    """

    group: GroupData
    parents: np.ndarray
    origin: np.ndarray
    p: np.ndarray
    matrix: np.ndarray
    chi2: float
    iterations: int
    ended: int
    at_bound: np.ndarray
    free: np.ndarray
    added: int = 0

    @property
    def usable(self) -> bool:
        """Whether there is a minimum at all."""
        return bool(math.isfinite(self.chi2) and np.isfinite(self.p).all())

    @property
    def dof(self) -> int:
        """Degrees of freedom."""
        return self.group.value.size - int(self.free.sum())

    @property
    def chi2_dof(self) -> float:
        """Reduced chi2, NaN without degrees of freedom."""
        return self.chi2 / self.dof if self.dof > 0 else math.nan


def fit_group(
    group: GroupData, table: PRFTable, settings: FitSettings | None = None, *, start: np.ndarray | None = None
) -> GroupFit:
    """Fit the sources of a group in all frames at once.

    Parameters
    ----------
    group : GroupData
        Pixels and places, from `join_frames`.
    table : PRFTable
        PRFs, from `prf_table`.
    settings : FitSettings or None
        Settings; None for the defaults.
    start : ndarray, shape (N, 2), or None
        Offsets (u, v) to start from [arcsec]; None starts from 0.

    Returns
    -------
    GroupFit
        Positions, fluxes, covariances and quality.

    Raises
    ------
    ValueError
        `start` has the wrong shape, or the group names a PRF that is not in the table.

    Notes
    -----
    chi2 is the sum over the good pixels of all frames of (s - sum_n f_n k_n PRF(i - R_n) - b)^2 / sigma^2. It
    is minimised by the Levenberg-Marquardt method with analytic derivatives, in place of the legacy simplex.
    Fluxes and background need no start: they have their best values, of a linear fit, at the start positions
    and after each step (variable projection; Golub & Pereyra 1973, SIAM J. Numer. Anal. 10, 413).

    The covariance is the inverse of half the Hessian of chi2 in the Gauss-Newton form, which is the
    Cramer-Rao bound if the sigmas are right.

    A source with fewer good pixels in its boxes than parameters is left out, and the others are fitted.

    Active deblending: while chi2/dof is not below the threshold and the group has fewer than `max_n_ps`
    sources, one is added where the residuals, weighted with the PRF, are most significant. It stays if
    chi2/dof falls by `chi2_improvement`; the first that does not ends the search.

    References
    ----------
    MOPEX User's Guide, sections 8.6 and 8.9; Makovoz & Marleau 2005, PASP 117, 1113.
    """
    settings = settings or FitSettings()
    found = solve_group(group, table, settings, start)
    return finish(group.n_sources, found, table, settings)


def solve_group(
    group: GroupData, table: PRFTable, settings: FitSettings, start: np.ndarray | None = None
) -> Solution | None:
    """Minimise chi2 as `fit_group` does, without covariances and quality; None if no source has enough pixels."""
    n = group.n_sources
    start = np.zeros((n, 2)) if start is None else np.asarray(start, dtype=float)
    if start.shape != (n, 2):
        raise ValueError(f"start must have shape {(n, 2)}, not {start.shape}")
    _check_prf(group, table)
    _, counts = box_sums(group, group.value)
    usable = np.flatnonzero(counts.sum(axis=0) >= (1 if settings.fixed_positions else 3))
    if not usable.size:
        return None
    best = _minimise(group.take(usable), usable, table, start[usable], start[usable], settings)
    if best.dof < 0 or best.ended == kernels.SINGULAR:
        return best
    while _may_add(best, settings):
        more = _with_source(best, table, settings)
        if more is None or best.chi2_dof - more.chi2_dof < settings.chi2_improvement:
            break
        best = replace(more, added=best.added + 1)
    return best


def _may_add(fit: Solution, settings: FitSettings) -> bool:
    if settings.fixed_positions:
        return False
    return fit.group.n_sources < settings.max_n_ps and fit.chi2_dof >= settings.chi_threshold


def _check_prf(group: GroupData, table: PRFTable) -> None:
    if not (group.prf.min() >= 0 and group.prf.max() < len(table.coefficients)):
        raise ValueError(
            f"the group names PRFs {group.prf.min()} to {group.prf.max()} of {len(table.coefficients)}"
        )


def _free(n: int, settings: FitSettings) -> np.ndarray:
    free = np.ones(3 * n + 1, dtype=bool)
    if settings.fixed_positions:
        free[0:-1:3] = free[1:-1:3] = False
    free[-1] = settings.background
    return free


def _minimise(
    group: GroupData,
    parents: np.ndarray,
    table: PRFTable,
    start: np.ndarray,
    origin: np.ndarray,
    settings: FitSettings,
) -> Solution:
    """Minimise from the positions `start`; the shift is limited from `origin`; both of shape (N, 2)."""
    per_arcsec = pixels_per_arcsec(group)
    shift = settings.max_shift or max(group.fit_x, group.fit_y) / 2
    search = kernels.Search(
        _parameters(origin),
        settings.max_step / per_arcsec,
        shift / per_arcsec,
        int(settings.max_iterations),
        float(settings.ftol),
    )
    free = _free(group.n_sources, settings)
    found = kernels.minimise(group, table, _parameters(start), free, search)
    return Solution(group, parents, origin, *found, free)


def _parameters(positions: np.ndarray) -> np.ndarray:
    """Parameter vector of positions, fluxes and background 0."""
    p = np.zeros(3 * len(positions) + 1)
    p[0:-1:3], p[1:-1:3] = positions.T
    return p


def _with_source(fit: Solution, table: PRFTable, settings: FitSettings) -> Solution | None:
    """Add a source at the most significant residual; None if there is none."""
    residual = fit.group.value - kernels.model_values(fit.group, table, fit.p)
    per_arcsec = pixels_per_arcsec(fit.group)
    half = math.ceil(max(fit.group.fit_x, fit.group.fit_y) / 2 / _GRID)
    found = []
    for n in range(fit.group.n_sources):
        step, reach = _GRID / per_arcsec[n], _REACH / per_arcsec[n]
        centre = np.zeros(2)
        found.append(kernels.residual_peak(fit.group, table, residual, n, centre, half, step, reach))
    n = int(np.argmax([peak for peak, _, _ in found]))
    peak, u, v = found[n]
    if not peak > 0:
        return None
    start = np.vstack([np.column_stack([fit.p[0:-1:3], fit.p[1:-1:3]]), [u, v]])
    origin = np.vstack([fit.origin, [u, v]])
    members = [*range(fit.group.n_sources), n]
    more = _minimise(fit.group.take(members), fit.parents[members], table, start, origin, settings)
    return None if more.ended == kernels.SINGULAR else more


def finish(n: int, fit: Solution | None, table: PRFTable, settings: FitSettings) -> GroupFit:
    """Put the result for n sources together; those that were left out get their row too."""
    nothing = SourceFit(
        0.0, 0.0, math.nan, np.full((3, 3), np.nan), math.nan, 0, 0, FitStatus.TOO_FEW_PIXELS, 0, False
    )
    sources = [replace(nothing, parent=i) for i in range(n)]
    if fit is None:
        return GroupFit(tuple(sources), math.nan, 0, 0.0, 0.0, 0, 0, False)
    covariance = covariance_of(fit.matrix, fit.free)
    residual = fit.group.value - kernels.model_values(fit.group, table, fit.p)
    partial, count = box_sums(fit.group, fit.group.weight * residual**2)
    own = 1 if settings.fixed_positions else 3
    first_added = fit.group.n_sources - fit.added
    bias = _biases(fit, table, settings)
    for i, parent in enumerate(fit.parents):
        part = slice(3 * i, 3 * i + 3)
        n_pixels = int(count[:, i].sum())
        dof = n_pixels - own - int(settings.background)
        source = SourceFit(
            float(fit.p[3 * i]),
            float(fit.p[3 * i + 1]),
            float(fit.p[3 * i + 2]),
            covariance[part, part],
            float(partial[:, i].sum()) / dof if dof > 0 else math.nan,
            n_pixels,
            int((count[:, i] > 0).sum()),
            _status(fit, i, covariance, settings),
            int(parent),
            i >= first_added,
            float(bias[i]),
        )
        if source.added:
            sources.append(source)
        else:
            sources[parent] = source
    capped = (
        settings.max_n_ps > 1
        and fit.group.n_sources >= settings.max_n_ps
        and fit.chi2_dof >= settings.chi_threshold
    )
    return GroupFit(
        tuple(sources),
        float(fit.chi2),
        fit.dof,
        float(fit.p[-1]),
        float(covariance[-1, -1]),
        int(fit.iterations),
        fit.group.n_sources,
        capped,
    )


def _biases(fit: Solution, table: PRFTable, settings: FitSettings) -> np.ndarray:
    """Give the bias of each flux, if it is asked for; a position at its bound is one that was not fitted."""
    nothing = np.zeros(fit.group.n_sources)
    if settings.bias_noise is None or fit.ended != kernels.CONVERGED or not fit.dof > 0:
        return nothing
    free = fit.free.copy()
    free[:-1] &= np.repeat(~fit.at_bound, 3) | np.tile([False, False, True], fit.at_bound.size)
    covariance = covariance_of(fit.matrix, free)
    if not np.isfinite(covariance).all():
        return nothing
    measured = fit.chi2_dof if settings.bias_scaled else min(fit.chi2_dof, 1.0)
    return flux_bias(fit.group, table, fit.p, covariance, settings.bias_noise * measured)


def _status(fit: Solution, i: int, covariance: np.ndarray, settings: FitSettings) -> FitStatus:
    if fit.dof < 0:
        return FitStatus.TOO_FEW_PIXELS
    if fit.ended == kernels.SINGULAR or not np.isfinite(covariance[3 * i + 2, 3 * i + 2]):
        return FitStatus.SINGULAR
    if fit.ended == kernels.EXHAUSTED:
        return FitStatus.NOT_CONVERGED
    if fit.dof > 0 and not fit.chi2_dof < settings.chi_threshold:
        return FitStatus.CHI2_ABOVE_THRESHOLD
    if not settings.fixed_positions and fit.at_bound[i]:
        return FitStatus.AT_BOUND
    if not settings.fixed_positions and not fit.p[3 * i + 2] > 0:
        return FitStatus.FLUX_NOT_POSITIVE
    return FitStatus.SUCCESS


def cramer_rao(
    group: GroupData, table: PRFTable, u: np.ndarray, v: np.ndarray, flux: np.ndarray, settings: FitSettings
) -> np.ndarray:
    """Smallest covariance that any unbiased fit can have.

    Parameters
    ----------
    group : GroupData
        Pixels and places; the pixel values do not matter.
    table : PRFTable
        PRFs.
    u, v, flux : ndarray, shape (N,)
        True offsets [arcsec] and fluxes [microjansky].
    settings : FitSettings
        Which parameters are fitted.

    Returns
    -------
    ndarray, shape (N, 3, 3)
        Covariance of (u, v, flux) of each source, the other parameters marginalised.

    Raises
    ------
    ValueError
        The group names a PRF that is not in the table.

    References
    ----------
    MOPEX User's Guide, section 8.9.
    """
    _check_prf(group, table)
    p = np.append(np.column_stack([u, v, flux]).ravel(), 0.0).astype(float)
    matrix, vector = np.empty((p.size, p.size)), np.empty(p.size)
    kernels.accumulate(group, table, p, 0, group.n_frames, matrix, vector)
    covariance = covariance_of(matrix, _free(group.n_sources, settings))
    return np.array([covariance[k : k + 3, k : k + 3] for k in range(0, p.size - 1, 3)])


@dataclass(frozen=True, eq=False)
class LightCurve:
    """Fluxes of the sources of a group in each frame alone.

    Parameters
    ----------
    flux, variance : ndarray, shape (F, N)
        Flux [microjansky] and its variance, NaN where the frame has no pixel of the source.
    chi2 : ndarray, shape (F,)
        chi2 of the frame.
    shift, shift_variance : ndarray, shape (F, N, 2)
        How far the source lies from its place in the frame along x and y [pixel], and the variances; NaN where the
        frame does not determine it.
    n_pixels : ndarray of int, shape (F,)
        Good pixels of the group in the frame.
    """

    flux: np.ndarray
    variance: np.ndarray
    chi2: np.ndarray
    shift: np.ndarray
    shift_variance: np.ndarray
    n_pixels: np.ndarray


def light_curve(
    group: GroupData,
    table: PRFTable,
    u: np.ndarray,
    v: np.ndarray,
    *,
    flux: np.ndarray | None = None,
    background: bool = False,
) -> LightCurve:
    """Fit the fluxes in each frame alone, at fixed positions.

    Parameters
    ----------
    group : GroupData
        Pixels and places.
    table : PRFTable
        PRFs.
    u, v : ndarray, shape (N,)
        Offsets of the sources [arcsec].
    flux : ndarray, shape (N,), or None
        Fluxes of the fit of all frames [microjansky], for the shifts; None gives no shifts.
    background : bool
        Fit a background in each frame.

    Returns
    -------
    LightCurve
        A linear least-squares fit for each frame.

    Raises
    ------
    ValueError
        The group names a PRF that is not in the table.

    Notes
    -----
    A shift is one Gauss-Newton step of the position of one source from its place in all frames, with the fluxes and
    the background of the frame free and the other sources in their places. It is linear in the noise, so that shifts
    of faint sources average to that of the pointing of the frame; for shifts that are not small beside the width of
    the PRF it falls short.
    """
    _check_prf(group, table)
    n = group.n_sources
    start = np.zeros(n) if flux is None else np.asarray(flux, dtype=float)
    p = np.append(np.column_stack([u, v, start]).ravel(), 0.0).astype(float)
    free = _free(n, FitSettings(background=background, fixed_positions=True))
    return LightCurve(*kernels.frame_fluxes(group, table, p, free), np.diff(group.first))
