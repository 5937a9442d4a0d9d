"""Weighted sums over the pixels that pairs of frames share: all that the overlap correction knows of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numba
import numpy as np

from pymopex.order_statistics import median_of
from pymopex.stack import Stack


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over the pixels that pairs of frames share.

    Parameters
    ----------
    first, second : int ndarray, shape (n,)
        Numbers of the frames of each pair, first < second.
    weight : ndarray, shape (n,)
        Sum of the weights of the pixels.
    difference : ndarray, shape (n,)
        Sum of weight times ``second - first``.
    moments : ndarray, shape (n, 5)
        Sums of weight times x, y, x**2, x*y, y**2; x, y are pixels of the mosaic. Without rows unless asked for.
    tilts : ndarray, shape (n, 2)
        Sums of weight times ``second - first`` times x and y. Without rows unless asked for.
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    difference: np.ndarray
    moments: np.ndarray = field(default_factory=lambda: np.zeros((0, 5)))
    tilts: np.ndarray = field(default_factory=lambda: np.zeros((0, 2)))


@dataclass(frozen=True, eq=False)
class PairOptions:
    """How pixels count.

    Parameters
    ----------
    count_once : bool
        Weigh the pairs of a pixel so that the noise of each frame counts once; False: weights of the legacy
        program.
    clip_sigma : float
        Pixels whose values differ by more than this many sigma of the difference, after the planes found before,
        are left out; 0 leaves none out.
    moments : bool
        Sum what the fit of slopes needs, too.
    share : float
        Independent values per pixel of the mosaic: its area in pixels of the frame. The interpolated uncertainty is
        that of a pixel of the frame, however many pixels of the mosaic share it.
    corner : (int, int)
        x and y of the first pixel of the tile on the mosaic, 0-based.
    """

    count_once: bool = True
    clip_sigma: float = 0.0
    moments: bool = False
    share: float = 1.0
    corner: tuple[int, int] = (0, 0)


def pair_sums(
    stack: Stack, numbers: Sequence[int], how: PairOptions | None = None, *, before: np.ndarray | None = None
) -> PairSums:
    """Sum weighted differences over the pixels of a tile, for each pair of frames.

    Parameters
    ----------
    stack : Stack
        Values on the tile, those of bright objects masked.
    numbers : sequence of int
        Number of each frame of the stack; ascending.
    how : PairOptions, optional
        Weights, clipping and the sums wanted.
    before : ndarray, shape (n_layers,) or (n_layers, 3), optional
        Offsets found before, or planes: constant, and slopes along x and y of the mosaic. Needed for clipping.

    Returns
    -------
    PairSums
        Sums of the pairs that share pixels.

    Raises
    ------
    ValueError
        `before` has another length than the stack has frames.

    Notes
    -----
    With ``w_k = coverage_k / sigma_k**2`` a pair m, n of frames has the weight ``w_m w_n / sum(w_k)`` at a pixel,
    the sum being over all frames there. That is the likelihood of offsets with the sky of each pixel free, and the
    offsets are the best there are. With two frames it is ``1 / (sigma_m**2 + sigma_n**2)``, the weight of the legacy
    program; that one, which counts the noise of a frame once for each of its neighbours, is taken for all pixels
    unless `count_once`, times the product of the coverages. Either way slivers at frame edges and at masked pixels
    weigh little. Values with an uncertainty of 0 do not count. Without uncertainties all pixels have the same, measured
    from the median difference of successive frames.

    References
    ----------
    MOPEX User's Guide, section 8.5 (legacy weights).
    """
    how, n = how or PairOptions(), stack.n_layers
    shift = _planes(before, n)
    sigma = stack.sigma if stack.sigma.size else np.full(stack.value.size, _typical(stack), np.float32)
    weight, difference = np.zeros((n, n)), np.zeros((n, n))
    moments = np.zeros((n, n, 7) if how.moments else (0, 0, 7))
    limit = how.clip_sigma if before is not None and how.clip_sigma > 0 else np.inf
    _sum(stack, sigma, shift, limit, how.count_once, how.corner, weight, difference, moments)
    i, j = np.nonzero(weight)
    number = np.asarray(numbers, dtype=np.int64)
    more = moments[i, j] if how.moments else np.zeros((0, 7))
    sums = (weight[i, j], difference[i, j], more[:, :5], more[:, 5:])
    return PairSums(number[i], number[j], *(how.share * part for part in sums))


def _planes(before: np.ndarray | None, n: int) -> np.ndarray:
    planes = np.zeros((n, 3))
    if before is not None:
        given = np.asarray(before, dtype=float)
        if given.shape not in ((n,), (n, 3)):
            raise ValueError(f"before has the shape {given.shape}, expected {(n,)} or {(n, 3)}")
        planes[:, : 1 if given.ndim == 1 else 3] = given.reshape(n, -1)
    return planes


def _typical(stack: Stack) -> float:
    """Noise of one value, from differences of successive frames at the same pixel."""
    count = np.diff(stack.first)
    start = stack.first[:-1][count > 1]
    if not start.size:
        return 1.0
    step = np.abs(stack.value[start + 1].astype(float) - stack.value[start])
    noise = float(median_of(step, step.size)) / (0.6745 * np.sqrt(2))
    return noise if noise > 0 else 1.0


@numba.njit(cache=True, nogil=True)
def _sum(
    stack: Stack,
    sigma: np.ndarray,
    planes: np.ndarray,
    limit: float,
    count_once: bool,
    corner: tuple[int, int],
    weight: np.ndarray,
    difference: np.ndarray,
    moments: np.ndarray,
) -> None:
    for p in range(stack.ny * stack.nx):
        begin, end = stack.first[p], stack.first[p + 1]
        if end - begin < 2:
            continue
        x, y = np.float64(corner[0] + p % stack.nx), np.float64(corner[1] + p // stack.nx)
        total = 0.0
        for a in range(begin, end):
            if sigma[a] > 0:
                total += stack.coverage[a] / np.float64(sigma[a]) ** 2
        for a in range(begin, end):
            if not sigma[a] > 0:
                continue
            m = stack.layer[a]
            variance_a, value_a = np.float64(sigma[a]) ** 2, np.float64(stack.value[a])
            plane_a = planes[m, 0] + planes[m, 1] * x + planes[m, 2] * y
            for b in range(a + 1, end):
                if not sigma[b] > 0:
                    continue
                n = stack.layer[b]
                variance_b = np.float64(sigma[b]) ** 2
                step = stack.value[b] - value_a
                off = step + planes[n, 0] + planes[n, 1] * x + planes[n, 2] * y - plane_a
                variance = variance_a + variance_b
                if off * off > limit * limit * variance:
                    continue
                w = stack.coverage[a] * stack.coverage[b]
                w *= 1 / (variance_a * variance_b * total) if count_once else 1 / variance
                weight[m, n] += w
                difference[m, n] += w * step
                if moments.size:
                    _add_moments(moments[m, n], w, step, x, y)


@numba.njit(cache=True, nogil=True)
def _add_moments(sums: np.ndarray, w: float, step: float, x: float, y: float) -> None:
    sums[0] += w * x
    sums[1] += w * y
    sums[2] += w * x * x
    sums[3] += w * x * y
    sums[4] += w * y * y
    sums[5] += w * step * x
    sums[6] += w * step * y


def merge(parts: Sequence[PairSums]) -> PairSums:
    """Add the sums of several tiles, in their order."""
    nothing = np.zeros(0, np.int64)
    if not parts:
        return PairSums(nothing, nothing, np.zeros(0), np.zeros(0))
    first, second = (np.concatenate([getattr(part, name) for part in parts]) for name in ("first", "second"))
    size = int(second.max(initial=0)) + 1
    key, where = np.unique(first * size + second, return_inverse=True)

    def added(name: str) -> np.ndarray:
        values = np.concatenate([getattr(part, name) for part in parts])
        if not len(values):
            return values
        flat = values.reshape(len(values), -1)
        sums = [np.bincount(where, weights=column, minlength=key.size) for column in flat.T]
        return np.stack(sums, axis=-1).reshape(key.size, *values.shape[1:])

    return PairSums(
        key // size, key % size, added("weight"), added("difference"), added("moments"), added("tilts")
    )
