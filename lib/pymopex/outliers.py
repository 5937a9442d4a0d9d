"""Outliers in stacks of interpolated frames: temporal, box and dual statistics.

References
----------
MOPEX User's Guide, sections 8.2.2 (temporal), 8.2.3 (dual) and 8.2.4 (box).
"""

from __future__ import annotations

import numba
import numpy as np

from pymopex.geometry import Box
from pymopex.stack import Stack

_MAD = 0.6745  # median absolute deviation of a normal distribution over its sigma
_TRIM = 3.0  # sigma, of the trimmed mean
_TRIM_PASSES = 10


def temporal_statistics(
    stack: Stack, *, thresh_option: int = 1, min_pix_num: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Centre and scatter of the values at each pixel.

    Parameters
    ----------
    stack : Stack
        Values on a tile.
    thresh_option : {1, 2}
        1: median, and median absolute deviation over 0.6745. 2: mean and standard deviation, trimmed.
    min_pix_num : int
        A pixel with fewer values takes the smallest uncertainty of its values as scatter.

    Returns
    -------
    centre, scatter : float32 ndarray, shape stack.shape
        NaN where there is no value. Scatter 0 (identical values, no uncertainties) is kept.

    Raises
    ------
    ValueError
        Unknown option.

    Notes
    -----
    With uncertainties the scatter is not less than the smallest of the pixel. Without them, a pixel with too
    few values has scatter NaN: nothing is an outlier there. The trimming of option 2 is not documented; here
    values beyond 3 sigma are left out until none is, at most ten times.
    """
    if thresh_option not in (1, 2):
        raise ValueError(f"thresh_option must be 1 or 2, not {thresh_option}")
    return _temporal(stack, thresh_option == 1, min_pix_num)


def reference_values(stack: Stack) -> np.ndarray:
    """Give what the frames show at each pixel: the median of the values, of two the lower one.

    Parameters
    ----------
    stack : Stack
        Values on a tile.

    Returns
    -------
    float32 ndarray, shape stack.shape
        NaN where there are fewer than two values.

    Notes
    -----
    Half of a hit would be in the mean of two values. The lower one is too low by 0.56 sigma of the noise.
    """
    return _reference(stack)


def box_statistics(
    stack: Stack, *, box_x: int, box_y: int, bias: int, core: Box, reach: Box, min_pix_num: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Biased median and scatter of the values in a box round each pixel.

    Parameters
    ----------
    stack : Stack
        Values on `reach`.
    box_x, box_y : int
        Size of the box; an even size reaches one pixel further to the left and down.
    bias : int
        The value at rank N/2 - bias (from 0, ascending) is taken in place of the median.
    core, reach : Box
        Pixels wanted, and pixels of the stack, which hold the core and as much of its surroundings as there is.
    min_pix_num : int
        As for `temporal_statistics`, where that takes the place.

    Returns
    -------
    centre, scatter : float32 ndarray, shape core.shape
        NaN where there is no value.

    Notes
    -----
    Where none of the pixel's own values lies within one scatter of the centre, as at the core of a star, the
    temporal statistics of the pixel are taken. As there, the scatter is not less than the smallest uncertainty
    of the pixel; the reference does not say so of the box, but a box holds few independent values.
    """
    rows, columns = core.within(reach)
    corner = (rows.start, columns.start)
    return _box(stack, (box_y, box_x), bias, corner, core.shape, min_pix_num)


def deviations(data: np.ndarray, centre: np.ndarray, scatter: np.ndarray) -> np.ndarray:
    """Deviation of values from a centre, in units of a scatter.

    Parameters
    ----------
    data, centre, scatter : ndarray, same shape
        Values, and their statistics.

    Returns
    -------
    float32 ndarray, same shape
        ``(data - centre) / scatter``; 0 where a value equals the centre; NaN where any is missing.
    """
    difference = data.astype(float) - centre
    with np.errstate(divide="ignore", invalid="ignore"):
        result = np.where(difference == 0, 0.0, difference / scatter)
    return np.where(np.isfinite(scatter), result, np.nan).astype(np.float32)


def gradient_guard(centre: np.ndarray, scatter: np.ndarray, tolerance: float) -> np.ndarray:
    """Widen the scatter where the image is steep, so that the cores of stars are not taken for outliers.

    Parameters
    ----------
    centre, scatter : ndarray, shape (ny, nx)
        Statistics of a stack.
    tolerance : float
        Fraction of the local gradient that frames may differ by.

    Returns
    -------
    ndarray, shape (ny, nx)
        Quadrature sum of the scatter and `tolerance` times the largest difference to a neighbour.

    Notes
    -----
    Undersampled stars interpolated from frames of different pixel phase differ by a fraction of the local
    gradient. The idea is that of the derivative image of drizzle (Fruchter & Hook 2002, PASP 114, 144, section 6).
    """
    if tolerance <= 0:
        return scatter
    steepest = np.zeros(centre.shape, np.float32)
    for axis in (0, 1):
        step = np.abs(np.diff(np.asarray(centre, np.float32), axis=axis))
        step = np.where(np.isfinite(step), step, 0)
        for neighbour in (np.s_[:-1], np.s_[1:]):
            part = np.moveaxis(steepest, axis, 0)[neighbour]
            np.maximum(part, np.moveaxis(step, axis, 0), out=part)
    return np.hypot(scatter, tolerance * steepest).astype(np.float32)


def dual_outlier(
    labels: np.ndarray, frames: np.ndarray, detected: np.ndarray, max_image: int, max_fraction: float
) -> np.ndarray:
    """Make the detections of a frame that most other frames do not share negative.

    Parameters
    ----------
    labels : int ndarray, shape (ny, nx)
        Projected detection map of the frame: cluster numbers, 0 for background.
    frames, detected : ndarray, shape (ny, nx)
        Number of frames that cover each pixel, and of those that have a detection there.
    max_image : int
        Most frames that may have the detection.
    max_fraction : float
        Largest fraction of the frames that may have it.

    Returns
    -------
    int32 ndarray, shape (ny, nx)
        Labels, negative where both limits are kept.
    """
    few = (detected > 0) & (detected <= max_image) & (detected <= max_fraction * frames)
    return np.where(few, -labels, labels).astype(np.int32)


def level(signed: np.ndarray, threshold_ratio: float) -> np.ndarray:
    """Overrule the minority verdict in each cluster.

    Parameters
    ----------
    signed : int ndarray, shape (ny, nx)
        Cluster numbers with the sign of the verdict of each pixel (negative: outlier).
    threshold_ratio : float
        A sign that holds less than this fraction of a cluster is turned; 0.5 is a majority vote.

    Returns
    -------
    int32 ndarray, shape (ny, nx)
        Cluster numbers with their final signs.

    Notes
    -----
    With a ratio above 0.5 both signs of a cluster can be in the minority: then the outliers are turned first,
    so that a source is kept. Exact ties at 0.5 stay as they are.

    References
    ----------
    MOPEX User's Guide, module Level.
    """
    number = np.abs(signed).ravel()
    size = int(number.max(initial=0)) + 1
    total = np.bincount(number, minlength=size)
    negative = np.bincount(number, weights=signed.ravel() < 0, minlength=size)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(total > 0, negative / total, 0.0)
    all_real = share < threshold_ratio
    all_outlier = ~all_real & (1 - share < threshold_ratio)
    sign = np.where(all_real[number], 1, np.where(all_outlier[number], -1, np.sign(signed.ravel())))
    return (number * sign).reshape(signed.shape).astype(np.int32)


@numba.njit(cache=True, nogil=True)
def select_rank(values: np.ndarray, n: int, k: int) -> float:
    """Value of rank k (from 0) of the first n values, which are reordered (Hoare's selection)."""
    low, high = 0, n - 1
    while low < high:
        pivot = values[(low + high) // 2]
        i, j = low, high
        while i <= j:
            while values[i] < pivot:
                i += 1
            while values[j] > pivot:
                j -= 1
            if i <= j:
                values[i], values[j] = values[j], values[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            break
    return values[k]


@numba.njit(cache=True, nogil=True)
def median_of(values: np.ndarray, n: int) -> float:
    """Median of the first n values, which are reordered."""
    upper = select_rank(values, n, n // 2)
    if n % 2:
        return upper
    lower = values[0]
    for i in range(1, n // 2):
        lower = max(lower, values[i])
    return 0.5 * (lower + upper)


@numba.njit(cache=True, nogil=True)
def _robust(values: np.ndarray, work: np.ndarray, n: int) -> tuple[float, float]:
    """Median, and median absolute deviation as a sigma."""
    work[:n] = values[:n]
    centre = median_of(work, n)
    for i in range(n):
        work[i] = abs(values[i] - centre)
    return centre, median_of(work, n) / _MAD


@numba.njit(cache=True, nogil=True)
def _trimmed(values: np.ndarray, n: int) -> tuple[float, float]:
    """Mean and standard deviation of the values within 3 sigma."""
    low, high = -np.inf, np.inf
    kept_before = n + 1
    mean = sigma = 0.0
    for _ in range(_TRIM_PASSES):
        kept, total, square = 0, 0.0, 0.0
        for i in range(n):
            if low <= values[i] <= high:
                kept += 1
                total += values[i]
        if kept in (0, kept_before):
            break
        mean = total / kept
        for i in range(n):
            if low <= values[i] <= high:
                square += (values[i] - mean) ** 2
        sigma = np.sqrt(square / max(kept - 1, 1))
        kept_before = kept
        low, high = mean - _TRIM * sigma, mean + _TRIM * sigma
    return mean, sigma


@numba.njit(cache=True, nogil=True)
def _smallest(sigma: np.ndarray, start: int, stop: int) -> float:
    least = np.inf
    for i in range(start, stop):
        if sigma[i] > 0.0:
            least = min(least, sigma[i])
    return least if least < np.inf else 0.0


@numba.njit(cache=True, nogil=True)
def _pixel(
    stack: Stack, p: int, robust: bool, min_pix_num: int, values: np.ndarray, work: np.ndarray
) -> tuple[float, float]:
    """Temporal statistics of one pixel that has values."""
    start, stop = stack.first[p], stack.first[p + 1]
    n = stop - start
    for i in range(n):
        values[i] = stack.value[start + i]
    centre, scatter = _robust(values, work, n) if robust else _trimmed(values, n)
    if stack.sigma.size:
        least = _smallest(stack.sigma, start, stop)
        scatter = least if n < min_pix_num else max(scatter, least)
    elif n < min_pix_num:
        scatter = np.nan
    return centre, scatter


@numba.njit(cache=True, nogil=True)
def _deepest(stack: Stack) -> int:
    deepest = 1
    for p in range(stack.ny * stack.nx):
        deepest = max(deepest, stack.first[p + 1] - stack.first[p])
    return deepest


@numba.njit(cache=True, nogil=True)
def _temporal(stack: Stack, robust: bool, min_pix_num: int) -> tuple[np.ndarray, np.ndarray]:
    centre = np.full((stack.ny, stack.nx), np.nan, np.float32)
    scatter = centre.copy()
    deepest = _deepest(stack)
    values, work = np.empty(deepest), np.empty(deepest)
    for p in range(stack.ny * stack.nx):
        if stack.first[p + 1] > stack.first[p]:
            at = (p // stack.nx, p % stack.nx)
            centre[at], scatter[at] = _pixel(stack, p, robust, min_pix_num, values, work)
    return centre, scatter


@numba.njit(cache=True, nogil=True)
def _reference(stack: Stack) -> np.ndarray:
    result = np.full((stack.ny, stack.nx), np.nan, np.float32)
    values = np.empty(_deepest(stack))
    for p in range(stack.ny * stack.nx):
        start, stop = stack.first[p], stack.first[p + 1]
        n = stop - start
        for i in range(n):
            values[i] = stack.value[start + i]
        if n == 2:
            result[p // stack.nx, p % stack.nx] = min(values[0], values[1])
        elif n > 2:
            result[p // stack.nx, p % stack.nx] = median_of(values, n)
    return result


@numba.njit(cache=True, nogil=True)
def _box_values(stack: Stack, y: int, x: int, size: tuple[int, int], values: np.ndarray) -> int:
    """Collect the values of all frames in the box round a pixel; gives their number."""
    n = 0
    y0, x0 = y - size[0] // 2, x - size[1] // 2
    for row in range(max(0, y0), min(stack.ny, y0 + size[0])):
        start = stack.first[row * stack.nx + max(0, x0)]
        stop = stack.first[row * stack.nx + min(stack.nx, x0 + size[1])]
        for i in range(start, stop):
            values[n] = stack.value[i]
            n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _box(
    stack: Stack,
    size: tuple[int, int],
    bias: int,
    corner: tuple[int, int],
    shape: tuple[int, int],
    min_pix_num: int,
) -> tuple[np.ndarray, np.ndarray]:
    centre = np.full(shape, np.nan, np.float32)
    scatter = centre.copy()
    deepest = _deepest(stack) * size[0] * size[1]
    values, work = np.empty(deepest), np.empty(deepest)
    for j in range(shape[0]):
        for i in range(shape[1]):
            y, x = corner[0] + j, corner[1] + i
            p = y * stack.nx + x
            start, stop = stack.first[p], stack.first[p + 1]
            if stop == start:
                continue
            n = _box_values(stack, y, x, size, values)
            rank = max(0, n // 2 - bias)
            work[:n] = values[:n]
            middle = select_rank(work, n, rank)
            for k in range(n):
                work[k] = abs(values[k] - middle)
            width = select_rank(work, n, rank) / _MAD
            if stack.sigma.size:
                width = max(width, _smallest(stack.sigma, start, stop))
            near = False
            for k in range(start, stop):
                near = near or abs(stack.value[k] - middle) <= width
            if not near:
                middle, width = _pixel(stack, p, True, min_pix_num, values, work)
            centre[j, i], scatter[j, i] = middle, width
    return centre, scatter
