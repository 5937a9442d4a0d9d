"""Compiled minimum of chi2 of a group: sources with enough pixels, active deblending, and fits without hits."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from pymopex import fit_kernels as kernels
from pymopex.fit_data import GroupData, taken, with_pixels, with_values
from pymopex.fit_kernels import Search
from pymopex.fit_results import FitSettings
from pymopex.group_kernels import box_sums, pixels_per_arcsec
from pymopex.hit_kernels import agreeing, deviations

_GRID = 0.5  # pixel, of the search for a further source
_REACH = 1.5  # pixel of the PRF core used in that search
_FEWEST_FRAMES = 3  # that a group needs before single pixels are dropped
_ROUNDS = 4  # fits without pixels
_WEIGHTED = 4  # fits with falling weights before that
_CAUCHY = 2.4  # sigma, at which a weight is halved
_LEAST = 0.8  # of the pixels must stay, else none is dropped


class Rules(NamedTuple):
    """Settings of a fit for compiled code (see `FitSettings`): NaN stands for None."""

    background: bool
    max_n_ps: int
    chi_threshold: float
    chi2_improvement: float
    max_iterations: int
    ftol: float
    fixed_positions: bool
    max_step: float
    max_shift: float
    bias_noise: float
    bias_scaled: bool


def rules_of(settings: FitSettings) -> Rules:
    """Give the settings in the form that compiled code takes."""
    return Rules(
        bool(settings.background),
        int(settings.max_n_ps),
        float(settings.chi_threshold),
        float(settings.chi2_improvement),
        int(settings.max_iterations),
        float(settings.ftol),
        bool(settings.fixed_positions),
        float(settings.max_step),
        math.nan if settings.max_shift is None else float(settings.max_shift),
        math.nan if settings.bias_noise is None else float(settings.bias_noise),
        bool(settings.bias_scaled),
    )


class Solution(NamedTuple):
    """Minimum of chi2: parameters `p` and normal matrix of the sources that could be fitted, and their `parents`.

    `added` of them, the last, came from active deblending. If no source has enough pixels, it is not `found`.
    """

    found: bool
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
    added: int


@numba.njit(cache=True, nogil=True, error_model="numpy")
def dof_of(fit: Solution) -> int:
    """Degrees of freedom."""
    return fit.group.value.size - np.sum(fit.free)


@numba.njit(cache=True, nogil=True, error_model="numpy")
def chi2_dof_of(fit: Solution) -> float:
    """Reduced chi2, NaN without degrees of freedom."""
    dof = dof_of(fit)
    return fit.chi2 / dof if dof > 0 else np.nan


@numba.njit(cache=True, nogil=True)
def free_of(n: int, rules: Rules) -> np.ndarray:
    """Tell which parameters of n sources are fitted."""
    free = np.ones(3 * n + 1, np.bool_)
    if rules.fixed_positions:
        free[0:-1:3] = False
        free[1:-1:3] = False
    free[-1] = rules.background
    return free


@numba.njit(cache=True, nogil=True, inline="always")
def _parameters(positions: np.ndarray) -> np.ndarray:
    """Parameter vector of positions, fluxes and background 0."""
    p = np.zeros(3 * len(positions) + 1)
    p[0:-1:3], p[1:-1:3] = positions[:, 0], positions[:, 1]
    return p


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _minimised(
    group: GroupData, parents: np.ndarray, table: Any, start: np.ndarray, origin: np.ndarray, rules: Rules
) -> Solution:
    """Minimise from the positions `start`; the shift is limited from `origin`; both of shape (N, 2)."""
    per_arcsec = pixels_per_arcsec(group)
    shift = rules.max_shift if rules.max_shift > 0.0 else max(group.fit_x, group.fit_y) / 2
    search = Search(
        _parameters(origin),
        rules.max_step / per_arcsec,
        shift / per_arcsec,
        rules.max_iterations,
        rules.ftol,
    )
    free = free_of(len(parents), rules)
    p, matrix, chi2, iterations, ended, bound = kernels.minimise(
        group, table, _parameters(start), free, search
    )
    return Solution(True, group, parents, origin, p, matrix, chi2, iterations, ended, bound, free, 0)


@numba.njit(cache=True, nogil=True, inline="always")
def _nothing(group: GroupData) -> Solution:
    none = np.zeros(0, np.int64)
    return Solution(
        False,
        group,
        none,
        np.zeros((0, 2)),
        np.zeros(1),
        np.zeros((1, 1)),
        np.nan,
        0,
        kernels.SINGULAR,
        none < 0,
        np.zeros(1, np.bool_),
        0,
    )


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_group(group: GroupData, table: Any, start: np.ndarray, rules: Rules) -> Solution:
    """Minimise chi2 from the offsets `start`, shape (N, 2) [arcsec], as `pymopex.fitting.fit_group` does."""
    _, counts = box_sums(group, group.value)
    usable = np.flatnonzero(counts.sum(axis=0) >= (1 if rules.fixed_positions else 3))
    if usable.size == 0:
        return _nothing(group)
    some = group if usable.size == len(start) else taken(group, usable)
    best = _minimised(some, usable, table, start[usable], start[usable], rules)
    if dof_of(best) < 0 or best.ended == kernels.SINGULAR:
        return best
    while _may_add(best, rules):
        more = _with_source(best, table, rules)
        if not more.found or chi2_dof_of(best) - chi2_dof_of(more) < rules.chi2_improvement:
            break
        best = more
    return best


@numba.njit(cache=True, nogil=True, inline="always")
def _may_add(fit: Solution, rules: Rules) -> bool:
    if rules.fixed_positions:
        return False
    return fit.parents.size < rules.max_n_ps and chi2_dof_of(fit) >= rules.chi_threshold


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _with_source(fit: Solution, table: Any, rules: Rules) -> Solution:
    """Add a source at the most significant residual; it is not found if there is none."""
    group, n_sources = fit.group, fit.parents.size
    residual = group.value - kernels.model_values(group, table, fit.p)
    per_arcsec = pixels_per_arcsec(group)
    half = math.ceil(max(group.fit_x, group.fit_y) / 2 / _GRID)
    start, origin = np.zeros((n_sources + 1, 2)), np.zeros((n_sources + 1, 2))
    start[:-1, 0], start[:-1, 1], origin[:-1] = fit.p[0:-1:3], fit.p[1:-1:3], fit.origin
    best, nearest = 0.0, 0
    for n in range(n_sources):
        step, reach = _GRID / per_arcsec[n], _REACH / per_arcsec[n]
        peak, u, v = kernels.residual_peak(group, table, residual, n, np.zeros(2), half, step, reach)
        if peak > best:
            best, nearest = peak, n
            start[-1, 0], start[-1, 1] = u, v
    if not best > 0.0:
        return _nothing(group)
    origin[-1] = start[-1]
    members = np.append(np.arange(n_sources), nearest)
    more = _minimised(taken(group, members), fit.parents[members], table, start, origin, rules)
    if more.ended == kernels.SINGULAR:
        return _nothing(group)
    return Solution(
        True,
        more.group,
        more.parents,
        more.origin,
        more.p,
        more.matrix,
        more.chi2,
        more.iterations,
        more.ended,
        more.at_bound,
        more.free,
        fit.added + 1,
    )


@numba.njit(cache=True, nogil=True, inline="always")
def _usable(fit: Solution) -> bool:
    """Whether there is a minimum at all."""
    return fit.found and math.isfinite(fit.chi2) and np.isfinite(fit.p).all()


@numba.njit(cache=True, nogil=True, error_model="numpy")
def solve_without_hits(
    group: GroupData, table: Any, rules: Rules, sigma: float
) -> tuple[Solution, GroupData]:
    """Give the last fit and the pixels that it used; see `pymopex.robust.fit_without_hits`."""
    first = solve_group(group, table, np.zeros((group.rx.shape[1], 2)), rules)
    if sigma == 0.0 or group.rx.shape[0] < _FEWEST_FRAMES or not _usable(first):
        return first, group
    keep = np.ones(group.value.size, np.bool_)
    used = group
    fit = _start(group, first, table, rules, sigma)
    for _ in range(_ROUNDS):
        found = _good(group, fit, table, sigma, keep) if _usable(fit) else ~keep
        if found.sum() < _LEAST * found.size:
            return first, group
        if (found == keep).all():  # in the first round none is dropped
            break
        keep, used = found, with_pixels(group, found)
        fit = solve_group(used, table, np.zeros((group.rx.shape[1], 2)), rules)
    if keep.all():
        return first, group
    return fit, used


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _start(group: GroupData, first: Solution, table: Any, rules: Rules, sigma: float) -> Solution:
    """Fit with weights that fall with the deviation (Cauchy's), so that a strong hit does not draw the fit."""
    keep = np.ones(group.value.size, np.bool_)
    fit = first
    for _ in range(_WEIGHTED):
        if not _usable(fit):
            break
        off, error = deviations(taken(group, fit.parents), table, fit.p, keep)
        if not (off**2 * group.weight > sigma**2).any():
            break
        lighter = group.weight / (1 + (off / (_CAUCHY * error)) ** 2)
        weighted = with_values(group, group.value, lighter, group.px, group.py, group.first)
        fit = solve_group(weighted, table, np.zeros((group.rx.shape[1], 2)), rules)
    return fit


@numba.njit(cache=True, nogil=True, error_model="numpy", inline="always")
def _good(group: GroupData, fit: Solution, table: Any, sigma: float, keep: np.ndarray) -> np.ndarray:
    """Tell which pixels agree with a fit of those in `keep`."""
    off, error = deviations(taken(group, fit.parents), table, fit.p, keep)
    return agreeing(group, off / error, sigma)
