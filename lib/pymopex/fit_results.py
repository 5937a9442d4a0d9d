"""What the PRF fit is told and what it answers: settings, results, status codes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum, StrEnum

import numpy as np


class FitStatus(IntEnum):
    """How the fit of a source ended."""

    SUCCESS = 1
    CHI2_ABOVE_THRESHOLD = 2
    NOT_CONVERGED = 3
    TOO_FEW_PIXELS = 4
    SINGULAR = 5
    FLUX_NOT_POSITIVE = 6
    AT_BOUND = 7

    @property
    def legacy(self) -> int:
        """Status of the tables: 1 success, 2 a fit that converged with chi2/dof above the threshold, 0 failed.

        Legacy tables had 0 for the latter; a bright star with an imperfect PRF is one, and its flux is of use.
        """
        return int(self) if self in (FitStatus.SUCCESS, FitStatus.CHI2_ABOVE_THRESHOLD) else 0

    @property
    def meaning(self) -> str:
        """One line for the manual."""
        return _MEANINGS[self]


_MEANINGS = {
    FitStatus.SUCCESS: "successful fit",
    FitStatus.CHI2_ABOVE_THRESHOLD: "chi2/dof of the group is above the threshold",
    FitStatus.NOT_CONVERGED: "the iterations ran out",
    FitStatus.TOO_FEW_PIXELS: "not enough good pixels in the fit box",
    FitStatus.SINGULAR: "the pixels do not determine the parameters",
    FitStatus.FLUX_NOT_POSITIVE: "the flux of a source of free position is zero or negative",
    FitStatus.AT_BOUND: "the position ran to the limit of its shift",
}


class Deblend(StrEnum):
    """Letters of the deblend column; they can be combined."""

    NONE = "N"
    PASSIVE = "P"
    ACTIVE = "A"
    CAPPED = "C"
    OUTSIDE = "O"
    SATURATED = "S"

    @property
    def meaning(self) -> str:
        """One line for the manual."""
        return _LETTERS[self]


_LETTERS = {
    Deblend.NONE: "fitted alone",
    Deblend.PASSIVE: "fitted together with other detections",
    Deblend.ACTIVE: "the fit, or the search of its residuals, added at least one source to the group",
    Deblend.CAPPED: "chi2/dof is still too high with the largest number of sources allowed",
    Deblend.OUTSIDE: "moved farther than the largest shift allowed from the position in the user's list",
    Deblend.SATURATED: "the core is masked, as that of a saturated star: the fit is one of the wings",
}


@dataclass(frozen=True)
class FitSettings:
    """Settings of the PRF fit.

    Parameters
    ----------
    background : bool
        Fit a constant background, one for all frames.
    max_n_ps : int
        Most sources in a group that active deblending may reach; 1 switches it off.
    chi_threshold : float
        A fit with chi2/dof below this is successful.
    chi2_improvement : float
        Decrease of chi2/dof that a further source must bring.
    max_iterations : int
        Most iterations of the minimisation.
    ftol : float
        Relative change of chi2 at which it has converged; the gain still expected is a hundredth of it.
    fixed_positions : bool
        Fit fluxes (and the background) only.
    max_step : float
        Longest step of a position in one iteration [pixel].
    max_shift : float or None
        Farthest a position may go from its start [pixel]; None for half the longer side of the fit box.
    bias_noise : float or None
        Variance of the noise over that of the sigmas, with which the biases of the fluxes are worked out; None: they
        are not.
    bias_scaled : bool
        Times chi2/dof, whatever it is; else only where it is below 1, since an error of the PRF is no noise.

    Raises
    ------
    ValueError
        A number is outside its range.
    """

    background: bool = False
    max_n_ps: int = 1
    chi_threshold: float = 3.0
    chi2_improvement: float = 1.0
    max_iterations: int = 100
    ftol: float = 1e-6
    fixed_positions: bool = False
    max_step: float = 0.5
    max_shift: float | None = None
    bias_noise: float | None = None
    bias_scaled: bool = False

    def __post_init__(self) -> None:
        for name in ("max_n_ps", "max_iterations"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be 1 or more, not {getattr(self, name)}")
        for name in ("chi_threshold", "ftol", "max_step", "max_shift"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name} must be positive, not {value}")


@dataclass(frozen=True, eq=False)
class SourceFit:
    """Result for one source.

    Parameters
    ----------
    u, v : float
        Offset from the start position of source `parent`, to the east and to the north [arcsec].
    flux : float
        Flux [microjansky].
    covariance : ndarray, shape (3, 3)
        Covariance of (u, v, flux), all parameters of the group marginalised; 0 for what was not fitted, NaN
        if singular.
    ps_chi2_dof : float
        chi2/dof of the pixels in the source's own fit boxes; NaN without degrees of freedom.
    n_pixels, n_frames : int
        Good pixels in these boxes, and frames that have some.
    status : FitStatus
        How the fit ended.
    parent : int
        Number of the source in the input group; an added source has that of the source beside which it was
        found.
    added : bool
        Whether active deblending added the source.
    flux_bias : float
        By how much the flux is too high in the mean [microjansky] (see `pymopex.fit_bias`); 0 where it was not asked
        for, the position was not fitted or is at its bound, or the fit did not converge.
    """

    u: float
    v: float
    flux: float
    covariance: np.ndarray
    ps_chi2_dof: float
    n_pixels: int
    n_frames: int
    status: FitStatus
    parent: int
    added: bool
    flux_bias: float = 0.0


@dataclass(frozen=True, eq=False)
class GroupFit:
    """Result for a group.

    Parameters
    ----------
    sources : tuple of SourceFit
        The sources of the input, in its order, then the added ones.
    chi2 : float
        chi2 of all pixels; NaN if nothing was fitted.
    dof : int
        Good pixels minus fitted parameters.
    background, background_variance : float
        Background and its variance [image unit, squared]; 0 if not fitted.
    iterations : int
        Iterations of the last minimisation.
    n_ps : int
        Sources fitted together.
    capped : bool
        Whether chi2/dof is too high although the largest number of sources is reached.
    """

    sources: tuple[SourceFit, ...]
    chi2: float
    dof: int
    background: float
    background_variance: float
    iterations: int
    n_ps: int
    capped: bool

    @property
    def chi2_dof(self) -> float:
        """Give chi2/dof; NaN without degrees of freedom."""
        return self.chi2 / self.dof if self.dof > 0 else math.nan
