"""Active deblending: one more source where the residuals of a fit are most significant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from pymopex.batches import Batch, Group, group_of
from pymopex.fit_models import leave_residuals, model_values, place
from pymopex.fit_solving import Fits
from pymopex.group_kernels import in_box, pixels_per_arcsec
from pymopex.jit import entry, once
from pymopex.prf_kernels import look_up, phase

_GRID = 0.5  # pixel, of the search for a further source
_REACH = 1.5  # pixel of the PRF core used in that search


@entry
def add_sources(batch: Batch, weight: np.ndarray, table: Any, groups: np.ndarray, fits: Fits) -> np.ndarray:
    """Add a source to the fit of each of some groups, at the most significant residual; tells where there is one."""
    found = np.zeros(groups.size, np.bool_)
    for k in range(groups.size):
        g = groups[k]
        a, n = fits.first[g], fits.n[g]
        group = group_of(batch, weight, g, fits.which[a : a + n])
        p = fits.p[3 * a + g : 3 * fits.first[g + 1] + g + 1]
        residual = model_values(group, table, p[: 3 * n + 1])
        leave_residuals(group, residual)
        half = math.ceil(max(group.fit_x, group.fit_y) / 2 / _GRID)
        best = 0.0
        for i in range(n):
            per_arcsec = pixels_per_arcsec(group, i)
            step, reach = _GRID / per_arcsec, _REACH / per_arcsec
            peak, u, v = residual_peak(group, table, residual, i, half, step, reach)
            if peak > best:
                best, fits.which[a + n] = peak, fits.which[a + i]
                p[3 * n], p[3 * n + 1] = u, v
                fits.origin[a + n, 0], fits.origin[a + n, 1] = u, v
        found[k] = best > 0.0
        fits.n[g] += found[k]
        fits.added[g] += found[k]
    return found


@once
def residual_peak(
    group: Group, table: Any, residual: np.ndarray, n: int, half: int, step: float, reach: float
) -> tuple[float, float, float]:
    """Highest significance of a further source near source n; returns it and its place (u, v) [arcsec].

    The significance of a place is that of the flux of a PRF fitted there to the residuals in the box of
    source n; places lie on a grid of 2 half + 1 points a side and `step` arcsec round its start. Only
    pixels within `reach` arcsec of the place count: the core of the PRF carries nearly all the information. Of
    several PRFs the one with the largest weight is taken.
    """
    size = 2 * half + 1
    top, norm = np.zeros((size, size)), np.zeros((size, size))
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    ny, nx = table.coefficients.shape[1:]
    for j in range(group.row.size):
        at = group.row[j] + group.which[n]
        jac = group.jacobian[at]
        det = jac[0, 0] * jac[1, 1] - jac[0, 1] * jac[1, 0]
        if not (math.isfinite(group.x[at]) and math.isfinite(det)) or det == 0.0:
            continue
        c = table.coefficients[group.prf[at, np.argmax(group.mix[at])]]
        for i in range(group.first[j], group.first[j + 1]):
            px, py, weight = group.px[i], group.py[i], group.weight[i]
            inside = in_box(px - group.box_x[at], py - group.box_y[at], group.fit_x, group.fit_y)
            if not (weight > 0.0 and inside):
                continue
            dx, dy = px - group.x[at], py - group.y[at]
            gu = (jac[1, 1] * dx - jac[0, 1] * dy) / det / step + half
            gv = (jac[0, 0] * dy - jac[1, 0] * dx) / det / step + half
            for b in range(
                max(0, math.ceil(gv - reach / step)), min(size, math.floor(gv + reach / step) + 1)
            ):
                for a in range(
                    max(0, math.ceil(gu - reach / step)), min(size, math.floor(gu + reach / step) + 1)
                ):
                    x, y = place(group, at, (a - half) * step, (b - half) * step)
                    kx, xlo, xhi = phase(x, table.sampling_x, nx, wx, unused)
                    ky, ylo, yhi = phase(y, table.sampling_y, ny, wy, unused)
                    if xlo <= px <= xhi and ylo <= py <= yhi:
                        q = group.scale[at] * look_up(
                            c, ky + py * table.sampling_y, kx + px * table.sampling_x, wy, wx
                        )
                        top[b, a] += weight * residual[i - group.first[0]] * q
                        norm[b, a] += weight * q * q
    best, best_u, best_v = 0.0, 0.0, 0.0
    for b in range(size):
        for a in range(size):
            if norm[b, a] > 0.0 and top[b, a] / math.sqrt(norm[b, a]) > best:
                best = top[b, a] / math.sqrt(norm[b, a])
                best_u, best_v = (a - half) * step, (b - half) * step
    return best, best_u, best_v
