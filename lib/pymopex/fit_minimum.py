"""Compiled minimum of chi2 of a group, by the Levenberg-Marquardt method."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pymopex.batches import Group
from pymopex.fit_equations import accumulate
from pymopex.jit import inner, leaf, once
from pymopex.normal_equations import solve
from pymopex.pixel_blocks import blocks_of

CONVERGED, EXHAUSTED, SINGULAR = 0, 1, 2
"""How a minimisation ended."""

_ABSOLUTE = 1e-10  # of chi2: a step of 1e-5 sigma
_CLOSE = 0.01  # of ftol: the gain that an undamped step may still promise
_GROWTH = 4.0  # of the damping after the first step that fails; then 8, 16, ...
_STUCK = 1e12  # damping at which no step of any use is left


class Search(NamedTuple):
    """Limits of a minimisation; lengths of the step and of the whole shift in arcsec, one for each source.

    Shifts count from the positions in `origin`, shape (N, 2).
    """

    origin: np.ndarray
    max_step: np.ndarray
    max_shift: np.ndarray
    max_iterations: int
    ftol: float


@leaf
def _limit(p: np.ndarray, step: np.ndarray, search: Search, trial: np.ndarray, at_bound: np.ndarray) -> bool:
    """Fill the parameters after a step, with the positions held in their limits; tells whether one is at its bound."""
    some = False
    for a in range(p.size):
        trial[a] = p[a] + step[a]
    for n in range(at_bound.size):
        u, v = 3 * n, 3 * n + 1
        u0, v0 = search.origin[n, 0], search.origin[n, 1]
        length = math.hypot(step[u], step[v])
        if length > search.max_step[n]:
            trial[u] = p[u] + step[u] * search.max_step[n] / length
            trial[v] = p[v] + step[v] * search.max_step[n] / length
        shift = math.hypot(trial[u] - u0, trial[v] - v0)
        at_bound[n] = shift > search.max_shift[n]
        if at_bound[n]:
            trial[u] = u0 + (trial[u] - u0) * search.max_shift[n] / shift
            trial[v] = v0 + (trial[v] - v0) * search.max_shift[n] / shift
            some = True
    return some


@inner
def _settle(
    matrix: np.ndarray, vector: np.ndarray, p: np.ndarray, linear: np.ndarray, step: np.ndarray
) -> tuple[float, bool]:
    """Give fluxes and background their best values for the positions, and carry the normal equations along.

    chi2 is exactly quadratic in them, and the rows of a position are proportional to the flux, so the pixels
    need not be visited. Returns by how much chi2 falls, and whether the equations could be solved.
    """
    m = p.size
    if not solve(matrix, vector, linear, 0.0, step):
        return 0.0, False
    for n in range(m // 3):
        if p[3 * n + 2] == 0.0:
            return 0.0, False
    gain = 0.0
    for a in range(m):
        gain += step[a] * vector[a]
    for a in range(m):
        for b in range(m):
            if linear[b]:
                vector[a] -= matrix[a, b] * step[b]
    for n in range(m // 3):
        ratio = (p[3 * n + 2] + step[3 * n + 2]) / p[3 * n + 2]
        for a in (3 * n, 3 * n + 1):
            vector[a] *= ratio
            for b in range(m):
                matrix[a, b] *= ratio
            for b in range(m):
                matrix[b, a] *= ratio
    for a in range(m):
        p[a] += step[a]
    return gain, True


@once
def minimise(
    group: Group,
    table: Any,
    p: np.ndarray,
    free: np.ndarray,
    search: Search,
    matrix: np.ndarray,
    at_bound: np.ndarray,
) -> tuple[float, int, int]:
    """Levenberg-Marquardt from the positions in `p`, with the best fluxes and background at each of its steps.

    Fills the parameters, the normal matrix there, and which sources end on their bound; gives chi2, the iterations, and
    how it ended. The damping follows the ratio of the gain in chi2 to the expected one (Nielsen 1999, IMM-REP-1999-05).
    """
    m, n_frames = p.size, group.row.size
    n_src = m // 3
    vector, step, other = np.empty(m), np.empty(m), np.empty(m)
    trial_bound, linear = np.zeros(n_src, np.bool_), np.empty(m, np.bool_)
    moves = False
    for a in range(m):
        linear[a] = free[a]
    for n in range(n_src):
        moves = moves or free[3 * n]
        linear[3 * n] = linear[3 * n + 1] = False
        p[3 * n + 2] = 1.0
        at_bound[n] = False
    blocks, none = blocks_of(group), np.int64(0)
    chi2 = accumulate(group, blocks, table, p, none, n_frames, matrix, vector)
    gain, solved = _settle(matrix, vector, p, linear, other)
    chi2 = max(chi2 - gain, 0.0)
    if not solved:
        _give_up(matrix)
        for n in range(n_src):
            p[3 * n + 2] = 0.0
        return chi2, 0, SINGULAR
    if not moves:
        return chi2, 1, CONVERGED
    trial, new_matrix, new_vector = np.empty(m), np.empty((m, m)), np.empty(m)
    damping, growth = 1e-4, _GROWTH
    for iteration in range(1, search.max_iterations + 1):
        # at the minimum the undamped step would lower chi2 by next to nothing
        if solve(matrix, vector, free, 0.0, other):
            promised = 0.0
            for a in range(m):
                promised += other[a] * vector[a]
            if promised <= _CLOSE * search.ftol * chi2 + _ABSOLUTE:
                return chi2, iteration, CONVERGED
        if not solve(matrix, vector, free, damping, step):
            if damping > 1.0:
                _give_up(matrix)
                return chi2, iteration, SINGULAR
            damping = max(100.0 * damping, 1e-6)
            continue
        expected = 0.0
        for a in range(m):
            expected += step[a] * (vector[a] + damping * matrix[a, a] * step[a])
        bound = _limit(p, step, search, trial, trial_bound)
        new_chi2 = accumulate(group, blocks, table, trial, none, n_frames, new_matrix, new_vector)
        gain, _ = _settle(new_matrix, new_vector, trial, linear, other)
        new_chi2 = max(new_chi2 - gain, 0.0)
        change = chi2 - new_chi2
        small = search.ftol * new_chi2 + _ABSOLUTE
        at_end = abs(change) <= small and damping < 1e-2 and (expected <= 10.0 * small or bound)
        if change >= 0.0:
            chi2 = new_chi2
            _take_over(trial, new_matrix, new_vector, trial_bound, p, matrix, vector, at_bound)
            if at_end:
                return chi2, iteration, CONVERGED
            ratio = change / expected if expected > 0.0 else 1.0
            damping *= max(0.1, 1.0 - (2.0 * min(ratio, 1.0) - 1.0) ** 3)
            growth = _GROWTH
        else:
            if at_end:  # rounding, or a bound: nothing left to gain
                return chi2, iteration, CONVERGED
            damping = max(growth * damping, 1e-4)
            growth *= 2.0
            if damping > _STUCK:
                return chi2, iteration, CONVERGED
    return chi2, search.max_iterations, EXHAUSTED


@leaf
def _give_up(matrix: np.ndarray) -> None:
    """Mark a normal matrix as one of no use."""
    for a in range(matrix.shape[0]):
        for b in range(matrix.shape[1]):
            matrix[a, b] = np.nan


@leaf
def _take_over(
    trial: np.ndarray,
    new_matrix: np.ndarray,
    new_vector: np.ndarray,
    trial_bound: np.ndarray,
    p: np.ndarray,
    matrix: np.ndarray,
    vector: np.ndarray,
    at_bound: np.ndarray,
) -> None:
    """Take over what a step has found."""
    for a in range(p.size):
        p[a], vector[a] = trial[a], new_vector[a]
        for b in range(p.size):
            matrix[a, b] = new_matrix[a, b]
    for n in range(at_bound.size):
        at_bound[n] = trial_bound[n]
