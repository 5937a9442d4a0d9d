"""The wing of a PRF and its sum: the constant under the stars, the noise of samples, and what both do to fluxes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from pymopex.prf_average import Grid
from pymopex.prf_kernels import PAD
from pymopex.prf_spline import samples_of
from pymopex.prf_stars import Stars, on_stamps
from pymopex.stamps import Stamps

_POWER = -3.0  # of the mean of the rings of a round pupil
_RINGS = (
    0.4,
    0.8,
)  # part of the reach of the PRF over which rings gain their weight: many, so that none decides
_NARROW = (0.5, 0.7)  # the same for a second opinion
_TAPER = (
    3.0,
    5.0,
)  # pixel, between which the core, sample by sample, gives way to the wing, averaged over a pixel
_ROUNDS = 3  # of the scaling that makes the sums even
_ALONE = 0.05  # least part of what is known that the other stars tell
_CLEAR = 3.0  # sigma from which on a response that depends on the place in the pixel is kept


@dataclass(frozen=True)
class Wing:
    """The constant that is under the wing of a PRF as fitted.

    Parameters
    ----------
    level : float
        Constant, in units of the PRF per sample, as all of the following.
    error : float
        1-sigma uncertainty of the constant.
    """

    level: float
    error: float


def wing_of(stamps: Stamps, state: Stars, which: np.ndarray, coefficients: np.ndarray, grid: Grid) -> Wing:
    """Find the constant under the wing of a PRF, which falls with a power of the radius.

    Parameters
    ----------
    stamps : Stamps
        Stamps.
    state : Stars
        Places and fluxes of the stars, weights of the pixels.
    which : ndarray of int, shape (m,)
        Stamps that the PRF is fitted to.
    coefficients : ndarray, shape (ny + 2 PAD, nx + 2 PAD)
        Spline of the PRF.
    grid : Grid
        Samples of the PRF.

    Returns
    -------
    Wing
        Level of the spline above b r^-3, and its uncertainty.

    Notes
    -----
    The slope b is fitted to the pixels, with a constant under each stamp: each pixel counts by what it tells, and
    samples that no pixel tells of count nothing. Its uncertainty is the larger one of that of the pixels and of how it
    changes when a star is left out with all of its stamps (light of neighbours is the same in all frames), together
    with half of the difference that other limits of the rings make, since those of a pupil follow no smooth power.

    References
    ----------
    Born & Wolf, Principles of Optics, section 8.5: the rings of a round pupil fall with r^-3.
    MacKinnon & White 1985, J. Econometrics 29, 305: errors of a fit from those without each part (HC3).
    """
    model = on_stamps(coefficients, state, which, grid, stamps.shape)
    level, error = _fitted(stamps, state, which, grid, model, _RINGS)
    other, _ = _fitted(stamps, state, which, grid, model, _NARROW)
    return Wing(level, float(np.hypot(error, (level - other) / 2)))


def _fitted(
    stamps: Stamps,
    state: Stars,
    which: np.ndarray,
    grid: Grid,
    model: np.ndarray,
    rings: tuple[float, float],
) -> tuple[float, float]:
    """Give the level with some limits of the rings, and its uncertainty from the scatter of the stars."""
    rows, columns = np.indices(stamps.shape)
    place = rows - state.y[which, None, None], columns - state.x[which, None, None]
    r = np.hypot(*place)
    reach = min(grid.x[-1], grid.y[-1]) - 0.5
    share = np.where(r <= reach, _rise(r / reach, rings), 0.0)
    weight = state.weight[which] * state.good[which] * share
    used = weight > 0
    shape = np.maximum(r, 1.0) ** _POWER
    data = np.where(used, stamps.data[which], 0.0)
    flux = state.flux[which, None, None]
    tilt, off = shape - _mean(weight, shape), data - _mean(weight, data)
    information = float((weight * (flux * tilt) ** 2).sum())
    if not information > 0:
        return 0.0, float("nan")
    slope = float((weight * flux * tilt * off).sum()) / information
    square = weight * flux**2
    level = float((square * (model - slope * shape)).sum() / square.sum())
    mean = float((square * shape).sum() / square.sum())
    pulls = (weight * flux * tilt * (off - slope * flux * tilt)).sum(axis=(1, 2))
    told = (weight * (flux * tilt) ** 2).sum(axis=(1, 2)) / information
    of_stars, part = (np.bincount(stamps.source[which], values) for values in (pulls, told))
    noise = float((weight * share * (flux * tilt) ** 2).sum())  # of the pixels, whose weight the rings change
    scatter = float(((of_stars / np.maximum(1 - part, _ALONE)) ** 2).sum())
    return level, float(np.sqrt(max(scatter, noise)) / information * mean)


def _mean(weight: np.ndarray, values: np.ndarray) -> np.ndarray:
    """Weighted mean of each stamp."""
    total = weight.sum(axis=(1, 2), keepdims=True)
    return (weight * values).sum(axis=(1, 2), keepdims=True) / np.where(total > 0, total, 1.0)


def _rise(values: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Weight that rises smoothly from 0 to 1 between two limits."""
    part = np.clip((values - limits[0]) / (limits[1] - limits[0]), 0, 1)
    return np.sin(np.pi / 2 * part) ** 2


