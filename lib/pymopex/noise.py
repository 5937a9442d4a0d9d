"""Local background fluctuation of an image."""

from __future__ import annotations

import numpy as np

from pymopex.background import MedianWindow, check_bad_fraction, checked_image, window_statistic

# One standard deviation below and above the median of a normal distribution.
_QUANTILES = (0.15865525393145707, 0.8413447460685429)


def gaussian_noise(image: np.ndarray, bad: np.ndarray | None, how: MedianWindow) -> np.ndarray:
    """Noise map: half of the width that holds 68 % of the pixels of a sliding window.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit. NaN = no data. The local background need not be subtracted as long as it is flat within
        a window.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    how : MedianWindow
        Window and rules; the mesh settings play no part.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        1-sigma fluctuation in the unit of `image`; NaN only if no window has enough good pixels.

    Raises
    ------
    ValueError
        If the shapes differ, or the output has more pixels without a value than tolerated.

    Notes
    -----
    The limits are the quantiles 0.1587 and 0.8413, so that normal noise gives its standard deviation.
    Dropping outliers that are not there makes the result low: 100 of 45 x 45 pixels by 6 per cent.
    Edges, masked areas and missing values are treated as in `pymopex.background.background`.

    References
    ----------
    MOPEX User's Guide, Gaussnoise.
    """
    image, good = checked_image(image, bad)
    low, high = window_statistic(image, good, how, _QUANTILES)
    result = 0.5 * (high - low)
    check_bad_fraction(image, result, how.max_bad_fraction)
    return result.astype(np.float32)


_QUARTER = 4  # one over the share of the values in the interval that locates the mode
_FEWEST = 64  # values that a window needs


def faint_side_noise(
    image: np.ndarray, bad: np.ndarray | None, window: int = 101, step: int = 50
) -> np.ndarray:
    """Noise map of an image crowded with sources: the scatter of the values below the mode.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit. NaN = no data.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    window : int
        Side of the windows. [pixel]
    step : int
        Distance of the windows; between them the noise is interpolated. [pixel]

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        1-sigma noise in the unit of `image`; NaN only if no window has enough pixels.

    Notes
    -----
    Sources only make pixels brighter, so the faint side of the distribution is that of the noise. The mode is
    the middle of the shortest interval that holds a quarter of the values; the noise is 1.4826 times the median
    distance of the values below it. Normal noise gives its standard deviation within some per cent.
    """
    image, good = checked_image(image, bad)
    centres = [np.unique(np.clip(np.arange(step // 2, n + step // 2, step), 0, n - 1)) for n in image.shape]
    mesh = np.full((len(centres[0]), len(centres[1])), np.nan)
    half = window // 2
    for j, y in enumerate(centres[0]):
        for i, x in enumerate(centres[1]):
            part = (slice(max(0, y - half), y + half + 1), slice(max(0, x - half), x + half + 1))
            mesh[j, i] = _below_mode(image[part][good[part]])
    if np.isnan(mesh).all():
        return np.full(image.shape, np.nan, np.float32)
    return _interpolated(centres, _nearest_filled(mesh), image.shape)


def _below_mode(values: np.ndarray) -> float:
    """Scatter of the values below the mode; NaN if there are too few."""
    if values.size < _FEWEST:
        return np.nan
    ordered = np.sort(values.astype(float))
    n = ordered.size // _QUARTER
    start = int(np.argmin(ordered[n:] - ordered[:-n]))
    mode = float(ordered[start : start + n + 1].mean())
    below = ordered[: np.searchsorted(ordered, mode)]
    return 1.4826 * float(mode - np.median(below)) if below.size else np.nan


def _nearest_filled(mesh: np.ndarray) -> np.ndarray:
    """Fill missing values with the nearest others."""
    from scipy.ndimage import distance_transform_edt

    missing = np.isnan(mesh)
    nearest = distance_transform_edt(missing, return_distances=False, return_indices=True)
    return mesh[tuple(nearest)]


def _interpolated(centres: list[np.ndarray], mesh: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation of values at the crossings of rows and columns; constant beyond the last ones."""
    rows = np.array([np.interp(np.arange(shape[1]), centres[1], line) for line in mesh])
    out = np.empty(shape, np.float32)
    at = np.clip(np.searchsorted(centres[0], np.arange(shape[0])) - 1, 0, max(len(centres[0]) - 2, 0))
    for y, k in enumerate(at):
        last = min(k + 1, len(centres[0]) - 1)
        span = centres[0][last] - centres[0][k]
        t = np.clip((y - centres[0][k]) / span, 0, 1) if span else 0.0
        out[y] = (1 - t) * rows[k] + t * rows[last]
    return out
