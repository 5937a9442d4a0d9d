"""Images averaged over quadrilaterals, dropped on them, and labels of the largest part, by exact areas.

Rows of quadrilaterals, their areas and coordinates are those of `pymopex.cell_areas`.
"""

from __future__ import annotations

import numpy as np

from pymopex.cell_areas import (
    Workspace,
    cell_areas,
    jit,
    load_row,
    next_row,
    on_image,
    places,
    shifts,
    touches,
    workspace,
)
from pymopex.pixel_map import MappedGrid, map_row

COVERAGE_FLOOR = 1e-6
"""Coverage below this is below the accuracy of the maps and counts as none."""

_PLANES = 4  # value, error, good, one
_NONE = np.float32(0.0)


def gather(
    corners: MappedGrid, span: tuple[int, int], data: np.ndarray, sigma: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average an image over quadrilaterals: each output pixel projected on the input frame.

    Parameters
    ----------
    corners : MappedGrid of (ny+1, nx+1) points
        Corners of the output pixels in input pixels.
    span : tuple of int
        Most columns and rows of input pixels that an output pixel touches.
    data, sigma : ndarray, shape (my, mx)
        Input, zero where not good; `sigma` may be of size 0.
    good : ndarray, shape (my, mx)
        1 for pixels to use, 0 for others.

    Returns
    -------
    mean, mean_sigma, coverage : float32 ndarray, shape (ny, nx)
        Area-weighted means over good pixels, NaN where there are none, and the fraction of the area covered.
    """
    n = corners.tx.shape[1] - 1
    border = max(span)
    packed = _packed(data, sigma if sigma.size else np.zeros_like(data), good, border)
    mean, mean_sigma, coverage = _gather(
        corners.scaled(1.0, 0.5, 0.5), workspace(span, n, n + 1), packed, border, data.shape
    )
    return mean, mean_sigma if sigma.size else sigma.astype(np.float32), coverage


@jit
def _packed(data: np.ndarray, sigma: np.ndarray, good: np.ndarray, border: int) -> np.ndarray:
    """Put value, error, good and 1 of each pixel side by side, with a border for cells off the image."""
    ny, nx = data.shape
    out = np.zeros((ny + 2 * border, nx + 2 * border, _PLANES))
    out[:, :, _PLANES - 1] = 1.0
    for j in range(ny):
        for i in range(nx):
            at = out[j + border, i + border]
            at[0], at[1], at[2] = data[j, i], sigma[j, i], good[j, i]
    return out


@jit
def _gather(
    corners: MappedGrid, work: Workspace, packed: np.ndarray, border: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    ny, nx = corners.ty.shape[1] - 1, corners.tx.shape[1] - 1
    mean, mean_sigma = np.empty((ny, nx), np.float32), np.empty((ny, nx), np.float32)
    coverage = np.empty((ny, nx), np.float32)
    lines, span, first, areas = work.lines, (work.width, work.height), work.first, work.areas
    behind = shifts(work, packed.shape[1])
    at, sums, flat = np.empty(nx, np.int32), np.empty((nx, _PLANES)), packed.ravel()
    for j in range(ny):
        sides = next_row(corners, j, lines)
        start, stop = on_image(sides, span, shape)
        n = stop - start
        for outside in (slice(0, start), slice(stop, nx)):
            mean[j, outside], mean_sigma[j, outside], coverage[j, outside] = np.nan, np.nan, 0.0
        if n:
            load_row(work, sides, 1, start, n)
            cell_areas(work, n)
            places(first, span, shape, border, at[:n])
            _sum_cells(areas, n, at, behind, flat, sums)
            _means(sums, n, mean[j, start:], mean_sigma[j, start:], coverage[j, start:])
    return mean, mean_sigma, coverage


@jit
def _sum_cells(
    areas: np.ndarray, n: int, at: np.ndarray, behind: np.ndarray, flat: np.ndarray, sums: np.ndarray
) -> None:
    """Sum area times each plane over the cells of a quadrilateral, whose first one is at a place of the planes."""
    one, two, three = np.uint64(1), np.uint64(2), np.uint64(3)  # unsigned: no test for negative indices
    for k in range(n):
        value = error = weight = total = 0.0
        for c in range(behind.size):
            area = np.float64(areas[c, k])
            place = np.uint64((at[k] + behind[c]) * _PLANES)
            value += area * flat[place]
            error += area * flat[place + one]
            weight += area * flat[place + two]
            total += area * flat[place + three]
        sums[k, 0], sums[k, 1], sums[k, 2], sums[k, 3] = value, error, weight, total


@jit
def _means(sums: np.ndarray, n: int, mean: np.ndarray, mean_sigma: np.ndarray, coverage: np.ndarray) -> None:
    nan = np.float32(np.nan)
    for k in range(n):
        value, error, weight, total = sums[k, 0], sums[k, 1], sums[k, 2], sums[k, 3]
        covered, inverse = weight > COVERAGE_FLOOR * total, 1.0 / weight
        mean[k] = np.float32(value * inverse) if covered else nan
        mean_sigma[k] = np.float32(error * inverse) if covered else nan
        coverage[k] = np.float32(weight) / np.float32(total) if covered else _NONE


def scatter(
    corners: MappedGrid,
    step: int,
    span: tuple[int, int],
    data: np.ndarray,
    sigma: np.ndarray,
    good: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop quadrilaterals on a grid: each good input pixel projected on the output.

    Parameters
    ----------
    corners : MappedGrid
        Corners of the input pixels in output pixels.
    step : int
        1 if neighbours share corners, 2 if each has its own.
    span : tuple of int
        Most columns and rows of output pixels that an input pixel touches.
    data, sigma, good : ndarray, shape (my, mx)
        As for `gather`.
    shape : (ny, nx)
        Of the output.

    Returns
    -------
    value, error, weight : ndarray, shape (ny, nx)
        Sums of area times data, of area times sigma, and of area in output pixels.
    """
    work = workspace(span, data.shape[1], corners.tx.shape[1], small=True)  # pixels can be shrunk to points
    return _scatter(corners.scaled(1.0, 0.5, 0.5), step, work, data, sigma, good, shape)


@jit
def _scatter(
    corners: MappedGrid,
    step: int,
    work: Workspace,
    data: np.ndarray,
    sigma: np.ndarray,
    good: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    value, weight = np.zeros(shape), np.zeros(shape)
    error = np.zeros(shape if sigma.size else (0, 0))
    n, width, height, first, areas = data.shape[1], work.width, work.height, work.first, work.areas
    lines = work.lines
    for j in range(data.shape[0]):
        if step == 1:
            low, high = next_row(corners, j, lines)
        else:
            low, high = lines[0], lines[1]
            map_row(corners, 2 * j, low[0], low[1])
            map_row(corners, 2 * j + 1, high[0], high[1])
        load_row(work, (low, high), step, 0, n)
        cell_areas(work, n)
        for k in range(n):
            i0, j0 = first[0, k], first[1, k]
            if good[j, k] == 0.0 or not touches(i0, j0, (width, height), shape):
                continue
            for b in range(max(0, -j0), min(height, shape[0] - j0)):
                for a in range(max(0, -i0), min(width, shape[1] - i0)):
                    area = areas[b * width + a, k]
                    weight[j0 + b, i0 + a] += area
                    value[j0 + b, i0 + a] += area * data[j, k]
                    if sigma.size:
                        error[j0 + b, i0 + a] += area * sigma[j, k]
    return value, error, weight


def largest_labels(corners: MappedGrid, span: tuple[int, int], labels: np.ndarray) -> np.ndarray:
    """Give each quadrilateral the positive label that covers most of it.

    Parameters
    ----------
    corners : MappedGrid of (ny+1, nx+1) points
        Corners of the output pixels in input pixels.
    span : tuple of int
        Most columns and rows of input pixels that an output pixel touches.
    labels : int32 ndarray, shape (my, mx)
        Labels; those not above 0 are background.

    Returns
    -------
    int32 ndarray, shape (ny, nx)
        The label; 0 where labels cover less than half of the part that lies on the image.
    """
    n = corners.tx.shape[1] - 1
    return _largest_labels(corners.scaled(1.0, 0.5, 0.5), workspace(span, n, n + 1), labels)


@jit
def _largest_labels(corners: MappedGrid, work: Workspace, labels: np.ndarray) -> np.ndarray:
    ny, nx = corners.ty.shape[1] - 1, corners.tx.shape[1] - 1
    width, height, first, areas, floor = work.width, work.height, work.first, work.areas, work.floor
    out = np.zeros((ny, nx), np.int32)
    found, shares = np.zeros(width * height, np.int32), np.zeros(width * height)
    near, where, lines = _near_labels(labels, width, height), np.empty(nx, np.int64), work.lines
    for j in range(ny):
        sides = next_row(corners, j, lines)
        start, stop = on_image(sides, (width, height), labels.shape)
        load_row(work, sides, 1, start, stop - start)
        n = _keep_near(work, stop - start, near, where)  # labels are sparse: most pixels are not looked at
        cell_areas(work, n)
        for k in range(n):
            at = (first[0, k], first[1, k], width, height)
            out[j, start + where[k]] = _label_of(labels, at, areas[:, k], floor, found, shares)
    return out


@jit
def _keep_near(work: Workspace, n: int, near: np.ndarray, where: np.ndarray) -> int:
    """Keep those of n quadrilaterals that may have a label, their numbers in `where`; gives how many they are."""
    first, q, width, height = work.first, work.q, work.width, work.height
    kept = 0
    for k in range(n):
        a, b = first[0, k] + width, first[1, k] + height
        if 0 <= a < near.shape[1] and 0 <= b < near.shape[0] and near[b, a]:
            where[kept] = k
            first[0, kept], first[1, kept] = first[0, k], first[1, k]
            for row in range(8):
                q[row, kept] = q[row, k]
            kept += 1
    return kept


@jit
def _near_labels(labels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Tell for each first cell, that many cells off the image included, whether its quadrilateral may have a label."""
    ny, nx = labels.shape
    near = np.zeros((ny + height + 1, nx + width + 1), np.bool_)
    for j in range(ny):
        for i in range(nx):
            if labels[j, i] > 0:
                near[j + 1 : j + height + 1, i + 1 : i + width + 1] = True
    return near


@jit
def _label_of(
    labels: np.ndarray,
    at: tuple[int, int, int, int],
    areas: np.ndarray,
    floor: float,
    found: np.ndarray,
    shares: np.ndarray,
) -> int:
    """Label of a quadrilateral by the areas of its cells: first column and row, number of columns and rows."""
    ny, nx = labels.shape
    i0, j0, width, height = at
    count = 0
    inside = labelled = 0.0
    for b in range(max(0, -j0), min(height, ny - j0)):
        for a in range(max(0, -i0), min(width, nx - i0)):
            area = areas[b * width + a]
            inside += area
            label = labels[j0 + b, i0 + a]
            if label <= 0 or area == 0.0:
                continue
            labelled += area
            c = 0
            while c < count and found[c] != label:
                c += 1
            if c == count:
                found[c], shares[c] = label, 0.0
                count += 1
            shares[c] += area
    if count and labelled >= 0.5 * inside - floor:
        return _leading_label(found, shares, count, floor)
    return 0


@jit
def _leading_label(labels: np.ndarray, shares: np.ndarray, count: int, floor: float) -> int:
    """Label with the largest share; of equal ones the smallest, so the order of pixels does not matter."""
    best = 0
    for k in range(1, count):
        more = shares[k] - shares[best]
        if more > floor or (more > -floor and labels[k] < labels[best]):
            best = k
    return labels[best]
