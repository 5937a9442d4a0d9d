"""The pixels of many groups of sources: gathered frame after frame, then put together group after group."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numba
import numpy as np

from pymopex.batches import Batch, group_data
from pymopex.fit_data import FrameImage, FramePixels, GroupData, fit_box, gather_into


@dataclass(frozen=True, eq=False)
class FrameGroups:
    """What one frame shows of some groups.

    Parameters
    ----------
    frame : int
        Number of the frame.
    groups : ndarray of int, shape (G,)
        Numbers of the groups, in ascending order.
    sizes : ndarray of int, shape (G,)
        Number of sources of each.
    counts : ndarray of int, shape (G,)
        Number of pixels of each.
    pixels : FramePixels
        The pixels, group after group.
    places : tuple of ndarray
        x, y, Jacobian, scale, PRFs and their weights, shape (rows, K), of the sources, group after group.
    """

    frame: int
    groups: np.ndarray
    sizes: np.ndarray
    counts: np.ndarray
    pixels: FramePixels
    places: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class FoundGroup:
    """A group, by its number, in all frames that show it."""

    number: int
    frames: np.ndarray
    group: GroupData


@numba.njit(cache=True, nogil=True)
def _gather_groups(
    data: np.ndarray,
    sigma: np.ndarray,
    bad: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    sizes: np.ndarray,
    fit_size: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    most = 0
    for g in range(sizes.size):
        most += min(sizes[g] * fit_size[g, 0] * fit_size[g, 1], data.size)
    value, weight = np.empty(most), np.empty(most)
    px, py = np.empty(most, np.int32), np.empty(most, np.int32)
    counts = np.empty(sizes.size, np.int64)
    row, end = 0, 0
    for g in range(sizes.size):
        own = slice(row, row + sizes[g])
        size = fit_size[g, 0], fit_size[g, 1]
        n = gather_into(
            data, sigma, bad, x[own], y[own], *size, value[end:], weight[end:], px[end:], py[end:]
        )
        counts[g] = n
        row, end = row + sizes[g], end + n
    return counts, value[:end].copy(), weight[:end].copy(), px[:end].copy(), py[:end].copy()


def gather_groups_of_frame(
    image: FrameImage,
    corner: tuple[int, int],
    frame: int,
    groups: np.ndarray,
    sizes: np.ndarray,
    fit_size: np.ndarray,
    places: tuple[np.ndarray, ...],
) -> FrameGroups:
    """Collect the pixels of one frame for some groups; see `gather_frame` for those of one.

    Parameters
    ----------
    image : FrameImage
        The frame, or a part of it.
    corner : (x0, y0)
        Lower left pixel of the part.
    frame, groups, sizes, places
        As in `FrameGroups`; the places count pixels of the frame.
    fit_size : ndarray of int, shape (G, 2)
        Size of the fit box of each group, x before y.

    Returns
    -------
    FrameGroups
        Pixels count from the corner of the frame; a group may have none.
    """
    x, y = (np.ascontiguousarray(at - low, dtype=float) for at, low in zip(places[:2], corner, strict=True))
    arrays = image.data, image.sigma, image.bad, x, y
    counts, value, weight, px, py = _gather_groups(*arrays, sizes.astype(np.int64), fit_size.astype(np.int64))
    pixels = FramePixels(value, weight, px + np.int32(corner[0]), py + np.int32(corner[1]))
    return FrameGroups(frame, groups, sizes, counts, pixels, places)


def batch_of_frames(pieces: Sequence[FrameGroups], fit_size: np.ndarray) -> tuple[np.ndarray, Batch] | None:
    """Put the pixels of all frames together, group after group.

    Parameters
    ----------
    pieces : sequence of FrameGroups
        One for each frame.
    fit_size : ndarray of int, shape (G, 2)
        Size of the fit box of each group.

    Returns
    -------
    (numbers, batch) or None
        The numbers of the groups, in ascending order, and the groups; frames without a pixel of a group are left out of
        it, and so are groups without pixels. None if none is left.
    """
    if not pieces:
        return None
    group = np.concatenate([piece.groups for piece in pieces])
    frame = np.repeat([piece.frame for piece in pieces], [len(piece.groups) for piece in pieces])
    counts, sizes = (
        np.concatenate([getattr(piece, name) for piece in pieces]) for name in ("counts", "sizes")
    )
    order = np.argsort(group, kind="stable")
    order = order[counts[order] > 0]
    if not order.size:
        return None
    value, weight, px, py = (
        _rearranged([piece.pixels[k] for piece in pieces], counts, order)
        for k in range(len(FramePixels._fields))
    )
    places = [_rearranged(column, sizes, order) for column in zip(*(p.places for p in pieces), strict=True)]
    first, row = (np.concatenate([[0], np.cumsum(n[order])]) for n in (counts, sizes))
    number, edge = np.unique(group[order], return_index=True)
    edge = np.append(edge, order.size)
    size, box = sizes[order][edge[:-1]], np.ascontiguousarray(fit_size[number], dtype=np.int64)
    corners = _corners(places[:2], np.repeat(box, np.diff(row[edge]), axis=0))
    places[0] = np.where(np.isfinite(places[1]), places[0], np.nan)
    which, numbers = frame[order].astype(np.int64), np.arange(size.max())
    columns = value, weight, px, py, first, which, row[:-1], edge, size, box, *places, *corners, numbers
    return number, Batch._make(columns)


def _corners(places: Sequence[np.ndarray], fit_size: np.ndarray) -> list[np.ndarray]:
    """Give the lower left pixels of the boxes round some places, along both axes."""
    out = [np.zeros(len(fit_size), np.int64) for _ in places]
    for size in np.unique(fit_size, axis=0):
        own = (fit_size == size).all(axis=1)
        for corner, at, n in zip(out, places, size, strict=True):
            corner[own] = fit_box(at[own], int(n))
    return out


def groups_of_frames(pieces: Sequence[FrameGroups], fit_size: np.ndarray) -> Iterator[FoundGroup]:
    """Give the groups of `batch_of_frames` one by one."""
    found = batch_of_frames(pieces, fit_size)
    if found is None:
        return
    numbers, batch = found
    for g, number in enumerate(numbers):
        yield FoundGroup(int(number), batch.frame[batch.edge[g] : batch.edge[g + 1]], group_data(batch, g))


def _rearranged(parts: Sequence[np.ndarray], counts: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Take runs of rows, of the given lengths, in another order."""
    before = np.cumsum(counts) - counts
    lengths = counts[order]
    shift = before[order] - (np.cumsum(lengths) - lengths)
    return np.concatenate(parts)[np.repeat(shift, lengths) + np.arange(lengths.sum())]
