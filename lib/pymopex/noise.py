"""Local background fluctuation of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numba
import numpy as np

from pymopex.background import MedianWindow, check_bad_fraction, checked_image, filled
from pymopex.nearest import filled_from_nearest
from pymopex.window_quantiles import quantiles_at

# One standard deviation below and above the median of a normal distribution.
_QUANTILES = (0.15865525393145707, 0.8413447460685429)
_STEPS = 11  # nodes of the noise map in the side of a window, at least
_STEPS_OF_LEVEL = 8  # the same of the level


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
    Edges and masked areas are treated as in `pymopex.background.background`.

    Windows of 22 pixels or more are put round every second pixel of every second row, of 44 round every fourth, and so
    on, and the map is interpolated between. Of 45 x 45 pixels of noise it differs by 0.6 per cent (rms) from that
    of windows round every pixel, whose own scatter is 2.1 per cent, and scatters no more than that. A window
    without enough good pixels gets the mean of the nearest others, as a missing value there.

    References
    ----------
    MOPEX User's Guide, Gaussnoise.
    """
    image, good = checked_image(image, bad)
    size, nodes = _windows(image.shape, (how.window_y, how.window_x), _STEPS)
    dropped = how.n_outliers / (how.window_x * how.window_y)
    low, high = quantiles_at(image, good, nodes, size, dropped, _QUANTILES, how.min_good_pixels)
    result = _interpolated(nodes, filled(0.5 * (high - low), how.min_good_neighbors), image.shape)
    check_bad_fraction(image, result, how.max_bad_fraction)
    return result


