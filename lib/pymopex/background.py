"""Slowly varying background of an image: sliding skewed median, or a SExtractor-like mesh."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numba
import numpy as np

from pymopex.mesh import mesh_background

# Side of the blocks the image is ranked in, and ranks per bin of the coarse histogram: both keep the
# histogram of one block in the processor's cache, for an image of any size.
_BLOCK = 384
_RANKS_PER_BIN = 32


@dataclass(frozen=True)
class MedianWindow:
    """Window and rules of the background and noise filters.

    Parameters
    ----------
    window_x, window_y : int
        Window size in pixels (panel size for the mesh).
    n_outliers : int
        Number of highest pixels of a full window of good pixels left out.
    min_good_pixels : int
        A window with fewer good pixels gives a missing value.
    min_good_neighbors : int
        A missing value is the mean of at least so many surrounding values.
    max_bad_fraction : float
        Largest tolerated fraction of output pixels without a value; 1 or more: no limit.
    use_sbkg : bool
        Background from a mesh of panels instead of the sliding median.
    sbkg_filter : int
        Side of the median filter over the panels; below 2 none.
    """

    window_x: int = 45
    window_y: int = 45
    n_outliers: int = 50
    min_good_pixels: int = 9
    min_good_neighbors: int = 4
    max_bad_fraction: float = 1.0
    use_sbkg: bool = False
    sbkg_filter: int = 1

    def __post_init__(self) -> None:
        if self.window_x < 1 or self.window_y < 1:
            raise ValueError(f"window must be at least 1 x 1 pixel, not {self.window_x} x {self.window_y}")
        if not self.use_sbkg and not 0 <= self.n_outliers < self.window_x * self.window_y:
            raise ValueError(
                f"n_outliers = {self.n_outliers} must be at least 0 and below the "
                f"{self.window_x * self.window_y} pixels of the window"
            )
        if self.min_good_pixels < 1 or self.min_good_neighbors < 1:
            raise ValueError("min_good_pixels and min_good_neighbors must be at least 1")
        if not self.max_bad_fraction >= 0:
            raise ValueError(f"max_bad_fraction = {self.max_bad_fraction} must not be negative")


def background(image: np.ndarray, bad: np.ndarray | None, how: MedianWindow) -> np.ndarray:
    """Background of an image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit. NaN = no data.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.
    how : MedianWindow
        Window and rules.

    Returns
    -------
    ndarray of float32, shape (ny, nx)
        Background in the unit of `image`, also under bad pixels. NaN only if the whole image has no
        usable window.

    Raises
    ------
    ValueError
        If the shapes differ, or image minus background has more pixels without a value than tolerated.

    Notes
    -----
    Median case: the window is centred on the pixel (an even window reaches one pixel further to the left
    and down) and cut at the image edges. The number of highest pixels dropped is `n_outliers` times the
    fraction of the full window that is good, so that edges and masked areas are not biased low.
    The reference does not say what happens there. The result is the exact order statistic.

    Missing values: complete square rings around the pixel are added until `min_good_neighbors`
    values from windows that were good are inside; their mean is taken.

    Mesh case: sigma-clipped (3 sigma) mode ``2.5 median - 1.5 mean`` per panel, the median where the panel
    is crowded; a spline between the panels. Panels with fewer than `min_good_pixels` good pixels follow
    their neighbours. The panel filter is made odd by rounding down.

    References
    ----------
    MOPEX User's Guide, MedFilter; Bertin & Arnouts 1996, A&AS 117, 393, section 3.
    """
    image, good = checked_image(image, bad)
    result = _mesh(image, good, how) if how.use_sbkg else window_statistic(image, good, how, (0.5,))[0]
    check_bad_fraction(image, result, how.max_bad_fraction)
    return result.astype(np.float32, copy=False)


def checked_image(image: np.ndarray, bad: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Image as a 2-D float array, and where it can be used.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any unit. NaN = no data.
    bad : ndarray of bool, shape (ny, nx), or None
        True where a pixel is not to be used.

    Returns
    -------
    image, good : ndarray, shape (ny, nx)
        Float image; True where it is finite and not bad.

    Raises
    ------
    ValueError
        If the image is not 2-D and not empty, or the shapes differ.
    """
    image = native_float(image)
    if image.ndim != 2 or image.size == 0:
        raise ValueError(f"image must be 2-D and not empty, not of shape {image.shape}")
    good = np.isfinite(image)
    if bad is not None:
        if np.shape(bad) != image.shape:
            raise ValueError(f"bad has shape {np.shape(bad)}, the image {image.shape}")
        good &= ~np.asarray(bad, dtype=bool)
    return image, good


def native_float(image: np.ndarray) -> np.ndarray:
    """Make an image one of floats in native byte order, in one piece.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Any numbers.

    Returns
    -------
    ndarray, shape (ny, nx)
        The same in double precision; single precision stays.
    """
    image = np.asarray(image)
    single = image.dtype.newbyteorder("=") == np.float32
    return np.ascontiguousarray(image, np.float32 if single else np.float64)


