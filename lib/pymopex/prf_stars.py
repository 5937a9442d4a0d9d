"""The stars of stamps, as the fit of an effective PRF refines them: places, fluxes, backgrounds, good pixels."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import sparse
from scipy.sparse import linalg

from pymopex.prf_average import Grid, StampRules
from pymopex.prf_kernels import values_at
from pymopex.stamps import Stamps, box_of

MODEL_ERROR = 0.005
"""Error of a PRF, relative: keeps one bright star from deciding alone."""

_STEPS = 3  # of the fit of one star between two fits of the PRF
_LONGEST_STEP = 0.3  # pixel
_FARTHEST = 1.5  # pixel that a star may move
_BACKGROUND_BOX = 5  # pixel, left out of backgrounds where no box of the fit is given


@dataclass(eq=False)
class Stars:
    """Stars and pixels as the rounds change them.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Place of the star in each stamp [0-based pixel].
    flux, background : ndarray, shape (n,)
        Flux, and constant under the stamp, in image units.
    weight : ndarray, shape (n, ny, nx)
        1 / sigma^2 of the pixels, 0 without data.
    good : ndarray of bool, shape (n, ny, nx)
        Pixels that count.
    reason : ndarray of str, shape (n,)
        Why a stamp is not used; empty for those that are.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    background: np.ndarray
    weight: np.ndarray
    good: np.ndarray
    reason: np.ndarray


