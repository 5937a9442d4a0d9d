"""Weighted sums over the pixels that pairs of frames share: all that the overlap correction knows of the images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from pymopex.order_statistics import median_of
from pymopex.overlap_kernels import Parts, Scan, first_steps, scan

__all__ = ["PairOptions", "PairSums", "Parts", "TileSums", "merge", "pair_sums", "tile_sums"]

# Parts of the limit of clipping, pixels nearer to which are kept in mind: by planes that are not known, and that are.
_MARGIN, _NARROW = 0.125, 0.02


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
    most : int
        Pixels that are kept in mind for clipping by other planes, at most; each takes 48 bytes.
    """

    count_once: bool = True
    clip_sigma: float = 0.0
    moments: bool = False
    share: float = 1.0
    corner: tuple[int, int] = (0, 0)
    most: int = 1_000_000


@dataclass(frozen=True, eq=False)
class TileSums:
    """The sums of a tile, which can be taken again with other planes without its pixels.

    Parameters
    ----------
    numbers : int ndarray, shape (n,)
        Numbers of the frames.
    how : PairOptions
        Weights, clipping and the sums wanted.
    margin : float
        Part of the limit of clipping, pixels nearer to which are kept in mind.
    found : Scan
        What the pixels tell.
    """

    numbers: np.ndarray
    how: PairOptions
    margin: float
    found: Scan

    @property
    def next_margin(self) -> float:
        """Margin to take with planes that are known; 0 if too many pixels would have to be kept in mind."""
        expected = self.found.wanted * min(1.0, _NARROW / self.margin) if self.margin else np.inf
        return _NARROW if expected <= self.how.most else 0.0

    def all_pixels(self) -> PairSums:
        """Give the sums over all pixels."""
        return self._sums(self.found.whole)

    def clipped(self, planes: np.ndarray) -> PairSums | None:
        """Give the sums over the pixels that planes leave; None if these are too far from those it was made with.

        Parameters
        ----------
        planes : ndarray, shape (n,) or (n, 3)
            Planes of the frames of the tile (see `tile_sums`).
        """
        planes, found = _planes(planes, len(self.numbers)), self.found
        plane = planes[found.pair[:, 1]] - planes[found.pair[:, 0]]
        if (_farthest(plane - found.plane, found.box) > found.reach).any():
            return None
        x, y, weight, step, variance = found.pixel.T
        level, along, up = plane[found.of].T
        off = step + level + along * x + up * y
        w = np.where(off**2 <= self.how.clip_sigma**2 * variance, weight, 0.0)
        d = w * step
        terms = (w, d, w * x, w * y, w * x * x, w * x * y, w * y * y, d * x, d * y)
        sums = found.sure.copy()
        for column, term in zip(sums.T, terms, strict=False):
            column += np.bincount(found.of, term, len(sums))
        return self._sums(sums)

    def _sums(self, sums: np.ndarray) -> PairSums:
        some = sums[:, 0] > 0
        first, second = self.numbers[self.found.pair[some]].T
        sums = self.how.share * sums[some]
        more = sums if self.how.moments else np.zeros((0, 9))
        return PairSums(first, second, sums[:, 0], sums[:, 1], more[:, 2:7], more[:, 7:])


def _farthest(plane: np.ndarray, box: np.ndarray) -> np.ndarray:
    """Give the largest values of planes, shape (k, 3), on places, shape (k, 4), without signs."""
    corners = [
        np.abs(plane[:, 0] + plane[:, 1] * box[:, i] + plane[:, 2] * box[:, j])
        for i in (0, 2)
        for j in (1, 3)
    ]
    return np.max(corners, axis=0)


def tile_sums(
    parts: Parts,
    numbers: Sequence[int],
    how: PairOptions | None = None,
    *,
    before: np.ndarray | None = None,
    margin: float = _MARGIN,
) -> TileSums:
    """Go over the pixels of a tile.

    Parameters
    ----------
    parts : Parts
        Values on the tile, those of bright objects masked.
    numbers : sequence of int
        Number of each frame; ascending.
    how : PairOptions, optional
        Weights, clipping and the sums wanted.
    before : ndarray, shape (n,) or (n, 3), optional
        Offsets of these frames found before, or planes: constant, and slopes along x and y of the mosaic.
    margin : float
        Part of the limit of clipping: pixels nearer to it are kept in mind; 0 keeps none, then the sums hold for
        these planes alone.

    Returns
    -------
    TileSums
        All that is to be known of the tile, as long as the planes are not far from these or, without them, from the
        median differences of the pairs.

    Raises
    ------
    ValueError
        `before` has another length than there are frames.

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
    how, n = how or PairOptions(), len(parts.start)
    planes = np.zeros((0, 3)) if before is None else _planes(before, n)
    if not parts.sigma.size:
        parts = parts._replace(sigma=np.full(parts.value.size, _typical(parts), np.float32))
    limit = how.clip_sigma if how.clip_sigma > 0 else np.inf
    rest = how.most, how.count_once, how.moments, how.corner
    found = scan(parts, planes, limit, margin * limit if margin else 0.0, *rest)
    if before is not None and found.wanted > how.most:
        margin, found = 0.0, scan(parts, planes, limit, 0.0, *rest)
    return TileSums(np.asarray(numbers, dtype=np.int64), how, margin, found)


def pair_sums(
    parts: Parts, numbers: Sequence[int], how: PairOptions | None = None, *, before: np.ndarray | None = None
) -> PairSums:
    """Sum weighted differences over the pixels of a tile, for each pair of frames, clipped by the planes of `before`.

    Parameters are those of `tile_sums`; without `before` all pixels count.
    """
    found = tile_sums(parts, numbers, how, before=before, margin=0.0)
    if before is None or found.how.clip_sigma <= 0:
        return found.all_pixels()
    sums = found.clipped(before)
    assert sums is not None  # it was made with these planes
    return sums


def _planes(given: np.ndarray, n: int) -> np.ndarray:
    """Give offsets as planes.

    Raises
    ------
    ValueError
        They have another length than there are frames.
    """
    given, planes = np.asarray(given, dtype=float), np.zeros((n, 3))
    if given.shape not in ((n,), (n, 3)):
        raise ValueError(f"before has the shape {given.shape}, expected {(n,)} or {(n, 3)}")
    planes[:, : 1 if given.ndim == 1 else 3] = given.reshape(n, -1)
    return planes


def _typical(parts: Parts) -> float:
    """Noise of one value, from differences of successive frames at the same pixel."""
    step = first_steps(parts)
    if not step.size:
        return 1.0
    noise = float(median_of(step, step.size)) / (0.6745 * np.sqrt(2))
    return noise if noise > 0 else 1.0


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
