"""Uncertainties of a fit of many frames from how its single frames scatter.

References
----------
Rosenfeld et al. 1975, Rev. Mod. Phys. 47, 535: the scale factor of a weighted mean whose values scatter by more than
their errors say.
"""

from __future__ import annotations

import numpy as np

from pymopex.order_statistics import ROBUST, median

_PRIOR = 4.0  # degrees of freedom that the stated uncertainties weigh
_CLIP = 4.0  # robust sigma: deviations beyond it, of frames with a hit, count as this much
_FEW = 3  # values below which nothing is clipped


def scatter_ratio(deviation: np.ndarray, expected: float, n_free: int = 1) -> float:
    """Give the variance of normalised deviations, weighed with what is expected.

    Parameters
    ----------
    deviation : ndarray, shape (n,)
        Deviations of single frames from their mean over their uncertainties; NaN is left out.
    expected : float
        Variance that they have if the uncertainties are right, or chi2/dof of the fit.
    n_free : int
        Degrees of freedom that the mean took.

    Returns
    -------
    float
        Factor for the variance of the fit; `expected` where there is no scatter to measure.

    Notes
    -----
    From a few frames the scatter is uncertain itself: the expected variance counts as four degrees of freedom.
    Deviations beyond four robust sigma, of frames with a hit, count as that.
    """
    values = deviation[np.isfinite(deviation)]
    dof = values.size - n_free
    if dof < 1:
        return expected
    if values.size > _FEW:
        limit = _CLIP * ROBUST * median(np.abs(values))
        values = np.clip(values, -limit, limit)
    return float((_PRIOR * expected + (values**2).sum()) / (_PRIOR + dof))


def frame_factors(
    flux: tuple[np.ndarray, np.ndarray], shifts: tuple[np.ndarray, np.ndarray], expected: float
) -> tuple[float, float]:
    """Factors for the variances of the position and of the flux of one source.

    Parameters
    ----------
    flux : tuple of ndarray, shape (n,)
        Fluxes in single frames, and their uncertainties.
    shifts : tuple of ndarray, shape (n, 2)
        Shifts of the source in single frames from its place, and their uncertainties.
    expected : float
        Factor without frames that tell.

    Returns
    -------
    position, flux : float
    """
    value, error = flux
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = np.where(error > 0, 1 / error**2, 0.0)
        mean = (weight * np.nan_to_num(value)).sum() / weight.sum() if weight.any() else np.nan
        deviation = (value - mean) / error
        step = shifts[0] / shifts[1]
    return scatter_ratio(step.ravel(), expected, 2), scatter_ratio(deviation, expected)
