"""Exact areas that quadrilaterals share with the unit cells of a pixel grid.

Coordinates are 0-based pixels: cell (i, j) covers i-0.5..i+0.5, j-0.5..j+0.5. The quadrilaterals come row by row,
with arrays of their four corners: lower left, lower right, upper right, upper left.

The area of a polygon left of x = c and below y = r is the line integral of min(x, c) d min(y, r) round it
(Green's theorem). It has a closed form for each edge without a branch, so a row of quadrilaterals is worked
on at once; differences of these areas between neighbouring lines of the grid are the areas in the cells.

Corners are taken relative to the first cell of their quadrilateral in double precision. Areas in few cells are then
computed in single precision, which is twice as fast; its errors, 1e-7 of a cell, are far below those of the
coordinate maps.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numba
import numpy as np

from pymopex.pixel_map import MappedGrid, map_row

_ROUNDING = {np.dtype("f4"): 1.2e-7, np.dtype("f8"): 1e-10}  # of an area, in cells, for each cell of the span
_ZERO: Any = np.float32(0.0)  # these keep the precision of what they meet
_HALF: Any = np.float32(0.5)
_ONE: Any = np.float32(1.0)
_TINY: Any = np.float32(1e-30)

_FEW = 9  # cells whose areas come from sums so small that single precision will do
_BLOCK = 64  # quadrilaterals looked at at once

jit = numba.njit(cache=True, nogil=True, error_model="numpy")
jit_inline = numba.njit(inline="always", error_model="numpy")


class Workspace(NamedTuple):
    """Arrays for a row of up to n quadrilaterals that touch up to width x height cells.

    Parameters
    ----------
    width, height : int
        Columns and rows of cells.
    floor : float
        Areas below this are rounding and count as none. [cell]
    lines : ndarray, shape (2, 2, m)
        x and y of the corners at the two sides of a row, which takes over one of them from the row below.
    q : ndarray, shape (8, n)
        Corners relative to the first cell: x0, x1, x2, x3, y0, y1, y2, y3.
    inverse : ndarray, shape (8, n)
        1 over the lengths of the edges from x0, x1, x2 and x3 on along x, and over those along y.
    first : int32 ndarray, shape (2, n)
        Column and row of the first cell.
    areas : ndarray, shape (width * height, n)
        Area in cell (k, l) of each quadrilateral, in row l*width + k.
    """

    width: int
    height: int
    floor: float
    lines: np.ndarray
    q: np.ndarray
    inverse: np.ndarray
    first: np.ndarray
    areas: np.ndarray


def workspace(span: tuple[int, int], n: int, n_corners: int, *, small: bool = False) -> Workspace:
    """Make the arrays for rows of n quadrilaterals.

    Parameters
    ----------
    span : tuple of int
        Most columns and rows of cells that one touches.
    n, n_corners : int
        Number of quadrilaterals, and of the corners at a side of the row.
    small : bool
        Whether they can be much smaller than a cell.
    """
    width, height = span
    dtype = np.float64 if small or width * height > _FEW else np.float32
    return Workspace(
        width,
        height,
        _ROUNDING[np.dtype(dtype)] * width * height,
        np.empty((2, 2, n_corners)),
        np.empty((8, n), dtype),
        np.empty((8, n), dtype),
        np.empty((2, n), np.int32),
        np.empty((width * height, n), dtype),
    )


@jit_inline
def _over(length: float) -> float:
    """1 over the length of an edge along an axis; a large number for one that is next to nothing."""
    return _ONE / (length if abs(length) > _TINY else _TINY)


@jit
def _invert(q: np.ndarray, n: int, out: np.ndarray) -> None:
    """Invert the lengths of the edges along x and along y: all the divisions that areas need."""
    for first in range(0, 8, 4):
        for corner in range(4):
            a, b, inverse = q[first + corner], q[first + (corner + 1) % 4], out[first + corner]
            for i in range(n):
                inverse[i] = _over(b[i] - a[i])


@jit_inline
def _part_below(u: float, inverse: float) -> tuple[float, float]:
    """Give the ends of the part of an edge, in its length, on which a coordinate that is u at its begin is below 0."""
    cut = min(max(-u * inverse, _ZERO), _ONE)
    return (_ZERO, cut) if inverse > _ZERO else (cut, _ONE)


@jit_inline
def _mean_below(ua: float, ub: float, inverse: float) -> float:
    """Mean of min(u, 0) along an edge from ua to ub."""
    start, stop = _part_below(ua, inverse)
    return (stop - start) * (ua + _HALF * (start + stop) * (ub - ua))


@jit_inline
def _corner_edge(ua: float, va: float, ub: float, vb: float, inverse_u: float, inverse_v: float) -> float:
    """Line integral of min(u, 0) d min(v, 0) along an edge: u times the slope of v on the part where both are below."""
    u_start, u_stop = _part_below(ua, inverse_u)
    v_start, v_stop = _part_below(va, inverse_v)
    start = max(u_start, v_start)
    stop = max(min(u_stop, v_stop), start)
    return (vb - va) * (stop - start) * (ua + _HALF * (start + stop) * (ub - ua))


@jit
def _total(q: np.ndarray, n: int, out: np.ndarray) -> None:
    """Signed areas of the quadrilaterals."""
    for i in range(n):
        rising, falling = (q[2, i] - q[0, i]) * (q[7, i] - q[5, i]), (q[3, i] - q[1, i]) * (q[6, i] - q[4, i])
        out[i] = _HALF * (rising - falling)


@jit
def _left_of(q: np.ndarray, inverse: np.ndarray, n: int, first: int, line: int, out: np.ndarray) -> None:
    """Signed areas left of x = line, from the rows of x at `first`; with first = 4 minus those below y = line."""
    other, c = 4 - first, np.float32(line)
    for i in range(n):
        u0, u1, u2, u3 = q[first, i] - c, q[first + 1, i] - c, q[first + 2, i] - c, q[first + 3, i] - c
        v0, v1, v2, v3 = q[other, i], q[other + 1, i], q[other + 2, i], q[other + 3, i]
        out[i] = (
            (v1 - v0) * _mean_below(u0, u1, inverse[first, i])
            + (v2 - v1) * _mean_below(u1, u2, inverse[first + 1, i])
            + (v3 - v2) * _mean_below(u2, u3, inverse[first + 2, i])
            + (v0 - v3) * _mean_below(u3, u0, inverse[first + 3, i])
        )


@jit
def _corner_of(q: np.ndarray, inverse: np.ndarray, n: int, column: int, row: int, out: np.ndarray) -> None:
    """Signed areas left of x = column and below y = row."""
    c, r = np.float32(column), np.float32(row)
    for i in range(n):
        u0, u1, u2, u3 = q[0, i] - c, q[1, i] - c, q[2, i] - c, q[3, i] - c
        v0, v1, v2, v3 = q[4, i] - r, q[5, i] - r, q[6, i] - r, q[7, i] - r
        out[i] = (
            _corner_edge(u0, v0, u1, v1, inverse[0, i], inverse[4, i])
            + _corner_edge(u1, v1, u2, v2, inverse[1, i], inverse[5, i])
            + _corner_edge(u2, v2, u3, v3, inverse[2, i], inverse[6, i])
            + _corner_edge(u3, v3, u0, v0, inverse[3, i], inverse[7, i])
        )


@jit
def _relative(
    a: np.ndarray,
    b: np.ndarray,
    c: np.ndarray,
    d: np.ndarray,
    first: np.ndarray,
    qa: np.ndarray,
    qb: np.ndarray,
    qc: np.ndarray,
    qd: np.ndarray,
) -> None:
    """Find the first cell along an axis of quadrilaterals with corners a, b, c, d, and the corners relative to it."""
    for k in range(first.size):
        least = np.floor(min(min(a[k], b[k]), min(c[k], d[k])))
        first[k] = np.int32(least)
        qa[k], qb[k], qc[k], qd[k] = a[k] - least, b[k] - least, c[k] - least, d[k] - least


@jit
def load_row(work: Workspace, sides: tuple[np.ndarray, np.ndarray], step: int, start: int, n: int) -> None:
    """Take n quadrilaterals from the corners at the sides of a row, the first from corner ``step * start`` on.

    Corners count from the lower left corner of cell 0. With step 1 neighbours share corners, with 2 each has its own.
    """
    for axis in range(2):
        low, high = sides[0][axis], sides[1][axis]
        if step == 1:
            a, b, c, d = low[start : start + n], low[start + 1 :], high[start + 1 :], high[start : start + n]
        else:
            a, b = low[2 * start :: 2].copy(), low[2 * start + 1 :: 2].copy()
            d, c = high[2 * start :: 2].copy(), high[2 * start + 1 :: 2].copy()
        q = work.q[4 * axis :]
        _relative(a, b, c, d, work.first[axis, :n], q[0], q[1], q[2], q[3])


@jit
def cell_areas(work: Workspace, n: int) -> None:
    """Compute the areas of the first n quadrilaterals that were taken."""
    q, inverse, areas, width, height = work.q, work.inverse, work.areas, work.width, work.height
    floor: Any = np.float32(work.floor)
    if width == 2 and height == 2:
        _four_cells(q, n, floor, areas[0], areas[1], areas[2], areas[3])
        return
    last = width * height - 1
    _invert(q, n, inverse)
    _total(q, n, areas[last])
    for k in range(width - 1):
        _left_of(q, inverse, n, 0, k + 1, areas[(height - 1) * width + k])
    for m in range(height - 1):
        below = areas[m * width + width - 1]
        _left_of(q, inverse, n, 4, m + 1, below)
        for i in range(n):
            below[i] = -below[i]
        for k in range(width - 1):
            _corner_of(q, inverse, n, k + 1, m + 1, areas[m * width + k])
    _differences(areas, n, width, height)
    for k in range(last + 1):
        for i in range(n):
            areas[k, i] = areas[k, i] if areas[k, i] > floor else _ZERO


@jit_inline
def _edge_sums(ua: float, va: float, ub: float, vb: float) -> tuple[float, float, float]:
    """Line integrals along an edge: min(u, 0) dv, minus min(v, 0) du, and min(u, 0) d min(v, 0)."""
    inverse_u, inverse_v = _over(ub - ua), _over(vb - va)
    left = (vb - va) * _mean_below(ua, ub, inverse_u)
    below = (ua - ub) * _mean_below(va, vb, inverse_v)
    return left, below, _corner_edge(ua, va, ub, vb, inverse_u, inverse_v)


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract", "nnan", "nsz"})
def _four_cells(
    q: np.ndarray, n: int, floor: float, a0: np.ndarray, a1: np.ndarray, a2: np.ndarray, a3: np.ndarray
) -> None:
    """Compute the areas in 2 x 2 cells, as the other functions do for any number of them, in one go."""
    x0, x1, x2, x3, y0, y1, y2, y3 = q[0], q[1], q[2], q[3], q[4], q[5], q[6], q[7]
    for i in range(n):
        u0, u1, u2, u3 = x0[i] - _ONE, x1[i] - _ONE, x2[i] - _ONE, x3[i] - _ONE
        v0, v1, v2, v3 = y0[i] - _ONE, y1[i] - _ONE, y2[i] - _ONE, y3[i] - _ONE
        left0, below0, corner0 = _edge_sums(u0, v0, u1, v1)
        left1, below1, corner1 = _edge_sums(u1, v1, u2, v2)
        left2, below2, corner2 = _edge_sums(u2, v2, u3, v3)
        left3, below3, corner3 = _edge_sums(u3, v3, u0, v0)
        total = _HALF * ((u2 - u0) * (v3 - v1) - (u3 - u1) * (v2 - v0))
        sign = -_ONE if total < _ZERO else _ONE
        left = sign * (left0 + left1 + left2 + left3)
        below = sign * (below0 + below1 + below2 + below3)
        corner = sign * (corner0 + corner1 + corner2 + corner3)
        others = sign * total - left - below + corner
        a0[i] = corner if corner > floor else _ZERO
        a1[i] = below - corner if below - corner > floor else _ZERO
        a2[i] = left - corner if left - corner > floor else _ZERO
        a3[i] = others if others > floor else _ZERO


@jit
def _differences(areas: np.ndarray, n: int, width: int, height: int) -> None:
    """Turn areas left of and below lines into areas of cells, whatever way round the quadrilaterals go."""
    total = areas[width * height - 1]
    for k in range(width * height):
        for i in range(n):
            areas[k, i] = -areas[k, i] if total[i] < _ZERO else areas[k, i]
    for row in range(height):  # along x, then along y, from the far end
        for k in range(width - 1, 0, -1):
            for i in range(n):
                areas[row * width + k, i] -= areas[row * width + k - 1, i]
    for k in range(width * height - 1, width - 1, -1):
        for i in range(n):
            areas[k, i] -= areas[k - width, i]


@jit
def next_row(corners: MappedGrid, j: int, lines: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Map the corners of row j of quadrilaterals that share them with the next row; rows come one after another.

    Gives x and y of those at the lower and of those at the upper side, shape (2, m): the lines of a workspace.
    """
    low, high = lines[j % 2], lines[(j + 1) % 2]
    if j == 0:
        map_row(corners, 0, low[0], low[1])
    map_row(corners, j + 1, high[0], high[1])
    return low, high


