"""The job of the PRF fit: a block of sources, in all frames that hold them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymopex.batches import Batch
from pymopex.fit_solving import rules_of
from pymopex.fitting import GroupFit, check_prf, group_fits
from pymopex.group_batches import Curves, How, fit_batch
from pymopex.kit.fit_frames import FitJob, gather_batch
from pymopex.kit.prfs import load_table


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

    gathered = gather_batch(job)
    found: list[Fitted] = []
    curves: list[np.ndarray] = []
    if gathered is not None:
        found, measured = _fit(job, *gathered)
        if job.curves or job.frame_errors is not None:
            curves = curve_rows([fitted.members for fitted in found], measured)
            found = [
                with_factors(fitted, rows, job.frame_errors)
                for fitted, rows in zip(found, curves, strict=True)
            ]
    if job.curves:
        save_rows(job.curves, curves)
    return found


def _fit(job: FitJob, members: list[np.ndarray], batch: Batch) -> tuple[list[Fitted], Curves]:
    """Fit the groups of a batch, and measure their sources in single frames if that is wanted."""
    table, _, central = load_table(job.table)
    check_prf(batch.prf, table)
    flat = np.concatenate(members)
    bright = np.zeros(flat.size, bool) if job.bright is None else job.bright[flat]
    how = How(
        float(job.robust), float(job.hole), int(job.snr_box), bool(job.curves) or job.frame_errors is not None
    )
    known = np.ascontiguousarray(job.flux[flat], dtype=float)
    rows, whole, extras, dropped, curves = fit_batch(
        batch, table, central, known, bright, rules_of(job.settings), how
    )
    edges = np.cumsum([len(part) for part in members])[:-1]
    parts = zip(*(np.split(column, edges) for column in extras), strict=True)
    found = [
        Fitted(some, fit, variance, scale, middle, lost, hole)
        for some, fit, (variance, scale, middle, hole), lost in zip(
            members, group_fits(rows, whole), parts, dropped.tolist(), strict=True
        )
    ]
    return found, curves
