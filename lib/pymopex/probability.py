"""Probability, and matched-filter signal-to-noise ratio, of a point source at each pixel."""

from __future__ import annotations

import numba
import numpy as np

from pymopex.background import native_float
from pymopex.prf import PRF

# The largest probability below 1 that a float32 image can hold.
_HIGHEST = 1.0 - 2.0**-24

# Share of the pixels with a positive signal that may be saturated before the argument is rescaled.
_SATURATED_SHARE = 0.5

_BLOCK = 128  # pixels of a row that are summed at once: the sums stay in the fastest cache


def kernel_at_pixels(
    samples: np.ndarray, factor_x: int, factor_y: int, size_x: int, size_y: int
) -> np.ndarray:
    """Cut the central PRF: the response of the pixels to a source in the middle of the central one.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        PRF of the image that is searched; both axes odd, the source in the middle of the central sample.
    factor_x, factor_y : int
        Samples per image pixel.
    size_x, size_y : int
        Size of the kernel; an even one is made odd by adding one. [image pixel]

    Returns
    -------
    ndarray of float64, shape (size_y, size_x)
        Fraction of the flux of the source in each pixel. The sum is 1 for a kernel that holds the whole PRF.

    Raises
    ------
    ValueError
        If a size is less than 1, or the samples or factors do not make a PRF that can be normalised.

    Notes
    -----
    The PRF is normalised before it is cut. Beyond the samples the kernel is 0.

    References
    ----------
    MOPEX User's Guide, sections 8.7 and Point Source Probability (PRF_Xsize, PRF_Ysize).
    """
    if size_x < 1 or size_y < 1:
        raise ValueError(f"size of the kernel must be at least 1 x 1 pixel, not {size_x} x {size_y}")
    prf = PRF(np.asarray(samples, dtype=np.float64), factor_x, factor_y).normalised()
    ny, nx = prf.samples.shape
    half_x, half_y = size_x // 2, size_y // 2
    x = nx // 2 + factor_x * np.arange(-half_x, half_x + 1)
    y = ny // 2 + factor_y * np.arange(-half_y, half_y + 1)
    known_x, known_y = (x >= 0) & (x < nx), (y >= 0) & (y < ny)
    kernel = np.zeros((y.size, x.size))
    kernel[np.ix_(known_y, known_x)] = prf.samples[np.ix_(y[known_y], x[known_x])]
    return kernel


