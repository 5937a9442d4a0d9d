"""Outliers in stacks of interpolated frames: temporal, box and dual statistics.

References
----------
MOPEX User's Guide, sections 8.2.2 (temporal), 8.2.3 (dual) and 8.2.4 (box).
"""

from __future__ import annotations

import numba
import numpy as np

from pymopex.order_statistics import median_of
from pymopex.sort_networks import BLOCK, LONGEST, Tables, run, sorting, tables
from pymopex.stack import Stack, column_counts, fill_columns

MAD = 0.6745  # median absolute deviation of a normal distribution over its sigma
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
    return _temporal(stack, thresh_option == 1, min_pix_num, _networks(stack))


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
    return _reference(stack, _networks(stack))


def _networks(stack: Stack) -> Tables:
    """Give the networks that sort the values of its pixels."""
    return tables([sorting(n) for n in range(min(LONGEST, deepest_pixel(stack)) + 1)])


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
    return _deviations(*(np.ascontiguousarray(image, np.float32) for image in (data, centre, scatter)))


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _deviations(data: np.ndarray, centre: np.ndarray, scatter: np.ndarray) -> np.ndarray:
    out = np.empty(data.shape, np.float32)
    for j in range(data.shape[0]):
        for i in range(data.shape[1]):
            difference, width = np.float64(data[j, i]) - np.float64(centre[j, i]), np.float64(scatter[j, i])
            value = 0.0 if difference == 0.0 else difference / width
            out[j, i] = value if np.isfinite(width) else np.nan
    return out


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
    allowed = tolerance * steepest(np.ascontiguousarray(centre, np.float32))
    return np.hypot(scatter, allowed).astype(np.float32)


@numba.njit(cache=True, nogil=True)
def steepest(image: np.ndarray) -> np.ndarray:
    """Give the largest step from each pixel of a float32 image to one of its four neighbours; 0 where none is known."""
    ny, nx = image.shape
    out = np.zeros((ny, nx), np.float32)
    for j in range(ny):
        for i in range(nx):
            if i + 1 < nx:
                step = abs(image[j, i + 1] - image[j, i])
                if np.isfinite(step):
                    out[j, i], out[j, i + 1] = max(out[j, i], step), max(out[j, i + 1], step)
            if j + 1 < ny:
                step = abs(image[j + 1, i] - image[j, i])
                if np.isfinite(step):
                    out[j, i], out[j + 1, i] = max(out[j, i], step), step
    return out


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
    flat = np.ascontiguousarray(signed, np.int32).ravel()
    return _level(flat, float(threshold_ratio)).reshape(signed.shape)


@numba.njit(cache=True, nogil=True)
def _level(signed: np.ndarray, ratio: float) -> np.ndarray:
    size = 1
    for value in signed:
        size = max(size, abs(value) + 1)
    total, negative = np.zeros(size), np.zeros(size)
    for value in signed:
        total[abs(value)] += 1.0
        negative[abs(value)] += 1.0 if value < 0 else 0.0
    verdict = np.zeros(size, np.int32)  # 0: as it is
    for k in range(1, size):
        share = negative[k] / total[k] if total[k] else 0.0
        if share < ratio:
            verdict[k] = 1
        elif 1 - share < ratio:
            verdict[k] = -1
    out = np.empty(signed.size, np.int32)
    for p in range(signed.size):
        k = abs(signed[p])
        out[p] = verdict[k] * k if verdict[k] else signed[p]
    return out


@numba.njit(cache=True, nogil=True)
def _robust(values: np.ndarray, work: np.ndarray, n: int) -> tuple[float, float]:
    """Median, and median absolute deviation as a sigma."""
    for i in range(n):
        work[i] = values[i]
    centre = median_of(work, n)
    for i in range(n):
        work[i] = abs(values[i] - centre)
    return centre, median_of(work, n) / MAD


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
def least_sigma(first: np.ndarray, sigma: np.ndarray, out: np.ndarray) -> None:
    """Smallest of the uncertainties above 0 of each pixel; 0 if none is, and without any.

    As all that is done for each pixel, it is done for many in one call: an array handed on to a function is counted,
    by an operation that takes longer than that on a pixel.
    """
    for k in range(out.size):
        least = np.inf
        if sigma.size:
            for i in range(first[k], first[k + 1]):
                if sigma[i] > 0.0:
                    least = min(least, np.float64(sigma[i]))
        out[k] = least if least < np.inf else 0.0


@numba.njit(cache=True, nogil=True)
def pixel_statistics(
    stack: Stack, p: int, robust: bool, min_pix_num: int, values: np.ndarray, work: np.ndarray
) -> tuple[float, float]:
    """Temporal statistics of one pixel that has values."""
    start, stop = stack.first[p], stack.first[p + 1]
    n = stop - start
    least_sigma(stack.first[p : p + 2], stack.sigma, work[:1])
    least = work[0]
    for i in range(n):
        values[i] = stack.value[start + i]
    centre, scatter = _robust(values, work, n) if robust else _trimmed(values, n)
    return centre, _not_below(least, n, min_pix_num, scatter, stack.sigma.size > 0)


