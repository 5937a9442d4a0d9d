"""Compiled fits of the sources of groups in each frame alone."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pymopex.batches import Batch, group_of
from pymopex.fit_equations import accumulate
from pymopex.group_kernels import pixels_of
from pymopex.jit import entry, inner, once
from pymopex.normal_equations import solve
from pymopex.pixel_blocks import blocks_of


@entry
def measure_groups(
    batch: Batch,
    weight: np.ndarray,
    table: Any,
    edge: np.ndarray,
    which: np.ndarray,
    p: np.ndarray,
    background: bool,
    names: np.ndarray,
    values: np.ndarray,
) -> int:
    """Measure sources of all groups in each frame alone: their fluxes, and one Gauss-Newton step of each position.

    Parameters
    ----------
    batch : Batch
        The groups.
    weight : ndarray, shape (n_pixels,)
        Weights of the pixels, 0 for one that does not count.
    table : PRFTable
        PRFs.
    edge : ndarray of int, shape (G + 1,)
        First source of each group.
    which : ndarray of int, shape (n,)
        Numbers of the sources in their groups.
    p : ndarray, shape (n, 3)
        Where they are, u and v [arcsec], and fluxes, of which the shifts have their slopes: without flux they are NaN.
    background : bool
        Fit the background of each frame too.
    names : ndarray of int, shape (4, rows)
        Filled with group, number of the source in `which`, piece of the batch, and pixels of that, one column for each
        source and frame that has some.
    values : ndarray, shape (rows, 7)
        Filled with flux, variance and chi2, the shifts along x and y [pixel], and their variances.

    Returns
    -------
    int
        How many.
    """
    end = 0
    for g in range(batch.sizes.size):
        a, n = edge[g], edge[g + 1] - edge[g]
        if n == 0:
            continue
        m, group = 3 * n + 1, group_of(batch, weight, g, which[a : a + n])
        full, usable, blocks = np.zeros(m), np.zeros(m, np.bool_), blocks_of(group)
        for i in range(3 * n):
            full[i] = p[a + i // 3, i % 3]
        matrix, vector, step, unit = np.empty((m, m)), np.empty(m), np.empty(m), np.zeros(m)
        for j in range(group.row.size):
            power, count = accumulate(group, blocks, table, full, j, j + 1, matrix, vector), 0
            for i in range(m):
                usable[i] = (i % 3 == 2 or (i == m - 1 and background)) and matrix[i, i] > 0.0
                count += usable[i]
            if count == 0 or not solve(matrix, vector, usable, 0.0, step):
                continue
            gain = 0.0
            for i in range(m):
                gain += step[i] * vector[i]
            pixels = pixels_of(group, j, j + 1)
            for k in range(n):
                flux = 3 * k + 2
                if not (usable[flux] and math.isfinite(step[flux])):
                    continue
                names[0, end], names[1, end], names[2, end], names[3, end] = (
                    g,
                    a + k,
                    batch.edge[g] + j,
                    pixels,
                )
                values[end, 0], values[end, 2] = full[flux] + step[flux], max(power - gain, 0.0)
                values[end, 1] = _variance(matrix, unit, usable, flux)
                for i in range(3, 7):
                    values[end, i] = np.nan
                if pixels - count > 2:
                    jac = group.jacobian[group.row[j] + group.which[k]]
                    _shift(matrix, vector, usable, k, jac, unit, values[end])
                end += 1
    return end


@inner
def _variance(matrix: np.ndarray, unit: np.ndarray, free: np.ndarray, a: int) -> float:
    """Give the variance of a parameter; `unit` is 0."""
    step = np.empty(unit.size)
    unit[a] = 1.0
    solve(matrix, unit, free, 0.0, step)
    unit[a] = 0.0
    return step[a]


@once
def _shift(
    matrix: np.ndarray,
    vector: np.ndarray,
    free: np.ndarray,
    n: int,
    jac: np.ndarray,
    unit: np.ndarray,
    values: np.ndarray,
) -> None:
    """Fill the step of the position of source n [pixel], and its variance, with the linear parameters free too."""
    step, u, v = np.empty(unit.size), 3 * n, 3 * n + 1
    free[u] = free[v] = True
    if solve(matrix, vector, free, 0.0, step):
        du, dv = step[u], step[v]
        unit[u] = 1.0
        solve(matrix, unit, free, 0.0, step)
        uu, uv = step[u], step[v]
        unit[u] = 0.0
        vv = _variance(matrix, unit, free, v)
        for k in range(2):
            a, b = jac[k, 0], jac[k, 1]
            values[3 + k] = a * du + b * dv
            values[5 + k] = a * a * uu + 2.0 * a * b * uv + b * b * vv
    free[u] = free[v] = False
