"""PRF fit that drops the pixels of hits which no mask holds."""

from __future__ import annotations

import numpy as np

from pymopex.fit_data import GroupData
from pymopex.fit_results import FitSettings, GroupFit
from pymopex.fitting import Solution, finish, solve_group
from pymopex.hit_kernels import agreeing, deviations
from pymopex.prf import PRFTable

_FEWEST_FRAMES = 3  # that a group needs before single pixels are dropped
_ROUNDS = 4  # fits without pixels
_WEIGHTED = 4  # fits with falling weights before that
_CAUCHY = 2.4  # sigma, at which a weight is halved
_LEAST = 0.8  # of the pixels must stay, else none is dropped


def fit_without_hits(
    group: GroupData, table: PRFTable, settings: FitSettings, sigma: float
) -> tuple[GroupFit, GroupData, int]:
    """Fit a group, and again without the pixels that are far off.

    Parameters
    ----------
    group : GroupData
        Pixels and places.
    table : PRFTable
        PRFs.
    settings : FitSettings
        Settings of the fit.
    sigma : float
        How far off the fit a dropped pixel is [sigma]; 0 drops none.

    Returns
    -------
    fit : GroupFit
        The last fit.
    group : GroupData
        The pixels that it used.
    dropped : int
        How many pixels were left out.

    Notes
    -----
    The sigma of a pixel is the quadrature sum of its uncertainty and of the error of the PRF there, which is the
    model times the median fractional deviation, beyond the noise, of the pixels in the cores of the group's own
    sources: a perfect PRF protects no hit, an imperfect one loses no core. Uncertainties that are too small for the
    scatter are scaled up. A pixel stays if the pixels of the other frames at the same place of the sky are off to
    the same side: that is a neighbour or an error of the PRF, no hit. A pixel beside a dropped one goes from 2.5
    sigma. The pixels are judged by a fit whose weights fall with the deviation, since a hit draws the plain one; one
    that agrees with the last fit comes back.

    Groups in fewer than 3 frames, and those that would lose a fifth of their pixels, are fitted whole.
    """
    best, used = _without_hits(group, table, settings, sigma)
    return finish(group.n_sources, best, table, settings), used, group.value.size - used.value.size


def _without_hits(
    group: GroupData, table: PRFTable, settings: FitSettings, sigma: float
) -> tuple[Solution | None, GroupData]:
    """Give the last fit and the pixels that it used."""
    first = solve_group(group, table, settings)
    if not sigma or group.n_frames < _FEWEST_FRAMES or first is None or not first.usable:
        return first, group
    keep = np.ones(group.value.size, bool)
    used = group
    fit = _start(group, first, table, settings, sigma)
    for _ in range(_ROUNDS):
        found = _good(group, fit, table, sigma, keep) if fit is not None and fit.usable else ~keep
        if found.sum() < _LEAST * found.size:
            return first, group
        if (found == keep).all() and (used is not group or found.all()):
            break
        keep, used = found, group.where(found)
        fit = solve_group(used, table, settings)
    return (fit, used) if not keep.all() else (first, group)


def _start(
    group: GroupData, fit: Solution, table: PRFTable, settings: FitSettings, sigma: float
) -> Solution | None:
    """Fit with weights that fall with the deviation (Cauchy's), so that a strong hit does not draw the fit."""
    keep = np.ones(group.value.size, bool)
    found: Solution | None = fit
    for _ in range(_WEIGHTED):
        if found is None or not found.usable:
            break
        off, error = _deviations(group, found, table, keep)
        if not (off**2 * group.weight > sigma**2).any():
            break
        lighter = group.weight / (1 + (off / (_CAUCHY * error)) ** 2)
        found = solve_group(group._replace(weight=lighter), table, settings)
    return found


def _good(group: GroupData, fit: Solution, table: PRFTable, sigma: float, keep: np.ndarray) -> np.ndarray:
    """Tell which pixels agree with a fit of those in `keep`."""
    off, error = _deviations(group, fit, table, keep)
    return agreeing(group, off / error, sigma)


def _deviations(
    group: GroupData, fit: Solution, table: PRFTable, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels minus the fit, and their sigma with the error of the PRF."""
    return deviations(group.take(fit.parents), table, fit.p, keep)
