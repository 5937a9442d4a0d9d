"""PRF fit that drops the pixels of hits which no mask holds."""

from __future__ import annotations

import numpy as np

from pymopex.fit_data import GroupData
from pymopex.fit_kernels import model_values
from pymopex.fit_results import FitSettings, GroupFit
from pymopex.fitting import fit_group
from pymopex.prf import PRFTable

_FEWEST_FRAMES = 3  # that a group needs before single pixels are dropped
_ROUNDS = 4  # fits without pixels
_WEIGHTED = 4  # fits with falling weights before that
_CAUCHY = 2.4  # sigma, at which a weight is halved
_BESIDE = 2.5  # sigma, of a pixel beside a dropped one of the same frame: tracks cross several
_LEAST = 0.8  # of the pixels must stay, else none is dropped
_CORE = 3.0  # sigma of the model from which a pixel tells the error of the PRF
_FEWEST_CORE = 12  # such pixels that are needed
_PRF_ERROR = 0.1  # of the model, where there are fewer
_MEDIAN = 0.4549  # of chi2 with one degree of freedom
_SAME_PLACE = 0.7  # pixel, between pixels of two frames that see the same place of the sky
_CONFIRMED = 1.5  # sigma, median deviation of the pixels of the other frames there
_SEVERAL = 2  # of these are needed


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
    fit = first = fit_group(group, table, settings)
    if not sigma or group.n_frames < _FEWEST_FRAMES or not _usable(fit):
        return fit, group, 0
    keep = np.ones(group.value.size, bool)
    used = group
    fit = _start(group, fit, table, settings, sigma)
    for _ in range(_ROUNDS):
        found = _good(group, fit, table, sigma, keep) if _usable(fit) else ~keep
        if found.sum() < _LEAST * found.size:
            return first, group, 0
        if (found == keep).all() and (used is not group or found.all()):
            break
        keep, used = found, group.where(found)
        fit = fit_group(used, table, settings)
    return (fit, used, int((~keep).sum())) if not keep.all() else (first, group, 0)


def _usable(fit: GroupFit) -> bool:
    return bool(np.isfinite(fit.chi2) and fit.n_ps)


def _start(group: GroupData, fit: GroupFit, table: PRFTable, settings: FitSettings, sigma: float) -> GroupFit:
    """Fit with weights that fall with the deviation (Cauchy's), so that a strong hit does not draw the fit."""
    keep = np.ones(group.value.size, bool)
    for _ in range(_WEIGHTED):
        off, error = _deviations(group, fit, table, keep)
        if not (np.abs(off) > sigma * np.sqrt(1 / group.weight)).any():
            break
        lighter = group.weight / (1 + (off / (_CAUCHY * error)) ** 2)
        fit = fit_group(group._replace(weight=lighter), table, settings)
        if not _usable(fit):
            break
    return fit


def _good(group: GroupData, fit: GroupFit, table: PRFTable, sigma: float, keep: np.ndarray) -> np.ndarray:
    """Tell which pixels agree with a fit of those in `keep`."""
    off, error = _deviations(group, fit, table, keep)
    off = off / error
    size = np.abs(off)
    frame = np.repeat(np.arange(group.n_frames), np.diff(group.first))
    bad = size > sigma
    for i in np.flatnonzero(bad):
        bad[i] = not _seen_by_others(group, off, frame, int(i))
    beside = np.zeros(bad.size, bool)
    for i in np.flatnonzero(bad):
        near = (np.abs(group.px - group.px[i]) <= 1) & (np.abs(group.py - group.py[i]) <= 1)
        beside |= near & (frame == frame[i]) & (size > _BESIDE)
    for i in np.flatnonzero(beside & ~bad):
        bad[i] = not _seen_by_others(group, off, frame, int(i))
    return ~bad


def _deviations(
    group: GroupData, fit: GroupFit, table: PRFTable, keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Pixels minus the fit, and their sigma with the error of the PRF."""
    chosen = [s for s in fit.sources if np.isfinite(s.flux)]
    parameters = np.array([value for s in chosen for value in (s.u, s.v, s.flux)] + [0.0])
    model = model_values(group.take([s.parent for s in chosen]), table, parameters)
    off = group.value - model - fit.background
    variance = 1 / group.weight
    core = keep & (model * np.sqrt(group.weight) > _CORE)
    share = _PRF_ERROR**2
    if core.sum() >= _FEWEST_CORE:
        share = max(0.0, float(np.median((off[core] ** 2 / _MEDIAN - variance[core]) / model[core] ** 2)))
    variance = variance + share * model**2
    too_small = float(np.median(off[keep] ** 2 / variance[keep])) / _MEDIAN
    return off, np.sqrt(variance * max(1.0, too_small))


def _seen_by_others(group: GroupData, off: np.ndarray, frame: np.ndarray, i: int) -> bool:
    """Tell whether the other frames are off to the same side at the place of pixel i."""
    n = int(np.nanargmin(np.hypot(group.px[i] - group.rx[frame[i]], group.py[i] - group.ry[frame[i]])))
    jacobian = group.jacobian[:, n]
    place = np.linalg.solve(
        jacobian[frame[i]], [group.px[i] - group.rx[frame[i], n], group.py[i] - group.ry[frame[i], n]]
    )
    x, y = (jacobian @ place + np.column_stack([group.rx[:, n], group.ry[:, n]])).T
    with np.errstate(invalid="ignore"):
        same = np.hypot(group.px - x[frame], group.py - y[frame]) < _SAME_PLACE
    same &= frame != frame[i]
    return bool(same.sum() >= _SEVERAL and np.median(off[same]) * np.sign(off[i]) > _CONFIRMED)
