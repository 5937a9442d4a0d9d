"""Signal-to-noise ratios of fitted sources."""

from __future__ import annotations

import math

import numpy as np


def snr_box(fwhm: float) -> int:
    """Side of the noise box: the FWHM of the PRF rounded up to an odd number of pixels.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum [pixel].

    Returns
    -------
    int
        Side of the box.

    Raises
    ------
    ValueError
        A width that is not positive.

    Notes
    -----
    The reference says "about the core of the PRF"; this rule is ours.
    """
    if not fwhm > 0:
        raise ValueError(f"FWHM must be positive, not {fwhm}")
    side = math.ceil(fwhm)
    return side + 1 - side % 2


def fit_snr(
    recipe: int,
    flux: float,
    sigma: np.ndarray,
    *,
    noise_pixels: float = 1.0,
    gain: float = 1.0,
    coverage: float = 1.0,
) -> float:
    """Signal-to-noise ratio of a fitted source.

    Parameters
    ----------
    recipe : {0, 1, 2}
        0: flux / (N_P sigma of the central pixel), with background noise (Gaussnoise).
        1: flux / sqrt(sum of sigma^2 in the box), with data uncertainties.
        2: as 1 with background noise, the photon noise of the source added: flux / (gain coverage).
    flux : float
        Flux in the unit of the image: microjansky times image unit per microjansky.
    sigma : ndarray, shape (n, n), n odd
        1-sigma noise round the pixel nearest to the source [image unit], NaN = no data.
    noise_pixels : float
        N_P, 1 / central value of the normalised PRF, for recipe 0.
    gain : float
        Electrons per image unit of a single image, for recipe 2.
    coverage : float
        Number of images at the source, for recipe 2.

    Returns
    -------
    float
        The ratio, with the sign of the flux; NaN if there is no noise value, or no gain or coverage where it is needed.

    Raises
    ------
    ValueError
        Unknown recipe, or a box without a central pixel.

    Notes
    -----
    Pixels without data get the mean variance of the others, so that the box keeps its size.

    References
    ----------
    MOPEX User's Guide, section 8.9 (Use_Photerr_for_SNR).
    """
    if recipe not in (0, 1, 2):
        raise ValueError(f"recipe must be 0, 1 or 2, not {recipe}")
    if sigma.ndim != 2 or sigma.shape[0] % 2 == 0 or sigma.shape[1] % 2 == 0:
        raise ValueError(f"sigma must be a box of odd size, not of shape {sigma.shape}")
    if recipe == 0:
        noise = noise_pixels * float(sigma[sigma.shape[0] // 2, sigma.shape[1] // 2])
        return flux / noise if noise > 0 else math.nan
    known = sigma[np.isfinite(sigma)].astype(float)
    if known.size == 0:
        return math.nan
    variance = float(np.mean(known**2)) * sigma.size
    if recipe == 2:
        if not gain * coverage > 0:
            return math.nan
        variance += max(flux, 0.0) / (gain * coverage)
    return flux / math.sqrt(variance) if variance > 0 else math.nan
