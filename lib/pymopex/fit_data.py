"""What one fit sees: the pixels of all frames round a group of sources, and where the sources lie in each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numba
import numpy as np
from astropy.wcs import WCS
from numpy.typing import ArrayLike

from pymopex.projection import rotate_sky, sky_system, sky_to_pixel

_STEP = 0.5  # arcsec, of the numerical derivatives of the WCS
_NOWHERE = -(10**9)


@dataclass(frozen=True, eq=False)
class FrameImage:
    """One image to be fitted.

    Parameters
    ----------
    data : ndarray, shape (ny, nx), float32
        Surface brightness, NaN = no data.
    sigma : ndarray, shape (ny, nx), float32
        1-sigma uncertainty in the unit of `data`.
    bad : ndarray of bool, shape (ny, nx)
        True where the pixel must not be used.

    Raises
    ------
    ValueError
        Shapes differ, or an array is not of the stated type in native byte order.
    """

    data: np.ndarray
    sigma: np.ndarray
    bad: np.ndarray

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or not self.data.shape == self.sigma.shape == self.bad.shape:
            shapes = self.data.shape, self.sigma.shape, self.bad.shape
            raise ValueError(f"data, sigma and bad must be images of one shape, not {shapes}")
        if self.data.dtype != np.float32 or self.sigma.dtype != np.float32 or self.bad.dtype != np.bool_:
            raise ValueError(
                "data and sigma must be native float32 and bad must be bool, "
                f"not {self.data.dtype}, {self.sigma.dtype}, {self.bad.dtype}"
            )


class FramePixels(NamedTuple):
    """Good pixels of one frame in the boxes of a group: value, 1 / sigma^2, 0-based x and y, all 1-D."""

    value: np.ndarray
    weight: np.ndarray
    px: np.ndarray
    py: np.ndarray


class GroupData(NamedTuple):
    """All that the fit of one group of N sources in F frames needs.

    Positions are offsets (u, v) from the start position of each source: arcsec to the east and to the north
    in the tangent plane there. The place of a source in a frame is linear in them:
    (rx + J00 u + J01 v, ry + J10 u + J11 v), 0-based pixels.

    Parameters
    ----------
    value, weight : ndarray, shape (n_pixels,)
        Pixel values and 1 / sigma^2, frame after frame.
    px, py : ndarray of int, shape (n_pixels,)
        Their places in the frame, 0-based.
    first : ndarray of int, shape (F + 1,)
        First pixel of each frame, and the number of pixels.
    rx, ry : ndarray, shape (F, N)
        Start position in the frame; NaN if the source has no place in it.
    jacobian : ndarray, shape (F, N, 2, 2)
        d(x, y) / d(u, v) [pixel / arcsec].
    scale : ndarray, shape (F, N)
        Image unit per microjansky: 1 / (1e12 solid angle of a pixel) for MJy/sr.
    prf : ndarray of int, shape (F, N, K)
        Which PRFs of the table: K is 1 or 4.
    mix : ndarray, shape (F, N, K)
        Their weights; of one PRF the weight does not count.
    box_x, box_y : ndarray of int, shape (F, N)
        Lower left pixel of the fit box.
    fit_x, fit_y : int
        Size of the fit box.

    Notes
    -----
    With the distortion of IRAC the linear form is exact to below 1e-4 pixel for shifts below a pixel. After a
    larger shift, compute places, Jacobians and pixels anew at the fitted position and fit again.
    """

    value: np.ndarray
    weight: np.ndarray
    px: np.ndarray
    py: np.ndarray
    first: np.ndarray
    rx: np.ndarray
    ry: np.ndarray
    jacobian: np.ndarray
    scale: np.ndarray
    prf: np.ndarray
    mix: np.ndarray
    box_x: np.ndarray
    box_y: np.ndarray
    fit_x: int
    fit_y: int

    @property
    def n_sources(self) -> int:
        """Number of sources N."""
        return self.rx.shape[1]

    @property
    def n_frames(self) -> int:
        """Number of frames F."""
        return self.rx.shape[0]

    def take(self, sources: Sequence[int] | np.ndarray) -> GroupData:
        """Give the same pixels with these sources; one that is named twice appears twice."""
        index = np.asarray(sources, dtype=np.int64)
        if np.array_equal(index, np.arange(self.n_sources)):
            return self
        return self._replace(**{name: getattr(self, name)[:, index] for name in _PLACED})

    def where(self, keep: np.ndarray) -> GroupData:
        """Give the same sources with some of the pixels."""
        keep = np.asarray(keep, dtype=bool)
        first = np.concatenate([[0], np.cumsum(keep)])[self.first]
        return self._replace(first=first, **{name: getattr(self, name)[keep] for name in FramePixels._fields})


_PLACED = ("rx", "ry", "jacobian", "scale", "prf", "mix", "box_x", "box_y")


@numba.njit(cache=True, nogil=True)
def fit_box(x: np.ndarray, size: int) -> np.ndarray:
    """First pixel of the box of `size` pixels that is nearest to the positions; far away for NaN.

    Parameters
    ----------
    x : ndarray
        Positions along one axis, float64, 0-based.
    size : int
        Pixels of the box; of an even box the side nearer to the source gets the extra pixel.

    Returns
    -------
    ndarray of int, shape of `x`
        First pixel; the box is not clipped to the frame.
    """
    out = np.empty(x.shape, np.int64)
    for i in range(x.size):
        at = x.flat[i]
        out.flat[i] = math.floor(at - 0.5 * (size - 1) + 0.5) if abs(at) < -_NOWHERE else _NOWHERE
    return out


@numba.njit(cache=True, nogil=True)
def gather_into(
    data: np.ndarray,
    sigma: np.ndarray,
    bad: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    fit_x: int,
    fit_y: int,
    value: np.ndarray,
    weight: np.ndarray,
    px: np.ndarray,
    py: np.ndarray,
) -> int:
    """Fill in the good pixels of the boxes of a group; returns how many (see `gather_frame`)."""
    ny, nx = data.shape
    box_x, box_y = fit_box(x, fit_x), fit_box(y, fit_y)
    count = 0
    for row in range(max(0, box_y.min()), min(ny, box_y.max() + fit_y)):
        start, end = nx, 0
        for n in range(box_x.size):
            if 0 <= row - box_y[n] < fit_y:
                start, end = min(start, box_x[n]), max(end, box_x[n] + fit_x)
        for column in range(max(0, start), min(nx, end)):
            s = np.float64(sigma[row, column])
            if bad[row, column] or not (s > 0.0 and math.isfinite(s) and math.isfinite(data[row, column])):
                continue
            for n in range(box_x.size):
                if 0 <= row - box_y[n] < fit_y and 0 <= column - box_x[n] < fit_x:
                    value[count], weight[count] = data[row, column], 1.0 / (s * s)
                    px[count], py[count] = column, row
                    count += 1
                    break
    return count


def gather_frame(image: FrameImage, x: np.ndarray, y: np.ndarray, fit_x: int, fit_y: int) -> FramePixels:
    """Collect the pixels of one frame for one group.

    Parameters
    ----------
    image : FrameImage
        The frame.
    x, y : ndarray, shape (N,)
        Places of the sources [0-based pixel], NaN for a source that has none; they may lie outside the frame.
    fit_x, fit_y : int
        Size of the fit box.

    Returns
    -------
    FramePixels
        Pixels in the union of the boxes that are not bad, finite, and have sigma > 0.
    """
    most = min(x.size * fit_x * fit_y, image.data.size)
    out = np.empty(most), np.empty(most), np.empty(most, np.int32), np.empty(most, np.int32)
    at_x, at_y = (np.ascontiguousarray(v, dtype=float) for v in (x, y))
    count = gather_into(image.data, image.sigma, image.bad, at_x, at_y, fit_x, fit_y, *out)
    return FramePixels(*(column[:count].copy() for column in out))


def join_frames(
    pixels: Sequence[FramePixels],
    x: np.ndarray,
    y: np.ndarray,
    jacobian: np.ndarray,
    scale: np.ndarray,
    prf: np.ndarray,
    fit_size: tuple[int, int],
    mix: np.ndarray | None = None,
) -> GroupData:
    """Put the pixels of all frames together for the fit of one group.

    Parameters
    ----------
    pixels : sequence of FramePixels, length F
        From `gather_frame`, with the same positions and fit size.
    x, y : ndarray, shape (F, N)
        Places of the sources in the frames [0-based pixel].
    jacobian : ndarray, shape (F, N, 2, 2)
        d(x, y) / d(u, v) [pixel / arcsec].
    scale : ndarray, shape (F, N)
        Image unit per microjansky.
    prf : ndarray of int, shape (F, N) or (F, N, 4)
        Which PRF of the table, or which four of them.
    fit_size : (fit_x, fit_y)
        Size of the fit box.
    mix : ndarray, shape (F, N, 4), or None
        Weights of the four PRFs (see `pymopex.prf.PRFGrid`).

    Returns
    -------
    GroupData
        Ready for the fit.

    Raises
    ------
    ValueError
        No frames or sources, or shapes that do not agree.
    """
    x, y = np.ascontiguousarray(x, dtype=float), np.ascontiguousarray(y, dtype=float)
    shape = x.shape
    which = np.asarray(prf, dtype=np.int64)
    which = which if mix is not None else which[..., None]
    weights = np.ones(which.shape) if mix is None else np.asarray(mix, dtype=float)
    if x.ndim != 2 or 0 in shape or len(pixels) != shape[0]:
        raise ValueError(
            f"a group needs frames and sources: {len(pixels)} frames, positions of shape {shape}"
        )
    for name, array, want in (
        ("y", y, shape),
        ("jacobian", jacobian, (*shape, 2, 2)),
        ("scale", scale, shape),
        ("prf", which, (*shape, 1 if mix is None else 4)),
        ("mix", weights, which.shape),
    ):
        if np.shape(array) != want:
            raise ValueError(f"{name} must have shape {want}, not {np.shape(array)}")
    first = np.concatenate([[0], np.cumsum([len(piece.value) for piece in pixels])]).astype(np.int64)
    columns = FramePixels(*(np.concatenate(column) for column in zip(*pixels, strict=True)))
    return group_data(columns, first, (x, y, jacobian, scale, which, weights), fit_size)


def group_data(
    pixels: FramePixels, first: np.ndarray, places: tuple[np.ndarray, ...], fit_size: tuple[int, int]
) -> GroupData:
    """Put pixels of all frames and the places of the sources (see `join_frames`) into the form of the fit."""
    x, y, jacobian, scale, prf, mix = places
    return GroupData(
        *pixels,
        first=first,
        rx=_own(np.where(np.isfinite(y), x, np.nan)),
        ry=_own(y),
        jacobian=_own(jacobian),
        scale=_own(scale),
        prf=_own(prf, np.int64),
        mix=_own(mix),
        box_x=fit_box(x, fit_size[0]),
        box_y=fit_box(y, fit_size[1]),
        fit_x=int(fit_size[0]),
        fit_y=int(fit_size[1]),
    )


def _own(array: np.ndarray, dtype: type = float) -> np.ndarray:
    """Give an array of the one kind that compiled code is made for."""
    return np.require(array, dtype, ["C", "W"])


def offset_sky(ra: ArrayLike, dec: ArrayLike, u: ArrayLike, v: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Position at an offset in the tangent plane.

    Parameters
    ----------
    ra, dec : ndarray
        Where the plane touches the sky [deg].
    u, v : ndarray, same shape
        Offsets to the east and to the north [arcsec].

    Returns
    -------
    ra, dec : ndarray
        Position [deg], right ascension in 0 to 360.
    """
    a, d = np.radians(ra), np.radians(dec)
    xi, eta = np.radians(np.asarray(u) / 3600.0), np.radians(np.asarray(v) / 3600.0)
    across = np.cos(d) - eta * np.sin(d)
    new_ra = np.degrees(a + np.arctan2(xi, across)) % 360.0
    return new_ra, np.degrees(np.arctan2(np.sin(d) + eta * np.cos(d), np.hypot(xi, across)))


