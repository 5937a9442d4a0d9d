"""Frames of several exposure times: which pixels of a long one are saturated, by a short one of the same field."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_TOUCHING = np.ones((3, 3), dtype=int)  # by sides and by corners
_SAME_TIME = 0.01  # exposure times that differ by less than this share are the same
NAMES = ("short", "medium", "long")
"""Kinds of frames, by exposure time."""


@dataclass(frozen=True)
class HdrParams:
    """What makes a pixel of a long frame saturated.

    Parameters
    ----------
    bright : float
        Pixels of the long frame above its background by so many sigma, and by what the difference takes to be seen in
        the short one, are bright.
    difference : float
        The short frame exceeds the long one by so many sigma of both.
    excess : float
        It exceeds it by this share of its own value besides: calibration and pointing never agree better.
    least : float
        The short frame shows more than this value: some share of the level at which the long one saturates [MJy/sr].
    grow : int
        Pixels added round the saturated ones.
    """

    bright: float = 10.0
    difference: float = 3.0
    excess: float = 0.1
    least: float = 0.0
    grow: int = 0

    def __post_init__(self) -> None:
        if self.bright <= 0 or self.difference <= 0:
            raise ValueError(f"bright = {self.bright} and difference = {self.difference} must be positive")
        if not 0 <= self.excess < 1:
            raise ValueError(f"excess = {self.excess} must be at least 0 and below 1")


@dataclass(frozen=True, eq=False)
class Exposure:
    """A frame of one exposure time.

    Parameters
    ----------
    data, sigma : ndarray, shape (ny, nx)
        Pixels and their 1-sigma uncertainties [MJy/sr].
    bad : ndarray of bool, shape (ny, nx)
        Pixels whose value says nothing; in a long frame, pixels that only its saturation makes bad are not among them.
    """

    data: np.ndarray
    sigma: np.ndarray
    bad: np.ndarray


def sky_difference(long: Exposure, short: Exposure) -> float:
    """Give the sky of the long frame minus that of the short one [MJy/sr]: the median difference of faint pixels.

    Notes
    -----
    Frames of different exposure times have different residues of bias and dark current. Pixels below the median of the
    long frame plus 3 sigma are faint.
    """
    good = ~long.bad & ~short.bad & np.isfinite(long.data) & np.isfinite(short.data)
    if not good.any():
        return 0.0
    faint = good & (long.data < np.median(long.data[good]) + 3 * long.sigma)
    chosen = faint if faint.any() else good
    return float(np.median(long.data[chosen] - short.data[chosen]))


def saturated(long: Exposure, minus: np.ndarray, short: Exposure, how: HdrParams) -> np.ndarray:
    """Find the saturated pixels of a long frame.

    Parameters
    ----------
    long, short : Exposure
        The frames, of the same field and calibrated alike.
    minus : ndarray, shape (ny, nx)
        The long frame minus its background [MJy/sr].
    how : HdrParams
        Thresholds.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where the long frame is saturated.

    Notes
    -----
    A pixel is suspect if the short frame exceeds the long one. Suspects that touch form clusters; a cluster counts if a
    pixel of it is bright in the long frame, or touches one that is. A saturated pixel reads less the longer it is
    exposed, in the end nothing at all, so the middle of a star need not be bright, but its rim is. A cosmic ray in
    the short frame makes a suspect without such a rim. A pixel of the long frame without a value is suspect if the
    short frame shows a source there.

    Without the least value, stars that are not saturated at all would have suspects: undersampled cores of two frames
    differ by more than their noise. A frame that is saturated itself reads too little, so that it may serve as the
    short one of a longer one: it hides saturated pixels, but makes none.

    References
    ----------
    README of hdr_mask.pl: outliers of the median-subtracted long frame and of the difference.
    """
    from scipy import ndimage

    offset = sky_difference(long, short)
    seen = np.where(short.bad | ~np.isfinite(short.data), np.nan, short.data + offset)
    noise = np.hypot(_finite(long.sigma), _finite(short.sigma))
    source = np.maximum(seen - (long.data - minus), 0.0)  # what the short frame shows above the background
    with np.errstate(invalid="ignore"):
        excess = seen - long.data > how.difference * noise + how.excess * source
        blank = ~np.isfinite(long.data) & (seen - _typical(long) > how.difference * noise)
        bright = ~long.bad & (minus > np.maximum(how.bright * long.sigma, how.difference * noise))
        high = seen > how.least
    labels, _ = ndimage.label((excess | blank) & high, structure=_TOUCHING)
    near = ndimage.binary_dilation(bright, structure=_TOUCHING)
    kept = np.unique(labels[near & (labels > 0)])
    found = np.isin(labels, kept) & (labels > 0)
    return ndimage.binary_dilation(found, structure=_TOUCHING, iterations=how.grow) if how.grow else found


def _finite(sigma: np.ndarray) -> np.ndarray:
    """Replace uncertainties that are none by the median of the others."""
    good = np.isfinite(sigma) & (sigma > 0)
    return np.where(good, sigma, np.median(sigma[good]) if good.any() else 0.0)


def _typical(long: Exposure) -> float:
    good = np.isfinite(long.data) & ~long.bad
    return float(np.median(long.data[good])) if good.any() else 0.0


def replaced(long: Exposure, short: Exposure, found: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put the values of the short frame into the saturated pixels of the long one.

    Parameters
    ----------
    long, short : Exposure
        The frames.
    found : ndarray of bool, shape (ny, nx)
        Saturated pixels of the long frame.

    Returns
    -------
    data, sigma : ndarray of float32, shape (ny, nx)
        The long frame with the values, less the difference of the skies, and uncertainties of the short one.
    done : ndarray of bool, shape (ny, nx)
        Pixels that were replaced: those where the short frame is good.
    """
    done = found & ~short.bad & np.isfinite(short.data)
    data = np.where(done, short.data + sky_difference(long, short), long.data)
    return data.astype(np.float32), np.where(done, short.sigma, long.sigma).astype(np.float32), done


