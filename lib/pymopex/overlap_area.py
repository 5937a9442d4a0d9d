"""Exact areas that quadrilaterals share with the unit cells of a pixel grid.

Coordinates are 0-based pixels: cell (i, j) covers i-0.5..i+0.5, j-0.5..j+0.5. The quadrilaterals come as a
grid of their corners: quadrilateral (row, column) has the corners of row ``step*row`` and the next, and of
column ``step*column`` and the next. With step 1 neighbours share their corners, so they tile the plane,
with no gap or overlap.

The area of a polygon left of x = c and below y = r is the line integral of min(x, c) d min(y, r) round it
(Green's theorem). It has a closed form for each edge without a branch, so a row of quadrilaterals is worked
on at once; differences of these areas between neighbouring lines of the grid are the areas in the cells.
"""

from __future__ import annotations

import numba
import numpy as np

AREA_FLOOR = 1e-9
"""Shared areas below this (in cells) are rounding and count as none."""

COVERAGE_FLOOR = 1e-6
"""Coverage below this is below the accuracy of the maps and counts as none."""

_BLOCK = 128  # quadrilaterals worked on at once: their areas stay in the fast cache

jit = numba.njit(cache=True, nogil=True, error_model="numpy")
jit_inline = numba.njit(inline="always", error_model="numpy")


@jit_inline
def _mean_below(ua: float, ub: float) -> float:
    """Mean of min(u, 0) along an edge from ua to ub."""
    na, nb = min(ua, 0.0), min(ub, 0.0)
    span = ua - ub
    part = (na - nb) / (span if span != 0.0 else 1.0)
    if span == 0.0:
        part = 1.0 if ua < 0.0 else 0.0
    return 0.5 * (na + nb) * part


@jit_inline
def _corner_edge(ua: float, va: float, ub: float, vb: float) -> float:
    """Line integral of min(u, 0) d min(v, 0) along an edge: the part with v < 0 is cut out of it first."""
    span = abs(va - vb)
    inverse = 1.0 / (span if span != 0.0 else 1.0)
    pa = ua + (ub - ua) * min(max(va, 0.0) * inverse, 1.0)
    pb = ub + (ua - ub) * min(max(vb, 0.0) * inverse, 1.0)
    return (min(vb, 0.0) - min(va, 0.0)) * _mean_below(pa, pb)


@jit
def _total(q: np.ndarray, n: int, out: np.ndarray) -> None:
    """Signed areas of the quadrilaterals; q has the rows x0, x1, x2, x3, y0, y1, y2, y3."""
    for i in range(n):
        out[i] = 0.5 * ((q[2, i] - q[0, i]) * (q[7, i] - q[5, i]) - (q[3, i] - q[1, i]) * (q[6, i] - q[4, i]))


@jit
def _left_of(q: np.ndarray, n: int, first: int, c: float, out: np.ndarray) -> None:
    """Signed areas left of x = c, from the rows of x at `first`; with first = 4 minus those below y = c."""
    other = 4 - first
    for i in range(n):
        u0, u1, u2, u3 = q[first, i] - c, q[first + 1, i] - c, q[first + 2, i] - c, q[first + 3, i] - c
        v0, v1, v2, v3 = q[other, i], q[other + 1, i], q[other + 2, i], q[other + 3, i]
        out[i] = (
            (v1 - v0) * _mean_below(u0, u1)
            + (v2 - v1) * _mean_below(u1, u2)
            + (v3 - v2) * _mean_below(u2, u3)
            + (v0 - v3) * _mean_below(u3, u0)
        )


@jit
def _corner_of(q: np.ndarray, n: int, c: float, r: float, out: np.ndarray) -> None:
    """Signed areas left of x = c and below y = r."""
    for i in range(n):
        u0, u1, u2, u3 = q[0, i] - c, q[1, i] - c, q[2, i] - c, q[3, i] - c
        v0, v1, v2, v3 = q[4, i] - r, q[5, i] - r, q[6, i] - r, q[7, i] - r
        out[i] = (
            _corner_edge(u0, v0, u1, v1)
            + _corner_edge(u1, v1, u2, v2)
            + _corner_edge(u2, v2, u3, v3)
            + _corner_edge(u3, v3, u0, v0)
        )


