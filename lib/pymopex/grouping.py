"""Which sources are fitted together, and which groups are worked on by one job."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree


@dataclass(frozen=True)
class Groups:
    """Group of each source (numbered from 0 in the order of their first members), and how many were too large."""

    number: np.ndarray
    n_split: int

    @property
    def members(self) -> list[np.ndarray]:
        """Indices of the members of each group."""
        order = np.argsort(self.number, kind="stable")
        edges = [0, *(np.flatnonzero(np.diff(self.number[order])) + 1).tolist(), len(order)]
        return [order[a:b] for a, b in pairwise(edges)] if len(order) else []


def group_by_distance(x: np.ndarray, y: np.ndarray, link: float, max_size: int) -> Groups:
    """Group sources linked by chains of separations below a length.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions, in any unit.
    link : float
        Largest separation of a link, in the unit of the positions.
    max_size : int
        Larger groups are cut in two along their longer side, again and again.

    Returns
    -------
    Groups
        The groups.
    """
    if len(x) == 0:
        return Groups(np.zeros(0, int), 0)
    pairs = cKDTree(np.column_stack([x, y])).query_pairs(link, output_type="ndarray")
    graph = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(x), len(x)))
    _, labels = connected_components(graph, directed=False)
    return _limited(x, y, labels, max_size)


def group_by_label(x: np.ndarray, y: np.ndarray, label: np.ndarray, max_size: int) -> Groups:
    """Group sources that share a label, such as the number of their blend; see `group_by_distance`."""
    return _limited(x, y, np.unique(label, return_inverse=True)[1], max_size)


def _limited(x: np.ndarray, y: np.ndarray, labels: np.ndarray, max_size: int) -> Groups:
    points = np.column_stack([x, y])
    parts: list[np.ndarray] = []
    n_split = 0
    for members in Groups(labels, 0).members:
        pieces = _halved(points, members, max_size)
        n_split += len(pieces) > 1
        parts += pieces
    number = np.empty(len(x), dtype=int)
    for group, members in enumerate(sorted(parts, key=lambda part: int(part.min()))):
        number[members] = group
    return Groups(number, n_split)


def _halved(points: np.ndarray, members: np.ndarray, max_size: int) -> list[np.ndarray]:
    if len(members) <= max_size:
        return [members]
    axis = int(np.argmax(np.ptp(points[members], axis=0)))
    order = members[np.argsort(points[members, axis], kind="stable")]
    half = len(order) // 2
    return _halved(points, order[:half], max_size) + _halved(points, order[half:], max_size)


def blocks(x: np.ndarray, y: np.ndarray, number: np.ndarray, count: int) -> list[np.ndarray]:
    """Cut the sources into compact blocks of about equal size that leave groups whole.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions.
    number : ndarray of int, shape (n,)
        Group of each source.
    count : int
        Wanted number of blocks.

    Returns
    -------
    list of ndarray of int
        Indices of the sources of each block, in ascending order; no block is empty.
    """
    if not len(number):
        return []
    groups = Groups(number, 0).members
    _, label, size = np.unique(number, return_inverse=True, return_counts=True)
    centre = np.column_stack([np.bincount(label, v) / size for v in (x, y)])
    largest = max(1, -(-len(groups) // max(1, count)))
    return [
        np.sort(np.concatenate([groups[g] for g in part]))
        for part in _halved(centre, np.arange(len(groups)), largest)
    ]
