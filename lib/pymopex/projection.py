"""From pixels to the sky and on to the pixels of another image, through the full WCS.

The composition of two WCS never passes through an interpolated right ascension, so the 0h line and the poles
need no special treatment.
"""

from __future__ import annotations

import math
import re
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.card_values import value_of

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

PlaneMap = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]

_SIP_KEY = re.compile(r"(A|B|AP|BP)_(ORDER|DMAX|\d+_\d+)$")

SYSTEMS = {"J2000": ("RA", "DEC"), "GALACTIC": ("GLON", "GLAT"), "ECLIPTIC": ("ELON", "ELAT")}
"""Coordinate systems and the first parts of their CTYPE."""

_INVERSE_TOLERANCE = 1e-9  # pixel, of the iterated inverse of the distortion
_CONVERGED = 0.01  # pixel; a last step beyond is no end of the iteration
_MOST_STEPS = 50
_WCS_KEY = re.compile(
    r"(NAXIS|WCSAXES|CTYPE|CRVAL|CRPIX|CDELT|CUNIT|CROTA)\d?$|(CD|PC|PV|PS)\d+_\d+$"
    r"|(A|B|AP|BP)_(ORDER|\d+_\d+)$|LONPOLE$|LATPOLE$|EQUINOX$|EPOCH$|RADE(SYS|CSYS)$"
)


def sky_system(wcs: WCS) -> str:
    """Name the coordinate system of a WCS.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        A celestial WCS.

    Returns
    -------
    str
        A key of `SYSTEMS`.

    Raises
    ------
    ValueError
        Not one of these systems, or an equinox other than J2000.

    Notes
    -----
    ICRS and FK5 J2000 count as the same system, as in the legacy program; they differ by at most 0.03 arcsec.
    """
    axis = wcs.wcs.lng
    prefix = wcs.wcs.ctype[axis].split("-")[0] if axis >= 0 else ""
    found = [name for name, axes in SYSTEMS.items() if axes[0] == prefix]
    if not found:
        raise ValueError(f"no celestial coordinates of a known system in CTYPE {list(wcs.wcs.ctype)}")
    equinox = wcs.wcs.equinox
    if found[0] == "J2000" and (wcs.wcs.radesys.strip().startswith("FK4") or abs(equinox - 2000) > 1e-3):
        raise ValueError(f"equinox {equinox:g} ({wcs.wcs.radesys.strip()}): only J2000 is supported")
    return found[0]


@lru_cache
def _from_j2000(system: str) -> np.ndarray:
    """Rotation matrix from J2000 unit vectors to those of `system`."""
    from astropy.coordinates import ICRS, BarycentricMeanEcliptic, CartesianRepresentation, Galactic, SkyCoord

    frames = {"J2000": ICRS(), "GALACTIC": Galactic(), "ECLIPTIC": BarycentricMeanEcliptic(equinox="J2000")}
    axes = SkyCoord(CartesianRepresentation(np.eye(3)), frame=ICRS()).transform_to(frames[system])
    return np.asarray(axes.cartesian.xyz.value)


