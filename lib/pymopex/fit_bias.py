"""Bias of the fluxes that a fit with free positions finds."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from pymopex.fit_data import GroupData, with_values
from pymopex.fit_kernels import accumulate, model_values


@numba.njit(cache=True, nogil=True, error_model="numpy")
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
    n = p.size // 3
    variance = np.diag(covariance)
    moved, damping = np.zeros(n, np.bool_), np.zeros(n)
    for k in range(n):
        flux = p[3 * k + 2]
        moved[k] = variance[3 * k] > 0.0 and flux > 0.0
        damping[k] = math.sqrt(noise * flux**2 / (flux**2 + max(noise * variance[3 * k + 2], 0.0)))
    bias = np.zeros(n)
    if not moved.any():
        return bias
    steps = np.zeros((7, p.size))  # none, then forth and back along each of the columns
    for k in range(n):
        if moved[k]:
            part = slice(3 * k, 3 * k + 3)
            steps[1::2, part] = damping[k] * _root(covariance[part, part]).T
    steps[2::2] = -steps[1::2]
    base, blur = np.zeros(group.value.size), np.zeros(group.value.size)
    for number in range(7):
        model = model_values(group, table, p + steps[number])
        if number == 0:
            base += model
            blur -= 3.0 * model
        else:
            blur += model / 2
    matrix, vector = np.empty((p.size, p.size)), np.empty(p.size)
    blurred = with_values(group, base + blur, group.weight, group.px, group.py, group.first)
    accumulate(blurred, table, p, 0, group.rx.shape[0], matrix, vector)
    for k in range(n):
        if moved[k]:
            sigma = math.sqrt(max(noise * variance[3 * k + 2], 0.0))
            most = min(sigma, abs(p[3 * k + 2])) / 2
            bias[k] = min(max(-np.sum(covariance[3 * k + 2] * vector), -sigma / 2), most)
    return bias


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _root(block: np.ndarray) -> np.ndarray:
    """Matrix whose product with its transpose is a covariance; units of rows may differ."""
    scale = np.sqrt(np.diag(block))
    if not (scale > 0.0).all():
        return np.zeros((3, 3))
    values, vectors = np.linalg.eigh(block / np.outer(scale, scale))
    return scale.reshape(3, 1) * vectors * np.sqrt(np.maximum(values, 0.0))
