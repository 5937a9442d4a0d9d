"""Artifacts of the readout: trails behind bright pixels, and constants of the four outputs.

References
----------
IRAC Instrument Handbook, sections 5.1.11 and 7.2.2 (muxbleed), 5.2.6 (muxstripe), 7.2 (jailbars).
"""

from __future__ import annotations

import numpy as np

from pymopex.artifacts import CLIP, PASSES, Found, kept, nan_median

OUTPUTS = 4
"""Readout channels of an array; each reads every fourth column."""

_FIRST = 4  # readouts behind a trigger that are too near to the star to be fitted


def trail_shape(n: np.ndarray) -> np.ndarray:
    """Give the decay of muxbleed along the readout.

    Parameters
    ----------
    n : ndarray
        Readouts of the same output behind the bright pixel, from 1.

    Returns
    -------
    ndarray
        Bleed over that of the first readout.

    References
    ----------
    IRAC Instrument Handbook, section 5.1.11, equations 5.9 and 5.10.
    """
    x = np.log10(np.asarray(n, float) + 1)
    first = np.log10(2.0)
    polynomial = np.polynomial.Polynomial([3.1880, -2.4973, 1.2010, -0.2444])
    return 10.0 ** (polynomial(x) - polynomial(first))


def trails(
    data: np.ndarray, bad: np.ndarray, triggers: np.ndarray, *, significance: float = 5.0, length: int = 64
) -> Found:
    """Find muxbleed: every fourth pixel behind a very bright one, along the readout, decaying.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame; nx is a multiple of 4.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count.
    triggers : ndarray of bool, shape (ny, nx)
        Pixels bright enough to bleed.
    significance : float
        Amplitude over its uncertainty that a trail needs.
    length : int
        Readouts of the output that a trail is followed, over the end of the row into the next.

    Returns
    -------
    Found
        The trails.

    Raises
    ------
    ValueError
        The width is no multiple of 4.

    Notes
    -----
    A pixel of the trail is compared with the median of the three on each side that other outputs read. The published
    decay is scaled to these differences with outliers clipped, the first four readouts being left out, where the star
    itself is, and what is before the trigger must not look the same. Of triggers that follow each other the last one
    counts. Trails are taken off in the order of the readout.

    References
    ----------
    IRAC Instrument Handbook, sections 5.1.11 and 7.2.2.
    """
    ny, nx = data.shape
    if nx % OUTPUTS:
        raise ValueError(f"a width of {nx} is no multiple of {OUTPUTS}; muxbleed needs whole outputs")
    values = np.where(bad | triggers | ~np.isfinite(data), np.nan, data).astype("f8")
    image, count = np.zeros(data.shape), 0
    noise = _noise_beside(values) if triggers.any() else 0.0
    for row, column in _last_triggers(triggers):
        place = row * (nx // OUTPUTS) + column // OUTPUTS + np.arange(1, length + 1)
        place = place[place < ny * (nx // OUTPUTS)]
        y, x = np.divmod(place, nx // OUTPUTS)
        x = x * OUTPUTS + column % OUTPUTS
        n = np.arange(1, len(place) + 1)
        difference = values[y, x] - image[y, x] - _beside(values, y, x)
        amplitude, error = _amplitude(difference, trail_shape(n), n > _FIRST, noise)
        if amplitude > significance * error and _is_behind(
            values, row, column, difference, significance, noise
        ):
            image[y, x] += amplitude * trail_shape(n)
            count += 1
    return Found(image, count)


def _is_behind(
    values: np.ndarray, row: int, column: int, difference: np.ndarray, significance: float, noise: float
) -> bool:
    """Tell whether the light is behind a trigger and not on both sides of it alike, as the wings of a star are."""
    x = column - OUTPUTS * np.arange(1, len(difference) + 1)
    x = x[x >= 0]
    y, n = np.full(len(x), row), np.arange(1, len(x) + 1)
    before = values[y, x] - _beside(values, y, x)
    amplitude, error = _amplitude(difference[: len(x)] - before, trail_shape(n), n > _FIRST, noise)
    return amplitude > significance * error if np.isfinite(error) else True


def _last_triggers(triggers: np.ndarray) -> list[tuple[int, int]]:
    """Give the triggers that none of the same output follows within two readouts, in the order of the readout."""
    padded = np.pad(triggers, ((0, 0), (0, 2 * OUTPUTS)))
    followed = padded[:, OUTPUTS:-OUTPUTS] | padded[:, 2 * OUTPUTS :]
    return list(zip(*(v.tolist() for v in np.nonzero(triggers & ~followed)), strict=True))


def _beside(values: np.ndarray, y: np.ndarray, x: np.ndarray) -> np.ndarray:
    """Give the median of the pixels of other outputs beside some pixels."""
    padded = np.pad(values, ((0, 0), (3, 3)), constant_values=np.nan)
    steps = np.array([-3, -2, -1, 1, 2, 3])
    return nan_median(padded[y[:, None], x[:, None] + 3 + steps], axis=1)


def _noise_beside(values: np.ndarray) -> float:
    """Give the noise of a pixel against those beside it, from every third row."""
    rows = np.arange(0, len(values), 3)
    y, x = (v.ravel() for v in np.meshgrid(rows, np.arange(3, values.shape[1] - 3, 2), indexing="ij"))
    d = values[y, x] - _beside(values, y, x)
    d = d[np.isfinite(d)]
    return 1.4826 * float(np.median(np.abs(d))) if d.size else 0.0


def _amplitude(d: np.ndarray, shape: np.ndarray, use: np.ndarray, noise: float) -> tuple[float, float]:
    """Scale a shape to differences; gives the factor and its 1-sigma uncertainty (infinite without enough of them).

    The scatter of a few values may be small by chance: it counts as the noise of the frame at least.
    """
    keep = use & np.isfinite(d)
    if keep.sum() < 8:
        return 0.0, np.inf
    amplitude, error = float(np.median(d[keep] / shape[keep])), np.inf
    there = keep
    for _ in range(PASSES):
        rest = np.nan_to_num(d - amplitude * shape)
        spread = max(1.4826 * float(np.median(np.abs(rest[keep]))), noise, 1e-30)
        after = there & (np.abs(rest) <= CLIP * spread)
        if after.sum() < 8:
            return 0.0, np.inf
        amplitude = float(d[after] @ shape[after] / (shape[after] @ shape[after]))
        error = spread / float(np.sqrt(shape[after] @ shape[after]))
        if (after == keep).all():
            break
        keep = after
    return amplitude, error


def output_pattern(
    data: np.ndarray, bad: np.ndarray, *, significance: float = 5.0, sections: int = 1
) -> Found:
    """Find jailbars and muxstripe: constants of the four outputs, which repeat every fourth column.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        The frame.
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count, such as those of objects.
    significance : float
        Constant over its uncertainty that an output needs.
    sections : int
        Parts into which the rows are cut, each with constants of its own: a stripe may cover part of the frame.

    Returns
    -------
    Found
        Constants whose mean over the outputs is 0 in each section.

    Notes
    -----
    Each pixel is compared with the mean of the nine about it in its row, the outer two by half, in which each output
    has the same weight.

    References
    ----------
    IRAC Instrument Handbook, sections 5.2.6 (muxstripe) and 7.2 (jailbars).
    """
    values = np.where(bad | ~np.isfinite(data), np.nan, data).astype("f8")
    difference = values - _row_mean(values)
    image, count = np.zeros(data.shape), 0
    for rows in np.array_split(np.arange(data.shape[0]), sections):
        if not len(rows):
            continue
        found = [_constant(difference[rows][:, output::OUTPUTS]) for output in range(OUTPUTS)]
        constants, errors = np.array(found).T
        constants -= constants.mean()
        if not np.isfinite(errors).all():
            continue
        if (np.abs(constants) > significance * errors).any():
            pattern = np.resize(constants, data.shape[1])
            image[rows] = pattern
            count += int((np.abs(constants) > significance * errors).sum())
    return Found(image, count)


def _row_mean(values: np.ndarray) -> np.ndarray:
    """Mean of nine pixels of a row, the outer ones by half; NaN unless all are there."""
    weights = np.array([0.5, 1, 1, 1, 1, 1, 1, 1, 0.5]) / 8
    padded = np.pad(values, ((0, 0), (4, 4)), constant_values=np.nan)
    windows = np.lib.stride_tricks.sliding_window_view(padded, 9, axis=1)
    return windows @ weights


def _constant(d: np.ndarray) -> tuple[float, float]:
    """Give the clipped mean, and its 1-sigma uncertainty (infinite for fewer than 20 values)."""
    flat = d[np.isfinite(d)]
    if len(flat) < 20:
        return 0.0, np.inf
    some = flat[kept(flat)]
    return float(some.mean()), float(max(some.std(), 1e-30) / np.sqrt(len(some)))
