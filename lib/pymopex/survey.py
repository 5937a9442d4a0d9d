"""What is simulated: the settings of a survey, its pointings, and the stars of its field."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
from scipy.spatial import cKDTree

from pymopex.fit_data import offset_sky
from pymopex.instruments import INSTRUMENTS, Instrument
from pymopex.optics import FLUX_RADIUS

POINTINGS, STARS, ARRAY, FRAME, TILT = range(5)
"""Streams of random numbers."""

_ROUNDS = 30  # attempts to find places for stars that keep their distance


@dataclass(frozen=True)
class Layout:
    """A grid of pointings, seen at one or two roll angles.

    Parameters
    ----------
    n_frames : int
        Frames in all.
    coverage : float
        Frames that see a place in the middle of the field, on average; sets the step of the grid.
    centre_ra, centre_dec : float
        Middle of the field [deg].
    roll_1, roll_2 : float
        Position angle of +y, east of north, of the first and of the second half of the frames [deg].
    n_dithers : int
        Frames per place of the grid and roll angle.
    dither_size : float or None
        Largest dither along each axis [arcsec]; None is a tenth of the array.
    n_columns : int or None
        Places of the grid along x of the first roll angle; None is about the square root of their number.
    step_arcsec : float or None
        Step of the grid [arcsec]; None lets it follow from the coverage.
    """

    n_frames: int = 100
    coverage: float = 5.0
    centre_ra: float = 150.0
    centre_dec: float = 2.0
    roll_1: float = 15.0
    roll_2: float = 50.0
    n_dithers: int = 2
    dither_size: float | None = None
    n_columns: int | None = None
    step_arcsec: float | None = None

    @property
    def halves(self) -> tuple[int, ...]:
        """Frames of each roll angle."""
        n = self.n_frames
        return (n,) if self.roll_1 == self.roll_2 or n == 1 else (n - n // 2, n // 2)


@dataclass(frozen=True)
class Sky:
    """Stars and background.

    Parameters
    ----------
    star_density : float
        Stars brighter than `faintest_flux` per square degree.
    n_stars : int or None
        Their number in the whole field, in place of the density.
    faintest_flux, brightest_flux : float
        Range of the fluxes [uJy].
    slope : float
        Power of the flux in the differential counts.
    min_separation : float
        Least distance between stars [arcsec].
    background : float
        Surface brightness in the middle of the field [MJy/sr].
    gradient : float
        Its slope to the north [MJy/sr per degree].
    """

    star_density: float
    faintest_flux: float
    brightest_flux: float
    background: float
    n_stars: int | None = None
    slope: float = -1.8
    min_separation: float = 0.0
    gradient: float = 0.0


@dataclass(frozen=True)
class Detector:
    """How the frames are taken.

    Parameters
    ----------
    exposure : float
        Effective integration time [s].
    offset_rms : float
        Standard deviation of the constant that is added to each frame [MJy/sr].
    frame_gradient_rms : float
        Standard deviation of the slopes along x and y that are added to each frame [MJy/sr over the array].
    hits_per_second : float
        Tracks of cosmic rays on the whole array of the camera; fewer on a smaller one.
    flag_hits : float
        Fraction of the tracks that the status mask knows (bit 9).
    bad_fraction : float
        Fraction of the pixels that are always bad.
    uncertainty_scale : float
        Uncertainty image over true noise.
    saturation : float or None
        Surface brightness at which pixels saturate [MJy/sr]; None is that of the camera.
    array_size : int or None
        Side of the array [pixel]; None is that of the camera.
    """

    exposure: float
    offset_rms: float
    frame_gradient_rms: float = 0.0
    hits_per_second: float = 3.0
    flag_hits: float = 0.0
    bad_fraction: float = 0.001
    uncertainty_scale: float = 1.0
    saturation: float | None = None
    array_size: int | None = None


@dataclass(frozen=True)
class Simulation:
    """All that decides a simulated data set; equal settings give equal data.

    Parameters
    ----------
    instrument : str
        Key of `pymopex.instruments.INSTRUMENTS`.
    layout : Layout
        Pointings.
    sky : Sky
        Stars and background.
    detector : Detector
        Noise and defects.
    variable_prf : bool
        PRF that changes over the array.
    seed : int
        Of the random numbers.
    """

    instrument: str
    layout: Layout
    sky: Sky
    detector: Detector
    variable_prf: bool = False
    seed: int = 1

    @property
    def camera(self) -> Instrument:
        """Facts of the camera."""
        return INSTRUMENTS[self.instrument]

    @property
    def size(self) -> int:
        """Columns of the array [pixel]."""
        return self.shape[1]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the array [pixel]."""
        side = self.detector.array_size
        return (side, side) if side else self.camera.shape

    @property
    def saturation(self) -> float:
        """Level of saturation [MJy/sr]."""
        given = self.detector.saturation
        return given if given is not None else self.camera.well / self.gain

    @property
    def gain(self) -> float:
        """Electrons per MJy/sr."""
        return self.camera.electrons(self.detector.exposure)

    @property
    def pixel(self) -> float:
        """Side of a square of the area of a pixel [arcsec]."""
        return math.sqrt(math.prod(self.camera.pixel))

    def random(self, stream: int, index: int = 0) -> np.random.Generator:
        """Random numbers of their own for each purpose and frame: the order of the work plays no part."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=(stream, index)))


def simulation(instrument: str, **given: Any) -> Simulation:
    """Describe a data set; what is not given, or is None, is typical of the camera or of the kind.

    Parameters
    ----------
    instrument : {'I1', 'I2', 'I3', 'I4', 'M1', 'M2', 'M3'}
        IRAC channel, or MIPS 24, 70, 160 micrometre.
    **given
        Any field of `Layout`, `Sky` and `Detector`, and ``variable_prf`` and ``seed``.

    Returns
    -------
    Simulation
        The settings.

    Raises
    ------
    ValueError
        No such camera or field, or values that exclude each other.
    """
    if instrument not in INSTRUMENTS:
        raise ValueError(f"no camera {instrument!r}; there are {', '.join(INSTRUMENTS)}")
    known = dict(INSTRUMENTS[instrument].typical)
    known.update({key: value for key, value in given.items() if value is not None})
    layout, sky = Layout(**_take(known, Layout)), Sky(**_take(known, Sky))
    out = Simulation(instrument, layout, sky, Detector(**_take(known, Detector)), **_take(known, Simulation))
    if known:
        raise ValueError(f"a simulation has no {', '.join(known)}")
    if not 0 < out.sky.faintest_flux <= out.sky.brightest_flux:
        raise ValueError(
            f"Brightest_Flux = {out.sky.brightest_flux:g} is below Faintest_Flux = {out.sky.faintest_flux:g}"
        )
    return out


def _take(known: dict[str, Any], cls: Any) -> dict[str, Any]:
    return {one.name: known.pop(one.name) for one in fields(cls) if one.name in known}


class Pointing(NamedTuple):
    """Where one frame looks.

    Parameters
    ----------
    ra, dec : float
        Place of the reference pixel [deg].
    roll : float
        Position angle of +y, east of north [deg].
    half : int
        0 for the first roll angle, 1 for the second.
    number : int
        Count of the frame within its half, from 0.
    """

    ra: float
    dec: float
    roll: float
    half: int
    number: int


@lru_cache(maxsize=4)
def pointings(sim: Simulation) -> tuple[Pointing, ...]:
    """Lay out the frames.

    Parameters
    ----------
    sim : Simulation
        Settings.

    Returns
    -------
    tuple of Pointing
        Row after row of the grid, the dithers of a place one after the other; first all frames of the first roll
        angle, then all of the second.
    """
    plan = sim.layout
    ra, dec = _to_sky(plan, *_offsets(sim))
    rolls = (plan.roll_1, plan.roll_2)
    places = zip(ra, dec, strict=True)
    out = []
    for half, count in enumerate(plan.halves):
        for number in range(count):
            at_ra, at_dec = next(places)
            out.append(Pointing(float(at_ra), float(at_dec), rolls[half], half, number))
    return tuple(out)


def _offsets(sim: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Offsets of the frames from the middle of the field, along x and y of the first roll angle [arcsec]."""
    plan, side = sim.layout, np.array(sim.shape[::-1]) * sim.pixel
    n = math.ceil(plan.halves[0] / plan.n_dithers)
    columns = plan.n_columns or math.ceil(math.sqrt(n))
    rows = math.ceil(n / columns)
    step = np.full(2, plan.step_arcsec or 0.0)
    if plan.step_arcsec is None:
        step = side * math.sqrt(len(plan.halves) * plan.n_dithers / plan.coverage)
    place = np.concatenate([np.arange(count) // plan.n_dithers for count in plan.halves])
    dither = np.full(2, plan.dither_size) if plan.dither_size is not None else side / 10
    dx, dy = sim.random(POINTINGS).uniform(-dither[:, None], dither[:, None], (2, place.size))
    x = (place % columns - (columns - 1) / 2) * step[0] + dx
    y = (place // columns - (rows - 1) / 2) * step[1] + dy
    return x, y


def _to_sky(plan: Layout, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions [deg] of offsets from the middle of the field along x and y of the first roll angle [arcsec]."""
    sine, cosine = math.sin(math.radians(plan.roll_1)), math.cos(math.radians(plan.roll_1))
    middle = np.full(x.shape, plan.centre_ra), np.full(x.shape, plan.centre_dec)
    # +y points to the position angle, +x lies 90 degrees to the west of it
    return offset_sky(*middle, y * sine - x * cosine, y * cosine + x * sine)


class Stars(NamedTuple):
    """The stars of the field: positions [deg] and fluxes [uJy], 1-D arrays."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray


@lru_cache(maxsize=4)
def stars(sim: Simulation) -> Stars:
    """Draw the stars of the field, that is of the rectangle round all frames, as far as their light reaches in.

    Parameters
    ----------
    sim : Simulation
        Settings.

    Returns
    -------
    Stars
        In no order. Fewer than asked for where the least separation leaves no room.
    """
    sky, plan, random = sim.sky, sim.layout, sim.random(STARS)
    low, high = _field(sim)
    area = float(np.prod(high - low)) / 3600**2
    wanted = sky.n_stars if sky.n_stars is not None else round(sky.star_density * area)
    places = random.uniform(low, high, (wanted, 2))
    for _ in range(_ROUNDS if sky.min_separation > 0 else 0):
        close = _crowded(places, sky.min_separation)
        if not close.any():
            break
        places[close] = random.uniform(low, high, (int(close.sum()), 2))
    if sky.min_separation > 0:
        places = places[~_crowded(places, sky.min_separation)]
    flux = power_law(random, len(places), sky.faintest_flux, sky.brightest_flux, sky.slope)
    ra, dec = _to_sky(plan, places[:, 0], places[:, 1])
    return Stars(ra, dec, flux)


def _field(sim: Simulation) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner of the field, along x and y of the first roll angle [arcsec]."""
    middle = np.stack(_offsets(sim), axis=1)
    reach = (max(sim.shape) / 2 + FLUX_RADIUS) * max(sim.camera.pixel)
    turn = np.radians([pointing.roll - sim.layout.roll_1 for pointing in pointings(sim)])
    around = reach * (np.abs(np.cos(turn)) + np.abs(np.sin(turn)))[:, None]
    return (middle - around).min(axis=0), (middle + around).max(axis=0)


def _crowded(places: np.ndarray, separation: float) -> np.ndarray:
    """Tell which places lie too near to one that stands before them in the list."""
    crowded = np.zeros(len(places), bool)
    pairs = cKDTree(places).query_pairs(separation, output_type="ndarray")
    for first, second in pairs[np.lexsort(pairs.T[::-1])]:
        if not crowded[first]:
            crowded[second] = True
    return crowded


def power_law(random: np.random.Generator, n: int, low: float, high: float, slope: float) -> np.ndarray:
    """Draw from a power law between two limits.

    Parameters
    ----------
    random : numpy.random.Generator
        Source of the random numbers.
    n : int
        How many.
    low, high : float
        Limits, positive.
    slope : float
        Power of the probability density.

    Returns
    -------
    ndarray, shape (n,)
        Values from `low` to `high`.
    """
    u = random.uniform(size=n)
    power = slope + 1
    if abs(power) < 1e-9:
        return low * (high / low) ** u
    return low * (1 + u * ((high / low) ** power - 1)) ** (1 / power)
