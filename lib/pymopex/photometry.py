"""Aperture photometry with exact overlap of circle and pixels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STATISTICS = ("mode", "median", "mean")
"""Statistics of the sky in the annulus."""

# Variance of the statistic over that of the mean, for many values of normal noise: pi / 2 for the
# median; for 3 median - 2 mean 9 pi / 2 + 4 - 12, as the covariance of median and mean is the mean's variance.
_EXCESS_VARIANCE = {"mean": 1.0, "median": math.pi / 2, "mode": 4.5 * math.pi - 8.0}

_CLIP = 3.0
_MAX_CLIPS = 10


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


@dataclass(frozen=True)
class _Sky:
    level: float = 0.0
    sigma: float = math.nan
    n: int = 0
    variance: float = 0.0


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
    image, good = _checked(image, bad)
    if sigma is not None and np.shape(sigma) != image.shape:
        raise ValueError(f"sigma has shape {np.shape(sigma)}, the image {image.shape}")
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape}, y {y.shape}: they must be lists of one length")
    _check_rules(radii, annulus, statistic)
    n, k = len(x), len(radii)
    flux, uncertainty, bad_pixels = np.full((n, k), np.nan), np.full((n, k), np.nan), np.zeros((n, k), int)
    skies = [_Sky()] * n
    for i in range(n):
        if not _on_image(x[i], y[i], image.shape):
            bad_pixels[i] = [_touched(x[i], y[i], radius) for radius in radii]
            continue
        if annulus is not None:
            skies[i] = _sky(image, good, x[i], y[i], annulus, statistic, min_pixels)
        for j in range(k):
            flux[i, j], uncertainty[i, j], bad_pixels[i, j] = _sum(
                image, sigma, good, x[i], y[i], radii[j], skies[i]
            )
    return ApertureResult(
        flux,
        uncertainty,
        bad_pixels,
        sky=np.array([sky.level for sky in skies], dtype=np.float64),
        sky_sigma=np.array([sky.sigma for sky in skies], dtype=np.float64),
        n_sky=np.array([sky.n for sky in skies], dtype=np.int64),
    )


def _checked(image: np.ndarray, bad: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Image as a 2-D array, and where it can be used."""
    image = np.asarray(image)
    if image.ndim != 2:
        raise ValueError(f"image must have 2 dimensions, not {image.ndim}")
    good = np.isfinite(image)
    if bad is not None:
        if np.shape(bad) != image.shape:
            raise ValueError(f"bad has shape {np.shape(bad)}, the image {image.shape}")
        good &= ~np.asarray(bad, dtype=bool)
    return image, good


def _check_rules(radii: Sequence[float], annulus: tuple[float, float] | None, statistic: str) -> None:
    if len(radii) == 0 or not all(radius > 0 and math.isfinite(radius) for radius in radii):
        raise ValueError(f"radii {list(radii)} must be positive, and at least one")
    if annulus is not None and not 0 <= annulus[0] < annulus[1] < math.inf:
        raise ValueError(f"the outer radius of the annulus {annulus} must be larger than the inner one")
    if statistic not in STATISTICS:
        raise ValueError(f"statistic = {statistic!r} must be one of {', '.join(STATISTICS)}")


def _on_image(x: float, y: float, shape: tuple[int, ...]) -> bool:
    return -0.5 <= x < shape[1] - 0.5 and -0.5 <= y < shape[0] - 0.5


def _box(x: float, y: float, radius: float) -> tuple[int, int, int, int]:
    """First pixel and size of the box round a circle: x0, y0, nx, ny."""
    x0, y0 = math.floor(x - radius + 0.5), math.floor(y - radius + 0.5)
    return x0, y0, math.ceil(x + radius + 0.5) - x0, math.ceil(y + radius + 0.5) - y0


def _overlap(x: float, y: float, radius: float) -> tuple[int, int, np.ndarray]:
    """Fraction of each pixel that lies in a circle, and the first pixel of this array."""
    from photutils.geometry import circular_overlap_grid

    x0, y0, nx, ny = _box(x, y, radius)
    left, low = x0 - 0.5 - x, y0 - 0.5 - y
    return x0, y0, circular_overlap_grid(left, left + nx, low, low + ny, nx, ny, radius, 1, 1)


def _cut(x0: int, y0: int, size: tuple[int, ...], shape: tuple[int, ...]) -> tuple[tuple, tuple]:
    """Slices that cut the part of a box on the image out of the image, and out of an array on the box."""
    y = slice(max(0, y0), max(0, min(shape[0], y0 + size[0])))
    x = slice(max(0, x0), max(0, min(shape[1], x0 + size[1])))
    return (y, x), (slice(y.start - y0, y.stop - y0), slice(x.start - x0, x.stop - x0))


def _touched(x: float, y: float, radius: float) -> int:
    """Count the pixels that a circle touches; one at an unknown position is taken to be at a pixel centre."""
    x, y = (at - math.floor(at) if math.isfinite(at) else 0.0 for at in (x, y))
    return int(np.count_nonzero(_overlap(x, y, radius)[2]))


def _sum(
    image: np.ndarray,
    sigma: np.ndarray | None,
    good: np.ndarray,
    x: float,
    y: float,
    radius: float,
    sky: _Sky,
) -> tuple[float, float, int]:
    """Flux, its uncertainty and the number of bad pixels of an aperture."""
    x0, y0, fraction = _overlap(x, y, radius)
    on_image, in_box = _cut(x0, y0, fraction.shape, image.shape)
    inside = fraction[in_box]
    used = good[on_image] & (inside > 0)
    n_bad = int(np.count_nonzero(fraction) - np.count_nonzero(used))
    weight = inside[used]
    if weight.size == 0:
        return math.nan, math.nan, n_bad
    flux = np.sum(weight * (image[on_image][used].astype(np.float64) - sky.level))
    noise = np.full(weight.size, sky.sigma)
    if sigma is not None:
        known = np.asarray(sigma[on_image][used], dtype=np.float64)
        noise = np.where(np.isfinite(known), known, noise)
    variance = np.sum(weight * noise**2) + np.sum(weight) ** 2 * sky.variance
    return float(flux), math.sqrt(variance), n_bad


def _sky(
    image: np.ndarray,
    good: np.ndarray,
    x: float,
    y: float,
    annulus: tuple[float, float],
    statistic: str,
    min_pixels: int,
) -> _Sky:
    """Sky in the annulus round a source."""
    inner, outer = annulus
    x0, y0, nx, ny = _box(x, y, outer)
    on_image, _ = _cut(x0, y0, (ny, nx), image.shape)
    rows, columns = (np.arange(cut.start, cut.stop) for cut in on_image)
    distance2 = (rows[:, None] - y) ** 2 + (columns - x) ** 2
    values = image[on_image][good[on_image] & (distance2 >= inner**2) & (distance2 < outer**2)]
    if values.size < max(1, min_pixels):
        return _Sky()
    values = _clipped(values.astype(np.float64))
    mean, median, deviation = float(values.mean()), float(np.median(values)), float(values.std())
    level = {"mean": mean, "median": median, "mode": 3 * median - 2 * mean}[statistic]
    return _Sky(level, deviation, values.size, _EXCESS_VARIANCE[statistic] * deviation**2 / values.size)


def _clipped(values: np.ndarray) -> np.ndarray:
    """Values without outliers."""
    for _ in range(_MAX_CLIPS):
        kept = values[np.abs(values - np.median(values)) <= _CLIP * values.std()]
        if kept.size == values.size or kept.size == 0:
            break
        values = kept
    return values
