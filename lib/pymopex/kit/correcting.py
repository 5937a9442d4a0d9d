"""What Photometric Corrections needs besides the table: the camera, and each factor with a word on its origin."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex import photcorr
from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header

if TYPE_CHECKING:
    import numpy as np

    from pymopex.colour import Spectrum
    from pymopex.kit.ipac import Table
    from pymopex.kit.task import Run

_UNITS = {"": 1.0, "ujy": 1.0, "microjy": 1.0, "microjansky": 1.0, "mjy": 1e3, "jy": 1e6}


@dataclass(frozen=True)
class Camera:
    """The band, such as I1, and the mission: 'cryo' or 'warm'."""

    band: str
    mission: str

    @property
    def is_irac(self) -> bool:
        """Whether it is IRAC."""
        return self.band.startswith("I")

    def __str__(self) -> str:
        return f"{self.band} {self.mission}" if self.is_irac else self.band


@dataclass(frozen=True)
class Factor:
    """A factor on the flux, one number or one a source, and where it comes from."""

    value: Any
    origin: str


NONE = Factor(1.0, "none")


def camera(run: Run) -> Camera:
    """Tell the camera from the parameters, or from the header of the first frame.

    Raises
    ------
    InputError
        The header does not tell it.
    """
    p = run.params
    band, phase = p.Instrument, p.Mission
    if band != "auto" and (phase != "auto" or band.startswith("M")):
        return Camera(band, "cryo" if phase == "auto" else phase)
    path = run.frames()[0].image
    header = read_header(path)
    if band == "auto":
        band = _band(path, header)
    if phase == "auto":
        phase = (
            "cryo" if band.startswith("M") or band in ("I3", "I4") else photcorr.mission(_date(path, header))
        )
    return Camera(band, phase)


def _band(path: str, header: Any) -> str:
    name, channel = str(header.get("INSTRUME", "")).strip().upper(), header.get("CHNLNUM")
    band = f"{name[:1]}{channel}"
    if name not in ("IRAC", "MIPS") or band not in photcorr.ZERO_POINT:
        raise InputError(
            f"{path}: INSTRUME = {name or 'missing'}, CHNLNUM = {channel}: does not tell the camera; set "
            "PHOTCORR.Instrument"
        )
    return band


def _date(path: str, header: Any) -> float:
    if isinstance(header.get("MJD_OBS"), int | float):
        return float(header["MJD_OBS"])
    text = str(header.get("DATE_OBS", header.get("DATE-OBS", "")))
    try:
        from astropy.time import Time

        return float(Time(text, scale="utc").mjd)
    except ValueError:
        raise InputError(
            f"{path}: neither MJD_OBS nor DATE_OBS tells the mission; set PHOTCORR.Mission to cryo or warm"
        ) from None


def corrected_before(run: Run) -> bool:
    """Tell whether Fix Array Location has corrected the frames."""
    return bool(read_header(run.frames()[0].image).get("ARRAYLOC", False))


def spectrum(run: Run) -> Spectrum | None:
    """Give the spectrum of the colour correction.

    Raises
    ------
    InputError
        Its index or temperature is not given.
    """
    from pymopex.colour import Spectrum

    p = run.params
    if p.Colour_Correction == "none":
        return None
    key = {"power_law": "Spectral_Index", "blackbody": "Temperature"}[p.Colour_Correction]
    value = getattr(p, key)
    if value is None:
        raise InputError(
            f"{p.origin('Colour_Correction')}: PHOTCORR.Colour_Correction = {p.Colour_Correction}: needs {key}"
        )
    return Spectrum(p.Colour_Correction, value)


def colour_factor(run: Run, seen: Camera) -> Factor:
    """Give the inverse of K, from the response curve or the published tables.

    Raises
    ------
    InputError
        Neither knows of the spectrum.
    """
    from pymopex.colour import computed, published

    source = spectrum(run)
    if source is None:
        return NONE
    p = run.params
    what = f"{source.kind} {source.value:g}"
    try:
        if p.Response_Curve:
            k = computed(seen.band, source, *read_response(p.Response_Curve))
            return Factor(1 / k, f"1/{k:.4f} for {what} from {os.path.basename(p.Response_Curve)}")
        k = published(seen.band, source)
    except ValueError as problem:
        if isinstance(problem, InputError):
            raise
        where = p.Response_Curve or p.origin("Colour_Correction")
        raise InputError(f"{where}: {problem}") from None
    return Factor(1 / k, f"1/{k:.4f} for {what} from the tables of the IRAC Instrument Handbook")


def read_response(path: str) -> tuple[np.ndarray, np.ndarray]:
    """Read a response curve: wavelength [um] and electrons per photon, a line each; # begins a comment.

    Raises
    ------
    InputError
        A line is no pair of numbers; the message names it.
    """
    import numpy as np

    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror} (Response_Curve)") from None
    rows = []
    for number, line in enumerate(lines, 1):
        words = line.partition("#")[0].replace(",", " ").split()
        if not words:
            continue
        try:
            rows.append((float(words[0]), float(words[1])))
        except (ValueError, IndexError):
            raise InputError(f"{path}:{number}: {line.strip()}: no wavelength [um] and response") from None
    if not rows:
        raise InputError(f"{path}: holds no wavelengths and responses")
    curve = np.array(rows)
    return curve[:, 0], curve[:, 1]


def prf_factor(run: Run, seen: Camera) -> Factor:
    """Give the inverse of the PRF normalisation; 1 for MIPS, whose PRFs need none."""
    if not run.params.PRF_Correction:
        return NONE
    if not seen.is_irac:
        return Factor(1.0, "1: table C.1 is of IRAC")
    value = photcorr.PRF_NORMALISATION[seen.band]
    return Factor(1 / value, f"1/{value:g} from table C.1 of the IRAC Instrument Handbook")


def unit_factor(run: Run, table: Table, name: str) -> Factor:
    """Give what makes microjansky of the fluxes of a column.

    Raises
    ------
    InputError
        The unit is not known, or a surface brightness without a pixel.
    """
    from pymopex.units import MJY_SR_TO_UJY_ARCSEC2

    unit = next((u for column, u in table.units.items() if column.casefold() == name.casefold()), "")
    word = "".join(unit.split())
    if word == "MJy/sr":
        if run.params.Pixel_Size is None:
            raise InputError(f"{table.path}: {name} is in MJy/sr; PHOTCORR.Pixel_Size is needed")
        value = MJY_SR_TO_UJY_ARCSEC2 * run.params.Pixel_Size**2
        return Factor(value, f"{value:.6g} uJy/(MJy/sr), pixel of {run.params.Pixel_Size:g} arcsec")
    key = "mjy" if word == "mJy" else word.casefold()
    if key not in _UNITS or word == "MJy":
        raise InputError(f"{table.path}: {name} is in {unit}; uJy, mJy, Jy or MJy/sr is needed")
    return Factor(_UNITS[key], unit or "uJy")


def aperture_factors(run: Run, seen: Camera, names: list[int]) -> dict[int, Factor]:
    """Give the correction of each aperture of a table: the one of the namelist, else the published one.

    Raises
    ------
    InputError
        An aperture has neither.
    """
    if not run.params.Aperture_Correction:
        return dict.fromkeys(names, NONE)
    return {number: _aperture_factor(run, seen, number) for number in names}


def _aperture_factor(run: Run, seen: Camera, number: int) -> Factor:
    from pymopex.kit.searched import pixel_grid

    p, measured = run.params, run.params_of("aperture")
    given = getattr(p, f"Aperture_Correction_{number}", None)
    if given is not None:
        return Factor(given, f"{given:g} given")
    radius = getattr(measured, f"Aperture_Radius_{number}", None)
    if radius is None:
        raise InputError(f"APERTURE.Aperture_Radius_{number} is not given: the aperture correction needs it")
    side = pixel_grid(run).side * 3600
    annulus = (measured.Inner_Radius * side, measured.Outer_Radius * side) if measured.Use_Annulus else None
    try:
        value = photcorr.aperture_factor(seen.band, seen.mission, radius * side, annulus)
    except ValueError as problem:
        raise InputError(
            f"{p.origin('Aperture_Correction')}: PHOTCORR.Aperture_Correction_{number}: {problem}; give the factor"
        ) from None
    return Factor(value, f"{value:g} for {radius:g} pixels of {side:.3f} arcsec, {seen}")
