"""An effective PRF fitted to the pixels of stamps: no interpolation, and no blur of undersampled stars.

The PRF is a cubic spline with one knot per sample, the form in which the fit looks PRFs up. Its coefficients are those
of least squares over all pixels of all stamps, each pixel at its own distance from the star. Places and fluxes of the
stars are then fitted with the PRF, and so on in turn.

References
----------
Anderson & King 2000, PASP 112, 1360, sections 2 and 3: the effective PSF, the iteration, and why each star must be
seen at several places of its pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pymopex.prf_average import Estimate, Grid, StampRules, centroid_in, first_reasons, need
from pymopex.prf_kernels import PAD
from pymopex.prf_normal import REACH, accumulate, scatter
from pymopex.prf_spline import roughness, samples_of, shifted, solve, spline_matrix
from pymopex.prf_stars import MODEL_ERROR, Stars, on_stamps, refine, residuals_of, seen_once, weights_of
from pymopex.prf_wing import Response, Wing, even, quiet_wing, wing_of
from pymopex.stamps import Stamps, box_of

_ALLOWED = (0.5, 0.2, 0.05, 0.02)  # error of the model, round by round, that makes no outlier
_VARIANCE = 1.45  # of a sample of a cubic spline fitted to evenly spread pixels, over that of their mean
_CONVERGED = 1e-4  # change of the samples, of the peak


@dataclass(frozen=True)
class EffectiveRules:
    """How the effective PRF is fitted.

    Parameters
    ----------
    smoothing : float
        Weight of the squared third differences of the coefficients against the pixels.
    fit_background : bool
        Fit a constant under each stamp; the level of the wing follows from its shape.
    frame_offsets : bool
        Let each frame be displaced as a whole.
    iterations : int
        Most rounds.
    """

    smoothing: float = 0.003
    fit_background: bool = True
    frame_offsets: bool = True
    iterations: int = 15


def effective(
    stamps: Stamps,
    grid: Grid,
    rules: StampRules,
    how: EffectiveRules,
    zone: np.ndarray | None = None,
    start: Estimate | None = None,
) -> list[Estimate]:
    """Fit effective PRFs.

    Parameters
    ----------
    stamps : Stamps
        Stamps; pixels without data are left out.
    grid : Grid
        Samples of the PRF.
    rules : StampRules
        Rejection; `threshold` counts in sigma of the pixels. Without a box of the fit, places and fluxes stay.
    how : EffectiveRules
        Settings of the fit.
    zone : ndarray of int, shape (n,), optional
        Zone of the array of each stamp, from 0: each gets a PRF.
    start : Estimate, optional
        Stars as an earlier fit left them.

    Returns
    -------
    list of Estimate
        One for each zone, with the stamps of all of them.

    Raises
    ------
    ValueError
        A zone is left without stamps.

    Notes
    -----
    A star that several frames hold has one flux and one place on the sky, each frame its own displacement: free places
    and fluxes of single stamps could bend the PRF with the place in the pixel, which nothing would tell. If every
    star is seen but once, as on one image, fluxes are free, and the sum over the pixels is taken to be the same
    at all places in the pixel.
    """
    state, n_nans = _started(stamps, rules, how, start)
    zones = np.zeros(len(stamps), dtype=int) if zone is None else zone
    n_zones = int(zones.max(initial=0)) + 1
    before: list[np.ndarray | None] = [None] * n_zones
    notes: list[str] = []
    for turn in range(how.iterations):
        fits = [_solve(stamps, state, zones == z, grid, how, before[z], rules) for z in range(n_zones)]
        found = [fit.coefficients for fit in fits]
        change = max(_change(old, new) for old, new in zip(before, found, strict=True))
        before = list(found)
        _centre(found, state, zones, grid, rules)
        refine(stamps, state, zones, found, grid, rules, how.fit_background, how.frame_offsets)
        _reject(stamps, state, zones, found, grid, rules, _ALLOWED[min(turn, len(_ALLOWED) - 1)])
        if change < _CONVERGED and turn >= len(_ALLOWED):
            break
    else:
        notes.append(f"the PRF still changes by {change:.1e} of its peak after {how.iterations} rounds")
    return [
        _finished(stamps, state, zones, z, grid, how, before[z], rules, n_nans, notes) for z in range(n_zones)
    ]


def _started(
    stamps: Stamps, rules: StampRules, how: EffectiveRules, start: Estimate | None
) -> tuple[Stars, np.ndarray]:
    """First places, fluxes, backgrounds and weights."""
    reason, n_nans = first_reasons(stamps, rules)
    good = np.isfinite(stamps.data)
    ring = ~box_of(stamps, *(max(1, round(0.8 * n)) for n in stamps.shape[::-1]))
    outer = np.where(good & ring, stamps.data, np.nan)
    some = np.isfinite(outer).any(axis=(1, 2))
    level, noise = np.zeros(len(stamps)), np.full(len(stamps), np.nan)
    level[some] = np.nanmedian(outer[some], axis=(1, 2))
    noise[some] = 1.4826 * np.nanmedian(np.abs(outer[some] - level[some, None, None]), axis=(1, 2))
    if stamps.sigma is not None:
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = 1 / np.square(stamps.sigma, dtype=float)
        good &= np.isfinite(weight) & (weight > 0)
    else:
        reason[(reason == "") & ~(noise > 0)] = "no noise"
        with np.errstate(divide="ignore", invalid="ignore"):
            weight = np.broadcast_to((1 / noise**2)[:, None, None], good.shape)
    weight = np.where(good, weight, 0.0)
    if not how.fit_background:
        level = np.zeros(len(stamps))
    if start is not None:
        x, y, flux, level = start.x.copy(), start.y.copy(), start.flux.copy(), start.background.copy()
    else:
        x, y, flux = stamps.x.copy(), stamps.y.copy(), np.array(stamps.flux, dtype=float)
    return Stars(x, y, flux, level, weight, good, reason), n_nans


class _Fit(NamedTuple):
    """Spline coefficients, how much the pixels tell of each, and what was done to their level and sums."""

    coefficients: np.ndarray
    density: np.ndarray
    wing: Wing | None
    response: Response


def _solve(
    stamps: Stamps,
    state: Stars,
    members: np.ndarray,
    grid: Grid,
    how: EffectiveRules,
    before: np.ndarray | None,
    rules: StampRules,
) -> _Fit:
    """Fit spline coefficients, shape (ny + 2 PAD, nx + 2 PAD), by least squares."""
    which = np.flatnonzero(members & (state.reason == ""))
    need(which, state.reason[members])
    shape = grid.ny + 2 * PAD, grid.nx + 2 * PAD
    model = None if before is None else on_stamps(before, state, which, grid, stamps.shape)
    weight = weights_of(state, which, model)
    value = np.where(weight > 0, stamps.data[which] - state.background[which, None, None], 0.0)
    place = state.x[which], state.y[which], state.flux[which]
    normal, right = accumulate(value, weight, *place, grid.factor_x, grid.factor_y, shape)
    matrix = spline_matrix(normal) + how.smoothing * roughness(normal[:, :, REACH, REACH])
    coefficients = solve(matrix, right.ravel(), None if before is None else before.ravel()).reshape(shape)
    wing = wing_of(stamps, state, which, coefficients, grid) if how.fit_background else None
    if wing is not None:
        coefficients = coefficients - wing.level
    free = not (seen_once(stamps) and min(rules.fit_box) > 0)
    coefficients, response = even(coefficients, grid, free)
    return _Fit(coefficients, normal[:, :, REACH, REACH], wing, response)


def _change(old: np.ndarray | None, new: np.ndarray) -> float:
    if old is None:
        return np.inf
    return float(np.abs(samples_of(new) - samples_of(old)).max() / samples_of(new).max())


def _centre(found: list[np.ndarray], state: Stars, zones: np.ndarray, grid: Grid, rules: StampRules) -> None:
    """Move the stars so that the centroid of the next PRF lies in its middle."""
    if min(rules.centre_box) < 1:
        return
    for z, coefficients in enumerate(found):
        dx, dy = centroid_in(samples_of(coefficients), grid, rules.centre_box)
        state.x[zones == z] += dx
        state.y[zones == z] += dy
        coefficients[:] = shifted(coefficients, dx * grid.factor_x, dy * grid.factor_y)


def _reject(
    stamps: Stamps,
    state: Stars,
    zones: np.ndarray,
    found: list[np.ndarray],
    grid: Grid,
    rules: StampRules,
    allowed: float,
) -> None:
    """Leave out pixels far from the model, and stamps with many of them."""
    for z, coefficients in enumerate(found):
        which = np.flatnonzero((zones == z) & (state.reason == ""))
        if not which.size:
            continue
        left, model = residuals_of(stamps, state, which, coefficients, grid)
        weight = state.weight[which]
        sigma = np.where(weight > 0, 1 / np.sqrt(np.where(weight > 0, weight, 1.0)), np.inf)
        pulls = np.abs(left) / np.hypot(sigma, MODEL_ERROR * model)
        scale = max(1.0, 1.4826 * float(np.median(pulls[np.isfinite(pulls) & (weight > 0)])))
        limit = rules.threshold * np.hypot(scale * sigma, allowed * model / 3)
        with np.errstate(invalid="ignore"):
            outlying = np.abs(left) > limit
        state.good[which] = np.isfinite(stamps.data[which]) & (weight > 0) & ~outlying
        count = (outlying & (weight > 0)).sum(axis=(1, 2))
        if allowed == _ALLOWED[-1]:
            many = (count / outlying[0].size > rules.max_ratio) & (count > rules.max_number)
            state.reason[which[many]] = "outliers"


def _finished(
    stamps: Stamps,
    state: Stars,
    zones: np.ndarray,
    z: int,
    grid: Grid,
    how: EffectiveRules,
    before: np.ndarray | None,
    rules: StampRules,
    n_nans: np.ndarray,
    notes: list[str],
) -> Estimate:
    """Fit the PRF of a zone once more, with its uncertainty."""
    fit = _solve(stamps, state, zones == z, grid, how, before, rules)
    coefficients = fit.coefficients
    which = np.flatnonzero((zones == z) & (state.reason == ""))
    left, model = residuals_of(stamps, state, which, coefficients, grid)
    weight = weights_of(state, which, model / state.flux[which, None, None])
    left = np.where(weight > 0, left, 0.0)
    place = state.x[which], state.y[which], state.flux[which]
    squares, weights, pixels = scatter(left, weight, *place, grid.factor_x, grid.factor_y, coefficients.shape)
    inner = (slice(PAD, -PAD), slice(PAD, -PAD))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = np.where(weights > 0, np.sqrt(_VARIANCE * squares) / weights, np.nan)[inner]
    chi2 = np.full(len(stamps), np.nan)
    used = np.maximum((weight > 0).sum(axis=(1, 2)), 1)
    chi2[which] = (left**2 * weight).sum(axis=(1, 2)) / used
    n_outliers = (np.isfinite(stamps.data) & (state.weight > 0) & ~state.good).sum(axis=(1, 2))
    return Estimate(
        quiet_wing(samples_of(coefficients), grid, fit.density[inner]),
        error,
        pixels[inner],
        state.x.copy(),
        state.y.copy(),
        state.flux.copy(),
        state.background.copy(),
        chi2,
        n_nans,
        n_outliers,
        state.reason.copy(),
        notes,
        fit.wing.error if fit.wing else np.nan,
        fit.response.error,
        fit.response.amplitude,
    )