def level_and_faint_scatter(
    image: np.ndarray, bad: np.ndarray | None, window: int
) -> tuple[np.ndarray, np.ndarray]:
    """Median of a sliding window, and how far below it the values scatter.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit. NaN = no data.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    window : int
        Side of the windows. [pixel]

    Returns
    -------
    level, scatter : ndarray of float32, shape (ny, nx)
        Median, and its distance from the quantile 0.1587, which is 1 sigma of normal noise and takes no notice of what
        is brighter than the level; NaN only if no window has a tenth of its pixels.

    Notes
    -----
    Windows stand at every eighth of their side and are interpolated between.
    """
    image, good = checked_image(image, bad)
    size, nodes = _windows(image.shape, (window, window), _STEPS_OF_LEVEL)
    quantiles = (_QUANTILES[0], 0.5)
    low, middle = quantiles_at(image, good, nodes, size, 0.0, quantiles, window**2 // 10)
    if np.isnan(middle).all():
        return np.full(image.shape, np.nan, np.float32), np.full(image.shape, np.nan, np.float32)
    low, middle = filled(low, 1), filled(middle, 1)
    return _interpolated(nodes, middle, image.shape), _interpolated(nodes, middle - low, image.shape)


def _windows(
    shape: tuple[int, ...], wanted: tuple[int, int], steps: int
) -> tuple[tuple[int, int], tuple[np.ndarray, np.ndarray]]:
    """Give height and width of the windows, no larger than can matter, and the rows and columns they stand round."""
    size = (min(wanted[0], 2 * shape[0] + 1), min(wanted[1], 2 * shape[1] + 1))
    step = max(1, min(size) // steps)
    return size, (_nodes(shape[0], step), _nodes(shape[1], step))


def _nodes(n: int, step: int) -> np.ndarray:
    """Every so manyth pixel of an axis, and the last one."""
    return np.unique([*range(0, n, step), n - 1])


_QUARTER = 4  # one over the share of the values in the interval that locates the mode
_FEWEST = 64  # values that a window needs


def faint_side_noise(
    image: np.ndarray, bad: np.ndarray | None, window: int = 101, step: int = 50
) -> np.ndarray:
    """Noise map of an image crowded with sources: the scatter of the values below the mode.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit. NaN = no data.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    window : int
        Side of the windows. [pixel]
    step : int
        Distance of the windows; between them the noise is interpolated. [pixel]

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        1-sigma noise in the unit of `image`; NaN only if no window has enough pixels.

    Notes
    -----
    Sources only make pixels brighter, so the faint side of the distribution is that of the noise. The mode is
    the middle of the shortest interval that holds a quarter of the values; the noise is 1.4826 times the median
    distance of the values below it. Normal noise gives its standard deviation within some per cent.
    """
    image, good = checked_image(image, bad)
    centres = [np.unique(np.clip(np.arange(step // 2, n + step // 2, step), 0, n - 1)) for n in image.shape]
    mesh = np.full((len(centres[0]), len(centres[1])), np.nan)
    half = window // 2
    values = np.empty((len(centres[1]), (2 * half + 1) ** 2), image.dtype)
    for j, y in enumerate(centres[0]):
        _gather(image, good, y, centres[1], half, values)
        values.sort(axis=1)  # NaN last; numpy's sort is the fastest
        _below_modes(values, mesh[j])
    if np.isnan(mesh).all():
        return np.full(image.shape, np.nan, np.float32)
    return _interpolated(centres, filled_from_nearest(mesh, 1), image.shape)


@numba.njit(cache=True, nogil=True)
def _gather(image, good, y, columns, half, values):
    """Put the pixels of the windows round some columns of a row into lines; NaN where there is no good one."""
    for i in range(len(columns)):
        n = 0
        x0, x1 = max(0, columns[i] - half), min(image.shape[1], columns[i] + half + 1)
        for row in range(max(0, y - half), min(image.shape[0], y + half + 1)):
            line, known, used = values[i, n : n + x1 - x0], image[row, x0:x1], good[row, x0:x1]
            for k in range(x1 - x0):
                line[k] = known[k] if used[k] else np.nan
            n += x1 - x0
        values[i, n:] = np.nan


@numba.njit(cache=True, nogil=True)
def _below_modes(values, result):
    """Scatter of each line of sorted values below its mode."""
    for i in range(len(values)):
        result[i] = _below_mode(values[i])


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _below_mode(ordered):
    """Scatter of sorted values, of which the last may be NaN, below their mode; NaN if there are too few."""
    n = len(ordered)
    while n > 0 and np.isnan(ordered[n - 1]):
        n -= 1
    if n < _FEWEST:
        return np.nan
    reach = n // _QUARTER
    start = _narrowest(ordered[:n], reach)
    mode = _sum(ordered[start : start + reach + 1]) / (reach + 1)
    below, above = start, start + reach + 1  # where the first value that is not below the mode lies
    while below < above:
        middle = (below + above) // 2
        below, above = (middle + 1, above) if ordered[middle] < mode else (below, middle)
    if below == 0:
        return np.nan
    median = 0.5 * (np.float64(ordered[below // 2]) + np.float64(ordered[(below - 1) // 2]))
    return 1.4826 * (mode - median)


@numba.njit(cache=True, nogil=True)
def _narrowest(ordered, reach):
    """Find the first of the sorted values whose distance from that `reach` places behind it is the shortest."""
    behind = ordered[reach:]
    widths = np.empty(len(behind))
    for k in range(len(behind)):
        widths[k] = np.float64(behind[k]) - np.float64(ordered[k])
    bits = widths.view(
        np.int64
    )  # numbers that are not negative have the order of their bits, and these no NaN
    least = bits[0]
    for k in range(len(bits)):
        least = bits[k] if bits[k] < least else least
    start = 0
    while bits[start] != least:
        start += 1
    return start


@numba.njit(cache=True, nogil=True, fastmath={"reassoc"})
def _sum(values):
    total = 0.0
    for value in values:
        total += np.float64(value)
    return total


def _interpolated(centres: Sequence[np.ndarray], mesh: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    """Bilinear interpolation of values at the crossings of rows and columns; constant beyond the last ones."""
    out = np.empty(shape, np.float32)
    rows, columns = _between(centres[0], shape[0]), _between(centres[1], shape[1])
    _interpolate(rows, columns, mesh.astype(np.float64), out)
    return out


def _between(centres: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Give the centre before each pixel of an axis, and where between it and the next one the pixel lies."""
    position = np.interp(np.arange(n), centres, np.arange(len(centres)))
    before = np.minimum(position.astype(np.int64), max(len(centres) - 2, 0))
    return before, position - before


@numba.njit(cache=True, nogil=True)
def _interpolate(vertical, horizontal, mesh, out):
    """Fill the rows of `out` from those of the mesh before and after them."""
    rows, down = vertical
    before, after, row = np.empty(out.shape[1]), np.empty(out.shape[1]), -2
    for y in range(out.shape[0]):
        if rows[y] == row + 1:
            before, after = after, before
        elif rows[y] != row:
            _along(horizontal, mesh[rows[y]], before)
        if rows[y] != row:
            row = rows[y]
            _along(horizontal, mesh[min(row + 1, mesh.shape[0] - 1)], after)
        line = out[y]
        for x in range(out.shape[1]):
            line[x] = (1 - down[y]) * before[x] + down[y] * after[x]


@numba.njit(cache=True, nogil=True)
def _along(horizontal, values, line):
    """Interpolate a row of the mesh."""
    columns, right = horizontal
    for x in range(len(line)):
        i = columns[x]
        line[x] = (1 - right[x]) * values[i] + right[x] * values[min(i + 1, len(values) - 1)]