@jit
def on_image(
    sides: tuple[np.ndarray, np.ndarray], span: tuple[int, int], shape: tuple[int, int]
) -> tuple[int, int]:
    """Find the first quadrilateral of a row that may touch an image, and the first after the last one.

    Blocks are looked at as a whole first: loops that do not end early are vectorised.
    """
    x0, x1, y0, y1 = sides[0][0], sides[1][0], sides[0][1], sides[1][1]
    start, stop = 0, x0.size - 1
    while start < stop and not _any_touches(x0, x1, y0, y1, start, min(start + _BLOCK, stop), span, shape):
        start += _BLOCK
    while start < stop and not touches(_first_cell(x0, x1, start), _first_cell(y0, y1, start), span, shape):
        start += 1
    start = min(start, stop)
    while start < stop and not _any_touches(x0, x1, y0, y1, max(start, stop - _BLOCK), stop, span, shape):
        stop = max(start, stop - _BLOCK)
    while start < stop and not touches(
        _first_cell(x0, x1, stop - 1), _first_cell(y0, y1, stop - 1), span, shape
    ):
        stop -= 1
    return start, stop


@jit
def _any_touches(
    x0: np.ndarray,
    x1: np.ndarray,
    y0: np.ndarray,
    y1: np.ndarray,
    start: int,
    stop: int,
    span: tuple[int, int],
    shape: tuple[int, int],
) -> bool:
    """Tell whether any of some quadrilaterals of a row may touch an image."""
    found = 0
    for k in range(start, stop):
        found += touches(_first_cell(x0, x1, k), _first_cell(y0, y1, k), span, shape)
    return found > 0