def check_bad_fraction(image: np.ndarray, result: np.ndarray, limit: float) -> None:
    """Complain if too many pixels have no value, in the image or in the result of a filter.

    Parameters
    ----------
    image, result : ndarray, shape (ny, nx)
        Image and what was made of it.
    limit : float
        Tolerated fraction; 1 or more: no limit.

    Raises
    ------
    ValueError
        If the fraction is above the limit.
    """
    if limit >= 1:
        return
    fraction = 1.0 - np.count_nonzero(np.isfinite(image) & np.isfinite(result)) / image.size
    if fraction > limit:
        raise ValueError(f"{fraction:.1%} of the output pixels are bad; at most {limit:.1%} are allowed")


def window_statistic(
    image: np.ndarray, good: np.ndarray, how: MedianWindow, quantiles: tuple[float, ...]
) -> list[np.ndarray]:
    """Quantiles of the good pixels in a sliding window without its highest ones.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image.
    good : ndarray of bool, shape (ny, nx)
        True where the image may be used.
    how : MedianWindow
        Window and rules.
    quantiles : tuple of float
        Each between 0 and 1; between two pixels the value is interpolated linearly.

    Returns
    -------
    list of ndarray of float64, shape (ny, nx)
        One image per quantile, missing values filled.
    """
    size = (min(how.window_y, 2 * image.shape[0] + 1), min(how.window_x, 2 * image.shape[1] + 1))
    kept = how.n_outliers / (how.window_x * how.window_y)
    count = _window_counts(good, size)
    results = [np.full(image.shape, np.nan) for _ in quantiles]
    for core, block in _blocks(image.shape, size):
        rank, values = _ranked(image[block], good[block])
        inner = (core[0].start - block[0].start, core[1].start - block[1].start)
        for result, quantile in zip(results, quantiles, strict=True):
            rules = (kept, quantile, max(1, how.min_good_pixels))
            _slide(rank, values, count[core], inner, size, rules, result[core])
    return [filled(result, how.min_good_neighbors) for result in results]


