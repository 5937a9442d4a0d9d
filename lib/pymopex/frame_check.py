"""Outliers in the pixels of a frame itself: the frame against what the others show, projected back on its grid.

References
----------
Fruchter & Hook 2002, PASP 114, 144, section 6: comparison with the median image on the grid of the frame, a
tolerance for the gradient, and a lower cut beside hits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pymopex.geometry import FrameMap
from pymopex.interpolation import Interpolation, back_project, interpolate
from pymopex.order_statistics import median, robust_scatter
from pymopex.outliers import steepest
from pymopex.shared_areas import shared_areas

_HALF = 0.5  # part of a frame pixel that must be known, or lie on a source
_ENOUGH = 4.0  # frames from which the tolerance is as given
_TURNS = 2  # of the deconvolution
_STEEP = 4.5  # sigma of the tolerance at a pixel that tells how well the frames agree on gradients
_TELLING = 150  # of these, at least: those of several stars
_UNTOLD = 2.0  # times the tolerance where there are fewer: what real frames of IRAC 1 need
_SPREADS = 3.5  # of their deviations, which the tolerance holds at least
_TELL_SCATTER = (6.0, 12.0)  # frames whose scatter tells nothing, and all


@dataclass(frozen=True)
class FrameCheck:
    """Cuts of the comparison on the grid of the frame.

    Parameters
    ----------
    threshold : float
        Deviation of an outlier; 0: no comparison. [sigma]
    grow : float
        Deviation above which a pixel beside an outlier is one too; 0: none is. [sigma]
    tolerance : float
        Fraction of the local gradient that frames may differ by, where there are four and more.
    refine_thresh : float
        Cut inside real sources, where it is higher than `threshold`; 0: the same. [sigma]
    """

    threshold: float = 0.0
    grow: float = 3.0
    tolerance: float = 0.15
    refine_thresh: float = 0.0


class Expected(NamedTuple):
    """What the others show at the pixels of a frame; arrays of its shape.

    Parameters
    ----------
    values : ndarray
        Expected values [unit of the frame]; NaN where less than half of a pixel is known.
    tolerance : ndarray
        Fraction of the gradient that frames may differ by: that asked for, times four over the number of frames where
        these are fewer.
    scatter : ndarray or None
        Scatter of the frames, weighted down from 12 frames to 6, which say nothing; 0 where nothing is known.
    """

    values: np.ndarray
    tolerance: np.ndarray
    scatter: np.ndarray | None


def expected_frame(
    centre: np.ndarray,
    coverage: np.ndarray,
    scatter: np.ndarray | None,
    frame_map: FrameMap,
    tolerance: float,
    *,
    surface_brightness: bool = True,
) -> Expected:
    """Project a mosaic back on a frame, as sharp as the frame is.

    Parameters
    ----------
    centre : ndarray, shape frame_map.box.shape
        What the frames show at the pixels of the mosaic [unit of the mosaic]; NaN = unknown.
    coverage : ndarray of that shape
        Number of frames; NaN or 0 = none.
    scatter : ndarray of that shape, or None
        Robust scatter of the frames [unit of the mosaic]; NaN = not known.
    frame_map : FrameMap
        Place of the frame on the mosaic.
    tolerance : float
        Fraction of the gradient that frames may differ by, where there are four and more.
    surface_brightness : bool
        False for counts, of which a mosaic pixel has those of its part of a frame pixel.

    Returns
    -------
    Expected
        Expected values, tolerance and scatter.

    Notes
    -----
    Interpolation blurs, and so does the way back. What another turn of both takes from the image is put back,
    twice (van Cittert's deconvolution).

    The expected core of a star is made of the few phases in which frames see it; with two, it is of one frame.
    """
    if not surface_brightness:
        ones = np.ones(frame_map.shape, np.float32)
        alone = interpolate(ones, None, None, frame_map, Interpolation(), surface_brightness=False)
        centre = centre / alone.data
    images = [centre, np.where(coverage > 0, coverage, np.nan)]
    if scatter is not None:
        few, many = _TELL_SCATTER
        with np.errstate(invalid="ignore"):
            images.append(np.clip((coverage - few) / (many - few), 0.0, 1.0) * scatter)
    blurred, seen, *told = shared_areas(frame_map).blot(*images)
    scale = np.maximum(1.0, _ENOUGH / np.maximum(np.nan_to_num(seen), 2.0))
    return Expected(
        _sharpened(blurred, frame_map), tolerance * scale, np.nan_to_num(told[0]) if told else None
    )


def _sharpened(blurred: np.ndarray, frame_map: FrameMap) -> np.ndarray:
    sharp = blurred
    for _ in range(_TURNS):
        missed = blurred - shared_areas(frame_map).there_and_back(sharp)
        sharp = np.where(np.isfinite(missed), sharp + missed, sharp)
    return sharp


def frame_deviation(
    data: np.ndarray,
    sigma: np.ndarray | None,
    expected: np.ndarray,
    tolerance: float | np.ndarray,
    scatter: np.ndarray | None = None,
) -> np.ndarray:
    """Deviation of a frame from what is expected, in units of its noise.

    Parameters
    ----------
    data, expected : ndarray, shape (ny, nx)
        Values of the frame, NaN = no data, and expected ones.
    sigma : ndarray, shape (ny, nx), or None
        1-sigma uncertainties.
    tolerance : float or ndarray of that shape
        Fraction of the steepest step to a neighbour that is added in quadrature.
    scatter : ndarray, shape (ny, nx), or None
        From `expected_frame`: scatter of the frames about the expected values; 0 = not known.

    Returns
    -------
    ndarray, shape (ny, nx)
        Deviations [sigma]; 0 where nothing is known.

    Notes
    -----
    A constant by which the whole frame differs is no deviation: the median difference is taken off.
    Uncertainties that are too small for the frame's own scatter about the expectation are raised to it; without
    any, it takes their place. The tolerance is raised likewise, to 3.5 times the scatter of the frame where the
    gradients are much larger than the noise: pointing errors and the response within pixels are not the same in all
    cameras. Frames with too few such pixels to tell get twice the tolerance. Where many frames overlap, their own
    scatter on a gradient is known, and is added too.
    """
    difference = data - expected
    known = np.isfinite(difference)
    if not known.any():
        return np.zeros(data.shape)
    difference = difference - median(difference[known])
    noise = np.ones(data.shape) if sigma is None else np.where(sigma > 0, sigma, np.nan)
    ratio = (difference / noise)[known]
    ratio = ratio[np.isfinite(ratio)]
    width = robust_scatter(ratio) if ratio.size else 1.0
    noise = noise * (width if sigma is None else max(width, 1.0))
    allowed = tolerance * steepest(np.ascontiguousarray(expected, np.float32))
    allowed = allowed * _disagreement(difference, allowed, noise)
    scale = np.hypot(noise, allowed)
    if scatter is not None:
        scale = np.hypot(scale, _excess(scatter, noise, allowed))
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.nan_to_num(difference / scale, nan=0.0, posinf=0.0, neginf=0.0)


def _excess(scatter: np.ndarray, noise: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Give the scatter beyond the noise, where the gradient is steep."""
    with np.errstate(invalid="ignore"):
        beyond = np.sqrt(np.maximum(scatter**2 - noise**2, 0.0))
        return np.nan_to_num(beyond * np.minimum(allowed / noise, 1.0))


def _disagreement(difference: np.ndarray, allowed: np.ndarray, noise: np.ndarray) -> float:
    """Give by how much the tolerance must be larger for what the frame differs at steep gradients; 1 at least."""
    with np.errstate(invalid="ignore"):
        steep = np.isfinite(difference) & (allowed > _STEEP * noise)
    steep &= ~_grown(_grown(~np.isfinite(difference)))  # stars without their cores
    if steep.sum() < _TELLING:
        return _UNTOLD
    ratio = difference[steep] / allowed[steep]
    return max(1.0, _SPREADS * robust_scatter(ratio))


def frame_flags(
    deviation: np.ndarray, found: np.ndarray, sources: np.ndarray | None, how: FrameCheck
) -> np.ndarray:
    """Outliers among the pixels of a frame.

    Parameters
    ----------
    deviation : ndarray, shape (ny, nx)
        From `frame_deviation` [sigma].
    found : bool ndarray, shape (ny, nx)
        Outliers that other methods found; their neighbours are looked at too.
    sources : bool ndarray, shape (ny, nx), or None
        Pixels of real sources.
    how : FrameCheck
        Cuts.

    Returns
    -------
    bool ndarray, shape (ny, nx)
        Pixels beyond the threshold on either side, and those above `grow` that touch an outlier.
    """
    cut = np.full(deviation.shape, how.threshold)
    if sources is not None and how.refine_thresh > how.threshold:
        cut[sources] = how.refine_thresh
    flags = np.abs(deviation) > cut
    if how.grow <= 0:
        return flags
    beside = _grown(flags | found)
    return flags | (beside & (deviation > np.minimum(how.grow, cut)) & (cut == how.threshold))


def _grown(mask: np.ndarray) -> np.ndarray:
    """Give pixels with their eight neighbours."""
    rows = mask.copy()
    rows[1:] |= mask[:-1]
    rows[:-1] |= mask[1:]
    out = rows.copy()
    out[:, 1:] |= rows[:, :-1]
    out[:, :-1] |= rows[:, 1:]
    return out


def on_frame(flagged: np.ndarray, frame_map: FrameMap) -> np.ndarray:
    """Give the pixels of a frame of which flagged mosaic pixels cover more than half."""
    return back_project(flagged, frame_map) > _HALF
