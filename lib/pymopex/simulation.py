"""Simulated frames of Spitzer with their truth: stars, noise, cosmic rays, bad pixels."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from pymopex import optics
from pymopex.frame_headers import frame_header
from pymopex.geometry import frame_wcs, pixel_solid_angle
from pymopex.masks import KINDS
from pymopex.prf import PRF, PRFGrid, PRFMap, PRFTable, prf_table
from pymopex.projection import pixel_to_sky, sky_to_pixel, unit_vectors
from pymopex.residuals import render
from pymopex.survey import ARRAY, FRAME, TILT, Simulation, pointings, power_law, simulation, stars
from pymopex.units import ujy_per_mjysr

__all__ = [
    "SimulatedFrame",
    "Simulation",
    "noise",
    "permanent_mask",
    "pointings",
    "prepare",
    "prf_lookup",
    "prf_places",
    "prfs",
    "simulate_frame",
    "simulation",
    "stars",
]

GRID = 5
"""PRFs per side of the array of IRAC."""

_BIT = {meaning: bit for bit, meaning in KINDS["imask"].bits.items()}
_FINE_GRID = 13  # PRFs per side of the array between which a variable one is linear
_SAMPLING = 20  # computed samples of the PRF per pixel
_HARDEST, _SOFTEST = 5000.0, 5.0  # charge of cosmic rays per pixel of their way, in noise of the empty sky
_HIT_SLOPE = -1.7  # power of the distribution of that charge
_LONGEST = 6.0  # pixels of a track
_MEAN_LENGTH = 1.2
_STEPS = 60  # points along a track
_ALREADY = 0.5  # charge [noise of the empty sky] from which a pixel belongs to a flagged track


@dataclass(frozen=True, eq=False)
class SimulatedFrame:
    """One frame and what is known of it.

    Parameters
    ----------
    data : ndarray, shape (ny, nx), float32
        Surface brightness [MJy/sr], NaN = no data.
    sigma : ndarray, shape (ny, nx), float32
        1-sigma uncertainty: the noise of the model times the scale that was asked for.
    mask : ndarray, shape (ny, nx), int16
        Status mask with the bits of the imask of IRAC: 9 cosmic ray, 13 saturated, 14 bad.
    hits : ndarray, shape (ny, nx), float32
        Charge of cosmic rays in `data` before saturation [MJy/sr], 0 elsewhere.
    model : ndarray, shape (ny, nx)
        Stars and background without noise, offset and hits [MJy/sr].
    offset : float
        Constant added to the frame, at its middle [MJy/sr].
    slopes : (float, float)
        Slopes along x and y added to the frame [MJy/sr per pixel].
    header : astropy.io.fits.Header
        As the archive's.
    inside : ndarray of int, shape (n,)
        Which stars have their place on the array.
    saturated : ndarray of int, shape (m,)
        Which of them have a saturated pixel at or beside their place.
    """

    data: np.ndarray
    sigma: np.ndarray
    mask: np.ndarray
    hits: np.ndarray
    model: np.ndarray
    offset: float
    slopes: tuple[float, float]
    header: fits.Header
    inside: np.ndarray
    saturated: np.ndarray


def prf_places(sim: Simulation) -> list[tuple[int, int]]:
    """Columns and rows, from 1, for which there are PRFs, column by column.

    Parameters
    ----------
    sim : Simulation
        Settings.

    Returns
    -------
    list of (int, int)
        5 x 5 for IRAC (25, 77, 129, 181, 233 of 256), the middle of the array for MIPS.
    """
    if sim.camera.name != "IRAC":
        return [(sim.shape[1] // 2, sim.shape[0] // 2)]
    at = [round((25 + 52 * k) * sim.size / 256) for k in range(GRID)]
    return [(column, row) for column in at for row in at]


@lru_cache(maxsize=2)
def prfs(sim: Simulation) -> tuple[PRF, ...]:
    """Compute the PRFs of the places of `prf_places`.

    Parameters
    ----------
    sim : Simulation
        Settings.

    Returns
    -------
    tuple of PRF
        20 samples per pixel, in the order of the places; the same one everywhere unless it is variable.
    """
    places = prf_places(sim)
    if not sim.variable_prf:
        return (optics.prf(sim.camera, sampling=_SAMPLING),) * len(places)
    at = [
        tuple(2 * (p - 0.5) / n - 1 for p, n in zip(place, sim.shape[::-1], strict=True)) for place in places
    ]
    return tuple(optics.prf(sim.camera, optics.field_aberrations(x, y), sampling=_SAMPLING) for x, y in at)


@lru_cache(maxsize=2)
def prf_lookup(sim: Simulation) -> tuple[PRFMap | PRFGrid, PRFTable]:
    """Give what frames are drawn with.

    Parameters
    ----------
    sim : Simulation
        Settings.

    Returns
    -------
    where : PRFMap or PRFGrid
        Which PRFs serve which place of the array.
    table : PRFTable
        The PRFs.

    Notes
    -----
    A variable PRF changes smoothly: the polynomial through the PRFs of the places is taken at a finer grid, and is
    linear between its points.
    """
    kept = prfs(sim) if sim.variable_prf else prfs(sim)[:1]
    if len(kept) == 1:
        return PRFMap.single(kept[0]), prf_table(kept)
    at = np.unique([column for column, _ in prf_places(sim)])
    fine = np.linspace(1, sim.size, _FINE_GRID)
    powers = [np.vander(2 * x / sim.size - 1, GRID) for x in (fine, at)]
    weight = powers[0] @ np.linalg.inv(powers[1])
    table = prf_table(kept)
    ny, nx = table.coefficients.shape[1:]
    nodes = table.coefficients.reshape(GRID, GRID, ny, nx)
    taken = np.einsum("ai,bj,ijyx->abyx", weight, weight, nodes, optimize=True).reshape(-1, ny, nx)
    x, y = (a.ravel() for a in np.meshgrid(fine, fine, indexing="ij"))
    return PRFGrid(x, y), table._replace(coefficients=np.ascontiguousarray(taken))


def prepare(sim: Simulation) -> None:
    """Compute what all frames share, so that processes that are forked later need not.

    Parameters
    ----------
    sim : Simulation
        Settings.
    """
    prf_lookup(sim)
    _bad_pixels(sim)
    stars(sim)


@lru_cache(maxsize=2)
def _bad_pixels(sim: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Which pixels are always bad, and their constant values [MJy/sr]; every other one has none (NaN)."""
    random = sim.random(ARRAY)
    bad = random.uniform(size=sim.shape) < sim.detector.bad_fraction
    value = random.uniform(-0.05, 0.5, size=bad.shape) * sim.saturation
    return bad, np.where(random.uniform(size=bad.shape) < 0.5, np.nan, value)


