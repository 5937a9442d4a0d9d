"""The areas that the pixels of a mosaic share with those of a frame, computed once and used many times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from pymopex.cell_areas import (
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
from pymopex.geometry import FrameMap
from pymopex.lanes import LANES, load, same, store, times_plus
from pymopex.overlap_area import COVERAGE_FLOOR
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

    def _bordered(self, planes: int) -> np.ndarray:
        ny, nx = (side + 2 * self.cells.border for side in self.shape)
        return np.zeros((ny, nx, planes), np.float32)

    def to_frame(self, weights: np.ndarray) -> np.ndarray:
        """Sum weights of mosaic pixels times shared area: float32, of the shape of the frame."""
        out, where = self._bordered(1), np.flatnonzero(weights)  # outliers are few
        _spread(self.cells, where, np.asarray(weights).ravel()[where].astype(float), out.ravel())
        b, (ny, nx) = self.cells.border, self.shape
        return out[b : b + ny, b : b + nx, 0]

    def blot(self, *images: np.ndarray) -> list[np.ndarray]:
        """Average images of the mosaic, four at most, over frame pixels: float32, NaN where less than half is known."""
        if len(images) > LANES // 2:
            raise ValueError(f"{len(images)} images at once; {LANES // 2} are possible")
        planes = self._bordered(LANES)
        _blot(self.cells, tuple(np.ascontiguousarray(image, np.float32) for image in images), planes.ravel())
        return [_means(planes, 2 * n, self.cells.border, self.shape) for n in range(len(images))]

    def there_and_back(self, image: np.ndarray) -> np.ndarray:
        """Average an image of the frame over mosaic pixels, and these over frame pixels again, as `blot` does."""
        planes, back = self._bordered(2), self._bordered(2)
        _set_inner(planes, np.ascontiguousarray(image, np.float32), self.cells.border)
        _there_and_back(self.cells, planes.reshape(-1, 2), back.reshape(-1, 2))
        return _means(back, 0, self.cells.border, self.shape)


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
    ends, at = np.empty((2, ny), np.int32), np.empty((ny, nx), np.int32)
    areas = np.empty((ny, width * height, nx), row.dtype)
    lines, span = work.lines, (width, height)
    for j in range(ny):
        sides = next_row(corners, j, lines)
        start, stop = on_image(sides, span, shape)
        n = stop - start
        load_row(work, sides, 1, start, n)
        cell_areas(work, n)
        ends[0, j], ends[1, j] = start, stop
        places(first, span, shape, border, at[j, start:stop])
        areas[j, :, start:stop] = row[:, :n]
        for outside in (slice(0, start), slice(stop, nx)):
            at[j, outside], areas[j, :, outside] = 0, 0.0
    return _Cells(border, shifts(work, shape[1] + 2 * border), ends, at, areas)


@jit
def _spread(cells: _Cells, where: np.ndarray, weights: np.ndarray, out: np.ndarray) -> None:
    at, areas, shifts = cells.at, cells.areas, cells.shifts
    for k in range(where.size):
        j, i = where[k] // at.shape[1], where[k] % at.shape[1]
        for c in range(shifts.size):
            out[at[j, i] + shifts[c]] += weights[k] * areas[j, c, i]  # zero for what is not on the frame


@jit
def _set_inner(planes: np.ndarray, image: np.ndarray, border: int) -> None:
    """Put the values of an image, 0 for unknown ones, and whether they are known, side by side within a border."""
    for j in range(image.shape[0]):
        row, out = image[j], planes[border + j, border:]
        for i in range(row.size):
            known = np.isfinite(row[i])
            out[i, 0] = row[i] if known else 0.0
            out[i, 1] = 1.0 if known else 0.0


@jit
def _means(planes: np.ndarray, first: int, border: int, shape: tuple[int, int]) -> np.ndarray:
    """Divide a plane of sums by the next one, of the known areas; NaN where these are half a pixel or less."""
    out = np.empty(shape, np.float32)
    for j in range(shape[0]):
        row, sums = out[j], planes[border + j, border:]
        for i in range(row.size):
            known = sums[i, first + 1]
            row[i] = sums[i, first] / known if known > _HALF else np.nan
    return out


@jit
def _blot(cells: _Cells, images: tuple[np.ndarray, ...], out: np.ndarray) -> None:
    """Sum area times value, and area, of the known pixels of each image: eight numbers of a frame pixel at once."""
    ends, shifts = cells.ends, cells.shifts
    pixels = np.zeros(LANES * cells.at.shape[1], np.float32)
    for j in range(cells.at.shape[0]):
        start, stop = ends[0, j], ends[1, j]
        at = cells.at[j, start:stop]
        for number in range(len(images)):
            _side_by_side(images[number][j, start:stop], 2 * number, pixels)
        for c in range(shifts.size):
            areas, shift = cells.areas[j, c, start:stop], shifts[c]
            for i in range(at.size):
                place = LANES * (np.int64(at[i]) + shift)
                area = same(np.float32(areas[i]))
                store(out, place, times_plus(area, load(pixels, LANES * i), load(out, place)))


@jit
def _side_by_side(row: np.ndarray, first: int, pixels: np.ndarray) -> None:
    """Put the values of a row, 0 for unknown ones, and whether they are known, into two numbers of each eight."""
    for i in range(row.size):
        known = np.isfinite(row[i])
        pixels[LANES * i + first] = row[i] if known else 0.0
        pixels[LANES * i + first + 1] = 1.0 if known else 0.0


@jit
def _there_and_back(cells: _Cells, planes: np.ndarray, back: np.ndarray) -> None:
    """Average over the known pixels of the frame, planes of value and known, and sum what that gives times area."""
    ends, shifts = cells.ends, cells.shifts
    for j in range(cells.at.shape[0]):
        at, areas = cells.at[j], cells.areas[j]
        for i in range(ends[0, j], ends[1, j]):
            value = weight = total = np.float32(0.0)
            for c in range(shifts.size):
                area = np.float32(areas[c, i])
                place = np.uint64(at[i] + shifts[c])  # unsigned: no test for negative indices
                value += area * planes[place, 0]
                weight += area * planes[place, 1]
                total += area
            if weight > np.float32(COVERAGE_FLOOR) * total:
                mean = value / weight
                for c in range(shifts.size):
                    area = np.float32(areas[c, i])
                    place = np.uint64(at[i] + shifts[c])
                    back[place, 0] += area * mean
                    back[place, 1] += area
