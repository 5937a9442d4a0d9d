"""Stamps: small images round stars, from which a PRF is made."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree
from scipy.special import erf

from pymopex.projection import unit_vectors

_KEYS = -0.5  # slope of the cubic convolution at 1
_ROUNDS = 60  # of the fit of a Gaussian
_SMALL = 1e-8  # change of chi2 that ends it
_WIDEST = 10.0  # pixels, sigma of a Gaussian


@dataclass(frozen=True, eq=False)
class Stamps:
    """Stamps of one size round stars, of one image or of several frames.

    Parameters
    ----------
    data : ndarray, shape (n, ny, nx)
        Image values, background taken off or not; NaN = no data. Both axes odd.
    x, y : ndarray, shape (n,)
        Place of the star in its stamp [0-based pixel].
    flux : ndarray, shape (n,)
        Flux in image units: the sum of the pixels that it lights.
    sigma : ndarray, shape (n, ny, nx), or None
        1-sigma uncertainty of `data`.
    source, frame : ndarray of int, shape (n,)
        Which star and which frame, counted from 0.
    jacobian : ndarray, shape (n, 2, 2)
        d(x, y) / d(east, north) at the star [pixel / arcsec].

    Raises
    ------
    ValueError
        Even or small stamps, or arrays whose lengths differ.
    """

    data: np.ndarray
    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    sigma: np.ndarray | None
    source: np.ndarray
    frame: np.ndarray
    jacobian: np.ndarray

    def __post_init__(self) -> None:
        if self.data.ndim != 3 or min(self.data.shape[1:]) < 5:
            raise ValueError(
                f"stamps are images of at least 5 x 5 pixels, not an array of shape {self.data.shape}"
            )
        n, ny, nx = self.data.shape
        if nx % 2 == 0 or ny % 2 == 0:
            raise ValueError(
                f"stamps have odd sizes, with the star in the middle pixel, not {nx} x {ny} pixels"
            )
        if self.sigma is not None and self.sigma.shape != self.data.shape:
            raise ValueError(f"uncertainties of shape {self.sigma.shape} for stamps of {self.data.shape}")
        if any(len(v) != n for v in (self.x, self.y, self.flux, self.source, self.frame, self.jacobian)):
            raise ValueError(f"{n} stamps, but not as many places, fluxes, stars, frames and Jacobians")

    def __len__(self) -> int:
        return len(self.data)

    @property
    def shape(self) -> tuple[int, int]:
        """Size (ny, nx) of a stamp."""
        return self.data.shape[1], self.data.shape[2]

    def moved(self, x: np.ndarray, y: np.ndarray, flux: np.ndarray) -> Stamps:
        """Give the same stamps with other places and fluxes of the stars."""
        return replace(self, x=x, y=y, flux=flux)

    def take(self, which: np.ndarray) -> Stamps:
        """Give some of the stamps."""
        sigma = None if self.sigma is None else self.sigma[which]
        arrays = (self.data, self.x, self.y, self.flux, self.source, self.frame, self.jacobian)
        data, x, y, flux, source, frame, jacobian = (a[which] for a in arrays)
        return Stamps(data, x, y, flux, sigma, source, frame, jacobian)


def cut(image: np.ndarray, x: float, y: float, size: tuple[int, int]) -> tuple[np.ndarray, int, int]:
    """Cut a stamp round the pixel that holds a star.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Image.
    x, y : float
        Place of the star [0-based pixel].
    size : (int, int)
        Width and height of the stamp, both odd.

    Returns
    -------
    stamp : ndarray, shape (height, width)
        NaN where the stamp is off the image.
    x0, y0 : int
        Its lower left pixel on the image, 0-based; may be negative.

    Raises
    ------
    ValueError
        An even size.
    """
    if size[0] % 2 == 0 or size[1] % 2 == 0:
        raise ValueError(f"stamps have odd sizes, not {size[0]} x {size[1]}")
    x0, y0 = (int(np.floor(at + 0.5)) - n // 2 for at, n in zip((x, y), size, strict=True))
    out = np.full((size[1], size[0]), np.nan, dtype=image.dtype)
    ny, nx = image.shape
    left, low = max(x0, 0), max(y0, 0)
    right, high = min(x0 + size[0], nx), min(y0 + size[1], ny)
    if left < right and low < high:
        out[low - y0 : high - y0, left - x0 : right - x0] = image[low:high, left:right]
    return out, x0, y0


def fill(data: np.ndarray, needed: int) -> tuple[np.ndarray, np.ndarray]:
    """Replace missing pixels by the median of their neighbours.

    Parameters
    ----------
    data : ndarray, shape (n, ny, nx)
        Stamps; NaN = missing.
    needed : int
        Good ones among the 8 neighbours that a pixel needs to be replaced.

    Returns
    -------
    filled : ndarray, shape (n, ny, nx)
        Pixels that could not be replaced stay NaN.
    replaced : ndarray of int, shape (n,)
        Pixels replaced in each stamp.

    References
    ----------
    MOPEX User's Guide, PRF Estimate (MinNumber_Replacement_Pixels).
    """
    filled = np.array(data, dtype=float)
    missing = ~np.isfinite(filled)
    filled[missing] = np.nan
    which, y, x = np.nonzero(missing)
    replaced = np.zeros(len(filled), dtype=int)
    if not which.size:
        return filled, replaced
    wide = np.pad(filled, [(0, 0), (1, 1), (1, 1)], constant_values=np.nan)
    around = [(j, i) for j in (0, 1, 2) for i in (0, 1, 2) if (j, i) != (1, 1)]
    neighbours = np.stack([wide[which, y + j, x + i] for j, i in around])
    good = np.isfinite(neighbours).sum(axis=0) >= max(needed, 1)
    value = np.nanmedian(neighbours[:, good], axis=0)
    filled[which[good], y[good], x[good]] = value
    np.add.at(replaced, which[good], 1)
    return filled, replaced


def cubic_weights(at: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Weights of the cubic convolution that interpolates n pixels of a line.

    Parameters
    ----------
    at : ndarray, shape (..., m)
        Places [0-based pixel].
    n : int
        Pixels; beyond the last the nearest is repeated.

    Returns
    -------
    weights : ndarray, shape (..., m, n)
        They sum to 1; 0 for places outside.
    inside : ndarray of bool, shape (..., m)
        Whether the place lies between the middles of the first and of the last pixel.

    References
    ----------
    Keys 1981, IEEE Trans. Acoust. Speech Signal Process. 29, 1153, eq. 15.
    """
    at = np.asarray(at, dtype=float)
    inside = (at >= 0) & (at <= n - 1)
    place = np.where(inside, at, 0.0)
    base = np.floor(place).astype(int)
    out = np.zeros((*at.shape, n))
    for k in range(-1, 3):
        d = np.abs(place - (base + k))
        near = (_KEYS + 2) * d**3 - (_KEYS + 3) * d**2 + 1
        far = _KEYS * (d**3 - 5 * d**2 + 8 * d - 4)
        weight = np.where(d <= 1, near, np.where(d < 2, far, 0.0)) * inside
        index = np.clip(base + k, 0, n - 1)[..., None]
        np.put_along_axis(out, index, np.take_along_axis(out, index, -1) + weight[..., None], -1)
    return out, inside


