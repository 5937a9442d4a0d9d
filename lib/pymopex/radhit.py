"""Radiation hits in a single frame: small and sharp, while stars are broad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymopex.noise import faint_side_noise
from pymopex.order_statistics import median

_TOUCHING = np.ones((3, 3), dtype=int)  # by sides and by corners


@dataclass(frozen=True)
class RadhitParams:
    """What makes a cluster of pixels a radiation hit.

    Parameters
    ----------
    segmentation : float
        Pixels above so many sigma form clusters.
    max_area : int
        Largest hit [pixel].
    peak : float
        At least one pixel is above so many sigma.
    """

    segmentation: float = 3.0
    max_area: int = 3
    peak: float = 10.0

    def __post_init__(self) -> None:
        if not self.segmentation > 0:
            raise ValueError(f"segmentation = {self.segmentation} must be above 0")
        if self.max_area < 1:
            raise ValueError(f"max_area = {self.max_area} must be at least 1")
        if self.peak < self.segmentation:
            raise ValueError(f"peak = {self.peak} must not be below segmentation = {self.segmentation}")


def radhits(minus: np.ndarray, sigma: np.ndarray | None, how: RadhitParams) -> np.ndarray:
    """Find radiation hits in a frame.

    Parameters
    ----------
    minus : ndarray, shape (ny, nx)
        Frame minus its background. NaN = no data, or a masked pixel.
    sigma : ndarray, shape (ny, nx), or None
        1-sigma uncertainty in the unit of the frame; None: measured in the frame.
    how : RadhitParams
        Thresholds and area.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True on the pixels of the hits.

    Raises
    ------
    ValueError
        The shapes differ.

    Notes
    -----
    Thresholds count from the median of the frame. Pixels touch by sides and by corners. A low `segmentation` makes
    stars large, so that they fail the test of the area; faint stars fail that of the peak. Unusable pixels that touch
    a cluster count as part of it: the ring that is left of a star whose saturated core is masked is no hit. Without
    uncertainties the noise is that of the faint side of the histogram in windows of 101 pixels.

    References
    ----------
    MOPEX User's Guide, Single Frame Radhit Detection, section 8.2.1.
    """
    from scipy import ndimage

    minus = np.asarray(minus, dtype=np.float64)
    if sigma is not None and np.shape(sigma) != minus.shape:
        raise ValueError(f"sigma has shape {np.shape(sigma)}, the image {minus.shape}")
    significance, good = _significance(minus, sigma)
    above = good & (significance > how.segmentation)
    labels, count = ndimage.label(above | ~good, structure=_TOUCHING)
    area = np.bincount(labels.ravel(), minlength=count + 1)
    peaks = np.full(count + 1, -np.inf)
    np.maximum.at(peaks, labels[above], significance[above])
    hit = (area <= how.max_area) & (peaks > how.peak)
    hit[0] = False
    return hit[labels] & above


def _significance(minus: np.ndarray, sigma: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Height of each pixel above the median in sigma, and where it can be told."""
    good = np.isfinite(minus)
    if sigma is None:
        sigma = faint_side_noise(minus, ~good) if good.any() else np.ones(minus.shape)
    sigma = np.asarray(sigma, dtype=np.float64)
    good &= np.isfinite(sigma) & (sigma > 0)
    if not good.any():
        return np.zeros(minus.shape), good
    height = np.where(good, minus, 0) - median(minus[good])
    return height / np.where(good, sigma, 1), good
