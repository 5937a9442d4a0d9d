"""Images of point sources, and images freed of them."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from pymopex.lanes import LANES, store
from pymopex.prf import PRFTable
from pymopex.prf_kernels import add_eight, corners, eight_values, phase


@numba.njit(cache=True, nogil=True)
def _render(
    x: np.ndarray,
    y: np.ndarray,
    amplitude: np.ndarray,
    prf: np.ndarray,
    mix: np.ndarray,
    table: Any,
    image: np.ndarray,
    hole: float,
    outer: float,
) -> None:
    ny, nx = image.shape
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    first, room = np.empty((4, 4), np.int64), np.empty(LANES)
    rows, columns = table.coefficients.shape[1:]
    sx, sy = table.sampling_x, table.sampling_y
    pitch = table.columns
    pixels, line = image.ravel(), np.empty(nx + LANES)
    whole = hole <= 0.0 and outer == math.inf
    for n in range(x.size):
        kx, xlo, xhi = phase(x[n], sx, columns, wx, unused)
        ky, ylo, yhi = phase(y[n], sy, rows, wy, unused)
        x0, x1, y0, y1 = max(xlo, 0), min(xhi + 1, nx), max(ylo, 0), min(yhi + 1, ny)
        if x0 >= x1 or y0 >= y1:
            continue
        for k in range(prf.shape[1]):
            factor = amplitude[n] * mix[n, k]
            corners(table, prf[n, k], ky + y0 * sy, kx + x0 * sx, first)
            for py in range(y0, y1):
                for i in range(0, x1 - x0, LANES):
                    values = eight_values(table.planes, first, (py - y0) * pitch + i, wy, wx)
                    if whole:
                        add_eight(pixels, py * nx + x0 + i, x1 - x0 - i, factor, values, room)
                    else:
                        store(line, i, values)
                for i in range(0 if whole else x1 - x0):
                    if hole <= math.hypot(x0 + i - x[n], py - y[n]) <= outer:
                        image[py, x0 + i] += factor * line[i]


def render(
    x: np.ndarray,
    y: np.ndarray,
    amplitude: np.ndarray,
    prf: np.ndarray,
    table: PRFTable,
    shape: tuple[int, int],
    *,
    mix: np.ndarray | None = None,
    hole_radius: float = 0.0,
    outer_radius: float | None = None,
) -> np.ndarray:
    """Make the image of some point sources.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions [0-based pixel of the image]; sources outside are drawn as far as their PRF reaches in.
    amplitude : ndarray, shape (n,)
        Flux in image units: microjansky times image unit per microjansky.
    prf : ndarray of int, shape (n,) or (n, 4)
        Which PRF of the table, or which four of them.
    table : PRFTable
        The same table as in the fit.
    shape : (ny, nx)
        Shape of the image.
    mix : ndarray, shape (n, 4), or None
        Weights of the four PRFs.
    hole_radius : float
        Leave the core within this radius empty [image pixel]; a pixel at exactly the radius is drawn.
    outer_radius : float or None
        Draw no farther than this [image pixel]; None for the whole table.

    Returns
    -------
    ndarray, shape (ny, nx), float64
        The sum of all sources. Sources whose position or flux is not finite are left out.

    Raises
    ------
    ValueError
        Lengths differ, a PRF number is not in the table, or a radius is negative.

    Notes
    -----
    Hole and cut are made after the normalisation of the PRF, so that what is drawn keeps its brightness.

    References
    ----------
    MOPEX User's Guide, APEX QA (Hole_Radius, Outer_Radius).
    """
    at_x, at_y, flux = (np.atleast_1d(np.asarray(a, dtype=float)) for a in (x, y, amplitude))
    index = np.atleast_1d(np.asarray(prf, dtype=np.int64))
    index = index if mix is not None else index[..., None]
    weight = np.ones(index.shape) if mix is None else np.asarray(mix, dtype=float)
    if not at_x.shape == at_y.shape == flux.shape == index.shape[:-1] or at_x.ndim != 1:
        shapes = at_x.shape, at_y.shape, flux.shape, index.shape[:-1]
        raise ValueError(f"x, y, amplitude and prf must be lists of one length, not {shapes}")
    if index.shape != weight.shape or index.shape[1] not in (1, 4):
        raise ValueError(f"PRF numbers and their weights differ in shape: {index.shape}, {weight.shape}")
    if index.size and not (index.min() >= 0 and index.max() < len(table.coefficients)):
        raise ValueError(
            f"PRF numbers must be 0 to {len(table.coefficients) - 1}, got {index.min()} to {index.max()}"
        )
    outer = math.inf if outer_radius is None else float(outer_radius)
    if hole_radius < 0 or outer < 0:
        raise ValueError(f"radii must not be negative: hole {hole_radius}, outer {outer}")
    image = np.zeros(shape)
    use = np.isfinite(at_x) & np.isfinite(at_y) & np.isfinite(flux)
    chosen = at_x[use], at_y[use], flux[use], index[use], weight[use]
    _render(*chosen, table, image, float(hole_radius), outer)
    return image


def subtract(data: np.ndarray, model: np.ndarray) -> np.ndarray:
    """Image minus model in the type of the image; NaN stay NaN.

    Parameters
    ----------
    data : ndarray, shape (ny, nx)
        Image.
    model : ndarray, shape (ny, nx)
        From `render`.

    Returns
    -------
    ndarray, shape (ny, nx)
        Residual image.

    Raises
    ------
    ValueError
        Shapes differ.
    """
    if data.shape != model.shape:
        raise ValueError(f"image and model differ in shape: {data.shape}, {model.shape}")
    return (data - model).astype(data.dtype)
