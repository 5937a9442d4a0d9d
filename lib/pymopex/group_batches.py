"""Many groups of sources at once: their pixels in arrays behind each other, and the compiled loop that fits them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numba
import numpy as np

from pymopex.fit_data import GroupData, fit_box, taken, with_pixels, with_values
from pymopex.fit_finish import Rows, Whole, empty_rows, empty_whole, finish
from pymopex.fit_kernels import frame_fluxes, model_values
from pymopex.fit_results import FitStatus
from pymopex.fit_solving import Rules, free_of, solve_without_hits
from pymopex.group_kernels import box_variance, masked_cores, mean_of_frames

_TOO_FEW = int(FitStatus.TOO_FEW_PIXELS)


class Batch(NamedTuple):
    """Groups of sources, each in all frames that show it: its pieces, one for each frame.

    Parameters
    ----------
    value, weight, px, py : ndarray, shape (n_pixels,)
        Pixels, piece after piece (see `GroupData`).
    first : ndarray of int, shape (P + 1,)
        First pixel of each piece.
    frame : ndarray of int, shape (P,)
        Frame of each piece.
    row : ndarray of int, shape (P + 1,)
        First of the places of each piece.
    edge : ndarray of int, shape (G + 1,)
        First piece of each group.
    fit_size : ndarray of int, shape (G, 2)
        Size of the fit box of each group, x before y.
    x, y, jacobian, scale, prf, mix : ndarray
        Places of the sources, shape (rows,), (rows, 2, 2) and (rows, K), piece after piece.
    """

    value: np.ndarray
    weight: np.ndarray
    px: np.ndarray
    py: np.ndarray
    first: np.ndarray
    frame: np.ndarray
    row: np.ndarray
    edge: np.ndarray
    fit_size: np.ndarray
    x: np.ndarray
    y: np.ndarray
    jacobian: np.ndarray
    scale: np.ndarray
    prf: np.ndarray
    mix: np.ndarray


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


@numba.njit(cache=True, nogil=True)
def group_of(batch: Batch, g: int) -> GroupData:
    """Give one group in the form of the fit."""
    a, b = batch.edge[g], batch.edge[g + 1]
    i, j = batch.first[a], batch.first[b]
    r, s = batch.row[a], batch.row[b]
    shape = b - a, (s - r) // (b - a)
    fit_x, fit_y = batch.fit_size[g, 0], batch.fit_size[g, 1]
    x, y = batch.x[r:s].reshape(shape), batch.y[r:s].reshape(shape)
    return GroupData(
        batch.value[i:j],
        batch.weight[i:j],
        batch.px[i:j],
        batch.py[i:j],
        batch.first[a : b + 1] - i,
        np.where(np.isfinite(y), x, np.nan),
        y,
        batch.jacobian[r:s].reshape((*shape, 2, 2)),
        batch.scale[r:s].reshape(shape),
        batch.prf[r:s].reshape((*shape, batch.prf.shape[1])),
        batch.mix[r:s].reshape((*shape, batch.mix.shape[1])),
        fit_box(x, fit_x),
        fit_box(y, fit_y),
        fit_x,
        fit_y,
    )


@numba.njit(cache=True, nogil=True)
def _members(batch: Batch) -> np.ndarray:
    """First source of each group, and their number."""
    first = np.zeros(batch.edge.size, np.int64)
    for g in range(first.size - 1):
        piece = batch.edge[g]
        first[g + 1] = first[g] + batch.row[piece + 1] - batch.row[piece]
    return first


@numba.njit(cache=True, nogil=True)
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
    start = _members(batch)
    n_groups, n_sources = start.size - 1, start[-1]
    most, most_curves = 0, 0
    for g in range(n_groups):
        size = max(start[g + 1] - start[g], rules.max_n_ps)
        most += size
        most_curves += size * (batch.edge[g + 1] - batch.edge[g]) if how.curves else 0
    rows, whole = empty_rows(most), empty_whole(n_groups)
    extras = Extras(np.empty(n_sources), np.empty(n_sources), np.empty(n_sources), np.empty(n_sources))
    dropped = np.zeros(n_groups, np.int64)
    number, values = np.zeros((4, most_curves), np.int64), np.zeros((most_curves, 7))
    end, end_of_curves = 0, 0
    for g in range(n_groups):
        group, own = group_of(batch, g), slice(start[g], start[g + 1])
        extras.hole[own] = masked_cores(group)
        group = _freed(group, table, known[own], bright[own], how.hole)
        fit, used = solve_without_hits(group, table, rules, how.sigma)
        dropped[g] = group.value.size - used.value.size
        found = finish(start[g + 1] - start[g], fit, table, rules, rows, end, whole, g)
        extras.variance[own] = box_variance(used, how.box)
        extras.scale[own] = mean_of_frames(used.scale)
        extras.central[own] = mean_of_frames(central_of(used, central))
        if how.curves:
            some = slice(end, end + found)
            n = _measure(used, table, rules, rows, some, number[:, end_of_curves:], values[end_of_curves:])
            number[0, end_of_curves : end_of_curves + n] = g
            pieces = number[2, end_of_curves : end_of_curves + n]
            pieces[:] = batch.frame[batch.edge[g] + pieces]
            end_of_curves += n
        end += found
    used_rows = number[:, :end_of_curves]
    curves = Curves(
        used_rows[0].copy(),
        used_rows[1].copy(),
        used_rows[2].copy(),
        used_rows[3].copy(),
        values[:end_of_curves],
    )
    return rows, whole, extras, dropped, curves


@numba.njit(cache=True, nogil=True)
def central_of(group: GroupData, central: np.ndarray) -> np.ndarray:
    """Central value of the PRF of each source in each frame."""
    n_frames, n_sources, n_prf = group.prf.shape
    out = np.zeros((n_frames, n_sources))
    for j in range(n_frames):
        for n in range(n_sources):
            for k in range(n_prf):
                out[j, n] += central[group.prf[j, n, k]] * group.mix[j, n, k]
    return out


@numba.njit(cache=True, nogil=True)
def _freed(group: GroupData, table: Any, known: np.ndarray, bright: np.ndarray, hole: float) -> GroupData:
    """Drop the pixels in the holes of bright sources, and give the group back what was taken off for its sources."""
    if hole > 0.0 and bright.any():
        keep = np.ones(group.value.size, np.bool_)
        for j in range(group.rx.shape[0]):
            for i in range(group.first[j], group.first[j + 1]):
                for n in np.flatnonzero(bright):
                    if math.hypot(group.px[i] - group.rx[j, n], group.py[i] - group.ry[j, n]) < hole:
                        keep[i] = False
        group = with_pixels(group, keep)
    if not np.any(known != 0.0):
        return group
    p = np.zeros(3 * known.size + 1)
    p[2:-1:3] = known
    value = group.value + model_values(group, table, p)
    return with_values(group, value, group.weight, group.px, group.py, group.first)


@numba.njit(cache=True, nogil=True)
def _measure(
    group: GroupData, table: Any, rules: Rules, rows: Rows, own: slice, number: np.ndarray, values: np.ndarray
) -> int:
    """Measure the sources of a group in each frame alone, and fill source, frame, pixels and values; gives how many."""
    chosen = np.flatnonzero(np.isfinite(rows.flux[own]) & (rows.status[own] != _TOO_FEW))
    if not chosen.size:
        return 0
    p = np.zeros(3 * chosen.size + 1)
    for k in range(chosen.size):
        p[3 * k : 3 * k + 2] = rows.place[own][chosen[k]]
        p[3 * k + 2] = rows.flux[own][chosen[k]]
    free = free_of(chosen.size, rules)
    for k in range(chosen.size):
        free[3 * k] = free[3 * k + 1] = False
    some = taken(group, rows.parent[own][chosen])
    flux, variance, chi2, shift, spread = frame_fluxes(some, table, p, free)
    n = 0
    for j in range(flux.shape[0]):
        for k in range(flux.shape[1]):
            if math.isfinite(flux[j, k]):
                number[1, n], number[2, n] = chosen[k], j
                number[3, n] = group.first[j + 1] - group.first[j]
                values[n, 0], values[n, 1], values[n, 2] = flux[j, k], variance[j, k], chi2[j]
                values[n, 3:5], values[n, 5:7] = shift[j, k], spread[j, k]
                n += 1
    return n