def exposure_kinds(named: Sequence[str], times: Sequence[float]) -> list[str]:
    """Tell short, medium and long frames apart.

    Parameters
    ----------
    named : sequence of str
        What the header of each frame says (HDRFRAME): short, medium or long in any case and with blanks, or nothing.
    times : sequence of float
        Exposure time of each [s]; NaN if it is not known.

    Returns
    -------
    list of str
        Of `NAMES`, for each frame.

    Raises
    ------
    ValueError
        A frame that cannot be told; the message has its number, from 0, as ``frame <number>: <reason>``.

    Notes
    -----
    A frame whose header does not say is of the kind of a frame of the same exposure time (within 1 %) that does.
    If none says, the exposure times decide: one is long, two are short and long, three are short, medium and long.
    """
    kinds = [name.strip().lower() for name in named]
    for i, kind in enumerate(kinds):
        if kind and kind not in NAMES:
            raise ValueError(f"frame {i}: HDRFRAME = '{kind}' is none of {', '.join(NAMES)}")
    known = {time: kind for kind, time in zip(kinds, times, strict=True) if kind and np.isfinite(time)}
    if not any(kinds):
        known = _by_time(times)
    for i, (kind, time) in enumerate(zip(kinds, times, strict=True)):
        if not kind:
            kinds[i] = next((k for t, k in known.items() if abs(time - t) <= _SAME_TIME * t), "")
        if not kinds[i]:
            raise ValueError(f"frame {i}: no HDRFRAME, and no frame of {time:g} s that has it")
    return kinds


def _by_time(times: Sequence[float]) -> dict[float, str]:
    """Give the kind of each different exposure time."""
    different: list[float] = []
    for i, time in enumerate(times):
        if not np.isfinite(time):
            raise ValueError(f"frame {i}: neither HDRFRAME nor an exposure time")
        if not any(abs(time - t) <= _SAME_TIME * t for t in different):
            different.append(time)
    if len(different) > len(NAMES):
        shown = ", ".join(f"{t:g}" for t in sorted(different))
        raise ValueError(f"frame 0: no HDRFRAME, and more than three exposure times: {shown} s")
    names = {1: ("long",), 2: ("short", "long"), 3: NAMES}[len(different)] if different else ()
    return dict(zip(sorted(different), names, strict=True))


def nearest_reference(
    time: np.ndarray, place: np.ndarray, times: np.ndarray, places: np.ndarray, reach: float
) -> np.ndarray:
    """Give the short frame of each long one: the nearest in time of those that look at the same place.

    Parameters
    ----------
    time : ndarray, shape (n,)
        Time of the long frames [day].
    place : ndarray, shape (n, 3)
        Unit vectors to where they look.
    times : ndarray, shape (m,)
        Time of the short frames [day].
    places : ndarray, shape (m, 3)
        Where these look.
    reach : float
        Largest distance of the two [deg].

    Returns
    -------
    ndarray of int, shape (n,)
        Number of the short frame, from 0; -1 if none looks there.
    """
    out = np.full(len(time), -1)
    for i in range(len(time)):
        apart = np.degrees(2 * np.arcsin(np.clip(np.linalg.norm(places - place[i], axis=1) / 2, 0, 1)))
        near = np.nonzero(apart <= reach)[0]
        if near.size:
            out[i] = near[np.argmin(np.abs(times[near] - time[i]))]
    return out
