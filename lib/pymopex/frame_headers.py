"""Headers of simulated frames, with the keywords of the archive's."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np
from astropy.io import fits

from pymopex.instruments import Distortion
from pymopex.survey import Pointing, Simulation

_START = datetime(2013, 1, 1, tzinfo=UTC)  # of the first frame
_START_MJD = 56293.0
_PAUSE = 12.0  # s, between frames
_VISIT = timedelta(days=35)  # between the two roll angles
_FIRST_AOR = 90000001
_FIRST_DCE = 900000000
_INVERSE_ORDER = 5


def frame_name(sim: Simulation, pointing: Pointing) -> str:
    """Give the file name of a frame up to the kind of image.

    Parameters
    ----------
    sim : Simulation
        Settings.
    pointing : Pointing
        The frame.

    Returns
    -------
    str
        Such as ``SPITZER_I1_90000001_0007_0000_1``.
    """
    return f"SPITZER_{sim.instrument}_{_FIRST_AOR + pointing.half}_{pointing.number:04d}_0000_1"


def frame_header(sim: Simulation, pointing: Pointing) -> fits.Header:
    """Make the header of a frame.

    Parameters
    ----------
    sim : Simulation
        Settings.
    pointing : Pointing
        The frame.

    Returns
    -------
    astropy.io.fits.Header
        Instrument, time, exposure, WCS with SIP distortion, refined pointing (equal to the pointing), calibration.
    """
    camera, exposure = sim.camera, sim.detector.exposure
    began = (
        timedelta(seconds=pointing.number * (exposure + camera.dead_time + _PAUSE)) + pointing.half * _VISIT
    )
    cards = [
        ("ORIGIN", "pymopex", "simulated data"),
        ("TELESCOP", "Spitzer", "SPITZER Space Telescope"),
        ("INSTRUME", camera.name, "instrument"),
        ("CHNLNUM", camera.channel, "instrument channel number"),
        ("AORKEY", _FIRST_AOR + pointing.half, "request key (not of a real observation)"),
        ("EXPID", pointing.number, "exposure ID"),
        ("DCENUM", 0, "DCE number"),
        ("DCEID", _FIRST_DCE + 10000 * pointing.half + pointing.number, "data collection event ID"),
        ("OBJECT", "simulated field", "target name"),
        ("DATE_OBS", (_START + began).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3], "start of the exposure (UTC)"),
        ("MJD_OBS", round(_START_MJD + began / timedelta(days=1), 7), "[days] MJD of DATE_OBS"),
        ("FRAMTIME", round(exposure + camera.dead_time, 3), "[sec] time spent integrating"),
        ("EXPTIME", exposure, "[sec] effective integration time per pixel"),
        ("HDRMODE", False, "taken in high dynamic range mode"),
        ("GAIN", camera.gain, "e-/DN"),
        ("RONOISE", camera.read_noise, "[electrons] read noise"),
        ("FLUXCONV", camera.fluxconv, "MJy/sr per DN/s"),
        ("BUNIT", "MJy/sr", "unit of the pixels"),
        ("ZODY_EST", sim.sky.background, "[MJy/sr] zodiacal background"),
        ("SKYDRKZB", 0.0, "[MJy/sr] zodiacal background of the sky dark"),
    ]
    header = fits.Header(cards)
    header.update(_pointing_cards(sim, pointing))
    header.update(_sip_cards(camera.distortion, sim.size))
    return header


def _pointing_cards(sim: Simulation, pointing: Pointing) -> dict[str, object]:
    roll = (pointing.roll + 180) % 360 - 180
    sine, cosine = math.sin(math.radians(roll)), math.cos(math.radians(roll))
    dx, dy = (p / 3600 for p in sim.camera.pixel)
    return {
        "CTYPE1": "RA---TAN-SIP",
        "CTYPE2": "DEC--TAN-SIP",
        "CRVAL1": pointing.ra,
        "CRVAL2": pointing.dec,
        "CRPIX1": sim.shape[1] / 2,
        "CRPIX2": sim.shape[0] / 2,
        "CD1_1": -cosine * dx,
        "CD1_2": sine * dy,
        "CD2_1": sine * dx,
        "CD2_2": cosine * dy,
        "RADESYS": "ICRS",
        "EQUINOX": 2000.0,
        "PXSCAL1": -sim.camera.pixel[0],
        "PXSCAL2": sim.camera.pixel[1],
        "PA": roll,
        "RARFND": pointing.ra,
        "DECRFND": pointing.dec,
        "CT2RFND": roll,
    }


def _sip_cards(distortion: Distortion, size: int) -> dict[str, float]:
    cards: dict[str, float] = {"A_ORDER": 3, "B_ORDER": 3}
    for name, values in (("A", distortion.a), ("B", distortion.b)):
        for (p, q), value in zip(Distortion.POWERS, values, strict=True):
            cards[f"{name}_{p}_{q}"] = value
    cards.update({"AP_ORDER": _INVERSE_ORDER, "BP_ORDER": _INVERSE_ORDER})
    for name, table in zip(("AP", "BP"), inverse_sip(distortion, size), strict=True):
        for p, q in _inverse_powers():
            cards[f"{name}_{p}_{q}"] = float(f"{table[p, q]:.6e}")
    return cards


def _inverse_powers() -> list[tuple[int, int]]:
    n = _INVERSE_ORDER + 1
    return [(p, q) for p in range(n) for q in range(n - p) if p + q > 0]


def inverse_sip(distortion: Distortion, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Fit the inverse of a SIP distortion.

    Parameters
    ----------
    distortion : Distortion
        Forward polynomials.
    size : int
        Side of the array, with the reference pixel in its middle [pixel].

    Returns
    -------
    ap, bp : ndarray, shape (6, 6)
        Coefficients by the powers of x and of y.

    References
    ----------
    Shupe et al. 2005, ASP Conf. Ser. 347, 491, equations 5 and 6.
    """
    at = np.linspace(-size / 2, size / 2, 33)
    u, v = (a.ravel() for a in np.meshgrid(at, at))
    powers = [u**p * v**q for p, q in Distortion.POWERS]
    moved_u, moved_v = (
        sum(c * t for c, t in zip(w, powers, strict=True)) for w in (distortion.a, distortion.b)
    )
    scale = size / 2
    design = np.stack(
        [((u + moved_u) / scale) ** p * ((v + moved_v) / scale) ** q for p, q in _inverse_powers()], 1
    )
    found = np.linalg.lstsq(design, -np.stack([moved_u, moved_v], 1), rcond=None)[0]
    out = np.zeros((2, _INVERSE_ORDER + 1, _INVERSE_ORDER + 1))
    for (p, q), pair in zip(_inverse_powers(), found, strict=True):
        out[:, p, q] = pair / scale ** (p + q)
    return out[0], out[1]
