"""Point response functions: samples, maps of them over the detector, and tables for fast look-up."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pymopex.prf_kernels import LANES, PAD, values_at

SAMPLING = 10
"""Samples per pixel that a look-up table has at least, if the PRF has them."""


@dataclass(frozen=True, eq=False)
class PRF:
    """The response of image pixels to a point source, sampled more finely than the pixels.

    The value in a pixel at offset (dx, dy) from the source is the sample at (dx factor_x, dy factor_y) from
    the central one: the PRF is the PSF convolved with the image pixel.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        Samples, both axes odd; the source is in the middle of the central sample.
    factor_x, factor_y : int
        Samples per image pixel.

    Raises
    ------
    ValueError
        Even axes, samples that are not finite, or a factor below 1.

    References
    ----------
    MOPEX User's Guide, section 8.7.
    """

    samples: np.ndarray
    factor_x: int
    factor_y: int

    def __post_init__(self) -> None:
        if self.samples.ndim != 2 or min(self.samples.shape) < 3:
            raise ValueError(
                f"a PRF is a 2-D array of at least 3 x 3 samples, not of shape {self.samples.shape}"
            )
        ny, nx = self.samples.shape
        if nx % 2 == 0 or ny % 2 == 0:
            raise ValueError(
                f"a PRF must have odd axes with the source in the central sample, not {nx} x {ny}"
            )
        if self.factor_x < 1 or self.factor_y < 1:
            raise ValueError(f"samples per pixel must be 1 or more, not {self.factor_x}, {self.factor_y}")
        if not np.isfinite(self.samples).all():
            raise ValueError("the PRF has samples that are not finite")

    @property
    def central_value(self) -> float:
        """Central sample: the fraction of the flux in the pixel that has the source in its middle."""
        ny, nx = self.samples.shape
        return float(self.samples[ny // 2, nx // 2])

    @property
    def noise_pixels(self) -> float:
        """N_P = 1 / central value of the normalised PRF."""
        return 1.0 / self.central_value

    def central_sum(self, radius: float | None = None) -> float:
        """Sum of the central PRF.

        Parameters
        ----------
        radius : float or None
            Take the samples with their centre within this many samples of the central one; None takes all.

        Returns
        -------
        float
            Sum of the samples at whole pixels from the central one.
        """
        ny, nx = self.samples.shape
        y, x = ny // 2, nx // 2
        central = self.samples[y % self.factor_y :: self.factor_y, x % self.factor_x :: self.factor_x]
        if radius is None:
            return float(central.sum(dtype=float))
        dy = (np.arange(central.shape[0]) - y // self.factor_y) * self.factor_y
        dx = (np.arange(central.shape[1]) - x // self.factor_x) * self.factor_x
        return float(central[np.hypot(dy[:, None], dx) <= radius].sum(dtype=float))

    def normalised(self, radius: float | None = None) -> PRF:
        """Scale the PRF so that its central PRF has sum 1.

        Parameters
        ----------
        radius : float or None
            Radius of the sum [PRF samples]; None for the whole array. Fluxes refer to this radius.

        Returns
        -------
        PRF
            The same samples, scaled.

        Raises
        ------
        ValueError
            The sum is not positive.

        References
        ----------
        MOPEX User's Guide, section 8.7 (Normalization_Radius).
        """
        total = self.central_sum(radius)
        if not total > 0:
            raise ValueError(f"the central PRF sums to {total:g}: it cannot be normalised")
        return PRF(self.samples / self.samples.dtype.type(total), self.factor_x, self.factor_y)

    def decimated(self, sampling: int = SAMPLING) -> PRF:
        """Keep every k-th sample, counted from the central one.

        Parameters
        ----------
        sampling : int
            Samples per pixel to keep at least; k is the largest divisor of the factor that allows it.

        Returns
        -------
        PRF
            Coarser by whole factors; unchanged if it is coarse already.
        """
        kx, ky = stride(self.factor_x, sampling), stride(self.factor_y, sampling)
        ny, nx = self.samples.shape
        kept = self.samples[ny // 2 % ky :: ky, nx // 2 % kx :: kx]
        return PRF(np.ascontiguousarray(kept), self.factor_x // kx, self.factor_y // ky)


def stride(factor: int, sampling: int = SAMPLING) -> int:
    """Give every how manyth sample is kept."""
    return max((k for k in range(1, factor + 1) if factor % k == 0 and factor // k >= sampling), default=1)


@dataclass(frozen=True, eq=False)
class PRFMap:
    """PRFs of the regions of a detector array.

    Parameters
    ----------
    prfs : sequence of PRF
        One for each region.
    regions : ndarray, shape (n, 4)
        Lower left pixel x0, y0 (native pixels, 1-based, as in a PRF map table) and size nx, ny of each
        region.

    Raises
    ------
    ValueError
        Numbers of PRFs and regions differ, or a region is empty.

    References
    ----------
    MOPEX User's Guide, section 8.7.
    """

    prfs: Sequence[PRF]
    regions: np.ndarray

    def __post_init__(self) -> None:
        regions = np.asarray(self.regions)
        if regions.ndim != 2 or regions.shape[1] != 4 or len(regions) != len(self.prfs) or len(regions) == 0:
            raise ValueError(f"a PRF map of {len(self.prfs)} PRFs needs as many regions (x0, y0, nx, ny)")
        if (regions[:, 2:] < 1).any():
            raise ValueError("a region of the PRF map is empty")

    @classmethod
    def single(cls, prf: PRF) -> PRFMap:
        """Use one PRF for the whole array."""
        return cls([prf], np.array([[1, 1, 1, 1]]))

    def index_at(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Give the number of the region that holds each position.

        Parameters
        ----------
        x, y : ndarray, same shape
            Frame pixels, 0-based.

        Returns
        -------
        ndarray of int, same shape
            Index of the region; for a position outside all regions, the nearest.

        Notes
        -----
        A region covers its pixels whole: x0 - 0.5 to x0 + nx - 0.5. Where regions overlap, or are equally
        near, the one with the nearest centre is taken, then the first. A position that is not finite gives 0.
        """
        px, py = np.broadcast_arrays(np.asarray(x, dtype=float), np.asarray(y, dtype=float))
        x0, y0, nx, ny = np.asarray(self.regions, dtype=float).T
        half_x, half_y = nx / 2, ny / 2
        dx = np.abs(np.nan_to_num(px)[..., None] + 1 - (x0 - 0.5 + half_x))
        dy = np.abs(np.nan_to_num(py)[..., None] + 1 - (y0 - 0.5 + half_y))
        outside = np.hypot(np.maximum(dx - half_x, 0), np.maximum(dy - half_y, 0))
        nearest = outside <= outside.min(axis=-1, keepdims=True) + 1e-9
        return np.argmin(np.where(nearest, np.hypot(dx, dy), np.inf), axis=-1)

    def mix_at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, None]:
        """Give the number of the region at each position, and no weights (see `PRFGrid.mix_at`)."""
        return self.index_at(x, y), None


