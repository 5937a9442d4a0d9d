"""Kernels of the image segmentation: clusters, thresholds of their own, peaks.

Pixels are flat indices into an image padded by a frame of unusable pixels, so that neighbours are at constant
offsets. A cluster is a run of a pool of such indices; its children are written over it, which is why
the clusters still to be looked at live on a stack.
"""

from __future__ import annotations

from typing import NamedTuple

import numba
import numpy as np

SIMPLE, COMBO, PEAK = 0, 1, 2

# Marks in the owner image; clusters are numbered from _FIRST.
_NOBODY, _CANDIDATE, _FIRST = 0, 1, 2


class Rules(NamedTuple):
    """What the kernels need to know: thresholds in the unit of the searched image, areas in pixels."""

    threshold: float
    smallest_rise: float
    min_peak_fraction: float
    kind: int
    min_area: int
    max_area: int
    extended_area: int
    corners: bool
    peaks_radius: int
    max_level: int


class Work(NamedTuple):
    """Padded image to be divided, its width, its pixels above the threshold, and the work space of the kernels."""

    values: np.ndarray
    width: int
    above: np.ndarray
    owner: np.ndarray
    levels: np.ndarray
    slot: np.ndarray
    pool: np.ndarray


class Part(NamedTuple):
    """A cluster: pixels ``pool[start:stop]``, local threshold, level, whether it is final."""

    start: int
    stop: int
    threshold: float
    level: int
    settled: bool


@numba.njit(cache=True, nogil=True)
def _offsets(width, corners):
    """Give the steps to the neighbours of a pixel."""
    if corners:
        return np.array([-width - 1, -width, -width + 1, -1, 1, width - 1, width, width + 1])
    return np.array([-width, -1, 1, width])


@numba.njit(cache=True, nogil=True)
def _flood(seed, number, owner, offsets, pool, start):
    """Collect the candidates connected to the seed in the pool, give them a number; return the end."""
    owner[seed] = number
    pool[start] = seed
    stop = start + 1
    here = start
    while here < stop:
        for step in offsets:
            q = pool[here] + step
            if owner[q] == _CANDIDATE:
                owner[q] = number
                pool[stop] = q
                stop += 1
        here += 1
    return stop


@numba.njit(cache=True, nogil=True)
def _mark(pixels, values, threshold, owner):
    """Make the pixels above the threshold candidates."""
    for p in pixels:
        owner[p] = _CANDIDATE if values[p] > threshold else _NOBODY


@numba.njit(cache=True, nogil=True)
def _give(pixels, number, owner):
    """Give pixels to a cluster."""
    for p in pixels:
        owner[p] = number


@numba.njit(cache=True, nogil=True)
def _statistics(pixels, values):
    """Brightest pixel (the first of equals in the image), mean and standard deviation of a cluster."""
    peak = pixels[0]
    total = 0.0
    for p in pixels:
        total += values[p]
        if values[p] > values[peak] or (values[p] == values[peak] and p < peak):
            peak = p
    mean = total / len(pixels)
    square = 0.0
    for p in pixels:
        square += (values[p] - mean) ** 2
    return peak, mean, np.sqrt(square / len(pixels))


@numba.njit(cache=True, nogil=True)
def _core(pixels, peak, values, owner, offsets, min_area, number, pool, start):
    """Put the flat top of a cluster, grown to the smallest area by its brightest neighbours, in the pool."""
    for p in pixels:
        owner[p] = _CANDIDATE if values[p] == values[peak] else _NOBODY
    stop = _flood(peak, number, owner, offsets, pool, start)
    for p in pixels:
        if owner[p] != number:
            owner[p] = _CANDIDATE
    while stop - start < min_area:
        best = -1
        for here in range(start, stop):
            for step in offsets:
                q = pool[here] + step
                if owner[q] == _CANDIDATE and (best < 0 or values[q] > values[best]):
                    best = q
        if best < 0:
            break
        owner[best] = number
        pool[stop] = best
        stop += 1
    for p in pixels:
        if owner[p] == _CANDIDATE:
            owner[p] = _NOBODY
    return stop


@numba.njit(cache=True, nogil=True)
def _find(parents, k):
    """Root of k in a forest; shortens the way."""
    while parents[k] != k:
        parents[k] = parents[parents[k]]
        k = parents[k]
    return k