@numba.njit(cache=True, nogil=True)
def _not_below(least: float, n: int, min_pix_num: int, scatter: float, with_sigma: bool) -> float:
    """Scatter of a pixel that is not below its smallest uncertainty, which few values have in its place."""
    if with_sigma:
        return least if n < min_pix_num else max(scatter, least)
    return np.nan if n < min_pix_num else scatter


@numba.njit(cache=True, nogil=True)
def deepest_pixel(stack: Stack) -> int:
    """Largest number of values at a pixel, 1 at least."""
    deepest = 1
    for p in range(stack.ny * stack.nx):
        deepest = max(deepest, stack.first[p + 1] - stack.first[p])
    return deepest


@numba.njit(cache=True, nogil=True)
def _temporal(stack: Stack, robust: bool, min_pix_num: int, sorts: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Statistics of blocks of pixels at once by sorting networks, of deep pixels and trimmed means one by one."""
    centre = np.full((stack.ny, stack.nx), np.nan, np.float32)
    scatter = centre.copy()
    deepest = deepest_pixel(stack)
    values, work = np.empty(deepest), np.empty(deepest)
    most = sorts[0].size - 2 if robust else 0
    counts, columns, middle = np.empty(BLOCK, np.int64), np.empty((most, BLOCK), np.float32), np.zeros(BLOCK)
    least = np.empty(BLOCK)
    for y in range(stack.ny):
        for x in range(0, stack.nx, BLOCK):
            width = min(BLOCK, stack.nx - x)
            longest = column_counts(stack, y, x, 1, counts[:width])
            if 0 < longest <= most:
                fill_columns(stack, y, x, 1, longest, columns[:, :width])
                _medians(columns, run(sorts, longest, columns, width), counts[:width], middle)
                centre[y, x : x + width] = middle[:width]
                _distances(columns, longest, middle, counts[:width])
                _medians(columns, run(sorts, longest, columns, width), counts[:width], middle)
                least_sigma(stack.first[y * stack.nx + x :], stack.sigma, least[:width])
                with_sigma = stack.sigma.size > 0
                _settle(counts[:width], middle, least, min_pix_num, with_sigma, scatter[y, x:])
            else:
                for k in range(width):
                    if counts[k]:
                        at, p = (y, x + k), y * stack.nx + x + k
                        centre[at], scatter[at] = pixel_statistics(
                            stack, p, robust, min_pix_num, values, work
                        )
    return centre, scatter


@numba.njit(cache=True, nogil=True)
def _medians(columns: np.ndarray, order: np.ndarray, counts: np.ndarray, out: np.ndarray) -> None:
    """Give the median of the first values of each sorted column; NaN where there are none."""
    for k in range(counts.size):
        n = counts[k]
        out[k] = np.nan
        if n:
            low, high = columns[order[(n - 1) // 2], k], columns[order[n // 2], k]
            out[k] = 0.5 * (np.float64(low) + np.float64(high))


@numba.njit(cache=True, nogil=True)
def _distances(columns: np.ndarray, longest: int, middle: np.ndarray, counts: np.ndarray) -> None:
    """Replace values by their distance from the middle; what is behind the values of a column stays infinite."""
    for row in range(longest):
        for k in range(counts.size):
            distance = abs(np.float64(columns[row, k]) - middle[k])
            columns[row, k] = distance if counts[k] else np.inf


@numba.njit(cache=True, nogil=True)
def _settle(
    counts: np.ndarray,
    deviation: np.ndarray,
    least: np.ndarray,
    min_pix_num: int,
    with_sigma: bool,
    scatter: np.ndarray,
) -> None:
    """Turn median deviations of the pixels of a block into their scatter."""
    for k in range(counts.size):
        if counts[k]:
            scatter[k] = _not_below(least[k], counts[k], min_pix_num, deviation[k] / MAD, with_sigma)


@numba.njit(cache=True, nogil=True)
def _reference(stack: Stack, sorts: Tables) -> np.ndarray:
    result = np.full((stack.ny, stack.nx), np.nan, np.float32)
    values, most = np.empty(deepest_pixel(stack)), sorts[0].size - 2
    counts, columns, middle = np.empty(BLOCK, np.int64), np.empty((most, BLOCK), np.float32), np.zeros(BLOCK)
    for y in range(stack.ny):
        for x in range(0, stack.nx, BLOCK):
            width = min(BLOCK, stack.nx - x)
            longest = column_counts(stack, y, x, 1, counts[:width])
            if longest < 2:
                continue
            if longest <= most:
                fill_columns(stack, y, x, 1, longest, columns[:, :width])
                _medians(columns, run(sorts, longest, columns, width), counts[:width], middle)
            for k in range(width):
                start, n = stack.first[y * stack.nx + x + k], counts[k]
                if longest > most:
                    for i in range(n):
                        values[i] = stack.value[start + i]
                    middle[k] = median_of(values, n)
                if n == 2:
                    middle[k] = min(stack.value[start], stack.value[start + 1])
                if n > 1:
                    result[y, x + k] = middle[k]
    return result
