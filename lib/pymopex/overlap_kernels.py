"""The pixels that pairs of frames share on a tile of the mosaic: compiled sums for the overlap correction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numba
import numpy as np

from pymopex.geometry import Box
from pymopex.order_statistics import median_of
from pymopex.stack import Images, in_line, places

_ROWS = 16  # of a tile that all pairs go over before the next: they stay in the fast cache
_SAMPLE = 800  # pixels of a pair that tell its difference about, of an error of 1.25 / sqrt(800) sigma
_LISTED = 500  # pixels of a pair up to which all are listed
_FIRST_ROOM = 4096  # entries of the list before it grows

_jit = numba.njit(cache=True, nogil=True, error_model="numpy")
# A sum is taken in several parts at once, as the processor can: its last digits depend on the processor.
_jit_sums = numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"reassoc", "nsz"})


class Parts(NamedTuple):
    """The parts of frames that lie on a tile of the mosaic, one behind the other.

    Parameters
    ----------
    ny, nx : int
        Size of the tile.
    place : int64 ndarray, shape (n, 4)
        First row and column of each part on the tile, and its rows and columns.
    start : int64 ndarray, shape (n,)
        Its first entry in the arrays below, which hold its rows.
    value, coverage : float32 ndarray
        Interpolated value and coverage; both 0 where there is no value, or no uncertainty.
    sigma : float32 ndarray
        1-sigma uncertainty, 1 where there is no value; empty without uncertainties.
    """

    ny: int
    nx: int
    place: np.ndarray
    start: np.ndarray
    value: np.ndarray
    coverage: np.ndarray
    sigma: np.ndarray

    @classmethod
    def build(
        cls,
        tile: Box,
        boxes: Sequence[Box],
        data: Images,
        coverage: Images,
        sigma: Images | None,
    ) -> Parts:
        """Put the parts of frames on a tile behind each other.

        Parameters
        ----------
        tile : Box
            The tile.
        boxes : sequence of Box
            Place of each part; inside the tile.
        data, coverage, sigma : float32 ndarray, shape (n,), or sequence of ndarray
            Values, NaN = no data, coverages and 1-sigma uncertainties, as for `Stack.build`; `sigma` may be None. Lines
            become part of the result, and are changed where there is no value.

        Raises
        ------
        ValueError
            A part is not inside the tile, or not of the shape of its box.
        """
        place, start = places(tile, boxes)
        lines = [in_line(kind, boxes) for kind in (data, coverage, sigma)]
        _clear(*lines)
        return cls(*tile.shape, place, start, *lines)


@_jit
def _clear(value: np.ndarray, coverage: np.ndarray, sigma: np.ndarray) -> None:
    """Make entries that do not count harmless."""
    for i in range(value.size):
        error = sigma[i] if sigma.size else np.float32(1)
        if not (np.isfinite(value[i]) and coverage[i] > 0 and error > 0 and np.isfinite(error)):
            value[i] = coverage[i] = 0
            if sigma.size:
                sigma[i] = 1


@_jit
def first_steps(parts: Parts) -> np.ndarray:
    """Give the differences of the first two values at each pixel that has two, without signs."""
    first = np.full((parts.ny, parts.nx), np.nan)
    found = np.full((parts.ny, parts.nx), np.nan)
    for number in range(len(parts.start)):
        top, left, rows, columns = parts.place[number]
        for j in range(rows):
            at = parts.start[number] + j * columns
            for i in range(columns):
                if parts.coverage[at + i] > 0:
                    y, x = top + j, left + i
                    if np.isnan(first[y, x]):
                        first[y, x] = parts.value[at + i]
                    elif np.isnan(found[y, x]):
                        found[y, x] = abs(parts.value[at + i] - first[y, x])
    flat = found.ravel()
    return flat[~np.isnan(flat)]


@_jit
def totals(parts: Parts) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the weights at each pixel, the columns where frames have values, and their least uncertainties.

    Returns
    -------
    total : ndarray, shape (ny, nx)
        Sum of coverage / sigma**2; 1 where no frame has a value.
    span : int64 ndarray, shape (n, ny, 2)
        First column with a value in each row, and the one behind the last.
    least : ndarray, shape (n,)
        Least uncertainty of each frame, infinite without values.
    """
    total = np.zeros((parts.ny, parts.nx))
    span = np.zeros((len(parts.start), parts.ny, 2), np.int64)
    least = np.full(len(parts.start), np.inf)
    for number in range(len(parts.start)):
        top, left, rows, columns = parts.place[number]
        for j in range(rows):
            at = parts.start[number] + j * columns
            coverage, sigma = parts.coverage[at : at + columns], parts.sigma[at : at + columns]
            line = total[top + j, left : left + columns]
            for i in range(columns):
                line[i] += coverage[i] / np.float64(sigma[i]) ** 2
            begin, end = 0, columns
            while begin < end and coverage[begin] == 0:
                begin += 1
            while end > begin and coverage[end - 1] == 0:
                end -= 1
            span[number, top + j] = left + begin, left + end
            for i in range(begin, end):
                if coverage[i] > 0 and sigma[i] < least[number]:
                    least[number] = sigma[i]
    return np.where(total > 0, total, 1.0), span, least


