"""Pixels and the sky: positions under the pointer, sources and frames on an image."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from pymopex.footprint import outline
from pymopex.kit.errors import InputError
from pymopex.kit.images import frame_geometry
from pymopex.kit.report_facts import pixel_scale
from pymopex.projection import exact_map, frame_wcs, pixel_to_sky, rotate_sky, sky_system, sky_to_pixel

_DECIMALS = 3  # of a pixel, in what the page is told


class Sky:
    """World coordinates of an image; `known` tells whether it has any.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Of the image.
    """

    def __init__(self, header: Any):
        self.header = header
        self.wcs: Any = None
        try:
            wcs = frame_wcs(header)
            self.system = sky_system(wcs)
            self.wcs = wcs
        except ValueError:
            self.system = ""

    @property
    def known(self) -> bool:
        """Whether the image has celestial coordinates of a known system."""
        return self.wcs is not None

    @property
    def cards(self) -> list[Any]:
        """Header cards of its coordinates, with the distortion."""
        return list(self.wcs.to_header(relax=True).cards)

    @property
    def scale(self) -> float:
        """Side of a pixel [arcsec]; NaN without coordinates."""
        return pixel_scale(self.header) if self.known else float("nan")

    @property
    def north(self) -> float:
        """Angle from +y of the image to north, counter-clockwise [deg]; 0 without coordinates."""
        if not self.known:
            return 0.0
        inverse = np.linalg.inv(self.wcs.pixel_scale_matrix)
        x, y = inverse @ ((0.0, 1.0) if self.wcs.wcs.lng == 0 else (1.0, 0.0))
        return float(np.degrees(np.arctan2(-x, y)))

    def to_sky(self, x: Any, y: Any) -> tuple[Any, Any]:
        """Give right ascension and declination [deg] of 0-based pixels."""
        lon, lat = pixel_to_sky(self.wcs, np.asarray(x, float), np.asarray(y, float))
        return rotate_sky(lon, lat, self.system, "J2000")

    def to_pixels(self, ra: Any, dec: Any) -> tuple[np.ndarray, np.ndarray]:
        """Give 0-based pixels of right ascensions and declinations [deg]; NaN for those that are not on the image."""
        ra, dec = (np.array(values, float, ndmin=1) for values in (ra, dec))
        x, y = np.full((2, len(ra)), np.nan)
        good = np.isfinite(ra) & np.isfinite(dec)
        lon, lat = rotate_sky(ra[good], dec[good], "J2000", self.system)
        x[good], y[good] = sky_to_pixel(self.wcs, lon, lat)
        return x, y


def sexagesimal(ra: float, dec: float) -> str:
    """Give a position in hours and degrees, to a hundredth of an arcsecond."""
    from astropy.coordinates import SkyCoord

    return SkyCoord(ra, dec, unit="deg").to_string("hmsdms", sep=":", precision=3)


def footprints(paths: Iterable[str], image: Sky) -> list[dict[str, Any]]:
    """Give the outlines of frames on an image.

    Parameters
    ----------
    paths : iterable of str
        FITS files; those that cannot be read are left out.
    image : Sky
        World coordinates of the image.

    Returns
    -------
    list of dict
        ``file`` and the corners ``x`` and ``y`` in FITS pixels, from 1.
    """
    found = []
    for path in paths:
        try:
            wcs, shape = frame_geometry(path, False)
            x, y = exact_map(wcs, image.wcs)(*outline(shape))
        except (InputError, ValueError):
            continue
        if np.isfinite(x).all() and np.isfinite(y).all():
            found.append({"file": path, "x": rounded(x + 1), "y": rounded(y + 1)})
    return found


def rounded(values: np.ndarray) -> list[float | None]:
    """Give numbers for a page: to a thousandth, None for what is not finite."""
    return [None if not np.isfinite(value) else round(float(value), _DECIMALS) for value in values]
