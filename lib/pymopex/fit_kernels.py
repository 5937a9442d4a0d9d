"""Compiled loops of the PRF fit: normal equations, minimisation, and residuals.

The parameters of a group of N sources are one vector of 3 N + 1 numbers: u, v and flux of each source, then
the background. A parameter that is not fitted is marked as not free and keeps its value.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from pymopex.normal_equations import solve
from pymopex.prf_kernels import blend, look_up, phase

CONVERGED, EXHAUSTED, SINGULAR = 0, 1, 2
"""How a minimisation ended."""

_ABSOLUTE = 1e-10  # of chi2: a step of 1e-5 sigma
_CLOSE = 0.01  # of ftol: the gain that an undamped step may still promise
_GROWTH = 4.0  # of the damping after the first step that fails; then 8, 16, ...
_STUCK = 1e12  # damping at which no step of any use is left


class Search(NamedTuple):
    """Limits of a minimisation; lengths of the step and of the whole shift in arcsec, one for each source.

    Shifts count from the positions in `origin`, a vector of parameters.
    """

    origin: np.ndarray
    max_step: np.ndarray
    max_shift: np.ndarray
    max_iterations: int
    ftol: float


@numba.njit(cache=True, nogil=True)
def accumulate(
    group: Any, table: Any, p: np.ndarray, j0: int, j1: int, matrix: np.ndarray, vector: np.ndarray
) -> float:
    """Fill the normal equations of the frames j0 to j1 - 1 at the parameters p; returns chi2.

    `matrix` is the Gauss-Newton half Hessian of chi2, `vector` minus half its gradient.
    """
    n_src = group.rx.shape[1]
    m = 3 * n_src + 1
    ny, nx = table.coefficients.shape[1:]
    sx, sy = table.sampling_x, table.sampling_y
    wx, gx, wy, gy = np.empty((n_src, 4)), np.empty((n_src, 4)), np.empty((n_src, 4)), np.empty((n_src, 4))
    at = np.zeros((n_src, 6), np.int64)
    several = group.prf.shape[2] > 1
    mixed = np.empty((4, 4))
    chain = np.empty((n_src, 5))
    deriv = np.zeros(m)
    deriv[m - 1] = 1.0
    matrix[:] = 0.0
    vector[:] = 0.0
    chi2 = 0.0
    for j in range(j0, j1):
        which, mix = group.prf[j], group.mix[j]
        for n in range(n_src):
            jac = group.jacobian[j, n]
            x = group.rx[j, n] + jac[0, 0] * p[3 * n] + jac[0, 1] * p[3 * n + 1]
            y = group.ry[j, n] + jac[1, 0] * p[3 * n] + jac[1, 1] * p[3 * n + 1]
            if not (math.isfinite(x) and math.isfinite(y)):
                at[n, 1], at[n, 2] = 1, 0
                continue
            kx, xlo, xhi = phase(x, sx, nx, wx[n], gx[n])
            ky, ylo, yhi = phase(y, sy, ny, wy[n], gy[n])
            at[n, 0], at[n, 1], at[n, 2] = kx, xlo, xhi
            at[n, 3], at[n, 4], at[n, 5] = ky, ylo, yhi
            scale = group.scale[j, n]
            a, b = -scale * p[3 * n + 2] * sx, -scale * p[3 * n + 2] * sy
            chain[n, 0] = scale
            chain[n, 1], chain[n, 2] = a * jac[0, 0], b * jac[1, 0]
            chain[n, 3], chain[n, 4] = a * jac[0, 1], b * jac[1, 1]
        for i in range(group.first[j], group.first[j + 1]):
            model = p[m - 1]
            px, py = group.px[i], group.py[i]
            for n in range(n_src):
                if px < at[n, 1] or px > at[n, 2] or py < at[n, 4] or py > at[n, 5]:
                    deriv[3 * n] = deriv[3 * n + 1] = deriv[3 * n + 2] = 0.0
                    continue
                kx, ky = at[n, 0] + px * sx, at[n, 3] + py * sy
                if several:
                    blend(table.coefficients, which, mix, n, ky, kx, mixed)
                    c = mixed
                else:
                    c = table.coefficients[which[n, 0], ky : ky + 4, kx : kx + 4]
                v = vx = vy = 0.0
                for k in range(4):
                    row = wy[n, 0] * c[0, k] + wy[n, 1] * c[1, k] + wy[n, 2] * c[2, k] + wy[n, 3] * c[3, k]
                    slope = gy[n, 0] * c[0, k] + gy[n, 1] * c[1, k] + gy[n, 2] * c[2, k] + gy[n, 3] * c[3, k]
                    v += wx[n, k] * row
                    vx += gx[n, k] * row
                    vy += wx[n, k] * slope
                deriv[3 * n] = chain[n, 1] * vx + chain[n, 2] * vy
                deriv[3 * n + 1] = chain[n, 3] * vx + chain[n, 4] * vy
                deriv[3 * n + 2] = chain[n, 0] * v
                model += p[3 * n + 2] * deriv[3 * n + 2]
            residual = group.value[i] - model
            weight = group.weight[i]
            chi2 += weight * residual * residual
            for a in range(m):
                wd = weight * deriv[a]
                if wd != 0.0:
                    vector[a] += wd * residual
                    for b in range(m):  # the whole row: a loop of fixed length is the faster one
                        matrix[a, b] += wd * deriv[b]
    for a in range(m):
        for b in range(a):
            matrix[a, b] = matrix[b, a]
    return chi2


@numba.njit(cache=True, nogil=True)
def model_values(group: Any, table: Any, p: np.ndarray) -> np.ndarray:
    """Model, background included, at each pixel of a group."""
    n_src = group.rx.shape[1]
    ny, nx = table.coefficients.shape[1:]
    sx, sy = table.sampling_x, table.sampling_y
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    several = group.prf.shape[2] > 1
    mixed = np.empty((4, 4))
    out = np.full(group.value.size, p[3 * n_src])
    for j in range(group.first.size - 1):
        for n in range(n_src):
            jac = group.jacobian[j, n]
            x = group.rx[j, n] + jac[0, 0] * p[3 * n] + jac[0, 1] * p[3 * n + 1]
            y = group.ry[j, n] + jac[1, 0] * p[3 * n] + jac[1, 1] * p[3 * n + 1]
            if not (math.isfinite(x) and math.isfinite(y)):
                continue
            kx, xlo, xhi = phase(x, sx, nx, wx, unused)
            ky, ylo, yhi = phase(y, sy, ny, wy, unused)
            which, mix = group.prf[j], group.mix[j]
            c = table.coefficients[which[n, 0]]
            amplitude = p[3 * n + 2] * group.scale[j, n]
            for i in range(group.first[j], group.first[j + 1]):
                px, py = group.px[i], group.py[i]
                if not (xlo <= px <= xhi and ylo <= py <= yhi):
                    continue
                if several:
                    blend(table.coefficients, which, mix, n, ky + py * sy, kx + px * sx, mixed)
                    out[i] += amplitude * look_up(mixed, 0, 0, wy, wx)
                else:
                    out[i] += amplitude * look_up(c, ky + py * sy, kx + px * sx, wy, wx)
    return out


@numba.njit(cache=True, nogil=True)
def _limited(p: np.ndarray, step: np.ndarray, search: Any, at_bound: np.ndarray) -> np.ndarray:
    """Parameters after a step, with the positions held in their limits."""
    trial, start = p + step, search.origin
    for n in range(at_bound.size):
        u, v = 3 * n, 3 * n + 1
        length = math.hypot(step[u], step[v])
        if length > search.max_step[n]:
            trial[u] = p[u] + step[u] * search.max_step[n] / length
            trial[v] = p[v] + step[v] * search.max_step[n] / length
        shift = math.hypot(trial[u] - start[u], trial[v] - start[v])
        at_bound[n] = shift > search.max_shift[n]
        if at_bound[n]:
            trial[u] = start[u] + (trial[u] - start[u]) * search.max_shift[n] / shift
            trial[v] = start[v] + (trial[v] - start[v]) * search.max_shift[n] / shift
    return trial


@numba.njit(cache=True, nogil=True)
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
            matrix[a, :] *= ratio
            matrix[:, a] *= ratio
    p += step
    return gain, True


@numba.njit(cache=True, nogil=True)
def _at_minimum(
    matrix: np.ndarray, vector: np.ndarray, free: np.ndarray, small: float, step: np.ndarray
) -> bool:
    """Whether the undamped step would lower chi2 by less than `small`."""
    return solve(matrix, vector, free, 0.0, step) and np.sum(step * vector) <= small


@numba.njit(cache=True, nogil=True)
def minimise(
    group: Any, table: Any, start: np.ndarray, free: np.ndarray, search: Any
) -> tuple[np.ndarray, np.ndarray, float, int, int, np.ndarray]:
    """Levenberg-Marquardt from the positions in `start`, with the best fluxes and background at each of its steps.

    Returns parameters, normal matrix there, chi2, iterations, how it ended, and which sources end on their
    bound. The damping follows the ratio of the gain in chi2 to the expected one (Nielsen 1999, IMM-REP-1999-05).
    """
    m, n_frames = start.size, group.first.size - 1
    n_src = m // 3
    matrix, vector, step, other = np.empty((m, m)), np.empty(m), np.empty(m), np.empty(m)
    at_bound, trial_bound = np.zeros(n_src, np.bool_), np.zeros(n_src, np.bool_)
    p = start.copy()
    linear = free.copy()
    moves = False
    for n in range(n_src):
        moves = moves or free[3 * n]
        linear[3 * n] = linear[3 * n + 1] = False
        p[3 * n + 2] = 1.0
    chi2 = accumulate(group, table, p, 0, n_frames, matrix, vector)
    gain, solved = _settle(matrix, vector, p, linear, other)
    chi2 = max(chi2 - gain, 0.0)
    if not solved:
        matrix[:] = np.nan
        return start.copy(), matrix, chi2, 0, SINGULAR, at_bound
    if not moves:
        return p, matrix, chi2, 1, CONVERGED, at_bound
    new_matrix, new_vector = np.empty((m, m)), np.empty(m)
    damping, growth = 1e-4, _GROWTH
    for iteration in range(1, search.max_iterations + 1):
        if _at_minimum(matrix, vector, free, _CLOSE * search.ftol * chi2 + _ABSOLUTE, other):
            return p, matrix, chi2, iteration, CONVERGED, at_bound
        if not solve(matrix, vector, free, damping, step):
            if damping > 1.0:
                matrix[:] = np.nan
                return p, matrix, chi2, iteration, SINGULAR, at_bound
            damping = max(100.0 * damping, 1e-6)
            continue
        expected = 0.0
        for a in range(m):
            expected += step[a] * (vector[a] + damping * matrix[a, a] * step[a])
        trial = _limited(p, step, search, trial_bound)
        new_chi2 = accumulate(group, table, trial, 0, n_frames, new_matrix, new_vector)
        gain, _ = _settle(new_matrix, new_vector, trial, linear, other)
        new_chi2 = max(new_chi2 - gain, 0.0)
        change = chi2 - new_chi2
        small = search.ftol * new_chi2 + _ABSOLUTE
        at_end = abs(change) <= small and damping < 1e-2 and (expected <= 10.0 * small or trial_bound.any())
        if change >= 0.0:
            p, chi2 = trial, new_chi2
            matrix, new_matrix = new_matrix, matrix
            vector, new_vector = new_vector, vector
            at_bound[:] = trial_bound
            if at_end:
                return p, matrix, chi2, iteration, CONVERGED, at_bound
            ratio = change / expected if expected > 0.0 else 1.0
            damping *= max(0.1, 1.0 - (2.0 * min(ratio, 1.0) - 1.0) ** 3)
            growth = _GROWTH
        else:
            if at_end:  # rounding, or a bound: nothing left to gain
                return p, matrix, chi2, iteration, CONVERGED, at_bound
            damping = max(growth * damping, 1e-4)
            growth *= 2.0
            if damping > _STUCK:
                return p, matrix, chi2, iteration, CONVERGED, at_bound
    return p, matrix, chi2, search.max_iterations, EXHAUSTED, at_bound


@numba.njit(cache=True, nogil=True)
def frame_fluxes(
    group: Any, table: Any, p: np.ndarray, free: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit each frame alone: fluxes, and one Gauss-Newton step of each position.

    Returns fluxes and their variances (frame, source), chi2 (frame), and shifts along x and y [pixel] with their
    variances (frame, source, axis). The slopes of the shifts are those of the fluxes in p; where these are 0 they
    are NaN.
    """
    m, n_frames = p.size, group.first.size - 1
    n_src = m // 3
    flux = np.full((n_frames, n_src), np.nan)
    variance, chi2 = flux.copy(), np.full(n_frames, np.nan)
    shift = np.full((n_frames, n_src, 2), np.nan)
    spread = shift.copy()
    matrix, vector, step, unit = np.empty((m, m)), np.empty(m), np.empty(m), np.zeros(m)
    for j in range(n_frames):
        power = accumulate(group, table, p, j, j + 1, matrix, vector)
        usable = free.copy()
        for a in range(m):
            usable[a] = free[a] and matrix[a, a] > 0.0
        if not usable.any() or not solve(matrix, vector, usable, 0.0, step):
            continue
        chi2[j] = max(power - np.sum(step * vector), 0.0)
        for n in range(n_src):
            if usable[3 * n + 2]:
                flux[j, n] = p[3 * n + 2] + step[3 * n + 2]
        for n in range(n_src):
            if usable[3 * n + 2]:
                unit[:] = 0.0
                unit[3 * n + 2] = 1.0
                solve(matrix, unit, usable, 0.0, step)
                variance[j, n] = step[3 * n + 2]
        spare = group.first[j + 1] - group.first[j] - np.sum(usable)
        for n in range(n_src):
            if usable[3 * n + 2] and spare > 2:
                _shift(matrix, vector, usable, n, group.jacobian[j, n], shift[j, n], spread[j, n])
    return flux, variance, chi2, shift, spread


