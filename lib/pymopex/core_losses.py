"""What outlier rejection takes from the cores of bright sources, against what it takes from the sky."""

from __future__ import annotations

from dataclasses import astuple, dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from pymopex.order_statistics import median, robust_scatter

CORE_RADIUS = 1.5
"""Radius of the core of a source. [pixel of a frame]"""

_PEAK = 20.0  # sigma of the image above its median
_SIDE = 5  # pixels; a peak is the highest of a square of these
_FACTOR = 2.0  # losses of the sky
_SIGNIFICANT = 5.0  # sigma; hits come in tracks, so that pixels are not independent


def brightest_peaks(image: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Find the brightest peaks of an image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit; NaN = no data.
    number : int
        How many at most.

    Returns
    -------
    x, y : ndarray of int, shape (n,)
        0-based pixels, the brightest first.
    value : ndarray, shape (n,)
        Their values: 20 robust sigma and more above the median of the image.
    """
    known = np.isfinite(image)
    empty = np.zeros(0, int)
    if not known.any():
        return empty, empty, np.zeros(0)
    middle, width = median(image[known]), robust_scatter(image[known])
    filled = np.where(known, image, -np.inf)
    top = (filled == maximum_filter(filled, _SIDE)) & (filled > middle + _PEAK * width)
    y, x = np.nonzero(top)
    order = np.argsort(-filled[y, x], kind="stable")[:number]
    return x[order], y[order], filled[y, x][order]


def near(x: np.ndarray, y: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Mark the pixels of a frame within `CORE_RADIUS` of some places.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        0-based places; those off the frame mark what they reach.
    shape : (ny, nx)
        Of the frame.

    Returns
    -------
    bool ndarray, shape (ny, nx)
        True at the cores.
    """
    core = np.zeros(shape, bool)
    step = np.arange(-2, 3)
    for a, b in zip(x, y, strict=True):
        column, row = round(a) + step, round(b) + step
        column, row = column[(column >= 0) & (column < shape[1])], row[(row >= 0) & (row < shape[0])]
        core[np.ix_(row, column)] |= np.hypot(column - a, row[:, None] - b) < CORE_RADIUS
    return core


@dataclass(frozen=True)
class Losses:
    """Usable pixels at the cores of bright sources and elsewhere, and how many of each were rejected."""

    cores: int = 0
    cores_lost: int = 0
    sky: int = 0
    sky_lost: int = 0

    def __add__(self, other: Losses) -> Losses:
        return Losses(*(a + b for a, b in zip(astuple(self), astuple(other), strict=True)))

    @property
    def shares(self) -> tuple[float, float]:
        """Fractions lost at the cores and elsewhere."""
        return self.cores_lost / max(self.cores, 1), self.sky_lost / max(self.sky, 1)

    @property
    def harmful(self) -> bool:
        """Whether cores lose more than twice the share of the sky, and 5 sigma more pixels than by chance.

        A core is hit as often as the sky, so that the same share is lost if nothing but hits is rejected.
        """
        core, sky = self.shares
        expected = self.cores * sky
        excess = self.cores_lost - expected
        return core > _FACTOR * sky and excess > _SIGNIFICANT * np.sqrt(max(expected, 1.0))


def losses(rejected: np.ndarray, usable: np.ndarray, core: np.ndarray) -> Losses:
    """Count the rejected pixels of a frame at the cores and elsewhere.

    Parameters
    ----------
    rejected, usable, core : bool ndarray, shape (ny, nx)
        Outlier mask; pixels without a fatal bit in the other masks; cores, from `near`.

    Returns
    -------
    Losses
        Counts.
    """
    at, sky = core & usable, ~core & usable
    counts = (at, at & rejected, sky, sky & rejected)
    return Losses(*(int(np.count_nonzero(part)) for part in counts))
