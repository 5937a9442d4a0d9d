"""The columns of all tables: name, type, unit, format and meaning, each declared once."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Literal, Protocol

Type = Literal["int", "double", "char"]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Parameters
    ----------
    name : str
        Name in the header.
    type : {'int', 'double', 'char'}
        Type in the header.
    unit : str
        Unit, empty for a number without one.
    format : str
        End of a ``%`` conversion, such as ``.9f``; ``r`` is the shortest text that reads back as the same number.
    meaning : str
        One line for the manual.
    """

    name: str
    type: Type
    unit: str
    format: str
    meaning: str


class TableLike(Protocol):
    """What `by_name` needs of a table: type and unit of each column."""

    @property
    def types(self) -> Mapping[str, str]:
        """Type by column name."""

    @property
    def units(self) -> Mapping[str, str]:
        """Unit by column name."""


def _int(name: str, meaning: str, unit: str = "") -> Column:
    return Column(name, "int", unit, "d", meaning)


def _real(name: str, unit: str, form: str, meaning: str) -> Column:
    return Column(name, "double", unit, form, meaning)


def _char(name: str, meaning: str) -> Column:
    return Column(name, "char", "", "s", meaning)


INTERP = (
    _char("name", "file of the interpolated image or of the tile"),
    _int("nx", "width; 0 for a frame off the mosaic", "pixel"),
    _int("ny", "height; 0 for a frame off the mosaic", "pixel"),
    _int("offset_x", "pixels of the mosaic to the left of it", "pixel"),
    _int("offset_y", "pixels of the mosaic below it", "pixel"),
)
"""Tables of interpolated frames."""

TILES = INTERP
"""Tables of the tiles of a mosaic."""

HEADER_LIST = (
    _char("file", "frame"),
    _int("naxis1", "width of the frame", "pixel"),
    _int("naxis2", "height of the frame", "pixel"),
    _char("ctype1", "type of the first world coordinate"),
    _char("ctype2", "type of the second world coordinate"),
    _real("crval1", "deg", ".10f", "first world coordinate of the reference pixel"),
    _real("crval2", "deg", ".10f", "second world coordinate of the reference pixel"),
    _real("crpix1", "pixel", ".6f", "reference pixel along x, from 1"),
    _real("crpix2", "pixel", ".6f", "reference pixel along y, from 1"),
    _real("cd1_1", "deg/pixel", ".12e", "change of the first world coordinate along x"),
    _real("cd1_2", "deg/pixel", ".12e", "change of the first world coordinate along y"),
    _real("cd2_1", "deg/pixel", ".12e", "change of the second world coordinate along x"),
    _real("cd2_2", "deg/pixel", ".12e", "change of the second world coordinate along y"),
)
"""``header_list.tbl``: world coordinates of the frames."""

OFFSETS = (
    _int("index", "number of the frame in the list, from 1"),
    _char("file", "frame"),
    _real("offset", "MJy/sr", ".9g", "constant that the overlap correction adds to the frame"),
    _real("delta_offset", "MJy/sr", ".6g", "1-sigma uncertainty of the constant"),
    _int("group", "number of the group of frames that overlap, directly or through others"),
    _int("outlier", "1 for a constant far from the others"),
    _int("no_overlap", "1 for a frame that overlaps no other and keeps its level"),
)
"""``offsets.tbl`` of the overlap correction."""

SLOPES = (
    _real("slope_x", "MJy/sr/pixel", ".9g", "slope along x of the detector that is added, from the middle"),
    _real("slope_y", "MJy/sr/pixel", ".9g", "slope along y of the detector that is added, from the middle"),
    _real("delta_slope_x", "MJy/sr/pixel", ".6g", "1-sigma uncertainty of slope_x"),
    _real("delta_slope_y", "MJy/sr/pixel", ".6g", "1-sigma uncertainty of slope_y"),
)
"""Further columns of ``offsets.tbl`` when slopes are fitted."""

REJECTED = (
    _char("file", "frame"),
    _int("n_pixels", "pixels of the frame"),
    _int("radhit", "pixels that the frame's own mask counts as hit (rmask bit 0)"),
    _int("temporal", "pixels rejected by Mosaic Outlier (rmask bit 1)"),
    _int("dual", "pixels rejected by Mosaic Dual Outlier (rmask bit 2)"),
    _int("box", "pixels rejected by Mosaic Box Outlier (rmask bit 3)"),
    _int("rejected", "pixels rejected by any method"),
)
"""``rejected.tbl`` of Mosaic RMask."""

