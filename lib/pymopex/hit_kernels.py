"""Compiled loops of the fit without hits: how far pixels are off a fit, and which of them agree with it."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from pymopex.fit_kernels import model_values

_BESIDE = 2.5  # sigma, of a pixel beside a dropped one of the same frame: tracks cross several
_CORE = 3.0  # sigma of the model from which a pixel tells the error of the PRF
_FEWEST_CORE = 12  # such pixels that are needed
_PRF_ERROR = 0.1  # of the model, where there are fewer
_MEDIAN = 0.4549  # of chi2 with one degree of freedom
_SAME_PLACE = 0.7  # pixel, between pixels of two frames that see the same place of the sky
_CONFIRMED = 1.5  # sigma, median deviation of the pixels of the other frames there
_SEVERAL = 2  # of these are needed


@numba.njit(cache=True, nogil=True)
def deviations(group: Any, table: Any, p: np.ndarray, keep: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixels minus the fit with the parameters p, and their sigma with the error of the PRF.

    The error of the PRF is a share of the model, measured at the pixels of `keep` in the cores of the sources;
    sigmas that are too small for the scatter of these pixels are scaled up.
    """
    size = group.value.size
    off, model = np.empty(size), model_values(group, table, p)
    background = p[p.size - 1]
    variance, share_of = np.empty(size), np.empty(size)
    n_core = 0
    for i in range(size):
        off[i] = group.value[i] - model[i]
        model[i] -= background
        variance[i] = 1.0 / group.weight[i]
        if keep[i] and model[i] * math.sqrt(group.weight[i]) > _CORE:
            share_of[n_core] = (off[i] ** 2 / _MEDIAN - variance[i]) / model[i] ** 2
            n_core += 1
    share = _PRF_ERROR**2
    if n_core >= _FEWEST_CORE:
        share = max(0.0, np.median(share_of[:n_core]))
    n_kept = 0
    for i in range(size):
        variance[i] += share * model[i] ** 2
        if keep[i]:
            share_of[n_kept] = off[i] ** 2 / variance[i]
            n_kept += 1
    too_small = np.median(share_of[:n_kept]) / _MEDIAN if n_kept else 1.0
    return off, np.sqrt(variance * max(1.0, too_small))


@numba.njit(cache=True, nogil=True)
def agreeing(group: Any, off: np.ndarray, sigma: float) -> np.ndarray:
    """Tell which pixels agree with a fit.

    Those that are off by more than `sigma` do not, nor do those beside them in the same frame that are off by 2.5
    sigma; but one where the other frames are off to the same side does.

    Parameters
    ----------
    group : GroupData
        Pixels and places.
    off : ndarray, shape (n_pixels,)
        Deviations over their sigma.
    sigma : float
        Limit.

    Returns
    -------
    ndarray of bool, shape (n_pixels,)
    """
    bad = np.zeros(off.size, np.bool_)
    beside = np.zeros(off.size, np.bool_)
    for j in range(group.first.size - 1):
        for i in range(group.first[j], group.first[j + 1]):
            bad[i] = abs(off[i]) > sigma and not _seen_by_others(group, off, j, i)
    for j in range(group.first.size - 1):
        for i in range(group.first[j], group.first[j + 1]):
            if bad[i]:
                for k in range(group.first[j], group.first[j + 1]):
                    near = abs(group.px[k] - group.px[i]) <= 1 and abs(group.py[k] - group.py[i]) <= 1
                    beside[k] |= near and abs(off[k]) > _BESIDE
    for j in range(group.first.size - 1):
        for i in range(group.first[j], group.first[j + 1]):
            if beside[i] and not bad[i]:
                bad[i] = not _seen_by_others(group, off, j, i)
    return ~bad


@numba.njit(cache=True, nogil=True)
def _seen_by_others(group: Any, off: np.ndarray, own: int, i: int) -> bool:
    """Tell whether the frames other than its own are off to the same side at the place of pixel i."""
    n, nearest = -1, np.inf
    for k in range(group.rx.shape[1]):
        distance = math.hypot(group.px[i] - group.rx[own, k], group.py[i] - group.ry[own, k])
        if distance < nearest:
            n, nearest = k, distance
    if n < 0:
        return False
    jac = group.jacobian[own, n]
    det = jac[0, 0] * jac[1, 1] - jac[0, 1] * jac[1, 0]
    dx, dy = group.px[i] - group.rx[own, n], group.py[i] - group.ry[own, n]
    if det == 0.0 or not math.isfinite(det):
        return False
    u, v = (jac[1, 1] * dx - jac[0, 1] * dy) / det, (jac[0, 0] * dy - jac[1, 0] * dx) / det
    there, count = np.empty(off.size), 0
    for j in range(group.first.size - 1):
        other = group.jacobian[j, n]
        x = group.rx[j, n] + other[0, 0] * u + other[0, 1] * v
        y = group.ry[j, n] + other[1, 0] * u + other[1, 1] * v
        if j == own or not (math.isfinite(x) and math.isfinite(y)):
            continue
        for k in range(group.first[j], group.first[j + 1]):
            dx, dy = group.px[k] - x, group.py[k] - y
            if abs(dx) < _SAME_PLACE and abs(dy) < _SAME_PLACE and math.hypot(dx, dy) < _SAME_PLACE:
                there[count] = off[k]
                count += 1
    return count >= _SEVERAL and np.median(there[:count]) * np.sign(off[i]) > _CONFIRMED
