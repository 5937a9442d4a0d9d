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
    """Rows of two tiles that are one source, shape (n, 2)."""
    from scipy.spatial import cKDTree

    if len(points) < 2:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = cKDTree(points).query_pairs(_SAME, output_type="ndarray").astype(np.int64)
    return pairs[tile[pairs[:, 0]] != tile[pairs[:, 1]]]


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
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    _, node = np.unique(np.column_stack([tile, blend]), axis=0, return_inverse=True)
    node = node.ravel()
    n = int(node.max(initial=-1)) + 1
    links = node[pairs]
    graph = coo_array((np.ones(len(pairs)), (links[:, 0], links[:, 1])), shape=(n, n))
    joined = connected_components(graph, directed=False)[1][node[rows]] if n else np.zeros(0, dtype=int)
    _, first, number, count = np.unique(joined, return_index=True, return_inverse=True, return_counts=True)
    order = np.argsort(np.argsort(first))
    return order[number] + 1, count[number]
