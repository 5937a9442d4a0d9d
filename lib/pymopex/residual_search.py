"""Sources in what a fit leaves: from the residuals of all frames, how much each place looks like one more."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from scipy import ndimage

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
    """PRF cores for places in a pixel, shape (n_prf, 10, 10, 5, 5), y before x."""

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
    return Stamps(np.ascontiguousarray(cores))


@dataclass(frozen=True, eq=False)
class Scores:
    """Sums over frames at the points of a grid on the sky, each of shape (ny, nx).

    Parameters
    ----------
    top : ndarray
        Residuals times PRF over variance.
    norm : ndarray
        PRF squared over variance; top / norm is the flux of one more source [microjansky].
    light : ndarray
        The same as `top` for the model that was taken off.
    first, first_norm : ndarray
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
        top, norm, light, first, first_norm = np.zeros((5, *shape))
        return cls(top, norm, light, first, first_norm, np.zeros(shape, np.int32))

    @property
    def significance(self) -> np.ndarray:
        """Flux of one more source over its error, 0 where no frame is."""
        return self.top / np.sqrt(np.where(self.norm > 0, self.norm, np.inf))


@numba.njit(cache=True, nogil=True)
def _add(
    residual: np.ndarray,
    weight: np.ndarray,
    model: np.ndarray,
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
    """Add a frame, its residual and model over variance, to the sums at the points of the grid."""
    ny, nx = residual.shape
    for jb in range(node_x.shape[0] - 1):
        for ja in range(node_x.shape[1] - 1):
            if prf[jb, ja] < 0:
                continue
            x, y = node_x[jb : jb + 2, ja : ja + 2], node_y[jb : jb + 2, ja : ja + 2]
            if x.max() < n_edge or x.min() > nx - 1 - n_edge or y.max() < n_edge or y.min() > ny - 1 - n_edge:
                continue
            for b in range(jb * every, min((jb + 1) * every, top.shape[0])):
                for a in range(ja * every, min((ja + 1) * every, top.shape[1])):
                    fb, fa = b / every - jb, a / every - ja
                    at_x = (1 - fb) * ((1 - fa) * x[0, 0] + fa * x[0, 1]) + fb * (
                        (1 - fa) * x[1, 0] + fa * x[1, 1]
                    )
                    at_y = (1 - fb) * ((1 - fa) * y[0, 0] + fa * y[0, 1]) + fb * (
                        (1 - fa) * y[1, 0] + fa * y[1, 1]
                    )
                    if not (n_edge <= at_x <= nx - 1 - n_edge and n_edge <= at_y <= ny - 1 - n_edge):
                        continue
                    t, m, n = _sums(residual, weight, model, at_x, at_y, cores[prf[jb, ja]])
                    t, m, n = scale * t, scale * m, scale * scale * n
                    if n <= 0.0:
                        continue
                    top[b, a] += t
                    light[b, a] += m
                    norm[b, a] += n
                    count[b, a] += 1
                    if count[b, a] == 1 or t > first[b, a]:
                        first[b, a], first_norm[b, a] = t, n


@numba.njit(cache=True, nogil=True)
def _sums(
    residual: np.ndarray, weight: np.ndarray, model: np.ndarray, x: float, y: float, cores: np.ndarray
) -> tuple[float, float, float]:
    """Sum residual, model and PRF over variance, each times PRF, round a place; zeros if its own pixel is bad.

    `residual` and `model` are those over variance.
    """
    ny, nx = residual.shape
    phases, size = cores.shape[1], cores.shape[2]
    px, py = int(np.floor(x + 0.5)), int(np.floor(y + 0.5))
    t = m = n = 0.0
    if weight[py, px] <= 0.0:
        return t, m, n
    kx = min(int((x + 0.5 - px) * phases), phases - 1)
    ky = min(int((y + 0.5 - py) * phases), phases - 1)
    for j in range(size):
        yy = py + j - size // 2
        if not 0 <= yy < ny:
            continue
        for i in range(size):
            xx = px + i - size // 2
            if 0 <= xx < nx:
                q = cores[ky, kx, j, i]
                t += q * residual[yy, xx]
                m += q * model[yy, xx]
                n += q * q * weight[yy, xx]
    return t, m, n


class Nodes(NamedTuple):
    """Where a frame has every n-th point of the grid [0-based pixel], and which PRF serves it; shape (my, mx).

    A negative number of a PRF: the points from there to the next are left out.
    """

    x: np.ndarray
    y: np.ndarray
    prf: np.ndarray
    every: int


def add_frame(
    scores: Scores,
    data: np.ndarray,
    sigma: np.ndarray,
    bad: np.ndarray,
    model: np.ndarray,
    nodes: Nodes,
    scale: float,
    cores: Stamps,
    n_edge: int = 0,
) -> None:
    """Add one frame to the sums.

    Parameters
    ----------
    scores : Scores
        The sums, changed in place.
    data, sigma : ndarray, shape (ny, nx)
        Surface brightness and its 1-sigma uncertainty [MJy/sr].
    bad : ndarray of bool, shape (ny, nx)
        Pixels that do not count. A place whose own pixel is bad gets nothing from the frame.
    model : ndarray, shape (ny, nx)
        The sources that are known [MJy/sr].
    nodes : Nodes
        Places in the frame; between them they are linear in the grid, and there must be one beyond its last point.
    scale : float
        MJy/sr per microjansky in a pixel.
    cores : Stamps
        PRFs.
    n_edge : int
        Places nearer to the edge of the frame get nothing from it [pixel].

    Notes
    -----
    A smooth background, the medians of panels of 32 x 32 pixels, is taken off together with the model.
    """
    good = ~bad & np.isfinite(data) & (sigma > 0)
    left = np.where(good, data - model, 0.0)
    left -= smooth_background(left, good)
    weight = np.where(good, 1.0 / np.where(good, sigma, 1.0).astype(float) ** 2, 0.0)
    _add(
        weight * left,
        weight,
        weight * model,
        *nodes,
        scale,
        n_edge,
        cores.values,
        scores.top,
        scores.norm,
        scores.light,
        scores.first,
        scores.first_norm,
        scores.count,
    )


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


def _on_line(found: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Tell of peaks whether in some direction what is found stays high on both sides, as along a spike."""
    high = np.zeros(row.shape, bool)
    for angle in np.arange(_DIRECTIONS) * np.pi / _DIRECTIONS:
        along = np.ones(row.shape, bool)
        for reach in (*_ALONG, *(-r for r in _ALONG)):
            y = np.clip(row + round(reach * np.sin(angle)), 0, found.shape[0] - 1)
            x = np.clip(column + round(reach * np.cos(angle)), 0, found.shape[1] - 1)
            along &= found[y, x] >= _LINE * found[row, column]
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
    if not scores.count.any():
        return np.zeros(0, np.intp), np.zeros(0, np.intp)
    found = scores.significance
    level, scatter = _surroundings(found, scores.norm <= 0)
    found = (found - level) / scatter
    highest = ndimage.maximum_filter(found, 3, mode="constant") == found
    highest &= (found >= rules.threshold) & (scores.count >= rules.least_frames)
    highest &= (
        ndimage.minimum_filter(scores.norm, 3, mode="constant") > 0
    )  # one at the rim may be higher outside
    row, column = np.nonzero(highest)
    at = row, column
    flux = scores.top[at] / scores.norm[at]
    light = scores.light[at] / scores.norm[at]
    others = scores.norm[at] - scores.first_norm[at]
    rest = (scores.top[at] - scores.first[at]) / np.sqrt(np.maximum(others, 1e-300)) / scatter[at]
    several = scores.count[at] > 1
    keep = (flux >= rules.light_fraction * light) & (~several | (rest >= _REST * rules.threshold))
    keep &= ~_on_line(found, row, column)
    order = np.argsort(-found[at], kind="stable")
    order = order[keep[order]]
    return row[order], column[order]
