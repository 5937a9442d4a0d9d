"""A fast polynomial of the exact map from the pixels of one image to those of another."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

import numba
import numpy as np

from pymopex.projection import PlaneMap, exact_map

if TYPE_CHECKING:
    from astropy.wcs import WCS

_DEGREES = (3, 7, 9, 13, 19, 28, 42, 64)
_FEW = 8  # terms that are summed as powers


@lru_cache
def _fit_matrix(degree: int) -> tuple[np.ndarray, np.ndarray]:
    """Chebyshev nodes on -1..1 and the matrix from values at the nodes to coefficients."""
    n = degree + 1
    angle = np.pi * (np.arange(n) + 0.5) / n
    matrix = 2.0 / n * np.cos(np.outer(np.arange(n), angle))
    matrix[0] /= 2.0
    return np.cos(angle), matrix


def _chebyshev(t: np.ndarray, count: int) -> np.ndarray:
    """Chebyshev polynomials 0..count-1 at t, shape (count, len(t))."""
    out = np.ones((count, t.size))
    out[1:2] = t
    for k in range(2, count):
        out[k] = 2.0 * t * out[k - 1] - out[k - 2]
    return out


class MappedGrid(NamedTuple):
    """Points of a rectangular grid with their map, evaluated row by row (`map_row`) where a whole image is not needed.

    Parameters
    ----------
    cx, cy : ndarray, shape (n, n)
        Chebyshev coefficients of the X and the Y of the destination, [y order, x order].
    tx, ty : ndarray, shape (n, nx) and (n, ny)
        Chebyshev polynomials at the x and at the y of the points.
    """

    cx: np.ndarray
    cy: np.ndarray
    tx: np.ndarray
    ty: np.ndarray

    def scaled(self, factor: float, x: float, y: float) -> MappedGrid:
        """Give the grid with destination pixels ``factor * X + x`` and ``factor * Y + y``."""
        cx, cy = factor * self.cx, factor * self.cy
        cx[0, 0] += x
        cy[0, 0] += y
        return self._replace(cx=cx, cy=cy)


@numba.njit(cache=True, nogil=True)
def map_row(grid: MappedGrid, row: int, x: np.ndarray, y: np.ndarray) -> None:
    """Map the points of a row of a grid; the X and Y go to two arrays of its length."""
    _sum_row(grid.cx, grid.tx, grid.ty, row, x)
    _sum_row(grid.cy, grid.tx, grid.ty, row, y)


@numba.njit(cache=True, nogil=True)
def _sum_row(c: np.ndarray, tx: np.ndarray, ty: np.ndarray, row: int, out: np.ndarray) -> None:
    """Sum of c[k, i] ty[k, row] tx[i, column]; the inner loops run along x so that they vectorise."""
    n = c.shape[0]
    terms = np.zeros(max(n, _FEW))
    for i in range(n):
        for k in range(n):
            terms[i] += c[k, i] * ty[k, row]
    if n <= _FEW:
        _sum_powers(_powers(terms), tx[1], out)
        return
    out[:] = 0.0
    for i in range(n):
        for column in range(out.size):
            out[column] += terms[i] * tx[i, column]


@numba.njit(cache=True, nogil=True)
def _powers(t: np.ndarray) -> np.ndarray:
    """Turn coefficients of eight Chebyshev polynomials into those of powers."""
    p = np.empty(_FEW)
    p[0], p[1] = t[0] - t[2] + t[4] - t[6], t[1] - 3.0 * t[3] + 5.0 * t[5] - 7.0 * t[7]
    p[2], p[3] = 2.0 * t[2] - 8.0 * t[4] + 18.0 * t[6], 4.0 * t[3] - 20.0 * t[5] + 56.0 * t[7]
    p[4], p[5] = 8.0 * t[4] - 48.0 * t[6], 16.0 * t[5] - 112.0 * t[7]
    p[6], p[7] = 32.0 * t[6], 64.0 * t[7]
    return p


@numba.njit(cache=True, nogil=True, fastmath={"contract"})
def _sum_powers(p: np.ndarray, x: np.ndarray, out: np.ndarray) -> None:
    """Sum of p[i] x**i by Horner's rule, which reads nothing but x; on -1..1 it is as exact as the Chebyshev sum."""
    p0, p1, p2, p3, p4, p5, p6, p7 = p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]
    for k in range(out.size):
        s = x[k]
        out[k] = p0 + s * (p1 + s * (p2 + s * (p3 + s * (p4 + s * (p5 + s * (p6 + s * p7))))))


