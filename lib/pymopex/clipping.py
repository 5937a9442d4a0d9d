"""Mean, median and standard deviation of samples without their outliers, for compiled loops.

A sample is put into buckets once; what a round of clipping needs of it is then in the sums and counts of the buckets,
but for the two that the limits cut and the one that holds the median. The results are those of clipping the values
themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from pymopex.order_statistics import select_rank, sort_few

_CORE = 512  # buckets between the overflows
_PROBE = 64  # values that tell where the core lies
_TAIL = 2.0  # spreads of the probe beyond it


class Workspace(NamedTuple):
    """Arrays for samples of up to n values."""

    values: np.ndarray
    place: np.ndarray
    ordered: np.ndarray
    start: np.ndarray
    total: np.ndarray
    square: np.ndarray


@numba.njit(cache=True, nogil=True)
def workspace(n):
    """Make the arrays; a sample is put into ``values``."""
    return Workspace(
        np.empty(n),
        np.empty(n, np.int16),
        np.empty(n),
        np.empty(_CORE + 3, np.int64),
        np.empty(_CORE + 2),
        np.empty(_CORE + 2),
    )


@numba.njit(cache=True, nogil=True)
def clipped_statistics(work, n, clip, rounds):
    """Clip the first n values round their median, again and again until none is left out.

    Parameters
    ----------
    work : Workspace
        The values.
    n : int
        How many there are, at least one; all finite.
    clip : float
        Standard deviations from the median beyond which a value is left out.
    rounds : int
        Most rounds of clipping.

    Returns
    -------
    kept : int
        How many values are left.
    mean, median, deviation : float
        Of those.
    """
    low, inverse, pivot = _core(work, n)
    _sort_in(work, n, low, inverse, pivot)
    least, most = -np.inf, np.inf
    first, last = 0, _CORE + 1
    kept, total, square = _sums(work, first, last, least, most, pivot)
    for _ in range(rounds):
        median, deviation = _median(work, kept, first, last, least, most), _deviation(kept, total, square)
        lower, upper = max(least, median - clip * deviation), min(most, median + clip * deviation)
        at, until = _bucket(lower, low, inverse), _bucket(upper, low, inverse)
        fewer, less, smaller = _sums(work, at, until, lower, upper, pivot)
        if fewer in (kept, 0):
            break
        least, most, first, last = lower, upper, at, until
        kept, total, square = fewer, less, smaller
    median = _median(work, kept, first, last, least, most)
    return kept, pivot + total / kept, median, _deviation(kept, total, square)


@numba.njit(cache=True, nogil=True)
def _deviation(n, total, square):
    return np.sqrt(max(0.0, square / n - (total / n) ** 2))


@numba.njit(cache=True, nogil=True)
def _core(work, n):
    """Lower limit of the core, buckets per unit, and a value from its middle."""
    few = min(n, _PROBE)
    probe = work.ordered
    for i in range(few):
        probe[i] = work.values[i * n // few]
    sort_few(probe, few)
    low, middle, high = probe[few // 8], probe[few // 2], probe[few - 1 - few // 8]
    spread = high - low
    inverse = _CORE / ((1 + 2 * _TAIL) * spread) if spread > 0 else 0.0
    if not np.isfinite(inverse):
        inverse = 0.0
    return low - _TAIL * spread, inverse, middle


@numba.njit(cache=True, nogil=True)
def _bucket(value, low, inverse):
    """Bucket of a value: 0 below the core, the last above it."""
    return int(min(max((value - low) * inverse + 1.0, 0.0), _CORE + 1.0))


@numba.njit(cache=True, nogil=True)
def _sort_in(work, n, low, inverse, pivot):
    """Order the values by their buckets, and sum up the deviations from the pivot in each."""
    start = work.start
    start[:] = 0
    for i in range(n):
        b = _bucket(work.values[i], low, inverse)
        work.place[i] = b
        start[b + 1] += 1
    for b in range(_CORE + 2):
        start[b + 1] += start[b]
    for i in range(n):
        b = work.place[i]
        work.ordered[start[b]] = work.values[i]
        start[b] += 1
    for b in range(_CORE + 2, 0, -1):
        start[b] = start[b - 1]
    start[0] = 0
    total = square = 0.0
    for b in range(1, _CORE + 2):  # of all values of the core below bucket b
        work.total[b], work.square[b] = total, square
        for i in range(start[b], start[b + 1] if b <= _CORE else start[b]):
            off = work.ordered[i] - pivot
            total += off
            square += off * off


@numba.njit(cache=True, nogil=True)
def _sums(work, first, last, least, most, pivot):
    """Count the values within limits, and give the sum of their deviations from the pivot, and of the squares."""
    kept, total, square = 0, 0.0, 0.0
    if last > first + 1:  # whole buckets between those that the limits cut
        kept = work.start[last] - work.start[first + 1]
        total = work.total[last] - work.total[first + 1]
        square = work.square[last] - work.square[first + 1]
    for b in (first, last):
        for i in range(work.start[b], work.start[b + 1]):
            if least <= work.ordered[i] <= most:
                kept += 1
                off = work.ordered[i] - pivot
                total += off
                square += off * off
        if first == last:
            break
    return kept, total, square


@numba.njit(cache=True, nogil=True)
def _median(work, kept, first, last, least, most):
    """Median of the values within limits."""
    upper = _ranked(work, kept // 2, first, last, least, most)
    if kept % 2:
        return upper
    return 0.5 * (upper + _ranked(work, kept // 2 - 1, first, last, least, most))


@numba.njit(cache=True, nogil=True)
def _ranked(work, rank, first, last, least, most):
    """Value of a rank (from 0) within limits."""
    for b in range(first, last + 1):
        n = work.start[b + 1] - work.start[b]
        if b in (first, last):
            n = 0
            for i in range(work.start[b], work.start[b + 1]):
                n += least <= work.ordered[i] <= most
        if rank < n:
            break
        rank -= n
    n = 0
    for i in range(work.start[b], work.start[b + 1]):
        if least <= work.ordered[i] <= most:
            work.values[n] = work.ordered[i]
            n += 1
    return select_rank(work.values, n, rank)
