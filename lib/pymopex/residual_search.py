"""Sources in what a fit leaves: from the residuals of all frames, how much each place looks like one more."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numba
import numpy as np
from scipy import ndimage

from pymopex.lanes import LANES, load, same, times, times_plus, total
from pymopex.noise import level_and_faint_scatter
from pymopex.prf import PRFTable

REACH = 2
"""Pixels on each side of the one that holds a place that count for it: the core of the PRF."""

_PHASES = 10  # places of a source in its pixel, along each axis, for which the PRF is tabled
_PANEL = 32  # pixel, of the background that is taken off the residuals
_ALONG = (6, 9, 12)  # points from a peak, on both sides, at which it may be seen that it lies on a line
_DIRECTIONS = 16
_LINE = 0.4  # of the peak, which a line has at all these points
_WINDOW = 61  # points of the grid, of the surroundings that a peak is compared with
_REST = 0.5  # of the threshold: what must be left without the frame that says most


class Stamps(NamedTuple):
    """PRF cores for places in a pixel, float32, shape (n_prf, 10, 10, 5, 8), y before x; the last columns are 0."""

    values: np.ndarray


def stamps(table: PRFTable) -> Stamps:
    """Table the cores of PRFs.

    Parameters
    ----------
    table : PRFTable
        The PRFs of the fit.

    Returns
    -------
    Stamps
        Their values at the 5 x 5 pixels round a source, for places on a grid of a tenth of a pixel.
    """
    at = (np.arange(_PHASES) + 0.5) / _PHASES - 0.5
    pixel = np.arange(-REACH, REACH + 1)
    offset = pixel[None, :] - at[:, None]
    dy, dx = offset[:, None, :, None], offset[None, :, None, :]
    cores = [table.evaluate(dx, dy, index)[0] for index in range(len(table.coefficients))]
    wide = np.zeros((*np.shape(cores)[:-1], LANES), np.float32)
    wide[..., : 2 * REACH + 1] = cores
    return Stamps(wide)


@dataclass(frozen=True, eq=False)
class Scores:
    """Sums over frames at the points of a grid on the sky, each of shape (ny, nx).

    Parameters
    ----------
    top : ndarray
        Residuals times PRF over variance.
    norm : ndarray
        PRF squared over variance; top / norm is the flux of one more source [microjansky].
    light : ndarray of float32
        The same as `top` for the model that was taken off.
    first, first_norm : ndarray of float32
        `top` and `norm` of the frame that says most for a source.
    count : ndarray of int
        Frames.
    """

    top: np.ndarray
    norm: np.ndarray
    light: np.ndarray
    first: np.ndarray
    first_norm: np.ndarray
    count: np.ndarray

    @classmethod
    def empty(cls, shape: tuple[int, int]) -> Scores:
        """Start with no frame."""
        top, norm = np.zeros((2, *shape))
        light, first, first_norm = np.zeros((3, *shape), np.float32)
        return cls(top, norm, light, first, first_norm, np.zeros(shape, np.int32))

    @property
    def significance(self) -> np.ndarray:
        """Flux of one more source over its error, 0 where no frame is."""
        return np.divide(self.top, np.sqrt(self.norm), out=np.zeros(self.top.shape), where=self.norm > 0)


class SearchedFrame(NamedTuple):
    """A frame as it is searched, float32, with a border for the cores of PRFs at its edge; shape (ny + 4, nx + 10).

    `residual` (what the known sources leave) and `model` are those over variance; `weight` is 1 / variance, 0 where a
    pixel does not count.
    """

    residual: np.ndarray
    weight: np.ndarray
    model: np.ndarray


@numba.njit(cache=True, nogil=True)
def _add(
    frame: Any,
    node_x: np.ndarray,
    node_y: np.ndarray,
    prf: np.ndarray,
    every: int,
    scale: float,
    n_edge: int,
    cores: np.ndarray,
    top: np.ndarray,
    norm: np.ndarray,
    light: np.ndarray,
    first: np.ndarray,
    first_norm: np.ndarray,
    count: np.ndarray,
) -> None:
    """Add a frame to the sums at the points of the grid."""
    pitch = frame.weight.shape[1]
    ny, nx = frame.weight.shape[0] - 2 * REACH, pitch - 2 * REACH - LANES + 2
    residual, weight, model = frame.residual.ravel(), frame.weight.ravel(), frame.model.ravel()
    flat = cores.ravel()
    x_last, y_last, per_cell = nx - 1 - n_edge, ny - 1 - n_edge, 1.0 / every
    size = cores[0].size
    for b in range(top.shape[0]):  # row after row, as the sums lie in memory
        jb = b // every
        fb = b * per_cell - jb
        for ja in range(node_x.shape[1] - 1):
            if prf[jb, ja] < 0:
                continue
            x0 = (1 - fb) * node_x[jb, ja] + fb * node_x[jb + 1, ja]
            x1 = (1 - fb) * node_x[jb, ja + 1] + fb * node_x[jb + 1, ja + 1]
            y0 = (1 - fb) * node_y[jb, ja] + fb * node_y[jb + 1, ja]
            y1 = (1 - fb) * node_y[jb, ja + 1] + fb * node_y[jb + 1, ja + 1]
            if max(x0, x1) < n_edge or min(x0, x1) > x_last or max(y0, y1) < n_edge or min(y0, y1) > y_last:
                continue
            first_core = prf[jb, ja] * size
            for a in range(ja * every, min((ja + 1) * every, top.shape[1])):
                fa = a * per_cell - ja
                at_x, at_y = (1 - fa) * x0 + fa * x1, (1 - fa) * y0 + fa * y1
                if not (n_edge <= at_x <= x_last and n_edge <= at_y <= y_last):
                    continue
                t, m, n = _sums(residual, weight, model, pitch, at_x, at_y, flat, first_core)
                if n <= 0.0:
                    continue
                t, m, n = scale * t, scale * m, scale * scale * n
                top[b, a] += t
                light[b, a] += m
                norm[b, a] += n
                count[b, a] += 1
                if count[b, a] == 1 or t > first[b, a]:
                    first[b, a], first_norm[b, a] = t, n


@numba.njit(cache=True, nogil=True, inline="always")
def _sums(
    residual: np.ndarray,
    weight: np.ndarray,
    model: np.ndarray,
    pitch: int,
    x: float,
    y: float,
    cores: np.ndarray,
    first: int,
) -> tuple[float, float, float]:
    """Sum residual, model and PRF over variance, each times PRF, round a place; zeros if its own pixel is bad.

    Rows of `pitch` pixels follow each other in the frame, and so do cores for all places in a pixel, those of the PRF
    from `first` on.
    """
    at_x, at_y = int((x + 0.5) * _PHASES), int((y + 0.5) * _PHASES)
    px, py = at_x // _PHASES, at_y // _PHASES
    start = py * pitch + px
    if weight[start + REACH * pitch + REACH] <= 0.0:
        return 0.0, 0.0, 0.0
    core = first + ((at_y - py * _PHASES) * _PHASES + at_x - px * _PHASES) * (2 * REACH + 1) * LANES
    t = m = n = same(np.float32(0.0))
    for j in range(2 * REACH + 1):
        q, k = load(cores, core + j * LANES), start + j * pitch
        t = times_plus(q, load(residual, k), t)
        m = times_plus(q, load(model, k), m)
        n = times_plus(times(q, q), load(weight, k), n)
    return total(t), total(m), total(n)


class Nodes(NamedTuple):
    """Where a frame has every n-th point of the grid [0-based pixel], and which PRF serves it; shape (my, mx).

    A negative number of a PRF: the points from there to the next are left out.
    """

    x: np.ndarray
    y: np.ndarray
    prf: np.ndarray
    every: int


def searched_frame(data: np.ndarray, sigma: np.ndarray, bad: np.ndarray, free: np.ndarray) -> SearchedFrame:
    """Bring a frame into the form that is searched.

    Parameters
    ----------
    data, sigma : ndarray, shape (ny, nx)
        Surface brightness and its 1-sigma uncertainty [MJy/sr].
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count. A place whose own pixel is bad gets nothing from the frame.
    free : ndarray, shape (ny, nx)
        The frame without the sources that are known [MJy/sr].

    Returns
    -------
    SearchedFrame

    Notes
    -----
    A smooth background, the medians of panels of 32 x 32 pixels, is taken off together with the sources.
    """
    good = ~bad & np.isfinite(data) & (sigma > 0)
    left = np.where(good, free, 0.0)
    model = np.where(good, data, 0.0) - left
    left -= smooth_background(left, good)
    weight = np.divide(
        1.0, np.square(sigma, dtype=np.float32), out=np.zeros(data.shape, np.float32), where=good
    )
    out = np.zeros((3, data.shape[0] + 2 * REACH, data.shape[1] + 2 * REACH + LANES - 2), np.float32)
    inner = slice(REACH, REACH + data.shape[0]), slice(REACH, REACH + data.shape[1])
    for plane, values in zip(out, (weight * left, weight, weight * model), strict=True):
        plane[inner] = values
    return SearchedFrame(*out)


def add_frame(
    scores: Scores, frame: SearchedFrame, nodes: Nodes, scale: float, cores: Stamps, n_edge: int = 0
) -> None:
    """Add one frame to the sums.

    Parameters
    ----------
    scores : Scores
        The sums, changed in place.
    frame : SearchedFrame
        The frame.
    nodes : Nodes
        Places in the frame; between them they are linear in the grid, and there must be one beyond its last point.
    scale : float
        MJy/sr per microjansky in a pixel.
    cores : Stamps
        PRFs.
    n_edge : int
        Places nearer to the edge of the frame get nothing from it [pixel].
    """
    sums = scores.top, scores.norm, scores.light, scores.first, scores.first_norm, scores.count
    _add(frame, *nodes, scale, n_edge, cores.values, *sums)


def smooth_background(image: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Give the median of panels, smoothed by that of their neighbours, and linear between their middles.

    Every other row and column counts, which is enough.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image, nearly free of sources.
    good : ndarray of bool, shape (ny, nx)
        Pixels that count.

    Returns
    -------
    ndarray, shape (ny, nx)
        Background in the unit of the image; 0 if no pixel is good.
    """
    if not good.any():
        return np.zeros(image.shape)
    counts = [max(1, round(n / _PANEL)) for n in image.shape]
    edges = [np.linspace(0, n, k + 1).round().astype(int) for n, k in zip(image.shape, counts, strict=True)]
    mesh = np.full(counts, np.nan)
    for j in range(counts[0]):
        for i in range(counts[1]):
            part = slice(edges[0][j], edges[0][j + 1], 2), slice(edges[1][i], edges[1][i + 1], 2)
            panel = image[part][good[part]]
            if panel.size:
                mesh[j, i] = np.partition(panel, panel.size // 2)[panel.size // 2]
    mesh = np.where(np.isfinite(mesh), mesh, np.nanmedian(mesh))
    mesh = ndimage.median_filter(mesh, 3, mode="nearest")
    down, across = (_between(n, k) for n, k in zip(image.shape, counts, strict=True))
    return down @ mesh @ across.T


def _between(n: int, count: int) -> np.ndarray:
    """Weights, shape (n, count), that interpolate n pixels between the middles of panels, the outer ones carried on."""
    at = np.clip((np.arange(n) + 0.5) * count / n - 0.5, 0, count - 1)
    return np.maximum(0.0, 1.0 - np.abs(at[:, None] - np.arange(count)))


@dataclass(frozen=True)
class SearchRules:
    """What makes a peak of the scores one more source.

    Parameters
    ----------
    threshold : float
        Significance.
    least_frames : int
        Frames that must hold it. Of several, those other than the one that says most must agree: a hit is no source.
    light_fraction : float
        Its flux must be at least this part of what the model that was taken off has at its place: an error of the
        PRF of a known source is no source.
    """

    threshold: float = 5.0
    least_frames: int = 2
    light_fraction: float = 0.1


def _surroundings(significance: np.ndarray, nowhere: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Give the median of the significance round each point, and its scatter below that, 1 or more."""
    level, scatter = level_and_faint_scatter(significance, nowhere, _WINDOW)
    return np.nan_to_num(level), np.fmax(scatter, 1.0)


@numba.njit(cache=True, nogil=True)
def _highest(
    scores: Any, level: np.ndarray, scatter: np.ndarray, threshold: float, least_frames: int
) -> tuple[np.ndarray, np.ndarray]:
    """Give the points above the threshold, and above their neighbours, which some frame must hold, too."""
    significance, norm, count = scores
    found = []
    for b in range(1, norm.shape[0] - 1):
        for a in range(1, norm.shape[1] - 1):
            own = (significance[b, a] - level[b, a]) / scatter[b, a]
            if own < threshold or count[b, a] < least_frames:
                continue
            highest = True
            for j in range(b - 1, b + 2):
                for i in range(a - 1, a + 2):
                    other = (significance[j, i] - level[j, i]) / scatter[j, i]
                    highest = highest and norm[j, i] > 0.0 and other <= own
            if highest:
                found.append((b, a))
    row, column = np.empty(len(found), np.int64), np.empty(len(found), np.int64)
    for k in range(len(found)):
        row[k], column[k] = found[k]
    return row, column


def _on_line(
    found: Callable[..., np.ndarray], limit: tuple[int, int], row: np.ndarray, column: np.ndarray
) -> np.ndarray:
    """Tell of peaks whether in some direction what is found stays high on both sides, as along a spike."""
    high, least = np.zeros(row.shape, bool), _LINE * found(row, column)
    for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        along = np.ones(row.shape, bool)
        for reach in (*_ALONG, *(-r for r in _ALONG)):
            y = np.clip(row + round(reach * np.sin(angle)), 0, limit[0] - 1)
            x = np.clip(column + round(reach * np.cos(angle)), 0, limit[1] - 1)
            along &= found(y, x) >= least
        high |= along
    return high


def find_peaks(scores: Scores, rules: SearchRules) -> tuple[np.ndarray, np.ndarray]:
    """Find the places that look like one more source.

    Parameters
    ----------
    scores : Scores
        Sums of all frames.
    rules : SearchRules
        What is asked for.

    Returns
    -------
    row, column : ndarray of int, shape (n,)
        Points of the grid, the most significant first.

    Notes
    -----
    The significance is that of the flux of a PRF fitted to the residuals at the place, sum(r q / s^2) /
    sqrt(sum(q^2 / s^2)) over the pixels of the core in all frames: the matched filter, and sqrt of the fall of chi2.
    Without the frame that says most it must still be half of the threshold.

    Where the residuals are worse than the noise, in the halo and the spikes of a bright star or at the end of its PRF,
    a source must stand out of them: the significance counts from its median within 30 half pixels, in
    units of how far it scatters below that, if this is more than 1. Spikes are lines: a peak is no source if on both
    sides of it, in one direction, the significance stays above 0.4 of its own from 3 to 6 pixels.
    """
    significance = scores.significance
    level, scatter = _surroundings(significance, scores.norm <= 0)

    def found(row: np.ndarray, column: np.ndarray) -> np.ndarray:
        return (significance[row, column] - level[row, column]) / scatter[row, column]

    sums = significance, scores.norm, scores.count
    at = row, column = _highest(sums, level, scatter, rules.threshold, rules.least_frames)
    flux = scores.top[at] / scores.norm[at]
    light = scores.light[at] / scores.norm[at]
    others = scores.norm[at] - scores.first_norm[at]
    rest = (scores.top[at] - scores.first[at]) / np.sqrt(np.maximum(others, 1e-300)) / scatter[at]
    several = scores.count[at] > 1
    keep = (flux >= rules.light_fraction * light) & (~several | (rest >= _REST * rules.threshold))
    keep &= ~_on_line(found, significance.shape, row, column)
    order = np.argsort(-found(row, column), kind="stable")
    order = order[keep[order]]
    return row[order], column[order]
