"""Measurements of the sources in single frames: made by the jobs of the fit, each in a file of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pymopex.columns import LIGHTCURVE
from pymopex.fitting import FitSettings, FitStatus, light_curve
from pymopex.frame_errors import frame_factors
from pymopex.kit.files import whole

if TYPE_CHECKING:
    from pymopex.fit_data import GroupData
    from pymopex.kit.fit_blocks import Fitted
    from pymopex.prf import PRFTable

_KINDS = {"int": np.int32, "double": np.float32}

ROW = np.dtype([(c.name, np.float64 if c.name == "mjd" else _KINDS[c.type]) for c in LIGHTCURVE])
"""Type of a row of the table of light curves."""

_KEY = np.dtype([("first", np.int64), ("number", np.int32)])
PART = np.dtype([*_KEY.descr, *ROW.descr])
"""Row of a job: the source is named by the first member of its group, and its number there."""


def curve_rows(
    fitted: Fitted, group: GroupData, table: PRFTable, frames: np.ndarray, settings: FitSettings
) -> np.ndarray:
    """Measure the sources of a group in each frame that holds them.

    Parameters
    ----------
    fitted : Fitted
        The fit of all frames.
    group : GroupData
        Its pixels, freed of all sources that are not in the group.
    table : PRFTable
        The PRFs.
    frames : ndarray of int, shape (F,)
        Numbers of the frames, from 0.
    settings : FitSettings
        Whether a background is fitted, in each frame its own.

    Returns
    -------
    ndarray of PART
        A row for each source and frame with pixels of it; number of the source and date are filled in later.
    """
    chosen = [
        (number, s)
        for number, s in enumerate(fitted.fit.sources)
        if np.isfinite(s.flux) and s.status is not FitStatus.TOO_FEW_PIXELS
    ]
    if not chosen:
        return np.zeros(0, PART)
    u, v, flux = (np.array([getattr(s, name) for _, s in chosen]) for name in ("u", "v", "flux"))
    some = group.take([s.parent for _, s in chosen])
    curve = light_curve(some, table, u, v, flux=flux, background=settings.background)
    frame, source = np.nonzero(np.isfinite(curve.flux))
    rows = np.zeros(len(frame), PART)
    rows["first"] = fitted.members[0]
    rows["number"] = np.array([number for number, _ in chosen])[source]
    rows["frame"] = frames[frame] + 1
    rows["flux"], rows["delta_flux"] = curve.flux[frame, source], np.sqrt(curve.variance[frame, source])
    rows["chi2"], rows["n_pixels"] = curve.chi2[frame], curve.n_pixels[frame]
    for axis, name in enumerate(("dx", "dy")):
        rows[name] = curve.shift[frame, source, axis]
        rows[f"delta_{name}"] = np.sqrt(curve.shift_variance[frame, source, axis])
    return rows


def with_factors(fitted: Fitted, rows: np.ndarray, expected: float | None) -> Fitted:
    """Give the fit with the factors of its variances that its rows of single frames tell.

    Parameters
    ----------
    fitted : Fitted
        The fit of a group in all frames.
    rows : ndarray of PART
        From `curve_rows`.
    expected : float or None
        Factor of frames that scatter as they should; 0: chi2/dof of the fit; None: the fit stays as it is.
    """
    if expected is None:
        return fitted
    factors = np.full((len(fitted.fit.sources), 2), expected or fitted.fit.chi2_dof)
    for number in range(len(factors)):
        own = rows[rows["number"] == number]
        shifts = [np.column_stack([own[f"{kind}{axis}"] for axis in ("dx", "dy")]) for kind in ("", "delta_")]
        fluxes = own["flux"].astype(float), own["delta_flux"].astype(float)
        factors[number] = frame_factors(fluxes, (shifts[0], shifts[1]), factors[number, 0])
    return replace(fitted, factors=factors)


def save_rows(path: str, rows: list[np.ndarray]) -> None:
    """Write the rows of a job, whole or not at all."""
    with whole(path) as temporary, open(temporary, "wb") as file:
        np.save(file, np.concatenate(rows) if rows else np.zeros(0, PART))
