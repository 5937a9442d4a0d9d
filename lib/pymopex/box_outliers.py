"""Biased median and scatter of the values of all frames in a box round each pixel.

Pixels beside each other share most of their boxes. The values of a column of the box are sorted once, for all boxes
that hold the column; those of a box are merged from its columns; and both are done for a block of pixels at once
(`pymopex.sort_networks`). Where the stack is so deep that the networks would be long, values of a rank are selected.
"""

from __future__ import annotations

import numba
import numpy as np

from pymopex.geometry import Box
from pymopex.order_statistics import select_rank
from pymopex.outliers import MAD, deepest_pixel, least_sigma, pixel_statistics
from pymopex.sort_networks import BLOCK, LONGEST, Tables, merging, run, sorting, tables
from pymopex.stack import Stack, column_counts, fill_columns


def box_statistics(
    stack: Stack, *, box_x: int, box_y: int, bias: int, core: Box, reach: Box, min_pix_num: int = 3
) -> tuple[np.ndarray, np.ndarray]:
    """Biased median and scatter of the values in a box round each pixel.

    Parameters
    ----------
    stack : Stack
        Values on `reach`.
    box_x, box_y : int
        Size of the box; an even size reaches one pixel further to the left and down.
    bias : int
        The value at rank N/2 - bias (from 0, ascending) is taken in place of the median.
    core, reach : Box
        Pixels wanted, and pixels of the stack, which hold the core and as much of its surroundings as there is.
    min_pix_num : int
        As for `temporal_statistics`, where that takes the place.

    Returns
    -------
    centre, scatter : float32 ndarray, shape core.shape
        NaN where there is no value.

    Notes
    -----
    Where none of the pixel's own values lies within one scatter of the centre, as at the core of a star, the
    temporal statistics of the pixel are taken. As there, the scatter is not less than the smallest uncertainty
    of the pixel; the reference does not say so of the box, but a box holds few independent values.
    """
    rows, columns = core.within(reach)
    corner = (rows.start, columns.start)
    longest = min(LONGEST, deepest_pixel(stack) * box_y)
    networks = tables([sorting(n) for n in range(longest + 1)])
    merges = tables([merging(n, box_x) for n in range(longest + 1)])
    return _boxes(stack, (box_y, box_x), bias, corner, core.shape, min_pix_num, networks, merges)


@numba.njit(cache=True, nogil=True)
def _box_values(stack: Stack, y: int, x: int, size: tuple[int, int], values: np.ndarray) -> int:
    """Collect the values of all frames in the box round a pixel; gives their number."""
    n = 0
    y0, x0 = y - size[0] // 2, x - size[1] // 2
    for row in range(max(0, y0), min(stack.ny, y0 + size[0])):
        start = stack.first[row * stack.nx + max(0, x0)]
        stop = stack.first[row * stack.nx + min(stack.nx, x0 + size[1])]
        for i in range(start, stop):
            values[n] = stack.value[i]
            n += 1
    return n


