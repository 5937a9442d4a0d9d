"""True variance of interpolated frames and of mosaics, and the noise that neighbouring pixels share.

A pixel of an interpolated frame is a sum of input pixels, ``sum w I``; its variance is ``sum (w s)**2``, less than
the square of the interpolated uncertainty ``sum w s`` of the legacy products. Neighbours share input pixels, so
the noise of an aperture is larger than the root of the sum of these variances.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING

import numba
import numpy as np

from pymopex.geometry import Box, FrameMap, PixelMap
from pymopex.order_statistics import median
from pymopex.stack import Stack

if TYPE_CHECKING:
    from pymopex.interpolation import Interpolation

_SLACK = 0.01  # pixel; above the error of the maps
_PHASES = 8  # positions within an output pixel along each axis
_LEAST_FRAMES = 4  # whose scatter tells the noise
_REACH = 2.5  # pixels; how far an input pixel is felt, beyond its own half, with the cubic kernel and a split pixel


def footprint(frame_map: FrameMap, how: Interpolation) -> int:
    """Count the input pixels along an axis that an output pixel can depend on, at most.

    Parameters
    ----------
    frame_map : FrameMap
        Place of the frame on the mosaic.
    how : Interpolation
        Method and its parameters.

    Returns
    -------
    int
        The number, at least 1.
    """
    box = frame_map.box
    x, y = box.x0 - 0.5 + np.arange(box.nx + 1), box.y0 - 0.5 + np.arange(box.ny + 1)
    extent = 0.0
    for corners in frame_map.to_frame.grid(x, y):
        four = np.stack([corners[:-1, :-1], corners[:-1, 1:], corners[1:, :-1], corners[1:, 1:]])
        extent = max(extent, float(np.ptp(four, axis=0).max()))
    smear = 1.0 if how.method == 1 and how.fineres > 1 else 0.0
    touched = math.ceil(extent + smear + _SLACK) + 1
    return max(touched, 4) if how.method == 4 else touched


def coadd_variance(
    stack: Stack,
    variance: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    sigma_weighted: bool = False,
) -> np.ndarray:
    """Give the variance of the mean of the frames.

    Parameters
    ----------
    stack : Stack
        Values on a tile, as for `pymopex.coadd.coadd`.
    variance : float32 ndarray, shape (n,)
        Variance of each entry of the stack.
    weights : ndarray, shape (n_layers,), optional
        Exposure time of each frame [s]; None weights all alike.
    sigma_weighted : bool
        Weight by inverse variance, of the uncertainties of the stack, besides.

    Returns
    -------
    float32 ndarray, shape stack.shape
        ``sum w**2 v / (sum w)**2`` with w the weights of the mean; NaN without coverage.

    Raises
    ------
    ValueError
        Not as many variances as entries.
    """
    if variance.shape != stack.value.shape:
        raise ValueError(f"{variance.size} variances for {stack.value.size} values")
    times = np.ones(stack.n_layers) if weights is None else np.asarray(weights, dtype=float)
    return _coadd_variance(stack, variance, times, sigma_weighted)


@numba.njit(cache=True, nogil=True)
def _coadd_variance(stack: Stack, variance: np.ndarray, times: np.ndarray, by_sigma: bool) -> np.ndarray:
    out = np.full((stack.ny, stack.nx), np.nan, np.float32)
    for p in range(stack.ny * stack.nx):
        start, stop = stack.first[p], stack.first[p + 1]
        total = weight = 0.0
        for k in range(start, stop):
            w = np.float64(stack.coverage[k]) * times[stack.layer[k]]
            if by_sigma:
                w /= np.float64(stack.sigma[k]) ** 2
            total += w * w * variance[k]
            weight += w
        if stop > start:
            out[p // stack.nx, p % stack.nx] = total / (weight * weight)
    return out


def scatter_ratio(image: np.ndarray, std: np.ndarray, uncertainty: np.ndarray, coverage: np.ndarray) -> float:
    """Give the ratio of the noise that the scatter of the frames shows to the uncertainty, over the sky of a mosaic.

    Parameters
    ----------
    image : ndarray
        Mosaic.
    std : ndarray, the same shape
        Uncertainty of the mean from the scatter.
    uncertainty : ndarray, the same shape
        Propagated uncertainty.
    coverage : ndarray, the same shape
        Coverage, in frames.

    Returns
    -------
    float
        The ratio, NaN if no pixel has a coverage of at least 4 and both.

    Notes
    -----
    The median of the squared ratios, so that what the search for outliers left does not count, over the fainter half
    of the pixels: the undersampled images of stars scatter with their place in the pixel. The median of a variance
    from n values is smaller than its mean by ``(1 - 2 / (9 (n - 1)))**3`` (Wilson & Hilferty), with n the coverage.

    References
    ----------
    Wilson & Hilferty 1931, PNAS 17, 684.
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (std.astype(float) / uncertainty) ** 2 / (1 - 2 / (9 * (coverage - 1.0))) ** 3
    known = (coverage >= _LEAST_FRAMES) & np.isfinite(share)
    if not known.any():
        return math.nan
    faint = image[known] <= median(image[known])
    return math.sqrt(median(share[known][faint]))


