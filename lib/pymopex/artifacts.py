"""Artifacts of the IRAC arrays in one frame: offsets of columns and rows.

Notes
-----
All work on one frame in image units, background and all, and give what is to be subtracted. A correction is made only
where it is significant, so that a clean frame stays as it is.

References
----------
IRAC Instrument Handbook, chapter 7 and sections 5.1.10, 5.1.11 and 5.2: column pull-down, muxbleed, banding, muxstripe,
first-frame effect, persistent images. IRSA, warm column pull-down correctors: decay along the column, different
above and below.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymopex.order_statistics import robust_scatter

_DECAYS = (8.0, 16.0, 32.0, 64.0, 128.0)  # pixel; of the exponential along a column
PASSES = 5
"""Rounds of clipping."""
CLIP = 3.0
"""Where values are clipped [sigma]."""


@dataclass(frozen=True)
class LineSettings:
    """How offsets along lines are found.

    Parameters
    ----------
    significance : float
        Improvement of the fit that an offset needs, as sigma: the root of the drop of chi2.
    reach : int
        Lines on each side that a line is compared with.
    clear : int
        Pixels next to a trigger that the fit leaves out.
    decay : bool
        Whether an exponential may stand on the constant.
    positive : bool
        Whether only offsets that add light count.
    """

    significance: float = 5.0
    reach: int = 8
    clear: int = 15
    decay: bool = True
    positive: bool = False


@dataclass(frozen=True)
class Found:
    """What a correction subtracts, and how many things it corrects.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        To be subtracted from the frame, in its units.
    count : int
        Corrected parts: sides of lines, trails, outputs in sections.
    """

    image: np.ndarray
    count: int


def column_offsets(data: np.ndarray, bad: np.ndarray, triggers: np.ndarray, how: LineSettings) -> Found:
    """Find the offsets of columns that hold a very bright pixel, above it and below it apart.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count.
    triggers : ndarray of bool, shape (ny, nx)
        Pixels bright enough to shift their column.
    how : LineSettings
        How they are found.

    Returns
    -------
    Found
        Offsets on both sides of the triggers; 0 at and between the triggers of a column.

    Notes
    -----
    Each pixel of such a column is compared with the median of the nearest columns without a trigger in the same row. A
    constant, or a constant and an exponential of the distance to the trigger, is fitted to these differences with
    outliers clipped; within `clear` pixels of the trigger its value at that distance holds.

    References
    ----------
    IRAC Instrument Handbook, section 7.2 (column pull-down and pull-up).
    """
    values = np.where(bad | ~np.isfinite(data), np.nan, data).astype("f8")
    lit = np.asarray(triggers.any(axis=0))
    image, count = np.zeros(data.shape), 0
    for column in np.nonzero(lit)[0].tolist():
        difference = values[:, column] - _neighbours(values, lit, column, how.reach)
        rows = np.nonzero(triggers[:, column])[0]
        for side in (slice(0, rows[0]), slice(rows[-1] + 1, None)):
            part = difference[side]
            distance = np.arange(len(part)) + 1.0
            if side.start == 0:
                distance = distance[::-1]
            offset = _offset(part, distance, how)
            if offset is not None:
                image[side, column] = offset
                count += 1
    return Found(image, count)


def row_offsets(data: np.ndarray, bad: np.ndarray, triggers: np.ndarray, how: LineSettings) -> Found:
    """Find the offsets of rows, as `column_offsets` those of columns."""
    found = column_offsets(data.T, bad.T, triggers.T, how)
    return Found(np.ascontiguousarray(found.image.T), found.count)


def _neighbours(values: np.ndarray, lit: np.ndarray, column: int, reach: int) -> np.ndarray:
    """Give the median over the nearest columns without a trigger, as many on each side where there are."""
    others = np.nonzero(~lit)[0]
    left, right = others[others < column][-reach:], others[others > column][:reach]
    chosen = np.concatenate([left, right])
    if not len(chosen):
        return np.full(len(values), np.nan)
    return nan_median(values[:, chosen], axis=1)


def _offset(part: np.ndarray, distance: np.ndarray, how: LineSettings) -> np.ndarray | None:
    """Fit the differences of one side; None if there is no significant offset.

    The wings of the source itself shine more in its own line than in the lines beside it: they decay, and add light.
    So an exponential counts only if it takes light, and a constant that adds some must hold far from the source too.
    """
    usable = np.isfinite(part) & (distance > how.clear)
    if usable.sum() < 2 * how.clear:
        return None
    d, t = part[usable], distance[usable]
    keep = kept(d)
    best, drop = _fit(d, [np.ones_like(t)], keep)
    if best[0] > 0:
        far = t > 2 * how.clear
        if far.sum() < how.clear:
            return None
        best, drop = _fit(d[far], [np.ones(far.sum())], kept(d[far]))
    base, dof = [np.ones_like(distance)], 1
    for length in _DECAYS if how.decay else ():
        terms = [np.ones_like(t), np.exp(-(t - how.clear) / length)]
        both = keep | kept(d - _fit(d, terms, keep)[0] @ np.array(terms))
        both &= kept(d - _fit(d, terms, both)[0] @ np.array(terms))
        solution, gain = _fit(d, terms, both)
        plain = _fit(d, [np.ones_like(t)], both)[1]
        if solution[1] < 0 and gain - plain > how.significance**2 and gain > drop:
            best, drop = solution, gain
            later = np.maximum(distance - how.clear, 0)
            base, dof = [np.ones_like(distance), np.exp(-later / length)], 2
    offset = best @ np.array(base)
    if drop - (dof - 1) < how.significance**2 or (how.positive and np.mean(offset) <= 0):
        return None
    return offset


def _fit(d: np.ndarray, terms: list[np.ndarray], keep: np.ndarray) -> tuple[np.ndarray, float]:
    """Give coefficients by least squares, and by how much chi2 drops against no offset at all."""
    a = np.array(terms).T[keep]
    solution, *_ = np.linalg.lstsq(a, d[keep], rcond=None)
    rest = d[keep] - a @ solution
    variance = float(rest @ rest) / max(len(rest) - len(terms), 1)
    if variance == 0:
        return solution, np.inf if (solution != 0).any() else 0.0
    return solution, float((d[keep] @ d[keep] - rest @ rest) / variance)


def kept(d: np.ndarray) -> np.ndarray:
    """Tell which values are not clipped about their median.

    Parameters
    ----------
    d : ndarray, shape (n,)
        Values; what is not finite is clipped.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for those that stay.
    """
    keep = np.isfinite(d)
    for _ in range(PASSES):
        middle = np.median(d[keep])
        spread = 1.4826 * np.median(np.abs(d[keep] - middle))
        after = np.isfinite(d) & (np.abs(d - middle) <= max(CLIP * spread, 1e-30))
        if (after == keep).all() or after.sum() < 3:
            break
        keep = after
    return keep


def nan_median(values: np.ndarray, axis: int) -> np.ndarray:
    """Take the median of the values that are there.

    Parameters
    ----------
    values : ndarray
        Values; NaN do not count.
    axis : int
        Axis along which it is taken.

    Returns
    -------
    ndarray
        Medians; NaN, without a warning, where there is no value.
    """
    ordered = np.sort(values, axis=axis)  # NaN go last
    n = np.isfinite(values).sum(axis=axis, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum((n - 1) // 2, 0), axis)
    high = np.take_along_axis(ordered, np.maximum(n // 2, 0).clip(max=values.shape[axis] - 1), axis)
    return np.where(n > 0, (low + high) / 2, np.nan).squeeze(axis)


def objects(
    data: np.ndarray, bad: np.ndarray, *, threshold: float = 3.0, grow: int = 2, side: int = 25
) -> np.ndarray:
    """Mark the pixels of objects, and those about them.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count.
    threshold : float
        Excess above the background [sigma of the frame].
    grow : int
        Pixels by which they are grown.
    side : int
        Side of the boxes whose medians are the background [pixel].

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True at objects.
    """
    from scipy.ndimage import binary_dilation

    values = np.where(bad | ~np.isfinite(data), np.nan, data).astype("f8")
    rest = values - box_background(values, side)
    good = rest[np.isfinite(rest)]
    if not good.size:
        return np.zeros(data.shape, bool)
    spread = robust_scatter(good)
    bright = np.nan_to_num(rest, nan=-np.inf) > threshold * spread
    return binary_dilation(bright, iterations=grow) if grow else bright


def box_background(values: np.ndarray, side: int) -> np.ndarray:
    """Give the background by medians of boxes, interpolated linearly between their middles.

    Parameters
    ----------
    values : ndarray, shape (ny, nx)
        The frame; NaN do not count.
    side : int
        Side of a box [pixel].

    Returns
    -------
    ndarray, shape (ny, nx)
        Background; that of the whole frame where a box holds no value.
    """
    from scipy.ndimage import map_coordinates

    ny, nx = values.shape
    parts = [np.array_split(np.arange(n), max(1, round(n / side))) for n in (ny, nx)]
    boxes = np.array(
        [[nan_median(values[np.ix_(r, c)].ravel(), axis=0) for c in parts[1]] for r in parts[0]], float
    )
    whole = float(nan_median(values.ravel(), axis=0))
    boxes[~np.isfinite(boxes)] = whole if np.isfinite(whole) else 0.0
    at = [
        np.interp(np.arange(n), [p.mean() for p in part], np.arange(len(part)))
        for n, part in zip((ny, nx), parts, strict=True)
    ]
    return map_coordinates(boxes, np.meshgrid(*at, indexing="ij"), order=1, mode="nearest")
