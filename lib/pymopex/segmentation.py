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


class Clusters(NamedTuple):
    """Final clusters: pixels ``pool[start:stop]``, local threshold, level, number of the initial cluster."""

    pool: np.ndarray
    start: np.ndarray
    stop: np.ndarray
    threshold: np.ndarray
    level: np.ndarray
    root: np.ndarray
    levels: np.ndarray


@numba.njit(cache=True, nogil=True)
def _offsets(width, corners):
    """Steps to the neighbours of a pixel."""
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
    _mark(pixels, values, values[peak] - 1.0, owner)
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
    sorted_pixels = pixels[np.argsort(pixels)]
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
            height = values[sorted_pixels[low]] - values[p]
            if not (height > 0 and height >= rise and _is_maximum(sorted_pixels[low], values, width, radius)):
                domain[low] = _find(domain, k if low == a else j)
            hill[low] = high
    for p in sorted_pixels:
        slot[p] = 0
    for k in range(n):
        domain[k] = _find(domain, k)
    return sorted_pixels, domain


@numba.njit(cache=True, nogil=True)
def _extended(pixels, peak, values, owner, offsets, rules, scratch):
    """Whether the part of a cluster above half of its peak height is larger than a point source can be."""
    if rules.extended_area <= 0 or len(pixels) <= rules.extended_area:
        return False
    number = owner[peak]
    _mark(pixels, values, 0.5 * (rules.threshold + values[peak]), owner)
    owner[peak] = _CANDIDATE
    area = _flood(peak, number, owner, offsets, scratch, 0)
    _give(pixels, number, owner)
    return area > rules.extended_area
