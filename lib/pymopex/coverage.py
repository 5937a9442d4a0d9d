"""Ragged rims of interpolated frames, taken off their coverage maps."""

from __future__ import annotations

import numpy as np


def fixed_coverage(coverage: np.ndarray, min_single: float, min_block: float) -> np.ndarray:
    """Set the coverage of doubtful pixels to 0.

    Parameters
    ----------
    coverage : ndarray, shape (ny, nx)
        Coverage of an interpolated frame. What is not finite counts as 0.
    min_single : float
        Least coverage of a pixel.
    min_block : float
        Least mean coverage of the pixel and its eight neighbours.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Coverage, 0 where one of the two is missed.

    Notes
    -----
    Both tests look at the coverage as it was. Beyond the border of the map there is no coverage.

    References
    ----------
    MOPEX User's Guide, Fix Coverage.
    """
    given = np.where(np.isfinite(coverage), coverage, 0).astype(np.float64)
    ny, nx = given.shape
    padded = np.pad(given, 1)
    block = sum(padded[j : j + ny, i : i + nx] for j in range(3) for i in range(3))
    doubtful = (given < min_single) | (block < 9 * min_block)
    return np.where(doubtful, 0, given).astype(np.float32)
