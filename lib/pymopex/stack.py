"""All values that frames have at each pixel of a tile of the mosaic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

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
    value, coverage : float32 ndarray, shape (n,)
        Interpolated value and coverage.
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
        coverage: Sequence[np.ndarray],
        sigma: Sequence[np.ndarray] | None,
    ) -> Stack:
        """Put the parts of frames that lie on a tile together.

        Parameters
        ----------
        tile : Box
            The tile.
        boxes : sequence of Box
            Place of each part; inside the tile.
        data, coverage : sequence of ndarray, each of the shape of its box
            Values, NaN = no data, and coverages.
        sigma : sequence of ndarray, or None
            1-sigma uncertainties.

        Returns
        -------
        Stack
            Entries with finite value and coverage above 0.

        Raises
        ------
        ValueError
            A part is not inside the tile, or not of the shape of its box.
        """
        parts = [box.within(tile) for box in boxes]
        for kind, images in (("data", data), ("coverage", coverage), ("sigma", sigma or ())):
            for box, array in zip(boxes, images, strict=False):
                if array.shape != box.shape:
                    raise ValueError(f"{kind} of shape {array.shape} for a box of shape {box.shape}")
        counts = np.zeros(tile.shape, np.int64)
        for part, values, covered in zip(parts, data, coverage, strict=True):
            counts[part] += np.isfinite(values) & (covered > 0)
        first = np.zeros(counts.size + 1, np.int64)
        np.cumsum(counts.ravel(), out=first[1:])
        n = int(first[-1])
        errors = np.zeros(n if sigma is not None else 0, np.float32)
        result = cls(
            *tile.shape,
            first,
            np.empty(n, np.int32),
            np.empty(n, "f4"),
            np.empty(n, "f4"),
            errors,
            len(parts),
        )
        place = first[:-1].copy()
        nothing = np.zeros((0, 0), np.float32)
        for number, box in enumerate(boxes):
            error = sigma[number] if sigma is not None else nothing
            corner = box.y0 - tile.y0, box.x0 - tile.x0
            arrays = (
                np.ascontiguousarray(a, dtype=np.float32) for a in (data[number], coverage[number], error)
            )
            _fill(result, place, number, corner, *arrays)
        return result


@numba.njit(cache=True, nogil=True)
def _fill(
    stack: Stack,
    place: np.ndarray,
    number: int,
    corner: tuple[int, int],
    data: np.ndarray,
    coverage: np.ndarray,
    sigma: np.ndarray,
) -> None:
    for j in range(data.shape[0]):
        row = (corner[0] + j) * stack.nx + corner[1]
        for i in range(data.shape[1]):
            if np.isfinite(data[j, i]) and coverage[j, i] > 0.0:
                at = place[row + i]
                place[row + i] = at + 1
                stack.layer[at] = number
                stack.value[at] = data[j, i]
                stack.coverage[at] = coverage[j, i]
                if sigma.size:
                    stack.sigma[at] = sigma[j, i]
