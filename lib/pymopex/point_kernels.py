"""Kernels of the interpolation methods that work with points instead of areas."""

from __future__ import annotations

import numpy as np

from pymopex.cell_areas import jit


@jit
def drop_points(
    X: np.ndarray,
    Y: np.ndarray,
    g: int,
    values: np.ndarray,
    errors: np.ndarray,
    areas: np.ndarray,
    sums: np.ndarray,
) -> None:
    """Add g x g points per input pixel to the output pixel each falls in; pixels of zero area are bad."""
    ny, nx = sums.shape[1:]
    for j in range(X.shape[0]):
        for i in range(X.shape[1]):
            area = areas[j // g, i // g]
            a, b = int(np.floor(X[j, i] + 0.5)), int(np.floor(Y[j, i] + 0.5))
            if area > 0.0 and 0 <= a < nx and 0 <= b < ny:
                sums[0, b, a] += values[j // g, i // g]
                if errors.size:
                    sums[1, b, a] += errors[j // g, i // g]
                sums[2, b, a] += 1.0
                sums[3, b, a] += area


@jit
def _cubic_weights(t: float, alpha: float, out: np.ndarray) -> None:
    """Weights of the pixels at -1, 0, 1, 2 for a point at t, 0 <= t < 1."""
    for k in range(4):
        d = abs(t - (k - 1))
        if d <= 1.0:
            out[k] = ((alpha + 2.0) * d - (alpha + 3.0)) * d * d + 1.0
        else:
            out[k] = ((alpha * d - 5.0 * alpha) * d + 8.0 * alpha) * d - 4.0 * alpha


@jit
def convolve(
    X: np.ndarray,
    Y: np.ndarray,
    alpha: float,
    values: np.ndarray,
    errors: np.ndarray,
    good: np.ndarray,
    mean: np.ndarray,
    error: np.ndarray,
    coverage: np.ndarray,
) -> None:
    """Replace the means where there is coverage by the cubic convolution at the points X, Y."""
    ny, nx = good.shape
    wx, wy = np.empty(4), np.empty(4)
    for j in range(X.shape[0]):
        for i in range(X.shape[1]):
            if coverage[j, i] == 0.0:
                continue
            a, b = int(np.floor(X[j, i] + 0.5)), int(np.floor(Y[j, i] + 0.5))
            if not (0 <= a < nx and 0 <= b < ny) or good[b, a] == 0.0:
                coverage[j, i] = 0.0
                mean[j, i] = np.nan
                if errors.size:
                    error[j, i] = np.nan
                continue
            x0, y0 = int(np.floor(X[j, i])), int(np.floor(Y[j, i]))
            _cubic_weights(X[j, i] - x0, alpha, wx)
            _cubic_weights(Y[j, i] - y0, alpha, wy)
            value = spread_error = 0.0
            for n in range(4):
                for k in range(4):
                    q, p = y0 + n - 1, x0 + k - 1
                    if not (0 <= p < nx and 0 <= q < ny) or good[q, p] == 0.0:
                        q, p = b, a
                    value += wy[n] * wx[k] * values[q, p]
                    if errors.size:
                        spread_error += wy[n] * wx[k] * errors[q, p]
            mean[j, i] = value
            if errors.size:
                error[j, i] = abs(spread_error)
