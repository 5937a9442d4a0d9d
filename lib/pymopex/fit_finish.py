"""Compiled results of the fits of a batch: covariances, quality and status of each source."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pymopex.batches import Batch, Group, group_of
from pymopex.fit_minimum import EXHAUSTED, SINGULAR
from pymopex.fit_models import leave_residuals, model_values
from pymopex.fit_results import FitStatus
from pymopex.fit_solving import Fits, Rules, free_of, normal_matrix
from pymopex.group_kernels import in_box
from pymopex.jit import entry, leaf
from pymopex.normal_equations import covariance as covariance_of

_SUCCESS = int(FitStatus.SUCCESS)
_ABOVE = int(FitStatus.CHI2_ABOVE_THRESHOLD)
_NOT_CONVERGED = int(FitStatus.NOT_CONVERGED)
TOO_FEW = int(FitStatus.TOO_FEW_PIXELS)
_SINGULAR = int(FitStatus.SINGULAR)
_NOT_POSITIVE = int(FitStatus.FLUX_NOT_POSITIVE)
_AT_BOUND = int(FitStatus.AT_BOUND)


class Rows(NamedTuple):
    """Results of sources, one row each, in the meaning of `pymopex.fit_results.SourceFit`; `place` is (u, v)."""

    place: np.ndarray
    flux: np.ndarray
    covariance: np.ndarray
    chi2_dof: np.ndarray
    n_pixels: np.ndarray
    n_frames: np.ndarray
    status: np.ndarray
    parent: np.ndarray
    added: np.ndarray
    bias: np.ndarray


class Whole(NamedTuple):
    """Results of groups, one row each, in the meaning of `pymopex.fit_results.GroupFit`; `rows` counts its sources."""

    chi2: np.ndarray
    dof: np.ndarray
    background: np.ndarray
    background_variance: np.ndarray
    iterations: np.ndarray
    n_ps: np.ndarray
    capped: np.ndarray
    rows: np.ndarray


def finish(batch: Batch, weight: np.ndarray, table: Any, fits: Fits, rules: Rules) -> tuple[Rows, Whole]:
    """Give the results of the sources, group after group, and of the groups.

    The sources of the input come first, also those that were left out, then the added ones. Parameters as of
    `pymopex.fit_solving.solve`.
    """
    groups = batch.sizes.size
    n = int((batch.sizes + fits.added).sum())
    rows = Rows(
        np.zeros((n, 2)),
        np.full(n, np.nan),
        np.full((n, 3, 3), np.nan),
        np.full(n, np.nan),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
        np.full(n, TOO_FEW),
        np.zeros(n, np.int64),
        np.zeros(n, bool),
        np.zeros(n),
    )
    background, variance = np.zeros((2, groups))
    found = fits.n > 0
    capped = np.zeros(groups, bool)
    whole = Whole(
        np.where(found, fits.chi2, np.nan),
        np.where(found, fits.dof, 0),
        background,
        variance,
        fits.iterations,
        fits.n,
        capped,
        batch.sizes + fits.added,
    )
    finish_groups(batch, weight, table, fits, rules, rows, whole)
    return rows, whole


@entry
def finish_groups(
    batch: Batch, weight: np.ndarray, table: Any, fits: Fits, rules: Rules, rows: Rows, whole: Whole
) -> None:
    """Fill the results of all groups."""
    first = 0
    for g in range(batch.sizes.size):
        size, n = batch.sizes[g], fits.n[g]
        for i in range(size):
            rows.parent[first + i] = i
        if n > 0:
            a = fits.first[g]
            p = fits.p[3 * a + g : 3 * (a + n) + g + 1]
            group = group_of(batch, weight, g, fits.which[a : a + n])
            covariance = covariance_of(normal_matrix(fits, g), free_of(n, rules))
            residual = model_values(group, table, p)
            leave_residuals(group, residual)
            chi2_dof = fits.chi2[g] / fits.dof[g] if fits.dof[g] > 0 else np.nan
            behind = first + size
            for i in range(n):
                added = i >= n - fits.added[g]
                row = behind if added else first + fits.which[a + i]
                behind += added
                _fill_quality(group, residual, i, rules, rows, row)
                rows.place[row, 0], rows.place[row, 1], rows.flux[row] = p[3 * i], p[3 * i + 1], p[3 * i + 2]
                rows.bias[row], rows.parent[row], rows.added[row] = fits.bias[a + i], fits.which[a + i], added
                for k in range(9):
                    rows.covariance[row, k // 3, k % 3] = covariance[3 * i + k // 3, 3 * i + k % 3]
                variance = covariance[3 * i + 2, 3 * i + 2]
                rows.status[row] = _status(
                    fits, g, fits.at_bound[a + i], p[3 * i + 2], variance, chi2_dof, rules
                )
            whole.background[g], whole.background_variance[g] = p[3 * n], covariance[3 * n, 3 * n]
            whole.capped[g] = rules.max_n_ps > 1 and n >= rules.max_n_ps and chi2_dof >= rules.chi_threshold
        first += whole.rows[g]


@leaf
def _fill_quality(group: Group, residual: np.ndarray, n: int, rules: Rules, rows: Rows, row: int) -> None:
    """Fill in what the pixels in the box of source n tell: how many they are, in how many frames, and their chi2."""
    chi2, pixels, frames = 0.0, 0, 0
    for j in range(group.row.size):
        partial, before, at = 0.0, pixels, group.row[j] + group.which[n]
        x0, y0 = group.box_x[at], group.box_y[at]
        for i in range(group.first[j], group.first[j + 1]):
            inside = in_box(group.px[i] - x0, group.py[i] - y0, group.fit_x, group.fit_y)
            if inside and group.weight[i] > 0.0:
                partial += group.weight[i] * residual[i - group.first[0]] ** 2
                pixels += 1
        chi2 += partial
        frames += pixels > before
    own = (1 if rules.fixed_positions else 3) + int(rules.background)
    if pixels > own:
        rows.chi2_dof[row] = chi2 / (pixels - own)
    rows.n_pixels[row], rows.n_frames[row] = pixels, frames


@leaf
def _status(
    fits: Fits, g: int, at_bound: bool, flux: float, variance: float, chi2_dof: float, rules: Rules
) -> int:
    if fits.dof[g] < 0:
        return TOO_FEW
    if fits.ended[g] == SINGULAR or not math.isfinite(variance):
        return _SINGULAR
    if fits.ended[g] == EXHAUSTED:
        return _NOT_CONVERGED
    if fits.dof[g] > 0 and not chi2_dof < rules.chi_threshold:
        return _ABOVE
    if not rules.fixed_positions and at_bound:
        return _AT_BOUND
    if not rules.fixed_positions and not flux > 0.0:
        return _NOT_POSITIVE
    return _SUCCESS