@numba.njit(cache=True, nogil=True)
def _is_maximum(p, values, width, radius):
    """Whether no pixel of the square around p is brighter."""
    for dy in range(-radius, radius + 1):
        for dx in range(-radius, radius + 1):
            if values[p + dy * width + dx] > values[p]:
                return False
    return True


@numba.njit(cache=True, nogil=True)
def _peaks(pixels, values, width, radius, rise, slot):
    """Divide a cluster among its significant peaks.

    The pixels are taken from bright to faint. Where two growing hills meet, the lower one is
    a peak of its own if it stands at least `rise` above this saddle; else it becomes part of the slope.
    Returns the pixels sorted from bright to faint, and for each the index of the peak it belongs to.
    """
    sorted_pixels = np.sort(pixels)
    sorted_pixels = sorted_pixels[np.argsort(-values[sorted_pixels], kind="mergesort")]
    n = len(sorted_pixels)
    hill = np.arange(n)
    domain = np.arange(n)
    offsets = _offsets(width, True)
    for k in range(n):
        p = sorted_pixels[k]
        best = n
        for step in offsets:
            if slot[p + step] > 0:
                best = min(best, slot[p + step] - 1)
        slot[p] = k + 1
        if best == n:
            continue
        domain[k] = domain[best]
        hill[k] = hill[best]
        for step in offsets:
            j = slot[p + step] - 1
            if j < 0:
                continue
            a, b = _find(hill, j), _find(hill, k)
            if a == b:
                continue
            low, high = max(a, b), min(a, b)
            height = np.float64(values[sorted_pixels[low]]) - np.float64(values[p])
            if not (height > 0 and height >= rise and _is_maximum(sorted_pixels[low], values, width, radius)):
                domain[low] = _find(domain, k if low == a else j)
            hill[low] = high
    for p in sorted_pixels:
        slot[p] = 0
    for k in range(n):
        domain[k] = _find(domain, k)
    return sorted_pixels, domain


@numba.njit(cache=True, nogil=True)
def _is_extended(pixels, values, owner, offsets, rules):
    """Whether the part of a cluster above half of its peak height is larger than a point source can be."""
    if rules.extended_area <= 0 or len(pixels) <= rules.extended_area:
        return False
    peak = _statistics(pixels, values)[0]
    number = owner[peak]
    _mark(pixels, values, 0.5 * (rules.threshold + values[peak]), owner)
    owner[peak] = _CANDIDATE
    area = _flood(peak, number, owner, offsets, np.empty_like(pixels), 0)
    _give(pixels, number, owner)
    return area > rules.extended_area


@numba.njit(cache=True, nogil=True)
def _main_part(part, pixels, peak, threshold, number, work, offsets, rules):
    """Part of a cluster above a higher threshold that holds its peak; it is never lost."""
    _mark(pixels, work.values, threshold, work.owner)
    if work.owner[peak] == _CANDIDATE:
        stop = _flood(peak, number, work.owner, offsets, work.pool, part.start)
        if stop - part.start >= rules.min_area:
            return Part(part.start, stop, threshold, part.level + 1, False)
    stop = _core(
        pixels, peak, work.values, work.owner, offsets, rules.min_area, number, work.pool, part.start
    )
    for p in pixels:
        if work.owner[p] != number and work.values[p] > threshold:
            work.owner[p] = _CANDIDATE
    return Part(part.start, stop, part.threshold, part.level + 1, True)


@numba.njit(cache=True, nogil=True)
def _raise_threshold(part, pixels, peak, threshold, rise, tops, number, work, offsets, rules):
    """Parts of a cluster above a higher threshold, and whether they hold all its significant peaks.

    Without a list of peaks (simple segmentation) every part that rises high enough above
    the threshold is kept, else those that hold a peak.
    """
    parts = [_main_part(part, pixels, peak, threshold, number, work, offsets, rules)]
    for p in tops:
        work.slot[p] = 1
    missing = len(tops)
    for p in work.pool[parts[0].start : parts[0].stop]:
        missing -= work.slot[p]
    start = parts[0].stop
    for p in pixels:
        if work.owner[p] != _CANDIDATE:
            continue
        stop = _flood(p, number + len(parts), work.owner, offsets, work.pool, start)
        found = 0
        highest = threshold
        for q in work.pool[start:stop]:
            found += work.slot[q]
            highest = max(highest, work.values[q])
        kept = found > 0 if len(tops) > 0 else highest - threshold >= rise
        if kept and stop - start >= rules.min_area:
            parts.append(Part(start, stop, threshold, part.level + 1, False))
            missing -= found
            start = stop
        else:
            _give(work.pool[start:stop], _NOBODY, work.owner)
    for p in tops:
        work.slot[p] = 0
    return parts, missing <= 0


