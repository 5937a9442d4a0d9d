"""Compiled loops of aperture photometry: exact areas of pixels in circles, and the sky in annuli."""

from __future__ import annotations

import math

import numba
import numpy as np

from pymopex.clipping import clipped_statistics, workspace

MEAN, MEDIAN, MODE = 0, 1, 2

# Variance of the statistic over that of the mean, for many values of normal noise: pi / 2 for the
# median; for 3 median - 2 mean 9 pi / 2 + 4 - 12, as the covariance of median and mean is the mean's variance.
_EXCESS_VARIANCE = (1.0, math.pi / 2, 4.5 * math.pi - 8.0)

_CLIP = 3.0
_MAX_CLIPS = 10


@numba.njit(cache=True, nogil=True)
def _quarter(x0, x1, y0, y1, radius):
    """Area in a circle round the origin of a rectangle in the first quadrant whose nearest corner it holds."""
    square = radius * radius
    right = min(x1, math.sqrt(max(0.0, square - y0 * y0)))
    full = min(right, max(x0, math.sqrt(max(0.0, square - y1 * y1))))  # up to here the columns are whole
    area = (full - x0) * (y1 - y0)
    if right > full:
        upper, lower = math.sqrt(max(0.0, square - full * full)), math.sqrt(max(0.0, square - right * right))
        angle = math.asin(min(1.0, (right * upper - full * lower) / square))  # that the arc is seen under
        area += 0.5 * (right * lower - full * upper + square * angle) - y0 * (right - full)
    return area


@numba.njit(cache=True, nogil=True)
def _half(x0, x1, y0, y1, radius):
    """Area in a circle round the origin of a rectangle right of it."""
    area = 0.0
    if y1 > 0:
        low = max(y0, 0.0)
        if x0 * x0 + low * low < radius * radius:
            area += _quarter(x0, x1, low, y1, radius)
    if y0 < 0:
        low = max(-y1, 0.0)
        if x0 * x0 + low * low < radius * radius:
            area += _quarter(x0, x1, low, -y0, radius)
    return area


@numba.njit(cache=True, nogil=True)
def pixel_in_circle(dx, dy, radius):
    """Part of a pixel in a circle.

    Parameters
    ----------
    dx, dy : float
        Centre of the pixel from that of the circle. [pixel]
    radius : float
        Radius. [pixel]

    Returns
    -------
    float
        From 0 (the pixel touches the circle from outside, or not at all) to 1.
    """
    near_x, near_y = max(abs(dx) - 0.5, 0.0), max(abs(dy) - 0.5, 0.0)
    if near_x * near_x + near_y * near_y >= radius * radius:
        return 0.0
    far_x, far_y = abs(dx) + 0.5, abs(dy) + 0.5
    if far_x * far_x + far_y * far_y <= radius * radius:
        return 1.0
    area = 0.0
    if dx + 0.5 > 0:
        area += _half(max(dx - 0.5, 0.0), dx + 0.5, dy - 0.5, dy + 0.5, radius)
    if dx - 0.5 < 0:
        area += _half(max(-dx - 0.5, 0.0), 0.5 - dx, dy - 0.5, dy + 0.5, radius)
    return area


@numba.njit(cache=True, nogil=True)
def box_of(at, radius):
    """Pixels, from the first to before the last, that a circle can touch along an axis."""
    return math.floor(at - radius + 0.5), math.ceil(at + radius + 0.5)


@numba.njit(cache=True, nogil=True)
def touched(x, y, radius):
    """Count the pixels that a circle touches."""
    n = 0
    (x0, x1), (y0, y1) = box_of(x, radius), box_of(y, radius)
    for row in range(y0, y1):
        for column in range(x0, x1):
            n += pixel_in_circle(column - x, row - y, radius) > 0
    return n


@numba.njit(cache=True, nogil=True)
def _aperture(image, sigma, bad, x, y, radius, level, noise, variance):
    """Flux, its uncertainty, and the bad pixels of an aperture."""
    ny, nx = image.shape
    flux = area = square = 0.0
    n_bad, n_used = 0, 0
    (x0, x1), (y0, y1) = box_of(x, radius), box_of(y, radius)
    for row in range(y0, y1):
        for column in range(x0, x1):
            part = pixel_in_circle(column - x, row - y, radius)
            if part <= 0:
                continue
            if not (0 <= row < ny and 0 <= column < nx and np.isfinite(image[row, column])) or (
                bad.size > 0 and bad[row, column]
            ):
                n_bad += 1
                continue
            n_used += 1
            area += part
            flux += part * (np.float64(image[row, column]) - level)
            error = np.float64(sigma[row, column]) if sigma.size > 0 else np.nan
            if not np.isfinite(error):
                error = noise
            square += part * error * error
    if n_used == 0:
        return np.nan, np.nan, n_bad
    return flux, np.sqrt(square + area * area * variance), n_bad


