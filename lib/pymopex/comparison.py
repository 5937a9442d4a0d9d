"""How products compare with a truth that is known: offsets, rejected pixels, fluxes, positions, completeness."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.spatial import cKDTree

from pymopex.order_statistics import median, robust_scatter

_FAR = 4.0  # robust widths from the median: values farther off are the tail


@dataclass(frozen=True)
class Spread:
    """How some values spread.

    Parameters
    ----------
    n : int
        Number of finite values.
    median : float
        Their median.
    width : float
        1.4826 times their median absolute deviation.
    rms : float
        Standard deviation of those within 4 widths of the median: of a normal distribution it needs fewer values than
        the width for the same accuracy (1 / sqrt(2 n)).
    tail : float
        Share of the others.
    """

    n: int
    median: float
    width: float
    rms: float
    tail: float


def spread(values: np.ndarray) -> Spread:
    """Give number, median and widths of the finite values.

    Parameters
    ----------
    values : ndarray
        Any shape.

    Returns
    -------
    Spread
        NaN for all but the number where there is no finite value.
    """
    values = np.asarray(values, dtype=float)
    values = values[np.isfinite(values)]
    if not values.size:
        return Spread(0, np.nan, np.nan, np.nan, np.nan)
    middle, width = median(values), robust_scatter(values)
    near = np.abs(values - middle) <= _FAR * width
    return Spread(values.size, middle, width, float(values[near].std()), float(1 - near.mean()))


def match(
    ra: np.ndarray, dec: np.ndarray, other_ra: np.ndarray, other_dec: np.ndarray, radius: float
) -> tuple[np.ndarray, np.ndarray]:
    """Match two lists of positions: pairs that are each other's nearest neighbour within a radius.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Positions [deg].
    other_ra, other_dec : ndarray, shape (m,)
        Positions [deg].
    radius : float
        Largest separation [arcsec].

    Returns
    -------
    first, second : ndarray of int, shape (k,)
        Indices of the pairs.
    """
    if not len(ra) or not len(other_ra):
        return np.zeros(0, int), np.zeros(0, int)
    a, b = _unit(ra, dec), _unit(other_ra, other_dec)
    chord = 2 * np.sin(np.radians(radius / 3600) / 2)
    distance, forward = cKDTree(b).query(a)
    _, backward = cKDTree(a).query(b)
    first = np.arange(len(a))
    good = (backward[forward] == first) & (distance <= chord)
    return first[good], forward[good]


def _unit(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    a, d = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], axis=1)


def sky_offsets(
    ra: np.ndarray, dec: np.ndarray, true_ra: np.ndarray, true_dec: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Give measured minus true positions, east and north [arcsec]."""
    delta = (np.asarray(ra) - true_ra + 180) % 360 - 180
    return delta * np.cos(np.radians(true_dec)) * 3600, (np.asarray(dec) - true_dec) * 3600


def offset_residuals(corrections: np.ndarray, true_offsets: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Give what is left of the frames' true offsets after the corrections, per connected group about its mean.

    Parameters
    ----------
    corrections : ndarray, shape (n,)
        Constants added by the overlap correction [image unit].
    true_offsets : ndarray, shape (n,)
        Constants that the frames were made with [image unit].
    group : ndarray of int, shape (n,)
        Connected group of each frame; only differences within a group are determined.

    Returns
    -------
    ndarray, shape (n,)
        Residual offsets [image unit].
    """
    left = np.asarray(corrections, dtype=float) + true_offsets
    for number in np.unique(group):
        inside = group == number
        left[inside] -= left[inside].mean()
    return left


@dataclass(frozen=True)
class Rejection:
    """Pixels by what they are in truth, and how many of each were rejected."""

    hits: int
    hits_rejected: int
    clean: int
    clean_rejected: int
    cores: int
    cores_rejected: int

    def __add__(self, other: Rejection) -> Rejection:
        return Rejection(*(a + b for a, b in zip(self._numbers(), other._numbers(), strict=True)))

    def _numbers(self) -> tuple[int, ...]:
        return (
            self.hits,
            self.hits_rejected,
            self.clean,
            self.clean_rejected,
            self.cores,
            self.cores_rejected,
        )


def rejection(
    rejected: np.ndarray, hit: np.ndarray, strong: np.ndarray, core: np.ndarray, usable: np.ndarray
) -> Rejection:
    """Count rejected pixels of a frame against the truth.

    Parameters
    ----------
    rejected : ndarray of bool, shape (ny, nx)
        What the outlier mask holds.
    hit : ndarray of bool, shape (ny, nx)
        Pixels that a cosmic ray touched, however faintly; they are not clean.
    strong : ndarray of bool, shape (ny, nx)
        Those of them that count as hits (above some number of sigma).
    core : ndarray of bool, shape (ny, nx)
        Pixels at the cores of unsaturated stars.
    usable : ndarray of bool, shape (ny, nx)
        Pixels that were used at all: no fatal bit in the other masks.

    Returns
    -------
    Rejection
        Counts of usable pixels.
    """
    count = lambda where: int(np.count_nonzero(where & usable))  # noqa: E731
    clean = ~hit & ~core
    cores = core & ~hit
    return Rejection(
        count(strong),
        count(strong & rejected),
        count(clean),
        count(clean & rejected),
        count(cores),
        count(cores & rejected),
    )


def rates(
    signal_to_noise: np.ndarray, found: np.ndarray, edges: np.ndarray
) -> list[tuple[float, float, int, float]]:
    """Give the rate of `found` in bins of signal-to-noise: low edge, high edge, number, rate (NaN if none)."""
    rows = []
    for low, high in pairwise(edges):
        inside = (signal_to_noise >= low) & (signal_to_noise < high)
        n = int(inside.sum())
        rows.append((float(low), float(high), n, float(found[inside].mean()) if n else np.nan))
    return rows