def box_of(stamps: Stamps, width: int, height: int) -> np.ndarray:
    """Tell which pixels of a stamp lie in a box round its middle pixel.

    Parameters
    ----------
    stamps : Stamps
        Their size counts.
    width, height : int
        Size of the box [pixel].

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        An even size reaches one pixel less to the right and up.
    """
    y, x = (np.arange(n) - n // 2 for n in stamps.shape)
    inside = [(at >= -(n // 2)) & (at < n - n // 2) for at, n in ((y, height), (x, width))]
    return inside[0][:, None] & inside[1]


@dataclass(frozen=True, eq=False)
class GaussianFit:
    """Gaussians fitted to stamps: place [0-based pixel], flux, sigma [pixel], and whether the fit succeeded."""

    x: np.ndarray
    y: np.ndarray
    flux: np.ndarray
    width: np.ndarray
    good: np.ndarray


def fit_gaussians(stamps: Stamps, box: np.ndarray) -> GaussianFit:
    """Fit a round Gaussian, integrated over the pixels, to each stamp.

    Parameters
    ----------
    stamps : Stamps
        Stamps without background; the places of the stars are where the fits start.
    box : ndarray of bool, shape (ny, nx)
        Pixels that are fitted.

    Returns
    -------
    GaussianFit
        A fit fails that has fewer than 6 pixels, no positive flux, no width, or leaves its box.

    Notes
    -----
    Levenberg's method with equal weights; four parameters: place, flux and width. The legacy program searches by
    simulated annealing; the minimum is the same, and no random numbers are needed.
    """
    n = len(stamps)
    out = np.full((4, n), np.nan)
    good = np.zeros(n, dtype=bool)
    rows, columns = np.nonzero(box)
    reach = (np.ptp(columns) + 1) / 2, (np.ptp(rows) + 1) / 2
    for i in range(n):
        value = stamps.data[i][box]
        ok = np.isfinite(value)
        if ok.sum() < 6 or not value[ok].sum() > 0:
            continue
        start = np.array([stamps.x[i], stamps.y[i], value[ok].sum(), 0.8])
        found = _levenberg(start, columns[ok], rows[ok], value[ok])
        moved = np.abs(found[:2] - start[:2])
        good[i] = (
            np.isfinite(found).all() and found[2] > 0 and 0.05 < found[3] < _WIDEST and (moved < reach).all()
        )
        out[:, i] = found
    x, y, flux, width = out
    return GaussianFit(x, y, flux, width, good)


def _levenberg(start: np.ndarray, x: np.ndarray, y: np.ndarray, value: np.ndarray) -> np.ndarray:
    """Least squares of one Gaussian; the last iterate."""
    at, damping = start, 1e-3
    model, slopes = _gaussian(at, x, y)
    chi = np.sum((value - model) ** 2)
    for _ in range(_ROUNDS):
        normal = slopes @ slopes.T
        step = np.linalg.solve(normal + damping * np.diag(np.diag(normal) + 1e-30), slopes @ (value - model))
        new = at + step
        new[3] = min(max(abs(new[3]), 0.02), 2 * _WIDEST)
        new_model, new_slopes = _gaussian(new, x, y)
        new_chi = np.sum((value - new_model) ** 2)
        if new_chi <= chi:
            done = chi - new_chi <= _SMALL * chi
            at, model, slopes, chi, damping = new, new_model, new_slopes, new_chi, damping / 5
            if done:
                break
        elif damping > 1e8:
            break
        else:
            damping *= 5
    return at


def _gaussian(at: np.ndarray, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pixel values of a Gaussian and their derivatives by x, y, flux and sigma."""
    x0, y0, flux, width = at
    value_x, by_x, width_x = _edges(x - x0, width)
    value_y, by_y, width_y = _edges(y - y0, width)
    slopes = np.stack(
        [
            flux * by_x * value_y,
            flux * value_x * by_y,
            value_x * value_y,
            flux * (width_x * value_y + value_x * width_y),
        ]
    )
    return flux * value_x * value_y, slopes


def _edges(d: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Integral of a Gaussian over a pixel at distance d, and its derivatives by the place and by the width."""
    high, low = (d + 0.5) / width, (d - 0.5) / width
    g_high, g_low = (np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi) for z in (high, low))
    integral = 0.5 * (erf(high / np.sqrt(2)) - erf(low / np.sqrt(2)))
    return integral, (g_low - g_high) / width, (low * g_low - high * g_high) / width


def isolated(
    ra: np.ndarray, dec: np.ndarray, flux: np.ndarray, separation: float, fraction: float
) -> np.ndarray:
    """Tell which stars have no neighbour that counts.

    Parameters
    ----------
    ra, dec : ndarray, shape (n,)
        Positions of all stars [deg].
    flux : ndarray, shape (n,)
        Their fluxes; NaN counts as bright.
    separation : float
        Distance within which a neighbour counts [arcsec].
    fraction : float
        Fraction of the star's own flux from which a neighbour counts.

    Returns
    -------
    ndarray of bool, shape (n,)
        True for stars that are alone; False without a position.
    """
    alone = np.isfinite(ra) & np.isfinite(dec)
    known = np.flatnonzero(alone)
    if separation <= 0 or known.size < 2:
        return alone
    chord = 2 * np.sin(np.radians(separation / 3600) / 2)
    pairs = cKDTree(unit_vectors(ra[known], dec[known]).T).query_pairs(chord, output_type="ndarray")
    if len(pairs):
        both = np.concatenate([known[pairs], known[pairs[:, ::-1]]])
        with np.errstate(invalid="ignore"):
            faint = flux[both[:, 1]] < fraction * flux[both[:, 0]]
        alone[both[~faint, 0]] = False
    return alone
