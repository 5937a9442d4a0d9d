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