@numba.njit(cache=True, nogil=True)
def map_rows(grid: MappedGrid) -> tuple[np.ndarray, np.ndarray]:
    """Map all points of a grid: X and Y, shape (ny, nx)."""
    shape = grid.ty.shape[1], grid.tx.shape[1]
    X, Y = np.empty(shape), np.empty(shape)
    for row in range(shape[0]):
        map_row(grid, row, X[row], Y[row])
    return X, Y


@numba.njit(cache=True, nogil=True)
def _at_points(c: np.ndarray, tx: np.ndarray, ty: np.ndarray) -> np.ndarray:
    """Like `_sum_row` for one point per column, in blocks of points that stay in the fast cache."""
    n = c.shape[0]
    out = np.zeros(tx.shape[1])
    for start in range(0, tx.shape[1], 256):
        stop = min(start + 256, tx.shape[1])
        for k in range(n):
            for i in range(n):
                for p in range(start, stop):
                    out[p] += c[k, i] * (ty[k, p] * tx[i, p])
    return out


@dataclass(frozen=True, eq=False)
class PixelMap:
    """Chebyshev polynomials of the exact map from pixels of one image to pixels of another.

    Parameters
    ----------
    x_range, y_range : tuple of float
        Ends of the rectangle of source pixels on which the map holds.
    coefficients : ndarray, shape (2, n, n)
        Coefficients of the X and the Y of the destination, [y order, x order].
    error : float
        Largest deviation from the exact map met on the points it was tested on [destination pixel].
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    coefficients: np.ndarray
    error: float

    @classmethod
    def between(
        cls,
        src_wcs: WCS,
        dst_wcs: WCS,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        tol: float = 1e-5,
    ) -> PixelMap:
        """Fit the composition of two WCS.

        Parameters
        ----------
        src_wcs, dst_wcs : astropy.wcs.WCS
            Celestial WCS of source and destination.
        x_range, y_range : tuple of float
            Rectangle of source pixels, 0-based, on which the map is wanted.
        tol : float
            Largest error allowed [destination pixel].

        Returns
        -------
        PixelMap
            The map; it holds on the rectangle only.

        Raises
        ------
        ValueError
            The rectangle is empty, does not project on the destination plane, or needs too high a degree.

        Notes
        -----
        The degree is raised until the error on a regular grid that includes the borders is below ``tol / 4``.
        """
        return cls.of(exact_map(src_wcs, dst_wcs), x_range, y_range, tol)

    @classmethod
    def of(
        cls,
        plane_map: PlaneMap,
        x_range: tuple[float, float],
        y_range: tuple[float, float],
        tol: float = 1e-5,
    ) -> PixelMap:
        """Fit any smooth map of the plane; arguments as for `between`."""
        if not (x_range[1] > x_range[0] and y_range[1] > y_range[0]):
            raise ValueError(f"empty range of pixels: x {x_range}, y {y_range}")
        for degree in _DEGREES:
            coefficients, error = _fit(plane_map, x_range, y_range, degree)
            if error < 0.25 * tol:
                return cls(x_range, y_range, coefficients, error)
        raise ValueError(f"the map between the images is not smooth: error {error:.2g} pixel, wanted {tol:g}")

    def _scaled(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return _to_unit(x, self.x_range), _to_unit(y, self.y_range)

    def grid(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map the points of a rectangular grid.

        Parameters
        ----------
        x : ndarray, shape (nx,)
            Source x, 0-based pixels.
        y : ndarray, shape (ny,)
            Source y.

        Returns
        -------
        X, Y : ndarray, shape (ny, nx)
            Destination pixels.

        Raises
        ------
        ValueError
            A point lies outside the rectangle of the map.
        """
        return map_rows(self.on_grid(x, y))

    def on_grid(self, x: np.ndarray, y: np.ndarray) -> MappedGrid:
        """Give the points of a rectangular grid to be mapped row by row; arguments and errors as for `grid`."""
        s, t = self._scaled(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        if s.size and t.size and max(np.abs(s).max(), np.abs(t).max()) > 1.0 + 1e-9:
            raise ValueError(f"points outside the map's range x {self.x_range}, y {self.y_range}")
        n = self.coefficients.shape[1]
        cx, cy = self.coefficients
        return MappedGrid(cx, cy, _chebyshev(s, n), _chebyshev(t, n))

    def touched(self, side: float) -> tuple[int, int]:
        """Give how many columns and rows of destination pixels a square of this side [pixel] touches at most.

        Notes
        -----
        Chebyshev polynomials are at most 1, so the sum of the absolute coefficients of a derivative is its bound.
        """
        slopes = [
            np.abs(_derivative(self.coefficients, axis, limits)).sum(axis=(1, 2))
            for axis, limits in ((2, self.x_range), (1, self.y_range))
        ]
        width, height = (int(np.floor(side * bound)) + 2 for bound in slopes[0] + slopes[1])
        return width, height

    def points(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Map points; those outside the rectangle of the map give NaN.

        Parameters
        ----------
        x, y : ndarray, same shape
            Source pixels, 0-based.

        Returns
        -------
        X, Y : ndarray, same shape
            Destination pixels.
        """
        X, Y = self._evaluate(x, y, self.coefficients)
        return X, Y

    def jacobian(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Give the derivatives of the map at points; NaN outside the rectangle of the map.

        Parameters
        ----------
        x, y : ndarray, same shape
            Source pixels, 0-based.

        Returns
        -------
        dXdx, dXdy, dYdx, dYdy : ndarray, same shape
            Destination pixels per source pixel.
        """
        along_x = _derivative(self.coefficients, 2, self.x_range)
        along_y = _derivative(self.coefficients, 1, self.y_range)
        dXdx, dYdx = self._evaluate(x, y, along_x)
        dXdy, dYdy = self._evaluate(x, y, along_y)
        return dXdx, dXdy, dYdx, dYdy

    def _evaluate(self, x: np.ndarray, y: np.ndarray, coefficients: np.ndarray) -> list[np.ndarray]:
        px, py = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        s, t = self._scaled(px.ravel(), py.ravel())
        outside = ~((np.abs(s) <= 1.0 + 1e-9) & (np.abs(t) <= 1.0 + 1e-9))
        s, t = np.where(outside, np.nan, s), np.where(outside, np.nan, t)
        n = coefficients.shape[1]
        tx, ty = _chebyshev(s, n), _chebyshev(t, n)
        tx[:, outside] = np.nan
        return [_at_points(c, tx, ty).reshape(px.shape) for c in coefficients]


def _to_unit(x: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    lo, hi = limits
    return (2.0 * x - lo - hi) / (hi - lo)


def _from_unit(t: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    lo, hi = limits
    return 0.5 * (lo + hi + t * (hi - lo))


def _derivative(coefficients: np.ndarray, axis: int, limits: tuple[float, float]) -> np.ndarray:
    """Coefficients of the derivative along one axis, the shape kept with a zero at the end."""
    out = np.zeros_like(coefficients)
    slope = np.polynomial.chebyshev.chebder(coefficients, scl=2.0 / (limits[1] - limits[0]), axis=axis)
    out[tuple(slice(n) for n in slope.shape)] = slope
    return out


def _fit(
    plane_map: PlaneMap, x_range: tuple[float, float], y_range: tuple[float, float], degree: int
) -> tuple[np.ndarray, float]:
    """Coefficients of one degree and their largest error on a regular grid that includes the borders."""
    nodes, matrix = _fit_matrix(degree)
    tests = np.linspace(-1.0, 1.0, degree + 5)
    grids = [np.meshgrid(_from_unit(t, x_range), _from_unit(t, y_range)) for t in (nodes, tests)]
    exact = plane_map(*(np.concatenate([g[k].ravel() for g in grids]) for k in (0, 1)))
    if not np.isfinite(exact).all():
        raise ValueError("the images do not project on each other: part lies more than a hemisphere away")
    n = nodes.size
    coefficients = np.stack([matrix @ e[: n * n].reshape(n, n) @ matrix.T for e in exact])
    t = _chebyshev(tests, n)
    error = max(
        float(np.abs(t.T @ c @ t - e[n * n :].reshape(tests.size, -1)).max())
        for c, e in zip(coefficients, exact, strict=True)
    )
    return coefficients, error
