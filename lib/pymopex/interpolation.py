"""Interpolation of a frame on the mosaic grid, and the way back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from pymopex.geometry import Box, FrameMap
from pymopex.overlap_area import COVERAGE_FLOOR, gather, largest_labels, scatter
from pymopex.pixel_map import map_rows
from pymopex.point_kernels import convolve, drop_points
from pymopex.shared_areas import shared_areas
from pymopex.variance import footprint

_GRID_POINTS = 250_000  # points of the grid method mapped at once, to bound the memory


@dataclass(frozen=True)
class Interpolation:
    """How to interpolate.

    Parameters
    ----------
    method : int
        1 area overlap, 2 drizzle, 3 grid, 4 bicubic.
    fineres : float
        Method 1: split each input pixel side in this many sub-pixels; 0 and 1 do not.
    driz_fac : float
        Method 2: linear shrink factor of the input pixel, above 0 and up to 1.
    grid_ratio : int
        Method 3: points per input pixel side.
    alpha : float
        Method 4: slope of the cubic kernel at distance 1.

    Raises
    ------
    ValueError
        A parameter is out of range.
    """

    method: int = 1
    fineres: float = 0
    driz_fac: float = 1
    grid_ratio: int = 4
    alpha: float = -0.5

    def __post_init__(self) -> None:
        if self.method not in (1, 2, 3, 4):
            raise ValueError(f"interpolation method {self.method} is not 1, 2, 3 or 4")
        if self.fineres < 0 or self.fineres != int(self.fineres):
            raise ValueError(f"fineres {self.fineres} is not a whole number from 0 on")
        if not 0 < self.driz_fac <= 1:
            raise ValueError(f"driz_fac {self.driz_fac} is not above 0 and at most 1")
        if self.grid_ratio < 1 or self.grid_ratio != int(self.grid_ratio):
            raise ValueError(f"grid_ratio {self.grid_ratio} is not a whole number from 1 on")
        if not np.isfinite(self.alpha):
            raise ValueError(f"alpha {self.alpha} is not a number")


@dataclass(frozen=True, eq=False)
class Interpolated:
    """A frame on the mosaic grid.

    Parameters
    ----------
    data : float32 ndarray, shape box.shape
        Values, NaN where there is no coverage.
    sigma : float32 ndarray, shape box.shape, or None
        1-sigma uncertainty, interpolated linearly with the weights of the data.
    coverage : float32 ndarray, shape box.shape
        Fraction of the output pixel covered by good input pixels, 0 to 1.
    box : Box
        Place on the mosaic.
    variance : float32 ndarray, shape box.shape, or None
        Variance of the values, with the weights squared, if it was asked for.
    """

    data: np.ndarray
    sigma: np.ndarray | None
    coverage: np.ndarray
    box: Box
    variance: np.ndarray | None = None


@dataclass(frozen=True, eq=False)
class _Planes:
    """Float64 input: values and errors are 0 and good is 0 where bad; errors of size 0 if there are none."""

    values: np.ndarray
    errors: np.ndarray
    good: np.ndarray


_Result = tuple[np.ndarray, np.ndarray, np.ndarray]
_Method = Callable[[_Planes, FrameMap, Interpolation], _Result]


def interpolate(
    data: np.ndarray,
    sigma: np.ndarray | None,
    bad: np.ndarray | None,
    frame_map: FrameMap,
    how: Interpolation,
    *,
    surface_brightness: bool = True,
    want_variance: bool = False,
) -> Interpolated:
    """Interpolate a frame on its box of the mosaic.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Frame.
    sigma : ndarray, shape (ny, nx), or None
        Its 1-sigma uncertainties.
    bad : bool ndarray, shape (ny, nx), or None
        True for pixels to leave out. Pixels that are not finite in `data` or `sigma` are left out too.
    frame_map : FrameMap
        Place of the frame on the mosaic.
    how : Interpolation
        Method and its parameters.
    surface_brightness : bool
        True keeps the values of a constant image; False treats the image as counts per pixel and keeps their
        sum, by a factor of the area of the output pixel in input pixels.
    want_variance : bool
        Compute the variance besides; needs `sigma`.

    Returns
    -------
    Interpolated
        Data, uncertainty and coverage on ``frame_map.box``.

    Raises
    ------
    ValueError
        Shapes differ, or the variance is wanted without uncertainties.

    References
    ----------
    MOPEX User's Guide, Mosaic Interpolate: eqs. 8.11 (area overlap, drizzle) and 8.13 (grid). Fruchter & Hook
    2002, PASP 114, 144 (drizzle). Keys 1981, IEEE Trans. ASSP 29, 1153 (cubic convolution).

    Notes
    -----
    An output pixel depends only on the input pixels it overlaps, in a fixed order of summation: leaving out
    more input pixels changes no other output pixel by a single bit. Coverage below 1e-6 counts as none.

    Area overlap: output pixels are projected on the frame as quadrilaterals and areas are measured there.
    With `fineres` f > 1 the value of a sub-pixel is the area-weighted mean of the good input pixels under a
    full-size pixel centred on it; it is good if the pixel it is part of is good.

    Drizzle: areas are measured on the mosaic; coverage is the overlap over the output pixel area, about the
    square of `driz_fac` for one frame.

    Grid: coverage is the sum over the points in an output pixel of the area of their input pixel over
    ``grid_ratio**2``, in output pixels, and at most 1 (a small number of points can exceed the area).

    Bicubic: the 16 input pixels round the centre of the output pixel. A bad or missing one takes the value of
    the nearest pixel, which keeps a constant image and, unlike a division by the sum of the good weights, is
    always stable. There is no value where the nearest pixel is bad. Coverage is that of the area overlap. The
    kernel has negative lobes: the absolute value of the interpolated uncertainty is taken.

    Variance: the uncertainty is the weighted mean of those of the input pixels, as in the legacy products. The
    variance is what the noise of independent input pixels gives, the sum of squares of weight times uncertainty.
    """
    if want_variance and sigma is None:
        raise ValueError("the variance needs uncertainties")
    planes = _planes(data, sigma, bad, frame_map.shape)
    method = {1: _overlap, 2: _drizzle, 3: _grid, 4: _cubic}[how.method]
    mean, error, coverage = method(planes, frame_map, how)
    variance = _variance(planes, method, frame_map, how) if want_variance else None
    if not surface_brightness:
        area = _quad_areas(*map_rows(frame_map.pixels_on_frame()[0])).astype(np.float32)
        mean, error = mean * area, error * area if error.size else error
        variance = variance * area**2 if variance is not None else None
    return Interpolated(mean, error if sigma is not None else None, coverage, frame_map.box, variance)


def _variance(planes: _Planes, method: _Method, frame_map: FrameMap, how: Interpolation) -> np.ndarray:
    """Sum of (weight times uncertainty) squared.

    The uncertainties are interpolated in parts so sparse that an output pixel depends on one input pixel of each.
    """
    step = footprint(frame_map, how)
    total = np.zeros(frame_map.box.shape)
    for y, x in product(range(step), repeat=2):
        part = np.zeros_like(planes.errors)
        part[y::step, x::step] = planes.errors[y::step, x::step]
        mean, _, _ = method(_Planes(part, np.zeros((0, 0)), planes.good), frame_map, how)
        total += mean.astype(float) ** 2
    return total.astype(np.float32)


def project_labels(labels: np.ndarray, frame_map: FrameMap) -> np.ndarray:
    """Project an image of labels, such as detected clusters, on the mosaic.

    Parameters
    ----------
    labels : int ndarray, shape (ny, nx)
        Labels on the frame; those not above 0 are background.
    frame_map : FrameMap
        Place of the frame on the mosaic.

    Returns
    -------
    int32 ndarray, shape frame_map.box.shape
        Label of each mosaic pixel, 0 for background.

    Raises
    ------
    ValueError
        The shape is not that of the frame.

    References
    ----------
    MOPEX User's Guide, Mosaic Projection.

    Notes
    -----
    An output pixel is labelled when labels cover at least half of the part of it that lies on the frame, and
    takes the one with the largest overlap, of equal ones the smallest. A cluster keeps its area on average.
    """
    labels = np.ascontiguousarray(labels, dtype=np.int32)
    _check_shape("labels", labels, frame_map.shape)
    return largest_labels(*frame_map.pixels_on_frame(), labels)


def back_project(flagged: np.ndarray, frame_map: FrameMap) -> np.ndarray:
    """Project flags of mosaic pixels back on the frame.

    Parameters
    ----------
    flagged : bool or float ndarray, shape frame_map.box.shape
        Flags, or weights, of the mosaic pixels.
    frame_map : FrameMap
        Place of the frame on the mosaic.

    Returns
    -------
    float32 ndarray, shape (ny, nx)
        Fraction of each frame pixel covered by flagged mosaic pixels (sum of weight times shared area).

    Raises
    ------
    ValueError
        The shape is not that of the box, or a weight is not finite.

    References
    ----------
    MOPEX User's Guide, Mosaic RMask.
    """
    flagged = np.asarray(flagged)
    _check_shape("flags", flagged, frame_map.box.shape)
    if flagged.dtype.kind == "f" and not np.isfinite(flagged).all():
        raise ValueError("flags that are not finite cannot be projected")
    return shared_areas(frame_map).to_frame(flagged)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, int]) -> None:
    if array.shape != tuple(shape):
        raise ValueError(f"{name} of shape {array.shape}, expected {tuple(shape)}")


def _planes(
    data: np.ndarray, sigma: np.ndarray | None, bad: np.ndarray | None, shape: tuple[int, int]
) -> _Planes:
    for name, array in (("data", data), ("sigma", sigma), ("bad", bad)):
        if array is not None:
            _check_shape(name, array, shape)
    good = np.isfinite(data)
    if bad is not None:
        good &= ~np.asarray(bad, dtype=bool)
    if sigma is not None:
        good &= np.isfinite(sigma)
    values = np.where(good, data, 0.0).astype(float)
    errors = np.zeros((0, 0)) if sigma is None else np.where(good, sigma, 0.0).astype(float)
    return _Planes(values, errors, good.astype(float))


def _quad_areas(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    """Area of each quadrilateral of a grid of corners, half the product of its diagonals."""
    rising = X[1:, 1:] - X[:-1, :-1], Y[1:, 1:] - Y[:-1, :-1]
    falling = X[1:, :-1] - X[:-1, 1:], Y[1:, :-1] - Y[:-1, 1:]
    return 0.5 * np.abs(rising[0] * falling[1] - falling[0] * rising[1])


def _divide(value: np.ndarray, error: np.ndarray, weight: np.ndarray, coverage: np.ndarray) -> _Result:
    """Weighted means from sums, NaN where the coverage is too small."""
    empty = ~(coverage > COVERAGE_FLOOR)
    divisor = np.where(empty, np.nan, weight)
    covered = np.where(empty, 0.0, np.minimum(coverage, 1.0)).astype(np.float32)
    mean_error = (error / divisor if error.size else error).astype(np.float32)
    return (value / divisor).astype(np.float32), mean_error, covered


def _overlap(planes: _Planes, frame_map: FrameMap, how: Interpolation) -> _Result:
    corners, span = frame_map.pixels_on_frame()
    split = int(how.fineres)
    if split <= 1:
        return gather(corners, span, planes.values, planes.errors, planes.good)
    fine, span = _split(planes, split), frame_map.to_frame.touched(float(split))
    return gather(
        corners.scaled(split, 0.5 * (split - 1), 0.5 * (split - 1)), span, fine.values, fine.errors, fine.good
    )


def _split(planes: _Planes, f: int) -> _Planes:
    """Split pixels in f x f sub-pixels: means over the good pixels under a full-size pixel on each."""
    good = np.kron(planes.good, np.ones((f, f)))
    covered = _smeared(planes.good, f)
    divisor = np.where(good > 0, covered, 1.0)
    values = good * _smeared(planes.values, f) / divisor
    errors = good * _smeared(planes.errors, f) / divisor if planes.errors.size else planes.errors
    return _Planes(values, errors, good)


def _smeared(image: np.ndarray, f: int) -> np.ndarray:
    """Integral of an image over unit squares centred on its sub-pixels; zero outside the image."""
    ny, nx = image.shape
    padded = np.pad(image, 1)
    shifts = (np.arange(f) + 0.5) / f - 0.5
    out = np.empty((ny * f, nx * f))
    for (m, dy), (k, dx) in ((a, b) for a in enumerate(shifts) for b in enumerate(shifts)):
        y, x = (1 if dy > 0 else -1), (1 if dx > 0 else -1)
        wy, wx = abs(dy), abs(dx)
        rows, columns = slice(1 + y, 1 + y + ny), slice(1 + x, 1 + x + nx)
        here = (1 - wx) * padded[1:-1, 1:-1] + wx * padded[1:-1, columns]
        there = (1 - wx) * padded[rows, 1:-1] + wx * padded[rows, columns]
        out[m::f, k::f] = (1 - wy) * here + wy * there
    return out


def _drizzle(planes: _Planes, frame_map: FrameMap, how: Interpolation) -> _Result:
    box = frame_map.box
    step = 1 if how.driz_fac == 1 else 2
    x, y = (_pixel_edges(n, how.driz_fac) for n in (frame_map.shape[1], frame_map.shape[0]))
    corners, span = (
        frame_map.to_mosaic.on_grid(x, y).scaled(1.0, -box.x0, -box.y0),
        frame_map.to_mosaic.touched(how.driz_fac),
    )
    value, error, weight = scatter(corners, step, span, planes.values, planes.errors, planes.good, box.shape)
    return _divide(value, error, weight, weight)


def _pixel_edges(n: int, shrink: float) -> np.ndarray:
    """Edges of n pixels: n+1 shared ones, or two for each shrunken pixel."""
    if shrink == 1:
        return np.arange(n + 1) - 0.5
    return (np.arange(n)[:, None] + np.array([-0.5, 0.5]) * shrink).ravel()


def _grid(planes: _Planes, frame_map: FrameMap, how: Interpolation) -> _Result:
    box, g = frame_map.box, int(how.grid_ratio)
    ny, nx = frame_map.shape
    areas = _quad_areas(*frame_map.to_mosaic.grid(_pixel_edges(nx, 1), _pixel_edges(ny, 1)))
    sums = np.zeros((4, *box.shape))
    x = (np.arange(nx * g) + 0.5) / g - 0.5
    rows = max(1, _GRID_POINTS // (nx * g * g))
    for first in range(0, ny, rows):
        last = min(first + rows, ny)
        X, Y = frame_map.to_mosaic.grid(x, (np.arange(first * g, last * g) + 0.5) / g - 0.5)
        part = slice(first, last)
        errors = planes.errors[part] if planes.errors.size else planes.errors
        drop_points(
            X - box.x0, Y - box.y0, g, planes.values[part], errors, planes.good[part] * areas[part], sums
        )
    value, error, count, area = sums
    return _divide(value, error if planes.errors.size else planes.errors, count, area / g**2)


def _cubic(planes: _Planes, frame_map: FrameMap, how: Interpolation) -> _Result:
    box = frame_map.box
    mean, error, coverage = _overlap(planes, frame_map, Interpolation())
    X, Y = frame_map.to_frame.grid(box.x0 + np.arange(box.nx), box.y0 + np.arange(box.ny))
    convolve(X, Y, how.alpha, planes.values, planes.errors, planes.good, mean, error, coverage)
    return mean, error, coverage
