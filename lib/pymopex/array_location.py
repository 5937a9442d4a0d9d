"""The correction that depends on the place of a source on the array of IRAC, from its published polynomials."""

from __future__ import annotations

import numpy as np

_SIZE, _ORIGIN = 256, 127

_RESPONSE = {
    1: (9.8866790e-01, -2.5460463e-05, -4.5413791e-05, -3.7748392e-07, 9.6670990e-07, 1.1259718e-06),
    2: (9.7713769e-01, 1.6023137e-04, 1.0671203e-04, 6.1546421e-07, 2.3478283e-06, 1.8726664e-06),
    3: (9.8318195e-01, -4.4891858e-04, 5.7375573e-05, 3.5613363e-07, 1.9036209e-06, 1.1912425e-06),
    4: (9.8239745e-01, 2.0132123e-04, -1.9285260e-05, -3.7193490e-07, 1.4509036e-06, 1.8131923e-06),
}
"""Coefficients of 1, x, y, x y, x**2, y**2 by the channel, cryogenic mission."""


def rayleigh_jeans_correction(channel: int) -> np.ndarray:
    """Compute the array-location dependent correction of the cryogenic mission for sources with the colour of stars.

    Parameters
    ----------
    channel : int
        1 to 4.

    Returns
    -------
    ndarray, shape (256, 256)
        Multiply the flux of a source by the value at its pixel. The mean is 1.

    Raises
    ------
    ValueError
        There is no such channel.

    Notes
    -----
    One over the response, a polynomial of the second degree in the pixel counted from (127, 127), 0-based. No
    polynomial is published for the warm mission.

    References
    ----------
    Headers of the calibration files ``ch1_photcorr_rj.fits`` to ``ch4_photcorr_rj.fits`` of the Spitzer Science Center
    (2011), which hold formula and coefficients; IRAC Instrument Handbook, section on the array-location dependent
    photometric corrections; Hora et al. 2008, PASP 120, 1233.
    """
    if channel not in _RESPONSE:
        raise ValueError(f"IRAC has no channel {channel}; 1 to 4 have a correction")
    y, x = np.mgrid[:_SIZE, :_SIZE] - float(_ORIGIN)
    a, b, c, d, e, f = _RESPONSE[channel]
    correction = 1 / (a + b * x + c * y + d * x * y + e * x * x + f * y * y)
    return correction / correction.mean()
