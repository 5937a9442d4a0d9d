"""Size of the box in which a source is fitted."""

from __future__ import annotations

import numba
import numpy as np

_SMALLEST = 3


def fit_radius(
    image: np.ndarray,
    sigma: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    *,
    coverage: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Width and height of the box in which a source stands out of the noise.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image, any unit. NaN = no data.
    sigma : ndarray, shape (ny, nx)
        1-sigma uncertainty in the unit of `image`.
    x, y : ndarray, shape (n,)
        Positions of the sources. [pixel, 0-based]
    coverage : ndarray, shape (ny, nx), optional
        Number of frames per pixel; turns the uncertainty of a mosaic into that of one frame.

    Returns
    -------
    fit_x, fit_y : ndarray of int, shape (n,)
        Size of the box, odd and at least 3. [pixel]

    Raises
    ------
    ValueError
        If shapes differ.

    Notes
    -----
    From the pixel of the source it is d pixels to the first one, in each of two opposite directions, where the
    image minus its mean is below the uncertainty (times the square root of the coverage). The box is twice
    the smaller d, rounded up to an odd number. The mean is that of the whole image.

    The reference does not say what happens where the image ends. Here a way that runs into the edge, or into a pixel
    without data or uncertainty, does not count if the opposite way ends in the noise. A source off the
    image gets the smallest box.

    References
    ----------
    MOPEX User's Guide, Fit Radius.
    """
    image, noise = np.asarray(image, dtype=np.float64), np.asarray(sigma, dtype=np.float64)
    if image.ndim != 2 or noise.shape != image.shape:
        raise ValueError(
            f"image has shape {image.shape}, its noise {noise.shape}: they must be 2-D and equal"
        )
    if coverage is not None:
        if np.shape(coverage) != image.shape:
            raise ValueError(f"coverage has shape {np.shape(coverage)}, the image {image.shape}")
        noise = noise * np.sqrt(np.maximum(coverage, 0.0))
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise ValueError(f"x has shape {x.shape}, y {y.shape}: they must be lists of one length")
    known = np.isfinite(image)
    mean = image[known].mean() if known.any() else 0.0
    excess = np.where(known, image, np.nan) - mean - noise
    inside = (x >= -0.5) & (x < image.shape[1] - 0.5) & (y >= -0.5) & (y < image.shape[0] - 0.5)
    column, row = (np.floor(np.where(inside, at, 0.0) + 0.5).astype(np.int64) for at in (x, y))
    fit_x = np.where(inside, _widths(excess, row, column), _SMALLEST)
    fit_y = np.where(inside, _widths(np.ascontiguousarray(excess.T), column, row), _SMALLEST)
    return fit_x, fit_y


@numba.njit(cache=True, nogil=True)
def _way(line, start, step):
    """Count the steps to the first pixel below 0, and whether there is one before the data end."""
    at = start + step
    while 0 <= at < len(line) and line[at] >= 0:
        at += step
    return abs(at - start), 0 <= at < len(line) and line[at] < 0


@numba.njit(cache=True, nogil=True)
def _widths(excess, row, column):
    """Size along the rows of the box of each source."""
    widths = np.empty(len(row), dtype=np.int64)
    for i in range(len(row)):
        left, left_ends = _way(excess[row[i]], column[i], -1)
        right, right_ends = _way(excess[row[i]], column[i], 1)
        if left_ends and not right_ends:
            right = left
        if right_ends and not left_ends:
            left = right
        widths[i] = 2 * min(left, right) + 1
    return widths
