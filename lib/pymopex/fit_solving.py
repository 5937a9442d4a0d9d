"""Minimum of chi2 of the groups of a batch, and active deblending."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from pymopex.batches import Batch, Group, group_of
from pymopex.fit_minimum import SINGULAR, Search, minimise
from pymopex.fit_results import FitSettings
from pymopex.group_kernels import in_box, pixels_of, pixels_per_arcsec
from pymopex.jit import entry, inner, leaf


class Rules(NamedTuple):
    """Settings of a fit for compiled code (see `FitSettings`): NaN stands for None."""

    background: bool
    max_n_ps: int
    chi_threshold: float
    chi2_improvement: float
    max_iterations: int
    ftol: float
    fixed_positions: bool
    max_step: float
    max_shift: float
    bias_noise: float
    bias_scaled: bool


def rules_of(settings: FitSettings) -> Rules:
    """Give the settings in the form that compiled code takes."""
    return Rules(
        bool(settings.background),
        int(settings.max_n_ps),
        float(settings.chi_threshold),
        float(settings.chi2_improvement),
        int(settings.max_iterations),
        float(settings.ftol),
        bool(settings.fixed_positions),
        float(settings.max_step),
        math.nan if settings.max_shift is None else float(settings.max_shift),
        math.nan if settings.bias_noise is None else float(settings.bias_noise),
        bool(settings.bias_scaled),
    )


class Fits(NamedTuple):
    """The fits of the groups of a batch, which each step changes in place.

    Parameters
    ----------
    first : ndarray of int, shape (G + 1,)
        First row of each group; it has one for each source that it may get.
    square : ndarray of int, shape (G + 1,)
        Where the normal matrix of each begins.
    start : ndarray, shape (rows, 2)
        Offsets (u, v) that the sources of the group start from [arcsec].
    n, added : ndarray of int, shape (G,)
        Sources that are fitted, 0 if none has enough pixels, and how many of them, the last, came from active
        deblending.
    which : ndarray of int, shape (rows,)
        Number in the group of each that is fitted; that of its neighbour for an added one.
    origin : ndarray, shape (rows, 2)
        Offsets from which their shift is limited.
    at_bound : ndarray of bool, shape (rows,)
        Whether they end there.
    p : ndarray, shape (3 rows + G,)
        Parameters of the groups behind each other.
    matrix : ndarray
        Normal matrices there, row after row.
    chi2, dof, iterations, ended : ndarray, shape (G,)
        What came out, and how.
    bias : ndarray, shape (rows,)
        Biases of the fluxes [microjansky], if they are worked out.
    """

    first: np.ndarray
    square: np.ndarray
    start: np.ndarray
    n: np.ndarray
    added: np.ndarray
    which: np.ndarray
    origin: np.ndarray
    at_bound: np.ndarray
    p: np.ndarray
    matrix: np.ndarray
    chi2: np.ndarray
    dof: np.ndarray
    iterations: np.ndarray
    ended: np.ndarray
    bias: np.ndarray


def empty_fits(batch: Batch, rules: Rules, start: np.ndarray | None = None) -> Fits:
    """Make room for the fits of a batch; `start`, shape (sources, 2), are the offsets to start from, None for 0."""
    sizes = batch.sizes
    room = np.maximum(sizes, rules.max_n_ps)
    first, square = (np.concatenate([[0], np.cumsum(n)]) for n in (room, (3 * room + 1) ** 2))
    rows, groups = int(first[-1]), sizes.size
    begin = np.zeros((rows, 2))
    if start is not None:
        begin[np.repeat(first[:-1] - np.cumsum(sizes) + sizes, sizes) + np.arange(len(start))] = start
    n, added, dof, iterations, ended = np.zeros((5, groups), np.int64)
    return Fits(
        first,
        square,
        begin,
        n,
        added,
        np.zeros(rows, np.int64),
        np.zeros((rows, 2)),
        np.zeros(rows, bool),
        np.zeros(3 * rows + groups),
        np.zeros(int(square[-1])),
        np.full(groups, np.nan),
        dof,
        iterations,
        ended,
        np.zeros(rows),
    )


def copied(fits: Fits) -> Fits:
    """Give a copy."""
    return Fits(*(column.copy() for column in fits))


def take_over(fits: Fits, other: Fits, groups: np.ndarray) -> None:
    """Take the fits of some groups from others."""
    if not groups.size:
        return
    chosen = np.zeros(fits.n.size, bool)
    chosen[groups] = True
    rows = np.repeat(chosen, np.diff(fits.first))
    parameters = np.repeat(chosen, 3 * np.diff(fits.first) + 1)
    squares = np.repeat(chosen, np.diff(fits.square))
    for name in ("n", "added", "chi2", "dof", "iterations", "ended"):
        getattr(fits, name)[chosen] = getattr(other, name)[chosen]
    for name in ("which", "origin", "at_bound", "bias"):
        getattr(fits, name)[rows] = getattr(other, name)[rows]
    fits.p[parameters], fits.matrix[squares] = other.p[parameters], other.matrix[squares]


def chi2_dof(fits: Fits, groups: np.ndarray) -> np.ndarray:
    """Give the reduced chi2 of some groups, NaN without degrees of freedom."""
    dof = fits.dof[groups]
    return np.where(dof > 0, fits.chi2[groups] / np.maximum(dof, 1), np.nan)


def solve(batch: Batch, weight: np.ndarray, table: Any, groups: np.ndarray, fits: Fits, rules: Rules) -> None:
    """Minimise chi2 of some groups, as `pymopex.fitting.fit_group` does.

    Parameters
    ----------
    batch : Batch
        The groups.
    weight : ndarray, shape (n_pixels,)
        Weights of the pixels, 0 for one that does not count.
    table : PRFTable
        PRFs.
    groups : ndarray of int
        Which groups.
    fits : Fits
        What is found.
    rules : Rules
        Settings.
    """
    minimise_groups(batch, weight, table, groups, fits, rules, True)
    while rules.max_n_ps > 1 and not rules.fixed_positions:
        from pymopex.fit_adding import add_sources

        again = (fits.n[groups] > 0) & (fits.n[groups] < rules.max_n_ps) & (fits.ended[groups] != SINGULAR)
        groups = groups[again & (chi2_dof(fits, groups) >= rules.chi_threshold)]
        if not groups.size:
            return
        trial = copied(fits)
        groups = groups[add_sources(batch, weight, table, groups, trial)]
        minimise_groups(batch, weight, table, groups, trial, rules, False)
        worse = chi2_dof(fits, groups) - chi2_dof(trial, groups) < rules.chi2_improvement
        groups = groups[~worse & (trial.ended[groups] != SINGULAR)]
        take_over(fits, trial, groups)


@entry
def minimise_groups(
    batch: Batch, weight: np.ndarray, table: Any, groups: np.ndarray, fits: Fits, rules: Rules, anew: bool
) -> None:
    """Minimise chi2 of some groups, either `anew` with their sources that have enough pixels, or with those in `fits`.

    Parameters as of `solve`.
    """
    for k in range(groups.size):
        g = groups[k]
        a, b = fits.first[g], fits.first[g + 1]
        p = fits.p[3 * a + g : 3 * b + g + 1]
        if anew:
            _begin(group_of(batch, weight, g, fits.which[a:b]), g, batch.sizes[g], p, fits, rules)
        n = fits.n[g]
        if n == 0:
            fits.chi2[g], fits.iterations[g], fits.ended[g] = np.nan, 0, SINGULAR
            continue
        m = 3 * n + 1
        group, free = group_of(batch, weight, g, fits.which[a : a + n]), free_of(n, rules)
        p[m - 1] = 0.0
        shift = rules.max_shift if rules.max_shift > 0.0 else max(group.fit_x, group.fit_y) / 2
        max_step, max_shift = np.empty(n), np.empty(n)
        for i in range(n):
            scale = pixels_per_arcsec(group, i)
            max_step[i], max_shift[i] = rules.max_step / scale, shift / scale
        search = Search(fits.origin[a : a + n], max_step, max_shift, rules.max_iterations, rules.ftol)
        matrix = np.empty((m, m))
        fits.chi2[g], fits.iterations[g], fits.ended[g] = minimise(
            group, table, p[:m], free, search, matrix, fits.at_bound[a : a + n]
        )
        fits.dof[g] = pixels_of(group, np.int64(0), group.row.size)
        for i in range(m):
            fits.dof[g] -= free[i]
        for i in range(m):
            for j in range(m):
                fits.matrix[fits.square[g] + i * m + j] = matrix[i, j]


@leaf
def _begin(group: Group, g: int, size: int, p: np.ndarray, fits: Fits, rules: Rules) -> None:
    """Begin with those of the sources of a group that have enough pixels in their boxes, at their start."""
    first, n = fits.first[g], 0
    least = 1 if rules.fixed_positions else 3
    for source in range(size):
        count = 0
        for j in range(group.row.size):
            x0, y0 = group.box_x[group.row[j] + source], group.box_y[group.row[j] + source]
            for i in range(group.first[j], group.first[j + 1]):
                inside = in_box(group.px[i] - x0, group.py[i] - y0, group.fit_x, group.fit_y)
                count += inside & (group.weight[i] > 0.0)
        if count >= least:
            fits.which[first + n] = source
            for axis in range(2):
                p[3 * n + axis] = fits.origin[first + n, axis] = fits.start[first + source, axis]
            n += 1
    fits.n[g], fits.added[g] = n, 0


@inner
def free_of(n: int, rules: Rules) -> np.ndarray:
    """Tell which parameters of n sources are fitted."""
    free = np.ones(3 * n + 1, np.bool_)
    if rules.fixed_positions:
        for i in range(n):
            free[3 * i] = free[3 * i + 1] = False
    free[3 * n] = rules.background
    return free


@inner
def normal_matrix(fits: Fits, g: int) -> np.ndarray:
    """Give the normal matrix of the fit of a group."""
    m = 3 * fits.n[g] + 1
    matrix = np.empty((m, m))
    for i in range(m):
        for j in range(m):
            matrix[i, j] = fits.matrix[fits.square[g] + i * m + j]
    return matrix
