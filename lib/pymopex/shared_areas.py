"""The areas that the pixels of a mosaic share with those of a frame, computed once and used many times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pymopex.geometry import FrameMap
from pymopex.overlap_area import (
    COVERAGE_FLOOR,
    Workspace,
    cell_areas,
    jit,
    load_row,
    next_row,
    on_image,
    places,
    shifts,
    workspace,
)
from pymopex.pixel_map import MappedGrid

_HALF = 0.5  # part of a frame pixel that must be known


class _Cells(NamedTuple):
    """Areas of quadrilaterals in the cells of a frame with a border, in which cells off the frame need no test.

    Parameters
    ----------
    border : int
        Width of the border.
    shifts : int64 ndarray, shape (n,)
        How far each cell of a quadrilateral is behind its first one, counted row by row on the frame with its border.
    ends : int32 ndarray, shape (2, my)
        First quadrilateral of each row on the frame, and the first after the last one.
    at : int32 ndarray, shape (my, mx)
        First cell of each, counted row by row on the frame with its border.
    areas : float32 or float64 ndarray, shape (my, n, mx)
        Area in each cell. [frame pixel]
    """

    border: int
    shifts: np.ndarray
    ends: np.ndarray
    at: np.ndarray
    areas: np.ndarray


@dataclass(frozen=True, eq=False)
class SharedAreas:
    """Areas of the mosaic pixels of a box on the pixels of a frame.

    Parameters
    ----------
    shape : (ny, nx)
        Array shape of the frame.
    cells : _Cells
        The areas.
    """

    shape: tuple[int, int]
    cells: _Cells

    def _inner(self, bordered: np.ndarray) -> np.ndarray:
        ny, nx = self.shape
        b = self.cells.border
        return bordered.reshape(ny + 2 * b, nx + 2 * b, *bordered.shape[1:])[b : b + ny, b : b + nx]

    def _bordered(self, *planes: int) -> np.ndarray:
        ny, nx = (side + 2 * self.cells.border for side in self.shape)
        return np.zeros((ny * nx, *planes))

    def to_frame(self, weights: np.ndarray) -> np.ndarray:
        """Sum weights of mosaic pixels times shared area: float32, of the shape of the frame."""
        out, where = self._bordered(), np.flatnonzero(weights)  # outliers are few
        _spread(self.cells, where, np.asarray(weights).ravel()[where].astype(float), out)
        return self._inner(out).astype(np.float32)

    def to_mosaic(self, image: np.ndarray) -> np.ndarray:
        """Average an image of the frame over mosaic pixels: float32, NaN where no finite pixel is."""
        planes, known = self._bordered(2), np.isfinite(image)
        inner = self._inner(planes)
        inner[..., 0], inner[..., 1] = np.where(known, image, 0.0), known
        return _gather(self.cells, planes)

    def blot(self, image: np.ndarray) -> np.ndarray:
        """Average an image of the mosaic over frame pixels: float32, NaN where less than half of one is known."""
        planes = self._bordered(2)
        _blot(self.cells, np.ascontiguousarray(image, dtype=np.float32), planes)
        value, known = np.moveaxis(self._inner(planes).astype(np.float32), -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(known > _HALF, value / known, np.float32(np.nan))


@lru_cache(maxsize=1)
def shared_areas(frame_map: FrameMap) -> SharedAreas:
    """Compute the areas of a placed frame; those of the last one are kept."""
    corners, span = frame_map.pixels_on_frame()
    n = frame_map.box.nx
    work = workspace(span, n, n + 1)
    return SharedAreas(frame_map.shape, _areas(corners.scaled(1.0, 0.5, 0.5), work, frame_map.shape))


@jit
def _areas(corners: MappedGrid, work: Workspace, shape: tuple[int, int]) -> _Cells:
    ny, nx = corners.ty.shape[1] - 1, corners.tx.shape[1] - 1
    width, height, first, row = work.width, work.height, work.first, work.areas
    border = max(width, height)
    ends, at = np.empty((2, ny), np.int32), np.zeros((ny, nx), np.int32)
    areas = np.zeros((ny, width * height, nx), row.dtype)
    for j in range(ny):
        next_row(corners, j, work)
        start, stop = on_image(work, shape)
        n = stop - start
        load_row(work, 1, start, n)
        cell_areas(work, n)
        ends[0, j], ends[1, j] = start, stop
        places(first, (width, height), shape, border, at[j, start:stop])
        areas[j, :, start:stop] = row[:, :n]
    return _Cells(border, shifts(work, shape[1] + 2 * border), ends, at, areas)


@jit
def _spread(cells: _Cells, where: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    at, areas, shifts = cells.at, cells.areas, cells.shifts
    for k in range(where.size):
        j, i = where[k] // at.shape[1], where[k] % at.shape[1]
        for c in range(shifts.size):
            out[at[j, i] + shifts[c]] += weights[k] * areas[j, c, i]  # zero for what is not on the frame


@jit
def _blot(cells: _Cells, image: np.ndarray, out: np.ndarray) -> None:
    """Sum area times value, and area, of the pixels that are known."""
    ends, shifts = cells.ends, cells.shifts
    for j in range(cells.at.shape[0]):
        at, areas, row = cells.at[j], cells.areas[j], image[j]
        for i in range(ends[0, j], ends[1, j]):
            value = np.float64(row[i])
            if np.isfinite(value):
                for c in range(shifts.size):
                    area = np.float64(areas[c, i])
                    place = np.uint64(at[i] + shifts[c])  # unsigned: no test for negative indices
                    out[place, 0] += value * area
                    out[place, 1] += area


@jit
def _gather(cells: _Cells, planes: np.ndarray) -> np.ndarray:
    """Average over the known pixels of the frame: planes of value and known."""
    ends, shifts = cells.ends, cells.shifts
    ny, nx = cells.at.shape
    out = np.full((ny, nx), np.nan, np.float32)
    for j in range(ny):
        at, areas, row = cells.at[j], cells.areas[j], out[j]
        for i in range(ends[0, j], ends[1, j]):
            value = weight = total = 0.0
            for c in range(shifts.size):
                area = np.float64(areas[c, i])
                place = np.uint64(at[i] + shifts[c])
                value += area * planes[place, 0]
                weight += area * planes[place, 1]
                total += area
            if weight > COVERAGE_FLOOR * total:
                row[i] = value / weight
    return out
