"""PRF fit that drops the pixels of hits which no mask holds."""

from __future__ import annotations

from pymopex.fit_data import GroupData
from pymopex.fit_results import FitSettings, GroupFit
from pymopex.fit_solving import rules_of, solve_without_hits
from pymopex.fitting import check_prf, group_fit
from pymopex.prf import PRFTable


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
    rules = rules_of(settings)
    check_prf(group.prf, table)
    best, used = solve_without_hits(group, table, rules, float(sigma))
    fit = group_fit(group.n_sources, best, table, rules)
    return fit, used, group.value.size - used.value.size