ARTIFACTS = (
    _int("index", "number of the frame in the list, from 1"),
    _char("file", "frame before the correction"),
    _int(
        "triggers",
        "very bright pixels that may have caused the artifact; for latents those of earlier frames",
    ),
    _int(
        "corrected",
        "corrected parts: sides of lines, trails, outputs in sections; for latents flagged pixels",
    ),
    _real("mean", "MJy/sr", ".6g", "mean of what was added to the frame"),
    _real("rms", "MJy/sr", ".6g", "rms of what was added"),
    _real("largest", "MJy/sr", ".6g", "largest value that was added, with its sign"),
)
"""Tables of corrected artifacts."""

FLAT_LEVELS = (
    _char("file", "frame"),
    _int("leg", "number of its scan leg, from 1; 0 if the legs are not told apart"),
    _real("level", "MJy/sr", ".6g", "level by which the frame is divided before the stack"),
)
"""``flatfield.tbl``: the frames of the flat."""

POINTING = (
    _int("index", "number of the frame in the list, from 1"),
    _char("file", "frame"),
    _int("n_found", "sources found in the frame"),
    _int("n_matched", "sources that it shares; 0 for a frame that keeps its pointing"),
    _int("group", "number of the group of frames that share sources, directly or through others"),
    _real("d_east", "arcsec", ".4f", "what is added to the pointing, to the east"),
    _real("d_north", "arcsec", ".4f", "the same to the north"),
    _real("d_angle", "deg", ".5f", "what is added to the position angle of +y"),
    _real("delta_east", "arcsec", ".4f", "1-sigma uncertainty of d_east"),
    _real("delta_north", "arcsec", ".4f", "1-sigma uncertainty of d_north"),
    _real("delta_angle", "deg", ".5f", "1-sigma uncertainty of d_angle"),
    _real("ra", "deg", ".9f", "refined right ascension of the reference pixel (RARFND)"),
    _real("dec", "deg", ".9f", "refined declination of the reference pixel (DECRFND)"),
    _real("angle", "deg", ".6f", "refined position angle of +y, east of north (CT2RFND)"),
)
"""``pointingrefine.tbl``: the refined pointing of the frames."""

DETECT = (
    _int("srcid", "number of the source"),
    _real("x", "pixel", ".6f", "position along x on the mosaic, from 1"),
    _real("y", "pixel", ".6f", "position along y on the mosaic, from 1"),
    _real("flux", "MJy/sr", ".7g", "peak value of the detection on the background-subtracted image"),
    _int("BlendId", "number of the blend; detections of one blend are fitted together"),
    _int("BlendSize", "detections in the blend"),
)
"""``detect.tbl`` and ``detect_raw.tbl``."""

DETECTION_MAP = (
    _int("srcid", "number of the source in the user list"),
    _int("frame", "number of the frame in the list of frames, from 1"),
    _char("file", "file name of the frame without its ending"),
    _real("x_frame", "pixel", ".4f", "place of the source along x in the frame, from 1"),
    _real("y_frame", "pixel", ".4f", "place of the source along y in the frame, from 1"),
)
"""Table of the frames that hold the sources of a user list."""

PIXELS = (
    _int("srcid", "number of the detected cluster"),
    _int("x", "column of the pixel on the mosaic, from 1", "pixel"),
    _int("y", "row of the pixel on the mosaic, from 1", "pixel"),
    _real("value", "MJy/sr", ".7g", "value of the pixel on the background-subtracted image"),
)
"""Table of all detected pixels."""

_BOX = (
    _int("FitX", "width of the fitting box on the frames", "pixel"),
    _int("FitY", "height of the fitting box on the frames", "pixel"),
)

