"""A PRF from the average of stamps that are interpolated to a common grid: the legacy algorithm."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.stats import norm

from pymopex.stamps import Stamps, box_of, cubic_weights, fill, fit_gaussians

_MEMORY = 64e6  # bytes of stamps on the common grid that are worked on at once
_TRIM = 0.1  # part of the values that is left out at each end
_FEWEST = 4  # stamps on a sample for its outliers to be told
_ROUNDS = 3  # of rejection
_CENTRINGS = 3  # of the average on its centroid


@dataclass(frozen=True)
class Grid:
    """Samples of a PRF: odd numbers along x and y, and samples per pixel."""

    nx: int
    ny: int
    factor_x: int
    factor_y: int

    @classmethod
    def of(cls, stamps: Stamps, factor_x: int, factor_y: int) -> Grid:
        """Give the grid of stamps: size times factor, one less if that is even."""
        nx, ny = (n * f for n, f in zip(stamps.shape[::-1], (factor_x, factor_y), strict=True))
        return cls(nx - 1 + nx % 2, ny - 1 + ny % 2, factor_x, factor_y)

    @property
    def x(self) -> np.ndarray:
        """Offsets of the samples from the central one along x [pixel]."""
        return (np.arange(self.nx) - self.nx // 2) / self.factor_x

    @property
    def y(self) -> np.ndarray:
        """The same along y."""
        return (np.arange(self.ny) - self.ny // 2) / self.factor_y


@dataclass(frozen=True)
class StampRules:
    """Which stamps and pixels are used, and how stars are fitted.

    Parameters
    ----------
    min_neighbours : int
        Good neighbours that a pixel needs to be replaced.
    max_nans : int
        Pixels without data that a stamp may have.
    threshold : float
        Outliers are farther from the trimmed mean than this [trimmed sigma].
    min_overlap : float
        Part of a pixel that outlying samples must cover to make it bad.
    max_ratio, max_number : float
        Stamps with more outliers than both, as part of their pixels and in number, are rejected.
    fit_box, centre_box : (int, int)
        Width and height of the boxes of the fit and of the centroid [pixel]; 0 for none.
    weighted : bool
        Weight stamps by the inverse variance of their normalised pixels, where uncertainties are given.
    """

    min_neighbours: int = 8
    max_nans: int = 0
    threshold: float = 3.0
    min_overlap: float = 0.5
    max_ratio: float = 0.1
    max_number: float = 0.0
    fit_box: tuple[int, int] = (0, 0)
    centre_box: tuple[int, int] = (0, 0)
    weighted: bool = True


@dataclass(eq=False)
class Estimate:
    """A PRF and what became of the stamps.

    Parameters
    ----------
    samples, error, coverage : ndarray, shape (ny, nx)
        PRF as it comes, its 1-sigma uncertainty, and the number of stamps, or of pixels, behind each sample.
    x, y, flux, background : ndarray, shape (n,)
        Stars as they were used: place in the stamp, flux and background in image units.
    chi2 : ndarray, shape (n,)
        chi2 per pixel of each stamp; NaN where it is not known.
    n_nans, n_outliers : ndarray of int, shape (n,)
        Pixels without data, and outliers, of each stamp.
    reason : ndarray of str, shape (n,)
        Why a stamp is not used; empty for those that are.
    notes : list of str
        What is to be told.
    level_error : float
        1-sigma uncertainty of the constant under all samples, in their units; NaN where it is not known.
    sum_error : float
        1-sigma uncertainty of the sum over the pixels by the noise of the samples, relative; NaN where it is not known.
    response : float
        Relative excess of the sum with the star on the middle of a pixel over that of all places; 0 if not certain.
    """

    samples: np.ndarray
    error: np.ndarray
    coverage: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    background: np.ndarray
    chi2: np.ndarray
    n_nans: np.ndarray
    n_outliers: np.ndarray
    reason: np.ndarray
    notes: list[str] = field(default_factory=list)
    level_error: float = np.nan
    sum_error: float = np.nan
    response: float = 0.0

    @property
    def used(self) -> np.ndarray:
        """Which stamps are used."""
        return self.reason == ""


def first_reasons(stamps: Stamps, rules: StampRules) -> tuple[np.ndarray, np.ndarray]:
    """Reject stamps whose star has no flux or place, or that lack too many pixels.

    Returns
    -------
    reason : ndarray of str, shape (n,)
        Why a stamp cannot be used; empty for the others.
    n_nans : ndarray of int, shape (n,)
        Pixels without data.
    """
    n_nans = (~np.isfinite(stamps.data)).sum(axis=(1, 2))
    reason = np.full(len(stamps), "", dtype="U20")
    reason[n_nans > rules.max_nans] = "missing pixels"
    placed = np.isfinite(stamps.x) & np.isfinite(stamps.y)
    reason[~(stamps.flux > 0) | ~placed] = "no flux"
    return reason, n_nans


def average(stamps: Stamps, grid: Grid, rules: StampRules) -> Estimate:
    """Average stamps that are interpolated to a common grid.

    Parameters
    ----------
    stamps : Stamps
        Stamps without background.
    grid : Grid
        Samples of the PRF.
    rules : StampRules
        Rejection and fit.

    Returns
    -------
    Estimate
        The PRF in units of flux, its central sample at the star; 0 where no stamp reaches.

    Raises
    ------
    ValueError
        No stamp is left.

    Notes
    -----
    Interpolation between pixels, and the average over the places of the stars in their pixels, blur a PRF that the
    pixels undersample: the core of IRAC channel 1 comes out a fifth too low. Use `pymopex.prf_effective` there.

    References
    ----------
    MOPEX User's Guide, PRF Estimate.
    """
    reason, n_nans = first_reasons(stamps, rules)
    filled, _ = fill(stamps.data, rules.min_neighbours)
    reason[(reason == "") & ~np.isfinite(filled).all(axis=(1, 2))] = "missing pixels"
    stamps = _refined(stamps, filled, rules, reason)
    n_outliers = np.zeros(len(stamps), dtype=int)
    bad = np.zeros(stamps.data.shape, dtype=bool)
    for _ in range(_ROUNDS):
        used = np.flatnonzero(reason == "")
        need(used, reason)
        found = _outlying_pixels(filled[used], stamps.take(used), grid, rules) & ~bad[used]
        if not found.any():
            break
        bad[used] |= found
        n_outliers[used] = bad[used].sum(axis=(1, 2))
        ratio = n_outliers / bad[0].size
        many = (ratio > rules.max_ratio) & (n_outliers > rules.max_number)
        filled, _ = fill(np.where(bad, np.nan, stamps.data), rules.min_neighbours)
        left = ~np.isfinite(filled).all(axis=(1, 2))
        reason[(reason == "") & (many | left)] = "outliers"
    used = np.flatnonzero(reason == "")
    need(used, reason)
    samples, error, coverage = _combine(filled[used], stamps.take(used), grid, rules)
    for _ in range(_CENTRINGS if min(rules.centre_box) > 0 else 0):
        dx, dy = centroid_in(samples, grid, rules.centre_box)
        stamps = stamps.moved(stamps.x + dx, stamps.y + dy, stamps.flux)
        samples, error, coverage = _combine(filled[used], stamps.take(used), grid, rules)
    nothing = np.zeros(len(stamps))
    return Estimate(
        samples,
        error,
        coverage,
        stamps.x,
        stamps.y,
        stamps.flux,
        nothing,
        np.full(len(stamps), np.nan),
        n_nans,
        n_outliers,
        reason,
    )


def need(used: np.ndarray, reason: np.ndarray) -> None:
    """Complain if all stamps are rejected."""
    if not used.size:
        counts = ", ".join(f"{name}: {np.count_nonzero(reason == name)}" for name in np.unique(reason))
        raise ValueError(f"none of the {len(reason)} stamps can be used ({counts or 'there are none'})")


def _refined(stamps: Stamps, filled: np.ndarray, rules: StampRules, reason: np.ndarray) -> Stamps:
    """Take places and fluxes of the fitted Gaussians; marks stamps whose fit fails."""
    if min(rules.fit_box) < 1:
        return stamps
    used = np.flatnonzero(reason == "")
    need(used, reason)
    some = stamps.take(used)
    some = Stamps(filled[used], some.x, some.y, some.flux, None, some.source, some.frame, some.jacobian)
    fit = fit_gaussians(some, box_of(stamps, *rules.fit_box))
    x, y, flux = stamps.x.copy(), stamps.y.copy(), stamps.flux.copy()
    good = used[fit.good]
    x[good], y[good], flux[good] = fit.x[fit.good], fit.y[fit.good], fit.flux[fit.good]
    reason[used[~fit.good]] = "failed fit"
    return stamps.moved(x, y, flux)


def _on_grid(filled: np.ndarray, stamps: Stamps, grid: Grid, rows: slice) -> np.ndarray:
    """Interpolate stamps to some rows of the grid and divide by the flux; NaN beyond the pixels."""
    ny, nx = stamps.shape
    weight_y, in_y = cubic_weights(stamps.y[:, None] + grid.y[rows], ny)
    weight_x, in_x = cubic_weights(stamps.x[:, None] + grid.x, nx)
    out = weight_y @ filled @ weight_x.transpose(0, 2, 1) / stamps.flux[:, None, None]
    out[~(in_y[:, :, None] & in_x[:, None, :])] = np.nan
    return out


def _parts(n: int, grid: Grid) -> list[slice]:
    """Cut the grid into rows that n stamps fill the memory with."""
    rows = max(1, int(_MEMORY / (8 * max(n, 1) * grid.nx)))
    return [slice(first, min(first + rows, grid.ny)) for first in range(0, grid.ny, rows)]


def _outlying_pixels(filled: np.ndarray, stamps: Stamps, grid: Grid, rules: StampRules) -> np.ndarray:
    """Tell which pixels of the stamps outlying samples cover."""
    count = np.zeros(filled.shape)
    column = np.floor(stamps.x[:, None] + grid.x + 0.5).astype(int)
    row = np.floor(stamps.y[:, None] + grid.y + 0.5).astype(int)
    ny, nx = stamps.shape
    for rows in _parts(len(stamps), grid):
        values = _on_grid(filled, stamps, grid, rows)
        mean, sigma = trimmed(values)
        with np.errstate(invalid="ignore"):
            far = np.abs(values - mean) > rules.threshold * sigma
        which, j, i = np.nonzero(far)
        y, x = row[which, j + rows.start], column[which, i]
        inside = (y >= 0) & (y < ny) & (x >= 0) & (x < nx)
        np.add.at(count, (which[inside], y[inside], x[inside]), 1)
    # a pixel of IRAC sampled 5 times has 25 samples
    return count >= max(rules.min_overlap * grid.factor_x * grid.factor_y, 1e-9)


def trimmed(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Trimmed mean and sigma along the first axis.

    Parameters
    ----------
    values : ndarray, shape (n, ...)
        NaN does not count.

    Returns
    -------
    mean, sigma : ndarray, shape (...)
        A tenth of the values, and at least one, is left out at each end. Sigma is scaled to that of a normal
        distribution; infinite for fewer than four values, of which none is an outlier.
    """
    ordered = np.sort(values, axis=0)
    n = np.isfinite(ordered).sum(axis=0)
    k = np.where(n >= _FEWEST, np.maximum(np.rint(_TRIM * n).astype(int), 1), 0)
    rank = np.arange(len(values)).reshape(-1, *[1] * (values.ndim - 1))
    kept = (rank >= k) & (rank < n - k)
    m = np.maximum(kept.sum(axis=0), 1)
    mean = np.where(kept, ordered, 0.0).sum(axis=0) / m
    spread = np.where(kept, ordered - mean, 0.0)
    sigma = np.sqrt((spread**2).sum(axis=0) / m) / _trimmed_width(k / np.maximum(n, 1))
    return mean, np.where(n >= _FEWEST, sigma, np.inf)


