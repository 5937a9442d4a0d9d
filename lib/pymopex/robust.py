"""PRF fit that drops the pixels of hits which no mask holds."""

from __future__ import annotations

import numpy as np

from pymopex.batches import Batch, batch_of
from pymopex.fit_data import GroupData
from pymopex.fit_results import FitSettings, GroupFit
from pymopex.fit_solving import Fits, Rules, copied, empty_fits, rules_of, solve, take_over
from pymopex.fitting import check_prf, results
from pymopex.hit_kernels import CHANGED, TOO_MANY, judge_groups
from pymopex.prf import PRFTable

_FEWEST_FRAMES = 3  # that a group needs before single pixels are dropped
_ROUNDS = 4  # fits without pixels
_WEIGHTED = 4  # fits with falling weights before that


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
    rules, batch = rules_of(settings), batch_of(group)
    check_prf(group.prf, table)
    fits, weight = solve_without_hits(batch, table, rules, float(sigma))
    fit = results(batch, weight, table, fits, rules)[0]
    used = group.where(weight > 0)
    return fit, used, group.value.size - used.value.size


def solve_without_hits(batch: Batch, table: PRFTable, rules: Rules, sigma: float) -> tuple[Fits, np.ndarray]:
    """Fit all groups of a batch as `fit_without_hits` does one; gives also the weights, 0 for dropped pixels."""
    fits, groups = empty_fits(batch, rules), np.arange(batch.sizes.size)
    solve(batch, batch.weight, table, groups, fits, rules)
    open_ = groups[(np.diff(batch.edge) >= _FEWEST_FRAMES) & _usable(fits, groups)]
    if sigma == 0.0 or not open_.size:
        return fits, batch.weight
    first, keep, weight = copied(fits), batch.weight > 0, batch.weight.copy()
    weighted = open_
    for number in range(_WEIGHTED):
        state = judge_groups(batch, table, weighted, fits, sigma, keep, weight, True)
        weighted = weighted[state == CHANGED]
        if number == 0:  # the others have no pixel that is farther off than the limit
            open_ = weighted
        solve(batch, weight, table, weighted, fits, rules)
        weighted = weighted[_usable(fits, weighted)]
    for _ in range(_ROUNDS if open_.size else 0):
        state = np.full(open_.size, TOO_MANY)
        usable = _usable(fits, open_)
        state[usable] = judge_groups(batch, table, open_[usable], fits, sigma, keep, weight, False)
        _give_up(batch, open_[state == TOO_MANY], keep)
        open_ = open_[state == CHANGED]
        weight = np.where(keep, batch.weight, 0.0)
        solve(batch, weight, table, open_, fits, rules)
    lost = np.add.reduceat((batch.weight > 0) & ~keep, batch.first[batch.edge[:-1]]) > 0
    take_over(fits, first, groups[~lost])
    return fits, np.where(keep, batch.weight, 0.0)


def _usable(fits: Fits, groups: np.ndarray) -> np.ndarray:
    """Tell for which groups there is a minimum at all."""
    finite = np.logical_and.reduceat(np.isfinite(fits.p), 3 * fits.first[:-1] + np.arange(fits.n.size))
    return (fits.n > 0)[groups] & np.isfinite(fits.chi2[groups]) & finite[groups]


def _give_up(batch: Batch, groups: np.ndarray, keep: np.ndarray) -> None:
    """Take all pixels of some groups back."""
    for g in groups:
        own = slice(batch.first[batch.edge[g]], batch.first[batch.edge[g + 1]])
        keep[own] = batch.weight[own] > 0
