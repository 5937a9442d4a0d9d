"""Networks of comparators that sort many short lists at once.

A comparator puts the smaller of two rows of an array first, for all columns at a time, so that it takes one
instruction for several lists; no branch depends on the data.

References
----------
Knuth 1998, The Art of Computer Programming 3, section 5.3.4 (Batcher's odd-even merge of lists of any lengths).
"""

from __future__ import annotations

from functools import lru_cache

import numba
import numpy as np

BLOCK = 128  # lists sorted at once: their values stay in the fast cache
LONGEST = 48  # values of a list that are sorted by a network; of longer ones, those of a rank are selected

Tables = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]
_Rows = list[int]
_Pairs = list[tuple[int, int]]


def _merged(a: _Rows, b: _Rows, pairs: _Pairs) -> _Rows:
    """Add the comparators that merge two sorted lists of rows; gives the rows in the order of their values."""
    if not a or not b:
        return a or b
    if len(a) == len(b) == 1:
        pairs.append((a[0], b[0]))
        return [a[0], b[0]]
    even, odd = _merged(a[::2], b[::2], pairs), _merged(a[1::2], b[1::2], pairs)
    out = even[:1]
    for k in range(max(len(odd), len(even) - 1)):
        if k < len(odd) and k + 1 < len(even):
            pairs.append((odd[k], even[k + 1]))
        out += odd[k : k + 1] + even[k + 1 : k + 2]
    return out


def _sorted(rows: _Rows, pairs: _Pairs) -> _Rows:
    if len(rows) < 2:
        return rows
    half = len(rows) // 2
    return _merged(_sorted(rows[:half], pairs), _sorted(rows[half:], pairs), pairs)


def _arrays(pairs: _Pairs, rows: _Rows) -> tuple[np.ndarray, np.ndarray]:
    return np.array(pairs, np.int64).reshape(-1, 2), np.array(rows, np.int64)


@lru_cache(maxsize=256)
def sorting(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the comparators that sort n rows.

    Parameters
    ----------
    n : int
        Number of rows.

    Returns
    -------
    pairs : int ndarray, shape (m, 2)
        Rows to be compared, in order; the first gets the smaller value.
    order : int ndarray, shape (n,)
        Row that holds the value of each rank in the end.
    """
    pairs: _Pairs = []
    return _arrays(pairs, _sorted(list(range(n)), pairs))


def tables(networks: list[tuple[np.ndarray, np.ndarray]]) -> Tables:
    """Put networks one behind the other: first comparator of each, comparators, first row of each, rows."""
    pairs, orders = zip(*networks, strict=True)
    starts = [np.concatenate([[0], np.cumsum([len(part) for part in parts])]) for parts in (pairs, orders)]
    return starts[0], np.concatenate(pairs), starts[1], np.concatenate(orders)


@lru_cache(maxsize=256)
def merging(n: int, parts: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the comparators that merge `parts` sorted lists of n rows, one behind the other; as `sorting`."""
    pairs: _Pairs = []
    rows = list(range(n))
    for part in range(1, parts):
        rows = _merged(rows, list(range(part * n, (part + 1) * n)), pairs)
    return _arrays(pairs, rows)


@numba.njit(cache=True, nogil=True)
def run(networks: Tables, n: int, rows: np.ndarray, width: int) -> np.ndarray:
    """Apply network n of some tables to the first columns of rows of an array; gives the row of each rank."""
    apply(networks[1][networks[0][n] : networks[0][n + 1]], rows, width)
    return networks[3][networks[2][n] : networks[2][n + 1]]


@numba.njit(cache=True, nogil=True)
def apply(pairs: np.ndarray, rows: np.ndarray, width: int) -> None:
    """Compare the first columns of rows of a contiguous array, which are changed."""
    flat, length = (
        rows.ravel(),
        np.uint64(rows.shape[1]),
    )  # rows taken out as arrays would be counted one by one
    for k in range(pairs.shape[0]):
        a, b = np.uint64(pairs[k, 0]) * length, np.uint64(pairs[k, 1]) * length
        for i in range(np.uint64(width)):
            x, y = flat[a + i], flat[b + i]
            flat[a + i] = x if x < y else y
            flat[b + i] = y if x < y else x
