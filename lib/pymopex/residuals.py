"""Images of point sources, and images freed of them."""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np

from pymopex.prf import PRFTable
from pymopex.prf_kernels import look_up, phase


@numba.njit(cache=True, nogil=True)
def _render(
    x: np.ndarray,
    y: np.ndarray,
    amplitude: np.ndarray,
    prf: np.ndarray,
    table: Any,
    image: np.ndarray,
    hole: float,
    outer: float,
) -> None:
    ny, nx = image.shape
    wx, wy, unused = np.empty(4), np.empty(4), np.empty(4)
    rows, columns = table.coefficients.shape[1:]
    for n in range(x.size):
        kx, xlo, xhi = phase(x[n], table.sampling_x, columns, wx, unused)
        ky, ylo, yhi = phase(y[n], table.sampling_y, rows, wy, unused)
        c = table.coefficients[prf[n]]
        for py in range(max(ylo, 0), min(yhi, ny - 1) + 1):
            for px in range(max(xlo, 0), min(xhi, nx - 1) + 1):
                r = math.hypot(px - x[n], py - y[n])
                if hole <= r <= outer:
                    value = look_up(c, ky + py * table.sampling_y, kx + px * table.sampling_x, wy, wx)
                    image[py, px] += amplitude[n] * value


def render(
    x: np.ndarray,
    y: np.ndarray,
    amplitude: np.ndarray,
    prf: np.ndarray,
    table: PRFTable,
    shape: tuple[int, int],
    *,
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
    prf : ndarray of int, shape (n,)
        Which PRF of the table.
    table : PRFTable
        The same table as in the fit.
    shape : (ny, nx)
        Shape of the image.
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
    if not at_x.shape == at_y.shape == flux.shape == index.shape or at_x.ndim != 1:
        shapes = at_x.shape, at_y.shape, flux.shape, index.shape
        raise ValueError(f"x, y, amplitude and prf must be lists of one length, not {shapes}")
    if index.size and not (index.min() >= 0 and index.max() < len(table.coefficients)):
        raise ValueError(
            f"PRF numbers must be 0 to {len(table.coefficients) - 1}, got {index.min()} to {index.max()}"
        )
    outer = math.inf if outer_radius is None else float(outer_radius)
    if hole_radius < 0 or outer < 0:
        raise ValueError(f"radii must not be negative: hole {hole_radius}, outer {outer}")
    image = np.zeros(shape)
    use = np.isfinite(at_x) & np.isfinite(at_y) & np.isfinite(flux)
    _render(at_x[use], at_y[use], flux[use], index[use], table, image, float(hole_radius), outer)
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
