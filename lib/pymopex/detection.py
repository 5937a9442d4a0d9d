"""Detection of sources by image segmentation."""

from __future__ import annotations

from dataclasses import dataclass

import numba
import numpy as np

from pymopex import segmentation
from pymopex.background import checked_image, native_float

_KINDS = {"simple": segmentation.SIMPLE, "combo": segmentation.COMBO, "peak": segmentation.PEAK}


@dataclass(frozen=True)
class DetectionParams:
    """Rules of the segmentation.

    Parameters
    ----------
    input_type : {'image_input', 'snr_input'}
        Search the image, or image divided by noise.
    threshold : float
        First threshold: standard deviations above the mean (image), or signal-to-noise ratio.
    threshold_type : {'simple', 'combo', 'peak'}
        How a cluster larger than `max_area` is segmented further.
    min_area, max_area : int
        Smaller clusters are dropped, larger ones segmented further. [pixel]
    min_peak_fraction : float
        Rise of a sub-peak above the current threshold, as a fraction of the height of the parent peak.
    min_peak_sigma : float
        The same rise in units of the background fluctuation; the larger of the two counts.
    extended_area : int
        A cluster that is larger than this above half of its peak height is an extended object and
        is not listed; 0: no limit. [pixel]
    minimum_coverage : float
        Pixels with less coverage are not searched.
    neighbor_type : {'sides', 'corners'}
        Whether pixels that touch only at a corner belong together.
    peaks_radius : int
        A peak is not lower than any pixel of the square this far around it. [pixel]
    max_level : int
        Largest number of thresholds put to a cluster.
    n_edge : int
        Width of the image border that is not searched. [pixel]
    """

    input_type: str = "image_input"
    threshold: float = 10.0
    threshold_type: str = "combo"
    min_area: int = 2
    max_area: int = 5
    min_peak_fraction: float = 0.0
    min_peak_sigma: float = 3.0
    extended_area: int = 0
    minimum_coverage: float = 0.0
    neighbor_type: str = "sides"
    peaks_radius: int = 1
    max_level: int = 50
    n_edge: int = 0

    def __post_init__(self) -> None:
        _check_choice("input_type", self.input_type, ("image_input", "snr_input"))
        _check_choice("threshold_type", self.threshold_type, tuple(_KINDS))
        _check_choice("neighbor_type", self.neighbor_type, ("sides", "corners"))
        if not self.threshold > 0:
            raise ValueError(f"threshold = {self.threshold} must be positive")
        if not 0 <= self.min_area <= self.max_area or self.max_area < 1:
            raise ValueError(f"min_area = {self.min_area} must lie between 0 and max_area = {self.max_area}")
        if not 0 <= self.min_peak_fraction <= 1:
            raise ValueError(f"min_peak_fraction = {self.min_peak_fraction} must lie between 0 and 1")
        if self.peaks_radius < 1 or self.max_level < 1:
            raise ValueError("peaks_radius and max_level must be at least 1")
        if min(self.extended_area, self.n_edge, self.min_peak_sigma) < 0:
            raise ValueError("extended_area, n_edge and min_peak_sigma must not be negative")


@dataclass(frozen=True)
class Detections:
    """Detected sources, grouped by blend, the brightest of a blend first.

    Parameters
    ----------
    x, y : ndarray of float, shape (n,)
        Centroids. [pixel, 0-based]
    flux : ndarray of float, shape (n,)
        Highest pixel, in the unit of the image.
    area : ndarray of int, shape (n,)
        Pixels of the final cluster.
    blend_id : ndarray of int, shape (n,)
        Number of the initial cluster, from 1.
    blend_size : ndarray of int, shape (n,)
        Number of detections in it.
    level : ndarray of int, shape (n,)
        Number of thresholds the cluster went through.
    thresholds : ndarray of float, shape (n,)
        Threshold of the final cluster, in the unit of the searched image.
    first_threshold : float
        Threshold of the initial clusters; NaN if no pixel is good.
    labels : ndarray of int32, shape (ny, nx)
        Position in the list, from 1, at the pixels of the final cluster; 0 elsewhere.
    levels : ndarray of int32, shape (ny, nx)
        Highest level each pixel of an initial cluster reached, from 1; 0 elsewhere.
    """

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    area: np.ndarray
    blend_id: np.ndarray
    blend_size: np.ndarray
    level: np.ndarray
    thresholds: np.ndarray
    first_threshold: float
    labels: np.ndarray
    levels: np.ndarray

    def __len__(self) -> int:
        return len(self.x)


