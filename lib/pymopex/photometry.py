"""Aperture photometry with exact overlap of circle and pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np

from pymopex import aperture_kernels
from pymopex.background import native_float

STATISTICS = ("mode", "median", "mean")
"""Statistics of the sky in the annulus."""

_KERNELS = {"mean": aperture_kernels.MEAN, "median": aperture_kernels.MEDIAN, "mode": aperture_kernels.MODE}


@dataclass(frozen=True, eq=False)
class ApertureResult:
    """Fluxes of n sources in k apertures.

    Parameters
    ----------
    flux : ndarray of float, shape (n, k)
        Sum over the aperture, sky subtracted. [image unit times pixel]
    uncertainty : ndarray of float, shape (n, k)
        1-sigma uncertainty of `flux`; NaN where nothing tells it.
    bad_pixels : ndarray of int, shape (n, k)
        Pixels that the aperture touches and that are bad, without data or outside the image.
    sky : ndarray of float, shape (n,)
        Sky that was subtracted; 0 if none was. [image unit]
    sky_sigma : ndarray of float, shape (n,)
        Standard deviation of the sky pixels; NaN if no sky was subtracted. [image unit]
    n_sky : ndarray of int, shape (n,)
        Pixels that the sky was made from; 0 if none was subtracted.
    """

    flux: np.ndarray
    uncertainty: np.ndarray
    bad_pixels: np.ndarray
    sky: np.ndarray
    sky_sigma: np.ndarray
    n_sky: np.ndarray


def aperture_photometry(
    image: np.ndarray,
    sigma: np.ndarray | None,
    bad: np.ndarray | None,
    x: np.ndarray,
    y: np.ndarray,
    radii: Sequence[float],
    *,
    annulus: tuple[float, float] | None = None,
    statistic: str = "mode",
    min_pixels: int = 1,
) -> ApertureResult:
    """Measure sources in circular apertures.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image, any unit per pixel. NaN = no data.
    sigma : ndarray, shape (ny, nx), or None
        1-sigma uncertainty in the unit of `image`.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    x, y : ndarray, shape (n,)
        Positions of the sources. [pixel, 0-based]
    radii : sequence of float, length k
        Radii of the apertures. [pixel]
    annulus : tuple of float or None
        Inner and outer radius of the sky annulus [pixel]; None subtracts no sky.
    statistic : {'mode', 'median', 'mean'}
        Level of the sky; the mode is 3 median - 2 mean.
    min_pixels : int
        Good pixels that the annulus needs; with fewer no sky is subtracted.

    Returns
    -------
    ApertureResult
        Fluxes and the sky. A source off the image, or without a good pixel in an aperture, has flux NaN.

    Raises
    ------
    ValueError
        If shapes differ, or a radius, the annulus or the statistic makes no sense.

    Notes
    -----
    ``F = sum a_i (s_i - sky)`` with the exact fraction a_i of pixel i inside the circle. Bad pixels are left out of the
    sum, as if they held nothing but sky, and counted; the sum is not scaled up.

    The sky comes from the good pixels with their centre in the annulus, inner edge included, without those
    more than 3 standard deviations from their median (repeated up to 10 times). The mode is taken whatever the sign
    of the skewness: using the median or mean where the skewness is negative would bias a flat sky low.

    The variance of F is ``sum a_i sigma_i^2 + (sum a_i)^2 v sigma_sky^2 / n_sky`` over the same pixels. The
    second term is the error of the sky: v is 1 for the mean, pi / 2 for the median, 6.14 for the mode (normal
    noise). Pixels without an uncertainty take the scatter of the sky, sigma_sky. The noise is taken as
    independent from pixel to pixel; for a mosaic the result is too low by the factor of its correlation.

    The legacy formulas of sky and uncertainty are not known; these are ours.

    References
    ----------
    MOPEX User's Guide, Aperture and section 8.9; Stetson 1987, PASP 99, 191, section III.
    """
    image = native_float(image)
    if image.ndim != 2:
        raise ValueError(f"image must have 2 dimensions, not {image.ndim}")
    for name, other in (("sigma", sigma), ("bad", bad)):
        if other is not None and np.shape(other) != image.shape:
            raise ValueError(f"{name} has shape {np.shape(other)}, the image {image.shape}")
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape}, y {y.shape}: they must be lists of one length")
    _check_rules(radii, annulus, statistic)
    n, k = len(x), len(radii)
    result = ApertureResult(
        np.full((n, k), np.nan),
        np.full((n, k), np.nan),
        np.zeros((n, k), np.int64),
        sky=np.zeros(n),
        sky_sigma=np.full(n, np.nan),
        n_sky=np.zeros(n, np.int64),
    )
    columns = (getattr(result, field.name) for field in fields(result))
    aperture_kernels.measure(
        image,
        np.empty((0, 0), image.dtype) if sigma is None else native_float(sigma),
        np.empty((0, 0), bool) if bad is None else np.ascontiguousarray(bad, dtype=bool),
        x,
        y,
        np.asarray(radii, dtype=np.float64),
        (float(annulus[0]), float(annulus[1])) if annulus is not None else (0.0, 0.0),
        _KERNELS[statistic],
        min_pixels,
        tuple(columns),
    )
    return result


def _check_rules(radii: Sequence[float], annulus: tuple[float, float] | None, statistic: str) -> None:
    if len(radii) == 0 or not all(radius > 0 and math.isfinite(radius) for radius in radii):
        raise ValueError(f"radii {list(radii)} must be positive, and at least one")
    if annulus is not None and not 0 <= annulus[0] < annulus[1] < math.inf:
        raise ValueError(f"the outer radius of the annulus {annulus} must be larger than the inner one")
    if statistic not in STATISTICS:
        raise ValueError(f"statistic = {statistic!r} must be one of {', '.join(STATISTICS)}")
