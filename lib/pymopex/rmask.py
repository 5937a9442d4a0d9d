"""Outlier masks: which mosaic pixels of a frame are outliers, and which of its own pixels that makes bad."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

RADHIT, TEMPORAL, DUAL, BOX = 1, 2, 4, 8
"""Values of the bits of an outlier mask, one for each method."""


@dataclass(frozen=True)
class RMaskParams:
    """Cuts of the outlier mask.

    Parameters
    ----------
    rm_thresh : float
        Fraction of a frame pixel that outliers must cover.
    bottom, top : float
        Cuts of the temporal deviations, below and above. [sigma]
    min_coverage : float
        Least coverage at which temporal outliers count.
    max_coverage : float
        Highest coverage at which dual outliers count.
    refine : bool
        Inside real sources, take `refine_thresh` for both cuts of the temporal and box deviations.
    refine_thresh : float
        The gentler cut. [sigma]
    box_bottom, box_top : float
        Cuts of the box deviations. [sigma]
    box_min_coverage : float
        Least coverage at which box outliers count.
    dual_thresh : float
        Deviation that confirms a dual outlier; 0: none is asked for. [sigma]

    References
    ----------
    MOPEX User's Guide, Mosaic RMask.
    """

    rm_thresh: float = 0.3
    bottom: float = 10.0
    top: float = 10.0
    min_coverage: float = 3.0
    max_coverage: float = 100.0
    refine: bool = False
    refine_thresh: float = 12.0
    box_bottom: float = 10.0
    box_top: float = 10.0
    box_min_coverage: float = 1.0
    dual_thresh: float = 0.0


def temporal_flags(
    deviation: np.ndarray, coverage: np.ndarray, sources: np.ndarray | None, how: RMaskParams
) -> np.ndarray:
    """Temporal outliers on the mosaic.

    Parameters
    ----------
    deviation : ndarray, shape (ny, nx)
        Deviation map of the frame [sigma]; NaN = no data.
    coverage : ndarray, shape (ny, nx)
        Coverage of the mosaic there.
    sources : bool ndarray, shape (ny, nx), or None
        True where the detection maps hold a real source.
    how : RMaskParams
        Cuts.

    Returns
    -------
    bool ndarray, shape (ny, nx)
        True for outliers.

    Notes
    -----
    Coverage is rounded to whole frames for the comparison, since masked pixels make it a little less.
    """
    return _cut(deviation, sources, (how.bottom, how.top), how) & (np.rint(coverage) >= how.min_coverage)


def box_flags(
    deviation: np.ndarray, coverage: np.ndarray, sources: np.ndarray | None, how: RMaskParams
) -> np.ndarray:
    """Box outliers on the mosaic; arguments and result as for `temporal_flags`."""
    wide = np.rint(coverage) >= how.box_min_coverage
    return _cut(deviation, sources, (how.box_bottom, how.box_top), how) & wide


def dual_flags(
    levelled: np.ndarray, coverage: np.ndarray, how: RMaskParams, deviation: np.ndarray | None = None
) -> np.ndarray:
    """Dual outliers on the mosaic.

    Parameters
    ----------
    levelled : int ndarray, shape (ny, nx)
        Levelled detection map of the frame: negative where outliers are.
    coverage : ndarray, shape (ny, nx)
        Coverage of the mosaic there.
    how : RMaskParams
        Cuts.
    deviation : ndarray, shape (ny, nx), optional
        Temporal or box deviation [sigma] that confirms an outlier.

    Returns
    -------
    bool ndarray, shape (ny, nx)
        True for outliers.

    Notes
    -----
    A star near the detection limit is detected in those frames only in which the noise makes it brighter;
    by the legacy rule these are outliers, and the star on the mosaic gets fainter. A hit stands far above the
    other frames, such a star does not: with `dual_thresh` a cluster is an outlier only where the deviation is
    at least that.
    """
    flags = (levelled < 0) & (np.rint(coverage) <= how.max_coverage)
    if deviation is not None and how.dual_thresh > 0:
        with np.errstate(invalid="ignore"):
            flags &= deviation > how.dual_thresh
    return flags


def _cut(
    deviation: np.ndarray, sources: np.ndarray | None, cuts: tuple[float, float], how: RMaskParams
) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        flags = (deviation < -cuts[0]) | (deviation > cuts[1])
        if how.refine and sources is not None:
            flags = np.where(sources, np.abs(deviation) > how.refine_thresh, flags)
    return flags


def compose_rmask(
    radhit: np.ndarray | None,
    temporal: np.ndarray | None,
    dual: np.ndarray | None,
    box: np.ndarray | None,
    rm_thresh: float,
    *,
    shape: tuple[int, int],
) -> np.ndarray:
    """Put the outlier mask of a frame together.

    Parameters
    ----------
    radhit : bool ndarray, or None
        Single-frame hits.
    temporal, dual, box : ndarray, or None
        Fraction of each frame pixel that the outliers of a method cover, from `back_project`.
    rm_thresh : float
        Fraction that must be exceeded.
    shape : (ny, nx)
        Of the frame.

    Returns
    -------
    uint8 ndarray, shape (ny, nx)
        Sum of the bits `RADHIT`, `TEMPORAL`, `DUAL` and `BOX`.

    Raises
    ------
    ValueError
        A shape is not that of the frame.
    """
    mask = np.zeros(shape, np.uint8)
    for bit, covered in ((TEMPORAL, temporal), (DUAL, dual), (BOX, box)):
        if covered is not None:
            _check(covered, shape)
            mask[covered > rm_thresh] |= bit
    if radhit is not None:
        _check(radhit, shape)
        mask[radhit] |= RADHIT
    return mask


def _check(array: np.ndarray, shape: tuple[int, int]) -> None:
    if array.shape != shape:
        raise ValueError(f"image of shape {array.shape} for a frame of shape {shape}")
