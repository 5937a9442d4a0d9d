"""The areas that the pixels of a mosaic share with those of a frame, computed once and used many times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from pymopex.geometry import FrameMap
from pymopex.overlap_area import (
    COVERAGE_FLOOR,
    block_areas,
    jit,
    workspace,
)

_HALF = 0.5  # part of a frame pixel that must be known


@dataclass(frozen=True, eq=False)
class SharedAreas:
    """Areas of the mosaic pixels of a box on the pixels of a frame, those of a mosaic pixel one after another.

    Parameters
    ----------
    shape : (ny, nx)
        Array shape of the frame.
    box_shape : (my, mx)
        Array shape of the box.
    first : int64 ndarray, shape (my * mx + 1,)
        First entry of each mosaic pixel, row by row.
    cell : int32 ndarray, shape (n,)
        Pixel of the frame, counted row by row.
    area : ndarray, shape (n,)
        Area shared [frame pixel].
    total : ndarray, shape (my * mx,)
        Area of each mosaic pixel, with what lies off the frame [frame pixel].
    """

    shape: tuple[int, int]
    box_shape: tuple[int, int]
    first: np.ndarray
    cell: np.ndarray
    area: np.ndarray
    total: np.ndarray

    def to_frame(self, weights: np.ndarray) -> np.ndarray:
        """Sum weights of mosaic pixels times shared area: float32, of the shape of the frame."""
        flat = np.ascontiguousarray(weights, dtype=float).ravel()
        return _spread(self.first, self.cell, self.area, flat, self.shape).astype(np.float32)

    def to_mosaic(self, image: np.ndarray) -> np.ndarray:
        """Average an image of the frame over mosaic pixels: float32, NaN where no finite pixel is."""
        flat = np.ascontiguousarray(image, dtype=np.float32).ravel()
        return _gather(self.first, self.cell, self.area, self.total, flat).reshape(self.box_shape)

    def blot(self, image: np.ndarray) -> np.ndarray:
        """Average an image of the mosaic over frame pixels: float32, NaN where less than half of one is known."""
        flat = np.ascontiguousarray(image, dtype=np.float32).ravel()
        return _blot(self.first, self.cell, self.area, flat, self.shape)


@lru_cache(maxsize=1)
def shared_areas(frame_map: FrameMap) -> SharedAreas:
    """Compute the areas of a placed frame; those of the last one are kept."""
    box = frame_map.box
    X, Y = frame_map.to_frame.grid(box.x0 - 0.5 + np.arange(box.nx + 1), box.y0 - 0.5 + np.arange(box.ny + 1))
    return SharedAreas(frame_map.shape, box.shape, *_areas(X, Y, frame_map.shape))


@jit
def _areas(
    X: np.ndarray, Y: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    ny, nx = X.shape[0] - 1, X.shape[1] - 1
    first, total = np.zeros(ny * nx + 1, np.int64), np.zeros(ny * nx)
    room = 4 * ny * nx + 1024
    cell, area = np.empty(room, np.int32), np.empty(room)
    width, height, q, areas, corner = workspace(X, Y, 1)
    block = corner.shape[1]
    n = 0
    for j in range(ny):
        for i in range(0, nx, block):
            count = min(block, nx - i)
            if not block_areas(X, Y, (j, i, 1, count), (width, height), shape, q, areas, corner):
                first[j * nx + i + 1 : j * nx + i + count + 1] = n
                continue
            if n + count * width * height > room:
                room = 2 * room + count * width * height
                more, wider = np.empty(room, np.int32), np.empty(room)
                more[:n], wider[:n] = cell[:n], area[:n]
                cell, area = more, wider
            for k in range(count):
                i0, j0 = corner[0, k], corner[1, k]
                whole = 0.0
                for b in range(height):
                    for a in range(width):
                        shared = areas[b * width + a, k]
                        whole += shared
                        x, y = i0 + a, j0 + b
                        if shared > 0.0 and x >= 0 and x < shape[1] and y >= 0 and y < shape[0]:
                            cell[n], area[n] = y * shape[1] + x, shared
                            n += 1
                total[j * nx + i + k] = whole
                first[j * nx + i + k + 1] = n
    return first, cell[:n].copy(), area[:n].copy(), total


@jit
def _spread(
    first: np.ndarray, cell: np.ndarray, area: np.ndarray, weights: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    out = np.zeros(shape[0] * shape[1])
    for p in range(weights.size):
        weight = weights[p]
        if weight != 0.0:
            for k in range(first[p], first[p + 1]):
                out[cell[k]] += weight * area[k]
    return out.reshape(shape)


@jit
def _blot(
    first: np.ndarray, cell: np.ndarray, area: np.ndarray, image: np.ndarray, shape: tuple[int, int]
) -> np.ndarray:
    value, known = np.zeros(shape[0] * shape[1]), np.zeros(shape[0] * shape[1])
    for p in range(image.size):
        at = np.float64(image[p])
        if np.isfinite(at):
            for k in range(first[p], first[p + 1]):
                value[cell[k]] += at * area[k]
                known[cell[k]] += area[k]
    out = np.full(shape[0] * shape[1], np.nan, np.float32)
    for p in range(out.size):
        part = np.float32(known[p])
        if part > _HALF:
            out[p] = np.float32(value[p]) / part
    return out.reshape(shape)


@jit
def _gather(
    first: np.ndarray, cell: np.ndarray, area: np.ndarray, total: np.ndarray, image: np.ndarray
) -> np.ndarray:
    out = np.full(total.size, np.nan, np.float32)
    for p in range(total.size):
        value = weight = 0.0
        for k in range(first[p], first[p + 1]):
            at = np.float64(image[cell[k]])
            if np.isfinite(at):
                value += area[k] * at
                weight += area[k]
        if weight > COVERAGE_FLOOR * total[p]:
            out[p] = value / weight
    return out
