"""World coordinates of a frame that cannot be used, found from its header before work starts."""

from __future__ import annotations

import math

_PIXELS = 0.001, 360  # arcsec; a wrong unit is beyond
_FLATTEST = 1e-3  # sine of the angle between the axes of a pixel
_WCS_NUMBERS = (
    *("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CDELT2", "CROTA2"),
    *("CD1_1", "CD1_2", "CD2_1", "CD2_2", "PC1_1", "PC1_2", "PC2_1", "PC2_2"),
)
Place = tuple[float, float]  # longitude, latitude [degree]


def wcs_problems(image: str, header, refined: bool) -> tuple[list[str], Place | None]:
    """Name what is wrong with the world coordinates of a frame, and give the place of its middle if nothing is.

    Parameters
    ----------
    image : str
        The frame, for messages.
    header : astropy.io.fits.Header
        Its header.
    refined : bool
        Use the refined pointing.
    """
    import numpy as np

    from pymopex.kit.images import frame_geometry

    needed = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
    missing = [key for key in needed if key not in header]
    if not any(key in header for key in ("CD1_1", "CDELT1", "PC1_1")):
        missing.append("CD1_1 (or CDELT1)")
    if missing:
        return [f"{image}: no world coordinates: {', '.join(missing)} missing"], None
    if wrong := [key for key in _WCS_NUMBERS if key in header and not _is_number(header, key)]:
        return [f"{image}: no world coordinates: {', '.join(wrong)}: not a finite number"], None
    try:
        wcs, _ = frame_geometry(image, refined)  # as the modules will ask for it
        sky = wcs.all_pix2world(np.array([[header["NAXIS1"] / 2, header["NAXIS2"] / 2]]), 0)
        unusable = _matrix_problem(wcs) or _distortion_problem(wcs, header)
    except Exception as problem:
        return [f"{image}: world coordinates cannot be used: {problem}"], None
    if not np.isfinite(sky).all():
        return [f"{image}: world coordinates are not finite"], None
    if unusable:
        return [f"{image}: world coordinates cannot be used: {unusable}"], None
    return [], (float(sky[0, 0]), float(sky[0, 1]))


def _is_number(header, key: str) -> bool:
    """Tell whether a card holds a finite number; the library of world coordinates takes anything else for zero."""
    from astropy.io.fits import VerifyError

    try:
        value = header[key]
    except VerifyError:
        return False
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _matrix_problem(wcs) -> str:
    """Tell of pixels that are degenerate, or of a size that no camera has."""
    import numpy as np

    matrix = wcs.pixel_scale_matrix
    x, y = np.linalg.norm(matrix, axis=0)
    smallest, largest = _PIXELS
    if not smallest <= min(x, y) * 3600 <= max(x, y) * 3600 <= largest:
        return f"pixels of {x * 3600:.3g} x {y * 3600:.3g} arcsec; from {smallest} to {largest} are possible"
    if abs(np.linalg.det(matrix)) < _FLATTEST * x * y:
        return "the axes of the CD matrix are parallel"
    return ""


def _distortion_problem(wcs, header) -> str:
    """Tell of a distortion that moves a corner by more than the side of the frame."""
    import numpy as np

    if wcs.sip is None:
        return ""
    nx, ny = header["NAXIS1"], header["NAXIS2"]
    corners = np.array([[0, 0], [nx, 0], [0, ny], [nx, ny]]) + 0.5
    moved = float(np.abs(wcs.pix2foc(corners, 1) - corners).max())
    if not moved <= max(nx, ny):
        return f"the distortion (SIP) moves a corner of the frame by {moved:.3g} pixels"
    return ""
