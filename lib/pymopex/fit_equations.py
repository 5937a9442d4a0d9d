"""Compiled normal equations of the PRF fit, eight pixels at a time.

The parameters are those of `pymopex.fit_models`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pymopex.batches import Group
from pymopex.fit_models import Room, make_room, place
from pymopex.jit import entry, inner, leaf, once
from pymopex.lanes import LANES, load, plus, same, store, times, times_plus, total
from pymopex.pixel_blocks import Blocks, blocks_of, inside
from pymopex.prf_kernels import corners, eight_slopes, phase


@entry
def accumulate_pixels(
    group: Group, table: Any, p: np.ndarray, j0: int, j1: int, matrix: np.ndarray, vector: np.ndarray
) -> float:
    """Fill the normal equations of the frames j0 to j1 - 1 at the parameters p; returns chi2.

    `matrix` is the Gauss-Newton half Hessian of chi2, `vector` minus half its gradient.
    """
    return accumulate(group, blocks_of(group), table, p, j0, j1, matrix, vector)


@inner
def accumulate(
    group: Group,
    blocks: Blocks,
    table: Any,
    p: np.ndarray,
    j0: int,
    j1: int,
    matrix: np.ndarray,
    vector: np.ndarray,
) -> float:
    """Fill the normal equations as `accumulate_pixels` does, from the pixels in blocks.

    The derivatives of all pixels of a frame are worked out first, one row for each parameter, then the products of all
    pairs of rows are summed.
    """
    m, most = p.size, 0
    for a in range(m):
        vector[a] = 0.0
        for b in range(m):
            matrix[a, b] = 0.0
    for j in range(j0, j1):
        most = max(most, LANES * (blocks.first[j + 1] - blocks.first[j]))
    rows, weighted, residual, room = np.empty(m * most), np.empty(3 * most), np.empty(most), make_room()
    chi2 = 0.0
    for j in range(j0, j1):
        start = LANES * blocks.first[j]
        size = LANES * blocks.first[j + 1] - start
        for i in range(size):
            residual[i] = blocks.value[start + i] - p[m - 1]
        for n in range(m // 3):
            _derivatives(group, blocks, table, p, j, n, rows, most, room)
            flux = same(-p[3 * n + 2])
            for i in range(0, size, LANES):
                part = load(rows, (3 * n + 2) * most + i)
                store(residual, i, times_plus(flux, part, load(residual, i)))
        chi2 += _products(rows, most, blocks.weight, start, size, residual, weighted, matrix, vector)
    for k in range(m):
        for i in range(k):
            matrix[i, k] = matrix[k, i]
    return chi2


@leaf
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
    """Add weighted products of the rows with each other, and with the residuals; gives chi2.

    Those of two sources at a time are nine, of three rows and three: numbers are read half as often as by single rows.
    """
    last = vector.size - 1
    power, push, all_ = same(0.0), same(0.0), same(0.0)
    for i in range(0, size, LANES):
        w, left = load(weight, start + i), load(residual, i)
        part = times(w, left)
        power, push, all_ = times_plus(part, left, power), plus(part, push), plus(w, all_)
    vector[last] += total(push)
    matrix[last, last] += total(all_)
    for k in range(last // 3):
        a, b, c = 3 * k * pitch, (3 * k + 1) * pitch, (3 * k + 2) * pitch
        va, vb, vc, sa, sb, sc = same(0.0), same(0.0), same(0.0), same(0.0), same(0.0), same(0.0)
        for i in range(0, size, LANES):
            w, left = load(weight, start + i), load(residual, i)
            wa, wb, wc = times(w, load(rows, a + i)), times(w, load(rows, b + i)), times(w, load(rows, c + i))
            store(weighted, i, wa)
            store(weighted, pitch + i, wb)
            store(weighted, 2 * pitch + i, wc)
            va, vb, vc = times_plus(wa, left, va), times_plus(wb, left, vb), times_plus(wc, left, vc)
            sa, sb, sc = plus(wa, sa), plus(wb, sb), plus(wc, sc)
        vector[3 * k] += total(va)
        vector[3 * k + 1] += total(vb)
        vector[3 * k + 2] += total(vc)
        matrix[last, 3 * k] += total(sa)
        matrix[last, 3 * k + 1] += total(sb)
        matrix[last, 3 * k + 2] += total(sc)
        for n in range(k + 1):
            _nine_products(rows, 3 * n * pitch, pitch, weighted, size, matrix, 3 * k, 3 * n)
    return total(power)


@once
def _nine_products(
    rows: np.ndarray,
    at: int,
    pitch: int,
    weighted: np.ndarray,
    size: int,
    matrix: np.ndarray,
    a: int,
    b: int,
) -> None:
    """Add the products of three weighted rows, and the three rows from `at` on, to a block of the matrix."""
    uu, uv, uf = same(0.0), same(0.0), same(0.0)
    vu, vv, vf = same(0.0), same(0.0), same(0.0)
    fu, fv, ff = same(0.0), same(0.0), same(0.0)
    for i in range(0, size, LANES):
        u, v, f = load(rows, at + i), load(rows, at + pitch + i), load(rows, at + 2 * pitch + i)
        part = load(weighted, i)
        uu, uv, uf = times_plus(part, u, uu), times_plus(part, v, uv), times_plus(part, f, uf)
        part = load(weighted, pitch + i)
        vu, vv, vf = times_plus(part, u, vu), times_plus(part, v, vv), times_plus(part, f, vf)
        part = load(weighted, 2 * pitch + i)
        fu, fv, ff = times_plus(part, u, fu), times_plus(part, v, fv), times_plus(part, f, ff)
    matrix[a, b] += total(uu)
    matrix[a, b + 1] += total(uv)
    matrix[a, b + 2] += total(uf)
    matrix[a + 1, b] += total(vu)
    matrix[a + 1, b + 1] += total(vv)
    matrix[a + 1, b + 2] += total(vf)
    matrix[a + 2, b] += total(fu)
    matrix[a + 2, b + 1] += total(fv)
    matrix[a + 2, b + 2] += total(ff)


@leaf
def _derivatives(
    group: Group,
    blocks: Blocks,
    table: Any,
    p: np.ndarray,
    j: int,
    n: int,
    out: np.ndarray,
    pitch: int,
    room: Room,
) -> None:
    """Fill the rows from 3 n on with the derivatives of the model by u, v and flux of source n in frame j.

    The rows, each `pitch` numbers after the one before, have the pixels in the order of the blocks.
    """
    at = group.row[j] + group.which[n]
    x, y = place(group, at, p[3 * n], p[3 * n + 1])
    rows, columns = table.coefficients.shape[1:]
    sx, sy = table.sampling_x, table.sampling_y
    kx, x0, x1 = phase(x, sx, columns, room.wx, room.gx)
    ky, y0, y1 = phase(y, sy, rows, room.wy, room.gy)
    scale, jac = group.scale[at], group.jacobian
    per_x, per_y = -scale * p[3 * n + 2] * sx, -scale * p[3 * n + 2] * sy
    ux, uy = per_x * jac[at, 0, 0], per_y * jac[at, 1, 0]
    vx, vy = per_x * jac[at, 0, 1], per_y * jac[at, 1, 1]
    for k in range(group.prf.shape[1]):
        share = group.mix[at, k] if group.prf.shape[1] > 1 else 1.0
        if x0 <= x1 and y0 <= y1:
            corners(table, group.prf[at, k], ky + y0 * sy, kx + x0 * sx, room.first)
        for b in range(blocks.first[j], blocks.first[j + 1]):
            px, py = blocks.x[b], blocks.y[b]
            u = 3 * n * pitch + (b - blocks.first[j]) * LANES
            v, f = u + pitch, u + 2 * pitch
            if k == 0:
                store(out, u, same(0.0))
                store(out, v, same(0.0))
                store(out, f, same(0.0))
            if py < y0 or py > y1 or px + LANES <= x0 or px > x1:
                continue
            further = (py - y0) * table.columns + px - x0
            value, dx, dy = eight_slopes(
                table.planes, room.first, further, room.wy, room.gy, room.wx, room.gx
            )
            if px < x0 or px + LANES > x1 + 1:
                mask = inside(room.ramp, x0 - px, x1 + 1 - px)
                value, dx, dy = times(mask, value), times(mask, dx), times(mask, dy)
            by_u = times_plus(same(share * ux), dx, times(same(share * uy), dy))
            by_v = times_plus(same(share * vx), dx, times(same(share * vy), dy))
            store(out, u, plus(by_u, load(out, u)))
            store(out, v, plus(by_v, load(out, v)))
            store(out, f, times_plus(same(share * scale), value, load(out, f)))