_EXTRACT = (
    _int("srcid", "number of the extracted source"),
    _int("detid", "number of the source in the detection table; sources found in residuals follow its last"),
    _int("N_PS", "sources fitted together; more than 1 after deblending"),
    _real("RA", "deg", ".9f", "right ascension"),
    _real("delta_RA", "deg", ".6g", "1-sigma uncertainty of the coordinate RA"),
    _real("Dec", "deg", ".9f", "declination"),
    _real("delta_Dec", "deg", ".6g", "1-sigma uncertainty of Dec"),
    _real("delta_RAD", "deg^2", ".6g", "covariance of RA and Dec"),
    _real("x", "pixel", ".6f", "position along x on the mosaic, from 1"),
    _real("delta_x", "pixel", ".6g", "1-sigma uncertainty of x"),
    _real("y", "pixel", ".6f", "position along y on the mosaic, from 1"),
    _real("delta_y", "pixel", ".6g", "1-sigma uncertainty of y"),
    _real("delta_xy", "pixel^2", ".6g", "covariance of x and y"),
    _real("flux", "uJy", ".9g", "fitted flux"),
    _real("delta_flux", "uJy", ".6g", "1-sigma uncertainty of the flux"),
    _real("bckgrnd", "MJy/sr", ".8g", "fitted background; only with Background_Fit"),
    _real("chi2/dof", "", ".6g", "chi2 per degree of freedom of the fit of all sources fitted together"),
    _real("ps_chi2/dof", "", ".6g", "the same from the pixels in the box of this source"),
    _int("status", "1 for a successful fit, 0 for a failed one"),
    _real("SNR", "", ".6g", "signal-to-noise ratio of the flux; not positive for a failed fit"),
    *_BOX,
    _int("n_frames", "frames with good pixels in the fitting box"),
    _char(
        "deblend",
        "letters: N alone, P passive, A active deblending, C at the limit of sources, O moved too far, "
        "S masked core",
    ),
)


def extract_columns(background: bool) -> list[Column]:
    """Give the columns of ``extract_raw.tbl`` in the legacy order.

    Parameters
    ----------
    background : bool
        Whether the background was fitted, which adds the column ``bckgrnd``.

    References
    ----------
    MOPEX User's Guide, Select: the order of the names.
    """
    return [column for column in _EXTRACT if background or column.name != "bckgrnd"]


def aperture_columns(n: int) -> list[Column]:
    """Give the columns of `n` apertures: all fluxes, then all counts of bad pixels, then all uncertainties."""
    names = [f"{kind}{i}" for kind in ("aperture", "bad_pix", "ap_unc") for i in range(1, n + 1)]
    return [column for name in names if (column := _aperture(name)) is not None]


def _aperture(name: str) -> Column | None:
    match = re.fullmatch(r"(aperture|bad_pix|ap_unc)([1-9]\d*)", name.casefold())
    if match is None:
        return None
    kind, i = match.groups()
    if kind == "aperture":
        return _real(f"aperture{i}", "uJy", ".9g", f"flux in aperture {i}")
    if kind == "bad_pix":
        return _int(f"bad_pix{i}", f"bad pixels in aperture {i}")
    return _real(f"ap_unc{i}", "uJy", ".6g", f"1-sigma uncertainty of the flux in aperture {i}")


CORRECTED = (
    _real("prf_corr", "", ".6f", "factor of the PRF normalisation"),
    _real("array_corr", "", ".6f", "factor of the array-location correction"),
    _real("phase_corr", "", ".6f", "factor of the pixel-phase correction"),
    _real("colour_corr", "", ".6f", "factor of the colour correction, 1/K"),
    _real("flux_corr", "uJy", ".9g", "flux times all factors"),
    _real("delta_flux_corr", "uJy", ".6g", "1-sigma uncertainty of flux_corr"),
    _real("mag", "mag", ".5f", "magnitude of flux_corr"),
    _real("delta_mag", "mag", ".5f", "1-sigma uncertainty of mag"),
    _real("ap_corr1", "", ".6f", "factor of the correction of aperture 1"),
    _real("aperture1_corr", "uJy", ".9g", "flux in aperture 1 times all factors"),
    _real("ap_unc1_corr", "uJy", ".6g", "1-sigma uncertainty of aperture1_corr"),
    _real("ap_mag1", "mag", ".5f", "magnitude of aperture1_corr"),
    _real("delta_ap_mag1", "mag", ".5f", "1-sigma uncertainty of ap_mag1"),
)
"""Further columns of ``photcorr.tbl``; aperture 1 stands for all."""


def corrected(name: str) -> Column:
    """Find the declaration of a column that Photometric Corrections adds.

    Raises
    ------
    KeyError
        It adds none of this name.
    """
    match = re.fullmatch(r"(delta_ap_mag|ap_mag|ap_corr|aperture|ap_unc)([1-9]\d*)(_corr)?", name)
    first = f"{match[1]}1{match[3] or ''}" if match else name
    column = next((c for c in CORRECTED if c.name == first), None)
    if column is None:
        raise KeyError(name)
    if match is None:
        return column
    meaning = column.meaning.replace("aperture 1", f"aperture {match[2]}").replace(
        "aperture1", f"aperture{match[2]}"
    )
    return replace(column, name=name, meaning=meaning.replace("ap_mag1", f"ap_mag{match[2]}"))


