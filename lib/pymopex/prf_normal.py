"""Compiled sums over the pixels of stamps, for the least squares of an effective PRF."""

from __future__ import annotations

import math

import numba
import numpy as np

from pymopex.prf_kernels import PAD, _bspline

REACH = 3
"""Coefficients of a cubic spline farther apart than this share no pixel."""


@numba.njit(cache=True, nogil=True)
def _place(d: float, sampling: int, n: int, w: np.ndarray, unused: np.ndarray) -> int:
    """First of the four coefficients at an offset from the star, and their weights; -1 beyond the samples."""
    q = 0.5 * (n - 1) + d * sampling
    base = math.floor(q)
    if base < PAD or base > n - PAD - 2:
        return -1
    _bspline(q - base, w, unused)
    return base - 1


@numba.njit(cache=True, nogil=True)
def accumulate(
    value: np.ndarray,
    weight: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    sx: int,
    sy: int,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray]:
    """Sum up the normal equations of spline coefficients.

    Parameters
    ----------
    value, weight : ndarray, shape (n, ny, nx)
        Stamps without their background, and 1 / sigma^2; 0 for pixels that do not count.
    x, y, flux : ndarray, shape (n,)
        Stars: place [0-based pixel of the stamp] and flux.
    sx, sy : int
        Samples per pixel.
    shape : (int, int)
        Shape of the coefficients, with `PAD` beyond the samples.

    Returns
    -------
    normal : ndarray, shape (*shape, 7, 7)
        Element [j, i, REACH + a, REACH + b] belongs to coefficients [j, i] and [j + a, i + b].
    right : ndarray, shape `shape`
        Right-hand side.
    """
    rows, columns = shape
    normal = np.zeros((rows, columns, 2 * REACH + 1, 2 * REACH + 1))
    right = np.zeros((rows, columns))
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    n, ny, nx = value.shape
    for k in range(n):
        for py in range(ny):
            j = _place(py - y[k], sy, rows, wy, unused)
            if j < 0:
                continue
            for px in range(nx):
                w = weight[k, py, px]
                if not w > 0:
                    continue
                i = _place(px - x[k], sx, columns, wx, unused)
                if i < 0:
                    continue
                w1 = w * flux[k] * value[k, py, px]
                w2 = w * flux[k] * flux[k]
                for a in range(4):
                    for b in range(4):
                        p = wy[a] * wx[b]
                        right[j + a, i + b] += w1 * p
                        for c in range(4):
                            pc = w2 * p * wy[c]
                            for d in range(4):
                                normal[j + a, i + b, REACH + c - a, REACH + d - b] += pc * wx[d]
    return normal, right


@numba.njit(cache=True, nogil=True)
def scatter(
    residual: np.ndarray,
    weight: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    flux: np.ndarray,
    sx: int,
    sy: int,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sum up what the residuals tell of the uncertainty of the coefficients.

    Parameters
    ----------
    residual, weight, x, y, flux, sx, sy, shape
        As in `accumulate`, with what the fit leaves in place of the values.

    Returns
    -------
    squares, weights, pixels : ndarray, shape `shape`
        Of each coefficient: sum of (w f r)^2 B, sum of w f^2 B, and sum of B, with the B-spline B.
    """
    rows, columns = shape
    squares, weights, pixels = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    n, ny, nx = residual.shape
    for k in range(n):
        for py in range(ny):
            j = _place(py - y[k], sy, rows, wy, unused)
            if j < 0:
                continue
            for px in range(nx):
                w = weight[k, py, px]
                if not w > 0:
                    continue
                i = _place(px - x[k], sx, columns, wx, unused)
                if i < 0:
                    continue
                for a in range(4):
                    for b in range(4):
                        p = wy[a] * wx[b]
                        squares[j + a, i + b] += p * (w * flux[k] * residual[k, py, px]) ** 2
                        weights[j + a, i + b] += w * flux[k] * flux[k] * p
                        pixels[j + a, i + b] += p
    return squares, weights, pixels