def unit_vectors(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Give unit vectors, shape (3, ...), of directions in degrees."""
    a, d = np.radians(lon), np.radians(lat)
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)])


def lon_lat(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude (0 to 360) and latitude in degrees of vectors of shape (3, ...)."""
    x, y, z = vectors
    return np.degrees(np.arctan2(y, x)) % 360.0, np.degrees(np.arctan2(z, np.hypot(x, y)))


def rotate_sky(
    lon: np.ndarray, lat: np.ndarray, system: str, to_system: str
) -> tuple[np.ndarray, np.ndarray]:
    """Turn positions in degrees of one system of `SYSTEMS` into another."""
    if system == to_system:
        return lon, lat
    matrix = _from_j2000(to_system) @ _from_j2000(system).T
    return lon_lat(np.tensordot(matrix, unit_vectors(lon, lat), axes=1))


def pixel_to_sky(wcs: WCS, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude and latitude [deg] of 0-based pixels, with distortion, in the system of the WCS."""
    world = wcs.all_pix2world(x, y, 0)
    return world[wcs.wcs.lng], world[wcs.wcs.lat]


def sky_to_pixel(
    wcs: WCS, lon: np.ndarray, lat: np.ndarray, *, alone: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """0-based pixels of positions [deg], NaN where the projection has none.

    The inverse of a distortion is iterated. Far from the frame, where its polynomials run off, it may not converge,
    and iterates may lie on the frame: the place is then that without the distortion, which is off the frame too.
    Places that converge before the others improve with these, in the last digits, but not those that are `alone`:
    what they are does not depend on which others are asked for with them.
    """
    world = [lon, lat] if wcs.wcs.lng == 0 else [lat, lon]
    x, y = wcs.wcs_world2pix(*world, 0)
    if wcs.has_distortion:
        shown = np.isfinite(x) & np.isfinite(y)
        if shown.any():
            x[shown], y[shown] = _undistorted(wcs, x[shown], y[shown], alone=alone)
    return x, y


def _undistorted(wcs: WCS, x: np.ndarray, y: np.ndarray, *, alone: bool = False) -> np.ndarray:
    """Find the pixels, shape (2, n), that the distortion brings to places; each moves as long as its steps shrink."""
    wanted = np.stack([x, y])
    found, least, last = wanted.copy(), np.full(x.shape, np.inf), np.full(x.shape, np.inf)
    with np.errstate(over="ignore", invalid="ignore"):  # far from the frame the polynomials run off
        for _ in range(_MOST_STEPS):
            step = np.stack(wcs.pix2foc(*found, 0)) - wanted
            size = np.abs(step).max(axis=0)
            going = size < least
            if alone:
                going &= least > _INVERSE_TOLERANCE
            found -= np.where(going, step, 0.0)
            least = np.where(going, size, -1.0)
            last = np.where(going, size, last)
            if not (least > _INVERSE_TOLERANCE).any():
                break
    return np.where(last < _CONVERGED, found, wanted)


def exact_map(src_wcs: WCS, dst_wcs: WCS) -> PlaneMap:
    """Compose two WCS.

    Parameters
    ----------
    src_wcs, dst_wcs : astropy.wcs.WCS
        Celestial WCS, each with its distortion, in any two of the systems of `SYSTEMS`.

    Returns
    -------
    callable
        ``(x, y) -> (X, Y)``, 0-based pixels of the source to those of the destination, arrays of any shape.

    Raises
    ------
    ValueError
        A WCS is not in a known system.
    """
    system, to_system = sky_system(src_wcs), sky_system(dst_wcs)

    def plane_map(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lon, lat = pixel_to_sky(src_wcs, x, y)
        return sky_to_pixel(dst_wcs, *rotate_sky(lon, lat, system, to_system))

    return plane_map


def frame_wcs(header: fits.Header, refined: bool = False) -> WCS:
    """Read the WCS of a frame, with its SIP distortion.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the frame.
    refined : bool
        Use the refined pointing: RARFND and DECRFND in place of CRVAL, and the frame turned to CT2RFND.

    Returns
    -------
    astropy.wcs.WCS
        Two-dimensional celestial WCS.

    Raises
    ------
    ValueError
        The header has no usable celestial WCS, or no refined pointing.

    Notes
    -----
    CT2RFND of Spitzer headers is the position angle of +y, east of north, like PA, in spite of its name: real
    frames agree with their CD matrix in that sense. It has the opposite sign of the FITS CROTA2.
    SIP coefficients are used also when CTYPE lacks the ``-SIP`` suffix.
    """
    from astropy.io import fits

    wanted = fits.Header([card for card in header.cards if _WCS_KEY.match(card.keyword)])
    if "A_ORDER" in wanted:
        for key in ("CTYPE1", "CTYPE2"):
            if not str(wanted.get(key, "-SIP")).endswith("-SIP"):
                wanted[key] = wanted[key].strip() + "-SIP"
    wcs = _plain_wcs(wanted)
    if not refined:
        return wcs
    missing = [key for key in ("RARFND", "DECRFND", "CT2RFND") if key not in header]
    if missing:
        raise ValueError(f"no refined pointing: {', '.join(missing)} not in the header")
    cd = wcs.pixel_scale_matrix
    turn = math.radians(header["CT2RFND"]) - math.atan2(cd[0, 1], cd[1, 1])
    cosine, sine = math.cos(turn), math.sin(turn)
    cd = np.array([[cosine, sine], [-sine, cosine]]) @ cd
    for key in list(wanted):
        if re.match(r"(CD|PC)\d+_\d+$|CDELT\d$|CROTA\d$", key):
            del wanted[key]
    for i, j in np.ndindex(2, 2):
        wanted[f"CD{i + 1}_{j + 1}"] = cd[i, j]
    wanted["CRVAL1"], wanted["CRVAL2"] = header["RARFND"], header["DECRFND"]
    return _plain_wcs(wanted)


def _plain_wcs(header: fits.Header) -> WCS:
    from astropy.wcs import WCS

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # FITSFixedWarning, CDELT beside a CD matrix
            wcs = _with_distortion(header) or WCS(header, naxis=2)
            wcs.wcs.set()
    except Exception as error:  # wcslib has an exception type per problem
        raise ValueError(f"unusable WCS: {str(error).strip().splitlines()[-1]}") from None
    if not wcs.has_celestial:
        raise ValueError(f"no celestial WCS: CTYPE1, CTYPE2 = {list(wcs.wcs.ctype)}")
    return wcs


def _with_distortion(header: fits.Header) -> WCS | None:
    """Read a WCS with SIP polynomials of both axes; None if they are not so plain.

    astropy takes each card of the polynomials out of the header, which takes four times longer than all else.
    """
    from astropy.io import fits
    from astropy.wcs import WCS, Sip

    terms = {card.keyword: _value(card) for card in header.cards if _SIP_KEY.match(card.keyword)}
    orders = [terms.get(f"{name}_ORDER", 0) for name in ("A", "B", "AP", "BP")]
    if not all(isinstance(order, int) for order in orders) or min(orders[:2]) < 2:
        return None
    if (orders[2] > 1) != (orders[3] > 1) or 1 in orders:
        return None
    rest = fits.Header([card for card in header.cards if card.keyword not in terms])
    wcs = _of_cd_matrix(rest) or WCS(rest, naxis=2)
    a, b, ap, bp = (
        _polynomial(terms, name, order) for name, order in zip(("A", "B", "AP", "BP"), orders, strict=True)
    )
    wcs.sip = Sip(a, b, ap, bp, wcs.wcs.crpix)
    return wcs


def _value(card: fits.Card) -> Any:
    """Give the value of a card; a plain one as read without astropy's parser, which takes ten times longer."""
    raw = getattr(card, "_image", None)
    return card.value if raw is None or getattr(card, "_modified", True) else value_of(raw)


def _of_cd_matrix(header: fits.Header) -> WCS | None:
    """Read a WCS of the keywords that Spitzer frames have, without a detour by text; None if there are others."""
    from astropy.wcs import WCS

    names = ("CTYPE", "CRVAL", "CRPIX")
    needed = [f"{name}{axis}" for name in names for axis in (1, 2)] + ["CD1_1", "CD1_2", "CD2_1", "CD2_2"]
    known = {"NAXIS", "NAXIS1", "NAXIS2", "WCSAXES", "EQUINOX", "RADESYS", *needed}
    if (
        not set(needed) <= set(header) <= known
        or len(header) > len(set(header))
        or header.get("WCSAXES", 2) != 2
    ):
        return None
    ctype, crval, crpix = ([header[f"{name}{axis}"] for axis in (1, 2)] for name in names)
    matrix = [[header["CD1_1"], header["CD1_2"]], [header["CD2_1"], header["CD2_2"]]]
    numbers = (*crval, *crpix, *matrix[0], *matrix[1], header.get("EQUINOX", 2000.0))
    words = (*ctype, header.get("RADESYS", ""))
    if not all(type(value) in (int, float) for value in numbers) or not all(
        type(word) is str for word in words
    ):
        return None
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cd = ctype, crval, crpix, matrix
    if "EQUINOX" in header:
        wcs.wcs.equinox = header["EQUINOX"]
    if "RADESYS" in header:
        wcs.wcs.radesys = header["RADESYS"]
    return wcs


def _polynomial(terms: dict[str, float], name: str, order: int) -> np.ndarray | None:
    if not order:
        return None
    out = np.zeros((order + 1, order + 1))
    for i in range(order + 1):
        for j in range(order + 1 - i):
            out[i, j] = terms.get(f"{name}_{i}_{j}", 0.0)
    return out


def pixel_solid_angle(wcs: WCS, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Solid angle of pixels, with distortion.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial WCS.
    x, y : ndarray, same shape
        Pixel positions, 0-based.

    Returns
    -------
    ndarray, same shape
        Area on the sky of the pixel-sized square round each position [sr].
    """
    px, py = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
    steps = [(0.5, 0.0), (-0.5, 0.0), (0.0, 0.5), (0.0, -0.5)]
    flat = [np.concatenate([(p + step[k]).ravel() for step in steps]) for k, p in ((0, px), (1, py))]
    right, left, up, down = np.moveaxis(unit_vectors(*pixel_to_sky(wcs, *flat)).reshape(3, 4, -1), 1, 0)
    area = np.linalg.norm(np.cross(right - left, up - down, axis=0), axis=0)
    return area.reshape(px.shape)


def perimeter(shape: tuple[int, int], step: float) -> tuple[np.ndarray, np.ndarray]:
    """Points at most `step` apart along the outer edge of an image."""
    ny, nx = shape
    x = np.linspace(-0.5, nx - 0.5, math.ceil(nx / step) + 1)
    y = np.linspace(-0.5, ny - 0.5, math.ceil(ny / step) + 1)
    low, high = np.full_like(x, y[0]), np.full_like(x, y[-1])
    left, right = np.full_like(y, x[0]), np.full_like(y, x[-1])
    return np.concatenate([x, x, left, right]), np.concatenate([low, high, y, y])
