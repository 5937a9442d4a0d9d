"""Bias of the fluxes that a fit with free positions finds."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pymopex.batches import Batch, batch_of, group_of
from pymopex.fit_data import GroupData
from pymopex.fit_equations import accumulate
from pymopex.fit_minimum import CONVERGED
from pymopex.fit_models import model_values
from pymopex.fit_results import FitSettings
from pymopex.fit_solving import Fits, Rules, empty_fits, free_of, normal_matrix, rules_of
from pymopex.jit import entry, once
from pymopex.normal_equations import covariance as covariance_of
from pymopex.pixel_blocks import blocks_of

_SWEEPS = 20  # of rotations, more than a matrix of three rows needs
_ROUNDED = 1e-32  # sum of squares off the diagonal of a correlation matrix at which it is diagonal


def flux_bias(
    group: GroupData, table: Any, p: np.ndarray, covariance: np.ndarray, noise: float = 1.0
) -> np.ndarray:
    """Give by how much the fluxes of a fit are too high in the mean.

    Parameters
    ----------
    group : GroupData
        Pixels of the fit, and the places of its sources.
    table : pymopex.prf.PRFTable
        PRFs that it took.
    p : ndarray, shape (3 N + 1,)
        Parameters at the minimum of chi2: u, v and flux of each source, then the background.
    covariance : ndarray, shape (3 N + 1, 3 N + 1)
        Their covariance, 0 for those that were not fitted.
    noise : float
        Variance of the noise over that which the sigmas of the pixels tell.

    Returns
    -------
    ndarray, shape (N,)
        Biases [microjansky], of either sign in blends; 0 where the position was not fitted, or the flux is not
        positive.

    Notes
    -----
    The fit settles where the noise makes the source bright. With the model m of the pixels, its derivatives J, the
    weights W, and the covariance C of the parameters, the bias of a least-squares fit to second order in the noise is
    (Box 1971; Cook, Tsai & Wei 1986)

        b = -C J^T W d,    d = tr(C H) / 2,

    where H are the second derivatives of m: d is how much the mean over the errors of the parameters changes the
    model, a blur, and b what the fit makes of its opposite. The sources add up in the model, so that d is the sum over
    sources, each with its own block of C, all other parameters marginalised: but C and J are those of the whole group,
    which brings in the neighbours. Second derivatives are differences over steps of one sigma along the columns of a
    root of the block, which serves PRFs that were interpolated linearly, and sources whose errors are not small.

    For a source alone, whose position and flux do not correlate, in noise that is the same in all pixels, sum(m' m') =
    -sum(m m'') makes it variance / flux: 1 / SNR of a sigma, half of it from either coordinate. Where its own photons
    make the noise it is less.

    Below a signal-to-noise ratio of about 3 the expansion fails. The blur of each source is damped by f^2 / (f^2 +
    variance), with which a flux alone becomes f^3 / (f^2 + variance), positive and rising with f; and what is given is
    within half of the uncertainty, and of the flux.

    References
    ----------
    Box 1971, J. R. Statist. Soc. B 33, 171. Cook, Tsai & Wei 1986, Biometrika 73, 615.
    """
    batch = batch_of(group)
    fits = empty_fits(batch, rules_of(FitSettings()))
    fits.n[0], fits.which[:], fits.p[:] = group.n_sources, batch.numbers, p
    _fill(
        batch, batch.weight, table, fits, np.ascontiguousarray(covariance).ravel(), np.array([float(noise)])
    )
    return fits.bias


def fill_biases(batch: Batch, weight: np.ndarray, table: Any, fits: Fits, rules: Rules) -> None:
    """Fill in the biases of the fluxes of all groups; a position at its bound is one that was not fitted.

    Parameters as of `pymopex.fit_solving.solve`. Fits that did not converge get none.
    """
    chosen = (fits.n > 0) & (fits.ended == CONVERGED) & (fits.dof > 0)
    chi2_dof = fits.chi2 / np.maximum(fits.dof, 1)
    noise = rules.bias_noise * (chi2_dof if rules.bias_scaled else np.minimum(chi2_dof, 1.0))
    covariances = np.zeros(fits.matrix.size)
    fill_covariances(fits, rules, np.flatnonzero(chosen), covariances)
    _fill(batch, weight, table, fits, covariances, noise)


def _fill(
    batch: Batch, weight: np.ndarray, table: Any, fits: Fits, covariances: np.ndarray, noise: np.ndarray
) -> None:
    """Fill in the biases from covariances, in the order of the normal matrices; 0 where these are 0."""
    steps, blur = np.zeros((3, fits.p.size)), np.zeros(batch.value.size)
    moved = np.zeros(fits.bias.size, bool)
    fill_steps(fits, covariances, noise, steps, moved)
    blur_groups(batch, table, fits, moved, steps, blur)
    bias_groups(batch._replace(value=blur), weight, table, fits, covariances, noise, moved)


@entry
def fill_covariances(fits: Fits, rules: Rules, groups: np.ndarray, covariances: np.ndarray) -> None:
    """Fill in the covariances of the parameters of some groups; 0 of those that are not finite."""
    for k in range(groups.size):
        g = groups[k]
        a, n = fits.first[g], fits.n[g]
        free = free_of(n, rules)
        for i in range(n):
            if fits.at_bound[a + i]:
                free[3 * i] = free[3 * i + 1] = False
        covariance, finite = covariance_of(normal_matrix(fits, g), free), True
        for i in range(free.size):
            for j in range(free.size):
                finite = finite and math.isfinite(covariance[i, j])
        for i in range(free.size if finite else 0):
            for j in range(free.size):
                covariances[fits.square[g] + i * free.size + j] = covariance[i, j]


@entry
def fill_steps(
    fits: Fits, covariances: np.ndarray, noise: np.ndarray, steps: np.ndarray, moved: np.ndarray
) -> None:
    """Fill in which sources are moved, and three steps of the parameters, along the columns of roots of covariances."""
    root = np.empty((3, 3))
    for g in range(fits.n.size):
        n, at = fits.n[g], 3 * fits.first[g] + g
        covariance = covariances[fits.square[g] : fits.square[g + 1]]
        for k in range(n):
            m, flux = 3 * n + 1, fits.p[at + 3 * k + 2]
            diagonal = 3 * k * (m + 1)
            if not (covariance[diagonal] > 0.0 and flux > 0.0):
                continue
            moved[fits.first[g] + k] = True
            variance = max(noise[g] * covariance[diagonal + 2 * (m + 1)], 0.0)
            damping = math.sqrt(noise[g] * flux**2 / (flux**2 + variance))
            _fill_root(covariance, diagonal, m, root)
            for a in range(3):
                for b in range(3):
                    steps[b, at + 3 * k + a] = damping * root[a, b]


@entry
def blur_groups(
    batch: Batch, table: Any, fits: Fits, moved: np.ndarray, steps: np.ndarray, blur: np.ndarray
) -> None:
    """Fill in the models of the groups, and what the errors of their parameters add to them in the mean."""
    for g in range(fits.n.size):
        a, n = fits.first[g], fits.n[g]
        if not moved[a : a + n].any():
            continue
        group, at, m = group_of(batch, batch.weight, g, fits.which[a : a + n]), 3 * a + g, 3 * n + 1
        begin, trial = group.first[0], fits.p[at : at + m].copy()
        for number in range(-1, 6):  # none, then forth and back along each of the columns
            for i in range(m if number >= 0 else 0):
                step = steps[number // 2, at + i]
                trial[i] = fits.p[at + i] + (step if number % 2 == 0 else -step)
            model = model_values(group, table, trial)
            for i in range(model.size):
                blur[begin + i] += -2.0 * model[i] if number < 0 else model[i] / 2


@entry
def bias_groups(
    batch: Batch,
    weight: np.ndarray,
    table: Any,
    fits: Fits,
    covariances: np.ndarray,
    noise: np.ndarray,
    moved: np.ndarray,
) -> None:
    """Fill in the biases, from blurred models in place of the pixels."""
    for g in range(fits.n.size):
        a, n = fits.first[g], fits.n[g]
        if not moved[a : a + n].any():
            continue
        group, at, m = group_of(batch, weight, g, fits.which[a : a + n]), 3 * a + g, 3 * n + 1
        matrix, vector, p = np.empty((m, m)), np.empty(m), fits.p[at : at + m]
        accumulate(group, blocks_of(group), table, p, np.int64(0), group.row.size, matrix, vector)
        for k in range(n):
            if moved[a + k]:
                row, shift = fits.square[g] + (3 * k + 2) * m, 0.0
                for i in range(m):
                    shift += covariances[row + i] * vector[i]
                sigma = math.sqrt(max(noise[g] * covariances[row + 3 * k + 2], 0.0))
                most = min(sigma, abs(p[3 * k + 2])) / 2
                fits.bias[a + k] = min(max(-shift, -sigma / 2), most)


@once
def _fill_root(covariance: np.ndarray, at: int, pitch: int, root: np.ndarray) -> None:
    """Fill in the matrix whose product with its transpose is a block of three rows of a covariance; units may differ.

    The block begins at `at`, and its rows are `pitch` numbers apart. Its columns are the axes of the correlation
    matrix, from rotations that make it diagonal (Jacobi's method).
    """
    scale, block = np.empty(3), np.empty((3, 3))
    positive = True
    for a in range(3):
        scale[a] = math.sqrt(covariance[at + a * (pitch + 1)])
        for b in range(3):
            root[a, b] = 0.0
        positive = positive and scale[a] > 0.0
    for a in range(3 if positive else 0):
        root[a, a] = 1.0
        for b in range(3):
            block[a, b] = covariance[at + a * pitch + b] / (scale[a] * scale[b])
    for _ in range(_SWEEPS if positive else 0):
        if block[0, 1] ** 2 + block[0, 2] ** 2 + block[1, 2] ** 2 < _ROUNDED:
            break
        for number in range(3):
            a, b = number // 2, 1 + (number + 1) // 2
            if block[a, b] == 0.0:
                continue
            slope = (block[b, b] - block[a, a]) / (2 * block[a, b])
            t = math.copysign(1.0, slope) / (abs(slope) + math.sqrt(slope**2 + 1))
            c = 1 / math.sqrt(t**2 + 1)
            s = t * c
            for k in range(3):
                block[k, a], block[k, b] = (
                    c * block[k, a] - s * block[k, b],
                    s * block[k, a] + c * block[k, b],
                )
            for k in range(3):
                block[a, k], block[b, k] = (
                    c * block[a, k] - s * block[b, k],
                    s * block[a, k] + c * block[b, k],
                )
                root[k, a], root[k, b] = c * root[k, a] - s * root[k, b], s * root[k, a] + c * root[k, b]
    for a in range(3 if positive else 0):
        for b in range(3):
            root[a, b] *= scale[a] * math.sqrt(max(block[b, b], 0.0))
