"""Background from the modes of panels, as SExtractor has it: a spline through a median-filtered mesh."""

from __future__ import annotations

import numba
import numpy as np

from pymopex.clipping import clipped_statistics, workspace
from pymopex.nearest import filled_from_nearest
from pymopex.order_statistics import median_of

_CLIP = 3.0
_MAX_CLIPS = 10
_CROWDED = 0.3  # standard deviations between mean and median from which the median is taken
_NEIGHBOURS = 10  # panels that tell what a panel without a value gets


def mesh_background(
    image: np.ndarray, good: np.ndarray, box: tuple[int, int], least: int, side: int
) -> np.ndarray:
    """Background of an image from its panels.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Image; finite where it is good.
    good : ndarray of bool, shape (ny, nx)
        True where the image may be used.
    box : (int, int)
        Height and width of a panel, not larger than the image; those at the upper and right border may be cut. [pixel]
    least : int
        Good pixels that a panel needs.
    side : int
        Side of the median filter over the panels, odd; 1: none.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Background in the unit of the image; NaN if no panel has a value.

    Notes
    -----
    The mode of a panel is ``2.5 median - 1.5 mean`` of the values that clipping leaves (3 standard deviations round
    the median, up to 10 times), and the median where the two differ by 0.3 standard deviations or more. A panel
    without a value gets the mean of the 10 nearest others (and of those as near as the tenth), weighted with the
    inverse distance. The spline is cubic and mirrored at the borders; it is cut at the lowest and the highest panel.

    References
    ----------
    Bertin & Arnouts 1996, A&AS 117, 393, section 3.
    """
    mesh = _modes(image, good, box[0], box[1], least)
    if np.isnan(mesh).all():
        return np.full(image.shape, np.nan, np.float32)
    mesh = _median_filtered(filled_from_nearest(mesh, _NEIGHBOURS), side)
    out = np.empty(image.shape, np.float32)
    coefficients = _spline(_spline(mesh).T).T
    rows, columns = (_weights(n, m, size) for n, m, size in zip(image.shape, mesh.shape, box, strict=True))
    _evaluate(np.ascontiguousarray(coefficients), rows, columns, mesh.min(), mesh.max(), out)
    return out


@numba.njit(cache=True, nogil=True)
def _modes(image, good, height, width, least):
    """Mode of each panel; NaN where there are too few good pixels."""
    mesh = np.full((-(-image.shape[0] // height), -(-image.shape[1] // width)), np.nan)
    work = workspace(height * width)
    for j in range(mesh.shape[0]):
        for i in range(mesh.shape[1]):
            n = 0
            for y in range(j * height, min((j + 1) * height, image.shape[0])):
                for x in range(i * width, min((i + 1) * width, image.shape[1])):
                    work.values[n] = image[y, x]
                    n += good[y, x]
            if n < least:
                continue
            _, mean, median, deviation = clipped_statistics(work, n, _CLIP, _MAX_CLIPS)
            if deviation == 0:
                mesh[j, i] = mean
            elif abs(mean - median) >= _CROWDED * deviation:
                mesh[j, i] = median
            else:
                mesh[j, i] = 2.5 * median - 1.5 * mean
    return mesh


@numba.njit(cache=True, nogil=True)
def _median_filtered(mesh, side):
    """Median over squares of panels, cut at the borders."""
    half = side // 2
    filtered = mesh.copy()
    values = np.empty((2 * half + 1) ** 2)
    for y in range(mesh.shape[0]):
        for x in range(mesh.shape[1]):
            n = 0
            for j in range(max(0, y - half), min(mesh.shape[0], y + half + 1)):
                for i in range(max(0, x - half), min(mesh.shape[1], x + half + 1)):
                    values[n] = mesh[j, i]
                    n += 1
            filtered[y, x] = median_of(values, n)
    return filtered


def _spline(values: np.ndarray) -> np.ndarray:
    """Coefficients of the cubic spline through values along axis 0, mirrored half a sample beyond the ends."""
    n = len(values)
    if n == 1:
        return values
    diagonal, result = np.full(n, 4.0), 6.0 * values
    diagonal[0] = diagonal[-1] = 5.0
    for k in range(1, n):  # a system of three diagonals, with ones beside the middle one
        factor = 1 / diagonal[k - 1]
        diagonal[k] -= factor
        result[k] -= factor * result[k - 1]
    result[-1] /= diagonal[-1]
    for k in range(n - 2, -1, -1):
        result[k] = (result[k] - result[k + 1]) / diagonal[k]
    return result


def _weights(n: int, panels: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Four panels whose coefficients make the value at each pixel of an axis, and their weights."""
    position = (np.arange(n) + 0.5) / size - 0.5
    base = np.floor(position).astype(np.int64)
    t = position - base
    weights = np.stack(
        [(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, 3 * (1 - t) ** 3 - 6 * (1 - t) ** 2 + 4, t**3], axis=1
    )
    panel = base[:, None] + np.arange(-1, 3)
    panel = np.mod(panel, 2 * panels)
    return np.minimum(panel, 2 * panels - 1 - panel), weights / 6


@numba.njit(cache=True, nogil=True)
def _evaluate(coefficients, rows, columns, least, most, out):
    """Evaluate the spline at all pixels, within limits."""
    (row, down), (column, along) = rows, columns
    lines = np.zeros((coefficients.shape[0], out.shape[1]))
    for j in range(coefficients.shape[0]):
        for x in range(out.shape[1]):
            for k in range(4):
                lines[j, x] += along[x, k] * coefficients[j, column[x, k]]
    for y in range(out.shape[0]):
        a, b, c, d = lines[row[y, 0]], lines[row[y, 1]], lines[row[y, 2]], lines[row[y, 3]]
        p, q, r, s = down[y]
        for x in range(out.shape[1]):
            value = p * a[x] + q * b[x] + r * c[x] + s * d[x]
            out[y, x] = min(max(value, least), most)
