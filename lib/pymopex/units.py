"""Conversion between surface brightness and flux."""

from __future__ import annotations

import math

import numpy as np

ARCSEC2_PER_SR = (180.0 / math.pi * 3600.0) ** 2
"""Square arcseconds in a steradian."""

MJY_SR_TO_UJY_ARCSEC2 = 1e12 / ARCSEC2_PER_SR
"""Microjansky per square arcsecond in 1 MJy/sr: 23.5044."""


def ujy_per_mjysr(solid_angle_sr: float | np.ndarray) -> float | np.ndarray:
    """Flux of a pixel of 1 MJy/sr.

    Parameters
    ----------
    solid_angle_sr : float or ndarray
        Solid angle of the pixel [sr].

    Returns
    -------
    float or ndarray
        Microjansky per MJy/sr, the shape of the input.
    """
    return 1e12 * solid_angle_sr
