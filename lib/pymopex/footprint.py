"""Outlines of frames on the grid of a mosaic, and whether they overlap it."""

from __future__ import annotations

import numpy as np
from astropy.wcs import WCS

from pymopex.fiducial import FiducialFrame
from pymopex.projection import exact_map

_PER_SIDE = 8  # pieces of a side of the outline, which the distortion bends
_TOUCH = 1e-6  # square pixel; less than this is below the accuracy of the maps


def overlaps(wcs: WCS, shape: tuple[int, int], grid: FiducialFrame, margin: int = 0) -> bool:
    """Tell whether a frame overlaps the grid of a mosaic.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        World coordinates of the frame, with its distortion.
    shape : (ny, nx)
        Array shape of the frame.
    grid : FiducialFrame
        Grid of the mosaic.
    margin : int
        Pixels of the grid added on each side; negative takes off.

    Returns
    -------
    bool
        True if the outline of the frame and the rectangle have an area in common.

    Raises
    ------
    ValueError
        The margin leaves nothing of the grid, or the frame is in no known system of coordinates.
    """
    nx, ny = grid.naxis1 + 2 * margin, grid.naxis2 + 2 * margin
    if nx <= 0 or ny <= 0:
        raise ValueError(f"a margin of {margin} leaves nothing of {grid.naxis1} x {grid.naxis2} pixels")
    x, y = exact_map(wcs, grid.wcs())(*outline(shape))
    seen = np.isfinite(x) & np.isfinite(y)
    low, high_x, high_y = -0.5 - margin, grid.naxis1 - 0.5 + margin, grid.naxis2 - 0.5 + margin
    return common_area(x[seen], y[seen], (low, high_x), (low, high_y)) > _TOUCH


def common_area(
    x: np.ndarray, y: np.ndarray, x_range: tuple[float, float], y_range: tuple[float, float]
) -> float:
    """Give the area that a polygon has in common with a rectangle.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Corners of the polygon in order.
    x_range, y_range : (float, float)
        Sides of the rectangle.

    Returns
    -------
    float
        Area; 0 if the polygon has less than three corners.

    References
    ----------
    Sutherland & Hodgman 1974, Communications of the ACM 17, 32.
    """
    corners = np.column_stack([x, y]).astype(float)
    for axis, (low, high) in enumerate((x_range, y_range)):
        corners = _clipped(corners, axis, low, 1.0)
        corners = _clipped(corners, axis, high, -1.0)
    if len(corners) < 3:
        return 0.0
    a, b = (corners - corners[0]).T
    return float(abs(np.sum(a * np.roll(b, -1) - b * np.roll(a, -1))) / 2)


def _clipped(corners: np.ndarray, axis: int, limit: float, side: float) -> np.ndarray:
    """Cut a polygon along a line; side 1 keeps what is above the limit, -1 what is below."""
    kept: list[np.ndarray] = []
    for here, there in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        from_line, to_line = side * (here[axis] - limit), side * (there[axis] - limit)
        if from_line >= 0:
            kept.append(here)
        if from_line * to_line < 0:
            kept.append(here + (there - here) * from_line / (from_line - to_line))
    return np.array(kept).reshape(-1, 2)


def outline(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Give the 0-based pixels of the outer edge of an image: its corners and points between them, in order."""
    ny, nx = shape
    t = np.arange(_PER_SIDE) / _PER_SIDE
    low, high = np.zeros(_PER_SIDE), np.ones(_PER_SIDE)
    x = np.concatenate([t, high, 1 - t, low]) * nx - 0.5
    y = np.concatenate([low, t, high, 1 - t]) * ny - 0.5
    return x, y
