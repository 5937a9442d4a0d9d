"""Quantiles of the pixels in windows round the nodes of a grid, from histograms of the columns.

The pixels of a block are put into bins of about equally many, so that a window has about two in each. The histogram of
each column of a window's height is kept; that of a window is the sum of those of its columns, and follows the window
along a row by some columns more and as many less.
"""

from __future__ import annotations

import numba
import numpy as np

_BINS = 1024
_RUN = 16  # bins that are passed at a time in the search
_ALL = _BINS + _BINS // _RUN  # counts of a histogram: those of the bins, and of the runs of bins
_BLOCK = 384  # pixels, of the side of a block: the histograms of its columns fit into the processor's cache
_SAMPLE = 16  # pixels per bin that the limits of the bins are made from
_CELLS = 8192  # of the table that finds the bins


def quantiles_at(
    image: np.ndarray,
    good: np.ndarray,
    nodes: tuple[np.ndarray, np.ndarray],
    size: tuple[int, int],
    dropped: float,
    quantiles: tuple[float, float],
    least: int,
) -> tuple[np.ndarray, np.ndarray]:
    """Two quantiles of the good pixels in windows, without the highest ones of each.

    Parameters
    ----------
    image : ndarray of float, shape (ny, nx)
        Image.
    good : ndarray of bool, shape (ny, nx)
        Pixels that are used; the image is finite there.
    nodes : (ndarray of int, ndarray of int)
        Rows and columns of the nodes, rising.
    size : (int, int)
        Height and width of the windows; an even one reaches one pixel further down and left. [pixel]
    dropped : float
        Part of the good pixels of a window left out, the highest ones.
    quantiles : (float, float)
        Between 0 and 1, the lower one first.
    least : int
        Good pixels that a window needs.

    Returns
    -------
    low, high : ndarray of float64, shape (rows, columns)
        Quantiles at the nodes, interpolated between the pixels as numpy does; NaN where there are too few pixels.

    Notes
    -----
    Where a bin holds several values of a window they are taken to be spread evenly over it. The error is about
    one rank: of windows of 45 x 45 pixels with normal noise 0.1 per cent of the standard deviation. Blocks with fewer
    values than bins give the exact quantiles.
    """
    rows, columns = nodes
    found = np.full((2, len(rows), len(columns)), np.nan)
    for first, last in _parts(rows):
        y0, y1 = max(0, rows[first] - size[0] // 2), min(image.shape[0], rows[last - 1] + size[0])
        for left, right in _parts(columns):
            x0, x1 = max(0, columns[left] - size[1] // 2), min(image.shape[1], columns[right - 1] + size[1])
            block = (slice(y0, y1), slice(x0, x1))
            limits = _limits(image[block], good[block])
            if not limits.size:
                continue
            bins, low, high = _binned(image[block], good[block], limits)
            total = np.zeros(_ALL, np.uint16 if size[0] * size[1] < 2**16 else np.int32)
            _walk(
                bins,
                low,
                high,
                rows[first:last] - y0,
                columns[left:right] - x0,
                size,
                (dropped, *quantiles, least),
                np.empty(0, np.uint8 if size[0] < 2**8 else np.uint16),
                total,
                found[:, first:last, left:right],
            )
    return found[0], found[1]


def _parts(nodes: np.ndarray) -> list[tuple[int, int]]:
    """Cut the nodes of an axis into parts that lie within a block."""
    starts = np.unique(np.searchsorted(nodes, np.arange(0, nodes[-1] + 1, _BLOCK)))
    return list(zip(starts, [*starts[1:], len(nodes)], strict=True))


def _limits(image: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Lower limits of all bins but the first, rising, from a sample of the good pixels; empty if there is none."""
    step = max(1, image.size // (_SAMPLE * _BINS))
    sample = _sample(image, good, step)
    if step > 1 and sample.size < _BINS:
        sample = _sample(image, good, 1)
    sample.sort()
    if sample.size >= _BINS:
        several = sample[np.arange(1, _BINS) * sample.size // _BINS]
        sample = np.unique(sample) if step == 1 else several
        sample = several if sample.size >= _BINS else sample
    return np.unique(sample)


@numba.njit(cache=True, nogil=True)
def _sample(image, good, step):
    """Take every so manyth pixel, if it is good."""
    found = np.empty(image.size // step + 1, image.dtype)
    n, at = 0, 0
    for y in range(image.shape[0]):
        while at < image.shape[1]:
            if good[y, at]:
                found[n] = image[y, at]
                n += 1
            at += step
        at -= image.shape[1]
    return found[:n]


@numba.njit(cache=True, nogil=True)
def _binned(image, good, limits):
    """Bin of each pixel, _BINS where it is not good; and the least and the highest value in each bin."""
    low, high = np.full(_BINS, np.inf, image.dtype), np.full(_BINS, -np.inf, image.dtype)
    bins = np.empty(image.shape, np.uint16)
    # A table of equal steps tells where to begin; in the tails the search begins at an end.
    n = len(limits)
    first, last = limits[n // 128], limits[n - 1 - n // 32]
    width = (last - first) / image.dtype.type(_CELLS)
    scale = image.dtype.type(1) / width if width > 0 else image.dtype.type(0)
    start = np.empty(_CELLS + 2, np.uint16)
    start[0], start[_CELLS + 1] = 0, n - 1 - n // 32
    start[1:-1] = np.searchsorted(limits, first + width * np.arange(_CELLS).astype(image.dtype))
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if not good[y, x]:
                bins[y, x] = _BINS
                continue
            value = image[y, x]
            cell = (value - first) * scale
            b = start[0 if cell < 0 else 1 + int(cell) if cell < _CELLS else _CELLS + 1]
            while b > 0 and limits[b - 1] > value:
                b -= 1
            while b < n and limits[b] <= value:
                b += 1
            bins[y, x] = b
            low[b] = min(low[b], value)
            high[b] = max(high[b], value)
    return bins, low, high


@numba.njit(cache=True, nogil=True)
def _count_row(bins, y, step, counts, number):
    """Add a row of pixels to the histograms of its columns (step 1), or take it off (-1)."""
    for x in range(bins.shape[1]):
        b = bins[y, x]
        if b < _BINS:
            counts[x, b] += step
            counts[x, _BINS + b // _RUN] += step
            number[x] += step


@numba.njit(cache=True, nogil=True)
def _walk(bins, low, high, rows, columns, size, rules, of_column, total, found):
    """Take the quantiles at the nodes of a block, whose pixels start with row and column 0."""
    counts = np.zeros((bins.shape[1], _ALL), of_column.dtype)
    number = np.zeros(bins.shape[1], np.int64)
    y0, y1 = max(0, rows[0] - size[0] // 2), max(0, rows[0] - size[0] // 2)
    for j in range(len(rows)):
        bottom = max(0, rows[j] - size[0] // 2)
        top = min(bins.shape[0], rows[j] - size[0] // 2 + size[0])
        while y1 < top:
            _count_row(bins, y1, np.int8(1), counts, number)
            y1 += 1
        while y0 < bottom:
            _count_row(bins, y0, np.int8(-1), counts, number)
            y0 += 1
        total[:] = 0
        n, x0, x1 = 0, max(0, columns[0] - size[1] // 2), max(0, columns[0] - size[1] // 2)
        for i in range(len(columns)):
            left = max(0, columns[i] - size[1] // 2)
            right = min(bins.shape[1], columns[i] - size[1] // 2 + size[1])
            while x1 < right and x0 < left:
                for b in range(_ALL):
                    total[b] += counts[x1, b] - counts[x0, b]
                n += number[x1] - number[x0]
                x0 += 1
                x1 += 1
            while x1 < right:
                for b in range(_ALL):
                    total[b] += counts[x1, b]
                n += number[x1]
                x1 += 1
            while x0 < left:
                for b in range(_ALL):
                    total[b] -= counts[x0, b]
                n -= number[x0]
                x0 += 1
            if n >= rules[3]:
                found[0, j, i], found[1, j, i] = _both(total, n, low, high, rules)


@numba.njit(cache=True, nogil=True)
def _both(total, n, least, most, rules):
    """Take both quantiles of a window with n good pixels."""
    dropped, lower, upper, _ = rules
    kept = max(1, n - round(dropped * n))
    k = int(lower * (kept - 1))
    r, below = _BINS, 0
    while below + total[r] <= k:
        below += total[r]
        r += 1
    b = (r - _BINS) * _RUN
    while below + total[b] <= k:
        below += total[b]
        b += 1
    low = _value(total, least, most, b, below, k, lower * (kept - 1))
    k = int(upper * (kept - 1))
    r, above, need = _ALL - 1, 0, n - k
    while above + total[r] < need:
        above += total[r]
        r -= 1
    b = (r - _BINS + 1) * _RUN - 1
    while above + total[b] < need:
        above += total[b]
        b -= 1
    return low, _value(total, least, most, b, n - above - total[b], k, upper * (kept - 1))


@numba.njit(cache=True, nogil=True)
def _value(total, low, high, b, below, k, position):
    """Value at a position between the ranks k, which is in bin b, and k + 1."""
    at = low[b] + (k - below + 0.5) / total[b] * (high[b] - low[b])
    if position == k:
        return at
    if k + 1 - below < total[b]:
        return at + (position - k) / total[b] * (high[b] - low[b])
    b += 1
    while total[b] == 0:
        b += 1
    return at + (position - k) * (low[b] + 0.5 / total[b] * (high[b] - low[b]) - at)
