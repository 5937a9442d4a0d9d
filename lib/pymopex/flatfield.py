"""A flat field from the frames themselves: what all of them show at the same pixel, over what their pixels show."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

_MAD = 1.4826  # standard deviation over the median absolute deviation, of normal noise
_MEDIAN_LOSS = 1.2533  # error of a median over that of a mean, of normal noise


@dataclass(frozen=True)
class FlatParams:
    """How a pixel of the flat is taken from the frames.

    Parameters
    ----------
    method : {'median', 'trimmed'}
        Median, or mean without the highest and lowest values.
    trim : float
        Share of the values that a trimmed mean leaves out at each end.
    min_frames : int
        Values that a pixel needs.
    """

    method: str = "median"
    trim: float = 0.1
    min_frames: int = 3

    def __post_init__(self) -> None:
        if self.method not in ("median", "trimmed"):
            raise ValueError(f"method = {self.method} is neither median nor trimmed")
        if not 0 <= self.trim < 0.5:
            raise ValueError(f"trim = {self.trim} must be at least 0 and below 0.5")
        if self.min_frames < 1:
            raise ValueError(f"min_frames = {self.min_frames} must be at least 1")


def level(image: np.ndarray, bad: np.ndarray, flat: np.ndarray | None = None) -> float:
    """Give the level of a frame: the median of its good pixels, each over the flat.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        The frame, in any unit. NaN = no data.
    bad : ndarray of bool, shape (ny, nx)
        Pixels not to be used.
    flat : ndarray, shape (ny, nx), optional
        The flat as far as it is known; without it a frame of which other pixels are good has another level.

    Returns
    -------
    float
        In the unit of the frame; NaN if no pixel is good.
    """
    values = np.asarray(image, dtype=float) / (1.0 if flat is None else flat)
    values = values[~bad & np.isfinite(values)]
    return float(np.median(values)) if values.size else float("nan")


def stacked(cube: np.ndarray, how: FlatParams) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give what frames show at the same pixels.

    Parameters
    ----------
    cube : ndarray, shape (n, ny, nx)
        Frames, or the same rows of each, over their levels. NaN = not to be used.
    how : FlatParams
        Median or trimmed mean.

    Returns
    -------
    value, uncertainty : ndarray of float64, shape (ny, nx)
        NaN where fewer than `min_frames` frames have a value; the 1-sigma uncertainty is that of the scatter of the
        frames, without the highest and lowest values.
    count : ndarray of int, shape (ny, nx)
        Frames that have a value.
    """
    cube = np.asarray(cube, dtype=float)
    count = np.isfinite(cube).sum(axis=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # pixels without any value
        middle = np.nanmedian(cube, axis=0)
        scatter = _MAD * np.nanmedian(np.abs(cube - middle), axis=0)
    value, loss = (middle, _MEDIAN_LOSS) if how.method == "median" else (_trimmed(cube, count, how.trim), 1.0)
    few = count < how.min_frames
    error = loss * scatter / np.sqrt(np.maximum(count, 1))
    return np.where(few, np.nan, value), np.where(few, np.nan, error), count


def _trimmed(cube: np.ndarray, count: np.ndarray, trim: float) -> np.ndarray:
    """Mean of the values between the shares `trim` and 1 - `trim` of the sorted ones."""
    ordered = np.sort(cube, axis=0)  # NaN last
    left_out = np.floor(trim * count).astype(int)
    place = np.arange(len(cube))[:, None, None]
    kept = (place >= left_out) & (place < count - left_out)
    total = np.where(kept, ordered, 0.0).sum(axis=0)
    return total / np.maximum(kept.sum(axis=0), 1)


def normalised(value: np.ndarray, uncertainty: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    """Divide a stack by its mean; gives flat, uncertainty and the mean.

    Raises
    ------
    ValueError
        No pixel has a value, or the mean is not positive.
    """
    known = value[np.isfinite(value)]
    mean = float(known.mean()) if known.size else float("nan")
    if not mean > 0:
        raise ValueError(
            "no pixel has enough frames" if not known.size else f"the mean of the stack is {mean:.4g}"
        )
    return value / mean, uncertainty / mean, mean


def flattened(image: np.ndarray, flat: np.ndarray, least: float) -> np.ndarray:
    """Divide a frame, or its uncertainty, by a flat.

    Parameters
    ----------
    image, flat : ndarray, shape (ny, nx)
        The frame and the flat.
    least : float
        Pixels of the flat below it are of no use.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        NaN where the flat has no value, or one below `least`.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    if np.shape(image) != np.shape(flat):
        raise ValueError(f"the flat has shape {np.shape(flat)}, the frame {np.shape(image)}")
    usable = np.isfinite(flat) & (flat >= least)
    return (np.asarray(image, dtype=float) / np.where(usable, flat, np.nan)).astype(np.float32)


def scan_legs(time: np.ndarray, east: np.ndarray, north: np.ndarray) -> np.ndarray:
    """Tell the scan legs apart by the motion of the telescope.

    Parameters
    ----------
    time : ndarray, shape (n,)
        Time of each frame, in any unit.
    east, north : ndarray, shape (n,)
        Where each looks, in any plane.

    Returns
    -------
    ndarray of int, shape (n,)
        Number of the leg of each frame, from 1, in order of time.

    Notes
    -----
    A leg ends where a step turns back, that is by more than 90 degrees, from the step before it, or is more than three
    times as long as the median step. The turn itself belongs to the leg behind it.
    """
    order = np.argsort(time, kind="stable")
    step = np.stack([np.diff(np.asarray(p, dtype=float)[order]) for p in (east, north)], axis=1)
    length = np.hypot(*step.T)
    usual = float(np.median(length[length > 0])) if (length > 0).any() else 0.0
    legs = np.ones(len(order), dtype=int)
    leg, last = 1, None
    for i, (move, size) in enumerate(zip(step, length, strict=True)):
        turned = last is not None and float(move @ last) < 0
        if turned or size > 3 * usual:
            leg, last = leg + 1, None
        elif last is None or float(move @ last) > 0:
            last = move if size > 0 else last  # a step aside says nothing of the direction
        legs[i + 1] = leg
    out = np.empty(len(order), dtype=int)
    out[order] = legs
    return out