def filtered(
    image: np.ndarray, sigma: np.ndarray, kernel: np.ndarray, dtype: type = np.float64
) -> np.ndarray:
    """Filter an image with its PRF: signal-to-noise ratio of a point source at each pixel.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image, any unit. NaN = no data.
    sigma : ndarray, shape (ny, nx)
        1-sigma noise in the unit of `image`. A pixel where it is not a positive number takes no part.
    kernel : ndarray, shape (n, m), n and m odd
        PRF at whole pixels round the source, see `kernel_at_pixels`.
    dtype : type
        Precision of the result; the sums are in double precision.

    Returns
    -------
    ndarray of `dtype`, shape (ny, nx)
        Best-fitting flux of a source in the middle of the pixel over the uncertainty of this flux. NaN where
        the pixel has no data itself or there is no usable pixel under the kernel.

    Raises
    ------
    ValueError
        If the shapes of image and noise differ, or the axes of the kernel are not odd.

    Notes
    -----
    With the kernel K and the sums over the pixels i round j

    ``A(j) = sum s(i) K(i - j) / sigma(i)^2``, ``B(j) = sum K(i - j)^2 / sigma(i)^2``,

    the result is ``A / sqrt(B)``. The guide prints K(j - i), which is the same for a symmetric PRF. It has no
    equation for this image; this one is the square root of twice the exponent of the probability. The noise
    is taken as independent from pixel to pixel, so that the ratio is too high where interpolation has
    made it correlated.

    References
    ----------
    MOPEX User's Guide, Point Source Probability, Eq. 6.6.
    """
    image, sigma, kernel = np.asarray(image), np.asarray(sigma), np.asarray(kernel, dtype=np.float64)
    if image.ndim != 2 or image.shape != sigma.shape:
        raise ValueError(
            f"image has shape {image.shape}, its noise {sigma.shape}: they must be 2-D and equal"
        )
    if kernel.ndim != 2 or kernel.shape[0] % 2 == 0 or kernel.shape[1] % 2 == 0:
        raise ValueError(f"the kernel must be a box of odd size, not of shape {kernel.shape}")
    result: np.ndarray = np.empty(image.shape, dtype)
    _filter(native_float(image), native_float(sigma), kernel, result)
    return result


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _filter(image, sigma, kernel, result):
    """Fill `result` with the signal-to-noise ratio of a source in each pixel; of the weights only few rows are kept."""
    (ny, nx), (height, width) = image.shape, kernel.shape
    low, left = height // 2, width // 2
    weight, signal = np.zeros((height, nx + width - 1)), np.zeros((height, nx + width - 1))
    a, b = np.empty(_BLOCK), np.empty(_BLOCK)
    for y in range(-low, ny):
        _weigh(image, sigma, y + low, left, weight[(y + low) % height], signal[(y + low) % height])
        if y < 0:
            continue
        for start in range(0, nx, _BLOCK):
            n = min(_BLOCK, nx - start)
            a[:] = 0
            b[:] = 0
            for j in range(height):
                row = (y + j - low) % height
                for i in range(width):
                    k, square = kernel[j, i], kernel[j, i] ** 2
                    signals, weights = (
                        signal[row, start + i : start + i + n],
                        weight[row, start + i : start + i + n],
                    )
                    for x in range(n):
                        a[x] += k * signals[x]
                        b[x] += square * weights[x]
            values, ratios = image[y, start : start + n], result[y, start : start + n]
            for x in range(n):
                known = np.isfinite(values[x]) & (b[x] > 0)
                ratios[x] = a[x] / np.sqrt(b[x]) if known else np.nan


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _weigh(image, sigma, y, left, weight, signal):
    """Put the weights of a row, and the signal times these, into lines with a border; 0 off the image."""
    weight[:] = 0
    signal[:] = 0
    if not 0 <= y < image.shape[0]:
        return
    for x in range(image.shape[1]):
        value, error = np.float64(image[y, x]), np.float64(sigma[y, x])
        if np.isfinite(value) and np.isfinite(error) and error > 0:
            weight[left + x] = 1 / error**2
            signal[left + x] = value / error**2


def point_source_probability(
    image: np.ndarray, sigma: np.ndarray, kernel: np.ndarray, *, prior: float
) -> np.ndarray:
    """Probability that there is a point source at each pixel.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image, any unit. NaN = no data.
    sigma : ndarray, shape (ny, nx)
        1-sigma noise in the unit of `image`. A pixel where it is not a positive number takes no part.
    kernel : ndarray, shape (n, m), n and m odd
        PRF at whole pixels round the source, see `kernel_at_pixels`.
    prior : float
        Probability before looking, the lowest value of the result; between 0 and 1.

    Returns
    -------
    ndarray of float64, shape (ny, nx)
        Probability; NaN where the pixel has no data itself or there is no usable pixel under the kernel.

    Raises
    ------
    ValueError
        If the prior is not between 0 and 1; see also `filtered`.

    Notes
    -----
    ``P = 1 / (1 + (1 - P0) / P0 exp(-A^2 / (2 B)))`` with the sums of `filtered` and the prior P0. The guide's
    print of B shows no 1/sigma^2, without which the exponent would have a unit. A negative A counts as 0, so that holes
    are not taken for sources.

    With a noise that is far too small nearly all pixels have probability 1. The guide says that the exponent
    is then rescaled, not how. Ours: if more than half of the pixels with positive A would be 1 in a float32 image, the
    exponents are multiplied by the number that puts their maximum at 1 - 2^-24, the largest float32 number below 1.
    The centres of bright stars alone do not set this off: it would hide the faint ones.

    References
    ----------
    MOPEX User's Guide, Point Source Probability, Eq. 6.6.
    """
    if not 0 < prior < 1:
        raise ValueError(f"the prior probability {prior} must lie between 0 and 1")
    from scipy import special

    argument = 0.5 * np.maximum(filtered(image, sigma, kernel), 0.0) ** 2
    return special.expit(special.logit(prior) + _rescaled(argument, prior))


def _rescaled(argument: np.ndarray, prior: float) -> np.ndarray:
    """Exponents, made smaller if most of them are so large that the probability is 1."""
    from scipy import special

    positive = argument[argument > 0]
    limit = special.logit(_HIGHEST) - special.logit(prior)
    if np.count_nonzero(positive > limit) <= _SATURATED_SHARE * positive.size:
        return argument
    return argument * (limit / positive.max())