def initial_threshold(image: np.ndarray, good: np.ndarray, nsigma: float) -> float:
    """Threshold ``T = M + nsigma * s`` with mean and standard deviation of the pixels not above it.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit.
    good : ndarray of bool, shape (ny, nx)
        Pixels to use.
    nsigma : float
        Standard deviations above the mean.

    Returns
    -------
    float
        Threshold in the unit of `image`; NaN without good pixels.

    References
    ----------
    MOPEX User's Guide, section 8.3.
    """
    return _clipped(np.asarray(image)[good], nsigma)[0]


def detect(
    image: np.ndarray,
    bad: np.ndarray | None,
    params: DetectionParams,
    *,
    coverage: np.ndarray | None = None,
    noise: np.ndarray | None = None,
    brightness: np.ndarray | None = None,
) -> Detections:
    """Find sources.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted, probability or filtered image. NaN = no data.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    params : DetectionParams
        Rules.
    coverage : ndarray, shape (ny, nx), optional
        Number of frames per pixel.
    noise : ndarray, shape (ny, nx), optional
        1-sigma noise in the unit of `image`, for ``snr_input``.
    brightness : ndarray, shape (ny, nx), optional
        Background-subtracted image that gives fluxes and centroids; default `image`.

    Returns
    -------
    Detections
        Sources and maps.

    Raises
    ------
    ValueError
        If shapes differ or the noise is missing.

    Notes
    -----
    A cluster larger than `max_area` gets a higher threshold of its own, mean plus standard deviation of
    its pixels, until it is small enough, in this way:

    - simple: every part above the new threshold goes on. Faint sources on the slope of a bright
      one sink below it.
    - peak: a cluster with several significant peaks is divided among them, each pixel going to the peak
      it climbs to. A single peak shrinks by raised thresholds.
    - combo: as simple if all significant peaks stay above the new threshold, else as peak.

    The part with the highest pixel is never lost: where it would vanish (flat top) or fall
    below `min_area` the top and its brightest neighbours are kept. Other parts count if they rise above
    the threshold (simple) or above the saddle where they part from a higher peak (peak, combo) by
    `min_peak_fraction` times the height of the parent peak above the first threshold, and by
    `min_peak_sigma` times the noise (s of the first threshold; 1 for ``snr_input``). The legacy equations
    of the three types are not known; the noise condition is ours and keeps noise on the wings of
    bright stars out of the list; 0 turns it off.

    The centroid is weighted by the light above that of the surroundings. It takes the pixels of
    the final cluster and those next to its peak that belong to no cluster; the level of the surroundings is
    the mean of the latter, or else the faintest pixel of the cluster. Clusters of a few pixels are
    too small for a centroid of their own pixels alone: the error of a star with a FWHM of two pixels is 0.16
    instead of 0.24 pixels.

    References
    ----------
    MOPEX User's Guide, section 8.3, and APEX module Detect.
    """
    image, good = checked_image(image, bad)
    _leave_out(good, params, coverage)
    threshold, sigma = params.threshold, 1.0
    if params.input_type == "image_input":
        threshold, sigma = _clipped(image[good], params.threshold)
        searched = _padded(np.where(good, image, -np.inf), params.peaks_radius, -np.inf)
    else:
        searched = _signal_to_noise(image, good, noise, params.peaks_radius)
    work, rules = _prepared(searched, threshold, sigma, params)
    table, root = segmentation.segment(work, rules)
    light = image if brightness is None else _same_shape("brightness", brightness, image.shape)
    return _detections(table, root, work, rules, light)


def detection_map(image: np.ndarray, bad: np.ndarray | None, params: DetectionParams) -> np.ndarray:
    """Map of the detected clusters, for bright-object masks and outlier detection.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image. NaN = no data.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    params : DetectionParams
        Rules.

    Returns
    -------
    ndarray of int32, shape (ny, nx)
        Cluster number from 1 at the pixels of the final clusters, 0 elsewhere.

    Notes
    -----
    These are the `labels` of `detect`. Its `levels` cover the initial clusters, wings included.
    """
    return detect(image, bad, params).labels


