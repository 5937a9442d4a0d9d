"""Overlap correction: a constant per frame, or a plane, that makes overlapping frames agree.

References
----------
MOPEX User's Guide, section 8.5 (metric and equations). MacKay 1992, Neural Computation 4, 415 (evidence).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from pymopex.overlap_pairs import (
    PairOptions,
    PairSums,
    TileSums,
    merge,
    pair_sums,
    tile_sums,
)
from pymopex.projection import exact_map

if TYPE_CHECKING:
    from astropy.wcs import WCS
    from scipy.sparse import csr_array

__all__ = [
    "Offsets",
    "OverlapParams",
    "PairOptions",
    "PairSums",
    "TileSums",
    "detector_axes",
    "merge",
    "pair_sums",
    "solve_offsets",
    "tile_sums",
]

_DENSE = 2000  # unknowns of a connected group up to which the full matrix is inverted
_TOLERANCE = 1e-10  # relative, of the iterative solution
_ITERATIONS = 20_000
_FIRM = 1e6  # how much firmer the tilt of the sky is fixed than a frame knows its own
_FIRST_DAMPING = 0.1  # of the slopes, before their rms is known
_EVIDENCE_ROUNDS = 12  # solutions in search of it, at most
_EVIDENCE_CHANGE = 0.1  # relative, of the damping, that ends the search
_GRID = 5  # points a side to which the axes of a frame are fitted


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
    slope_damping : float or None
        Damping of the slopes, as a fraction of what the overlaps of a frame know of its slopes, on average; None
        finds that which goes with the rms of the slopes.
    """

    top: float = 3.0
    bottom: float = 3.0
    min_img_num: int = 4
    weight: float = 0.0
    sparse: bool = False
    slope_damping: float | None = None


@dataclass(frozen=True, eq=False)
class Offsets:
    """Solution of the overlap correction; arrays of one value per frame.

    Parameters
    ----------
    offsets : ndarray
        Constants to be added [image unit], with slopes at the middle of the frame; 0 for frames without overlap.
    uncertainty : ndarray
        Their 1-sigma uncertainty with respect to the mean of the group, for pair sums of independent pixels; NaN
        without overlap.
    group : int ndarray
        Number of the connected group, from 1; each group has a level of its own.
    outlier : bool ndarray
        True for offsets that did not set the common level.
    bad : bool ndarray
        True for frames that overlap no other.
    slopes : ndarray, shape (n, 2)
        Slopes to be added along x and y of the detector [image unit per pixel]; 0 unless they were asked for.
    slope_uncertainty : ndarray, shape (n, 2)
        Their 1-sigma uncertainty, as `uncertainty`; NaN where there is none.
    """

    offsets: np.ndarray
    uncertainty: np.ndarray
    group: np.ndarray
    outlier: np.ndarray
    bad: np.ndarray
    slopes: np.ndarray
    slope_uncertainty: np.ndarray

    def planes(self, axes: np.ndarray | None) -> np.ndarray:
        """Give the corrections as planes on the mosaic.

        Parameters
        ----------
        axes : ndarray, shape (n, 2, 3), or None
            Of `detector_axes`, one after the other; None if there are no slopes.

        Returns
        -------
        ndarray, shape (n, 3)
            Value at pixel (0, 0) of the mosaic, and slopes along its x and y.
        """
        planes = np.pad(self.offsets[:, None], ((0, 0), (0, 2)))
        return planes if axes is None else planes + np.einsum("nk,nkj->nj", self.slopes, axes)


class _Matrix(NamedTuple):
    """A matrix as a sum of elements; the same place may stand in it several times."""

    size: int
    row: np.ndarray
    column: np.ndarray
    value: np.ndarray

    def part(self, at: np.ndarray) -> _Matrix:
        """Give the rows and columns `at`, ascending; no element may have one of them alone."""
        place = np.full(self.size, -1)
        place[at] = np.arange(at.size)
        inside = place[self.row] >= 0
        return _Matrix(at.size, place[self.row[inside]], place[self.column[inside]], self.value[inside])

    def diagonal(self) -> np.ndarray:
        """Give the diagonal."""
        on = self.row == self.column
        return np.bincount(self.row[on], self.value[on], self.size)

    def dense(self) -> np.ndarray:
        """Give all elements."""
        whole = np.bincount(self.row * self.size + self.column, self.value, self.size**2)
        return whole.reshape(self.size, self.size)

    def sparse(self) -> csr_array:
        """Give the elements that are not 0."""
        from scipy.sparse import coo_array  # takes a tenth of a second to load, for large groups alone

        shape = (self.size, self.size)
        return coo_array((self.value, (self.row, self.column)), shape=shape).tocsr()


