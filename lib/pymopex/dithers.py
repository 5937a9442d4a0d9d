"""Artifacts that stay on the detector while the sky moves: residual backgrounds, and latents of bright stars.

References
----------
IRAC Instrument Handbook, sections 5.1.10 (first-frame effect), 7.1 and 7.4 (residual patterns, persistent images).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pymopex.artifacts import box_background, nan_median


@dataclass(frozen=True)
class Pattern:
    """What frames have in common on the detector.

    Parameters
    ----------
    median : ndarray, shape (ny, nx)
        Median of the frames, each without its level; NaN where too few have a value.
    error : ndarray, shape (ny, nx)
        1-sigma uncertainty of the median; NaN likewise.
    """

    median: np.ndarray
    error: np.ndarray


def common_pattern(stack: np.ndarray, min_frames: int) -> Pattern:
    """Take the median of frames pixel by pixel.

    Parameters
    ----------
    stack : ndarray, shape (n, ny, nx)
        Frames without their levels; NaN do not count, such as the pixels of objects.
    min_frames : int
        Values that a pixel needs.

    Returns
    -------
    Pattern
        Median and uncertainty.
    """
    values = np.asarray(stack, float)
    median = nan_median(values, axis=0)
    spread = 1.4826 * nan_median(np.abs(values - median), axis=0)
    n = np.isfinite(values).sum(axis=0)
    few = n < min_frames
    error = np.sqrt(np.pi / 2) * spread / np.sqrt(np.maximum(n, 1))
    return Pattern(np.where(few, np.nan, median), np.where(few, np.nan, error))


def residual_background(pattern: Pattern, side: int, fixed_pixels: float) -> np.ndarray:
    """Give what is subtracted from each frame: the smooth part of a pattern, and the pixels that stand out of it.

    Parameters
    ----------
    pattern : Pattern
        Of dithered frames.
    side : int
        Side of the boxes whose medians are the smooth part [pixel].
    fixed_pixels : float
        Excess over the smooth part, in its uncertainty, above which a pixel keeps its own median; 0 for none.

    Returns
    -------
    ndarray, shape (ny, nx)
        Its median is 0, so that the levels of the frames stay; 0 where the pattern has no value.

    Notes
    -----
    The median itself has the noise of one frame over the root of their number, which would go into all frames alike and
    not average out in a mosaic; boxes bring it down, and single pixels count only where they are sure.
    """
    smooth = box_background(pattern.median, side)
    smooth -= np.median(smooth)
    rest = pattern.median - np.where(np.isfinite(pattern.median), smooth, np.nan)
    rest = rest - nan_median(rest.ravel(), axis=0)
    out = smooth
    if fixed_pixels > 0:
        sure = np.abs(np.nan_to_num(rest)) > fixed_pixels * np.nan_to_num(pattern.error, nan=np.inf)
        out = np.where(sure, smooth + np.nan_to_num(rest), smooth)
    return np.where(np.isfinite(pattern.median), out, 0.0)


def isolated(marked: np.ndarray, most: int) -> np.ndarray:
    """Keep the small groups of marked pixels.

    Parameters
    ----------
    marked : ndarray of bool, shape (ny, nx)
        Pixels; those that touch, also by a corner, are a group.
    most : int
        Pixels that a group may have.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        The pixels of groups that have no more.
    """
    from scipy.ndimage import label

    groups, _ = label(marked, np.ones((3, 3)))
    size = np.bincount(groups.ravel())
    return marked & (size[groups] <= most)


def surface(data: np.ndarray, bad: np.ndarray, order: int) -> np.ndarray:
    """Fit a polynomial surface to a frame, without its constant.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count, such as those of objects.
    order : int
        Highest power of x and y together.

    Returns
    -------
    ndarray, shape (ny, nx)
        The surface, whose mean is 0; 0 if fewer than 100 pixels count.
    """
    ny, nx = data.shape
    y, x = np.mgrid[:ny, :nx]
    u, v = 2 * x / (nx - 1) - 1, 2 * y / (ny - 1) - 1
    terms = [u**i * v**j for i in range(order + 1) for j in range(order + 1 - i)]
    good = ~bad & np.isfinite(data)
    if good.sum() < 100:
        return np.zeros(data.shape)
    a = np.stack([term[good] for term in terms], axis=1)
    d = data[good].astype("f8")
    keep = np.ones(len(d), bool)
    coefficients = np.zeros(len(terms))
    for _ in range(3):
        coefficients, *_ = np.linalg.lstsq(a[keep], d[keep], rcond=None)
        rest = d - a @ coefficients
        spread = 1.4826 * np.median(np.abs(rest[keep] - np.median(rest[keep])))
        keep = np.abs(rest) <= max(3 * spread, 1e-30)
    found = np.tensordot(coefficients, np.stack(terms), axes=1)
    return found - found.mean()


def latents(
    data: np.ndarray, bad: np.ndarray, burnt: Sequence[np.ndarray], *, min_excess: float, side: int = 25
) -> np.ndarray:
    """Tell which places of bright pixels of earlier frames still shine.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        A frame.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count.
    burnt : sequence of ndarray of bool, shape (ny, nx)
        Pixels that were very bright, for each of the frames before.
    min_excess : float
        Median excess of a place over the background that it needs, in its uncertainty; 0 takes all places.
    side : int
        Side of the boxes whose medians are the background [pixel].

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        The places that are flagged, whole.
    """
    everywhere = np.zeros(data.shape, bool)
    for one in burnt:
        everywhere |= one
    if min_excess <= 0 or not everywhere.any():
        return everywhere
    values = np.where(bad | ~np.isfinite(data), np.nan, data).astype("f8")
    rest = values - box_background(np.where(everywhere, np.nan, values), side)
    plain = rest[~everywhere & np.isfinite(rest)]
    found = np.zeros(data.shape, bool)
    if plain.size:
        spread = 1.4826 * float(np.median(np.abs(plain - np.median(plain))))
        for one in burnt:
            found |= _shining(rest, one, min_excess * spread)
    return found


def _shining(rest: np.ndarray, burnt: np.ndarray, least: float) -> np.ndarray:
    """Give the connected places whose median is so much above 0, `least` being that of one pixel."""
    from scipy.ndimage import label, median, sum_labels

    if not burnt.any():
        return burnt
    good = np.isfinite(rest)
    places, count = label(burnt, np.ones((3, 3)))
    numbers = np.arange(1, count + 1)
    n = sum_labels(good, places, numbers)
    middle = np.nan_to_num(median(np.where(good, rest, 0.0), np.where(good, places, 0), numbers))
    shining = (n > 0) & (middle > least * np.sqrt(np.pi / 2 / np.maximum(n, 1)))
    return np.concatenate([[False], shining])[places]
