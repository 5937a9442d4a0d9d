"""Compiled results of a fit: covariances, quality and status of each source of a group."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from pymopex import fit_kernels as kernels
from pymopex.fit_bias import flux_bias
from pymopex.fit_results import FitStatus
from pymopex.fit_solving import Rules, Solution, chi2_dof_of, dof_of
from pymopex.group_kernels import box_sums
from pymopex.normal_equations import covariance as covariance_of

_SUCCESS = int(FitStatus.SUCCESS)
_ABOVE = int(FitStatus.CHI2_ABOVE_THRESHOLD)
_NOT_CONVERGED = int(FitStatus.NOT_CONVERGED)
_TOO_FEW = int(FitStatus.TOO_FEW_PIXELS)
_SINGULAR = int(FitStatus.SINGULAR)
_NOT_POSITIVE = int(FitStatus.FLUX_NOT_POSITIVE)
_AT_BOUND = int(FitStatus.AT_BOUND)


class Rows(NamedTuple):
    """Results of sources, one row each, in the meaning of `pymopex.fit_results.SourceFit`; `place` is (u, v)."""

    place: np.ndarray
    flux: np.ndarray
    covariance: np.ndarray
    chi2_dof: np.ndarray
    n_pixels: np.ndarray
    n_frames: np.ndarray
    status: np.ndarray
    parent: np.ndarray
    added: np.ndarray
    bias: np.ndarray


class Whole(NamedTuple):
    """Results of groups, one row each, in the meaning of `pymopex.fit_results.GroupFit`; `rows` counts its sources."""

    chi2: np.ndarray
    dof: np.ndarray
    background: np.ndarray
    background_variance: np.ndarray
    iterations: np.ndarray
    n_ps: np.ndarray
    capped: np.ndarray
    rows: np.ndarray


@numba.njit(cache=True, nogil=True)
def empty_rows(n: int) -> Rows:
    """Make rows of sources that were not fitted: too few pixels."""
    return Rows(
        np.zeros((n, 2)),
        np.full(n, np.nan),
        np.full((n, 3, 3), np.nan),
        np.full(n, np.nan),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.full(n, _TOO_FEW),
        np.zeros(n, np.int64),
        np.zeros(n, np.bool_),
        np.zeros(n),
    )


@numba.njit(cache=True, nogil=True)
def empty_whole(n: int) -> Whole:
    """Make rows of groups without a fit."""
    return Whole(
        np.full(n, np.nan),
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros(n),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.zeros(n, np.bool_),
        np.zeros(n, np.int64),
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def finish(
    n: int, fit: Solution, table: Any, rules: Rules, rows: Rows, first: int, whole: Whole, g: int
) -> int:
    """Fill the rows, from `first`, of a group of n sources, and row g of the groups; gives how many sources it has.

    The sources of the input come first, also those that were left out, then the added ones.
    """
    for i in range(n):
        rows.parent[first + i] = i
    whole.rows[g] = n
    if not fit.found:
        return n
    n_fitted = fit.parents.size
    covariance = covariance_of(fit.matrix, fit.free)
    residual = fit.group.value - kernels.model_values(fit.group, table, fit.p)
    partial, count = box_sums(fit.group, fit.group.weight * residual**2)
    own = (1 if rules.fixed_positions else 3) + int(rules.background)
    bias = _biases(fit, table, rules)
    behind = first + n
    for i in range(n_fitted):
        added = i >= n_fitted - fit.added
        row = behind if added else first + fit.parents[i]
        behind += added
        n_pixels = np.sum(count[:, i])
        rows.place[row, 0], rows.place[row, 1] = fit.p[3 * i], fit.p[3 * i + 1]
        rows.flux[row], rows.bias[row] = fit.p[3 * i + 2], bias[i]
        rows.covariance[row] = covariance[3 * i : 3 * i + 3, 3 * i : 3 * i + 3]
        if n_pixels > own:
            rows.chi2_dof[row] = np.sum(partial[:, i]) / (n_pixels - own)
        rows.n_pixels[row], rows.n_frames[row] = n_pixels, np.sum(count[:, i] > 0)
        rows.status[row] = _status(fit, i, covariance, rules)
        rows.parent[row], rows.added[row] = fit.parents[i], added
    too_bad = chi2_dof_of(fit) >= rules.chi_threshold
    whole.chi2[g], whole.dof[g], whole.iterations[g] = fit.chi2, dof_of(fit), fit.iterations
    whole.background[g], whole.background_variance[g] = fit.p[-1], covariance[-1, -1]
    whole.n_ps[g] = n_fitted
    whole.capped[g] = rules.max_n_ps > 1 and n_fitted >= rules.max_n_ps and too_bad
    whole.rows[g] = behind - first
    return behind - first


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _biases(fit: Solution, table: Any, rules: Rules) -> np.ndarray:
    """Give the bias of each flux, if it is asked for; a position at its bound is one that was not fitted."""
    nothing = np.zeros(fit.parents.size)
    if math.isnan(rules.bias_noise) or fit.ended != kernels.CONVERGED or not dof_of(fit) > 0:
        return nothing
    free = fit.free.copy()
    for i in range(fit.parents.size):
        if fit.at_bound[i]:
            free[3 * i] = free[3 * i + 1] = False
    covariance = covariance_of(fit.matrix, free)
    if not np.isfinite(covariance).all():
        return nothing
    measured = chi2_dof_of(fit) if rules.bias_scaled else min(chi2_dof_of(fit), 1.0)
    return flux_bias(fit.group, table, fit.p, covariance, rules.bias_noise * measured)


@numba.njit(cache=True, nogil=True, inline="always")
def _status(fit: Solution, i: int, covariance: np.ndarray, rules: Rules) -> int:
    if dof_of(fit) < 0:
        return _TOO_FEW
    if fit.ended == kernels.SINGULAR or not math.isfinite(covariance[3 * i + 2, 3 * i + 2]):
        return _SINGULAR
    if fit.ended == kernels.EXHAUSTED:
        return _NOT_CONVERGED
    if dof_of(fit) > 0 and not chi2_dof_of(fit) < rules.chi_threshold:
        return _ABOVE
    if not rules.fixed_positions and fit.at_bound[i]:
        return _AT_BOUND
    if not rules.fixed_positions and not fit.p[3 * i + 2] > 0.0:
        return _NOT_POSITIVE
    return _SUCCESS