def declared() -> dict[str, tuple[Column, ...]]:
    """Give the declared columns by table, for the manual; one aperture stands for all."""
    return {
        "extract": _EXTRACT,
        "aperture": tuple(aperture_columns(1)),
        "corrected fluxes": CORRECTED,
        "corrected artifacts": ARTIFACTS,
        "detect": (*DETECT, *_BOX),
        "detected pixels": PIXELS,
        "detection map": DETECTION_MAP,
        "interpolated frames and tiles": INTERP,
        "header list": HEADER_LIST,
        "offsets": (*OFFSETS, *SLOPES),
        "rejected pixels": REJECTED,
        "levels of a flat": FLAT_LEVELS,
        "refined pointing": POINTING,
        "light curves": LIGHTCURVE,
        "frames": FRAMES,
    }


def by_name(name: str, table: TableLike) -> Column:
    """Find the declaration of a column of a table.

    Parameters
    ----------
    name : str
        Name as it stands in the table; case does not matter, and is kept.
    table : TableLike
        Its type and unit choose among declarations of one name, and make one up for a column that is nowhere
        declared.
    """
    kind, unit = table.types.get(name), table.units.get(name)
    found = [column for column in _named(name) if kind is None or _both_text_or_not(column.type, kind)]
    found.sort(key=lambda column: (unit is not None and column.unit != unit, kind != column.type))
    if found and (unit is None or unit in ("", found[0].unit)):
        return replace(found[0], name=name)
    if found:  # another unit than ours: keep what the table says
        return replace(found[0], name=name, unit=unit or "")
    if kind == "int":
        return _int(name, f"{name} of the input table", unit or "")
    if kind == "char":
        return replace(_char(name, f"{name} of the input table"), unit=unit or "")
    return _real(name, unit or "", "r", f"{name} of the input table")


def _named(name: str) -> Iterator[Column]:
    same = name.casefold()
    for columns in declared().values():
        yield from (column for column in columns if column.name.casefold() == same)
    aperture = _aperture(name)
    if aperture is not None:
        yield aperture


def _both_text_or_not(one: str, other: str) -> bool:
    return (one == "char") == (other == "char")


LIGHTCURVE = (
    _int("srcid", "number of the extracted source"),
    _int("frame", "number of the frame in the list, from 1"),
    _real("mjd", "d", ".8f", "modified Julian date of the start of the exposure"),
    _real("flux", "uJy", ".9g", "flux in this frame alone, at the position of the fit of all frames"),
    _real("delta_flux", "uJy", ".6g", "1-sigma uncertainty of the flux"),
    _real("chi2", "", ".6g", "chi2 in this frame of all sources fitted together"),
    _int("n_pixels", "good pixels in this frame of all sources fitted together"),
    _real("dx", "pixel", ".6g", "how far the source lies from its place in the frame along x"),
    _real("dy", "pixel", ".6g", "the same along y"),
    _real("delta_dx", "pixel", ".6g", "1-sigma uncertainty of dx"),
    _real("delta_dy", "pixel", ".6g", "1-sigma uncertainty of dy"),
)
"""``lightcurve`` of ``extract.h5``: the sources in single frames."""

FRAMES = (
    _int("frame", "number of the frame in the list, from 1"),
    _char("file", "frame"),
    _real("mjd", "d", ".8f", "modified Julian date of the start of the exposure (MJD_OBS)"),
    _real("bmjd", "d", ".8f", "the same at the barycentre of the solar system (BMJD_OBS); NaN if not given"),
    _real("exptime", "s", ".6g", "effective integration time (EXPTIME)"),
)
"""``frames`` of ``extract.h5``."""

STAMPS = (
    _char("file", "stamp"),
    _int("srcid", "number of the star in the list"),
    _int("frame", "number of the image in the list of frames, from 1"),
    _char("image", "image that the stamp is from"),
    _real("x", "pixel", ".6f", "place of the star along x in the image, from 1"),
    _real("y", "pixel", ".6f", "place of the star along y in the image, from 1"),
    _int("x0", "lower left pixel of the stamp along x in the image, from 1", "pixel"),
    _int("y0", "lower left pixel of the stamp along y in the image, from 1", "pixel"),
    _real("conversion", "uJy/(MJy/sr)", ".9g", "flux of a pixel of 1 MJy/sr at the star"),
    _real("dx_de", "pixel/arcsec", ".9g", "change of x with the position to the east"),
    _real("dx_dn", "pixel/arcsec", ".9g", "change of x with the position to the north"),
    _real("dy_de", "pixel/arcsec", ".9g", "change of y with the position to the east"),
    _real("dy_dn", "pixel/arcsec", ".9g", "change of y with the position to the north"),
    _int("n_bad", "pixels of the stamp without data"),
)
"""``stamps.tbl`` of Crop Stack."""

