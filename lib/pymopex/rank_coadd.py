"""Co-addition by rank: median, smallest absolute value, trimmed mean of the frames at each pixel of a tile."""

from __future__ import annotations

import math
from functools import cache
from typing import NamedTuple

import numba
import numpy as np

from pymopex.stack import Stack


class RankCoadded(NamedTuple):
    """A tile co-added by rank.

    Parameters
    ----------
    image : float32 ndarray, shape stack.shape
        Value, NaN without coverage.
    uncertainty : float32 ndarray, shape stack.shape, or None
        1-sigma uncertainty of the value; None if the frames have none.
    """

    image: np.ndarray
    uncertainty: np.ndarray | None


# n times the variance of the median of n values of unit variance, normally distributed, for n = 1, 2, ...
_MEDIAN = (
    *(1.0, 1.0, 1.3460, 1.1928, 1.4342, 1.2885, 1.4731, 1.3454, 1.4949, 1.3833),
    *(1.5088, 1.4102, 1.5184, 1.4303, 1.5254, 1.4460, 1.5308, 1.4585, 1.5350, 1.4687),
)


def median_variance(n: int) -> float:
    """Give the variance of a median over that of a mean.

    Parameters
    ----------
    n : int
        Number of values, normally distributed with equal variances.

    Returns
    -------
    float
        The ratio: 1 for one and for two values, from the joint density of the middle order statistics up to
        20, and from an expansion in 1/n about pi/2 above, good to 0.001.

    Raises
    ------
    ValueError
        `n` is less than 1.

    References
    ----------
    Kendall & Stuart, The Advanced Theory of Statistics, vol. 1, section 14.5.
    """
    if n < 1:
        raise ValueError(f"there is no median of {n} values")
    if n <= len(_MEDIAN):
        return _MEDIAN[n - 1]
    return math.pi / 2 * (1 - (0.4315 if n % 2 else 1.4292 - 2.7 / n) / n)


@cache
def trimmed_variance(n: int, left_out: int) -> float:
    """Give the variance of a trimmed mean over that of a mean.

    Parameters
    ----------
    n : int
        Number of values, normally distributed with equal variances.
    left_out : int
        Values left out at each end.

    Returns
    -------
    float
        The ratio, by the asymptotic (winsorized) variance, which is good to 4 per cent from three values on;
        that of the median where one or two values are left.

    References
    ----------
    Huber & Ronchetti 2009, Robust Statistics, section 3.3.
    """
    from scipy.stats import norm

    if left_out == 0:
        return 1.0
    if n - 2 * left_out <= 2:
        return median_variance(n)
    share = left_out / n
    z = float(norm.isf(share))
    kept = (1 - 2 * share) - 2 * z * float(norm.pdf(z))
    return (kept + 2 * share * z**2) / (1 - 2 * share) ** 2


def median(stack: Stack) -> RankCoadded:
    """Take the median of the frames.

    Parameters
    ----------
    stack : Stack
        Values on a tile.

    Returns
    -------
    RankCoadded
        Median (of an even number the mean of the middle two), without weights, and its uncertainty.

    Notes
    -----
    The uncertainty is ``sqrt(v / n)`` times the harmonic mean of the uncertainties of the n frames, with v from
    `median_variance`, near pi/2: the asymptotic variance of the median of values of unequal noise is set by
    their mean density at the centre. Of two values it is that of their mean. The uncertainty of one frame is
    taken as ``s / sqrt(c)`` with coverage c, as the mean does, so that for equal frames the result is
    ``sqrt(v)`` times the uncertainty of the mean. A median does not conserve the flux of undersampled stars.

    References
    ----------
    MOPEX User's Guide, Mosaic CoAdder.
    """
    most = int(np.diff(stack.first).max(initial=0))
    ratios = np.array([0.0, *(median_variance(n) for n in range(1, most + 1))])
    return _result(stack, _median(stack, ratios))


def absolute_minimum(stack: Stack) -> RankCoadded:
    """Take the value nearest to zero.

    Parameters
    ----------
    stack : Stack
        Values on a tile.

    Returns
    -------
    RankCoadded
        The value with the smallest absolute value, with its sign (of equal ones that of the first frame), and
        the uncertainty of that value, ``s / sqrt(c)`` with its coverage c.

    Notes
    -----
    The legacy rule is not documented; this is what the name says. The value is biased towards zero.
    """
    return _result(stack, _absolute_minimum(stack))


