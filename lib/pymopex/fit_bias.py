"""Bias of the fluxes that a fit with free positions finds."""

from __future__ import annotations

import numpy as np

from pymopex.fit_data import GroupData
from pymopex.fit_kernels import accumulate, model_values
from pymopex.prf import PRFTable


def flux_bias(
    group: GroupData, table: PRFTable, p: np.ndarray, covariance: np.ndarray, noise: float = 1.0
) -> np.ndarray:
    """Give by how much the fluxes of a fit are too high in the mean.

    Parameters
    ----------
    group : GroupData
        Pixels of the fit, and the places of its sources.
    table : PRFTable
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
    n = group.n_sources
    flux = p[2:-1:3]
    wide = np.maximum(noise * np.diag(covariance)[2:-1:3], 0.0)
    moved = (np.diag(covariance)[0:-1:3] > 0) & (flux > 0)
    if not moved.any():
        return np.zeros(n)
    steps = np.zeros((3, p.size))
    for k in np.flatnonzero(moved):
        part = slice(3 * k, 3 * k + 3)
        damped = flux[k] ** 2 / (flux[k] ** 2 + wide[k])
        steps[:, part] = np.sqrt(noise * damped) * _root(covariance[part, part]).T
    base = model_values(group, table, p)
    blur = -len(steps) * base
    for step in steps:
        blur += (model_values(group, table, p + step) + model_values(group, table, p - step)) / 2
    matrix, vector = np.empty((p.size, p.size)), np.empty(p.size)
    accumulate(group._replace(value=base + blur), table, p, 0, group.n_frames, matrix, vector)
    bias = -(covariance @ vector)[2:-1:3]
    sigma = np.sqrt(wide)
    return np.where(moved, np.clip(bias, -sigma / 2, np.minimum(sigma, np.abs(flux)) / 2), 0.0)


def _root(block: np.ndarray) -> np.ndarray:
    """Matrix whose product with its transpose is a covariance; units of rows may differ."""
    scale = np.sqrt(np.diag(block))
    values, vectors = np.linalg.eigh(block / np.outer(scale, scale))
    return np.asarray(scale[:, None] * vectors * np.sqrt(np.maximum(values, 0.0)))
