"""Images that are parts of a larger grid: where each lies, and putting them together."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from pymopex.fiducial import FiducialFrame
from pymopex.geometry import Box
from pymopex.projection import exact_map

_TOLERANCE = 0.02  # pixel; headers written with six decimals are good for less


def box_on_grid(wcs: WCS, shape: tuple[int, int], grid: FiducialFrame) -> Box:
    """Find where an image lies on a grid.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        WCS of the image.
    shape : (ny, nx)
        Its array shape.
    grid : FiducialFrame
        The grid.

    Returns
    -------
    Box
        May reach over the rim of the grid.

    Raises
    ------
    ValueError
        The pixels of the image are not pixels of the grid.
    """
    ny, nx = shape
    x = np.array([0.0, nx - 1.0, 0.0, nx - 1.0])
    y = np.array([0.0, 0.0, ny - 1.0, ny - 1.0])
    shift = np.stack(exact_map(wcs, grid.wcs())(x, y)) - np.stack([x, y])
    whole = np.rint(np.nan_to_num(shift[:, 0]))
    off = float(np.max(np.abs(shift - whole[:, None]))) if np.isfinite(shift).all() else np.inf
    if off > _TOLERANCE:
        raise ValueError(f"its pixels are not those of the grid: they are off by {off:.3g} pixels")
    return Box(int(whole[0]), int(whole[1]), nx, ny)


def paste(mosaic: np.ndarray, image: np.ndarray, box: Box) -> int:
    """Put an image into a mosaic where that has no value yet.

    Parameters
    ----------
    mosaic : ndarray, shape (ny, nx)
        Is changed. NaN = no value.
    image : ndarray
        The part.
    box : Box
        Its place; what lies outside the mosaic is left out.

    Returns
    -------
    int
        Pixels that got a value.
    """
    inside = box.intersect(Box(0, 0, mosaic.shape[1], mosaic.shape[0]))
    if inside is None:
        return 0
    there, part = mosaic[inside.slices], image[inside.within(box)]
    taken = np.isnan(there) & np.isfinite(part)
    there[taken] = part[taken]
    return int(np.count_nonzero(taken))
