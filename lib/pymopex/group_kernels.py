"""Compiled loops over the pixels and frames of a group of sources."""

from __future__ import annotations

import math

import numpy as np

from pymopex.batches import Group
from pymopex.jit import entry, leaf


@leaf
def pixels_of(group: Group, j0: int, j1: int) -> int:
    """Give the number of pixels in the frames j0 to j1 - 1 that count."""
    count = 0
    for i in range(group.first[j0], group.first[j1]):
        count += group.weight[i] > 0.0
    return count


@leaf
def in_box(dx: int, dy: int, size_x: int, size_y: int) -> bool:
    """Tell whether a pixel is in a box from whose lower left pixel it is so far off.

    Functions of single pixels take no groups: each call would count their arrays forth and back.
    """
    return (dx >= 0) & (dx < size_x) & (dy >= 0) & (dy < size_y)


@leaf
def pixels_per_arcsec(group: Group, n: int) -> float:
    """Scale of the frames at source n of the fit, mean of those that hold it; 1 where none does."""
    total, count = 0.0, 0
    for j in range(group.row.size):
        at = group.row[j] + group.which[n]
        jac = group.jacobian
        det = abs(jac[at, 0, 0] * jac[at, 1, 1] - jac[at, 0, 1] * jac[at, 1, 0])
        if math.isfinite(det) and math.isfinite(group.x[at]):
            total += math.sqrt(det)
            count += 1
    return total / count if total > 0.0 else 1.0


@entry
def masked_core(group: Group, n: int) -> float:
    """Give the radius of the masked core of source n [pixel]; 0 for one that is not masked.

    The core is masked if in half of the frames the pixel of the source and another of the 3 x 3 round it are.
    """
    half = min(3, group.fit_x // 2, group.fit_y // 2)
    held, masked, missing = 0, 0, np.empty(group.row.size)
    for j in range(group.row.size):
        at = group.row[j] + group.which[n]
        if group.first[j] == group.first[j + 1] or not math.isfinite(group.x[at]):
            continue
        held += 1
        x, y = np.rint(group.x[at]), np.rint(group.y[at])
        own, near, box = 0, 0, 0
        for i in range(group.first[j], group.first[j + 1]):
            far = max(abs(group.px[i] - x), abs(group.py[i] - y))
            own += far <= 0
            near += far <= 1
            box += far <= half
        if own == 0 and near <= 7:
            missing[masked] = (2 * half + 1) ** 2 - box
            masked += 1
    if masked and 2 * masked >= held:
        return math.sqrt(np.median(missing[:masked]) / math.pi)
    return 0.0


@entry
def box_variance(group: Group, n: int, box: int) -> float:
    """Variance of the sum of a box of pixels at source n, of the mean of all frames [image unit squared].

    If all pixels there are masked, those of the fit stand for them.
    """
    half, out = box // 2, np.nan
    for whole in range(2):
        total, count, frames = 0.0, 0, 0
        for j in range(group.row.size):
            at, before = group.row[j] + group.which[n], count
            x, y = np.rint(group.x[at]), np.rint(group.y[at])
            for i in range(group.first[j], group.first[j + 1]):
                inside = abs(group.px[i] - x) <= half and abs(group.py[i] - y) <= half
                if group.weight[i] > 0.0 and (inside or whole):
                    total += 1.0 / group.weight[i]
                    count += 1
            frames += count > before
        if count:
            out = total / count * box * box / frames
            break
    return out


@entry
def mean_scale(group: Group, n: int) -> float:
    """Mean of the image unit per microjansky over the frames; NaN if none is finite."""
    total, count = 0.0, 0
    for j in range(group.row.size):
        value = group.scale[group.row[j] + group.which[n]]
        if math.isfinite(value):
            total += value
            count += 1
    return total / count if count else np.nan


@leaf
def mean_central(group: Group, n: int, central: np.ndarray) -> float:
    """Mean over the frames of the central value of the PRF of source n, from those of all PRFs."""
    total, count = 0.0, 0
    for j in range(group.row.size):
        at, value = group.row[j] + group.which[n], 0.0
        for k in range(group.prf.shape[1]):
            value += central[group.prf[at, k]] * group.mix[at, k]
        if math.isfinite(value):
            total += value
            count += 1
    return total / count if count else np.nan