def _model(
    coefficients: np.ndarray,
    state: Stars,
    which: np.ndarray,
    grid: Grid,
    rows: np.ndarray,
    columns: np.ndarray,
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """PRF of unit flux and its slopes in some pixels of some stamps, each (n, *shape of rows)."""
    axes = (which.size, *[1] * rows.ndim)
    dx = (columns - state.x[which].reshape(axes)).ravel()
    dy = (rows - state.y[which].reshape(axes)).ravel()
    found = values_at(coefficients, grid.factor_x, grid.factor_y, dx, dy)
    value, slope_x, slope_y = (v.reshape(which.size, *rows.shape) for v in found)
    return value, slope_x, slope_y


def on_stamps(
    coefficients: np.ndarray, state: Stars, which: np.ndarray, grid: Grid, shape: tuple[int, int]
) -> np.ndarray:
    """Give the PRF of unit flux on some whole stamps.

    Parameters
    ----------
    coefficients : ndarray
        Spline of the PRF.
    state : Stars
        Places of the stars.
    which : ndarray of int, shape (m,)
        Stamps.
    grid : Grid
        Samples of the PRF.
    shape : (ny, nx)
        Size of the stamps.

    Returns
    -------
    ndarray, shape (m, ny, nx)
        Values in the pixels.
    """
    return _model(coefficients, state, which, grid, *np.indices(shape))[0]


def weights_of(state: Stars, which: np.ndarray, model: np.ndarray | None) -> np.ndarray:
    """Give 1 / sigma^2 of some stamps, with the error of the model.

    Parameters
    ----------
    state : Stars
        Stars and pixels.
    which : ndarray of int, shape (m,)
        Stamps.
    model : ndarray, shape (m, ny, nx), or None
        PRF of unit flux on them, if it is known.

    Returns
    -------
    ndarray, shape (m, ny, nx)
        0 for pixels that do not count.
    """
    weight = state.weight[which] * state.good[which]
    if model is None:
        return weight
    error = (MODEL_ERROR * state.flux[which, None, None] * model) ** 2
    return weight / (1 + weight * error)


def seen_once(stamps: Stamps) -> bool:
    """Tell whether no star has two stamps, as on one image."""
    return np.bincount(stamps.source).max(initial=0) < 2


def refine(
    stamps: Stamps,
    state: Stars,
    zones: np.ndarray,
    found: list[np.ndarray],
    grid: Grid,
    rules: StampRules,
    background: bool,
    offsets: bool,
) -> None:
    """Fit places and fluxes in the box, and backgrounds outside of it; changes `state`.

    Parameters
    ----------
    stamps : Stamps
        Stamps.
    state : Stars
        What is known of the stars.
    zones : ndarray of int, shape (n,)
        Zone of each stamp.
    found : list of ndarray
        Spline of the PRF of each zone.
    grid : Grid
        Samples of the PRFs.
    rules : StampRules
        The box.
    background : bool
        Fit the backgrounds.
    offsets : bool
        Let frames be displaced as a whole.
    """
    fitted = min(rules.fit_box) > 0
    if not (fitted or background):
        return
    n = len(stamps)
    step, weight = np.zeros((n, 2)), np.zeros((n, 2))
    flux, flux_weight = state.flux.copy(), np.zeros(n)
    box = box_of(stamps, *rules.fit_box) if fitted else box_of(stamps, _BACKGROUND_BOX, _BACKGROUND_BOX)
    for z, coefficients in enumerate(found):
        which = np.flatnonzero((zones == z) & (state.reason == ""))
        if background:
            _fit_backgrounds(stamps, state, which, coefficients, grid, ~box)
        if fitted:
            step[which], weight[which], flux[which], flux_weight[which] = _fit_stars(
                stamps, state, which, coefficients, grid, box
            )
    if fitted:
        _combine_fluxes(stamps, state, flux, flux_weight)
        _combine_places(stamps, state, step, weight, offsets)


def _fit_backgrounds(
    stamps: Stamps, state: Stars, which: np.ndarray, coefficients: np.ndarray, grid: Grid, ring: np.ndarray
) -> None:
    model = on_stamps(coefficients, state, which, grid, stamps.shape)
    weight = weights_of(state, which, model) * ring
    total = weight.sum(axis=(1, 2))
    left = np.where(weight > 0, stamps.data[which] - state.flux[which, None, None] * model, 0.0)
    some = total > 0
    state.background[which[some]] = (weight * left).sum(axis=(1, 2))[some] / total[some]


def _fit_stars(
    stamps: Stamps, state: Stars, which: np.ndarray, coefficients: np.ndarray, grid: Grid, box: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Fit place and flux of each star by Newton's method.

    Returns
    -------
    step, weight : ndarray, shape (n, 2)
        Change of the place [pixel], and 1 / sigma^2 of it.
    flux, flux_weight : ndarray, shape (n,)
        Flux, and 1 / sigma^2 of it.
    """
    trial = Stars(
        state.x.copy(),
        state.y.copy(),
        state.flux.copy(),
        state.background,
        state.weight,
        state.good,
        state.reason,
    )
    rows, columns = np.nonzero(box)
    data = stamps.data[which][:, rows, columns]
    variance = np.full((which.size, 3), np.inf)
    for _ in range(_STEPS):
        model, slope_x, slope_y = _model(coefficients, trial, which, grid, rows, columns)
        flux = trial.flux[which, None]
        weight = (state.weight[which] * state.good[which])[:, rows, columns]
        weight = weight / (1 + weight * (MODEL_ERROR * flux * model) ** 2)
        left = np.where(weight > 0, data - state.background[which, None] - flux * model, 0.0)
        columns_of = np.stack([-flux * slope_x, -flux * slope_y, model], axis=2)
        normal = np.einsum("npi,np,npj->nij", columns_of, weight, columns_of)
        right = np.einsum("npi,np,np->ni", columns_of, weight, left)
        few = ((weight > 0).sum(axis=1) < 6) | ~(np.linalg.det(normal) > 0)
        normal[few] = np.eye(3)
        right[few] = 0
        inverse = np.linalg.inv(normal)
        move = np.einsum("nij,nj->ni", inverse, right)
        trial.x[which] += np.clip(move[:, 0], -_LONGEST_STEP, _LONGEST_STEP)
        trial.y[which] += np.clip(move[:, 1], -_LONGEST_STEP, _LONGEST_STEP)
        trial.flux[which] = np.maximum(trial.flux[which] + move[:, 2], 0.05 * trial.flux[which])
        variance = np.einsum("nii->ni", inverse).copy()
        variance[few] = np.inf
    step = np.stack([(trial.x - state.x)[which], (trial.y - state.y)[which]], axis=1)
    failed = ~np.isfinite(variance).all(axis=1)
    far = np.abs(np.stack([trial.x - stamps.x, trial.y - stamps.y], axis=1)[which]).max(axis=1) > _FARTHEST
    state.reason[which[failed | far]] = "failed fit"
    return step, 1 / variance[:, :2], trial.flux[which], 1 / variance[:, 2]


def _combine_fluxes(stamps: Stamps, state: Stars, flux: np.ndarray, weight: np.ndarray) -> None:
    """Take the mean flux of each star, over the frames that hold it."""
    weight = np.where(state.reason == "", weight, 0.0)
    n = stamps.source.max(initial=0) + 1
    total = np.bincount(stamps.source, weight, n)
    mean = np.bincount(stamps.source, weight * flux, n) / np.where(total > 0, total, 1.0)
    known = total[stamps.source] > 0
    state.flux[known] = mean[stamps.source][known]


_FEWEST = 3  # stars in a frame that tell its displacement


def _combine_places(
    stamps: Stamps, state: Stars, step: np.ndarray, weight: np.ndarray, offsets: bool
) -> None:
    """Move each star on the sky, and each frame as a whole, by what the steps of the stamps agree on."""
    used = np.flatnonzero((state.reason == "") & (weight > 0).all(axis=1))
    if not used.size:
        return
    if seen_once(stamps):
        state.x[used] += step[used, 0]
        state.y[used] += step[used, 1]
        return
    n_sources, n_frames = stamps.source.max() + 1, stamps.frame.max() + 1
    full = np.bincount(stamps.frame[used], minlength=n_frames) >= _FEWEST
    displaced = (full[stamps.frame] & offsets & (n_frames > 1)).astype(float)
    n = used.size
    row, ones = np.arange(n), np.ones(n)
    parts, right = [], []
    root = np.sqrt(weight[used] / np.median(weight[used]))
    for axis in (0, 1):
        jacobian = stamps.jacobian[used, axis] * root[:, axis, None]
        column = [2 * stamps.source[used], 2 * stamps.source[used] + 1]
        column.append(2 * n_sources + 2 * stamps.frame[used] + axis)
        value = [jacobian[:, 0], jacobian[:, 1], ones * root[:, axis] * displaced[used]]
        shape = n, 2 * (n_sources + n_frames)
        place = np.tile(row, 3), np.concatenate(column)
        parts.append(sparse.coo_array((np.concatenate(value), place), shape=shape))
        right.append(step[used, axis] * root[:, axis])
    matrix = sparse.vstack(parts).tocsr()
    found = linalg.lsmr(matrix, np.concatenate(right), damp=1e-2, atol=1e-9, btol=1e-9, maxiter=500)[0]
    sky = found[: 2 * n_sources].reshape(-1, 2)[stamps.source]
    frame = found[2 * n_sources :].reshape(-1, 2)[stamps.frame] * displaced[:, None]
    moved = np.einsum("nij,nj->ni", stamps.jacobian, sky) + frame
    state.x += moved[:, 0]
    state.y += moved[:, 1]


def residuals_of(
    stamps: Stamps, state: Stars, which: np.ndarray, coefficients: np.ndarray, grid: Grid
) -> tuple[np.ndarray, np.ndarray]:
    """Give what the PRF leaves of some stamps.

    Parameters
    ----------
    stamps : Stamps
        Stamps.
    state : Stars
        Places, fluxes and backgrounds.
    which : ndarray of int, shape (m,)
        Stamps.
    coefficients : ndarray
        Spline of the PRF.
    grid : Grid
        Samples of the PRF.

    Returns
    -------
    residual, model : ndarray, shape (m, ny, nx)
        Data minus background and star, NaN without data; and the star.
    """
    model = on_stamps(coefficients, state, which, grid, stamps.shape)
    model = model * state.flux[which, None, None]
    return stamps.data[which] - state.background[which, None, None] - model, model