class Scan(NamedTuple):
    """What the pixels of pairs of frames tell, for planes near those that were taken.

    Pixels that differ by less than the inner limit are kept, those beyond the outer one are not, by all planes that
    are near; those between are listed.

    Parameters
    ----------
    pair : int64 ndarray, shape (k, 2)
        The two frames of each pair that shares a place, the first one less.
    box : int64 ndarray, shape (k, 4)
        That place: x, y of the first pixel on the mosaic, and of the one behind the last.
    whole, sure : ndarray, shape (k, 2) or (k, 9)
        Sums over all pixels, and over those that are kept: weight w, w * step; and if they are wanted w * x, w * y,
        w * x**2, w * x * y, w * y**2, w * step * x, w * step * y. The step is from the first to the second frame.
    plane : ndarray, shape (k, 3)
        The plane that was added to the step: value at pixel (0, 0) of the mosaic, and slopes.
    reach : ndarray, shape (k,)
        How far other planes may be from it on this place; -1 without the list.
    wanted : int
        Length of the list, also if it is longer than may be; then it is empty.
    of : int64 ndarray, shape (m,)
        The pair of each pixel of the list.
    pixel : ndarray, shape (m, 5)
        Its x, y, weight, step and variance.
    """

    pair: np.ndarray
    box: np.ndarray
    whole: np.ndarray
    sure: np.ndarray
    plane: np.ndarray
    reach: np.ndarray
    wanted: int
    of: np.ndarray
    pixel: np.ndarray


@_jit
def scan(
    parts: Parts,
    planes: np.ndarray,
    limit: float,
    margin: float,
    most: int,
    count_once: bool,
    moments: bool,
    corner: tuple[int, int],
) -> Scan:
    """Go over the pixels of all pairs of frames on a tile.

    Parameters
    ----------
    parts : Parts
        The frames; with uncertainties.
    planes : ndarray, shape (n, 3) or (0, 3)
        Planes to be added: value at pixel (0, 0) of the mosaic, and slopes along its x and y. Without rows the median
        difference is taken for each pair.
    limit, margin : float
        Pixels are kept up to so many sigma of the difference, and listed where they are nearer to that than `margin`,
        which is less; with a margin of 0 none is listed.
    most : int
        Length of the list at most.
    count_once, moments : bool
        See `pymopex.overlap_pairs.PairOptions`.
    corner : (int, int)
        x and y of the first pixel of the tile on the mosaic.
    """
    total, span, least = totals(parts)
    pair, box, area = _pairs(parts, span)
    n, wanted = len(pair), 9 if moments else 2
    plane, reach, bounds = _bounds(parts, planes, pair, box, area, span, least, limit, margin)
    whole, sure = np.zeros((n, wanted)), np.zeros((n, wanted))
    number, of, pixel = 0, np.zeros(_FIRST_ROOM, np.int64), np.zeros((_FIRST_ROOM, 5))
    for above in range(0, parts.ny, _ROWS):
        for p in range(n):
            a, b = pair[p]
            for row in range(max(above, box[p, 1]), min(above + _ROWS, box[p, 3])):
                left, right = _common(span, a, b, row)
                if left >= right:
                    continue
                x, y = np.float64(corner[0] + left), np.float64(corner[1] + row)
                line = plane[p, 0] + plane[p, 2] * y, plane[p, 1]
                at = _entry(parts, a, row, left), _entry(parts, b, row, left), right - left
                weights = total[row, left : right if count_once else left]
                limits = bounds[p, 0], bounds[p, 1]
                of_all, of_sure, between = _sum_row(parts, at, weights, line, x, limits)
                _add(whole[p], of_all, y)
                _add(sure[p], of_sure, y)
                if 0 < between <= most - number:
                    of, pixel = _with_room(of, pixel, number + between)
                    _list_row(parts, at, weights, line, x, limits, pixel[number:])
                    of[number : number + between] = p
                    pixel[number : number + between, 1] = y
                number += between
    for p in range(n):
        box[p, 0], box[p, 2] = box[p, 0] + corner[0], box[p, 2] + corner[0]
        box[p, 1], box[p, 3] = box[p, 1] + corner[1], box[p, 3] + corner[1]
    if number > most:
        reach[:] = -1.0
    listed = number if number <= most else 0
    return Scan(pair, box, whole, sure, plane, reach, number, of[:listed].copy(), pixel[:listed].copy())


