"""Compiled loops over the pixels and frames of a group of sources."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np


@numba.njit(cache=True, nogil=True)
def box_sums(group: Any, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sum of values over, and number of, the pixels in the box of each source; shape (frame, source)."""
    total, count = np.zeros(group.rx.shape), np.zeros(group.rx.shape, np.int64)
    for j in range(group.first.size - 1):
        for i in range(group.first[j], group.first[j + 1]):
            for n in range(group.rx.shape[1]):
                dx, dy = group.px[i] - group.box_x[j, n], group.py[i] - group.box_y[j, n]
                if 0 <= dx < group.fit_x and 0 <= dy < group.fit_y:
                    total[j, n] += values[i]
                    count[j, n] += 1
    return total, count


@numba.njit(cache=True, nogil=True)
def pixels_per_arcsec(group: Any) -> np.ndarray:
    """Scale of the frames at each source, mean of those that hold it; 1 where none does."""
    n_frames, n_sources = group.rx.shape
    out = np.ones(n_sources)
    for n in range(n_sources):
        total, count = 0.0, 0
        for j in range(n_frames):
            jac = group.jacobian[j, n]
            det = abs(jac[0, 0] * jac[1, 1] - jac[0, 1] * jac[1, 0])
            if math.isfinite(det) and math.isfinite(group.rx[j, n]):
                total += math.sqrt(det)
                count += 1
        if total > 0.0:
            out[n] = total / count
    return out


@numba.njit(cache=True, nogil=True)
def masked_cores(group: Any) -> np.ndarray:
    """Give the radius of the masked core of each source [pixel]; 0 for one that is not masked.

    The core is masked if in half of the frames the pixel of the source and another of the 3 x 3 round it are.
    """
    n_frames, n_sources = group.rx.shape
    half = min(3, group.fit_x // 2, group.fit_y // 2)
    out = np.zeros(n_sources)
    missing = np.empty(n_frames)
    for n in range(n_sources):
        held, masked = 0, 0
        for j in range(n_frames):
            if group.first[j] == group.first[j + 1] or not math.isfinite(group.rx[j, n]):
                continue
            held += 1
            x, y = np.rint(group.rx[j, n]), np.rint(group.ry[j, n])
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
            out[n] = math.sqrt(np.median(missing[:masked]) / math.pi)
    return out


@numba.njit(cache=True, nogil=True)
def box_variance(group: Any, box: int) -> np.ndarray:
    """Variance of the sum of a box of pixels at each source, of the mean of all frames [image unit squared].

    If all pixels there are masked, those of the fit stand for them.
    """
    n_sources, half = group.rx.shape[1], box // 2
    out = np.full(n_sources, np.nan)
    for n in range(n_sources):
        for reach in (half, 10**9):
            total, count, frames = 0.0, 0, 0
            for j in range(group.first.size - 1):
                x, y, before = np.rint(group.rx[j, n]), np.rint(group.ry[j, n]), count
                for i in range(group.first[j], group.first[j + 1]):
                    inside = abs(group.px[i] - x) <= reach and abs(group.py[i] - y) <= reach
                    if inside or reach > half:
                        total += 1.0 / group.weight[i]
                        count += 1
                frames += count > before
            if count:
                out[n] = total / count * box * box / frames
                break
    return out


@numba.njit(cache=True, nogil=True)
def mean_of_frames(values: np.ndarray) -> np.ndarray:
    """Mean over the frames of values of shape (frame, source); those that are not finite do not count."""
    out = np.full(values.shape[1], np.nan)
    for n in range(values.shape[1]):
        total, count = 0.0, 0
        for j in range(values.shape[0]):
            if math.isfinite(values[j, n]):
                total += values[j, n]
                count += 1
        if count:
            out[n] = total / count
    return out
