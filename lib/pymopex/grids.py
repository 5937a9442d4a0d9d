"""Grids that are given, in place of the one that holds all frames: of an image, or round a position."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from astropy.io import fits

from pymopex.fiducial import FiducialFrame
from pymopex.projection import (
    SYSTEMS,
    exact_map,
    frame_wcs,
    perimeter,
    rotate_sky,
    sky_system,
)

_TOLERANCE = 1e-3  # pixel


def grid_of(header: fits.Header) -> FiducialFrame:
    """Take the grid of an image.

    Parameters
    ----------
    header : astropy.io.fits.Header
        Header of the image: any form of a FITS WCS, with a CD matrix or CDELT.

    Returns
    -------
    FiducialFrame
        The same pixels, to 0.001 pixel on the whole outline.

    Raises
    ------
    ValueError
        The image has no WCS, or one that CDELT and CROTA2 cannot tell: with distortion, with axes that are not at right
        angles, or with east on the wrong side.

    References
    ----------
    Greisen & Calabretta 2002, A&A 395, 1061, section 6.1; Calabretta & Greisen 2002, A&A 395, 1077.
    """
    wcs = frame_wcs(header)
    system = sky_system(wcs)
    wanted = SYSTEMS[system]
    if tuple(str(kind)[: len(axis)] for kind, axis in zip(wcs.wcs.ctype, wanted, strict=True)) != tuple(
        wanted
    ):
        raise ValueError(f"the axes are {', '.join(wcs.wcs.ctype)}; longitude must come first")
    matrix = wcs.pixel_scale_matrix
    if np.linalg.det(matrix) >= 0:
        raise ValueError("longitude grows to the right when latitude grows upwards; it must grow to the left")
    projection = str(wcs.wcs.ctype[0])[5:8]
    frame = FiducialFrame(
        projtype=projection,
        crval1=float(wcs.wcs.crval[0]),
        crval2=float(wcs.wcs.crval[1]),
        crpix1=float(wcs.wcs.crpix[0]),
        crpix2=float(wcs.wcs.crpix[1]),
        crota2=math.degrees(math.atan2(-matrix[0, 1], matrix[1, 1])),
        cdelt1=-float(np.hypot(*matrix[:, 0])),
        cdelt2=float(np.hypot(*matrix[:, 1])),
        naxis1=int(header["NAXIS1"]),
        naxis2=int(header["NAXIS2"]),
        ctype1=f"{wanted[0]:-<4}-{projection}",
        ctype2=f"{wanted[1]:-<4}-{projection}",
    )
    x, y = perimeter(frame.shape, max(frame.shape) / 16)
    X, Y = exact_map(wcs, frame.wcs())(x, y)
    error = float(np.hypot(X - x, Y - y).max())
    if not error <= _TOLERANCE:
        raise ValueError(
            f"its coordinates cannot be told by CDELT and CROTA2 (off by {error:.3g} pixels): the image has "
            "distortion, axes that are not at right angles, or a native pole of its own"
        )
    return frame


def grid_at(
    frame: FiducialFrame,
    *,
    centre: tuple[float, float] | None = None,
    size: tuple[float, float] | None = None,
) -> FiducialFrame:
    """Move a grid, or give it another size.

    Parameters
    ----------
    frame : FiducialFrame
        The grid: projection, coordinate system, orientation and pixel size stay.
    centre : tuple of float, optional
        Right ascension and declination of the middle [deg]; by default where the middle is.
    size : tuple of float, optional
        Size in x and y [arcsec], rounded up to whole pixels; by default the size that it has.

    Returns
    -------
    FiducialFrame
        CRVAL in the middle, CRPIX = (NAXIS+1)/2.

    Raises
    ------
    ValueError
        The size is not positive.
    """
    if centre is not None:
        system = sky_system(frame.wcs())
        lon, lat = rotate_sky(np.array([centre[0] % 360.0]), np.array([centre[1]]), "J2000", system)
        frame = replace(frame, crval1=float(lon[0]), crval2=float(lat[0]))
    naxis1, naxis2 = frame.naxis1, frame.naxis2
    if size is not None:
        if min(size) <= 0:
            raise ValueError(f"a size of {size[0]:g} x {size[1]:g} arcsec is not positive")
        steps = zip(size, (frame.cdelt1, frame.cdelt2), strict=True)
        naxis1, naxis2 = (math.ceil(length / 3600 / abs(step) - 1e-4) for length, step in steps)
    return replace(frame, naxis1=naxis1, naxis2=naxis2, crpix1=(naxis1 + 1) / 2, crpix2=(naxis2 + 1) / 2)
