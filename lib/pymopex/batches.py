"""Many groups of sources in arrays behind each other, as compiled code takes them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pymopex.fit_data import GroupData
from pymopex.jit import inner


class Batch(NamedTuple):
    """Groups of sources, each in all frames that show it: its pieces, one for each frame.

    Parameters
    ----------
    value, weight, px, py : ndarray, shape (n_pixels,)
        Pixels, piece after piece (see `GroupData`); one of weight 0 does not count.
    first : ndarray of int, shape (P + 1,)
        First pixel of each piece.
    frame : ndarray of int, shape (P,)
        Frame of each piece.
    row : ndarray of int, shape (P,)
        First of the places of each piece.
    edge : ndarray of int, shape (G + 1,)
        First piece of each group.
    sizes : ndarray of int, shape (G,)
        Sources of each group.
    fit_size : ndarray of int, shape (G, 2)
        Size of the fit box of each group, x before y.
    x, y, jacobian, scale, prf, mix : ndarray
        Places of the sources, shape (rows,), (rows, 2, 2) and (rows, K), piece after piece.
    box_x, box_y : ndarray of int, shape (rows,)
        Lower left pixels of their fit boxes.
    numbers : ndarray of int
        From 0, as many as the largest group has sources.
    """

    value: np.ndarray
    weight: np.ndarray
    px: np.ndarray
    py: np.ndarray
    first: np.ndarray
    frame: np.ndarray
    row: np.ndarray
    edge: np.ndarray
    sizes: np.ndarray
    fit_size: np.ndarray
    x: np.ndarray
    y: np.ndarray
    jacobian: np.ndarray
    scale: np.ndarray
    prf: np.ndarray
    mix: np.ndarray
    box_x: np.ndarray
    box_y: np.ndarray
    numbers: np.ndarray


class Group(NamedTuple):
    """One group of a batch: arrays of the whole batch, and where its own numbers are in them.

    The pixels of its frame j are those from first[j] to before first[j + 1]; source n of the fit is number which[n] of
    the group, and its place in frame j that at row[j] + which[n].
    """

    value: np.ndarray
    weight: np.ndarray
    px: np.ndarray
    py: np.ndarray
    first: np.ndarray
    row: np.ndarray
    which: np.ndarray
    x: np.ndarray
    y: np.ndarray
    jacobian: np.ndarray
    scale: np.ndarray
    prf: np.ndarray
    mix: np.ndarray
    box_x: np.ndarray
    box_y: np.ndarray
    fit_x: int
    fit_y: int


@inner
def group_of(batch: Batch, weight: np.ndarray, g: int, which: np.ndarray) -> Group:
    """Give some sources of a group, with weights for the pixels of the batch."""
    a, b = batch.edge[g], batch.edge[g + 1]
    return Group(
        batch.value,
        weight,
        batch.px,
        batch.py,
        batch.first[a : b + 1],
        batch.row[a:b],
        which,
        batch.x,
        batch.y,
        batch.jacobian,
        batch.scale,
        batch.prf,
        batch.mix,
        batch.box_x,
        batch.box_y,
        batch.fit_size[g, 0],
        batch.fit_size[g, 1],
    )


def group_data(batch: Batch, g: int) -> GroupData:
    """Give one group on its own."""
    a, b, size = batch.edge[g], batch.edge[g + 1], int(batch.sizes[g])
    pixels = slice(batch.first[a], batch.first[b])
    places = slice(batch.row[a], batch.row[a] + size * (b - a))
    shape = int(b - a), size
    columns = batch.x, batch.y, batch.jacobian, batch.scale, batch.prf, batch.mix, batch.box_x, batch.box_y
    return GroupData._make(
        (
            *(column[pixels] for column in (batch.value, batch.weight, batch.px, batch.py)),
            batch.first[a : b + 1] - batch.first[a],
            *(column[places].reshape(*shape, *column.shape[1:]) for column in columns),
            *batch.fit_size[g].tolist(),
        )
    )


def batch_of(group: GroupData) -> Batch:
    """Give a batch of one group."""
    frames, size = group.rx.shape
    places = group.rx, group.ry, group.jacobian, group.scale, group.prf, group.mix, group.box_x, group.box_y
    return Batch._make(
        (
            *group[:5],
            np.arange(frames),
            np.arange(frames) * size,
            np.array([0, frames]),
            np.array([size]),
            np.array([[group.fit_x, group.fit_y]]),
            *(column.reshape(frames * size, *column.shape[2:]) for column in places),
            np.arange(size),
        )
    )


def alone(group: GroupData) -> Group:
    """Give a group in the form that compiled code takes."""
    batch = batch_of(group)
    return Group._make((*batch[:5], batch.row, batch.numbers, *batch[10:-1], group.fit_x, group.fit_y))
