"""All values that frames have at each pixel of a tile of the mosaic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from pymopex.geometry import Box

Images = np.ndarray | Sequence[np.ndarray]


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
        data: Images,
        coverage: Images | None,
        sigma: Images | None,
    ) -> Stack:
        """Put the parts of frames that lie on a tile together.

        Parameters
        ----------
        tile : Box
            The tile.
        boxes : sequence of Box
            Place of each part; inside the tile.
        data : float32 ndarray, shape (n,), or sequence of ndarray
            Values, NaN = no data: the rows of all parts one behind the other, or an image of the shape of each box.
        coverage : such, or None
            Coverages; without them, every value counts.
        sigma : such, or None
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
        place, start = places(tile, boxes)
        lines = [in_line(kind, boxes) for kind in (data, coverage, sigma)]
        first = _count(tile.ny, tile.nx, place, start, lines[0], lines[1])
        n = int(first[-1])
        result = cls(
            *tile.shape,
            first,
            np.empty(n, np.int32),
            np.empty(n, "f4"),
            np.empty(n if coverage is not None else 0, "f4"),
            np.empty(n if sigma is not None else 0, "f4"),
            len(boxes),
        )
        _fill(result, place, start, *lines)
        return result


def places(tile: Box, boxes: Sequence[Box]) -> tuple[np.ndarray, np.ndarray]:
    """Place the parts of frames on a tile, for images `in_line`.

    Returns
    -------
    place : int64 ndarray, shape (n, 4)
        First row and column of each part on the tile, and its rows and columns.
    start : int64 ndarray, shape (n,)
        Its first entry in a line.

    Raises
    ------
    ValueError
        A part is not inside the tile.
    """
    for box in boxes:
        box.within(tile)
    rows = [(box.y0 - tile.y0, box.x0 - tile.x0, box.ny, box.nx) for box in boxes]
    place = np.array(rows, np.int64).reshape(-1, 4)
    sizes = place[:, 2] * place[:, 3]
    return place, np.cumsum(sizes) - sizes


def in_line(images: Images | None, boxes: Sequence[Box]) -> np.ndarray:
    """Put the rows of images on boxes one behind the other, if they are not so already: float32, empty for None.

    Raises
    ------
    ValueError
        An image is not of the shape of its box, or a line not as long as the boxes have pixels.
    """
    if images is None:
        return np.empty(0, np.float32)
    if isinstance(images, np.ndarray):
        if images.shape != (size := sum(box.nx * box.ny for box in boxes),):
            raise ValueError(f"values of shape {images.shape} for boxes of {size} pixels")
        return images
    for image, box in zip(images, boxes, strict=True):
        if image.shape != box.shape:
            raise ValueError(f"an image of shape {image.shape} for a box of shape {box.shape}")
    rows = [np.asarray(image, np.float32).ravel() for image in images]
    return np.concatenate([np.empty(0, np.float32), *rows])


@numba.njit(cache=True, nogil=True)
def _count(
    ny: int, nx: int, place: np.ndarray, start: np.ndarray, data: np.ndarray, coverage: np.ndarray
) -> np.ndarray:
    """First entry of each pixel."""
    first = np.zeros(ny * nx + 1, np.int64)
    with_coverage = coverage.size > 0
    for number in range(start.size):
        y0, x0, height, width = place[number]
        for j in range(height):
            row, at = (y0 + j) * nx + x0 + 1, start[number] + j * width
            for i in range(width):
                if np.isfinite(data[at + i]) and (not with_coverage or coverage[at + i] > 0.0):
                    first[row + i] += 1
    for p in range(ny * nx):
        first[p + 1] += first[p]
    return first


@numba.njit(cache=True, nogil=True)
def _fill(
    stack: Stack,
    place: np.ndarray,
    start: np.ndarray,
    data: np.ndarray,
    coverage: np.ndarray,
    sigma: np.ndarray,
) -> None:
    """Fill the entries row by row of the tile, so that those of a row stay in the fast cache."""
    with_sigma, with_coverage = stack.sigma.size > 0, stack.coverage.size > 0
    layer, value, coverages, sigmas = stack.layer, stack.value, stack.coverage, stack.sigma
    free = np.empty(stack.nx, np.int64)
    for row in range(stack.ny):
        free[:] = stack.first[row * stack.nx : (row + 1) * stack.nx]
        for number in range(start.size):
            y0, x0, height, width = place[number]
            if not 0 <= row - y0 < height:
                continue
            begin = start[number] + (row - y0) * width
            for i in range(width):
                at = begin + i
                if np.isfinite(data[at]) and (not with_coverage or coverage[at] > 0.0):
                    entry = free[x0 + i]
                    free[x0 + i] = entry + 1
                    layer[entry] = number
                    value[entry] = data[at]
                    if with_coverage:
                        coverages[entry] = coverage[at]
                    if with_sigma:
                        sigmas[entry] = sigma[at]


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