FIT_STATISTICS = (
    _char("file", "stamp"),
    _int("srcid", "number of the star in the list"),
    _int("frame", "number of the image in the list of frames, from 1"),
    _real("x", "pixel", ".6f", "place of the star along x in the image, from 1, as used"),
    _real("y", "pixel", ".6f", "place of the star along y in the image, from 1, as used"),
    _real("dx", "pixel", ".6f", "how far it was moved from the place of the list along x"),
    _real("dy", "pixel", ".6f", "how far it was moved from the place of the list along y"),
    _real("flux", "uJy", ".9g", "flux by which the stamp was divided"),
    _real("bckgrnd", "MJy/sr", ".8g", "background that was taken off"),
    _real("chi2/dof", "", ".6g", "chi2 per pixel; null where it is not known"),
    _int("zone", "number of the PRF in the map, from 1"),
    _int("n_nans", "pixels of the stamp without data"),
    _int("n_outliers", "outliers in the stamp"),
    _int("used", "1 for a stamp that the PRF is made from"),
    _char("reason", "why a stamp is not used"),
)
"""Table of the stamps of PRF Estimate."""

TRUTH_SOURCES = (
    _int("id", "number of the star, from 1"),
    _real("ra", "deg", ".9f", "right ascension"),
    _real("dec", "deg", ".9f", "declination"),
    _real("flux", "uJy", ".9g", "flux within 10 pixels of the frame"),
    _int("saturated", "1 for a star that saturates pixels of a frame"),
    _int("n_frames", "frames that hold its place"),
)
"""Stars of a simulated field."""

TRUTH_OFFSETS = (
    _int("index", "number of the frame in the list, from 1"),
    _char("file", "frame"),
    _real("offset", "MJy/sr", ".9g", "constant that the simulation added to the frame"),
    _real("slope_x", "MJy/sr/pixel", ".9g", "slope along x that it added, from the middle"),
    _real("slope_y", "MJy/sr/pixel", ".9g", "slope along y that it added, from the middle"),
)
"""Constants of simulated frames."""

ARTIFICIAL = (
    _int("run", "number of the rerun, from 1"),
    _real("RA", "deg", ".8f", "right ascension at which the star was put in"),
    _real("Dec", "deg", ".8f", "declination"),
    _real("flux", "uJy", ".6g", "flux that was put in"),
    _real("SNR", "", ".3f", "that over the smallest error that a fit can have"),
    _int("found", "1 if it was found"),
    _int("srcid", "its number in extract.tbl of the rerun, 0 if it was not found"),
    _real("flux_fit", "uJy", ".6g", "fitted flux"),
    _real("delta_flux", "uJy", ".4g", "uncertainty of the fitted flux"),
    _real("east", "arcsec", ".4f", "fitted minus true position, to the east"),
    _real("north", "arcsec", ".4f", "fitted minus true position, to the north"),
)
"""Artificial stars and what was found of them."""

COMPLETENESS = (
    _char("by", "what the bins are of: flux or SNR"),
    _real("low", "", ".6g", "lower limit of the bin [uJy, or none]; of a list of fluxes, the flux"),
    _real("high", "", ".6g", "upper limit"),
    _int("n_stars", "artificial stars put in"),
    _int("n_found", "found"),
    _real("completeness", "", ".5f", "fraction found"),
    _real("completeness_low", "", ".5f", "lower end of its 68 per cent interval"),
    _real("completeness_high", "", ".5f", "upper end"),
    _int("n_new", "sources of the reruns, by their measured values, that the first catalogue does not have"),
    _int("n_false", "those of them that belong to no artificial star"),
    _real("reliability", "", ".5f", "fraction of the new sources that are artificial stars"),
    _real("reliability_low", "", ".5f", "lower end of its 68 per cent interval"),
    _real("reliability_high", "", ".5f", "upper end"),
    _real("flux_bias", "", ".5f", "median of fitted over true flux, minus 1"),
    _real("delta_flux_bias", "", ".5f", "its uncertainty"),
    _real("flux_scatter", "", ".5f", "robust width of fitted over true flux"),
    _real("pull_width", "", ".3f", "robust width of the flux errors in units of the uncertainties"),
    _real("east_bias", "mas", ".2f", "median of fitted minus true position, to the east"),
    _real("north_bias", "mas", ".2f", "the same to the north"),
    _real("position_scatter", "mas", ".2f", "robust width of the position errors along one axis"),
)
"""Completeness, reliability and errors from artificial stars."""