@dataclass(frozen=True, eq=False)
class NoiseCorrelation:
    """Correlation of the noise of mosaic pixels.

    Parameters
    ----------
    correlation : ndarray, shape (2 m + 1, 2 m + 1)
        Covariance of two pixels over the variance of one, by their distance in y and x; 1 in the middle.
    """

    correlation: np.ndarray

    @property
    def large(self) -> float:
        """Noise of the sum over a large aperture over the root of the sum of the variances of its pixels."""
        return math.sqrt(float(self.correlation.sum()))

    def aperture(self, radius: float) -> float:
        """Give the same ratio for a circular aperture centred on a pixel.

        Parameters
        ----------
        radius : float
            Radius [pixel]; pixels count whole if their centre is inside.
        """
        return self.weighted(disk(radius))

    def weighted(self, weights: np.ndarray) -> float:
        """Give the same ratio for a sum with any weights.

        Parameters
        ----------
        weights : ndarray, shape (ny, nx)
            Weight of each pixel.
        """
        from scipy.signal import fftconvolve

        spread = fftconvolve(weights.astype(float), self.correlation, mode="same")
        return math.sqrt(float((weights * spread).sum() / (weights**2).sum()))


def disk(radius: float) -> np.ndarray:
    """Give the pixels with a centre within a radius of the middle one, as 1, in an image that just holds them."""
    half = math.floor(radius)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    return (np.hypot(y, x) <= radius).astype(float)


def noise_correlation(frame_map: FrameMap, how: Interpolation) -> NoiseCorrelation:
    """Find how interpolation correlates the noise of a mosaic of many frames.

    Parameters
    ----------
    frame_map : FrameMap
        Place of a frame on the mosaic: pixel ratio and orientation in its middle count.
    how : Interpolation
        Method and its parameters.

    Returns
    -------
    NoiseCorrelation
        Its `large` is R of Fruchter & Hook for drizzle on aligned pixels.

    References
    ----------
    Fruchter & Hook 2002, PASP 114, 144, eqs. 9 and 10: ``r / (1 - 1 / (3 r))`` for r, the drop size over the
    size of the output pixel, of at least 1, else ``1 / (1 - r / 3)``. Casertano et al. 2000, AJ 120, 2747,
    appendix.

    Notes
    -----
    A single bright input pixel is interpolated at a set of positions within an output pixel; the autocorrelation of
    what it adds to the mosaic, value times coverage, averaged over the positions, is the covariance of
    the noise. It holds where the frames have all positions within a pixel and equal weights: with small
    drops and few frames the weights of neighbours differ, and the noise is larger by some per cent.
    """
    matrix = _jacobian(frame_map)
    half = math.ceil(_REACH + 0.5 + np.abs(matrix).sum(axis=1).max())  # input pixels round the bright one
    reach = math.ceil(np.abs(np.linalg.inv(matrix)).sum(axis=1).max() * (0.5 + _REACH)) + 1
    total = np.zeros((4 * reach + 1, 4 * reach + 1))
    for phase in product((np.arange(_PHASES) + 0.5) / _PHASES - 0.5, repeat=2):
        total += _autocorrelation(_response(matrix, np.array(phase), half, reach, how))
    return NoiseCorrelation(total / total[2 * reach, 2 * reach])


def _jacobian(frame_map: FrameMap) -> np.ndarray:
    """Change of the frame pixel with the mosaic pixel in the middle of the box."""
    box = frame_map.box
    x, y = np.array([box.x0 + (box.nx - 1) / 2]), np.array([box.y0 + (box.ny - 1) / 2])
    return np.array([values[0] for values in frame_map.to_frame.jacobian(x, y)]).reshape(2, 2)


def _response(matrix: np.ndarray, phase: np.ndarray, half: int, reach: int, how: Interpolation) -> np.ndarray:
    """Value times coverage on the mosaic of one bright input pixel, whose centre lies off an output pixel's."""
    from pymopex.interpolation import interpolate

    size = 2 * half + 2 * math.ceil(np.abs(matrix).sum(axis=1).max() * reach) + 1
    middle, inverse = size // 2, np.linalg.inv(matrix)

    def to_frame(x, y):
        u, v = x - reach - phase[0], y - reach - phase[1]
        return matrix[0, 0] * u + matrix[0, 1] * v + middle, matrix[1, 0] * u + matrix[1, 1] * v + middle

    def to_mosaic(x, y):
        u, v = x - middle, y - middle
        return (
            inverse[0, 0] * u + inverse[0, 1] * v + reach + phase[0],
            inverse[1, 0] * u + inverse[1, 1] * v + reach + phase[1],
        )

    n = 2 * reach + 1
    placed = FrameMap(
        (size, size),
        Box(0, 0, n, n),
        PixelMap.of(to_frame, (-0.5, n - 0.5), (-0.5, n - 0.5)),
        PixelMap.of(to_mosaic, (-0.5, size - 0.5), (-0.5, size - 0.5)),
    )
    data = np.zeros((size, size))
    data[middle, middle] = 1.0
    found = interpolate(data, None, None, placed, how)
    return np.nan_to_num(found.data.astype(float) * found.coverage)


def _autocorrelation(image: np.ndarray) -> np.ndarray:
    from scipy.signal import correlate

    return correlate(image, image, mode="full", method="direct")
