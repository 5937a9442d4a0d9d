"""Compiled loops of the fit without hits: how far pixels are off a fit, and which of them agree with it."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pymopex.batches import Batch, Group, group_of
from pymopex.fit_models import leave_residuals, model_values
from pymopex.fit_solving import Fits
from pymopex.jit import entry, inner, leaf, once

_BESIDE = 2.5  # sigma, of a pixel beside a dropped one of the same frame: tracks cross several
_CORE = 3.0  # sigma of the model from which a pixel tells the error of the PRF
_FEWEST_CORE = 12  # such pixels that are needed
_PRF_ERROR = 0.1  # of the model, where there are fewer
_MEDIAN = 0.4549  # of chi2 with one degree of freedom
_SAME_PLACE = 0.7  # pixel, between pixels of two frames that see the same place of the sky
_CONFIRMED = 1.5  # sigma, median deviation of the pixels of the other frames there
_SEVERAL = 2  # of these are needed
_CAUCHY = 2.4  # sigma, at which a weight is halved
_LEAST = 0.8  # of the pixels must stay, else none is dropped

AS_BEFORE, CHANGED, TOO_MANY = 0, 1, 2
"""What a look at the pixels of a group finds of those that do not agree with its fit."""


@entry
def judge_groups(
    batch: Batch,
    table: Any,
    groups: np.ndarray,
    fits: Fits,
    sigma: float,
    keep: np.ndarray,
    weight: np.ndarray,
    weigh: bool,
) -> np.ndarray:
    """Look how far the pixels of some groups are off their fits.

    Parameters
    ----------
    batch : Batch
        The groups.
    table : PRFTable
        PRFs.
    groups : ndarray of int, shape (n,)
        Which groups.
    fits : Fits
        Their fits.
    sigma : float
        Limit for a pixel that agrees.
    keep : ndarray of bool, shape (n_pixels,)
        Pixels that were kept for these fits; those that agree with them, if these are others but not too few.
    weight : ndarray, shape (n_pixels,)
        With `weigh`, weights that fall with the deviation (Cauchy's) where a pixel is farther off; `keep` stays.
    weigh : bool
        Change weights, not `keep`.

    Returns
    -------
    ndarray of int, shape (n,)
        `AS_BEFORE`, `CHANGED`, or `TOO_MANY` that do not agree.
    """
    found = np.zeros(groups.size, np.int64)
    for k in range(groups.size):
        g = groups[k]
        a, n = fits.first[g], fits.n[g]
        group = group_of(batch, batch.weight, g, fits.which[a : a + n])
        p = fits.p[3 * a + g : 3 * (a + n) + g + 1]
        model = model_values(group, table, p)
        off = model.copy()
        leave_residuals(group, off)
        if weigh and not _far_off(group, off, sigma):
            continue
        for i in range(model.size):
            model[i] -= p[3 * n]
        error = _errors(group, off, model, keep)
        if weigh:
            found[k] = CHANGED
            _weigh(group, off, error, weight)
        else:
            group = group_of(batch, batch.weight, g, batch.numbers[: batch.sizes[g]])
            found[k] = _kept(group, off, error, sigma, keep)
    return found


@leaf
def _far_off(group: Group, off: np.ndarray, sigma: float) -> bool:
    """Tell whether a pixel is farther off than the limit by its own uncertainty."""
    begin, far = group.first[0], False
    for i in range(off.size):
        far |= off[i] ** 2 * group.weight[begin + i] > sigma**2
    return far


@leaf
def _weigh(group: Group, off: np.ndarray, error: np.ndarray, weight: np.ndarray) -> None:
    """Give the pixels weights that fall with their deviation."""
    begin = group.first[0]
    for i in range(off.size):
        weight[begin + i] = group.weight[begin + i] / (1 + (off[i] / (_CAUCHY * error[i])) ** 2)


@once
def _kept(group: Group, off: np.ndarray, error: np.ndarray, sigma: float, keep: np.ndarray) -> int:
    """Keep the pixels that agree with the fit."""
    begin = group.first[0]
    for i in range(off.size):
        off[i] /= error[i]
    agree = agreeing(group, off, sigma)
    count, size, same = 0, 0, True
    for i in range(off.size):
        agree[i] &= group.weight[begin + i] > 0.0
        size += group.weight[begin + i] > 0.0
        count += agree[i]
        same &= agree[i] == keep[begin + i]
    if count < _LEAST * size:
        return TOO_MANY
    for i in range(off.size):
        keep[begin + i] = agree[i]
    return AS_BEFORE if same else CHANGED


@once
def _errors(group: Group, off: np.ndarray, model: np.ndarray, keep: np.ndarray) -> np.ndarray:
    """Give the sigma of the pixels minus the model, which has no background, with the error of the PRF.

    The error of the PRF is a share of the model, measured at the pixels of `keep` in the cores of the sources;
    sigmas that are too small for the scatter of these pixels are scaled up.
    """
    begin, size = group.first[0], off.size
    error, share_of = np.empty(size), np.empty(size)
    n_core = 0
    for i in range(size):
        weight = group.weight[begin + i]
        error[i] = 1.0 / weight
        if keep[begin + i] and model[i] * math.sqrt(weight) > _CORE:
            share_of[n_core] = (off[i] ** 2 / _MEDIAN - error[i]) / model[i] ** 2
            n_core += 1
    share = _PRF_ERROR**2
    if n_core >= _FEWEST_CORE:
        share = max(0.0, np.median(share_of[:n_core]))
    n_kept = 0
    for i in range(size):
        error[i] += share * model[i] ** 2
        if keep[begin + i]:
            share_of[n_kept] = off[i] ** 2 / error[i]
            n_kept += 1
    too_small = np.median(share_of[:n_kept]) / _MEDIAN if n_kept else 1.0
    for i in range(size):
        error[i] = math.sqrt(error[i] * max(1.0, too_small))
    return error


@once
def agreeing(group: Group, off: np.ndarray, sigma: float) -> np.ndarray:
    """Tell which pixels agree with a fit.

    Those that are off by more than `sigma` do not, nor do those beside them in the same frame that are off by 2.5
    sigma; but one where the other frames are off to the same side does.

    Parameters
    ----------
    group : Group
        Pixels and places.
    off : ndarray, shape (n_pixels,)
        Deviations over their sigma.
    sigma : float
        Limit.

    Returns
    -------
    ndarray of bool, shape (n_pixels,)
    """
    begin = group.first[0]
    agree, beside = np.ones(off.size, np.bool_), np.zeros(off.size, np.bool_)
    for step in range(2):  # those far off, then those beside them
        for j in range(group.row.size):
            for i in range(group.first[j] - begin, group.first[j + 1] - begin):
                asked = abs(off[i]) > sigma if step == 0 else beside[i] and agree[i]
                if asked and not _seen_by_others(group, off, j, i):
                    agree[i] = False
        if step == 0:
            _mark_beside(group, off, agree, beside)
    return agree


@leaf
def _mark_beside(group: Group, off: np.ndarray, agree: np.ndarray, beside: np.ndarray) -> None:
    """Mark the pixels that touch one that does not agree, and are off themselves."""
    begin = group.first[0]
    for j in range(group.row.size):
        a, b = group.first[j], group.first[j + 1]
        for i in range(a, b):
            if agree[i - begin]:
                continue
            for k in range(a, b):
                near = abs(group.px[k] - group.px[i]) <= 1 and abs(group.py[k] - group.py[i]) <= 1
                beside[k - begin] |= near and abs(off[k - begin]) > _BESIDE


@inner
def _seen_by_others(group: Group, off: np.ndarray, own: int, pixel: int) -> bool:
    """Tell whether the frames other than its own are off to the same side at the place of a pixel of the group."""
    begin, at, nearest, n = group.first[0], -1, np.inf, 0
    px, py = group.px[begin + pixel], group.py[begin + pixel]
    for k in range(group.which.size):
        place = group.row[own] + group.which[k]
        distance = math.hypot(px - group.x[place], py - group.y[place])
        if distance < nearest:
            n, at, nearest = k, place, distance
    if at < 0:
        return False
    jac = group.jacobian
    det = jac[at, 0, 0] * jac[at, 1, 1] - jac[at, 0, 1] * jac[at, 1, 0]
    dx, dy = px - group.x[at], py - group.y[at]
    if det == 0.0 or not math.isfinite(det):
        return False
    u = (jac[at, 1, 1] * dx - jac[at, 0, 1] * dy) / det
    v = (jac[at, 0, 0] * dy - jac[at, 1, 0] * dx) / det
    there, count = np.empty(off.size), 0
    for j in range(group.row.size):
        at = group.row[j] + group.which[n]
        x = group.x[at] + jac[at, 0, 0] * u + jac[at, 0, 1] * v
        y = group.y[at] + jac[at, 1, 0] * u + jac[at, 1, 1] * v
        if j == own or not (math.isfinite(x) and math.isfinite(y)):
            continue
        for k in range(group.first[j], group.first[j + 1]):
            dx, dy = group.px[k] - x, group.py[k] - y
            if abs(dx) < _SAME_PLACE and abs(dy) < _SAME_PLACE and math.hypot(dx, dy) < _SAME_PLACE:
                there[count] = off[k - begin]
                count += group.weight[k] > 0.0
    return count >= _SEVERAL and np.median(there[:count]) * np.sign(off[pixel]) > _CONFIRMED