def _blocks(shape: tuple[int, int], size: tuple[int, int]) -> Iterator[tuple[tuple, tuple]]:
    """Blocks of the image, each with the surroundings its windows reach."""
    for y in range(0, shape[0], _BLOCK):
        for x in range(0, shape[1], _BLOCK):
            core = (slice(y, min(y + _BLOCK, shape[0])), slice(x, min(x + _BLOCK, shape[1])))
            block = tuple(
                slice(max(0, c.start - n // 2), min(limit, c.stop + n - 1 - n // 2))
                for c, n, limit in zip(core, size, shape, strict=True)
            )
            yield core, block


def _ranked(image: np.ndarray, good: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rank of each pixel, all different, bad pixels last; and the values in this order."""
    flat = np.where(good, image, np.inf).ravel()
    order = np.argsort(flat)
    rank = np.empty(flat.size, dtype=np.int32)
    rank[order] = np.arange(flat.size, dtype=np.int32)
    return rank.reshape(image.shape), flat[order].astype(np.float64)


def _integral(array: np.ndarray, dtype: type) -> np.ndarray:
    """Add up all rectangles from the corner: ``sums[y, x]`` is the sum of ``array[:y, :x]``."""
    sums = np.zeros((array.shape[0] + 1, array.shape[1] + 1), dtype=dtype)
    np.cumsum(array, axis=0, out=sums[1:, 1:])
    np.cumsum(sums[1:, 1:], axis=1, out=sums[1:, 1:])
    return sums


def _window_counts(good: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Count the good pixels in the window of each pixel."""
    sums = _integral(good, np.int32)
    edges = []
    for n, length in zip(size, good.shape, strict=True):
        first = np.arange(length) - n // 2
        edges.append((np.clip(first, 0, length), np.clip(first + n, 0, length)))
    (y0, y1), (x0, x1) = edges
    rows = sums[y1] - sums[y0]
    return np.asarray(rows[:, x1] - rows[:, x0])


@numba.njit(cache=True, nogil=True)
def _toggle(ranks, step, present, bins, at):
    """Add (step 1) or remove (step -1) a run of pixels; return the change of the count below bin `at`."""
    below = 0
    for r in ranks:
        b = r // _RANKS_PER_BIN
        present[r] = step > 0
        bins[b] += step
        if b < at:
            below += step
    return below


@numba.njit(cache=True, nogil=True)
def _find(k, present, bins, at, below):
    """Rank of the k-th pixel (from 0) of the window; the search starts from bin `at`."""
    while below > k:
        at -= 1
        below -= bins[at]
    while below + bins[at] <= k:
        below += bins[at]
        at += 1
    left = k - below
    r = at * _RANKS_PER_BIN
    while True:
        if present[r]:
            if left == 0:
                return r, at, below
            left -= 1
        r += 1


@numba.njit(cache=True, nogil=True)
def _next_present(r, present):
    """Rank of the next higher pixel of the window."""
    r += 1
    while not present[r]:
        r += 1
    return r


@numba.njit(cache=True, nogil=True)
def _quantile(n, rules, values, present, bins, at, below):
    """Quantile of a window with n good pixels, and the place where the next search starts."""
    dropped, quantile, _ = rules
    kept = max(1, n - round(dropped * n))
    position = quantile * (kept - 1)
    k = int(position)
    r, at, below = _find(k, present, bins, at, below)
    value = values[r]
    if position > k:
        value += (position - k) * (values[_next_present(r, present)] - value)
    return value, at, below


@numba.njit(cache=True, nogil=True)
def _slide(rank, values, count, inner, size, rules, result):
    """Walk the window through the block, up one column and down the next one."""
    ny, nx = rank.shape
    present = np.zeros(ny * nx, dtype=np.bool_)
    bins = np.zeros(ny * nx // _RANKS_PER_BIN + 1, dtype=np.int32)
    at, below = 0, 0
    low_y, low_x = size[0] // 2, size[1] // 2
    height, width = result.shape
    # The window covers rows y0..y1-1 and columns x0..x1-1 of the block.
    y0, y1 = max(0, inner[0] - low_y), min(ny, inner[0] - low_y + size[0])
    x0, x1 = 0, 0
    y, step = 0, 1
    for x in range(width):
        left = max(0, inner[1] + x - low_x)
        right = min(nx, inner[1] + x - low_x + size[1])
        while x1 < right:
            below += _toggle(rank[y0:y1, x1], 1, present, bins, at)
            x1 += 1
        while x0 < left:
            below += _toggle(rank[y0:y1, x0], -1, present, bins, at)
            x0 += 1
        for i in range(height):
            if i > 0:
                y += step
                bottom = max(0, inner[0] + y - low_y)
                top = min(ny, inner[0] + y - low_y + size[0])
                while y1 < top:
                    below += _toggle(rank[y1, x0:x1], 1, present, bins, at)
                    y1 += 1
                while y0 > bottom:
                    y0 -= 1
                    below += _toggle(rank[y0, x0:x1], 1, present, bins, at)
                while y0 < bottom:
                    below += _toggle(rank[y0, x0:x1], -1, present, bins, at)
                    y0 += 1
                while y1 > top:
                    y1 -= 1
                    below += _toggle(rank[y1, x0:x1], -1, present, bins, at)
            if count[y, x] >= rules[2]:
                result[y, x], at, below = _quantile(count[y, x], rules, values, present, bins, at, below)
        step = -step


def filled(result: np.ndarray, min_neighbors: int) -> np.ndarray:
    """Replace missing values by the mean of the nearest others."""
    missing = np.isnan(result)
    n_good = result.size - np.count_nonzero(missing)
    if n_good == result.size or n_good == 0:
        return result
    # Sums of deviations from a typical value keep the rounding error of the running sums negligible.
    level = float(np.median(result[~missing]))
    _fill(result, missing, level, min(min_neighbors, n_good))
    return result


@numba.njit(cache=True, nogil=True)
def _running_sums(values, level):
    """Count the values and sum them up, less `level` each, in all rectangles from the corner, NaN left out."""
    counts = np.zeros((values.shape[0] + 1, values.shape[1] + 1), np.int64)
    sums = np.zeros(counts.shape)
    for y in range(values.shape[0]):
        n, total = 0, 0.0
        for x in range(values.shape[1]):
            if not np.isnan(values[y, x]):
                n += 1
                total += values[y, x] - level
            counts[y + 1, x + 1] = counts[y, x + 1] + n
            sums[y + 1, x + 1] = sums[y, x + 1] + total
    return counts, sums


@numba.njit(cache=True, nogil=True)
def _box_sum(sums, y, x, radius):
    """Sum over the square of this radius around a pixel, cut at the edges."""
    y0, y1 = max(0, y - radius), min(sums.shape[0] - 1, y + radius + 1)
    x0, x1 = max(0, x - radius), min(sums.shape[1] - 1, x + radius + 1)
    return sums[y1, x1] - sums[y0, x1] - sums[y1, x0] + sums[y0, x0]


@numba.njit(cache=True, nogil=True)
def _fill(result, missing, level, wanted):
    """Fill missing pixels from the smallest square that holds enough values."""
    counts, sums = _running_sums(result, level)
    high = 1
    for y in range(result.shape[0]):
        for x in range(result.shape[1]):
            if not missing[y, x]:
                continue
            # That of the pixel before is a good guess.
            while _box_sum(counts, y, x, high) < wanted:
                high += 1
            while high > 1 and _box_sum(counts, y, x, high - 1) >= wanted:
                high -= 1
            result[y, x] = level + _box_sum(sums, y, x, high) / _box_sum(counts, y, x, high)


def _mesh(image: np.ndarray, good: np.ndarray, how: MedianWindow) -> np.ndarray:
    """Background from the mode of panels."""
    box = (min(how.window_y, image.shape[0]), min(how.window_x, image.shape[1]))
    panels = min(-(-image.shape[0] // box[0]), -(-image.shape[1] // box[1]))
    side = max(1, min(how.sbkg_filter, panels))
    # A panel of full size must be able to pass; image and panels may be smaller than min_good_pixels.
    least = min(how.min_good_pixels, box[0] * box[1])
    return mesh_background(image, good, box, least, side - (side + 1) % 2)
