"""The fit of many groups of sources at once, and what else the table of sources needs of them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pymopex.batches import Batch, group_of
from pymopex.fit_bias import fill_biases
from pymopex.fit_finish import Rows, Whole, finish
from pymopex.fit_models import model_values
from pymopex.fit_results import FitStatus
from pymopex.fit_solving import Rules
from pymopex.frame_fits import measure_groups
from pymopex.group_kernels import box_variance, masked_core, mean_central, mean_scale
from pymopex.jit import entry
from pymopex.robust import solve_without_hits


class Extras(NamedTuple):
    """What the table needs of each source of the groups besides its fit: see `pymopex.kit.fit_blocks.Fitted`."""

    variance: np.ndarray
    scale: np.ndarray
    central: np.ndarray
    hole: np.ndarray


class Curves(NamedTuple):
    """Measurements in single frames: group, number of the source in it, frame, pixels, and values.

    The values, shape (n, 7), are flux, variance and chi2, the shifts along x and y [pixel], and their variances.
    """

    group: np.ndarray
    number: np.ndarray
    frame: np.ndarray
    n_pixels: np.ndarray
    values: np.ndarray


class How(NamedTuple):
    """How a batch is fitted: limit for hits [sigma], radius of holes [pixel], box of the noise, also frame by frame."""

    sigma: float
    hole: float
    box: int
    curves: bool


def fit_batch(
    batch: Batch,
    table: Any,
    central: np.ndarray,
    known: np.ndarray,
    bright: np.ndarray,
    rules: Rules,
    how: How,
) -> tuple[Rows, Whole, Extras, np.ndarray, Curves]:
    """Fit all groups of a batch.

    Parameters
    ----------
    batch : Batch
        The groups.
    table : PRFTable
        PRFs.
    central : ndarray, shape (n_prf,)
        Their central values.
    known : ndarray, shape (n_sources,)
        Fluxes that were taken off the frames and belong to the sources of the groups [microjansky].
    bright : ndarray of bool, shape (n_sources,)
        Sources in whose holes no pixel counts.
    rules, how
        Settings.

    Returns
    -------
    rows, whole, extras
        Results of the sources, in the order of the groups, of the groups, and what else there is to know of a source.
    dropped : ndarray of int, shape (G,)
        Pixels that were dropped as hits.
    curves : Curves
        Empty if they are not wanted.
    """
    extras = Extras(*np.empty((4, int(batch.sizes.sum()))))
    value, weight = batch.value.copy(), batch.weight.copy()
    describe_groups(batch, central, extras)
    free_groups(batch, table, known, bright, how.hole, value, weight)
    batch = batch._replace(value=value, weight=weight)
    fits, used = solve_without_hits(batch, table, rules, how.sigma)
    if not math.isnan(rules.bias_noise):
        fill_biases(batch, used, table, fits, rules)
    rows, whole = finish(batch, used, table, fits, rules)
    fill_variances(batch, used, how.box, extras.variance)
    dropped = np.add.reduceat(used != weight, batch.first[batch.edge[:-1]], dtype=np.int64)
    curves = _curves(batch, used, table, rules, rows, whole) if how.curves else _no_curves()
    return rows, whole, extras, dropped, curves


@entry
def describe_groups(batch: Batch, central: np.ndarray, extras: Extras) -> None:
    """Fill in holes, scales and central values of the sources of all groups."""
    first = 0
    for g in range(batch.sizes.size):
        group = group_of(batch, batch.weight, g, batch.numbers[: batch.sizes[g]])
        for n in range(batch.sizes[g]):
            extras.hole[first + n] = masked_core(group, n)
            extras.scale[first + n] = mean_scale(group, n)
            extras.central[first + n] = mean_central(group, n, central)
        first += batch.sizes[g]


@entry
def fill_variances(batch: Batch, weight: np.ndarray, box: int, variance: np.ndarray) -> None:
    """Fill in the variances of the boxes of the sources of all groups."""
    first = 0
    for g in range(batch.sizes.size):
        group = group_of(batch, weight, g, batch.numbers[: batch.sizes[g]])
        for n in range(batch.sizes[g]):
            variance[first + n] = box_variance(group, n, box)
        first += batch.sizes[g]


@entry
def free_groups(
    batch: Batch,
    table: Any,
    known: np.ndarray,
    bright: np.ndarray,
    hole: float,
    value: np.ndarray,
    weight: np.ndarray,
) -> None:
    """Give the groups back what was taken off for their sources, and no weight to pixels in holes of bright ones."""
    first = 0
    for g in range(batch.sizes.size):
        size = batch.sizes[g]
        group = group_of(batch, weight, g, batch.numbers[:size])
        p, lit = np.zeros(3 * size + 1), False
        for n in range(size):
            p[3 * n + 2] = known[first + n]
            lit = lit or known[first + n] != 0.0
            for j in range(group.row.size if bright[first + n] and hole > 0.0 else 0):
                x, y = group.x[group.row[j] + n], group.y[group.row[j] + n]
                for i in range(group.first[j], group.first[j + 1]):
                    if math.hypot(group.px[i] - x, group.py[i] - y) < hole:
                        weight[i] = 0.0
        if lit:
            model, begin = model_values(group, table, p), group.first[0]
            for i in range(model.size):
                value[begin + i] += model[i]
        first += size


def _curves(batch: Batch, weight: np.ndarray, table: Any, rules: Rules, rows: Rows, whole: Whole) -> Curves:
    """Measure the sources of the groups in single frames."""
    chosen = np.isfinite(rows.flux) & (rows.status != FitStatus.TOO_FEW_PIXELS)
    first = np.cumsum(whole.rows) - whole.rows
    edge = np.concatenate([[0], np.cumsum(chosen)])[np.append(first, chosen.size)]
    most = int((np.diff(edge) * np.diff(batch.edge)).sum())
    p = np.column_stack([rows.place, rows.flux])[chosen]
    names, values = np.zeros((4, most), np.int64), np.zeros((most, 7))
    n = measure_groups(batch, weight, table, edge, rows.parent[chosen], p, rules.background, names, values)
    group, source, piece, pixels = names[:, :n]
    number = np.flatnonzero(chosen)[source] - first[group]
    return Curves(group, number, batch.frame[piece], pixels, values[:n])


def _no_curves() -> Curves:
    none = np.zeros(0, np.int64)
    return Curves(none, none, none, none, np.zeros((0, 7)))