@numba.njit(cache=True, nogil=True)
def _shift(
    matrix: np.ndarray,
    vector: np.ndarray,
    linear: np.ndarray,
    n: int,
    jac: np.ndarray,
    shift: np.ndarray,
    spread: np.ndarray,
) -> None:
    """Fill the step of the position of source n [pixel], and its variance, with the linear parameters free."""
    step, unit = np.empty(vector.size), np.zeros(vector.size)
    free = linear.copy()
    u, v = 3 * n, 3 * n + 1
    free[u] = free[v] = True
    if not solve(matrix, vector, free, 0.0, step):
        return
    du, dv = step[u], step[v]
    unit[u] = 1.0
    solve(matrix, unit, free, 0.0, step)
    uu, uv = step[u], step[v]
    unit[u], unit[v] = 0.0, 1.0
    solve(matrix, unit, free, 0.0, step)
    for k in range(2):
        a, b = jac[k, 0], jac[k, 1]
        shift[k] = a * du + b * dv
        spread[k] = a * a * uu + 2.0 * a * b * uv + b * b * step[v]


@numba.njit(cache=True, nogil=True)
def residual_peak(
    group: Any, table: Any, residual: np.ndarray, n: int, at: np.ndarray, half: int, step: float, reach: float
) -> tuple[float, float, float]:
    """Highest significance of a further source near source n; returns it and its place (u, v) [arcsec].

    The significance of a place is that of the flux of a PRF fitted there to the residuals in the box of
    source n; places lie on a grid of 2 half + 1 points a side and `step` arcsec round (u, v) = `at`. Only
    pixels within `reach` arcsec of the place count: the core of the PRF carries nearly all the information. Of
    several PRFs the one with the largest weight is taken.
    """
    size = 2 * half + 1
    top, norm = np.zeros((size, size)), np.zeros((size, size))
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    ny, nx = table.coefficients.shape[1:]
    for j in range(group.first.size - 1):
        jac = group.jacobian[j, n]
        det = jac[0, 0] * jac[1, 1] - jac[0, 1] * jac[1, 0]
        if not (math.isfinite(group.rx[j, n]) and math.isfinite(det)) or det == 0.0:
            continue
        c = table.coefficients[group.prf[j, n, np.argmax(group.mix[j, n])]]
        for i in range(group.first[j], group.first[j + 1]):
            px, py = group.px[i], group.py[i]
            if not (0 <= px - group.box_x[j, n] < group.fit_x and 0 <= py - group.box_y[j, n] < group.fit_y):
                continue
            dx, dy = px - group.rx[j, n], py - group.ry[j, n]
            gu = ((jac[1, 1] * dx - jac[0, 1] * dy) / det - at[0]) / step + half
            gv = ((jac[0, 0] * dy - jac[1, 0] * dx) / det - at[1]) / step + half
            for b in range(
                max(0, math.ceil(gv - reach / step)), min(size, math.floor(gv + reach / step) + 1)
            ):
                for a in range(
                    max(0, math.ceil(gu - reach / step)), min(size, math.floor(gu + reach / step) + 1)
                ):
                    u, v = at[0] + (a - half) * step, at[1] + (b - half) * step
                    kx, xlo, xhi = phase(
                        group.rx[j, n] + jac[0, 0] * u + jac[0, 1] * v, table.sampling_x, nx, wx, unused
                    )
                    ky, ylo, yhi = phase(
                        group.ry[j, n] + jac[1, 0] * u + jac[1, 1] * v, table.sampling_y, ny, wy, unused
                    )
                    if xlo <= px <= xhi and ylo <= py <= yhi:
                        q = group.scale[j, n] * look_up(
                            c, ky + py * table.sampling_y, kx + px * table.sampling_x, wy, wx
                        )
                        top[b, a] += group.weight[i] * residual[i] * q
                        norm[b, a] += group.weight[i] * q * q
    best, best_u, best_v = 0.0, at[0], at[1]
    for b in range(size):
        for a in range(size):
            if norm[b, a] > 0.0 and top[b, a] / math.sqrt(norm[b, a]) > best:
                best = top[b, a] / math.sqrt(norm[b, a])
                best_u, best_v = at[0] + (a - half) * step, at[1] + (b - half) * step
    return best, best_u, best_v