@numba.njit(cache=True, nogil=True)
def _span(y, x, reach):
    """Columns from a to b whose pixels in a row can lie nearer than `reach` (the square of a radius)."""
    width = reach - y * y
    if width <= 0:
        return 0, -1
    half = math.sqrt(width)
    first, last = math.ceil(x - half) - 1, math.floor(x + half) + 1
    while first <= last and y * y + (first - x) ** 2 >= reach:
        first += 1
    while last >= first and y * y + (last - x) ** 2 >= reach:
        last -= 1
    return first, last


@numba.njit(cache=True, nogil=True)
def _take(image, bad, row, first, last, values, n):
    """Add the good pixels of a part of a row to the values; gives their number."""
    for column in range(max(0, first), min(image.shape[1] - 1, last) + 1):
        value = np.float64(image[row, column])
        values[n] = value  # written over by the next if it is not good
        n += np.isfinite(value) and not (bad.size > 0 and bad[row, column])
    return n


@numba.njit(cache=True, nogil=True)
def annulus_values(image, bad, x, y, inner, outer, values):
    """Put the good pixels with their centres in an annulus (inner edge included) into `values`; gives their number."""
    n = 0
    y0, y1 = box_of(y, outer)
    for row in range(max(0, y0), min(image.shape[0], y1)):
        first, last = _span(row - y, x, outer * outer)
        hole, end = _span(row - y, x, inner * inner)
        if last < first:
            continue
        if end < hole:
            n = _take(image, bad, row, first, last, values, n)
        else:
            n = _take(image, bad, row, first, hole - 1, values, n)
            n = _take(image, bad, row, end + 1, last, values, n)
    return n


@numba.njit(cache=True, nogil=True)
def measure(image, sigma, bad, x, y, radii, annulus, statistic, min_pixels, result):
    """Measure all sources; off the image only the pixels that the apertures touch are counted.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image; NaN = no data.
    sigma, bad : ndarray, shape (ny, nx) or (0, 0)
        Uncertainty, and True where a pixel is not to be used; empty if there is none.
    x, y : ndarray of float, shape (n,)
        Positions. [pixel, 0-based]
    radii : ndarray of float, shape (k,)
        Radii. [pixel]
    annulus : (float, float)
        Inner and outer radius; outer 0: no sky. [pixel]
    statistic : int
        MEAN, MEDIAN or MODE.
    min_pixels : int
        Good pixels that the annulus needs.
    result : tuple of ndarray
        Flux, uncertainty and number of bad pixels, shape (n, k); level, sigma and pixels of the sky, shape (n,).
    """
    flux, uncertainty, n_bad, sky, sky_sigma, n_sky = result
    inner, outer = annulus
    work = workspace((2 * math.ceil(outer) + 3) ** 2 if outer > 0 else 1)
    for i in range(len(x)):
        if not (-0.5 <= x[i] < image.shape[1] - 0.5 and -0.5 <= y[i] < image.shape[0] - 0.5):
            at_x = (
                x[i] - math.floor(x[i]) if np.isfinite(x[i]) else 0.0
            )  # an unknown place: in the middle of a pixel
            at_y = y[i] - math.floor(y[i]) if np.isfinite(y[i]) else 0.0
            for j in range(len(radii)):
                n_bad[i, j] = touched(at_x, at_y, radii[j])
            continue
        variance = 0.0
        n = annulus_values(image, bad, x[i], y[i], inner, outer, work.values) if outer > 0 else 0
        if outer > 0 and n >= max(1, min_pixels):
            n, mean, median, deviation = clipped_statistics(work, n, _CLIP, _MAX_CLIPS)
            sky[i] = mean if statistic == MEAN else median if statistic == MEDIAN else 3 * median - 2 * mean
            sky_sigma[i], n_sky[i] = deviation, n
            variance = _EXCESS_VARIANCE[statistic] * deviation**2 / n
        for j in range(len(radii)):
            flux[i, j], uncertainty[i, j], n_bad[i, j] = _aperture(
                image, sigma, bad, x[i], y[i], radii[j], sky[i], sky_sigma[i], variance
            )