@numba.njit(cache=True, nogil=True)
def _of_sorted(
    rows: np.ndarray,
    order: np.ndarray,
    counts: np.ndarray,
    side: int,
    bias: int,
    middles: np.ndarray,
    widths: np.ndarray,
) -> None:
    """Centre and scatter of the values of each box of a block, the row of each rank given.

    A box has the values of `side` columns, whose numbers are the counts. The scatter is the distance of the same rank.
    Distances of the values below the centre, and of those above, are sorted: the number that is taken of the lower
    ones is halved until both lists agree.
    """
    for i in range(middles.size):
        n = 0
        for column in range(side):
            n += counts[i + column]
        if n == 0:
            continue
        rank = max(0, n // 2 - bias)
        middle = np.float64(rows[order[rank], i])
        wanted, above = rank + 1, n - rank - 1  # the value itself counts below, with distance 0
        low, high = max(1, wanted - above), wanted
        while low < high:
            part = (low + high) // 2
            below_next = middle - rows[order[rank - part], i]
            above_last = rows[order[rank + wanted - part], i] - middle
            if below_next < above_last:
                low = part + 1
            else:
                high = part
        width = middle - rows[order[rank - low + 1], i]
        if wanted > low:
            width = max(width, rows[order[rank + wanted - low], i] - middle)
        middles[i], widths[i] = middle, width


@numba.njit(cache=True, nogil=True)
def _settle(
    first: np.ndarray, value: np.ndarray, least: np.ndarray, middle: np.ndarray, width: np.ndarray
) -> None:
    """Turn widths of boxes into scatters that are not below the smallest uncertainty of the pixel.

    Pixels without values get NaN, those without one near the centre of their box a negative scatter.
    """
    for i in range(middle.size):
        start, stop = first[i], first[i + 1]
        if stop == start:
            middle[i] = width[i] = np.nan
            continue
        scatter, near = max(width[i] / MAD, least[i]), False
        for k in range(start, stop):
            near = near or abs(value[k] - middle[i]) <= scatter
        width[i] = scatter if near else -1.0


@numba.njit(cache=True, nogil=True)
def _select(
    stack: Stack, y: int, x: int, size: tuple[int, int], bias: int, values: np.ndarray, work: np.ndarray
) -> tuple[float, float]:
    """Centre and scatter of one box."""
    n = _box_values(stack, y, x, size, values)
    rank = max(0, n // 2 - bias)
    work[:n] = values[:n]
    middle = select_rank(work, n, rank)
    for k in range(n):
        work[k] = abs(values[k] - middle)
    return middle, select_rank(work, n, rank)


@numba.njit(cache=True, nogil=True)
def _boxes(
    stack: Stack,
    size: tuple[int, int],
    bias: int,
    corner: tuple[int, int],
    shape: tuple[int, int],
    min_pix_num: int,
    sorts: Tables,
    merges: Tables,
) -> tuple[np.ndarray, np.ndarray]:
    centre = np.full(shape, np.nan, np.float32)
    scatter = centre.copy()
    deepest = deepest_pixel(stack) * size[0] * size[1]
    values, work = np.empty(deepest), np.empty(deepest)
    middles, widths, least = np.empty(BLOCK), np.empty(BLOCK), np.empty(BLOCK)
    most = sorts[0].size - 2
    counts = np.empty(BLOCK + size[1] - 1, np.int64)
    columns = np.empty((most, counts.size), np.float32)
    rows = np.empty((most * size[1], BLOCK), np.float32)
    for j in range(shape[0]):
        for i in range(0, shape[1], BLOCK):
            wide = min(BLOCK, shape[1] - i)
            y, x = corner[0] + j, corner[1] + i
            left, middle, width = x - size[1] // 2, middles[:wide], widths[:wide]
            longest = column_counts(stack, y, left, size[0], counts[: wide + size[1] - 1])
            if longest == 0:
                continue
            first = stack.first[y * stack.nx + x :]
            if longest <= most:
                order = _sort_block(stack, (y, left), size, longest, wide, columns, rows, sorts, merges)
                _of_sorted(rows, order, counts, size[1], bias, middle, width)
            else:
                for k in range(wide):
                    if first[k] < first[k + 1]:
                        middle[k], width[k] = _select(stack, y, x + k, size, bias, values, work)
            least_sigma(first, stack.sigma, least[:wide])
            _settle(first, stack.value, least, middle, width)
            for k in range(wide):
                if width[k] < 0.0:
                    middle[k], width[k] = pixel_statistics(
                        stack, y * stack.nx + x + k, True, min_pix_num, values, work
                    )
            centre[j, i : i + wide], scatter[j, i : i + wide] = middle, width
    return centre, scatter


@numba.njit(cache=True, nogil=True)
def _sort_block(
    stack: Stack,
    at: tuple[int, int],
    size: tuple[int, int],
    longest: int,
    width: int,
    columns: np.ndarray,
    rows: np.ndarray,
    sorts: Tables,
    merges: Tables,
) -> np.ndarray:
    """Sort the values of the boxes of a block; gives the row of each rank."""
    wide = width + size[1] - 1
    fill_columns(stack, at[0], at[1], size[0], longest, columns[:, :wide])
    order = run(sorts, longest, columns, wide)
    for part in range(size[1]):
        for k in range(longest):
            rows[part * longest + k, :width] = columns[order[k], part : part + width]
    return run(merges, longest, rows, width)
