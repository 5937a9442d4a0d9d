"""Normal equations of a fit: damped steps and covariances, for the parameters that are free."""

from __future__ import annotations

import math

import numpy as np

from pymopex.jit import entry, inner, leaf

_PIVOT = 1e-13  # smallest pivot of a correlation matrix that is not called singular


@inner
def _places(free: np.ndarray) -> np.ndarray:
    """Give the numbers of the parameters that are free."""
    count = 0
    for a in range(free.size):
        count += free[a]
    index, n = np.empty(count, np.int64), 0
    for a in range(free.size):
        if free[a]:
            index[n] = a
            n += 1
    return index


@leaf
def _factor(
    matrix: np.ndarray, index: np.ndarray, damping: float, scale: np.ndarray, low: np.ndarray
) -> bool:
    """Cholesky factor of the correlation form of some rows and columns, so that units do not matter."""
    m = index.size
    for a in range(m):
        d = matrix[index[a], index[a]]
        if not d > 0.0:
            return False
        scale[a] = 1.0 / math.sqrt(d)
    for a in range(m):
        for b in range(a + 1):
            s = matrix[index[a], index[b]] * scale[a] * scale[b]
            if a == b:
                s += damping
            for k in range(b):
                s -= low[a, k] * low[b, k]
            if a == b:
                if not s > _PIVOT:
                    return False
                low[a, a] = math.sqrt(s)
            else:
                low[a, b] = s / low[b, b]
    return True


@entry
def solve(matrix: np.ndarray, vector: np.ndarray, free: np.ndarray, damping: float, step: np.ndarray) -> bool:
    """Solve the damped normal equations for the free parameters; `step` is 0 elsewhere. False if singular."""
    index = _places(free)
    m = index.size
    for a in range(step.size):
        step[a] = 0.0
    scale, low, x = np.empty(m), np.empty((m, m)), np.empty(m)
    if not _factor(matrix, index, damping, scale, low):
        return False
    for a in range(m):
        s = vector[index[a]] * scale[a]
        for k in range(a):
            s -= low[a, k] * x[k]
        x[a] = s / low[a, a]
    for a in range(m - 1, -1, -1):
        s = x[a]
        for k in range(a + 1, m):
            s -= low[k, a] * x[k]
        x[a] = s / low[a, a]
    for a in range(m):
        step[index[a]] = x[a] * scale[a]
    return True


@entry
def covariance(matrix: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Inverse for the free parameters, 0 for the others; NaN in place of the inverse if singular."""
    index = _places(free)
    m = index.size
    out = np.zeros((free.size, free.size))
    scale, low, root = np.empty(m), np.empty((m, m)), np.zeros((m, m))
    solved = _factor(matrix, index, 0.0, scale, low)
    for b in range(m if solved else 0):  # the inverse of the factor, column after column
        root[b, b] = 1.0 / low[b, b]
        for a in range(b + 1, m):
            s = 0.0
            for k in range(b, a):
                s -= low[a, k] * root[k, b]
            root[a, b] = s / low[a, a]
    for a in range(m):
        for b in range(m):
            s = 0.0 if solved else np.nan
            for k in range(max(a, b), m):
                s += root[k, a] * root[k, b]
            out[index[a], index[b]] = s * scale[a] * scale[b] if solved else np.nan
    return out