def _trimmed_width(fraction: np.ndarray) -> np.ndarray:
    """Give the standard deviation of a normal distribution without a fraction of it at each end."""
    end = norm.ppf(1 - np.clip(fraction, 1e-6, 0.45))
    return np.sqrt(1 - 2 * end * norm.pdf(end) / (2 * norm.cdf(end) - 1))


def _combine(
    filled: np.ndarray, stamps: Stamps, grid: Grid, rules: StampRules
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weighted mean of the stamps on the grid, its uncertainty from their scatter, and their number."""
    weight = np.ones(len(stamps))
    if rules.weighted and stamps.sigma is not None:
        with np.errstate(invalid="ignore"):
            weight = (stamps.flux / np.nanmedian(stamps.sigma, axis=(1, 2))) ** 2
        weight = np.where(np.isfinite(weight), weight, 0.0)
        weight = weight / weight.max() if weight.max() > 0 else np.ones(len(stamps))
    parts = []
    for rows in _parts(len(stamps), grid):
        values = _on_grid(filled, stamps, grid, rows)
        there = np.isfinite(values)
        part = np.where(there, weight[:, None, None], 0.0)
        total = np.maximum(part.sum(axis=0), 1e-30)
        values = np.where(there, values, 0.0)
        mean = (part * values).sum(axis=0) / total
        variance = (part**2 * (values - mean) ** 2).sum(axis=0) / total**2
        n = there.sum(axis=0)
        error = np.where(n > 1, np.sqrt(variance * n / np.maximum(n - 1, 1)), np.nan)
        parts.append((mean, error, n.astype(float)))
    samples, error, coverage = (np.concatenate(part) for part in zip(*parts, strict=True))
    return samples, error, coverage


def centroid_in(samples: np.ndarray, grid: Grid, box: tuple[int, int]) -> tuple[float, float]:
    """Centroid of a PRF in a box round its central sample.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        PRF.
    grid : Grid
        Its samples.
    box : (int, int)
        Width and height [pixel].

    Returns
    -------
    x, y : float
        Offset of the centroid from the central sample [pixel].

    Raises
    ------
    ValueError
        The PRF is not positive in the box.
    """
    x, y = grid.x[np.abs(grid.x) <= box[0] / 2], grid.y[np.abs(grid.y) <= box[1] / 2]
    inner = samples[np.ix_(np.abs(grid.y) <= box[1] / 2, np.abs(grid.x) <= box[0] / 2)]
    total = inner.sum()
    if not total > 0:
        raise ValueError("the average of the stamps is not positive round its middle")
    return float(inner.sum(axis=0) @ x / total), float(inner.sum(axis=1) @ y / total)
