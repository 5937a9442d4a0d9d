"""Uncertainty of a frame from gain and read noise, and the scatter of its sky, which tells what they leave out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymopex.order_statistics import median, robust_scatter

_BRIGHT = 2.5  # sigma above the sky from which on a pixel shows a source
_BLOCK = 32  # pixels, side of the blocks whose medians are the level of the sky
_APART = 2  # pixels between those that are compared: neighbours share the light of faint sources
_NORMAL = 0.986  # what the scatter of normal noise comes out as, since its own peaks are left out too
_ROUNDS = 12
_STEADY = 1e-3  # relative change of the scatter that ends the rounds
_LEAST = 0.05  # of the pixels that must show sky


@dataclass(frozen=True)
class Detector:
    """What makes the noise of a frame.

    Parameters
    ----------
    gain : float
        Electrons per image unit.
    read_noise : float
        Read noise of a pixel [electrons].
    confusion : float
        1-sigma confusion noise of a pixel [electrons].
    subtracted : float
        Background that was taken off the frame; its photons made noise all the same [image unit].
    """

    gain: float
    read_noise: float
    confusion: float = 0.0
    subtracted: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.gain) and self.gain > 0):
            raise ValueError(f"gain = {self.gain} must be above 0")
        for name in ("read_noise", "confusion", "subtracted"):
            value = getattr(self, name)
            if not (np.isfinite(value) and value >= 0):
                raise ValueError(f"{name} = {value} must not be negative")


def electrons_per_unit(exposure: float, gain: float, fluxconv: float) -> float:
    """Give the gain of a calibrated frame.

    Parameters
    ----------
    exposure : float
        Effective integration time [s].
    gain : float
        Electrons per DN.
    fluxconv : float
        Calibration [image unit per DN/s].

    Returns
    -------
    float
        Electrons per image unit.

    Raises
    ------
    ValueError
        One of them is not above 0.

    References
    ----------
    MOPEX User's Guide, S/N Estimator.
    """
    for name, value in (("exposure", exposure), ("gain", gain), ("fluxconv", fluxconv)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{name} = {value} must be above 0")
    return exposure * gain / fluxconv


def estimate_sigma(image: np.ndarray, detector: Detector) -> np.ndarray:
    """Estimate the 1-sigma uncertainty of each pixel.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Frame in the unit of the gain. NaN = no data.
    detector : Detector
        Gain, read noise, confusion noise and subtracted background.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Uncertainty in the unit of the image; NaN where the image has no finite value.

    Notes
    -----
    ``sigma**2 = (read_noise**2 + confusion**2) / gain**2 + max(image + subtracted, 0) / gain``: noise of the readout,
    of faint sources, and of the photons. A negative pixel counts no photons. Where all three vanish there is no
    uncertainty to speak of, and the pixel has 0, which no later module accepts.

    References
    ----------
    MOPEX User's Guide, S/N Estimator, equation 6.2.
    """
    value = np.asarray(image, dtype=np.float64)
    fixed = (detector.read_noise**2 + detector.confusion**2) / detector.gain**2
    sigma = np.sqrt(fixed + np.clip(value + detector.subtracted, 0, None) / detector.gain)
    return np.where(np.isfinite(value), sigma, np.nan).astype(np.float32)


@dataclass(frozen=True)
class Sky:
    """Scatter of the sky of a frame.

    Parameters
    ----------
    scatter : float
        1-sigma scatter of its pixels [image unit]; NaN where too few pixels show sky.
    estimated : float
        Median uncertainty of the same pixels [image unit].
    """

    scatter: float
    estimated: float

    @property
    def ratio(self) -> float:
        """Scatter over estimated uncertainty; NaN where one of them is not known."""
        return self.scatter / self.estimated if self.estimated > 0 else np.nan

    @property
    def missing(self) -> float:
        """Noise that the estimate lacks, added to it in squares [image unit]; 0 if it lacks none."""
        return float(np.sqrt(max(0.0, np.nan_to_num(self.scatter**2 - self.estimated**2))))


def sky_of(image: np.ndarray, sigma: np.ndarray) -> Sky:
    """Measure the scatter of the sky of a frame, and compare it with the uncertainties.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Frame. NaN = no data.
    sigma : ndarray, shape (ny, nx)
        1-sigma uncertainties in the unit of the image.

    Returns
    -------
    Sky
        Scatter, and median uncertainty.

    Notes
    -----
    Pixels beyond 2.5 sigma above the level of the sky, and the 8 round each, are left out; the level is the median of
    the others in blocks of 32 x 32 pixels. The scatter is 1.4826 times the median absolute difference of pixels two
    apart along a row or a column, over the root of 2: gradients and nebulae do not count, and faint sources do as
    far as they are smaller than two pixels. Normal noise gives its standard deviation.
    """
    value = np.asarray(image, dtype=np.float64)
    sky = np.isfinite(value) & np.isfinite(sigma) & (np.asarray(sigma) > 0)
    scatter = _rough(value[sky])
    for _ in range(_ROUNDS):
        shown = _without_sources(value, sky, scatter)
        if np.isfinite(shown).sum() <= _LEAST * value.size:
            return Sky(np.nan, np.nan)
        before, scatter = scatter, _of_pairs(shown) / _NORMAL
        if not scatter > 0:
            return Sky(np.nan, np.nan)
        if abs(scatter / before - 1) < _STEADY:
            break
    return Sky(scatter, median(np.asarray(sigma)[np.isfinite(shown)]))


def _rough(values: np.ndarray) -> float:
    return robust_scatter(values) if values.size else 0.0


def _without_sources(value: np.ndarray, sky: np.ndarray, scatter: float) -> np.ndarray:
    """Give the frame minus the level of its sky, NaN where sources are or no data."""
    from scipy.ndimage import binary_dilation

    square = np.ones((3, 3), dtype=bool)
    shown = np.where(sky, value, np.nan)
    for _ in range(2):  # the first level still has the sources in it
        flat = value - _level(shown)
        bright = binary_dilation(sky & (flat > _BRIGHT * scatter), square)
        shown = np.where(sky & ~bright, value, np.nan)
    return np.where(np.isfinite(shown), flat, np.nan)


def _level(shown: np.ndarray) -> np.ndarray:
    """Give the median of the block of each pixel, and that of all where a block has none."""
    ny, nx = shown.shape
    rows, columns = -(-ny // _BLOCK), -(-nx // _BLOCK)
    padded = np.full((rows * _BLOCK, columns * _BLOCK), np.nan)
    padded[:ny, :nx] = shown
    blocks = padded.reshape(rows, _BLOCK, columns, _BLOCK).swapaxes(1, 2).reshape(rows, columns, -1)
    some = np.isfinite(blocks).any(axis=2)
    level = np.full((rows, columns), np.nanmedian(shown) if some.any() else 0.0)
    level[some] = np.nanmedian(blocks[some], axis=1)
    return np.kron(level, np.ones((_BLOCK, _BLOCK)))[:ny, :nx]


def _of_pairs(shown: np.ndarray) -> float:
    """Scatter of a pixel from the differences of pixels some distance apart; NaN without any."""
    pairs = (shown[:, _APART:] - shown[:, :-_APART], shown[_APART:] - shown[:-_APART])
    off = np.concatenate([pair[np.isfinite(pair)] for pair in pairs])
    return _rough(off) / np.sqrt(2) if off.size else np.nan