@_jit
def _bounds(parts, planes, pair, box, area, span, least, limit, margin):
    """Give what is added to the step of each pair, how far other planes may be from it, and the limits.

    These are squares: within the first all is kept, beyond the second nothing.
    """
    n = len(pair)
    plane, reach, bounds = np.zeros((n, 3)), np.full(n, np.inf), np.full((n, 2), np.inf)
    for p in range(n):
        a, b = pair[p]
        if len(planes):
            plane[p] = planes[b] - planes[a]
        if limit == np.inf:
            continue
        if area[p] <= _LISTED and margin > 0:
            bounds[p, 0] = -1.0
            continue
        if not len(planes):
            steps = _steps(parts, pair[p], box[p], span, area[p])
            plane[p, 0] = -median_of(steps, len(steps)) if len(steps) else 0.0
        reach[p] = margin * np.sqrt(least[a] ** 2 + least[b] ** 2)
        bounds[p] = (limit - margin) ** 2, (limit + margin) ** 2
    return plane, reach, bounds


@_jit
def _pairs(parts: Parts, span: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the pairs that share a place, this (x, y of the first pixel, of that behind the last), and its size."""
    n = len(parts.start)
    pair, box = np.empty((n * (n - 1) // 2, 2), np.int64), np.empty((n * (n - 1) // 2, 4), np.int64)
    area, found = np.zeros(n * (n - 1) // 2, np.int64), 0
    for a in range(n):
        for b in range(a + 1, n):
            top = max(parts.place[a, 0], parts.place[b, 0])
            bottom = min(parts.place[a, 0] + parts.place[a, 2], parts.place[b, 0] + parts.place[b, 2])
            first, last, size = parts.nx, 0, 0
            for row in range(top, bottom):
                left, right = _common(span, a, b, row)
                if left < right:
                    first, last, size = min(first, left), max(last, right), size + right - left
            if size:
                pair[found], box[found], area[found] = (a, b), (first, top, last, bottom), size
                found += 1
    return pair[:found].copy(), box[:found].copy(), area[:found].copy()


@_jit
def _common(span: np.ndarray, a: int, b: int, row: int) -> tuple[int, int]:
    """Columns where both frames may have values."""
    return max(span[a, row, 0], span[b, row, 0]), min(span[a, row, 1], span[b, row, 1])


@_jit
def _entry(parts: Parts, number: int, row: int, column: int) -> int:
    """Entry of a part at a pixel of the tile."""
    top, left, _, columns = parts.place[number]
    return parts.start[number] + (row - top) * columns + column - left


@_jit
def _steps(parts: Parts, pair: np.ndarray, box: np.ndarray, span: np.ndarray, area: int) -> np.ndarray:
    """Differences of a pair, in a sample of its pixels."""
    a, b = pair
    steps, n, ahead, every = np.empty(2 * _SAMPLE + 1), 0, 0, max(1, area // _SAMPLE)
    for row in range(box[1], box[3]):
        left, right = _common(span, a, b, row)
        one, two = _entry(parts, a, row, left), _entry(parts, b, row, left)
        while ahead < right - left:
            if parts.coverage[one + ahead] > 0 and parts.coverage[two + ahead] > 0:
                steps[n] = parts.value[two + ahead] - parts.value[one + ahead]
                n += 1
            ahead += every
        ahead -= max(0, right - left)
    return steps[:n]


@_jit_sums
def _sum_row(parts, at, total, plane, x, limits):
    """Sum a row, all pixels and those within the inner limit, and count those between the limits."""
    a, b, n = at
    value_a, sigma_a, coverage_a = parts.value[a : a + n], parts.sigma[a : a + n], parts.coverage[a : a + n]
    value_b, sigma_b, coverage_b = parts.value[b : b + n], parts.sigma[b : b + n], parts.coverage[b : b + n]
    (level, slope), (inner, outer) = plane, limits
    w = wx = wxx = d = dx = kept_w = kept_wx = kept_wxx = kept_d = kept_dx = 0.0
    between = 0
    for i in range(n):
        variance_a, variance_b = np.float64(sigma_a[i]) ** 2, np.float64(sigma_b[i]) ** 2
        variance = variance_a + variance_b
        step = np.float64(value_b[i]) - np.float64(value_a[i])
        column = x + i
        off = step + level + slope * column
        weight = np.float64(coverage_a[i] * coverage_b[i])
        weight /= variance_a * variance_b * total[i] if total.size else variance
        w += weight
        wx += weight * column
        wxx += weight * column * column
        d += weight * step
        dx += weight * step * column
        kept = weight if off * off <= inner * variance else 0.0
        kept_w += kept
        kept_wx += kept * column
        kept_wxx += kept * column * column
        kept_d += kept * step
        kept_dx += kept * step * column
        between += (weight > kept) & (off * off <= outer * variance)
    return (w, wx, wxx, d, dx), (kept_w, kept_wx, kept_wxx, kept_d, kept_dx), between


@_jit
def _list_row(parts, at, total, plane, x, limits, pixel):
    """Write the pixels of a row that are between the limits: x, (y), weight, step, variance."""
    a, b, n = at
    (level, slope), (inner, outer) = plane, limits
    number = 0
    for i in range(n):
        variance_a, variance_b = np.float64(parts.sigma[a + i]) ** 2, np.float64(parts.sigma[b + i]) ** 2
        variance = variance_a + variance_b
        step = np.float64(parts.value[b + i]) - np.float64(parts.value[a + i])
        off = step + level + slope * (x + i)
        weight = np.float64(parts.coverage[a + i] * parts.coverage[b + i])
        weight /= variance_a * variance_b * total[i] if total.size else variance
        if (
            weight > 0
            and not off * off <= inner * variance
            and off * off <= outer * variance
            and number < len(pixel)
        ):
            pixel[number, 0], pixel[number, 2], pixel[number, 3], pixel[number, 4] = (
                x + i,
                weight,
                step,
                variance,
            )
            number += 1


@_jit
def _with_room(of: np.ndarray, pixel: np.ndarray, needed: int) -> tuple[np.ndarray, np.ndarray]:
    """Give a list room for more pixels."""
    if needed <= len(of):
        return of, pixel
    more_of, more_pixel = np.zeros(2 * needed, np.int64), np.zeros((2 * needed, 5))
    more_of[: len(of)], more_pixel[: len(pixel)] = of, pixel
    return more_of, more_pixel


@_jit
def _add(sums, found, y):
    """Add the sums over a row of the mosaic to those of a pair."""
    w, wx, wxx, d, dx = found
    sums[0] += w
    sums[1] += d
    if sums.size > 2:
        sums[2] += wx
        sums[3] += w * y
        sums[4] += wxx
        sums[5] += wx * y
        sums[6] += w * y * y
        sums[7] += dx
        sums[8] += d * y
