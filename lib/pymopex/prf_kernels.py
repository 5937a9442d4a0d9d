"""Compiled look-up of a PRF in its table of cubic-spline coefficients."""

from __future__ import annotations

import math

import numba
import numpy as np

PAD = 2
"""Spline coefficients beyond the first and the last sample of a PRF table."""

_FARTHEST = 1e15  # samples


@numba.njit(cache=True, nogil=True)
def _bspline(t: float, w: np.ndarray, d: np.ndarray) -> None:
    """Cubic B-spline weights and their derivatives at the fraction t of a sample."""
    s = 1.0 - t
    w[0] = s * s * s / 6.0
    w[1] = (4.0 + t * t * (3.0 * t - 6.0)) / 6.0
    w[2] = (4.0 + s * s * (3.0 * s - 6.0)) / 6.0
    w[3] = t * t * t / 6.0
    d[0] = -0.5 * s * s
    d[1] = t * (1.5 * t - 2.0)
    d[2] = s * (2.0 - 1.5 * s)
    d[3] = 0.5 * t * t


@numba.njit(cache=True, nogil=True)
def phase(position: float, sampling: int, n: int, w: np.ndarray, d: np.ndarray) -> tuple[int, int, int]:
    """Give the place of a source in a table along one axis, which all pixels share.

    Fills the weights `w` and `d`. Returns the first coefficient used by pixel 0, and the first and the last
    pixel that the table covers; `n` is the number of coefficients along the axis. A source that is nowhere, or
    so far off that its place is no integer, covers none.
    """
    q = 0.5 * (n - 1) - position * sampling
    if not abs(q) < _FARTHEST:
        w[:], d[:] = 0.0, 0.0
        return 0, 1, 0
    base = math.floor(q)
    _bspline(q - base, w, d)
    last = n - PAD - 1 if q == base else n - PAD - 2
    lo = -((base - PAD) // sampling)
    hi = (last - base) // sampling
    return base - 1, lo, hi


@numba.njit(cache=True, nogil=True)
def values_at(
    coefficients: np.ndarray, sx: int, sy: int, dx: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value and derivatives by dx, dy of one PRF at offsets from its centre [pixel]."""
    ny, nx = coefficients.shape
    out, out_x, out_y = np.zeros(dx.size), np.zeros(dx.size), np.zeros(dx.size)
    wx, gx, wy, gy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    for i in range(dx.size):
        kx, xlo, xhi = phase(-dx[i], sx, nx, wx, gx)
        ky, ylo, yhi = phase(-dy[i], sy, ny, wy, gy)
        if xlo > 0 or xhi < 0 or ylo > 0 or yhi < 0:
            continue
        for a in range(4):
            for b in range(4):
                c = coefficients[ky + a, kx + b]
                out[i] += c * wx[b] * wy[a]
                out_x[i] += c * gx[b] * wy[a] * sx
                out_y[i] += c * wx[b] * gy[a] * sy
    return out, out_x, out_y


@numba.njit(cache=True, nogil=True)
def look_up(c: np.ndarray, ky: int, kx: int, wy: np.ndarray, wx: np.ndarray) -> float:
    """Value of a spline from its coefficients at [ky..ky+3, kx..kx+3]."""
    v = 0.0
    for k in range(4):
        v += wx[k] * (
            wy[0] * c[ky, kx + k]
            + wy[1] * c[ky + 1, kx + k]
            + wy[2] * c[ky + 2, kx + k]
            + wy[3] * c[ky + 3, kx + k]
        )
    return v


@numba.njit(cache=True, nogil=True)
def blend(
    coefficients: np.ndarray, which: np.ndarray, mix: np.ndarray, n: int, ky: int, kx: int, out: np.ndarray
) -> None:
    """Fill the 4 x 4 coefficients at [ky..ky+3, kx..kx+3] of the sum of four PRFs, those of row n of `which`."""
    i, j, k, m = which[n, 0], which[n, 1], which[n, 2], which[n, 3]
    wi, wj, wk, wm = mix[n, 0], mix[n, 1], mix[n, 2], mix[n, 3]
    for a in range(4):
        y = ky + a
        for b in range(4):
            x = kx + b
            out[a, b] = (
                wi * coefficients[i, y, x]
                + wj * coefficients[j, y, x]
                + wk * coefficients[k, y, x]
                + wm * coefficients[m, y, x]
            )