class _Equations(NamedTuple):
    """Normal equations of one group, with the damping of each unknown and the directions that are fixed."""

    matrix: _Matrix
    right: np.ndarray
    damping: np.ndarray
    fixed: np.ndarray  # (k, unknowns): each row times the unknowns is 0


def detector_axes(frame_wcs: WCS, shape: tuple[int, int], mosaic_wcs: WCS) -> np.ndarray:
    """Give the pixels of a frame, counted from its middle, as linear functions of the pixels of the mosaic.

    Parameters
    ----------
    frame_wcs, mosaic_wcs : astropy.wcs.WCS
        WCS of frame and mosaic.
    shape : (ny, nx)
        Array shape of the frame.

    Returns
    -------
    ndarray, shape (2, 3)
        Rows for x and y: constant, and factors of x and y of the mosaic (0-based).

    Notes
    -----
    Distortion enters by the best linear fit: for IRAC that is good to about two pixels at the corners, or 1 % of the
    height of a plane over the array.
    """
    ny, nx = shape
    y, x = np.meshgrid(np.linspace(0, ny - 1, _GRID), np.linspace(0, nx - 1, _GRID), indexing="ij")
    at = exact_map(frame_wcs, mosaic_wcs)(x.ravel(), y.ravel())
    design = np.stack([np.ones(x.size), *at], axis=1)
    wanted = np.stack([x.ravel() - (nx - 1) / 2, y.ravel() - (ny - 1) / 2], axis=1)
    return np.linalg.lstsq(design, wanted, rcond=None)[0].T


def solve_offsets(n: int, pairs: PairSums, how: OverlapParams, axes: np.ndarray | None = None) -> Offsets:
    """Find the offsets, or planes, that minimise the weighted squared differences of all pairs.

    Parameters
    ----------
    n : int
        Number of frames.
    pairs : PairSums
        Sums over all tiles; with their moments if slopes are wanted.
    how : OverlapParams
        Level, damping and solver.
    axes : ndarray, shape (n, 2, 3), optional
        Axes of the frames (`detector_axes`): slopes along them are fitted besides.

    Returns
    -------
    Offsets
        One offset per frame.

    Raises
    ------
    ValueError
        The iterative solution does not converge.

    Notes
    -----
    The metric is ``F = sum (I_n + e_n - I_m - e_m)**2 / (sigma_n**2 + sigma_m**2)``; setting its derivatives to
    zero gives one linear equation per frame. A group of frames connected by overlaps is solved apart from the
    others and its level is fixed by the mean of its offsets being 0, those beyond `top` and `bottom` sigma left
    out of the mean. Up to 2000 unknowns by Cholesky decomposition, which also gives the uncertainties; more by
    conjugate gradients, with the uncertainty that a frame has if all its neighbours are known.

    Slopes make e_n a plane in the pixels of the detector. A tilt that all frames of a group share, and the offsets
    that follow from it, is a tilt of the sky and changes no difference: it is fixed by the mean of the slopes, taken
    along the axes of the mosaic, being 0. Slopes that change slowly from frame to frame, a bend of the sky, change
    the differences little; `slope_damping` keeps them small: it adds that fraction of the mean diagonal element of
    the slopes, times their squares, to the metric. If it is None that term is the sum of squares over their variance,
    which is found along with them by maximum evidence: frames without slopes then get next to none. It needs pair sums
    whose weights are those of independent pixels.
    """
    label = _connected(n, pairs.first, pairs.second)
    planes, errors = np.zeros((n, 3)), np.full((n, 3), np.nan)
    outlier, bad = np.zeros(n, bool), np.zeros(n, bool)
    whole = _equations(n, pairs) if axes is None else _plane_equations(n, pairs, axes)
    for members in _groups(label):
        if members.size == 1:
            bad[members] = True
            continue
        group = _part(whole, members, how, pairs.weight.mean(), axes)
        found, error = _solve_group(group, members.size, how, axes is not None)
        left_out = _far(found[:, 0], how)
        if how.weight == 0:
            found[:, 0] -= found[~left_out, 0].mean()
        planes[members, : found.shape[1]], errors[members, : found.shape[1]] = found, error
        outlier[members] = left_out
    return Offsets(planes[:, 0], errors[:, 0], label + 1, outlier, bad, planes[:, 1:], errors[:, 1:])


