"""The job of the PRF fit: a block of sources, in all frames that hold them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pymopex.fit_data import GroupData
from pymopex.fitting import GroupFit
from pymopex.group_kernels import box_variance, masked_cores, mean_of_frames
from pymopex.kit.fit_frames import FitJob, Gathered, gather_groups
from pymopex.kit.prfs import load_table
from pymopex.robust import fit_without_hits

if TYPE_CHECKING:
    from pymopex.prf import PRFTable


@dataclass(frozen=True)
class Fitted:
    """The fit of one group and what its rows need besides.

    These are the noise in the box, the mean scale, the central PRF value, and the radius of the masked core of each
    member [pixel], 0 for a core that is not masked. `factors` are those of the variances of the position and of the
    flux of each source of the fit, if single frames tell them.
    """

    members: np.ndarray
    fit: GroupFit
    box_variance: np.ndarray
    scale: np.ndarray
    central: np.ndarray
    dropped: int
    hole: np.ndarray
    factors: np.ndarray | None = None


def fit_block(job: FitJob) -> list[Fitted]:
    """Fit the groups of a block.

    Notes
    -----
    With known fluxes (from an earlier pass) every frame is freed of all sources first, and each group gets its own
    model back: so the wings of neighbours that are not in the group do not enter its fit.
    """
    from pymopex.kit.light_curves import curve_rows, save_rows, with_factors

    table, _, central = load_table(job.table)
    found, curves = [], []
    for gathered in gather_groups(job):
        fitted, group = _fit(job, gathered, table, central)
        if job.curves or job.frame_errors is not None:
            rows = curve_rows(fitted, group, table, gathered.frames, job.settings)
            fitted = with_factors(fitted, rows, job.frame_errors)
            if job.curves:
                curves.append(rows)
        found.append(fitted)
    if job.curves:
        save_rows(job.curves, curves)
    return found


def _fit(job: FitJob, gathered: Gathered, table: PRFTable, central: np.ndarray) -> tuple[Fitted, GroupData]:
    """Fit a group; gives the pixels that were used, too."""
    from pymopex.fit_kernels import model_values

    members, group = gathered.members, gathered.group
    masked = masked_cores(group)
    if job.bright is not None and job.hole > 0:
        group = _without_cores(group, job.bright[members], job.hole)
    known = job.flux[members]
    if np.any(known != 0):
        own = np.append(np.column_stack([0 * known, 0 * known, known]).ravel(), 0.0)
        group = group._replace(value=group.value + model_values(group, table, own))
    fit, group, dropped = fit_without_hits(group, table, job.settings, job.robust)
    variance = box_variance(group, job.snr_box)
    middle = mean_of_frames((central[group.prf] * group.mix).sum(axis=-1))
    return Fitted(members, fit, variance, mean_of_frames(group.scale), middle, dropped, masked), group


def _without_cores(group: GroupData, bright: np.ndarray, hole: float) -> GroupData:
    """Drop the pixels near some of the sources."""
    frame = np.repeat(np.arange(group.n_frames), np.diff(group.first))
    keep = np.ones(group.value.size, bool)
    for n in np.flatnonzero(bright):
        keep &= ~(np.hypot(group.px - group.rx[frame, n], group.py - group.ry[frame, n]) < hole)
    return group.where(keep)
