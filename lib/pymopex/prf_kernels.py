"""Compiled look-up of a PRF in its table of cubic-spline coefficients."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from pymopex.jit import entry, leaf
from pymopex.lanes import LANES, load, same, store, times, times_plus

PAD = 2
"""Spline coefficients beyond the first and the last sample of a PRF table."""

_FARTHEST = 1e15  # samples


@leaf
def _bspline(t: float, w: np.ndarray, d: np.ndarray) -> None:
    """Cubic B-spline weights and their derivatives at the fraction t of a sample."""
    s = 1.0 - t
    w[0] = s * s * s / 6.0
    w[1] = (4.0 + t * t * (3.0 * t - 6.0)) / 6.0
    w[2] = (4.0 + s * s * (3.0 * s - 6.0)) / 6.0
    w[3] = t * t * t / 6.0
    d[0] = -0.5 * s * s
    d[1] = t * (1.5 * t - 2.0)
    d[2] = s * (2.0 - 1.5 * s)
    d[3] = 0.5 * t * t


@leaf
def phase(position: float, sampling: int, n: int, w: np.ndarray, d: np.ndarray) -> tuple[int, int, int]:
    """Give the place of a source in a table along one axis, which all pixels share.

    Fills the weights `w` and `d`. Returns the first coefficient used by pixel 0, and the first and the last
    pixel that the table covers; `n` is the number of coefficients along the axis. A source that is nowhere, or
    so far off that its place is no integer, covers none.
    """
    q = 0.5 * (n - 1) - position * sampling
    if not abs(q) < _FARTHEST:
        w[:], d[:] = 0.0, 0.0
        return 0, 1, 0
    base = math.floor(q)
    _bspline(q - base, w, d)
    last = n - PAD - 1 if q == base else n - PAD - 2
    lo = -((base - PAD) // sampling)
    hi = (last - base) // sampling
    return base - 1, lo, hi


@leaf
def corners(table: Any, which: int, ky: int, kx: int, first: np.ndarray) -> None:
    """Fill `first`, shape (4, 4), with where `table.planes` has the coefficients [ky..ky+3, kx..kx+3] of a PRF.

    The coefficients of the next pixel along x are at the next place, those of the next along y one row further.
    """
    sx, sy, size = table.sampling_x, table.sampling_y, table.rows * table.columns
    line, column = ky // sy, kx // sx
    at_y, start = ky - line * sy, kx - column * sx
    for a in range(4):
        at_x, row = start, LANES + (which * sy + at_y) * sx * size + line * table.columns + column
        for b in range(4):
            first[a, b] = row + at_x * size
            at_x += 1
            if at_x == sx:
                row, at_x = row + 1, 0
        at_y += 1
        if at_y == sy:
            line, at_y = line + 1, 0


@numba.njit(cache=True, nogil=True, inline="always")
def eight_values(planes: np.ndarray, first: np.ndarray, further: int, wy: np.ndarray, wx: np.ndarray) -> Any:
    """Values of a PRF at eight pixels of a row.

    Parameters
    ----------
    planes : ndarray
        Of the table.
    first : ndarray, shape (4, 4)
        From `corners`.
    further : int
        How far the first of the pixels is from that of `corners`: rows of the table times its pixels in a row, and
        pixels along x.
    wy, wx : ndarray, shape (4,)
        Weights along both axes, from `phase`.

    Returns
    -------
    eight numbers of `pymopex.lanes`
    """
    out = same(0.0)
    for b in range(4):
        column = times(same(wy[0]), load(planes, first[0, b] + further))
        column = times_plus(same(wy[1]), load(planes, first[1, b] + further), column)
        column = times_plus(same(wy[2]), load(planes, first[2, b] + further), column)
        column = times_plus(same(wy[3]), load(planes, first[3, b] + further), column)
        out = times_plus(same(wx[b]), column, out)
    return out


@numba.njit(cache=True, nogil=True, inline="always")
def eight_slopes(
    planes: np.ndarray,
    first: np.ndarray,
    further: int,
    wy: np.ndarray,
    gy: np.ndarray,
    wx: np.ndarray,
    gx: np.ndarray,
) -> tuple[Any, Any, Any]:
    """Values, slopes by x, and slopes by y of a PRF at eight pixels of a row; see `eight_values`.

    `gy` and `gx` are the slopes of the weights.
    """
    out, by_x, by_y = same(0.0), same(0.0), same(0.0)
    for b in range(4):
        c0, c1 = load(planes, first[0, b] + further), load(planes, first[1, b] + further)
        c2, c3 = load(planes, first[2, b] + further), load(planes, first[3, b] + further)
        column = times_plus(same(wy[1]), c1, times(same(wy[0]), c0))
        column = times_plus(same(wy[3]), c3, times_plus(same(wy[2]), c2, column))
        slope = times_plus(same(gy[1]), c1, times(same(gy[0]), c0))
        slope = times_plus(same(gy[3]), c3, times_plus(same(gy[2]), c2, slope))
        out = times_plus(same(wx[b]), column, out)
        by_x = times_plus(same(gx[b]), column, by_x)
        by_y = times_plus(same(wx[b]), slope, by_y)
    return out, by_x, by_y


@numba.njit(cache=True, nogil=True, inline="always")
def add_eight(out: np.ndarray, at: int, count: int, factor: float, values: Any, room: np.ndarray) -> None:
    """Add a factor times eight numbers, or the first `count` of them, to some elements; `room` has eight of its own."""
    if count >= LANES:
        store(out, at, times_plus(same(factor), values, load(out, at)))
    else:
        store(room, 0, times(same(factor), values))
        for i in range(count):
            out[at + i] += room[i]


@entry
def values_at(
    coefficients: np.ndarray, sx: int, sy: int, dx: np.ndarray, dy: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value and derivatives by dx, dy of one PRF at offsets from its centre [pixel]."""
    ny, nx = coefficients.shape
    out, out_x, out_y = np.zeros(dx.size), np.zeros(dx.size), np.zeros(dx.size)
    wx, gx, wy, gy = np.empty(4), np.empty(4), np.empty(4), np.empty(4)
    for i in range(dx.size):
        kx, xlo, xhi = phase(-dx[i], sx, nx, wx, gx)
        ky, ylo, yhi = phase(-dy[i], sy, ny, wy, gy)
        if xlo > 0 or xhi < 0 or ylo > 0 or yhi < 0:
            continue
        for a in range(4):
            for b in range(4):
                c = coefficients[ky + a, kx + b]
                out[i] += c * wx[b] * wy[a]
                out_x[i] += c * gx[b] * wy[a] * sx
                out_y[i] += c * wx[b] * gy[a] * sy
    return out, out_x, out_y


@leaf
def look_up(c: np.ndarray, ky: int, kx: int, wy: np.ndarray, wx: np.ndarray) -> float:
    """Value of a spline from its coefficients at [ky..ky+3, kx..kx+3]."""
    v = 0.0
    for k in range(4):
        v += wx[k] * (
            wy[0] * c[ky, kx + k]
            + wy[1] * c[ky + 1, kx + k]
            + wy[2] * c[ky + 2, kx + k]
            + wy[3] * c[ky + 3, kx + k]
        )
    return v
