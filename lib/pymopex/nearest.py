"""Values for the empty places of a mesh, from the nearest others."""

from __future__ import annotations

import numba
import numpy as np


def filled_from_nearest(mesh: np.ndarray, count: int) -> np.ndarray:
    """Fill missing values with the mean of the nearest others, weighted with the inverse distance.

    Parameters
    ----------
    mesh : ndarray of float64, shape (ny, nx)
        Values; NaN where one is missing, but not all.
    count : int
        How many others count, at least one; those that are as near as the last of them count too.

    Returns
    -------
    ndarray of float64, shape (ny, nx)
        The mesh itself if nothing is missing, else a filled copy.
    """
    if not np.isnan(mesh).any():
        return mesh
    filled = mesh.copy()
    _fill(mesh, np.empty(count, np.int64), filled)
    return filled


@numba.njit(cache=True, nogil=True)
def _neighbours_in_row(mesh):
    """Column of the next value at or left of each place (-1: none), and at or right of it (nx: none)."""
    ny, nx = mesh.shape
    left, right = np.empty((ny, nx), np.int64), np.empty((ny, nx), np.int64)
    for y in range(ny):
        last = -1
        for x in range(nx):
            if not np.isnan(mesh[y, x]):
                last = x
            left[y, x] = last
        last = nx
        for x in range(nx - 1, -1, -1):
            if not np.isnan(mesh[y, x]):
                last = x
            right[y, x] = last
    return left, right


@numba.njit(cache=True, nogil=True)
def _fill(mesh, nearest, filled):
    """Fill what is missing; `nearest` is work space for the squares of the shortest distances."""
    ny, nx = mesh.shape
    left, right = _neighbours_in_row(mesh)
    for y in range(ny):
        for x in range(nx):
            if not np.isnan(mesh[y, x]):
                continue
            nearest[:] = ny * ny + nx * nx
            for k in range(max(y, ny - 1 - y) + 1):
                if k * k > nearest[-1]:
                    break
                if y + k < ny:
                    _look_along(left[y + k], right[y + k], x, k * k, nearest)
                if 0 < k <= y:
                    _look_along(left[y - k], right[y - k], x, k * k, nearest)
            filled[y, x] = _weighted(mesh, left, right, y, x, nearest[-1])


@numba.njit(cache=True, nogil=True)
def _look_along(left, right, x, height, nearest):
    """Put the distances of the values of a row into the sorted list of the shortest ones."""
    column = left[x]
    while column >= 0 and height + (column - x) ** 2 < nearest[-1]:
        _insert(nearest, height + (column - x) ** 2)
        column = left[column - 1] if column > 0 else -1
    column = right[x + 1] if x + 1 < len(right) else len(right)
    while column < len(right) and height + (column - x) ** 2 < nearest[-1]:
        _insert(nearest, height + (column - x) ** 2)
        column = right[column + 1] if column + 1 < len(right) else len(right)


@numba.njit(cache=True, nogil=True)
def _insert(nearest, square):
    k = len(nearest) - 1
    while k > 0 and nearest[k - 1] > square:
        nearest[k] = nearest[k - 1]
        k -= 1
    nearest[k] = square


@numba.njit(cache=True, nogil=True)
def _weighted(mesh, left, right, y, x, reach):
    """Mean of the values no farther than a distance, whose square is given, weighted with the inverse distance."""
    total = weights = 0.0
    far = int(np.sqrt(reach)) + 1
    for row in range(max(0, y - far), min(mesh.shape[0], y + far + 1)):
        height = (row - y) ** 2
        column = right[row, max(0, x - far)]
        while column < mesh.shape[1] and column <= x + far:
            square = height + (column - x) ** 2
            if square <= reach:
                weight = 1 / np.sqrt(square)
                total += weight * mesh[row, column]
                weights += weight
            column = right[row, column + 1] if column + 1 < mesh.shape[1] else mesh.shape[1]
    return total / weights
