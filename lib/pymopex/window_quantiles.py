"""Quantiles of the pixels in windows round the nodes of a grid, from histograms of the columns.

The pixels of a block are put into bins of about equally many, so that a window has about two in each. The histogram of
each column of a window's height is kept; that of a window is the sum of those of its columns, and follows the window
along a row by some columns more and as many less. Only the counts of runs of bins are summed for every window, and of
the single bins those near the two quantiles.
"""

from __future__ import annotations

import numba
import numpy as np

_BINS = 1024
_RUN = 16  # bins that are passed at a time in the search
_RUNS = _BINS // _RUN
_PART = 128  # bins that are summed together where a quantile is: some runs
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
            _walk(
                bins,
                low,
                high,
                rows[first:last] - y0,
                columns[left:right] - x0,
                size,
                (dropped, *quantiles, least),
                np.empty(0, np.uint8 if size[0] < 2**8 else np.uint16),
                np.empty(0, np.uint16 if size[0] * size[1] < 2**16 else np.int32),
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
    edges = first + width * np.arange(_CELLS).astype(image.dtype)
    bounds = np.full(n + 1, np.inf, image.dtype)
    bounds[:n] = limits
    below = 0
    for i in range(_CELLS):
        while below < n and limits[below] < edges[i]:
            below += 1
        start[1 + i] = below
    for y in range(image.shape[0]):
        for x in range(image.shape[1]):
            if not good[y, x]:
                bins[y, x] = _BINS
                continue
            value = image[y, x]
            cell = (value - first) * scale
            b = np.int64(start[0 if cell < 0 else 1 + int(cell) if cell < _CELLS else _CELLS + 1])
            while b > 0 and bounds[b - 1] > value:
                b -= 1
            b += np.int64(bounds[b] <= value)  # without a branch: one step or none is usual
            while bounds[b] <= value:
                b += 1
            bins[y, x] = b
            low[b] = min(low[b], value)
            high[b] = max(high[b], value)
    return bins, low, high


@numba.njit(cache=True, nogil=True)
def _count_row(bins, y, step, single, runs, number):
    """Add a row of pixels to the histograms of its columns (step 1), or take it off (-1)."""
    for x in range(bins.shape[1]):
        number[x] += step * (bins[y, x] < _BINS)
    for x in range(bins.shape[1]):
        b = bins[y, x]
        if b < _BINS:
            single[b // _PART, x, b % _PART] += step
            runs[x, b // _RUN] += step


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _walk(bins, low, high, rows, columns, size, rules, of_column, of_window, found):
    """Take the quantiles at the nodes of a block, whose pixels start with row and column 0.

    The last two arrays before `found` are empty: their types count the pixels of a column and of a window.
    """
    single = np.zeros((_BINS // _PART, bins.shape[1], _PART), of_column.dtype)  # bins of each column
    runs = np.zeros((bins.shape[1], _RUNS), of_column.dtype)
    number = np.zeros(bins.shape[1], np.int64)
    total = np.zeros(_RUNS, of_window.dtype)  # of the window, by runs
    lower = np.zeros(_PART, of_window.dtype)  # its bins in the two parts that hold the quantiles
    upper = np.zeros(_PART, of_window.dtype)
    y0, y1 = max(0, rows[0] - size[0] // 2), max(0, rows[0] - size[0] // 2)
    for j in range(len(rows)):
        bottom = max(0, rows[j] - size[0] // 2)
        top = min(bins.shape[0], rows[j] - size[0] // 2 + size[0])
        while y1 < top:
            _count_row(bins, y1, np.int8(1), single, runs, number)
            y1 += 1
        while y0 < bottom:
            _count_row(bins, y0, np.int8(-1), single, runs, number)
            y0 += 1
        total[:] = 0
        n, x0, x1 = 0, max(0, columns[0] - size[1] // 2), max(0, columns[0] - size[1] // 2)
        first, second = -1, -1
        for i in range(len(columns)):
            left = max(0, columns[i] - size[1] // 2)
            right = min(bins.shape[1], columns[i] - size[1] // 2 + size[1])
            move = x0, left, x1, right
            n += _move(total, runs, number, move)
            x0, x1 = left, right
            if n < rules[3]:
                first, second = -1, -1
                continue
            kept = max(1, n - round(rules[0] * n))
            position = rules[1] * (kept - 1)
            run, below = _run_of(total, int(position))
            _follow(lower, single, run * _RUN // _PART, first, move)
            found[0, j, i] = _value(lower, run, single, move, low, high, below, position)
            first, position = run * _RUN // _PART, rules[2] * (kept - 1)
            run, below = _run_from_above(total, n, int(position))
            _follow(upper, single, run * _RUN // _PART, second, move)
            found[1, j, i] = _value(upper, run, single, move, low, high, below, position)
            second = run * _RUN // _PART


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _move(total, runs, number, move):
    """Bring the sums over the columns of a window to where the window is now; gives the change of its pixels."""
    x0, left, x1, right = move
    n = 0
    while x1 < right and x0 < left:
        for b in range(_RUNS):
            total[b] += runs[x1, b] - runs[x0, b]
        n += number[x1] - number[x0]
        x0 += 1
        x1 += 1
    while x1 < right:
        for b in range(_RUNS):
            total[b] += runs[x1, b]
        n += number[x1]
        x1 += 1
    while x0 < left:
        for b in range(_RUNS):
            total[b] -= runs[x0, b]
        n -= number[x0]
        x0 += 1
    return n


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _follow(part, single, which, before, move):
    """Sum the bins of a part over the window; the sums of the part before are moved on if it is the same."""
    x0, left, x1, right = move
    if which != before:
        part[:] = 0
        x0, x1 = left, left
    while x1 < right and x0 < left:
        for b in range(_PART):
            part[b] += single[which, x1, b] - single[which, x0, b]
        x0 += 1
        x1 += 1
    while x1 < right:
        for b in range(_PART):
            part[b] += single[which, x1, b]
        x1 += 1
    while x0 < left:
        for b in range(_PART):
            part[b] -= single[which, x0, b]
        x0 += 1


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _run_of(total, k):
    """Run of bins that holds the value of rank k, and how many values are below the run."""
    run, below = 0, 0
    while below + total[run] <= k:
        below += total[run]
        run += 1
    return run, below


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _run_from_above(total, n, k):
    """Find the same for a rank in the upper half of n values."""
    run, above = _RUNS - 1, 0
    while above + total[run] < n - k:
        above += total[run]
        run -= 1
    return run, n - above - total[run]


@numba.njit(cache=True, nogil=True, error_model="numpy", forceinline=True)
def _value(part, run, single, move, low, high, below, position):
    """Value at a position between ranks, of which the first is in a run; the part that holds this has these counts.

    Each window takes another way through this, which the processor cannot foresee: so there are few branches.
    """
    first, k = run * _RUN % _PART, int(position)
    b, until = first, below
    for i in range(first, first + _RUN - 1):
        until += part[i]
        inside = np.int64(until <= k)
        b += inside
        below += inside * part[i]
    rest, count = position - k, part[b]
    same = np.int64((rest == 0) | (k + 1 - below < count))  # both ranks are in one bin
    after = b + 1 - same
    while after < _PART and part[after] == 0:
        after += 1
    others = part[after] if after < _PART else 0
    after += run * _RUN - first
    while others == 0:  # in a part behind it
        for x in range(move[1], move[3]):
            others += single[after // _PART, x, after % _PART]
        after += others == 0
    at = run * _RUN + b - first
    width = high[at] - low[at]
    value = low[at] + (k - below + 0.5) / count * width
    other = low[after] + 0.5 / others * (high[after] - low[after])
    return value + (same * (rest / count * width) + (1 - same) * (rest * (other - value)))
