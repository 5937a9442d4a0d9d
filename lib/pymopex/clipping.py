"""Mean, median and standard deviation of samples without their outliers, for compiled loops.

The sums of a round of clipping are taken over all values, several at a time. Its median is found among the few values
near it: all are counted once in buckets, and those of the buckets in the middle are put aside. The results are those
of clipping the values themselves.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

from pymopex.order_statistics import sort_few

_CORE = 1024  # buckets between the overflows
_PROBE = 32  # values that tell where the core lies
_TAIL = 2.0  # spreads of the probe beyond it
_FEW = 64  # values that are sorted by insertion
_BESIDE = 8  # buckets on each side of that of the median whose values are put aside with its own


class Workspace(NamedTuple):
    """Arrays for samples of up to n values.

    These and the bucket of each; some put aside and their buckets; the sorted ones of a bucket; and how many values
    are in the buckets before each.
    """

    values: np.ndarray
    place: np.ndarray
    aside: np.ndarray
    of: np.ndarray
    sorted: np.ndarray
    before: np.ndarray


@numba.njit(cache=True, nogil=True)
def workspace(n):
    """Make the arrays; a sample is put into ``values``."""
    place, of = np.empty(n, np.int16), np.empty(n, np.int16)
    return Workspace(np.empty(n), place, np.empty(n), of, np.empty(n), np.empty(_CORE + 3, np.int64))


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
    _count(work, n, low, inverse)
    least, most = -np.inf, np.inf
    kept, below, total, square = _sums(work.values, n, least, most, pivot)
    near = 0, 0
    median, near = _median(work, n, below, kept, near)
    for _ in range(rounds):
        deviation = _deviation(kept, total, square)
        lower, upper = max(least, median - clip * deviation), min(most, median + clip * deviation)
        fewer, less_than, less, smaller = _sums(work.values, n, lower, upper, pivot)
        if fewer in (kept, 0):
            break
        least, most = lower, upper
        kept, below, total, square = fewer, less_than, less, smaller
        median, near = _median(work, n, below, kept, near)
    return kept, pivot + total / kept, median, _deviation(kept, total, square)


@numba.njit(cache=True, nogil=True)
def _deviation(n, total, square):
    return np.sqrt(max(0.0, square / n - (total / n) ** 2))


@numba.njit(cache=True, nogil=True)
def _core(work, n):
    """Lower limit of the core, buckets per unit, and a value from its middle."""
    few = min(n, _PROBE)
    probe = work.aside
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
def _count(work, n, low, inverse):
    """Find the bucket of each value, 0 below the core and the last above it, and how many are in those before each."""
    values, place, before = work.values, work.place, work.before
    for i in range(n):
        bucket = (values[i] - low) * inverse + 1.0
        bucket = bucket if bucket > 0.0 else 0.0
        bucket = bucket if bucket < _CORE + 1.0 else _CORE + 1.0
        place[i] = np.int32(bucket)
    before[:] = 0
    for i in range(n):
        before[place[i] + 1] += 1
    for b in range(_CORE + 2):
        before[b + 1] += before[b]


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sums(values, n, least, most, pivot):
    """Count the values within limits and those below, and sum up the deviations from the pivot, and their squares."""
    kept, below, total, square = 0, 0, 0.0, 0.0
    for i in range(n):
        value = values[i]
        inside = (value >= least) & (value <= most)
        off = value - pivot if inside else 0.0
        kept += inside
        below += value < least
        total += off
        square += off * off
    return kept, below, total, square


@numba.njit(cache=True, nogil=True)
def _median(work, n, below, kept, near):
    """Median of the values within limits, and the buckets whose values are put aside for it."""
    rank = below + kept // 2
    bucket = _bucket_of(work.before, rank)
    near = _put_aside(work, n, bucket, near)
    upper = _ranked(work, bucket, rank, near)
    if kept % 2:
        return upper, near
    rank -= 1
    if rank >= work.before[bucket]:
        return 0.5 * (upper + work.sorted[rank - work.before[bucket]]), near
    bucket = _bucket_of(work.before, rank)
    near = _put_aside(work, n, bucket, near)
    return 0.5 * (upper + _ranked(work, bucket, rank, near)), near


@numba.njit(cache=True, nogil=True)
def _bucket_of(before, rank):
    """Bucket that holds the value of a rank (from 0) among all."""
    low, high = 0, _CORE + 1
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if rank < before[middle + 1] else (middle + 1, high)
    return low


@numba.njit(cache=True, nogil=True)
def _put_aside(work, n, bucket, near):
    """Put the values of some buckets aside, unless the one that is wanted is among these already."""
    if near[0] <= bucket < near[1]:
        return near
    first, end, count = max(0, bucket - _BESIDE), min(_CORE + 2, bucket + _BESIDE + 1), 0
    for i in range(n):
        work.aside[count], work.of[count] = work.values[i], work.place[i]
        count += first <= work.place[i] < end
    return first, end


@numba.njit(cache=True, nogil=True)
def _ranked(work, bucket, rank, near):
    """Value of a rank among all; those of its bucket are sorted."""
    count = 0
    for i in range(work.before[near[1]] - work.before[near[0]]):
        work.sorted[count] = work.aside[i]
        count += work.of[i] == bucket
    if count <= _FEW:
        sort_few(work.sorted, count)
    else:
        work.sorted[:count].sort()
    return work.sorted[rank - work.before[bucket]]
