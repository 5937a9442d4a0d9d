"""Uncertainty of a frame from gain and read noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


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
    """

    gain: float
    read_noise: float
    confusion: float = 0.0

    def __post_init__(self) -> None:
        if not (np.isfinite(self.gain) and self.gain > 0):
            raise ValueError(f"gain = {self.gain} must be above 0")
        for name in ("read_noise", "confusion"):
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
        Gain, read noise and confusion noise.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Uncertainty in the unit of the image; NaN where the image has no finite value.

    Notes
    -----
    ``sigma**2 = (read_noise**2 + confusion**2) / gain**2 + max(image, 0) / gain``: noise of the readout, of faint
    sources, and of the photons. A negative pixel counts no photons. Where all three vanish there is no uncertainty
    to speak of, and the pixel has 0, which no later module accepts.

    References
    ----------
    MOPEX User's Guide, S/N Estimator, equation 6.2.
    """
    value = np.asarray(image, dtype=np.float64)
    fixed = (detector.read_noise**2 + detector.confusion**2) / detector.gain**2
    sigma = np.sqrt(fixed + np.clip(value, 0, None) / detector.gain)
    return np.where(np.isfinite(value), sigma, np.nan).astype(np.float32)
