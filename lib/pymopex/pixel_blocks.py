"""The pixels of a group in blocks of eight neighbours of a row, as compiled code works on them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pymopex.batches import Group
from pymopex.jit import inner, leaf, once
from pymopex.lanes import LANES, load, times


class Blocks(NamedTuple):
    """Pixels of a group, by blocks of `LANES` places along a row, which need not all be pixels.

    Parameters
    ----------
    value, weight : ndarray, shape (LANES n,)
        Block after block; the weight of what is no pixel is 0.
    x, y : ndarray of int, shape (n,)
        First pixel of each block.
    first : ndarray of int, shape (F + 1,)
        First block of each frame.
    slot : ndarray of int, shape (n_pixels,)
        Where each pixel of the group is among the values.
    """

    value: np.ndarray
    weight: np.ndarray
    x: np.ndarray
    y: np.ndarray
    first: np.ndarray
    slot: np.ndarray


@inner
def blocks_of(group: Group) -> Blocks:
    """Put the pixels of a group into blocks: each begins with the first pixel that is not in the one before."""
    n_frames = group.row.size
    size = group.first[n_frames] - group.first[0]
    x, y, slot = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size, np.int64)
    first = np.zeros(n_frames + 1, np.int64)
    n = _assign(group, x, y, first, slot)
    value, weight = np.zeros(n * LANES), np.zeros(n * LANES)
    _fill(group, slot, value, weight)
    return Blocks(value, weight, x, y, first, slot)


@leaf
def _assign(group: Group, x: np.ndarray, y: np.ndarray, first: np.ndarray, slot: np.ndarray) -> int:
    """Fill in where the blocks begin, and the slots of the pixels; gives the number of blocks."""
    n, begin = 0, group.first[0]
    for j in range(first.size - 1):
        for i in range(group.first[j], group.first[j + 1]):
            px, py = group.px[i], group.py[i]
            if n == first[j] or py != y[n - 1] or px < x[n - 1] or px >= x[n - 1] + LANES:
                x[n], y[n] = px, py
                n += 1
            slot[i - begin] = (n - 1) * LANES + px - x[n - 1]
        first[j + 1] = n
    return n


@leaf
def _fill(group: Group, slot: np.ndarray, value: np.ndarray, weight: np.ndarray) -> None:
    """Fill in the pixels."""
    begin = group.first[0]
    for i in range(slot.size):
        value[slot[i]], weight[slot[i]] = group.value[begin + i], group.weight[begin + i]


@inner
def make_ramp() -> np.ndarray:
    """Give the numbers that `inside` reads: as many zeros, ones, and zeros as a block has places."""
    ramp = np.zeros(3 * LANES)
    for i in range(LANES):
        ramp[LANES + i] = 1.0
    return ramp


@once
def inside(ramp: np.ndarray, first: int, end: int) -> Any:
    """Give 1 for the places of a block from `first` to before `end`, which may lie outside, and 0 for the others."""
    return times(load(ramp, LANES - max(first, 0)), load(ramp, 2 * LANES - min(end, LANES)))