@jit
def _load(
    X: np.ndarray, Y: np.ndarray, j: int, i: int, step: int, n: int, q: np.ndarray, first: np.ndarray
) -> None:
    """Copy corners to q, relative to the lower left corner of the first cell of each quadrilateral."""
    i0, j0 = first[0], first[1]
    for k in range(n):
        a = i + step * k
        x0, x1, x2, x3 = X[j, a] + 0.5, X[j, a + 1] + 0.5, X[j + 1, a + 1] + 0.5, X[j + 1, a] + 0.5
        y0, y1, y2, y3 = Y[j, a] + 0.5, Y[j, a + 1] + 0.5, Y[j + 1, a + 1] + 0.5, Y[j + 1, a] + 0.5
        left = np.floor(min(min(x0, x1), min(x2, x3)))
        bottom = np.floor(min(min(y0, y1), min(y2, y3)))
        i0[k], j0[k] = int(left), int(bottom)
        q[0, k], q[1, k], q[2, k], q[3, k] = x0 - left, x1 - left, x2 - left, x3 - left
        q[4, k], q[5, k], q[6, k], q[7, k] = y0 - bottom, y1 - bottom, y2 - bottom, y3 - bottom


@jit
def _cells(q: np.ndarray, n: int, width: int, height: int, areas: np.ndarray) -> None:
    """Areas in cell (k, l) of each quadrilateral, in row l*width + k of `areas`."""
    last = width * height - 1
    _total(q, n, areas[last])
    total = areas[last]
    for k in range(width - 1):
        _left_of(q, n, 0, k + 1.0, areas[(height - 1) * width + k])
    for m in range(height - 1):
        below = areas[m * width + width - 1]
        _left_of(q, n, 4, m + 1.0, below)
        for i in range(n):
            below[i] = -below[i]
        for k in range(width - 1):
            _corner_of(q, n, k + 1.0, m + 1.0, areas[m * width + k])
    for i in range(n):
        if total[i] < 0.0:
            for k in range(last + 1):
                areas[k, i] = -areas[k, i]
    for row in range(height):  # differences along x, then along y, from the far end
        for k in range(width - 1, 0, -1):
            for i in range(n):
                areas[row * width + k, i] -= areas[row * width + k - 1, i]
    for k in range(last, width - 1, -1):
        for i in range(n):
            areas[k, i] -= areas[k - width, i]


@jit
def _cell_span(X: np.ndarray, Y: np.ndarray, step: int) -> tuple[int, int]:
    """Find the largest number of columns and of rows of cells that a quadrilateral touches."""
    width = height = 0
    for j in range(0, X.shape[0] - 1, step):
        for i in range(0, X.shape[1] - 1, step):
            x0 = min(min(X[j, i], X[j, i + 1]), min(X[j + 1, i], X[j + 1, i + 1]))
            x1 = max(max(X[j, i], X[j, i + 1]), max(X[j + 1, i], X[j + 1, i + 1]))
            y0 = min(min(Y[j, i], Y[j, i + 1]), min(Y[j + 1, i], Y[j + 1, i + 1]))
            y1 = max(max(Y[j, i], Y[j, i + 1]), max(Y[j + 1, i], Y[j + 1, i + 1]))
            width = max(width, int(np.floor(x1 + 0.5) - np.floor(x0 + 0.5)))
            height = max(height, int(np.floor(y1 + 0.5) - np.floor(y0 + 0.5)))
    return width + 1, height + 1


