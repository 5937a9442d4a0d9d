"""Corrections of measured fluxes: factors from published figures, each of which multiplies the flux.

References
----------
IRAC Instrument Handbook: section 4.5 (array location), 4.6 (pixel phase), 4.7 (apertures), 4.10 (magnitudes), appendix
C.3 with table C.1 (PRF fluxes). MIPS Instrument Handbook, section 4.3 (apertures, magnitudes).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PRF_NORMALISATION = {"I1": 1.021, "I2": 1.012, "I3": 1.022, "I4": 1.014}
"""What PRF fluxes are divided by; IRAC Instrument Handbook, table C.1, one set for both missions."""

ZERO_POINT = {"I1": 280.9, "I2": 179.7, "I3": 115.0, "I4": 64.13, "M1": 7.17, "M2": 0.778, "M3": 0.160}
"""Flux density of magnitude 0 [Jy]; IRAC Instrument Handbook, section 4.10; MIPS Instrument Handbook, section 4.3."""

NATIVE_PIXEL = {"I1": 1.221, "I2": 1.213, "I3": 1.222, "I4": 1.220}
"""Side of a pixel of the detector [arcsec]; IRAC Instrument Handbook, table 2.1."""

WARM_FROM = 54966.0
"""Modified Julian date of 2009 May 15, when the cryogen ran out."""

RADIUS_TOLERANCE = 0.03
"""Relative difference of radii up to which a published entry holds: 4 pixels of 0.6 arcsec stand for 2 native ones."""

_Rows = tuple[tuple[tuple[float, float, float], tuple[float, ...]], ...]

_WARM: _Rows = (
    ((2, 2, 6), (1.2132, 1.2322)),
    ((2, 12, 20), (1.2026, 1.2228)),
    ((3, 3, 7), (1.1233, 1.1336)),
    ((3, 12, 20), (1.1132, 1.1126)),
    ((4, 12, 20), (1.0736, 1.0809)),
    ((5, 5, 10), (1.0588, 1.0625)),
    ((5, 12, 20), (1.0482, 1.0500)),
    ((6, 12, 20), (1.0315, 1.0349)),
    ((8, 12, 20), (1.0112, 1.0125)),
    ((10, 12, 20), (1.0, 1.0)),
    ((12, 12, 20), (0.9931, 0.9913)),
)
_CRYO: _Rows = (
    ((2, 12, 20), (1.205, 1.221, 1.363, 1.571)),
    ((10, 12, 20), (1.0, 1.0, 1.0, 1.0)),
)
_MIPS24 = (
    ((3.5, 6, 8), 2.78),
    ((3.5, 7, 13), 2.80),
    ((3.5, 20, 32), 2.57),
    ((3.5, 40, 50), 2.56),
    ((7, 7, 13), 2.05),
    ((7, 20, 32), 1.61),
    ((7, 40, 50), 1.61),
    ((13, 20, 32), 1.17),
    ((13, 40, 50), 1.16),
    ((20, 20, 32), 1.15),
    ((20, 40, 50), 1.13),
)

_GAUSSIANS = {
    ("I1", "cryo"): (0.018823169, 0.030359022, 0.091603768, 0.0067795815, 0.17107575, 0.16949466, 0.97909886),
    ("I2", "cryo"): (0.010250904, 0.0091393800, 0.040266280, 0.12475250, 0.17673946, 0.27301699, 0.98964462),
    ("I1", "warm"): (0.039129220, 0.059108698, 0.15899583, 0.037160298, 0.18512016, 0.17005089, 0.95685578),
    ("I2", "warm"): (0.017579553, 0.0092593634, 0.14839436, 0.11459924, 0.18020032, 0.15649627, 0.98847611),
}
_RADIAL = {"I1": 0.0535, "I2": 0.0309}


@dataclass(frozen=True)
class Entry:
    """A published aperture: radius and annulus in its unit (native pixels; arcsec for MIPS), and its factor."""

    radius: float
    inner: float
    outer: float
    factor: float

    def __str__(self) -> str:
        return f"{self.radius:g} ({self.inner:g}-{self.outer:g})"


def mission(mjd: float) -> str:
    """Tell the mission from a date: 'cryo' or 'warm'."""
    return "warm" if mjd >= WARM_FROM else "cryo"


def apertures(band: str, phase: str) -> tuple[Entry, ...]:
    """Give the published aperture corrections.

    Parameters
    ----------
    band : str
        I1 to I4, M1 to M3.
    phase : str
        'cryo' or 'warm'; of no account for MIPS.

    Returns
    -------
    tuple of Entry
        Empty for a band without any.

    Notes
    -----
    Of the cryogenic mission only the entries stand here whose four figures could be verified; 10 pixels is the aperture
    of the calibration, 1 by definition.

    References
    ----------
    IRAC Instrument Handbook, section 4.7 (cryogenic); IRSA, "Warm IRAC only: aperture corrections" (warm). MIPS
    Instrument Handbook, table 4.13 (24 micrometre, blackbody of 10 000 K).
    """
    if band == "M1":
        return tuple(Entry(r, inner, outer, factor) for (r, inner, outer), factor in _MIPS24)
    if not band.startswith("I"):
        return ()
    number = int(band[1]) - 1
    table = _WARM if phase == "warm" else _CRYO
    return tuple(
        Entry(r, inner, outer, factors[number])
        for (r, inner, outer), factors in table
        if number < len(factors)
    )


def aperture_factor(band: str, phase: str, radius: float, annulus: tuple[float, float] | None) -> float:
    """Give the factor that brings a flux in an aperture to the scale of the calibration.

    Parameters
    ----------
    band, phase : str
        As for `apertures`.
    radius : float
        Radius [arcsec].
    annulus : (float, float) or None
        Radii of the annulus of the sky [arcsec]; None for no sky taken off.

    Returns
    -------
    float
        At least 0.99.

    Raises
    ------
    ValueError
        No such aperture is published; the message names those that are.
    """
    unit, name = (NATIVE_PIXEL[band], "native pixels") if band in NATIVE_PIXEL else (1.0, "arcsec")
    entries = apertures(band, phase)
    if annulus is not None:
        given = np.array([radius, *annulus]) / unit
        for entry in entries:
            wanted = np.array([entry.radius, entry.inner, entry.outer])
            if (np.abs(given - wanted) <= RADIUS_TOLERANCE * wanted).all():
                return entry.factor
        found = f"{given[0]:.2f} ({given[1]:.2f}-{given[2]:.2f})"
    else:
        found = f"{radius / unit:.2f} without annulus"
    known = ", ".join(map(str, entries)) or "none"
    raise ValueError(f"no correction of {band} {phase} is known for {found} {name}; known: {known}")


def blueness(index: float) -> float:
    """Tell how much of the array-location correction a source needs.

    Parameters
    ----------
    index : float
        alpha of F_nu proportional to nu^alpha.

    Returns
    -------
    float
        1 for a blue source (Rayleigh-Jeans, 2 and more), 0 for a flat or red one (0 and less), linear between.

    References
    ----------
    IRAC Instrument Handbook, section 4.5: the images are for blue sources, red ones such as the zodiacal light that
    made the flat field need none, and those between are interpolated. That it is linear in alpha, from 0 to 2, is a
    choice made here.
    """
    return float(np.clip(index / 2, 0, 1))


def phase_response(band: str, model: str, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the response of a detector to point sources by their place in a pixel.

    Parameters
    ----------
    band : str
        I1 or I2; others are 1 everywhere.
    model : {'cryo', 'warm', 'radial'}
        Sum of two Gaussians of the cryogenic or the warm mission, or the older radial form of the cryogenic one.
    x, y : ndarray
        Places [pixel], whole numbers in the middle of a pixel.

    Returns
    -------
    ndarray
        Response, 1 on average over a pixel for the Gaussians; fluxes are divided by it.

    Notes
    -----
    Made for aperture photometry on single frames, radius 3 pixels, annulus 3 to 7; larger apertures see less of it.

    References
    ----------
    IRAC Instrument Handbook, section 4.6; parameters of the Gaussians as published with IRAC_APHOT_CORR (Spitzer
    Science Center, 2015), where they are named so; radial form: Reach et al. 2005, PASP 117, 978 and Hora et al. 2008,
    PASP 120, 1233, equation 4: 1 + A (1 / sqrt(2 pi) - p).
    """
    px, py = (np.asarray(v, float) - np.rint(v) for v in (x, y))
    if model == "radial":
        slope = _RADIAL.get(band, 0.0)
        return 1 + slope * (1 / np.sqrt(2 * np.pi) - np.hypot(px, py))
    if (band, model) not in _GAUSSIANS:
        return np.ones_like(px)
    high_x, high_y, x0, y0, sigma_x, sigma_y, floor = _GAUSSIANS[band, model]
    dx, dy = (np.abs(v) for v in (px - x0, py - y0))
    dx, dy = np.minimum(dx, 1 - dx), np.minimum(dy, 1 - dy)
    return floor + high_x * np.exp(-0.5 * (dx / sigma_x) ** 2) + high_y * np.exp(-0.5 * (dy / sigma_y) ** 2)


def magnitudes(band: str, flux: np.ndarray, error: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn fluxes into magnitudes.

    Parameters
    ----------
    band : str
        I1 to I4, M1 to M3.
    flux, error : ndarray
        Flux and its 1-sigma uncertainty [uJy].

    Returns
    -------
    magnitude, uncertainty : ndarray
        [mag]; NaN where the flux is not positive.

    References
    ----------
    IRAC Instrument Handbook, section 4.10: m = -2.5 log10 (F / F0).
    """
    flux, error = np.asarray(flux, float), np.asarray(error, float)
    good = np.where(flux > 0, flux, np.nan)
    return -2.5 * np.log10(good * 1e-6 / ZERO_POINT[band]), 2.5 / np.log(10) * error / good
