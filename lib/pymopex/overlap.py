"""Overlap correction: one additive constant per frame that makes overlapping frames agree.

References
----------
MOPEX User's Guide, section 8.5 (metric and equations).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numba
import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse import coo_array, csr_array, diags_array
from scipy.sparse.csgraph import connected_components
from scipy.sparse.linalg import LinearOperator, cg

from pymopex.outliers import median_of
from pymopex.stack import Stack

_DENSE = 2000  # frames of a connected group up to which the full matrix is inverted
_TOLERANCE = 1e-10  # relative, of the iterative solution
_ITERATIONS = 20_000


@dataclass(frozen=True)
class OverlapParams:
    """How the offsets are fixed.

    Parameters
    ----------
    top, bottom : float
        Offsets farther above or below the mean than so many sigma do not set the common level.
    min_img_num : int
        Frames that a group needs before offsets are left out so.
    weight : float
        Damping: this times the mean weight of a pair, times the sum of the squared offsets, is added to the
        metric. 0: only the mean of the offsets is fixed.
    sparse : bool
        Use the sparse solver for any number of frames.
    """

    top: float = 3.0
    bottom: float = 3.0
    min_img_num: int = 4
    weight: float = 0.0
    sparse: bool = False


@dataclass(frozen=True, eq=False)
class PairSums:
    """Sums over the pixels that pairs of frames share.

    Parameters
    ----------
    first, second : int ndarray, shape (n,)
        Numbers of the frames of each pair, first < second.
    weight : ndarray, shape (n,)
        Sum of ``1 / (sigma_first**2 + sigma_second**2)``.
    difference : ndarray, shape (n,)
        Sum of ``(second - first) / (sigma_first**2 + sigma_second**2)``.
    """

    first: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    difference: np.ndarray


@dataclass(frozen=True, eq=False)
class Offsets:
    """Solution of the overlap correction; arrays of one value per frame.

    Parameters
    ----------
    offsets : ndarray
        Constants to be added [image unit]; 0 for frames without overlap.
    uncertainty : ndarray
        Their 1-sigma uncertainty with respect to the mean of the group, for independent pixels; NaN without
        overlap. Interpolation correlates the pixels, so that the true one is larger by about the ratio of the
        pixel sides of frame and mosaic.
    group : int ndarray
        Number of the connected group, from 1; each group has a level of its own.
    outlier : bool ndarray
        True for offsets that did not set the common level.
    bad : bool ndarray
        True for frames that overlap no other.
    """

    offsets: np.ndarray
    uncertainty: np.ndarray
    group: np.ndarray
    outlier: np.ndarray
    bad: np.ndarray


def pair_sums(
    stack: Stack, numbers: Sequence[int], *, offsets: np.ndarray | None = None, clip_sigma: float = 0.0
) -> PairSums:
    """Sum weighted differences over the pixels of a tile, for each pair of frames.

    Parameters
    ----------
    stack : Stack
        Values on the tile, those of bright objects masked.
    numbers : sequence of int
        Number of each frame of the stack; ascending.
    offsets : ndarray, shape (n_layers,), optional
        Offsets found before: pixels whose values differ by much more than their uncertainties after these are
        left out.
    clip_sigma : float
        That limit, in sigma of the difference; 0 leaves none out.

    Returns
    -------
    PairSums
        Sums of the pairs that share pixels.

    Notes
    -----
    Each pixel counts with the product of its two coverages besides, so that slivers at frame edges and at
    masked pixels weigh little. Without uncertainties all pixels have the same, measured from the median
    difference of successive frames.
    """
    n = stack.n_layers
    sigma = stack.sigma if stack.sigma.size else np.full(stack.value.size, _typical(stack), np.float32)
    weight, difference = np.zeros((n, n)), np.zeros((n, n))
    shift = np.zeros(n) if offsets is None else np.asarray(offsets, dtype=float)
    limit = clip_sigma if offsets is not None and clip_sigma > 0 else np.inf
    _pairs(stack, sigma, shift, limit, weight, difference)
    i, j = np.nonzero(weight)
    number = np.asarray(numbers, dtype=np.int64)
    return PairSums(number[i], number[j], weight[i, j], difference[i, j])


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
def _pairs(
    stack: Stack,
    sigma: np.ndarray,
    shift: np.ndarray,
    limit: float,
    weight: np.ndarray,
    difference: np.ndarray,
) -> None:
    for p in range(stack.ny * stack.nx):
        for a in range(stack.first[p], stack.first[p + 1]):
            m = stack.layer[a]
            variance_a, value_a = np.float64(sigma[a]) ** 2, np.float64(stack.value[a])
            for b in range(a + 1, stack.first[p + 1]):
                n = stack.layer[b]
                variance = variance_a + np.float64(sigma[b]) ** 2
                step = stack.value[b] - value_a
                off = step + shift[n] - shift[m]
                if off * off > limit * limit * variance:
                    continue
                w = stack.coverage[a] * stack.coverage[b] / variance
                weight[m, n] += w
                difference[m, n] += w * step


def merge(parts: Sequence[PairSums]) -> PairSums:
    """Add the sums of several tiles, in their order."""
    nothing = np.zeros(0, np.int64)
    if not parts:
        return PairSums(nothing, nothing, np.zeros(0), np.zeros(0))
    first, second, weight, difference = (
        np.concatenate([getattr(part, name) for part in parts])
        for name in ("first", "second", "weight", "difference")
    )
    size = int(second.max(initial=0)) + 1
    key, where = np.unique(first * size + second, return_inverse=True)
    sums = (np.bincount(where, weights=values, minlength=key.size) for values in (weight, difference))
    return PairSums(key // size, key % size, *sums)


def solve_offsets(n: int, pairs: PairSums, how: OverlapParams) -> Offsets:
    """Find the offsets that minimise the weighted squared differences of all pairs.

    Parameters
    ----------
    n : int
        Number of frames.
    pairs : PairSums
        Sums over all tiles.
    how : OverlapParams
        Level, damping and solver.

    Returns
    -------
    Offsets
        One offset per frame.

    Notes
    -----
    The metric is ``F = sum (I_n + e_n - I_m - e_m)**2 / (sigma_n**2 + sigma_m**2)``; setting its derivatives to
    zero gives one linear equation per frame. A group of frames connected by overlaps is solved apart from the
    others and its level is fixed by the mean of its offsets being 0, those beyond `top` and `bottom` sigma left
    out of the mean. Up to 2000 frames by Cholesky decomposition, which also gives the uncertainties; more by
    conjugate gradients, with the uncertainty that a frame has if all its neighbours are known.
    """
    links = coo_array((pairs.weight, (pairs.first, pairs.second)), shape=(n, n))
    _, label = connected_components(links, directed=False)
    offsets, uncertainty = np.zeros(n), np.full(n, np.nan)
    outlier, bad = np.zeros(n, bool), np.zeros(n, bool)
    matrix, right = _equations(n, pairs)
    for number in range(int(label.max(initial=-1)) + 1):
        members = np.flatnonzero(label == number)
        if members.size == 1:
            bad[members] = True
            continue
        part = matrix[members][:, members]
        found, error = _solve(part, right[members], how, pairs.weight.mean())
        left_out = _far(found, how)
        if how.weight == 0:
            found = found - found[~left_out].mean()
        offsets[members], uncertainty[members], outlier[members] = found, error, left_out
    return Offsets(offsets, uncertainty, label + 1, outlier, bad)


def _equations(n: int, pairs: PairSums) -> tuple[csr_array, np.ndarray]:
    """Matrix and right side of the normal equations."""
    i, j, w = pairs.first, pairs.second, pairs.weight
    links = coo_array(
        (np.concatenate([w, w]), (np.concatenate([i, j]), np.concatenate([j, i]))), shape=(n, n)
    )
    links = links.tocsr()
    matrix = diags_array(np.asarray(links.sum(axis=1)).ravel()) - links
    right = np.bincount(i, weights=pairs.difference, minlength=n)
    right -= np.bincount(j, weights=pairs.difference, minlength=n)
    return csr_array(matrix), right


def _solve(
    matrix: csr_array, right: np.ndarray, how: OverlapParams, typical: float
) -> tuple[np.ndarray, np.ndarray]:
    """Solve the equations of one connected group; gives the offsets, of mean 0 if not damped, and their errors."""
    n = right.size
    damping = how.weight * typical
    diagonal = matrix.diagonal() + damping
    if n <= _DENSE and not how.sparse:
        dense = matrix.toarray()
        dense[np.diag_indices(n)] += damping
        # A common shift costs nothing without damping: the matrix of ones makes it cost as much as any other.
        level = diagonal.mean() / n if damping == 0 else 0.0
        factor = cho_factor(dense + level)
        inverse = cho_solve(factor, np.eye(n))
        variance = np.diag(inverse) - (1 / (level * n * n) if level else 0.0)
        return cho_solve(factor, right), np.sqrt(np.maximum(variance, 0.0))

    def multiply(x: np.ndarray) -> np.ndarray:
        return matrix @ x + damping * x + (0.0 if damping else diagonal.mean() * x.mean())

    operator = LinearOperator((n, n), matvec=multiply, dtype=float)
    jacobi = LinearOperator((n, n), matvec=lambda x: x / diagonal, dtype=float)
    found, failed = cg(operator, right, rtol=_TOLERANCE, maxiter=_ITERATIONS, M=jacobi)
    if failed:
        raise ValueError(f"the overlap equations of {n} frames did not converge in {_ITERATIONS} iterations")
    return found, 1 / np.sqrt(diagonal)


def _far(offsets: np.ndarray, how: OverlapParams) -> np.ndarray:
    """Offsets that are far from the mean."""
    if offsets.size < how.min_img_num:
        return np.zeros(offsets.size, bool)
    middle, sigma = offsets.mean(), offsets.std()
    far = (offsets > middle + how.top * sigma) | (offsets < middle - how.bottom * sigma)
    return far if not far.all() else np.zeros(offsets.size, bool)