def trimmed_mean(stack: Stack, fraction: float) -> RankCoadded:
    """Average the frames without the highest and lowest values.

    Parameters
    ----------
    stack : Stack
        Values on a tile.
    fraction : float
        Share of the values to leave out at each end, rounded up to whole values; at least one or two values
        stay. 0 is the mean.

    Returns
    -------
    RankCoadded
        Mean weighted by coverage, and its uncertainty.

    Raises
    ------
    ValueError
        The fraction is not from 0 to 0.5.

    Notes
    -----
    The uncertainty is that of the mean of all values, ``1 / sqrt(sum c / s**2)``, times the root of
    `trimmed_variance`.

    References
    ----------
    Huber & Ronchetti 2009, Robust Statistics, section 3.3.
    """
    if not 0 <= fraction <= 0.5:
        raise ValueError(f"trimmed fraction {fraction:g} is not from 0 to 0.5")
    most = int(np.diff(stack.first).max(initial=0))
    cuts = np.array([_left_out(n, fraction) for n in range(most + 1)])
    ratios = np.array([0.0, *(trimmed_variance(n, int(cuts[n])) for n in range(1, most + 1))])
    return _result(stack, _trimmed_mean(stack, cuts, ratios))


def _left_out(n: int, fraction: float) -> int:
    return min(math.ceil(fraction * n - 1e-9), max(n - 1, 0) // 2)


def _result(stack: Stack, found: tuple[np.ndarray, np.ndarray]) -> RankCoadded:
    return RankCoadded(found[0], found[1] if stack.sigma.size else None)


@numba.njit(cache=True, nogil=True)
def _images(stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    shape = (stack.ny, stack.nx)
    return np.full(shape, np.nan, np.float32), np.full(shape, np.nan, np.float32)


@numba.njit(cache=True, nogil=True)
def _median(stack: Stack, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image, error = _images(stack)
    for p in range(stack.ny * stack.nx):
        start, stop = stack.first[p], stack.first[p + 1]
        n = stop - start
        if n == 0:
            continue
        at = (p // stack.nx, p % stack.nx)
        values = np.sort(stack.value[start:stop])
        image[at] = 0.5 * (np.float64(values[(n - 1) // 2]) + np.float64(values[n // 2]))
        if stack.sigma.size:
            inverse = square = 0.0
            for k in range(start, stop):
                variance = np.float64(stack.sigma[k]) ** 2 / stack.coverage[k]
                inverse += 1.0 / np.sqrt(variance)
                square += variance
            error[at] = np.sqrt(square) / n if n <= 2 else np.sqrt(ratios[n] * n) / inverse
    return image, error


@numba.njit(cache=True, nogil=True)
def _absolute_minimum(stack: Stack) -> tuple[np.ndarray, np.ndarray]:
    image, error = _images(stack)
    for p in range(stack.ny * stack.nx):
        start, stop = stack.first[p], stack.first[p + 1]
        if stop == start:
            continue
        at = (p // stack.nx, p % stack.nx)
        best = start + np.argmin(np.abs(stack.value[start:stop]))
        image[at] = stack.value[best]
        if stack.sigma.size:
            error[at] = stack.sigma[best] / np.sqrt(np.float64(stack.coverage[best]))
    return image, error


@numba.njit(cache=True, nogil=True)
def _trimmed_mean(stack: Stack, cuts: np.ndarray, ratios: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image, error = _images(stack)
    for p in range(stack.ny * stack.nx):
        start, stop = stack.first[p], stack.first[p + 1]
        n = stop - start
        if n == 0:
            continue
        at = (p // stack.nx, p % stack.nx)
        order = np.argsort(stack.value[start:stop], kind="mergesort")
        total = weight = inverse = 0.0
        kept = np.sort(order[cuts[n] : n - cuts[n]])  # summed in the order of the frames, as the mean is
        for k in kept:
            c = np.float64(stack.coverage[start + k])
            total += c * stack.value[start + k]
            weight += c
        image[at] = total / weight
        if stack.sigma.size:
            for k in range(start, stop):
                inverse += np.float64(stack.coverage[k]) / np.float64(stack.sigma[k]) ** 2
            error[at] = np.sqrt(ratios[n] / inverse)
    return image, error
