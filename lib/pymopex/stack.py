"""All values that frames have at each pixel of a tile of the mosaic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np
from numba.typed import List

from pymopex.geometry import Box


class Stack(NamedTuple):
    """Values of the frames pixel by pixel: those of pixel ``p`` are the entries ``first[p]`` to ``first[p + 1]``.

    Only covered pixels are held, so that the memory goes with the coverage and not with the number of frames.
    Within a pixel the entries come in the order of the frames.

    Parameters
    ----------
    ny, nx : int
        Size of the tile.
    first : int64 ndarray, shape (ny * nx + 1,)
        First entry of each pixel, row by row.
    layer : int32 ndarray, shape (n,)
        Which frame, in the order given to `build`.
    value : float32 ndarray, shape (n,)
        Interpolated value.
    coverage : float32 ndarray, shape (n,) or (0,)
        Coverage; empty if it was not given.
    sigma : float32 ndarray, shape (n,) or (0,)
        1-sigma uncertainty; empty if there is none.
    n_layers : int
        Number of frames.
    """

    ny: int
    nx: int
    first: np.ndarray
    layer: np.ndarray
    value: np.ndarray
    coverage: np.ndarray
    sigma: np.ndarray
    n_layers: int

    @property
    def shape(self) -> tuple[int, int]:
        """Array shape of the tile (ny, nx)."""
        return self.ny, self.nx

    @classmethod
    def build(
        cls,
        tile: Box,
        boxes: Sequence[Box],
        data: Sequence[np.ndarray],
        coverage: Sequence[np.ndarray] | None,
        sigma: Sequence[np.ndarray] | None,
    ) -> Stack:
        """Put the parts of frames that lie on a tile together.

        Parameters
        ----------
        tile : Box
            The tile.
        boxes : sequence of Box
            Place of each part; inside the tile.
        data : sequence of ndarray, each of the shape of its box
            Values, NaN = no data.
        coverage : sequence of ndarray, or None
            Coverages; without them, every value counts.
        sigma : sequence of ndarray, or None
            1-sigma uncertainties.

        Returns
        -------
        Stack
            Entries with finite value and, where it is given, coverage above 0.

        Raises
        ------
        ValueError
            A part is not inside the tile, or not of the shape of its box.
        """
        parts = [box.within(tile) for box in boxes]
        for kind, images in (("data", data), ("coverage", coverage or ()), ("sigma", sigma or ())):
            for box, array in zip(boxes, images, strict=False):
                if array.shape != box.shape:
                    raise ValueError(f"{kind} of shape {array.shape} for a box of shape {box.shape}")
        if not parts:
            first, nothing = np.zeros(tile.ny * tile.nx + 1, np.int64), np.empty(0, np.float32)
            return cls(tile.ny, tile.nx, first, np.empty(0, np.int32), nothing, nothing, nothing, 0)
        images = [_images(kind) for kind in (data, coverage or _NONE, sigma or _NONE)]
        corners = np.array([(box.y0 - tile.y0, box.x0 - tile.x0) for box in boxes], np.int64)
        first = _count(tile.ny, tile.nx, corners, images[0], images[1])
        n = int(first[-1])
        result = cls(
            *tile.shape,
            first,
            np.empty(n, np.int32),
            np.empty(n, "f4"),
            np.empty(n if coverage is not None else 0, "f4"),
            np.empty(n if sigma is not None else 0, "f4"),
            len(parts),
        )
        _fill(result, corners, *images)
        return result


_NONE = (np.zeros((0, 0), np.float32),)


def _images(images: Sequence[np.ndarray]) -> List:
    return List([np.ascontiguousarray(image, dtype=np.float32) for image in images])


@numba.njit(cache=True, nogil=True)
def _count(ny: int, nx: int, corners: np.ndarray, data: List, coverage: List) -> np.ndarray:
    """First entry of each pixel."""
    first = np.zeros(ny * nx + 1, np.int64)
    with_coverage = coverage[0].size > 0
    for number in range(len(data)):
        values, covered = data[number], coverage[number if with_coverage else 0]
        for j in range(values.shape[0]):
            row = (corners[number, 0] + j) * nx + corners[number, 1] + 1
            for i in range(values.shape[1]):
                if np.isfinite(values[j, i]) and (not with_coverage or covered[j, i] > 0.0):
                    first[row + i] += 1
    for p in range(ny * nx):
        first[p + 1] += first[p]
    return first


@numba.njit(cache=True, nogil=True)
def _fill(stack: Stack, corners: np.ndarray, data: List, coverage: List, sigma: List) -> None:
    """Fill the entries row by row of the tile, so that those of a row stay in the fast cache."""
    with_sigma, with_coverage = stack.sigma.size > 0, stack.coverage.size > 0
    layer, value, coverages, sigmas = stack.layer, stack.value, stack.coverage, stack.sigma
    place = np.empty(stack.nx, np.int64)
    for row in range(stack.ny):
        place[:] = stack.first[row * stack.nx : (row + 1) * stack.nx]
        for number in range(len(data)):
            j, column = row - corners[number, 0], corners[number, 1]
            if j < 0 or j >= data[number].shape[0]:
                continue
            values = data[number][j]
            covered = coverage[number][j] if with_coverage else values
            errors = sigma[number][j] if with_sigma else values
            for i in range(values.size):
                if np.isfinite(values[i]) and (not with_coverage or covered[i] > 0.0):
                    at = place[column + i]
                    place[column + i] = at + 1
                    layer[at] = number
                    value[at] = values[i]
                    if with_coverage:
                        coverages[at] = covered[i]
                    if with_sigma:
                        sigmas[at] = errors[i]


@numba.njit(cache=True, nogil=True)
def column_counts(stack: Stack, y: int, x: int, box_y: int, counts: np.ndarray) -> int:
    """Count the values of columns of the boxes, from x on; gives the largest number."""
    longest = 0
    for i in range(counts.size):
        counts[i] = 0
        if 0 <= x + i < stack.nx:
            for row in range(max(0, y - box_y // 2), min(stack.ny, y - box_y // 2 + box_y)):
                p = row * stack.nx + x + i
                counts[i] += stack.first[p + 1] - stack.first[p]
        longest = max(longest, counts[i])
    return longest


@numba.njit(cache=True, nogil=True)
def fill_columns(stack: Stack, y: int, x: int, box_y: int, longest: int, columns: np.ndarray) -> None:
    """Put the values of each column one below the other, infinite ones behind them."""
    for i in range(columns.shape[1]):
        n = 0
        if 0 <= x + i < stack.nx:
            for row in range(max(0, y - box_y // 2), min(stack.ny, y - box_y // 2 + box_y)):
                p = row * stack.nx + x + i
                for k in range(stack.first[p], stack.first[p + 1]):
                    columns[n, i] = stack.value[k]
                    n += 1
        for k in range(n, longest):
            columns[k, i] = np.inf