@dataclass(frozen=True, eq=False)
class PRFGrid:
    """PRFs at the crossings of a grid on the detector array, between which a PRF is interpolated.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Place of each PRF (native pixels, 1-based, as in the name of its file).

    Raises
    ------
    ValueError
        The places are not those of a full grid of at least 2 x 2.

    Notes
    -----
    The four PRFs round a place are mixed bilinearly; outside the outermost PRFs the same plane is carried on, as far
    as half of the outermost cell.
    """

    x: np.ndarray
    y: np.ndarray

    def __post_init__(self) -> None:
        places = {(float(a), float(b)) for a, b in zip(self.x, self.y, strict=True)}
        columns, rows = np.unique(self.x), np.unique(self.y)
        full = len(places) == len(self.x) == len(columns) * len(rows)
        if not full or min(len(columns), len(rows)) < 2:
            raise ValueError(
                f"{len(self.x)} PRFs at {len(columns)} columns and {len(rows)} rows of the array are no grid to "
                "interpolate in"
            )

    def mix_at(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Give the PRFs round each position and their weights.

        Parameters
        ----------
        x, y : ndarray, shape (n,)
            Frame pixels, 0-based; a position that is not finite counts as 0.

        Returns
        -------
        index : ndarray of int, shape (n, 4)
            Numbers of the four PRFs.
        weight : ndarray, shape (n, 4)
            Their weights, which sum to 1.
        """
        columns, rows = np.unique(self.x), np.unique(self.y)
        number = np.zeros((len(rows), len(columns)), dtype=np.int64)
        number[np.searchsorted(rows, self.y), np.searchsorted(columns, self.x)] = np.arange(len(self.x))
        i, right = _cell(columns, np.nan_to_num(np.asarray(x, dtype=float)) + 1)
        j, above = _cell(rows, np.nan_to_num(np.asarray(y, dtype=float)) + 1)
        corners = [(j, i), (j, i + 1), (j + 1, i), (j + 1, i + 1)]
        left, below = 1 - right, 1 - above
        weights = [below * left, below * right, above * left, above * right]
        return np.stack([number[corner] for corner in corners], axis=-1), np.stack(weights, axis=-1)


_BEYOND = 0.5  # cells by which the plane of the outermost PRFs is carried on


def _cell(at: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cell of a grid along one axis, and the place in it: 0 at its first line, 1 at its second."""
    cell = np.clip(np.searchsorted(at, x, side="right") - 1, 0, len(at) - 2)
    place = (x - at[cell]) / (at[cell + 1] - at[cell])
    return cell, np.clip(place, -_BEYOND, 1 + _BEYOND)


class PRFTable(NamedTuple):
    """Cubic-spline coefficients of a set of PRFs; made by `prf_table`, read by the fit and by `render`.

    Parameters
    ----------
    coefficients : ndarray, shape (n_prf, ny, nx)
        B-spline coefficients, float64, with `PAD` of them beyond the samples on each side.
    sampling_x, sampling_y : int
        Samples per image pixel.
    planes : ndarray, shape (n_prf * sampling_y * sampling_x * rows * columns + 2 * LANES,)
        The same coefficients in the order in which neighbouring pixels need them: for each PRF and each place of a
        coefficient in its pixel an image of (rows, columns) pixels. Before and behind are zeros, since rows are looked
        up by the eight.
    rows, columns : int
        Size of these images.

    Notes
    -----
    Within the samples the table is the interpolating cubic spline of the PRF, outside it is 0.
    """

    coefficients: np.ndarray
    sampling_x: int
    sampling_y: int
    planes: np.ndarray
    rows: int
    columns: int

    @classmethod
    def of(cls, coefficients: np.ndarray, sampling_x: int, sampling_y: int) -> PRFTable:
        """Make a table of spline coefficients."""
        count, ny, nx = coefficients.shape
        rows, columns = -(-ny // sampling_y), -(-nx // sampling_x)
        missing = (0, 0), (0, rows * sampling_y - ny), (0, columns * sampling_x - nx)
        pixels = np.pad(coefficients, missing).reshape(count, rows, sampling_y, columns, sampling_x)
        planes = np.zeros(pixels.size + 2 * LANES)
        planes[LANES:-LANES] = pixels.transpose(0, 2, 4, 1, 3).ravel()
        kept = np.ascontiguousarray(coefficients, dtype=float)
        return cls(kept, sampling_x, sampling_y, planes, rows, columns)

    @property
    def half_size(self) -> tuple[float, float]:
        """Reach of the table in x and in y from the source [image pixel]."""
        ny, nx = self.coefficients.shape[1:]
        return (nx - 1 - 2 * PAD) / 2 / self.sampling_x, (ny - 1 - 2 * PAD) / 2 / self.sampling_y

    def evaluate(
        self, dx: np.ndarray, dy: np.ndarray, index: int = 0
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Value and slopes of a PRF.

        Parameters
        ----------
        dx, dy : ndarray, broadcast together
            Pixel minus source [image pixel].
        index : int
            Number of the PRF.

        Returns
        -------
        value, slope_x, slope_y : ndarray
            PRF and its derivatives by dx and dy, in the shape of dx and dy.
        """
        px, py = np.broadcast_arrays(np.asarray(dx, dtype=float), np.asarray(dy, dtype=float))
        found = values_at(self.coefficients[index], self.sampling_x, self.sampling_y, px.ravel(), py.ravel())
        value, slope_x, slope_y = (a.reshape(px.shape) for a in found)
        return value, slope_x, slope_y


def prf_table(prfs: Iterable[PRF], *, radius: float | None = None) -> PRFTable:
    """Make the look-up table of some PRFs.

    Parameters
    ----------
    prfs : iterable of PRF
        Normalised PRFs, all with the same factors. They are taken one at a time, so that a generator that
        reads files keeps one in memory.
    radius : float or None
        Half size that is kept [image pixel]; None keeps all.

    Returns
    -------
    PRFTable
        The table, in the order of the PRFs; smaller PRFs are padded with 0.

    Raises
    ------
    ValueError
        No PRF, factors that differ, or a radius that is not positive.

    Notes
    -----
    The legacy program takes the nearest sample, which is why it wants 100 samples per pixel. A cubic spline
    of 5 samples per pixel follows the IRAC PRF to about 2e-4 of its peak, of 10 to 1e-5; PRFs sampled more
    finely than `SAMPLING` are thinned out to the next divisor of their factor.
    """
    from scipy import ndimage

    if radius is not None and not radius > 0:
        raise ValueError(f"radius of a PRF table must be positive, not {radius}")
    planes, factors = [], set()
    for prf in prfs:
        coarse = prf.decimated()
        factors.add((coarse.factor_x, coarse.factor_y, prf.factor_x, prf.factor_y))
        planes.append(_cut(coarse, radius))
    if len(factors) != 1:
        raise ValueError(f"a PRF table needs PRFs with the same samples per pixel, got {sorted(factors)}")
    shape = np.max([plane.shape for plane in planes], axis=0)
    padded = [
        np.pad(p, [((n - k) // 2, (n - k) // 2) for n, k in zip(shape, p.shape, strict=True)]) for p in planes
    ]
    coefficients = [np.pad(ndimage.spline_filter(p, 3, mode="mirror"), PAD, mode="reflect") for p in padded]
    sampling_x, sampling_y, *_ = factors.pop()
    return PRFTable.of(np.array(coefficients), sampling_x, sampling_y)


def _cut(prf: PRF, radius: float | None) -> np.ndarray:
    samples = np.asarray(prf.samples, dtype=float)
    if radius is None:
        return samples
    cut = [
        max(0, n // 2 - max(2, math.ceil(radius * factor)))
        for n, factor in zip(samples.shape, (prf.factor_y, prf.factor_x), strict=True)
    ]
    return samples[cut[0] : samples.shape[0] - cut[0], cut[1] : samples.shape[1] - cut[1]]
