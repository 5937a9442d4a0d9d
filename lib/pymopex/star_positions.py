"""Positions of point sources in single frames, without a PRF: for the pointing, not for photometry."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pymopex.background import MedianWindow, background
from pymopex.noise import faint_side_noise

_FWHM = 2.3548  # full width at half maximum of a Gaussian over its standard deviation
_ROUNDS = 25
_CLOSE = 1e-4  # pixel; a step below it ends the fit
_PARAMETERS = 5  # x, y, peak, background, width


@dataclass(frozen=True)
class StarParams:
    """What is a star.

    Parameters
    ----------
    fwhm : float
        Full width at half maximum of a point source [pixel].
    snr : float
        Least peak over noise, after smoothing with a Gaussian of that width.
    half : int
        Pixels from the middle of the fitted box to its side.
    width_range : (float, float)
        Least and largest fitted width over `fwhm`: narrower are hits, broader are galaxies and blends.
    window : int
        Side of the window of the background [pixel].
    """

    fwhm: float = 1.5
    snr: float = 10.0
    half: int = 3
    width_range: tuple[float, float] = (0.5, 2.0)
    window: int = 25

    def __post_init__(self) -> None:
        if self.fwhm <= 0 or self.snr <= 0 or self.half < 1 or self.window < 3:
            raise ValueError("fwhm, snr, half and window must be positive")
        if not 0 < self.width_range[0] < self.width_range[1]:
            raise ValueError(f"width_range = {self.width_range} is no range")


@dataclass(frozen=True, eq=False)
class Stars:
    """Stars of a frame, 1-D arrays: 0-based pixels, their 1-sigma uncertainty [pixel], and peak over noise."""

    x: np.ndarray
    y: np.ndarray
    error: np.ndarray
    snr: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def find_stars(image: np.ndarray, sigma: np.ndarray | None, bad: np.ndarray, how: StarParams) -> Stars:
    """Find the stars of a frame.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        The frame, in any unit.
    sigma : ndarray, shape (ny, nx), or None
        1-sigma uncertainty; measured if it is None.
    bad : ndarray of bool, shape (ny, nx)
        Pixels not to be used. Stars with a bad pixel next to their peak are left out.
    how : StarParams
        Widths and thresholds.

    Returns
    -------
    Stars
        Brightest first.

    Notes
    -----
    A Gaussian integrated over the pixels is fitted, with position, peak, background and width free. On PRFs as sharp
    as those of IRAC it is wrong by some hundredths of a pixel that depend on where in the pixel the star is; these
    errors are as good as random between the frames.
    """
    bad = bad | ~np.isfinite(image)
    minus = np.where(bad, 0.0, image - background(image, bad, MedianWindow(how.window, how.window, 0)))
    noise = faint_side_noise(minus.astype("f4"), bad)
    if sigma is not None:
        noise = np.where(np.isfinite(sigma) & (sigma > 0), sigma, noise)
    y, x, snr = _peaks(minus, noise, bad, how)
    if not x.size:
        return Stars(*(np.zeros(0) for _ in range(4)))
    cut, weight = _boxes(minus, noise, bad, x, y, how.half)
    found, error, sound = _fit(cut, weight, how)
    low, high = (limit * how.fwhm / _FWHM for limit in how.width_range)
    kept = sound & (found[:, 2] > 0) & (found[:, 4] > low) & (found[:, 4] < high)
    kept &= (np.abs(found[:, :2]) < 1.0).all(axis=1)
    return Stars(x[kept] + found[kept, 0], y[kept] + found[kept, 1], error[kept], snr[kept])


def _peaks(minus, noise, bad, how):
    """Local maxima of the smoothed frame above the threshold, brightest first."""
    from scipy.ndimage import binary_dilation, gaussian_filter, maximum_filter

    width = how.fwhm / _FWHM
    smooth = gaussian_filter(minus, width, mode="constant")
    quieter = np.sqrt(1 / (4 * np.pi * max(width, 0.3) ** 2))  # noise behind the smoothing
    ratio = smooth / (noise * min(1.0, quieter))
    near = binary_dilation(bad, np.ones((3, 3)))
    peak = (smooth == maximum_filter(smooth, 2 * how.half + 1)) & (ratio > how.snr) & ~near
    peak[: how.half], peak[-how.half :], peak[:, : how.half], peak[:, -how.half :] = (False,) * 4
    y, x = np.nonzero(peak)
    order = np.argsort(-ratio[y, x], kind="stable")
    return y[order], x[order], ratio[y, x][order]


def _boxes(minus, noise, bad, x, y, half):
    """Boxes round the peaks, shape (n, size, size), and their weights: inverse sigma, 0 for a bad pixel."""
    step = np.arange(-half, half + 1)
    rows, columns = y[:, None, None] + step[:, None], x[:, None, None] + step
    usable = ~bad[rows, columns] & np.isfinite(noise[rows, columns]) & (noise[rows, columns] > 0)
    return minus[rows, columns], np.where(usable, 1 / np.where(usable, noise[rows, columns], 1), 0.0)


def _profile(at, centre, width):
    """Gaussian integrated over pixels, and its derivatives by centre and width; shape (n, size) each."""
    from scipy.special import erf

    right, left = (at + 0.5 - centre) / width, (at - 0.5 - centre) / width
    right_g, left_g = (np.exp(-0.5 * u**2) / np.sqrt(2 * np.pi) for u in (right, left))
    value = 0.5 * (erf(right / np.sqrt(2)) - erf(left / np.sqrt(2)))
    return value, -(right_g - left_g) / width, -(right * right_g - left * left_g) / width


def _fit(cut, weight, how):
    """Fit all boxes at once; gives parameters (n, 5), the position error and whether the fit is sound."""
    half, n = how.half, len(cut)
    at = np.arange(-half, half + 1.0)[None]
    p = np.zeros((n, _PARAMETERS))
    p[:, 4] = how.fwhm / _FWHM
    p[:, 2] = cut[:, half, half] * 2 * np.pi * p[:, 4] ** 2
    damping = np.full(n, 1e-2)
    model, jacobian = _model(at, p)
    chi2 = _chi2(cut, model, weight)
    active = np.ones(n, bool)
    for _ in range(_ROUNDS):
        step = _step(cut - model, jacobian, weight, damping)
        trial = p + np.where(active[:, None], step, 0)
        trial[:, 4] = np.clip(trial[:, 4], 0.15, 10)
        trial[:, :2] = np.clip(trial[:, :2], -half, half)
        new_model, new_jacobian = _model(at, trial)
        new_chi2 = _chi2(cut, new_model, weight)
        better = active & (new_chi2 <= chi2)
        p[better], chi2[better], model[better] = trial[better], new_chi2[better], new_model[better]
        jacobian[better] = new_jacobian[better]
        damping = np.where(better, damping / 5, damping * 5)
        active &= ~(better & (np.abs(step[:, :2]).max(axis=1) < _CLOSE)) & (damping < 1e8)
        if not active.any():
            break
    return p, *_errors(jacobian, weight, chi2)


def _model(at, p):
    fx, dx, wx = _profile(at, p[:, :1], p[:, 4:])
    fy, dy, wy = _profile(at, p[:, 1:2], p[:, 4:])
    shape = fy[:, :, None] * fx[:, None, :]
    flux = p[:, 2, None, None]
    jacobian = np.stack(
        [
            flux * fy[:, :, None] * dx[:, None, :],
            flux * dy[:, :, None] * fx[:, None, :],
            shape,
            np.ones_like(shape),
            flux * (wy[:, :, None] * fx[:, None, :] + fy[:, :, None] * wx[:, None, :]),
        ],
        axis=-1,
    )
    return flux * shape + p[:, 3, None, None], jacobian


def _chi2(cut, model, weight):
    return (((cut - model) * weight) ** 2).sum(axis=(1, 2))


def _normal(jacobian, weight):
    scaled = jacobian * weight[..., None]
    return scaled, np.einsum("nyxi,nyxj->nij", scaled, scaled)


def _step(residual, jacobian, weight, damping):
    scaled, normal = _normal(jacobian, weight)
    right = np.einsum("nyxi,nyx->ni", scaled, residual * weight)
    diagonal = np.einsum("nii->ni", normal)
    normal = normal + np.eye(_PARAMETERS) * (damping[:, None] * diagonal + 1e-12 + 1e-12 * diagonal)[:, None]
    return np.linalg.solve(normal, right[..., None])[..., 0]


def _errors(jacobian, weight, chi2):
    """Position error [pixel], larger where the fit is bad, and whether there are pixels and information enough."""
    _, normal = _normal(jacobian, weight)
    dof = np.maximum((weight > 0).sum(axis=(1, 2)) - _PARAMETERS, 1)
    sound = (weight > 0).sum(axis=(1, 2)) > 2 * _PARAMETERS
    covariance = np.linalg.pinv(normal, hermitian=True)
    variance = 0.5 * (covariance[:, 0, 0] + covariance[:, 1, 1])
    sound &= variance > 0
    return np.sqrt(np.where(sound, variance, 1.0) * np.maximum(chi2 / dof, 1.0)), sound
