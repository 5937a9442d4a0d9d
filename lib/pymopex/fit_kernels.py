"""Compiled loops of the PRF fit: normal equations, minimisation, and residuals.

The parameters of a group of N sources are one vector of 3 N + 1 numbers: u, v and flux of each source, then
the background. A parameter that is not fitted is marked as not free and keeps its value.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from pymopex.lanes import LANES, load, same, store, times, times_plus, total
from pymopex.normal_equations import solve
from pymopex.prf_kernels import corners, eight_slopes, eight_values, look_up, mark_inside, phase

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


class Boxes(NamedTuple):
    """The pixels of each frame of a group in the rectangle that holds them, so that whole rows are worked on at once.

    Parameters
    ----------
    value, weight : ndarray, shape (n,)
        Rectangle after rectangle, row after row; the weight of what is no pixel of the group is 0.
    x0, y0, nx, ny : ndarray of int, shape (F,)
        Lower left pixel of each rectangle, and its size; `nx` is a multiple of `LANES`.
    first : ndarray of int, shape (F + 1,)
        Where each begins.
    """

    value: np.ndarray
    weight: np.ndarray
    x0: np.ndarray
    y0: np.ndarray
    nx: np.ndarray
    ny: np.ndarray
    first: np.ndarray


@numba.njit(cache=True, nogil=True)
def _rectangle(group: Any, j: int) -> tuple[int, int, int, int]:
    """Give the lower left pixel of the rectangle of a frame, and its size along x and y; all 0 without pixels."""
    a, b = group.first[j], group.first[j + 1]
    if a == b:
        return 0, 0, 0, 0
    x0, x1, y0, y1 = group.px[a], group.px[a], group.py[a], group.py[a]
    for i in range(a + 1, b):
        x0, x1 = min(x0, group.px[i]), max(x1, group.px[i])
        y0, y1 = min(y0, group.py[i]), max(y1, group.py[i])
    return x0, y0, x1 - x0 + 1, y1 - y0 + 1


@numba.njit(cache=True, nogil=True)
def boxes_of(group: Any) -> Boxes:
    """Put the pixels of a group into rectangles."""
    n_frames = group.first.size - 1
    x0, y0, nx, ny = np.zeros((4, n_frames), np.int64)
    first = np.zeros(n_frames + 1, np.int64)
    for j in range(n_frames):
        x0[j], y0[j], nx[j], ny[j] = _rectangle(group, j)
        nx[j] = -(-nx[j] // LANES) * LANES
        first[j + 1] = first[j] + nx[j] * ny[j]
    value, weight = np.zeros(first[-1]), np.zeros(first[-1])
    for j in range(n_frames):
        for i in range(group.first[j], group.first[j + 1]):
            k = first[j] + (group.py[i] - y0[j]) * nx[j] + group.px[i] - x0[j]
            value[k], weight[k] = group.value[i], group.weight[i]
    return Boxes(value, weight, x0, y0, nx, ny, first)


@numba.njit(cache=True, nogil=True)
def accumulate(
    group: Any, table: Any, p: np.ndarray, j0: int, j1: int, matrix: np.ndarray, vector: np.ndarray
) -> float:
    """Fill the normal equations of the frames j0 to j1 - 1 at the parameters p; returns chi2.

    `matrix` is the Gauss-Newton half Hessian of chi2, `vector` minus half its gradient.
    """
    return _accumulate(group, boxes_of(group), table, p, j0, j1, matrix, vector)


@numba.njit(cache=True, nogil=True)
def _accumulate(
    group: Any,
    boxes: Boxes,
    table: Any,
    p: np.ndarray,
    j0: int,
    j1: int,
    matrix: np.ndarray,
    vector: np.ndarray,
) -> float:
    """Fill the normal equations as `accumulate` does, from the pixels in rectangles.

    The derivatives of all pixels of a frame are worked out first, one row for each parameter, then the products of all
    pairs of rows are summed.
    """
    n_src = group.rx.shape[1]
    m = 3 * n_src + 1
    matrix[:], vector[:] = 0.0, 0.0
    chi2 = 0.0
    most = 0
    for j in range(j0, j1):
        most = max(most, boxes.first[j + 1] - boxes.first[j])
    rows, residual, weighted = np.ones(m * most), np.empty(most), np.empty(most)
    room = _room(boxes.nx[j0:j1].max() if j1 > j0 else 0)
    for j in range(j0, j1):
        start = boxes.first[j]
        size = boxes.first[j + 1] - start
        for i in range(size):
            residual[i] = boxes.value[start + i] - p[m - 1]
        for n in range(n_src):
            _derivatives(group, boxes, table, p, j, n, rows, most, room)
            flux = same(-p[3 * n + 2])
            for i in range(0, size, LANES):
                part = load(rows, (3 * n + 2) * most + i)
                store(residual, i, times_plus(flux, part, load(residual, i)))
        chi2 += _products(rows, most, boxes.weight, start, size, residual, weighted, matrix, vector)
    for k in range(m):
        for i in range(k):
            matrix[i, k] = matrix[k, i]
    return chi2


@numba.njit(cache=True, nogil=True)
def _products(
    rows: np.ndarray,
    pitch: int,
    weight: np.ndarray,
    start: int,
    size: int,
    residual: np.ndarray,
    weighted: np.ndarray,
    matrix: np.ndarray,
    vector: np.ndarray,
) -> float:
    """Add weighted products of the rows with each other, and with the residuals; gives chi2."""
    power = same(0.0)
    for i in range(0, size, LANES):
        left = load(residual, i)
        power = times_plus(times(load(weight, start + i), left), left, power)
    for k in range(vector.size):
        found = same(0.0)
        for i in range(0, size, LANES):
            part = times(load(weight, start + i), load(rows, k * pitch + i))
            store(weighted, i, part)
            found = times_plus(part, load(residual, i), found)
        vector[k] += total(found)
        for n in range(0, k, 2):
            one, other = same(0.0), same(0.0)
            for i in range(0, size, LANES):
                part = load(weighted, i)
                one = times_plus(part, load(rows, n * pitch + i), one)
                other = times_plus(part, load(rows, (n + 1) * pitch + i), other)
            matrix[k, n] += total(one)
            matrix[k, n + 1] += total(other)
        if k % 2 == 0:
            found = same(0.0)
            for i in range(0, size, LANES):
                found = times_plus(load(weighted, i), load(rows, k * pitch + i), found)
            matrix[k, k] += total(found)
    return total(power)


class Room(NamedTuple):
    """Memory to work in: weights and slopes along both axes, places of coefficients, and which pixels a PRF covers."""

    wx: np.ndarray
    gx: np.ndarray
    wy: np.ndarray
    gy: np.ndarray
    first: np.ndarray
    mask: np.ndarray


@numba.njit(cache=True, nogil=True)
def _room(width: int) -> Room:
    """Give memory for rows of so many pixels."""
    return Room(
        np.empty(4), np.empty(4), np.empty(4), np.empty(4), np.empty((4, 4), np.int64), np.empty(width)
    )


@numba.njit(cache=True, nogil=True, inline="always")
def _place(group: Any, p: np.ndarray, j: int, n: int) -> tuple[float, float]:
    """Place of a source in a frame at the parameters p."""
    x = group.rx[j, n] + group.jacobian[j, n, 0, 0] * p[3 * n] + group.jacobian[j, n, 0, 1] * p[3 * n + 1]
    y = group.ry[j, n] + group.jacobian[j, n, 1, 0] * p[3 * n] + group.jacobian[j, n, 1, 1] * p[3 * n + 1]
    return x, y


@numba.njit(cache=True, nogil=True, inline="always")
def _derivatives(
    group: Any,
    boxes: Boxes,
    table: Any,
    p: np.ndarray,
    j: int,
    n: int,
    out: np.ndarray,
    pitch: int,
    room: Room,
) -> None:
    """Fill the rows from 3 n on with the derivatives of the model by u, v and flux of source n in the box of frame j.

    The rows, each `pitch` numbers after the one before, have the pixels in the order of the box.
    """
    left, low, width, height = boxes.x0[j], boxes.y0[j], boxes.nx[j], boxes.ny[j]
    u, v, f = 3 * n * pitch, (3 * n + 1) * pitch, (3 * n + 2) * pitch
    x, y = _place(group, p, j, n)
    rows, columns = table.coefficients.shape[1:]
    sx, sy = table.sampling_x, table.sampling_y
    kx, xlo, xhi = phase(x, sx, columns, room.wx, room.gx)
    ky, ylo, yhi = phase(y, sy, rows, room.wy, room.gy)
    x0, x1 = max(xlo, left), min(xhi + 1, left + width)
    y0, y1 = max(ylo, low), min(yhi + 1, low + height)
    whole = x0 == left and x1 == left + width
    if x0 >= x1 or y0 >= y1:
        y0 = y1 = low
    for i in range((y0 - low) * width):
        out[u + i] = out[v + i] = out[f + i] = 0.0
    for i in range((y1 - low) * width, width * height):
        out[u + i] = out[v + i] = out[f + i] = 0.0
    if y0 == y1:
        return
    if not whole:
        mark_inside(room.mask, x0, x1, left, width)
    scale = group.scale[j, n]
    per_x, per_y = -scale * p[3 * n + 2] * sx, -scale * p[3 * n + 2] * sy
    ux, uy = per_x * group.jacobian[j, n, 0, 0], per_y * group.jacobian[j, n, 1, 0]
    vx, vy = per_x * group.jacobian[j, n, 0, 1], per_y * group.jacobian[j, n, 1, 1]
    start = (x0 - left) // LANES * LANES  # lanes before and behind the PRF are masked
    for k in range(group.prf.shape[2]):
        share = group.mix[j, n, k] if group.prf.shape[2] > 1 else 1.0
        corners(table, group.prf[j, n, k], ky + y0 * sy, kx + x0 * sx, room.first)
        for py in range(y0, y1):
            at = (py - low) * width
            if k == 0 and not whole:
                for i in range(width):
                    out[u + at + i] = out[v + at + i] = out[f + at + i] = 0.0
            for i in range(start, x1 - left, LANES):
                further = (py - y0) * table.columns + left + i - x0
                value, dx, dy = eight_slopes(
                    table.planes, room.first, further, room.wy, room.gy, room.wx, room.gx
                )
                by_u = times_plus(same(share * ux), dx, times(same(share * uy), dy))
                by_v = times_plus(same(share * vx), dx, times(same(share * vy), dy))
                by_flux = times(same(share * scale), value)
                if not whole:
                    mask = load(room.mask, i)
                    by_u, by_v, by_flux = times(mask, by_u), times(mask, by_v), times(mask, by_flux)
                if k > 0:
                    one = same(1.0)
                    by_u = times_plus(one, load(out, u + at + i), by_u)
                    by_v = times_plus(one, load(out, v + at + i), by_v)
                    by_flux = times_plus(one, load(out, f + at + i), by_flux)
                store(out, u + at + i, by_u)
                store(out, v + at + i, by_v)
                store(out, f + at + i, by_flux)


@numba.njit(cache=True, nogil=True)
def model_values(group: Any, table: Any, p: np.ndarray) -> np.ndarray:
    """Model, background included, at each pixel of a group."""
    rows, columns = table.coefficients.shape[1:]
    sx, sy = table.sampling_x, table.sampling_y
    out, box, room = np.empty(group.value.size), np.empty(0), _room(0)
    for j in range(group.first.size - 1):
        left, low, nx, ny = _rectangle(group, j)
        width = -(-nx // LANES) * LANES
        if box.size < width * ny or room.mask.size < width:
            box, room = np.empty(width * ny), _room(width)
        box[: width * ny] = p[p.size - 1]
        for n in range(group.rx.shape[1]):
            x, y = _place(group, p, j, n)
            kx, xlo, xhi = phase(x, sx, columns, room.wx, room.gx)
            ky, ylo, yhi = phase(y, sy, rows, room.wy, room.gy)
            x0, x1, y0, y1 = max(xlo, left), min(xhi + 1, left + width), max(ylo, low), min(yhi + 1, low + ny)
            if x0 >= x1 or y0 >= y1:
                continue
            mark_inside(room.mask, x0, x1, left, width)
            start = (x0 - left) // LANES * LANES
            for k in range(group.prf.shape[2]):
                share = p[3 * n + 2] * group.scale[j, n]
                share *= group.mix[j, n, k] if group.prf.shape[2] > 1 else 1.0
                corners(table, group.prf[j, n, k], ky + y0 * sy, kx + x0 * sx, room.first)
                for py in range(y0, y1):
                    at = (py - low) * width
                    for i in range(start, x1 - left, LANES):
                        further = (py - y0) * table.columns + left + i - x0
                        values = eight_values(table.planes, room.first, further, room.wy, room.wx)
                        inside = times(same(share), load(room.mask, i))
                        store(box, at + i, times_plus(inside, values, load(box, at + i)))
        for i in range(group.first[j], group.first[j + 1]):
            out[i] = box[(group.py[i] - low) * width + group.px[i] - left]
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
    boxes = boxes_of(group)
    chi2 = _accumulate(group, boxes, table, p, 0, n_frames, matrix, vector)
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
        new_chi2 = _accumulate(group, boxes, table, trial, 0, n_frames, new_matrix, new_vector)
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
    boxes = boxes_of(group)
    for j in range(n_frames):
        power = _accumulate(group, boxes, table, p, j, j + 1, matrix, vector)
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