@jit_inline
def _first_cell(low: np.ndarray, high: np.ndarray, k: int) -> float:
    a, b = np.uint64(k), np.uint64(k) + np.uint64(1)  # unsigned: no test for negative indices
    return np.floor(min(min(low[a], low[b]), min(high[a], high[b])))


@jit_inline
def touches(i0: float, j0: float, span: tuple[int, int], shape: tuple[int, int]) -> bool:
    """Tell whether cells from a first one on, of which there are span[0] x span[1], may touch an image."""
    return -span[0] < i0 < shape[1] and -span[1] < j0 < shape[0]


@jit
def places(
    first: np.ndarray, span: tuple[int, int], shape: tuple[int, int], border: int, at: np.ndarray
) -> None:
    """Find the first cell of each quadrilateral on an image with a border; off the image, a corner of the border."""
    for k in range(at.size):
        i0, j0 = first[0, k], first[1, k]
        inside = touches(i0, j0, span, shape)
        at[k] = (j0 + border) * (shape[1] + 2 * border) + i0 + border if inside else 0


@jit
def shifts(work: Workspace, stride: int) -> np.ndarray:
    """Find how far each cell of a quadrilateral is behind its first one on an image of rows of `stride` pixels."""
    out = np.empty(work.width * work.height, np.int64)
    for cell in range(out.size):
        out[cell] = cell // work.width * stride + cell % work.width
    return out
