"""When frames were taken and where they look, from their headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from pymopex.kit.images import FrameFiles

if TYPE_CHECKING:
    import numpy as np
    from astropy.io import fits

_DAY_KEYS = ("MJD_OBS", "MJD-OBS")
_DATE_KEYS = ("DATE_OBS", "DATE-OBS")


def time_of(header: fits.Header) -> float:
    """Give the time of a frame [day], NaN if its header does not tell."""
    for key in _DAY_KEYS:
        if isinstance(header.get(key), (int, float)):
            return float(header[key])
    for key in _DATE_KEYS:
        if header.get(key):
            from astropy.time import Time

            try:
                return float(Time(str(header[key]).strip()).mjd)
            except ValueError:
                continue
    return float("nan")


def times(frames: Sequence[FrameFiles], headers: Sequence[fits.Header]) -> list[float]:
    """Give the times of frames [day]; where one has none, the numbers of all in the list."""
    import math

    found = [time_of(header) for header in headers]
    return found if all(map(math.isfinite, found)) else [float(files.index) for files in frames]


def directions(headers: Sequence[fits.Header], refined: bool = False) -> np.ndarray:
    """Give unit vectors, shape (n, 3), to the middle of each frame."""
    import numpy as np

    from pymopex.projection import frame_wcs, pixel_to_sky, rotate_sky, sky_system, unit_vectors

    out = np.empty((len(headers), 3))
    for i, header in enumerate(headers):
        wcs = frame_wcs(header, refined=refined)
        middle = (np.array([(header[f"NAXIS{k}"] - 1) / 2]) for k in (1, 2))
        lon, lat = rotate_sky(*pixel_to_sky(wcs, *middle), sky_system(wcs), "J2000")
        out[i] = unit_vectors(lon, lat)[:, 0]
    return out


def looks(headers: Sequence[fits.Header]) -> tuple[np.ndarray, np.ndarray]:
    """Give where frames look in the plane that touches the sky in their middle, east and north [arcsec]."""
    from pymopex.pointing import plane
    from pymopex.projection import lon_lat

    vectors = directions(headers)
    lon, lat = lon_lat(vectors.T)
    middle = lon_lat(vectors.mean(axis=0))
    return plane(lon, lat, float(middle[0]), float(middle[1]))