@jit
def workspace(X: np.ndarray, Y: np.ndarray, step: int) -> tuple[int, int, np.ndarray, np.ndarray, np.ndarray]:
    """Span of the cells, and arrays for corners, areas and first cells (x, y) of a block."""
    width, height = _cell_span(X, Y, step)
    block = max(8, min(_BLOCK, 16 * _BLOCK // (width * height)))
    return (
        width,
        height,
        np.empty((8, block)),
        np.empty((width * height, block)),
        np.empty((2, block), np.int64),
    )


@jit
def block_areas(
    X: np.ndarray,
    Y: np.ndarray,
    at: tuple[int, int, int, int],
    span: tuple[int, int],
    shape: tuple[int, int],
    q: np.ndarray,
    areas: np.ndarray,
    first: np.ndarray,
) -> bool:
    """Fill the work arrays for the quadrilaterals from (row, column) on; False if none is on the image."""
    j, i, step, n = at
    width, height = span
    _load(X, Y, step * j, step * i, step, n, q, first)
    i0, j0 = first[0, :n], first[1, :n]
    if i0.max() < -width or i0.min() >= shape[1] or j0.max() < -height or j0.min() >= shape[0]:
        return False
    _cells(q, n, width, height, areas)
    for k in range(areas.shape[0]):
        for m in range(n):
            areas[k, m] = areas[k, m] if areas[k, m] > AREA_FLOOR else 0.0
    return True


@jit
def _touches(i0: int, j0: int, width: int, height: int, shape: tuple[int, int]) -> bool:
    return -width < i0 < shape[1] and -height < j0 < shape[0]


@jit
def _padded(image: np.ndarray, border: int) -> np.ndarray:
    """Flatten an image with a border of zeros, so that cells off the image need no test."""
    ny, nx = image.shape
    out = np.zeros((ny + 2 * border, nx + 2 * border))
    out[border : border + ny, border : border + nx] = image
    return out.ravel()


@jit
def _accumulate(
    areas: np.ndarray, at: np.ndarray, shift: int, n: int, values: np.ndarray, sums: np.ndarray
) -> None:
    """Add area times value of one cell of each quadrilateral, the cell `shift` after the first one."""
    for k in range(n):
        sums[k] += areas[k] * values[np.uint64(at[k] + shift)]  # unsigned: no test for negative indices


@jit
def gather(
    X: np.ndarray, Y: np.ndarray, data: np.ndarray, sigma: np.ndarray, good: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average an image over quadrilaterals: each output pixel projected on the input frame.

    Parameters
    ----------
    X, Y : ndarray, shape (ny+1, nx+1)
        Corners of the output pixels in input pixels.
    data, sigma : ndarray, shape (my, mx)
        Input, zero where not good; `sigma` may be of size 0.
    good : ndarray, shape (my, mx)
        1 for pixels to use, 0 for others.

    Returns
    -------
    mean, mean_sigma, coverage : float32 ndarray, shape (ny, nx)
        Area-weighted means over good pixels, NaN where there are none, and the fraction of the area covered.
    """
    ny, nx = X.shape[0] - 1, X.shape[1] - 1
    mean = np.full((ny, nx), np.nan, np.float32)
    mean_sigma = np.full((ny, nx) if sigma.size else (0, 0), np.nan, np.float32)
    coverage = np.zeros((ny, nx), np.float32)
    width, height, q, areas, first = workspace(X, Y, 1)
    border = max(width, height)
    stride = data.shape[1] + 2 * border
    values, usable, errors = _padded(data, border), _padded(good, border), _padded(sigma, border)
    block = first.shape[1]
    at, sums = np.zeros(block, np.int64), np.zeros((4, block))
    for j in range(ny):
        for i in range(0, nx, block):
            n = min(block, nx - i)
            if not block_areas(X, Y, (j, i, 1, n), (width, height), data.shape, q, areas, first):
                continue
            sums[:] = 0.0
            for k in range(n):
                at[k] = 0  # a corner of the border, for a quadrilateral off the image
                if _touches(first[0, k], first[1, k], width, height, data.shape):
                    at[k] = (first[1, k] + border) * stride + first[0, k] + border
            for cell in range(width * height):
                shift = cell // width * stride + cell % width
                for k in range(n):
                    sums[0, k] += areas[cell, k]
                _accumulate(areas[cell], at, shift, n, usable, sums[1])
                _accumulate(areas[cell], at, shift, n, values, sums[2])
                if sigma.size:
                    _accumulate(areas[cell], at, shift, n, errors, sums[3])
            for k in range(n):
                total, weight, value, error = sums[0, k], sums[1, k], sums[2, k], sums[3, k]
                if weight > COVERAGE_FLOOR * total:
                    mean[j, i + k] = value / weight
                    coverage[j, i + k] = weight / total
                    if sigma.size:
                        mean_sigma[j, i + k] = error / weight
    return mean, mean_sigma, coverage


@jit
def scatter(
    X: np.ndarray,
    Y: np.ndarray,
    step: int,
    data: np.ndarray,
    sigma: np.ndarray,
    good: np.ndarray,
    shape: tuple[int, int],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Drop quadrilaterals on a grid: each good input pixel projected on the output.

    Parameters
    ----------
    X, Y : ndarray
        Corners of the input pixels in output pixels.
    step : int
        1 if neighbours share corners, 2 if each has its own.
    data, sigma, good : ndarray, shape (my, mx)
        As for `gather`.
    shape : (ny, nx)
        Of the output.

    Returns
    -------
    value, error, weight : ndarray, shape (ny, nx)
        Sums of area times data, of area times sigma, and of area in output pixels.
    """
    value, weight = np.zeros(shape), np.zeros(shape)
    error = np.zeros(shape if sigma.size else (0, 0))
    width, height, q, areas, first = workspace(X, Y, step)
    block = first.shape[1]
    for j in range(data.shape[0]):
        for i in range(0, data.shape[1], block):
            n = min(block, data.shape[1] - i)
            if not block_areas(X, Y, (j, i, step, n), (width, height), shape, q, areas, first):
                continue
            for k in range(n):
                i0, j0 = first[0, k], first[1, k]
                if good[j, i + k] == 0.0 or not _touches(i0, j0, width, height, shape):
                    continue
                for b in range(max(0, -j0), min(height, shape[0] - j0)):
                    for a in range(max(0, -i0), min(width, shape[1] - i0)):
                        area = areas[b * width + a, k]
                        weight[j0 + b, i0 + a] += area
                        value[j0 + b, i0 + a] += area * data[j, i + k]
                        if sigma.size:
                            error[j0 + b, i0 + a] += area * sigma[j, i + k]
    return value, error, weight


@jit
def _leading_label(labels: np.ndarray, shares: np.ndarray, count: int) -> int:
    """Label with the largest share; of equal ones the smallest, so the order of pixels does not matter."""
    best = 0
    for k in range(1, count):
        more = shares[k] - shares[best]
        if more > AREA_FLOOR or (more > -AREA_FLOOR and labels[k] < labels[best]):
            best = k
    return labels[best]


@jit
def largest_labels(X: np.ndarray, Y: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Give each quadrilateral the positive label that covers most of it.

    Parameters
    ----------
    X, Y : ndarray, shape (ny+1, nx+1)
        Corners of the output pixels in input pixels.
    labels : int32 ndarray, shape (my, mx)
        Labels; those not above 0 are background.

    Returns
    -------
    int32 ndarray, shape (ny, nx)
        The label; 0 where labels cover less than half of the part that lies on the image.
    """
    ny, nx = X.shape[0] - 1, X.shape[1] - 1
    out = np.zeros((ny, nx), np.int32)
    width, height, q, areas, first = workspace(X, Y, 1)
    found, shares = np.zeros(width * height, np.int32), np.zeros(width * height)
    near, where = _near_labels(labels, width, height), np.empty(nx, np.int64)
    corners = np.empty((4, 2 * first.shape[1]))
    for j in range(ny):
        n_near = 0
        for i in range(nx):  # labels are sparse: most pixels are not looked at
            x0 = min(min(X[j, i], X[j, i + 1]), min(X[j + 1, i], X[j + 1, i + 1]))
            y0 = min(min(Y[j, i], Y[j, i + 1]), min(Y[j + 1, i], Y[j + 1, i + 1]))
            a, b = int(np.floor(x0 + 0.5)) + width, int(np.floor(y0 + 0.5)) + height
            if 0 <= a < near.shape[1] and 0 <= b < near.shape[0] and near[b, a]:
                where[n_near] = i
                n_near += 1
        for start in range(0, n_near, first.shape[1]):
            n = min(first.shape[1], n_near - start)
            for k in range(n):
                i = where[start + k]
                corners[0, 2 * k], corners[0, 2 * k + 1] = X[j, i], X[j, i + 1]
                corners[1, 2 * k], corners[1, 2 * k + 1] = X[j + 1, i], X[j + 1, i + 1]
                corners[2, 2 * k], corners[2, 2 * k + 1] = Y[j, i], Y[j, i + 1]
                corners[3, 2 * k], corners[3, 2 * k + 1] = Y[j + 1, i], Y[j + 1, i + 1]
            if block_areas(
                corners[:2], corners[2:], (0, 0, 2, n), (width, height), labels.shape, q, areas, first
            ):
                for k in range(n):
                    out[j, where[start + k]] = _label_of(
                        labels, first[0, k], first[1, k], areas[:, k], width, height, found, shares
                    )
    return out


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
    i0: int,
    j0: int,
    areas: np.ndarray,
    width: int,
    height: int,
    found: np.ndarray,
    shares: np.ndarray,
) -> int:
    """Label of a quadrilateral by the areas of its cells."""
    ny, nx = labels.shape
    count = 0
    on_image = labelled = 0.0
    for b in range(max(0, -j0), min(height, ny - j0)):
        for a in range(max(0, -i0), min(width, nx - i0)):
            area = areas[b * width + a]
            on_image += area
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
    if count and labelled >= 0.5 * on_image - AREA_FLOOR:
        return _leading_label(found, shares, count)
    return 0
