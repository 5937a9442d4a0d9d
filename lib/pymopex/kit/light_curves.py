"""Measurements of the sources in single frames: made by the jobs of the fit, each in a file of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from pymopex.columns import LIGHTCURVE
from pymopex.frame_errors import frame_factors
from pymopex.kit.files import whole

if TYPE_CHECKING:
    from pymopex.group_batches import Curves
    from pymopex.kit.fit_blocks import Fitted

_KINDS = {"int": np.int32, "double": np.float32}

ROW = np.dtype([(c.name, np.float64 if c.name == "mjd" else _KINDS[c.type]) for c in LIGHTCURVE])
"""Type of a row of the table of light curves."""

_KEY = np.dtype([("first", np.int64), ("number", np.int32)])
PART = np.dtype([*_KEY.descr, *ROW.descr])
"""Row of a job: the source is named by the first member of its group, and its number there."""


def curve_rows(members: list[np.ndarray], curves: Curves) -> list[np.ndarray]:
    """Give the measurements of the sources of some groups in each frame that holds them.

    Parameters
    ----------
    members : list of ndarray
        Sources of each group.
    curves : Curves
        What the fit measured; frames from 0.

    Returns
    -------
    list of ndarray of PART
        For each group a row for each source and frame with pixels of it; number of the source and date are filled in
        later.
    """
    rows = np.zeros(len(curves.frame), PART)
    rows["first"] = np.array([part[0] for part in members])[curves.group]
    rows["number"], rows["frame"], rows["n_pixels"] = curves.number, curves.frame + 1, curves.n_pixels
    errors = np.sqrt(curves.values[:, [1, 5, 6]])
    for name, values in zip(("flux", "chi2", "dx", "dy"), curves.values[:, [0, 2, 3, 4]].T, strict=True):
        rows[name] = values
    for name, values in zip(("delta_flux", "delta_dx", "delta_dy"), errors.T, strict=True):
        rows[name] = values
    return np.split(rows, np.searchsorted(curves.group, np.arange(1, len(members))))


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
