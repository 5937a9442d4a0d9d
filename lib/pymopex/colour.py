"""Colour correction: from the flux density that the calibration quotes to that of a source of another spectrum.

Notes
-----
The quoted flux density is right for a source of the reference spectrum: nu F_nu constant for IRAC, a blackbody of
10 000 K for MIPS. For another spectrum the flux density at the nominal wavelength is the quoted one over K.

References
----------
IRAC Instrument Handbook, section 4.4, equations 4.1 to 4.10 and the tables of colour corrections for power laws and
blackbodies. MIPS Instrument Handbook, section 4.3 (reference spectrum of 10 000 K).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_LIGHT = 2.99792458e14  # speed of light [micrometre/s]

_HC_K = 14387.768775  # micrometre kelvin, h c / k

WAVELENGTHS = {"I1": 3.550, "I2": 4.493, "I3": 5.731, "I4": 7.872, "M1": 23.675, "M2": 71.42, "M3": 155.9}
"""Nominal wavelengths [micrometre]: IRAC, knowledge base of the Spitzer Science Center on colour corrections and the
handbook's section 4.4; MIPS, Instrument Handbook (effective wavelengths)."""

REFERENCE_TEMPERATURE = 1e4
"""Of the reference spectrum of MIPS [K]."""

_INDICES = (-2.0, -1.0, 0.0, 1.0, 2.0)
_POWER_LAW = {
    "I1": (1.0037, 1.0, 1.0, 1.0037, 1.0111),
    "I2": (1.0040, 1.0, 1.0, 1.0040, 1.0121),
    "I3": (1.0052, 1.0, 1.0, 1.0052, 1.0155),
    "I4": (1.0111, 1.0, 1.0, 1.0113, 1.0337),
}
_TEMPERATURES = (200.0, 400.0, 600.0, 800.0, 1000.0, 1500.0, 2000.0, 5000.0)
_BLACKBODY = {
    "I1": (1.5138, 1.0614, 1.0068, 0.9953, 0.9933, 0.9959, 0.9990, 1.0063),
    "I2": (1.2929, 1.0240, 0.9961, 0.9927, 0.9938, 0.9983, 1.0015, 1.0080),
    "I3": (1.1717, 1.0042, 0.9907, 0.9921, 0.9952, 1.0012, 1.0048, 1.0114),
    "I4": (1.1215, 0.9818, 0.9839, 0.9928, 1.0001, 1.0112, 1.0163, 1.0269),
}


@dataclass(frozen=True)
class Spectrum:
    """The spectrum of the sources.

    Parameters
    ----------
    kind : {'power_law', 'blackbody'}
        What it is.
    value : float
        alpha of F_nu proportional to nu^alpha, or the temperature [K].
    """

    kind: str
    value: float

    def flux(self, wavelength: np.ndarray) -> np.ndarray:
        """Give F_nu at wavelengths [micrometre], in units of no account."""
        if self.kind == "power_law":
            return np.asarray(wavelength, float) ** -self.value
        return blackbody(wavelength, self.value)


def published(band: str, spectrum: Spectrum) -> float:
    """Look K up in the tables of the handbook.

    Parameters
    ----------
    band : str
        I1 to I4.
    spectrum : Spectrum
        Index from -2 to 2, or temperature of at least 200 K.

    Returns
    -------
    float
        K; between the entries by monotone cubic interpolation, in the index, or in the inverse of the temperature
        (where an infinite temperature is nu^2).

    Raises
    ------
    ValueError
        The tables say nothing of the band or the spectrum.

    References
    ----------
    IRAC Instrument Handbook, section 4.4, tables of colour corrections.
    """
    from scipy.interpolate import PchipInterpolator

    if band not in _POWER_LAW:
        raise ValueError(
            f"no colour corrections of {band} are in the tables; give the response of the band (Response_Curve)"
        )
    if spectrum.kind == "power_law":
        if not _INDICES[0] <= spectrum.value <= _INDICES[-1]:
            raise ValueError(
                f"index {spectrum.value:g} is outside the table, -2 to 2; give the response of the band "
                "(Response_Curve)"
            )
        return float(PchipInterpolator(_INDICES, _POWER_LAW[band])(spectrum.value))
    if not spectrum.value >= _TEMPERATURES[0]:
        raise ValueError(
            f"temperature {spectrum.value:g} K is below the table, which begins at 200 K; give the response of the "
            "band (Response_Curve)"
        )
    inverse = [0.0, *(1 / t for t in reversed(_TEMPERATURES))]
    values = [_POWER_LAW[band][-1], *reversed(_BLACKBODY[band])]
    return float(np.exp(PchipInterpolator(inverse, np.log(values))(1 / spectrum.value)))


def computed(band: str, spectrum: Spectrum, wavelength: np.ndarray, response: np.ndarray) -> float:
    """Integrate K over the response of a band.

    Parameters
    ----------
    band : str
        I1 to I4, M1 to M3: gives nominal wavelength and reference spectrum.
    spectrum : Spectrum
        Of the source.
    wavelength : ndarray, shape (n,)
        Wavelengths of the response [micrometre], increasing or decreasing.
    response : ndarray, shape (n,)
        Electrons per photon, in any unit.

    Returns
    -------
    float
        K.

    Raises
    ------
    ValueError
        The response is no curve: fewer than 3 points, wavelengths that repeat or are not positive, no positive values.

    Notes
    -----
    K is the integral of (F_nu / F_nu0) (nu0 / nu) R over nu, over the same integral of the reference spectrum; R is per
    photon, hence nu0 / nu. The trapezoidal rule on the points of the curve.

    References
    ----------
    IRAC Instrument Handbook, section 4.4, equations 4.8 to 4.10.
    """
    w, r = np.asarray(wavelength, float), np.asarray(response, float)
    order = np.argsort(w)
    w, r = w[order], r[order]
    if len(w) < 3 or not (np.isfinite(w).all() and np.isfinite(r).all()):
        raise ValueError("the response needs three points or more, all of them numbers")
    if w[0] <= 0 or (np.diff(w) <= 0).any():
        raise ValueError("the wavelengths of the response are not positive and different from each other")
    if not (r > 0).any():
        raise ValueError("the response is nowhere above 0")
    reference = (
        Spectrum("power_law", -1.0) if band.startswith("I") else Spectrum("blackbody", REFERENCE_TEMPERATURE)
    )
    middle = np.array([WAVELENGTHS[band]])

    def collected(source: Spectrum) -> float:
        nu = _LIGHT / w
        values = source.flux(w) / source.flux(middle) * r / nu
        return float(np.sum((values[1:] + values[:-1]) * (nu[:-1] - nu[1:])) / 2)

    return collected(spectrum) / collected(reference)


def blackbody(wavelength: np.ndarray, temperature: float) -> np.ndarray:
    """Give the spectrum of a blackbody.

    Parameters
    ----------
    wavelength : ndarray
        Wavelengths [micrometre].
    temperature : float
        Temperature [K].

    Returns
    -------
    ndarray
        B_nu in units of no account, the shape of the wavelengths.
    """
    w = np.asarray(wavelength, float)
    with np.errstate(over="ignore"):
        return w**-3 / np.expm1(_HC_K / (w * temperature))
