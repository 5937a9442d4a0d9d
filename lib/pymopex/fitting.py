"""PRF fit: flux and position of a source, or of the sources of a blend, from all frames at once."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pymopex.batches import Batch, alone, batch_of
from pymopex.fit_bias import fill_biases
from pymopex.fit_data import GroupData
from pymopex.fit_equations import accumulate_pixels
from pymopex.fit_finish import Rows, Whole, finish
from pymopex.fit_results import Deblend, FitSettings, FitStatus, GroupFit, SourceFit
from pymopex.fit_solving import Fits, Rules, empty_fits, rules_of, solve
from pymopex.frame_fits import measure_groups
from pymopex.normal_equations import covariance as covariance_of
from pymopex.prf import PRFTable

__all__ = [
    "Deblend",
    "FitSettings",
    "FitStatus",
    "GroupFit",
    "LightCurve",
    "SourceFit",
    "cramer_rao",
    "fit_group",
    "light_curve",
]


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
    rules, n = rules_of(settings or FitSettings()), group.n_sources
    at = np.zeros((n, 2)) if start is None else np.asarray(start, dtype=float)
    if at.shape != (n, 2):
        raise ValueError(f"start must have shape {(n, 2)}, not {at.shape}")
    check_prf(group.prf, table)
    batch = batch_of(group)
    fits = empty_fits(batch, rules, at)
    solve(batch, batch.weight, table, np.zeros(1, np.int64), fits, rules)
    return results(batch, batch.weight, table, fits, rules)[0]


def check_prf(prf: np.ndarray, table: PRFTable) -> None:
    """Refuse numbers of PRFs that are not in the table: compiled code does not look."""
    if not (prf.min() >= 0 and prf.max() < len(table.coefficients)):
        raise ValueError(f"the group names PRFs {prf.min()} to {prf.max()} of {len(table.coefficients)}")


def results(batch: Batch, weight: np.ndarray, table: PRFTable, fits: Fits, rules: Rules) -> list[GroupFit]:
    """Put the results of the groups of a batch together; sources that were left out get their row too."""
    if not math.isnan(rules.bias_noise):
        fill_biases(batch, weight, table, fits, rules)
    return group_fits(*finish(batch, weight, table, fits, rules))


def group_fits(rows: Rows, whole: Whole) -> list[GroupFit]:
    """Give the results of groups as one object each."""
    columns = [
        column.tolist() for name, column in rows._asdict().items() if name not in ("place", "covariance")
    ]
    flux, chi2_dof, n_pixels, n_frames, status, parent, added, bias = columns
    place, names = rows.place.tolist(), {int(name): name for name in FitStatus}
    out, first = [], 0
    for *values, count in zip(*(column.tolist() for column in whole), strict=True):
        sources = tuple(
            SourceFit(
                place[i][0],
                place[i][1],
                flux[i],
                rows.covariance[i],
                chi2_dof[i],
                n_pixels[i],
                n_frames[i],
                names[status[i]],
                parent[i],
                added[i],
                bias[i],
            )
            for i in range(first, first + count)
        )
        out.append(GroupFit(sources, *values))
        first += count
    return out


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
    check_prf(group.prf, table)
    p = np.append(np.column_stack([u, v, flux]).ravel(), 0.0).astype(float)
    matrix, vector = np.empty((p.size, p.size)), np.empty(p.size)
    accumulate_pixels(alone(group), table, p, 0, group.n_frames, matrix, vector)
    free = np.full(p.size, not settings.fixed_positions)
    free[2::3], free[-1] = True, settings.background
    covariance = covariance_of(matrix, free)
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
    check_prf(group.prf, table)
    n = group.n_sources
    start = np.zeros(n) if flux is None else np.asarray(flux, dtype=float)
    p = np.column_stack([u, v, start]).astype(float)
    names, values = np.zeros((4, group.n_frames * n), np.int64), np.zeros((group.n_frames * n, 7))
    batch = batch_of(group)
    count = measure_groups(
        batch, batch.weight, table, np.array([0, n]), batch.numbers, p, bool(background), names, values
    )
    own, frame = names[1:3, :count]
    out = np.full((7, group.n_frames, n), np.nan)
    out[:, frame, own] = values[:count].T
    chi2 = np.full(group.n_frames, np.nan)
    chi2[frame] = values[:count, 2]
    shift, spread = (np.moveaxis(part, 0, 2) for part in (out[3:5], out[5:7]))
    return LightCurve(out[0], out[1], chi2, shift, spread, np.diff(group.first))
