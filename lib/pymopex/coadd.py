"""Co-addition: the mean of the frames at each pixel of a tile, and its uncertainties."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from pymopex.stack import Stack


@dataclass(frozen=True, eq=False)
class Coadded:
    """A co-added tile; every image has the shape of the tile.

    Parameters
    ----------
    image : float32 ndarray
        Weighted mean, NaN without coverage.
    coverage : float32 ndarray
        Sum of the coverages.
    uncertainty : float32 ndarray or None
        1-sigma uncertainty propagated from those of the frames; None if there are none.
    std : float32 ndarray or None
        1-sigma uncertainty of the mean from the scatter of the frames, NaN below two frames.
    exposure : float32 ndarray or None
        Sum of coverage times exposure time, with exposure-time weights.
    """

    image: np.ndarray
    coverage: np.ndarray
    uncertainty: np.ndarray | None
    std: np.ndarray | None
    exposure: np.ndarray | None


def coadd(
    stack: Stack, *, weights: np.ndarray | None = None, sigma_weighted: bool = False, want_std: bool = True
) -> Coadded:
    """Average a stack.

    Parameters
    ----------
    stack : Stack
        Values on a tile.
    weights : ndarray, shape (n_layers,), optional
        Exposure time of each frame [s]; None weights all alike.
    sigma_weighted : bool
        Weight by inverse variance besides. Bright sources come out too faint where the uncertainty of a pixel
        is taken from its value.
    want_std : bool
        Compute the uncertainty from the scatter.

    Returns
    -------
    Coadded
        Mean and uncertainties.

    Raises
    ------
    ValueError
        Weights of the wrong number or not positive, or `sigma_weighted` without uncertainties.

    Notes
    -----
    With coverage c, exposure t (or 1) and uncertainty s of frame j:

    - mean: ``sum c t I / sum c t`` (with inverse variance: weights ``c t / s**2``);
    - uncertainty: ``1 / sqrt(sum c / s**2)`` (guide, eq. 6.4) for equal weights, else
      ``sqrt(sum (w s)**2 c) / sum w c`` with w the weight for unit coverage, which for equal s is the same;
    - scatter: ``sqrt(sum w (I - mean)**2 / (sum w (n - 1)))``, the standard error of the mean. Whether the
      legacy standard-deviation mosaic was divided by the root of n is not known; detection uses it in the place
      of the uncertainty of the mosaic, so here it is.

    Correlations between neighbouring pixels are not considered. Sums are in double precision in the order of
    the frames, so that tiles of any size give the same pixels.

    References
    ----------
    MOPEX User's Guide, Mosaic CoAdder, eqs. 6.4 and 6.5.
    """
    if sigma_weighted and stack.value.size and not stack.sigma.size:
        raise ValueError("sigma_weighted needs uncertainties")
    times = np.ones(stack.n_layers) if weights is None else np.asarray(weights, dtype=float)
    if times.shape != (stack.n_layers,) or not (times > 0).all():
        raise ValueError(f"need {stack.n_layers} positive weights, one for each frame")
    uniform = weights is None and not sigma_weighted
    mean, coverage, error, scatter, exposure = _average(stack, times, sigma_weighted, uniform, want_std)
    return Coadded(
        mean,
        coverage,
        error if stack.sigma.size else None,
        scatter if want_std else None,
        exposure if weights is not None else None,
    )


@numba.njit(cache=True, nogil=True)
def _average(
    stack: Stack, times: np.ndarray, by_sigma: bool, uniform: bool, want_std: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    shape = (stack.ny, stack.nx)
    mean = np.full(shape, np.nan, np.float32)
    error, scatter = mean.copy(), mean.copy()
    covered, exposure = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    for p in range(stack.ny * stack.nx):
        start, stop = stack.first[p], stack.first[p + 1]
        if stop == start:
            continue
        at = (p // stack.nx, p % stack.nx)
        total = weight = coverage = inverse = spread = time = 0.0
        for k in range(start, stop):
            c, t = np.float64(stack.coverage[k]), times[stack.layer[k]]
            w = c * t
            if by_sigma:
                w /= np.float64(stack.sigma[k]) ** 2
            total += w * stack.value[k]
            weight += w
            coverage += c
            time += c * t
            if stack.sigma.size:
                variance = np.float64(stack.sigma[k]) ** 2
                inverse += c / variance
                spread += w * w * variance / c
        middle = total / weight
        mean[at], covered[at], exposure[at] = middle, coverage, time
        if stack.sigma.size:
            error[at] = 1.0 / np.sqrt(inverse) if uniform else np.sqrt(spread) / weight
        if want_std and stop - start > 1:
            square = 0.0
            for k in range(start, stop):
                w = stack.coverage[k] * times[stack.layer[k]]
                if by_sigma:
                    w /= np.float64(stack.sigma[k]) ** 2
                square += w * (stack.value[k] - middle) ** 2
            scatter[at] = np.sqrt(square / (weight * (stop - start - 1)))
    return mean, covered, error, scatter, exposure