def permanent_mask(sim: Simulation) -> np.ndarray:
    """Make the mask of the pixels that are always bad.

    Parameters
    ----------
    sim : Simulation
        Settings.

    Returns
    -------
    ndarray, shape (ny, nx), int16
        Bit 14 where a pixel is bad.
    """
    return _bad_pixels(sim)[0].astype(np.int16) << _BIT["bad or missing"]


def noise(sim: Simulation, model: np.ndarray) -> np.ndarray:
    """Give the noise of pixels: photon noise of the model, and read noise.

    Parameters
    ----------
    sim : Simulation
        Settings.
    model : ndarray
        Surface brightness [MJy/sr].

    Returns
    -------
    ndarray, same shape
        Standard deviation [MJy/sr].

    References
    ----------
    MOPEX User's Guide, S/N Estimator.
    """
    return np.sqrt(model * sim.gain + sim.camera.read_noise**2) / sim.gain


def simulate_frame(sim: Simulation, index: int) -> SimulatedFrame:
    """Simulate one frame.

    Parameters
    ----------
    sim : Simulation
        Settings.
    index : int
        Number of the frame, from 0.

    Returns
    -------
    SimulatedFrame
        Depends on the settings and the number alone.

    Raises
    ------
    IndexError
        There is no such frame.

    Notes
    -----
    Electrons of sky and stars are Poisson, read noise is normal. Offset, slopes and hits add no photon noise.
    Pixels above saturation are cut at its level, with bit 13 of the mask.
    """
    header = frame_header(sim, pointings(sim)[index])
    random = sim.random(FRAME, index)
    offset = float(random.normal(0.0, sim.detector.offset_rms)) if sim.detector.offset_rms else 0.0
    model, at, inside = _model(sim, frame_wcs(header))
    hits, flagged = _cosmic_rays(sim, random)
    data = random.poisson(model * sim.gain) + random.normal(0.0, sim.camera.read_noise, model.shape)
    slopes = _slopes(sim, index)
    data = data / sim.gain + offset + _plane(slopes, model.shape) + hits
    sigma = noise(sim, model) * sim.detector.uncertainty_scale
    full = data > sim.saturation
    data[full] = sim.saturation
    bad, value = _bad_pixels(sim)
    data[bad] = value[bad]
    sigma[~np.isfinite(data)] = np.nan
    mask = np.zeros(model.shape, np.int16)
    for where, meaning in ((flagged, "cosmic ray"), (full & ~bad, "saturated"), (bad, "bad or missing")):
        mask[where] |= 1 << _BIT[meaning]
    return SimulatedFrame(
        data.astype(np.float32),
        sigma.astype(np.float32),
        mask,
        hits.astype(np.float32),
        model,
        offset,
        slopes,
        header,
        inside,
        inside[_touches(model > sim.saturation, at[:, inside])],
    )


