"""Making PRFs: finer samples, the centred odd form that the fit wants, and the kernel of a mosaic."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from scipy import interpolate, ndimage

from pymopex.prf import PRF

_ORDERS = {"linear": 1, "spline": 3}
_RINGS = 8  # angles at which the azimuthal mean is taken, per octant


def magnify(samples: np.ndarray, factor: int, method: str = "linear") -> np.ndarray:
    """Interpolate an image to a finer grid.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        Image.
    factor : int
        New samples per old one.
    method : {'linear', 'spline'}
        Bilinear, or cubic spline.

    Returns
    -------
    ndarray, shape (factor ny, factor nx)
        New sample k lies at old sample k / factor; beyond the last old sample its value is repeated.

    Raises
    ------
    ValueError
        Unknown method, factor below 1, or not an image.
    """
    if method not in _ORDERS:
        raise ValueError(f"method must be one of {', '.join(_ORDERS)}, not {method!r}")
    if factor < 1 or samples.ndim != 2:
        raise ValueError(
            f"magnify needs a 2-D image and a factor of 1 or more, not {samples.ndim}-D and {factor}"
        )
    out = np.asarray(samples, dtype=float)
    for axis in (0, 1):
        n = out.shape[axis]
        at = np.minimum(np.arange(factor * n) / factor, n - 1)
        out = _along(out, at, axis, _ORDERS[method])
    return out


def _along(image: np.ndarray, at: np.ndarray, axis: int, order: int) -> np.ndarray:
    """Interpolate along one axis at the indices `at`; 0 outside the image."""
    n = image.shape[axis]
    moved = np.moveaxis(image, axis, 0)
    if order == 3:
        coefficients = np.pad(
            ndimage.spline_filter1d(moved, 3, axis=0, mode="mirror"), [(1, 2), (0, 0)], "reflect"
        )
    else:
        coefficients = np.pad(moved, [(1, 2), (0, 0)], "edge")
    inside = (at >= 0) & (at <= n - 1)
    clipped = np.clip(at, 0, n - 1)
    base = np.floor(clipped).astype(int)
    t = clipped - base
    s = 1 - t
    if order == 3:
        weights = [s**3, 4 + t * t * (3 * t - 6), 4 + s * s * (3 * s - 6), t**3]
        weights = [w / 6 for w in weights]
    else:
        weights = [np.zeros_like(t), s, t, np.zeros_like(t)]
    out = np.zeros((at.size, moved.shape[1]))
    for k, weight in enumerate(weights):
        out += (weight * inside)[:, None] * coefficients[base + k]
    return np.moveaxis(out, 0, axis)


def centroid(image: np.ndarray, border: int = 0) -> tuple[float, float]:
    """First-moment centroid.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image.
    border : int
        Width of the margin left out.

    Returns
    -------
    x, y : float
        Centroid, 0-based.

    Raises
    ------
    ValueError
        Nothing is left inside the border, or its sum is not positive.
    """
    ny, nx = image.shape
    if 2 * border >= min(ny, nx):
        raise ValueError(f"a border of {border} leaves nothing of an image of {nx} x {ny}")
    inner = image[border : ny - border, border : nx - border]
    total = inner.sum(dtype=float)
    if not total > 0:
        raise ValueError(f"no centroid: the image sums to {total:g}")
    x = inner.sum(axis=0, dtype=float) @ np.arange(inner.shape[1]) / total
    y = inner.sum(axis=1, dtype=float) @ np.arange(inner.shape[0]) / total
    return float(x) + border, float(y) + border


def fine_prf(
    samples: np.ndarray,
    factor: int = 5,
    magnification: int = 20,
    *,
    method: str = "linear",
    centroid_border: int = 250,
    zero_border: int = 50,
) -> PRF:
    """Make the finely sampled, odd and centred PRF that the fit wants from a coarse one of any size.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        PRF as published, for example 128 x 128 samples of a fifth of a pixel.
    factor : int
        Samples per image pixel of the input.
    magnification : int
        New samples per old one.
    method : {'linear', 'spline'}
        Interpolation for the magnification and for the shift.
    centroid_border : int
        Margin left out of the centroid [new samples].
    zero_border : int
        Margin set to 0 at the end [new samples].

    Returns
    -------
    PRF
        float32 samples, `factor` times `magnification` per pixel; not normalised.

    Raises
    ------
    ValueError
        See `magnify` and `centroid`.

    Notes
    -----
    The steps are the published ones for the IRAC PRFs: magnify linearly, drop the last row and column of an
    even axis, shift by (NAXIS + 1) / 2 minus the centroid (1-based), zero the border. How the shift was
    interpolated is not published; here it is done together with the magnification, so that the image is
    interpolated only once. Use 'linear' to agree with the archive's PRFs, 'spline' for less blur: linear
    interpolation between samples of a fifth of a pixel lowers the peak and widens the core slightly.

    References
    ----------
    IRAC Instrument Handbook, appendix C; "Using PRFs in APEX" of the Spitzer Science Center.
    """
    fine = magnify(samples, magnification, method)
    ny, nx = (n - 1 + n % 2 for n in fine.shape)
    x, y = centroid(fine[:ny, :nx], centroid_border)
    moved = np.asarray(samples, dtype=float)
    for axis, n, centre in ((0, ny, y), (1, nx, x)):
        at = (np.arange(n) + centre - (n - 1) / 2) / magnification
        moved = _along(moved, at, axis, _ORDERS[method])
    out = np.zeros((ny, nx), np.float32)
    inner = (slice(zero_border, ny - zero_border), slice(zero_border, nx - zero_border))
    out[inner] = moved[inner]
    return PRF(out, factor * magnification, factor * magnification)


def mosaic_kernel(
    prf: PRF,
    pixel_ratio: float,
    *,
    sampling: int = 4,
    drop: float = 1.0,
    round_off: bool = True,
    radius: float | None = None,
    circle: bool = False,
) -> PRF:
    """Give the PRF of the pixels of a mosaic, for detection.

    Parameters
    ----------
    prf : PRF
        PRF of the frames.
    pixel_ratio : float
        Mosaic pixel / frame pixel (side lengths).
    sampling : int
        Samples per mosaic pixel of the result.
    drop : float
        Side of the frame pixel as it is laid on the mosaic, in frame pixels (DRIZ_FAC; 1 for overlap areas).
    round_off : bool
        Take the azimuthal mean: frames of several roll angles are mixed in the mosaic.
    radius : float or None
        Half size of the result [mosaic pixel]; None keeps the reach of the PRF.
    circle : bool
        Set samples farther than `radius` from the middle to 0, so that the flux is that within a circle.

    Returns
    -------
    PRF
        Odd array of `sampling` samples per mosaic pixel, normalised over the whole array, so that the pixels
        of a source of unit flux sum to 1.

    Raises
    ------
    ValueError
        A ratio, drop, sampling or radius that is not positive.

    Notes
    -----
    A frame pixel spreads its value over its drop, and a mosaic pixel averages what falls on it. Averaged over
    the places of the source in the pixels, the mosaic PRF is the frame PRF convolved with the boxes of drop
    and mosaic pixel. Both boxes are taken along the frame axes. The shape at one place of a mosaic of few
    frames differs from this mean.
    """
    if not (pixel_ratio > 0 and drop > 0 and sampling >= 1 and (radius is None or radius > 0)):
        raise ValueError(
            f"bad mosaic kernel: pixel_ratio {pixel_ratio}, drop {drop}, sampling {sampling}, radius {radius}"
        )
    coarse = prf.decimated()
    reach = math.ceil((drop + pixel_ratio) / 2)
    blurred = np.pad(
        np.asarray(coarse.samples, dtype=float),
        [(reach * coarse.factor_y,) * 2, (reach * coarse.factor_x,) * 2],
    )
    for axis, factor in ((0, coarse.factor_y), (1, coarse.factor_x)):
        for width in (drop, pixel_ratio):
            blurred = ndimage.convolve1d(blurred, _box(width * factor), axis=axis, mode="constant")
    half = (
        min(n // 2 / f for n, f in zip(blurred.shape, (coarse.factor_y, coarse.factor_x), strict=True))
        / pixel_ratio
    )
    count = math.floor((half if radius is None else min(radius, half)) * sampling)
    offset = np.arange(-count, count + 1) * pixel_ratio / sampling
    coefficients = ndimage.spline_filter(blurred, 3, mode="mirror")
    centre_y, centre_x = (n // 2 for n in blurred.shape)

    def at(dx: np.ndarray, dy: np.ndarray) -> np.ndarray:
        where = [dy * coarse.factor_y + centre_y, dx * coarse.factor_x + centre_x]
        return ndimage.map_coordinates(coefficients, where, order=3, mode="constant", prefilter=False)

    flat = np.broadcast_arrays(offset[None, :], offset[:, None])
    samples = _round(at, offset) if round_off else at(*flat)
    if circle:
        samples = np.where(np.hypot(*flat) <= count * pixel_ratio / sampling, samples, 0.0)
    return PRF(samples, sampling, sampling).normalised()


def _box(width: float) -> np.ndarray:
    """Sample a box of any width: sum 1 and the second moment of the box, so that it neither blurs nor sharpens."""
    edge = np.arange(-math.ceil((width + 1) / 2) - 0.5, math.ceil((width + 1) / 2) + 1)
    covered = np.diff(np.clip(edge, -width / 2, width / 2)) / width
    at = np.arange(covered.size) - covered.size // 2
    excess = covered @ at**2 - width**2 / 12
    return np.convolve(covered, [-excess / 2, 1 + excess, -excess / 2])


def _round(at: Callable[[np.ndarray, np.ndarray], np.ndarray], offset: np.ndarray) -> np.ndarray:
    """Azimuthal mean on a square grid."""
    r = np.hypot(offset[:, None], offset[None, :])
    radii = np.linspace(0.0, r.max(), 2 * offset.size)
    angle = 2 * np.pi * np.arange(8 * _RINGS) / (8 * _RINGS)
    profile = at(radii[:, None] * np.cos(angle), radii[:, None] * np.sin(angle)).mean(axis=1)
    return interpolate.CubicSpline(radii, profile, bc_type=((1, 0.0), "not-a-knot"))(r)