def quiet_wing(samples: np.ndarray, grid: Grid, density: np.ndarray) -> np.ndarray:
    """Average the wing of a PRF over a pixel, so that the noise of its samples does not decide the normalisation.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        PRF.
    grid : Grid
        Its samples.
    density : ndarray, shape (ny, nx)
        How much the pixels tell of each sample: its weight in the average.

    Returns
    -------
    ndarray, shape (ny, nx)
        The same within 3 pixels, averaged beyond 5.

    Notes
    -----
    The sum by which a PRF is normalised takes one sample in a pixel: the others would tell nothing of it.
    """
    size = tuple(f + 1 - f % 2 for f in (grid.factor_y, grid.factor_x))
    total = ndimage.uniform_filter(density, size, mode="nearest")
    mean = ndimage.uniform_filter(samples * density, size, mode="nearest") / np.where(total > 0, total, 1.0)
    wing = _rise(np.hypot(grid.y[:, None], grid.x), _TAPER) * (total > 0)
    return (1 - wing) * samples + wing * mean


@dataclass(frozen=True)
class Response:
    """How the sum of a PRF over pixels depends on the place of the star in its pixel.

    Parameters
    ----------
    amplitude : float
        Relative excess of the sum with the star on the middle of a pixel; 0 where it is not certain.
    error : float
        1-sigma uncertainty of the sum with the star there, relative.
    """

    amplitude: float
    error: float


def even(coefficients: np.ndarray, grid: Grid, free: bool) -> tuple[np.ndarray, Response]:
    """Take the noise out of the sums of a PRF over pixels.

    Parameters
    ----------
    coefficients : ndarray, shape (ny + 2 PAD, nx + 2 PAD)
        PRF.
    grid : Grid
        Its samples.
    free : bool
        Allow a sum that depends on the place of the star in its pixel.

    Returns
    -------
    coefficients : ndarray, same shape
        Samples that are a whole number of pixels apart have the mean sum, or one that follows the place smoothly if
        this is certain to 3 sigma; the wing is left out, since its noise would tell more than its light.
    response : Response
        What is left of the dependence, and the uncertainty of the sum that normalises.

    Notes
    -----
    The dependence is that of one wave per pixel along each axis, highest or lowest on the middle.

    References
    ----------
    IRAC Instrument Handbook, section 4.5: a star on the middle of a pixel of channel 1 is some per cent brighter.
    """
    fx, fy = grid.factor_x, grid.factor_y
    sums = _sums(coefficients, grid)
    phase = [(np.arange(f) - n // 2) * 2 * np.pi / f for f, n in ((fy, grid.ny), (fx, grid.nx))]
    wave = (np.cos(phase[0])[:, None] + np.cos(phase[1])) / 2
    wave -= wave.mean()
    relative, strength = sums / sums.mean() - 1, float((wave**2).sum())
    amplitude = float((relative * wave).sum()) / strength if free and strength > 1e-9 else 0.0
    left = relative - amplitude * wave
    rms = float(np.sqrt((left**2).sum() / max(sums.size - 2, 1)))
    if strength > 1e-9 and abs(amplitude) < _CLEAR * rms / np.sqrt(strength):
        amplitude, rms = 0.0, float(np.sqrt((relative**2).sum() / max(sums.size - 1, 1)))
    wanted = sums.mean() * (1 + amplitude * wave)
    out = coefficients
    for _ in range(_ROUNDS):
        out = _scaled(out, grid, wanted / _sums(out, grid) - 1)
    error = rms * np.sqrt(1 / sums.size + (wave.max() ** 2 / strength if amplitude else 0.0))
    return out, Response(amplitude * float(wave.max()), float(error))


def _sums(coefficients: np.ndarray, grid: Grid) -> np.ndarray:
    """Sum the core of a PRF over pixels, for each place of the star in its pixel; shape (factor_y, factor_x)."""
    core = samples_of(coefficients) * (1 - _rise(np.hypot(grid.y[:, None], grid.x), _TAPER))
    fx, fy = grid.factor_x, grid.factor_y
    return np.array([[core[b::fy, a::fx].sum() for a in range(fx)] for b in range(fy)])


def _scaled(coefficients: np.ndarray, grid: Grid, change: np.ndarray) -> np.ndarray:
    """Scale coefficients so that the sums of the samples, each made of 3 x 3 coefficients, change by some parts."""
    fx, fy = grid.factor_x, grid.factor_y
    mixing = [(2 + np.cos(2 * np.pi * np.fft.fftfreq(f))) / 3 for f in (fy, fx)]
    factor = 1 + np.fft.ifft2(np.fft.fft2(change) / (mixing[0][:, None] * mixing[1])).real
    out = coefficients.copy()
    for b in range(fy):
        for a in range(fx):
            out[(b + PAD) % fy :: fy, (a + PAD) % fx :: fx] *= factor[b, a]
    return out