def _connected(n: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Give each frame the number of the group that links make, from 0, in the order of their first members."""
    lowest = np.arange(n)
    while True:
        before = lowest.copy()
        for one, two in ((first, second), (second, first)):
            np.minimum.at(lowest, before[one], before[two])
        lowest = lowest[lowest]
        if (lowest == before).all():
            return np.unique(lowest, return_inverse=True)[1]


def _groups(label: np.ndarray) -> list[np.ndarray]:
    order = np.argsort(label, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(label[order])) + 1) if label.size else []


def _equations(n: int, pairs: PairSums) -> tuple[_Matrix, np.ndarray]:
    """Matrix and right side of the normal equations of offsets."""
    return _assemble(n, pairs, np.ones((n, 1, 1)), pairs.weight[:, None, None], pairs.difference[:, None])


def _plane_equations(n: int, pairs: PairSums, axes: np.ndarray) -> tuple[_Matrix, np.ndarray]:
    """Matrix and right side for offsets and slopes; the three unknowns of a frame stand together."""
    basis = np.concatenate([np.broadcast_to([1.0, 0.0, 0.0], (n, 1, 3)), axes], axis=1)
    places = [[0, 1, 2], [1, 3, 4], [2, 4, 5]]
    sums = np.column_stack([pairs.weight, pairs.moments])[:, places]
    return _assemble(n, pairs, basis, sums, np.column_stack([pairs.difference, pairs.tilts]))


def _assemble(
    n: int, pairs: PairSums, basis: np.ndarray, sums: np.ndarray, difference: np.ndarray
) -> tuple[_Matrix, np.ndarray]:
    """Put the blocks of all pairs together: `basis` turns functions of the mosaic's x and y into the unknowns'."""
    k = basis.shape[1]
    one, two = basis[pairs.first], basis[pairs.second]
    blocks, rows, columns = [], [], []
    for sign, (a, left), (b, right) in (
        (1, (pairs.first, one), (pairs.first, one)),
        (1, (pairs.second, two), (pairs.second, two)),
        (-1, (pairs.first, one), (pairs.second, two)),
        (-1, (pairs.second, two), (pairs.first, one)),
    ):
        blocks.append(sign * np.einsum("pki,pij,plj->pkl", left, sums, right))
        rows.append(np.broadcast_to((k * a[:, None] + np.arange(k))[:, :, None], blocks[-1].shape))
        columns.append(np.broadcast_to((k * b[:, None] + np.arange(k))[:, None, :], blocks[-1].shape))
    flat = [np.concatenate([part.ravel() for part in parts]) for parts in (blocks, rows, columns)]
    right = np.zeros((n, k))
    np.add.at(right, pairs.first, np.einsum("pki,pi->pk", one, difference))
    np.add.at(right, pairs.second, -np.einsum("pki,pi->pk", two, difference))
    return _Matrix(k * n, flat[1], flat[2], flat[0]), right.ravel()


def _part(
    whole: tuple[_Matrix, np.ndarray],
    members: np.ndarray,
    how: OverlapParams,
    typical: float,
    axes: np.ndarray | None,
) -> _Equations:
    """Cut the equations of a group out, with its damping and what is fixed: level, and tilt of the sky."""
    k = 1 if axes is None else 3
    at = (k * members[:, None] + np.arange(k)).ravel()
    matrix, right = whole[0].part(at), whole[1][at]
    diagonal = matrix.diagonal().reshape(-1, k)
    damping = np.zeros(diagonal.shape)
    damping[:, 0] = how.weight * typical
    fixed = []
    if how.weight == 0:
        level = np.zeros(diagonal.shape)
        level[:, 0] = np.sqrt(diagonal[:, 0].mean() / members.size)
        fixed.append(level)
    if axes is not None:
        scale = diagonal[:, 1:].mean()
        damping[:, 1:] = (_FIRST_DAMPING if how.slope_damping is None else how.slope_damping) * scale
        for j in (1, 2):
            tilt = np.zeros(diagonal.shape)
            tilt[:, 1:] = axes[members][:, :, j]
            fixed.append(tilt * np.sqrt(_FIRM * scale / (tilt**2).sum()))
    rows = np.array([row.ravel() for row in fixed]).reshape(-1, at.size)
    return _Equations(matrix, right, damping.ravel(), rows)


def _solve_group(
    group: _Equations, frames: int, how: OverlapParams, slopes: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Solve, and again with the damping that goes with the rms of the slopes; rows are frames."""
    found, error = (values.reshape(frames, -1) for values in _solve(group, how))
    for _ in range(_EVIDENCE_ROUNDS if slopes and how.slope_damping is None else 0):
        damping = group.damping.reshape(frames, -1).copy()
        # Share of each slope that the overlaps decide, and not the damping.
        known = 1 - np.minimum(error[:, 1:] ** 2 * damping[:, 1:], 1)
        square = (found[:, 1:] ** 2).sum()
        wanted = known.sum() / square if square > 0 else 0.0
        change = wanted / damping[0, 1] if wanted > 0 else 1.0
        if abs(change - 1) < _EVIDENCE_CHANGE:
            break
        damping[:, 1:] = wanted
        group = group._replace(damping=damping.ravel())
        found, error = (values.reshape(frames, -1) for values in _solve(group, how))
    return found, error


def _solve(group: _Equations, how: OverlapParams) -> tuple[np.ndarray, np.ndarray]:
    """Solve the equations of a group; gives the unknowns, and their errors."""
    if group.right.size <= _DENSE and not how.sparse:
        dense = group.matrix.dense() + np.diag(group.damping) + group.fixed.T @ group.fixed
        factor = cho_factor(dense)
        variance = np.diag(cho_solve(factor, np.eye(len(dense))))
        # What is fixed has no error of its own: that of the rows that fix it is taken off.
        strength = (group.fixed**2).sum(axis=1, keepdims=True)
        variance = variance - (group.fixed**2 / strength**2).sum(axis=0)
        return cho_solve(factor, group.right), np.sqrt(np.maximum(variance, 0.0))
    diagonal = group.matrix.diagonal() + group.damping
    return _iterate(group, diagonal), 1 / np.sqrt(diagonal)


def _iterate(group: _Equations, diagonal: np.ndarray) -> np.ndarray:
    from scipy.sparse.linalg import LinearOperator, cg

    n, matrix = diagonal.size, group.matrix.sparse()

    def multiply(x: np.ndarray) -> np.ndarray:
        return matrix @ x + group.damping * x + group.fixed.T @ (group.fixed @ x)

    operator = LinearOperator((n, n), matvec=multiply, dtype=float)
    jacobi = LinearOperator((n, n), matvec=lambda x: x / diagonal, dtype=float)
    found, failed = cg(operator, group.right, rtol=_TOLERANCE, maxiter=_ITERATIONS, M=jacobi)
    if failed:
        raise ValueError(
            f"the overlap equations of {n} unknowns did not converge in {_ITERATIONS} iterations"
        )
    return found


def _far(offsets: np.ndarray, how: OverlapParams) -> np.ndarray:
    """Offsets that are far from the mean."""
    if offsets.size < how.min_img_num:
        return np.zeros(offsets.size, bool)
    middle, sigma = offsets.mean(), offsets.std()
    far = (offsets > middle + how.top * sigma) | (offsets < middle - how.bottom * sigma)
    return far if not far.all() else np.zeros(offsets.size, bool)
