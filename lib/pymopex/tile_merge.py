"""Detections of tiles that were searched with a margin, put together to one list without doubles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymopex.geometry import Box

_SAME = 1.0  # pixel; thresholds of two tiles differ, and so does what they find of one source


@dataclass(frozen=True, eq=False)
class Merged:
    """Which rows of the joined tables are kept, in order, and the number (from 1) and size of the blend of each."""

    rows: np.ndarray
    blend_id: np.ndarray
    blend_size: np.ndarray


def grown(tile: Box, margin: int, mosaic: Box) -> Box:
    """Give a tile with a margin round it, as far as the mosaic goes."""
    wide = Box(tile.x0 - margin, tile.y0 - margin, tile.nx + 2 * margin, tile.ny + 2 * margin)
    common = wide.intersect(mosaic)
    if common is None:
        raise ValueError(f"{tile} is not on {mosaic}")
    return common


def merge(
    tiles: Sequence[Box], x: Sequence[np.ndarray], y: Sequence[np.ndarray], blend_id: Sequence[np.ndarray]
) -> Merged:
    """Join what tiles with margins have found.

    Parameters
    ----------
    tiles : sequence of Box
        The tiles without their margins; they do not overlap.
    x, y : sequence of ndarray
        Centroids found on each tile and its margin [pixel of the mosaic, 0-based].
    blend_id : sequence of ndarray of int
        Number of the blend of each, from 1 on each tile.

    Returns
    -------
    Merged
        Rows of the concatenated arrays.

    Raises
    ------
    ValueError
        Lengths differ.

    Notes
    -----
    A source belongs to the tile that holds its centroid. Two tiles may place one source differently by a
    little: of two within a pixel the one that lies deeper in its tile is kept, and one that each tile places in
    the other is kept once. Blends that share such a source are one blend.
    """
    counts = [len(values) for values in x]
    if not len(tiles) == len(x) == len(y) == len(blend_id) or counts != [len(values) for values in y]:
        raise ValueError("each tile needs positions and blends of one length")
    tile = np.repeat(np.arange(len(tiles)), counts)
    points = np.column_stack([_joined(x), _joined(y)])
    depth = np.concatenate(
        [_depth(box, px, py) for box, px, py in zip(tiles, x, y, strict=True)] or [np.zeros(0)]
    )
    pairs = _pairs(points, tile)
    rows = np.flatnonzero(_kept(depth, pairs))
    number, size = _blends(tile, _joined(blend_id).astype(np.int64), pairs, rows)
    return Merged(rows, number, size)


def _joined(parts: Sequence[np.ndarray]) -> np.ndarray:
    return np.concatenate([np.asarray(part, dtype=float) for part in parts] or [np.zeros(0)])


def _depth(box: Box, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Distance from the edge of the tile, negative outside [pixel]."""
    return np.minimum(
        np.minimum(x - box.x0 + 0.5, box.x1 - 0.5 - x), np.minimum(y - box.y0 + 0.5, box.y1 - 0.5 - y)
    )


def _pairs(points: np.ndarray, tile: np.ndarray) -> np.ndarray:
    """Rows of two tiles that are one source, the lower one first, shape (n, 2)."""
    order = np.argsort(points[:, 0], kind="stable")
    found = [np.zeros((0, 2), dtype=np.int64)]
    for step in range(1, len(order)):  # along x, to the next one, to that behind it, and so on
        one, other = order[:-step], order[step:]
        across = points[other, 0] - points[one, 0] <= _SAME
        if not across.any():
            break
        one, other = one[across], other[across]
        apart = points[other] - points[one]
        same = ((apart**2).sum(axis=1) <= _SAME**2) & (tile[one] != tile[other])
        found.append(np.sort(np.column_stack([one[same], other[same]]), axis=1))
    return np.concatenate(found)


def _kept(depth: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Tell which rows are listed: those inside their tile, without doubles, and those that would be lost."""
    keep = depth >= 0
    lost = (depth < 0) & (depth > -_SAME)
    for i, j in pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]:
        if keep[i] and keep[j]:
            keep[j if depth[i] >= depth[j] else i] = False
        elif keep[i] or keep[j]:
            lost[[i, j]] = False
        elif lost[i] and lost[j]:
            lost[j if depth[i] >= depth[j] else i] = False
    paired = np.zeros(len(depth), dtype=bool)
    paired[pairs.ravel()] = True
    return keep | (lost & paired)


def _blends(
    tile: np.ndarray, blend: np.ndarray, pairs: np.ndarray, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Join the blends of paired rows, and number those of the kept rows in their order."""
    _, node = np.unique(np.column_stack([tile, blend]), axis=0, return_inverse=True)
    node = node.ravel()
    joined = _joined_nodes(int(node.max(initial=-1)) + 1, node[pairs])[node[rows]]
    _, first, number, count = np.unique(joined, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(np.argsort(first))
    return order[number] + 1, count[number]


def _joined_nodes(n: int, links: np.ndarray) -> np.ndarray:
    """Give each of n nodes the lowest number of those that links, shape (m, 2), join it with."""
    lowest = np.arange(n)
    while True:
        before = lowest.copy()
        least = np.minimum(lowest[links[:, 0]], lowest[links[:, 1]])
        np.minimum.at(lowest, links[:, 0], least)
        np.minimum.at(lowest, links[:, 1], least)
        lowest = lowest[lowest]
        if np.array_equal(lowest, before):
            return lowest
