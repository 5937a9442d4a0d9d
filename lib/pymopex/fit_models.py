"""Compiled model of a group of sources at its pixels.

The parameters of a fit of N sources are one vector of 3 N + 1 numbers: u, v and flux of each source, then the
background.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from pymopex.batches import Group
from pymopex.jit import entry, inner, leaf
from pymopex.lanes import LANES, load, same, store, times, times_plus
from pymopex.pixel_blocks import Blocks, blocks_of, inside, make_ramp
from pymopex.prf_kernels import corners, eight_values, phase


class Room(NamedTuple):
    """Memory to work in: weights and slopes along both axes, places of coefficients, and the ramp of `inside`."""

    wx: np.ndarray
    gx: np.ndarray
    wy: np.ndarray
    gy: np.ndarray
    first: np.ndarray
    ramp: np.ndarray


@inner
def make_room() -> Room:
    """Give that memory."""
    return Room(np.empty(4), np.empty(4), np.empty(4), np.empty(4), np.empty((4, 4), np.int64), make_ramp())


@leaf
def place(group: Group, at: int, u: float, v: float) -> tuple[float, float]:
    """Give where a source with the place `at` lies with an offset (u, v) [arcsec]."""
    x = group.x[at] + group.jacobian[at, 0, 0] * u + group.jacobian[at, 0, 1] * v
    y = group.y[at] + group.jacobian[at, 1, 0] * u + group.jacobian[at, 1, 1] * v
    return x, y


@entry
def model_values(group: Group, table: Any, p: np.ndarray) -> np.ndarray:
    """Model, background included, at each pixel of a group."""
    blocks, room = blocks_of(group), make_room()
    model, out = np.empty(blocks.value.size), np.empty(blocks.slot.size)
    for i in range(model.size):
        model[i] = p[p.size - 1]
    for j in range(group.row.size):
        for n in range(group.which.size):
            _add_source(group, blocks, table, p, j, n, model, room)
    for i in range(out.size):
        out[i] = model[blocks.slot[i]]
    return out


@leaf
def leave_residuals(group: Group, model: np.ndarray) -> None:
    """Put the pixels of a group minus the model in the place of the model."""
    begin = group.first[0]
    for i in range(model.size):
        model[i] = group.value[begin + i] - model[i]


@leaf
def _add_source(
    group: Group, blocks: Blocks, table: Any, p: np.ndarray, j: int, n: int, model: np.ndarray, room: Room
) -> None:
    """Add source n to the blocks of frame j."""
    at = group.row[j] + group.which[n]
    rows, columns = table.coefficients.shape[1:]
    sx, sy = table.sampling_x, table.sampling_y
    x, y = place(group, at, p[3 * n], p[3 * n + 1])
    kx, x0, x1 = phase(x, sx, columns, room.wx, room.gx)
    ky, y0, y1 = phase(y, sy, rows, room.wy, room.gy)
    for k in range(group.prf.shape[1] if x0 <= x1 and y0 <= y1 else 0):
        share = p[3 * n + 2] * group.scale[at]
        share *= group.mix[at, k] if group.prf.shape[1] > 1 else 1.0
        corners(table, group.prf[at, k], ky + y0 * sy, kx + x0 * sx, room.first)
        for b in range(blocks.first[j], blocks.first[j + 1]):
            px, py = blocks.x[b], blocks.y[b]
            if py < y0 or py > y1 or px + LANES <= x0 or px > x1:
                continue
            further = (py - y0) * table.columns + px - x0
            values = eight_values(table.planes, room.first, further, room.wy, room.wx)
            if px < x0 or px + LANES > x1 + 1:
                values = times(inside(room.ramp, x0 - px, x1 + 1 - px), values)
            store(model, b * LANES, times_plus(same(share), values, load(model, b * LANES)))