def place_sources(
    wcs: WCS, ra: np.ndarray, dec: np.ndarray, sloped: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Place sources in one frame, with the full WCS.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        WCS of the frame, in any of `projection.SYSTEMS`.
    ra, dec : ndarray, shape (N,)
        Positions [deg], J2000.
    sloped : ndarray of int or None
        Sources whose Jacobian is wanted; None for all.

    Returns
    -------
    x, y : ndarray, shape (N,)
        Places [0-based pixel], NaN where the projection has none.
    jacobian : ndarray, shape (N, 2, 2)
        d(x, y) / d(u, v), with u, v in arcsec to the east and to the north [pixel / arcsec]; NaN where not wanted.

    Raises
    ------
    ValueError
        The WCS is not in a known system.
    """
    ra, dec = np.atleast_1d(np.asarray(ra, dtype=float)), np.atleast_1d(np.asarray(dec, dtype=float))
    which = np.arange(ra.size) if sloped is None else np.asarray(sloped)
    steps = np.array([(1, 0), (-1, 0), (0, 1), (0, -1)]) * _STEP
    around = offset_sky(ra[which], dec[which], steps[:, :1], steps[:, 1:])
    lon, lat = (np.append(at, near.ravel()) for at, near in zip((ra % 360.0, dec), around, strict=True))
    x, y = sky_to_pixel(wcs, *rotate_sky(lon, lat, "J2000", sky_system(wcs)), alone=True)
    near = [p[ra.size :].reshape(4, -1) for p in (x, y)]
    jacobian = np.full((ra.size, 2, 2), np.nan)
    jacobian[which] = np.moveaxis(np.array([[p[0] - p[1], p[2] - p[3]] for p in near]), 2, 0) / (2 * _STEP)
    return x[: ra.size], y[: ra.size], jacobian
