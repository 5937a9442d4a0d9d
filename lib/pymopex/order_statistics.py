"""Order statistics: of a few values in compiled loops, and of images."""

from __future__ import annotations

import numba
import numpy as np

_FEW = 12  # values that are sorted faster than one is selected
ROBUST = 1.4826
"""Sigma of a normal distribution over its median absolute deviation."""


def median(values: np.ndarray) -> float:
    """Median of finite values.

    Parameters
    ----------
    values : ndarray
        One value at least.

    Notes
    -----
    `numpy.median` asks for several ranks at once, for which numpy has no vectorised selection: for an image it takes
    ten times as long.
    """
    flat = np.asarray(values).ravel()
    half = flat.size // 2
    parted = np.partition(flat, half)
    upper = float(parted[half])
    return upper if flat.size % 2 else 0.5 * (float(parted[:half].max()) + upper)


def robust_scatter(values: np.ndarray) -> float:
    """Give the standard deviation of finite values by their median absolute deviation."""
    return ROBUST * median(np.abs(values - median(values)))


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
def sort_few(values: np.ndarray, n: int) -> None:
    """Sort the first n values in their place."""
    for i in range(1, n):
        value, k = values[i], i
        while k > 0 and values[k - 1] > value:
            values[k] = values[k - 1]
            k -= 1
        values[k] = value


@numba.njit(cache=True, nogil=True)
def median_of(values: np.ndarray, n: int) -> float:
    """Median of the first n values, which are reordered."""
    if n <= _FEW:
        sort_few(values, n)
        return values[n // 2] if n % 2 else 0.5 * (values[n // 2 - 1] + values[n // 2])
    upper = select_rank(values, n, n // 2)
    if n % 2:
        return upper
    lower = values[0]
    for i in range(1, n // 2):
        lower = max(lower, values[i])
    return 0.5 * (lower + upper)