def _check_choice(name: str, value: str, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} = {value!r} must be one of {', '.join(choices)}")


def _same_shape(name: str, array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Array, checked to have the shape of the image."""
    if np.shape(array) != shape:
        raise ValueError(f"{name} has shape {np.shape(array)}, the image {shape}")
    return np.asarray(array)


def _leave_out(good: np.ndarray, params: DetectionParams, coverage: np.ndarray | None) -> None:
    """Take out of `good` what has too little coverage or is too near to the edge."""
    if params.n_edge:
        inside = np.zeros_like(good)
        inside[params.n_edge : -params.n_edge, params.n_edge : -params.n_edge] = True
        good &= inside
    if coverage is not None and params.minimum_coverage > 0:
        good &= _same_shape("coverage", coverage, good.shape) >= params.minimum_coverage


def _signal_to_noise(image: np.ndarray, good: np.ndarray, noise: np.ndarray | None, pad: int) -> np.ndarray:
    """Image over noise with a border; -inf there, and where the image is not good or has no noise."""
    if noise is None:
        raise ValueError("snr_input needs a noise image")
    noise = native_float(_same_shape("noise", noise, image.shape))
    ratio = np.empty([n + 2 * pad for n in image.shape], np.result_type(image, noise))
    _divide(image, noise, good, pad, ratio)
    return ratio


@numba.njit(cache=True, nogil=True, error_model="numpy")
def _divide(image, noise, good, pad, ratio):
    ratio[:pad] = -np.inf
    ratio[len(image) + pad :] = -np.inf
    for y in range(len(image)):
        line = ratio[y + pad]
        line[:pad] = -np.inf
        line[image.shape[1] + pad :] = -np.inf
        inner, signal, error, used = line[pad:], image[y], noise[y], good[y]
        for x in range(image.shape[1]):
            known = used[x] & (error[x] > 0) & (error[x] < np.inf)
            inner[x] = signal[x] / error[x] if known else -np.inf


def _padded(image: np.ndarray, pad: int, value: float) -> np.ndarray:
    """Image with a border of one value."""
    out = np.full([n + 2 * pad for n in image.shape], value, image.dtype)
    _inner(out, pad)[...] = image
    return out


def _clipped(values: np.ndarray, nsigma: float) -> tuple[float, float]:
    """Threshold and standard deviation of the values not above it."""
    if not nsigma > 0:
        raise ValueError(f"number of sigmas {nsigma} must be positive")
    if values.size == 0:
        return np.nan, np.nan
    return _clip_high(values.astype(np.float64), float(nsigma))


@numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})
def _clip_high(values: np.ndarray, nsigma: float) -> tuple[float, float]:
    """Leave out what is above the threshold, until nothing is; the values are moved."""
    n = values.size
    while True:
        total = square = 0.0
        for i in range(n):
            total += values[i]
        mean = total / n
        for i in range(n):
            square += (values[i] - mean) ** 2
        sigma = np.sqrt(square / n)
        threshold, kept = mean + nsigma * sigma, 0
        for i in range(n):
            values[kept] = values[i]
            kept += values[i] <= threshold
        # Rounding can put the threshold of a constant image just below its value.
        if kept in (n, 0):
            return threshold, sigma
        n = kept


def _prepared(
    searched: np.ndarray, threshold: float, sigma: float, params: DetectionParams
) -> tuple[segmentation.Work, segmentation.Rules]:
    """Set up work space and rules for the kernels; the image has a border."""
    rules = segmentation.Rules(
        threshold=float(threshold),
        smallest_rise=params.min_peak_sigma * sigma,
        min_peak_fraction=float(params.min_peak_fraction),
        kind=_KINDS[params.threshold_type],
        min_area=max(1, params.min_area),
        max_area=params.max_area,
        extended_area=params.extended_area,
        corners=params.neighbor_type == "corners",
        peaks_radius=params.peaks_radius,
        max_level=params.max_level,
    )
    values = searched.ravel()
    above = _above(values, float(threshold))
    work = segmentation.Work(
        values=values,
        width=searched.shape[1],
        above=above,
        owner=np.zeros(values.size, dtype=np.int32),
        levels=np.zeros(values.size, dtype=np.int32),
        slot=np.zeros(values.size, dtype=np.int32),
        pool=np.empty(above.size, dtype=np.int64),
    )
    return work, rules


@numba.njit(cache=True, nogil=True)
def _above(values, threshold):
    """Places of the values above a threshold; both are compared in double precision."""
    n = 0
    for value in values:
        n += value > threshold
    found, n = np.empty(n, np.int64), 0
    for k in range(len(values)):
        if values[k] > threshold:
            found[n] = k
            n += 1
    return found


def _detections(
    table: np.ndarray, root: np.ndarray, work: segmentation.Work, rules: segmentation.Rules, light: np.ndarray
) -> Detections:
    """Measure the clusters and list them by blend and flux."""
    pad = rules.peaks_radius
    start, stop, level = (table[:, k].astype(np.int64) for k in (0, 1, 3))
    _paint(work.pool, start, stop, work.owner)
    light = _padded(native_float(light), pad, np.nan).ravel()
    x, y, flux = _measure(work.pool, start, stop, work.width, work.owner, light)
    order = np.lexsort((y, x, -flux, root))
    _, blend, size = np.unique(root[order], return_inverse=True, return_counts=True)
    _paint(work.pool, start[order], stop[order], work.owner)
    return Detections(
        x=x[order] - pad,
        y=y[order] - pad,
        flux=flux[order],
        area=(stop - start)[order],
        blend_id=blend + 1,
        blend_size=size[blend],
        level=level[order],
        thresholds=table[order, 2],
        first_threshold=float(rules.threshold),
        labels=_inner(work.owner.reshape(-1, work.width), pad),
        levels=_inner(work.levels.reshape(-1, work.width), pad),
    )


def _inner(image: np.ndarray, pad: int) -> np.ndarray:
    """Image without its border."""
    return image[pad:-pad, pad:-pad]


@numba.njit(cache=True, nogil=True)
def _paint(pool, start, stop, labels):
    """Write the number of each cluster, from 1, at its pixels."""
    labels[:] = 0
    for i in range(len(start)):
        for p in pool[start[i] : stop[i]]:
            labels[p] = i + 1


@numba.njit(cache=True, nogil=True)
def _brightest(pixels, light):
    """Brightest pixel of a cluster that has data, -1 if there is none."""
    peak = -1
    for p in pixels:
        if np.isfinite(light[p]) and (peak < 0 or light[p] > light[peak]):
            peak = p
    return peak


@numba.njit(cache=True, nogil=True)
def _surroundings(peak, labels, width, light):
    """Pixels around the peak that have data and belong to no cluster."""
    near = np.empty(8, dtype=np.int64)
    n = 0
    for dy in (-width, 0, width):
        for dx in (-1, 0, 1):
            p = peak + dy + dx
            if labels[p] == 0 and np.isfinite(light[p]):
                near[n] = p
                n += 1
    return near[:n]


@numba.njit(cache=True, nogil=True)
def _centroid(pixels, near, width, light):
    """Mean position weighted by the light above that of the surroundings."""
    base = 0.0
    for p in near:
        base += light[p] / len(near)
    if len(near) == 0:
        base = np.inf
        for p in pixels:
            if light[p] < base:
                base = light[p]
    total, x, y = 0.0, 0.0, 0.0
    for group in (pixels, near):
        for p in group:
            if light[p] > base:
                total += light[p] - base
                x += (light[p] - base) * (p % width)
                y += (light[p] - base) * (p // width)
    if total > 0:
        return x / total, y / total
    for p in pixels:
        x += p % width
        y += p // width
    return x / len(pixels), y / len(pixels)


@numba.njit(cache=True, nogil=True)
def _measure(pool, start, stop, width, labels, light):
    """Centroid and highest pixel of each cluster."""
    n = len(start)
    x, y, flux = np.zeros(n), np.zeros(n), np.full(n, np.nan)
    for i in range(n):
        pixels = pool[start[i] : stop[i]]
        peak = _brightest(pixels, light)
        near = pixels[:0]
        if peak >= 0:
            flux[i] = light[peak]
            near = _surroundings(peak, labels, width, light)
        x[i], y[i] = _centroid(pixels, near, width, light)
    return x, y, flux