@numba.njit(cache=True, nogil=True)
def _domain_parts(part, sorted_pixels, domain, number, work, rules):
    """Parts of a cluster that belong to its peaks; the pixels come from bright to faint."""
    n = len(sorted_pixels)
    area = np.zeros(n, dtype=np.int64)
    for k in range(n):
        area[domain[k]] += 1
    place = np.full(n, -1, dtype=np.int64)
    parts = [part]
    parts.pop()
    start = part.start
    for k in range(n):
        if domain[k] == k and (k == 0 or area[k] >= rules.min_area):
            place[k] = start
            parts.append(Part(start, start + area[k], part.threshold, part.level + 1, False))
            start += area[k]
    for k in range(n):
        p = sorted_pixels[k]
        at = place[domain[k]]
        work.owner[p] = _NOBODY
        if at >= 0:
            work.pool[at] = p
            place[domain[k]] += 1
    for i in range(len(parts)):
        _give(work.pool[parts[i].start : parts[i].stop], number + i, work.owner)
    return parts


@numba.njit(cache=True, nogil=True)
def _divide(part, number, work, offsets, rules):
    """Parts of an oversized cluster."""
    pixels = work.pool[part.start : part.stop].copy()
    values = work.values
    peak, mean, deviation = _statistics(pixels, values)
    threshold = max(part.threshold, mean + deviation)
    rise = max(rules.smallest_rise, rules.min_peak_fraction * (values[peak] - rules.threshold))
    if rules.kind == SIMPLE:
        return _raise_threshold(
            part, pixels, peak, threshold, rise, pixels[:0], number, work, offsets, rules
        )[0]
    sorted_pixels, domain = _peaks(pixels, values, work.width, rules.peaks_radius, rise, work.slot)
    tops = sorted_pixels[domain == np.arange(len(domain))]
    if rules.kind == COMBO or len(tops) == 1:
        parts, complete = _raise_threshold(
            part, pixels, tops[0], threshold, rise, tops, number, work, offsets, rules
        )
        if complete or len(tops) == 1:
            return parts
    return _domain_parts(part, sorted_pixels, domain, number, work, rules)


@numba.njit(cache=True, nogil=True)
def segment(work, rules):
    """Segment a padded image whose unusable pixels are -inf.

    Returns start, stop, threshold and level of the final clusters, shape (n, 4), and, for each, the number (from 0) of
    the initial cluster it came from.
    Their pixels stand in ``work.pool``, the level reached by every detected pixel in ``work.levels``.
    """
    offsets = _offsets(work.width, rules.corners)
    number = _FIRST
    final = [Part(0, 0, 0.0, 0, True)]
    final.pop()
    roots = [0]
    roots.pop()
    root, end = 0, 0
    for p in work.above:
        work.owner[p] = _CANDIDATE
    for p in work.above:
        if work.owner[p] != _CANDIDATE:
            continue
        stop = _flood(p, number, work.owner, offsets, work.pool, end)
        if stop - end < rules.min_area:
            _give(work.pool[end:stop], _NOBODY, work.owner)
            continue
        number += 1
        stack = [Part(end, stop, rules.threshold, 1, False)]
        end = stop
        while len(stack) > 0:
            part = stack.pop()
            pixels = work.pool[part.start : part.stop]
            _give(pixels, part.level, work.levels)
            if not part.settled and _is_extended(pixels, work.values, work.owner, offsets, rules):
                _give(pixels, _NOBODY, work.owner)
            elif part.settled or part.stop - part.start <= rules.max_area or part.level >= rules.max_level:
                final.append(part)
                roots.append(root)
            else:
                parts = _divide(part, number, work, offsets, rules)
                number += len(parts) + 1
                stack.extend(parts)
        root += 1
    table = np.empty((len(final), 4))
    for i in range(len(final)):
        part = final[i]
        table[i, 0], table[i, 1], table[i, 2], table[i, 3] = part.start, part.stop, part.threshold, part.level
    return table, np.array(roots)