def _slopes(sim: Simulation, index: int) -> tuple[float, float]:
    """Slopes of a frame along x and y [MJy/sr per pixel]."""
    rms = sim.detector.frame_gradient_rms
    if not rms:
        return 0.0, 0.0
    x, y = sim.random(TILT, index).normal(0.0, rms / np.array(sim.shape[::-1]))
    return float(x), float(y)


def _plane(slopes: tuple[float, float], shape: tuple[int, int]) -> np.ndarray | float:
    """Plane through 0 at the middle of a frame."""
    if not any(slopes):
        return 0.0
    y, x = (at - (n - 1) / 2 for at, n in zip(np.indices(shape), shape, strict=True))
    return slopes[0] * x + slopes[1] * y


def _model(sim: Simulation, wcs: WCS) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stars and background of a frame [MJy/sr]; places of all stars, and which lie on the array."""
    shape = sim.shape
    x, y = _places(sim, wcs)
    near = np.flatnonzero(np.isfinite(x))
    amplitude = stars(sim).flux[near] / ujy_per_mjysr(pixel_solid_angle(wcs, x[near], y[near]))
    where, table = prf_lookup(sim)
    which, mix = where.mix_at(x[near], y[near])
    model = render(x[near], y[near], amplitude, which, table, shape, mix=mix)
    on_array = (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)
    return np.maximum(model + _background(sim, wcs), 0.0), np.stack([x, y]), np.flatnonzero(on_array)


def _places(sim: Simulation, wcs: WCS) -> tuple[np.ndarray, np.ndarray]:
    """0-based pixels of the stars; NaN for those whose light does not reach the frame."""
    sky = stars(sim)
    ny, nx = sim.shape
    middle = unit_vectors(*pixel_to_sky(wcs, np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2])))
    reach = (math.hypot(nx, ny) / 2 + 1.5 * optics.FLUX_RADIUS) * max(sim.camera.pixel) * 1.05
    near = unit_vectors(sky.ra, sky.dec).T @ middle[:, 0] > math.cos(math.radians(reach / 3600))
    x, y = np.full((2, sky.ra.size), np.nan)
    if near.any():
        x[near], y[near] = sky_to_pixel(wcs, sky.ra[near], sky.dec[near])
    return x, y


def _background(sim: Simulation, wcs: WCS) -> np.ndarray | float:
    """Smooth sky [MJy/sr]: linear in the offset to the north of the middle of the field."""
    if not sim.sky.gradient:
        return sim.sky.background
    y, x = np.indices(sim.shape)
    ra, dec = pixel_to_sky(wcs, x.ravel(), y.ravel())
    turn, north = np.radians(ra - sim.layout.centre_ra), math.radians(sim.layout.centre_dec)
    tilt = np.arctan2(np.sin(np.radians(dec)), np.cos(np.radians(dec)) * np.cos(turn)) - north
    return sim.sky.background + sim.sky.gradient * np.degrees(tilt).reshape(x.shape)


def _cosmic_rays(sim: Simulation, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Charge of the tracks of one frame [MJy/sr], and which pixels the status mask knows."""
    detector, (ny, nx) = sim.detector, sim.shape
    rate = detector.hits_per_second * nx * ny / math.prod(sim.camera.shape)
    count = random.poisson(rate * detector.exposure)
    start = random.uniform(-0.5, np.array([nx, ny])[:, None, None] - 0.5, (2, count, 1))
    angle = random.uniform(0, 2 * math.pi, (count, 1))
    length = np.clip(random.exponential(_MEAN_LENGTH, (count, 1)), 0.3, _LONGEST)
    empty = float(noise(sim, np.array(sim.sky.background)))
    charge = power_law(random, count, _SOFTEST, _HARDEST, _HIT_SLOPE)[:, None] * empty * length / _STEPS
    known = random.uniform(size=(count, 1)) < detector.flag_hits
    way = length * (np.arange(_STEPS) + 0.5) / _STEPS
    x, y = np.floor(start + way * np.stack([np.cos(angle), np.sin(angle)]) + 0.5).astype(int)
    on = (x >= 0) & (x < nx) & (y >= 0) & (y < ny)
    pixel = np.where(on, y * nx + x, 0)
    images = [
        np.bincount(pixel.ravel(), (charge * use * on).ravel(), nx * ny).reshape(ny, nx)
        for use in (1.0, known)
    ]
    return images[0], images[1] > _ALREADY * empty


def _touches(full: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Tell which positions have a pixel of an image set within one pixel of them."""
    x, y = np.rint(at).astype(int) + 1
    wide = np.pad(full, 2)
    return np.any([wide[y + j, x + i] for j in (0, 1, 2) for i in (0, 1, 2)], axis=0)
