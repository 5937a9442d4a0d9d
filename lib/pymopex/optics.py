"""The point response of Spitzer's cameras, computed from the pupil of the telescope."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pymopex.instruments import Instrument
from pymopex.prf import PRF

APERTURE = 0.85
"""Diameter of the primary mirror [m]."""

OBSCURATION = 0.32
"""Diameter of what the secondary and its baffle hide [m], about."""

FLUX_RADIUS = 10
"""Radius inside which the central PRF sums to 1 [image pixel]: that of the calibration of IRAC."""

_PUPIL = 128  # samples across the pupil: images are free of aliasing to 64 wavelength / diameter
_FINE = 8  # samples per pupil sample, for the part of it that is open
_WAVELENGTHS = (-0.4, 0.0, 0.4)  # of the band, in widths of it
_CENTROID = (
    10.3  # image pixels, half side of the square of the centroid: nearly that of `prf_making.fine_prf`
)
_COARSE = 4  # samples per image pixel that are enough for it
_MARGIN = 3  # image pixels round the PRF, for the convolutions


@dataclass(frozen=True)
class Aberrations:
    """Errors of the wavefront [micrometre rms], in Zernike terms.

    Parameters
    ----------
    focus : float
        Defocus.
    astigmatism : (float, float)
        At 0 and at 45 degrees.
    coma : (float, float)
        Along x and along y.
    """

    focus: float = 0.0
    astigmatism: tuple[float, float] = (0.0, 0.0)
    coma: tuple[float, float] = (0.0, 0.0)


def field_aberrations(x: float, y: float) -> Aberrations:
    """Give aberrations that grow with the distance from the middle of the array.

    Parameters
    ----------
    x, y : float
        Place on the array, -1 to 1 from edge to edge.

    Returns
    -------
    Aberrations
        None in the middle; in the corners 0.1 micrometre of coma, and astigmatism and defocus of the same size.

    Notes
    -----
    Invented, with the powers of the field that third-order optics has: coma linear, astigmatism and defocus quadratic.
    The PRFs of IRAC vary over the array by a similar amount.
    """
    return Aberrations(
        focus=0.05 * (x * x + y * y),
        astigmatism=(0.05 * (x * x - y * y), 0.1 * x * y),
        coma=(0.07 * x, 0.07 * y),
    )


def prf(
    instrument: Instrument, aberrations: Aberrations | None = None, *, sampling: int = 20, reach: int = 13
) -> PRF:
    """Compute the PRF of a camera.

    Parameters
    ----------
    instrument : Instrument
        The camera.
    aberrations : Aberrations, optional
        Errors of the wavefront beside the blur of the camera; none by default.
    sampling : int
        Samples per image pixel, even.
    reach : int
        Half size [image pixel].

    Returns
    -------
    PRF
        float64 samples; its centroid lies in the middle of the central sample; normalised so that the central
        PRF sums to 1 within `FLUX_RADIUS` pixels.

    Raises
    ------
    ValueError
        A sampling that is odd or below 2, or a reach that does not hold `FLUX_RADIUS`.

    Notes
    -----
    The image of a round pupil with a round obscuration (no spiders), averaged over three wavelengths of the band, is
    blurred by a Gaussian and by the square pixel. The width of the Gaussian is set for the published width of the PRF.
    The response does not vary inside a pixel. Nothing is beyond the reach: a very bright star has a square edge.

    References
    ----------
    Werner et al. 2004, ApJS 154, 1 (telescope); Fazio et al. 2004, ApJS 154, 10 (IRAC, table 1); Rieke et al. 2004,
    ApJS 154, 25 (MIPS); Soummer et al. 2007, Optics Express 15, 15935, section 3 (matrix Fourier transform).
    """
    if sampling < 2 or sampling % 2:
        raise ValueError(f"samples per pixel must be even, not {sampling}")
    if reach <= FLUX_RADIUS:
        raise ValueError(f"the PRF must reach farther than {FLUX_RADIUS} pixels, not {reach}")
    how = aberrations or Aberrations()
    centre = (0.0, 0.0)
    if any(how.coma):  # the other terms are symmetric
        centre = _centroid(_response(instrument, how, _COARSE, reach, centre), _COARSE)
    samples = _response(instrument, how, sampling, reach, centre)
    return PRF(samples, sampling, sampling).normalised(FLUX_RADIUS * sampling)


def _response(
    instrument: Instrument, how: Aberrations, sampling: int, reach: int, centre: tuple[float, float]
) -> np.ndarray:
    """Diffraction image, blurred by Gaussian and pixel; `centre` [image pixel] comes to lie in the middle."""
    half = (reach + _MARGIN) * sampling
    at = np.arange(-half, half + 1) / sampling
    x, y = ((at + c) * math.radians(p / 3600) for c, p in zip(centre, instrument.pixel, strict=True))
    opened, error = _pupil(how)
    band = instrument.band
    image = np.zeros((at.size, at.size))
    for part in _WAVELENGTHS:
        wavelength = band.wavelength * (1 + part * band.width)
        image += _image(opened, error, wavelength, x, y)
    sigma = [band.blur / p * sampling for p in reversed(instrument.pixel)]
    image = ndimage.gaussian_filter(image, sigma, mode="nearest", truncate=6)
    box = np.ones(sampling + 1)
    box[[0, -1]] = 0.5
    for axis in (0, 1):
        image = ndimage.convolve1d(image, box, axis=axis, mode="nearest")
    cut = _MARGIN * sampling
    return image[cut:-cut, cut:-cut]


def _image(
    opened: np.ndarray, error: np.ndarray, wavelength: float, x: np.ndarray, y: np.ndarray
) -> np.ndarray:
    """Intensity at the angles x, y [rad] by the matrix Fourier transform of the pupil."""
    field = opened * np.exp(2j * np.pi / wavelength * error)
    across = _positions() * APERTURE / (wavelength * 1e-6)
    amplitude = np.exp(-2j * np.pi * np.outer(y, across)) @ field @ np.exp(-2j * np.pi * np.outer(across, x))
    # the same energy in each wavelength: the image shrinks with it, and its peak grows
    return (amplitude.real**2 + amplitude.imag**2) / wavelength**2


def _positions() -> np.ndarray:
    """Middles of the samples of the pupil, in diameters."""
    return (np.arange(_PUPIL) + 0.5) / _PUPIL - 0.5


def _pupil(how: Aberrations) -> tuple[np.ndarray, np.ndarray]:
    """Open part of each sample of the pupil, and error of the wavefront [micrometre]."""
    n = _PUPIL * _FINE
    fine = ((np.arange(n) + 0.5) / n - 0.5) * APERTURE
    r = np.hypot(fine[:, None], fine)
    inside = ((r <= APERTURE / 2) & (r >= OBSCURATION / 2)).astype(float)
    opened = inside.reshape(_PUPIL, _FINE, _PUPIL, _FINE).mean(axis=(1, 3))
    x, y = 2 * _positions()[None, :], 2 * _positions()[:, None]
    rr = x * x + y * y
    # Zernike polynomials of unit rms over the full circle (Noll 1976, JOSA 66, 207, table I)
    error = how.focus * math.sqrt(3) * (2 * rr - 1)
    error = error + math.sqrt(6) * (how.astigmatism[0] * (x * x - y * y) + how.astigmatism[1] * 2 * x * y)
    return opened, error + math.sqrt(8) * (3 * rr - 2) * (how.coma[0] * x + how.coma[1] * y)


def _centroid(samples: np.ndarray, sampling: int) -> tuple[float, float]:
    """Centroid of the middle of the image, counted from the central sample [image pixel]."""
    ny, nx = samples.shape
    half = round(_CENTROID * sampling)
    inner = samples[ny // 2 - half : ny // 2 + half + 1, nx // 2 - half : nx // 2 + half + 1]
    at = np.arange(-half, half + 1) / sampling
    return float(inner.sum(axis=0) @ at / inner.sum()), float(inner.sum(axis=1) @ at / inner.sum())


def fwhm(one: PRF) -> float:
    """Full width at half maximum of a PRF.

    Parameters
    ----------
    one : PRF
        Any PRF with its peak near the middle.

    Returns
    -------
    float
        Diameter of the circle that has the area of the samples above half of the peak [image pixel].
    """
    above = np.count_nonzero(one.samples >= one.samples.max() / 2)
    return 2 * math.sqrt(above / (math.pi * one.factor_x * one.factor_y))


def sampled(one: PRF, sampling: int, size: int) -> np.ndarray:
    """Give a PRF in the form of the archive: few samples per pixel in a square array.

    Parameters
    ----------
    one : PRF
        Finely sampled PRF, the same on both axes.
    sampling : int
        Samples per image pixel to keep, a divisor of the factor of the PRF.
    size : int
        Side of the array; the source lies in the sample ``size // 2`` (0-based) of each axis.

    Returns
    -------
    ndarray, shape (size, size), float32
        The samples, not normalised anew.

    Raises
    ------
    ValueError
        The sampling is no divisor, or the PRF does not reach to the corners of the array.
    """
    step, rest = divmod(one.factor_x, sampling)
    if rest or one.factor_x != one.factor_y:
        raise ValueError(
            f"a PRF of {one.factor_x} x {one.factor_y} samples per pixel has no form of {sampling}"
        )
    offset = (np.arange(size) - size // 2) * step
    iy, ix = (n // 2 + offset for n in one.samples.shape)
    if min(iy[0], ix[0]) < 0 or iy[-1] >= one.samples.shape[0] or ix[-1] >= one.samples.shape[1]:
        raise ValueError(f"the PRF is too small for {size} x {size} samples of {sampling} per pixel")
    return one.samples[np.ix_(iy, ix)].astype(np.float32)
