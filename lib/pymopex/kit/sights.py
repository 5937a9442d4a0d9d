"""What each frame shows of the sources at work: their places in it, and what is left of it without them.

Both are kept in a process from block to block, as long as the sources are what they were.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from pymopex.fit_data import FrameImage, place_sources
from pymopex.kit.files import remembered, stamps_of
from pymopex.kit.images import frame_geometry, read_frame, read_image
from pymopex.kit.prfs import load_table
from pymopex.residuals import render

if TYPE_CHECKING:
    from pymopex.kit.fit_frames import FitJob
    from pymopex.kit.images import FatalBits, FrameFiles

_FRAMES = 200  # that a process keeps in memory
_PLACES = 2000  # frames whose places it keeps: 0.1 kB for each source
_BYTES = 100e6  # of frames without their sources, and of those that are searched

_T = TypeVar("_T")


class Kept(Generic[_T]):
    """The results that were used last, as many as some limit allows; each is valid for one state of the sources."""

    def __init__(self, limit: float) -> None:
        self._limit, self._held = limit, 0.0
        self._found: OrderedDict[Any, tuple[Any, _T, float]] = OrderedDict()

    def get(self, key: Any, state: Any) -> _T | None:
        """Give what was kept, if it is of this state."""
        held = self._found.get(key)
        if held is None or held[0] != state:
            return None
        self._found.move_to_end(key)
        return held[1]

    def last(self, key: Any) -> tuple[Any, _T] | None:
        """Give what was kept, of whatever state, and its state."""
        held = self._found.get(key)
        return None if held is None else held[:2]

    def put(self, key: Any, state: Any, value: _T, size: float = 1.0) -> _T:
        """Keep a result and give it back; what was not used for longest goes."""
        self._held += size - self._found.pop(key, (None, None, 0.0))[2]
        self._found[key] = state, value, size
        while self._held > self._limit and len(self._found) > 1:
            self._held -= self._found.popitem(last=False)[1][2]
        return value


@dataclass(frozen=True, eq=False)
class Places:
    """The sources whose light may reach a frame, in ascending order, their positions [deg], and their places there.

    `x` and `y` in pixels from 0, `jacobian` in pixels per arcsec (see `place_sources`), `scale` in MJy/sr per
    microjansky, and the PRFs that serve each with their weights, shape (n, K) for K PRFs.
    """

    near: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    x: np.ndarray
    y: np.ndarray
    jacobian: np.ndarray
    scale: np.ndarray
    prf: np.ndarray
    mix: np.ndarray


_places: Kept[Places] = Kept(_PLACES)
_free: Kept[FrameImage] = Kept(_BYTES)
_vectors: Kept[np.ndarray] = Kept(1)


@dataclass(frozen=True)
class State:
    """What tells the positions, and the fluxes, of the sources of a job from those of others.

    `reach` is how far beyond the edge of a frame a source may matter to it [pixel].
    """

    positions: int
    fluxes: int
    reach: float


def state_of(job: FitJob) -> State:
    """Give the state of the sources; it takes a look at all of them."""
    table = load_table(job.table)[0]
    reach = float(max(20.0, *table.half_size, job.fit_size.max(initial=0), -job.n_edge))
    where = job.ra.tobytes(), job.dec.tobytes(), reach, stamps_of(job.table), job.refined
    return State(hash(where), hash(job.flux.tobytes()), reach)


def reaches(job: FitJob, state: State, files: FrameFiles, which: np.ndarray | slice) -> np.ndarray:
    """Tell of which of some sources light may reach a frame, or its fitting boxes."""
    from pymopex.projection import unit_vectors

    sky = _vectors.get("", state.positions)
    if sky is None:
        sky = _vectors.put("", state.positions, unit_vectors(job.ra, job.dec))
    centre, cosine = frame_disc(files.image, job.refined, state.reach)
    return np.asarray(centre @ sky[:, which] >= cosine)


def places_in(job: FitJob, state: State, files: FrameFiles) -> Places:
    """Give the places of all sources near a frame, with the full WCS; those that did not move keep theirs."""
    frame = stamps_of(files.image), stamps_of(job.table), job.refined
    held = _places.get(files.image, (state.positions, frame))
    if held is not None:
        return held
    near = np.flatnonzero(reaches(job, state, files, slice(None)))
    before = _places.last(files.image)
    same = before is not None and before[0][1] == frame
    found = _placed(job, files, near, before[1] if before is not None and same else None)
    return _places.put(files.image, (state.positions, frame), found)


def _placed(job: FitJob, files: FrameFiles, near: np.ndarray, before: Places | None) -> Places:
    """Place sources in a frame; those that had been placed where they are now are not placed again."""
    sky = job.ra[near], job.dec[near]
    old = _found_in(before, *sky) if before is not None else np.full(near.size, -1)
    new = np.flatnonzero(old < 0)
    wcs, _ = frame_geometry(files.image, job.refined)
    x, y, jacobian = place_sources(wcs, sky[0][new], sky[1][new])
    prf, mix = load_table(job.table)[1].mix_at(x, y)
    which, weight = (prf[:, None], np.ones((new.size, 1))) if mix is None else (prf, mix)
    columns: tuple[np.ndarray, ...] = x, y, jacobian, scale_at(wcs, x, y), which, weight
    if before is not None and new.size < near.size:
        columns = tuple(
            _joined(getattr(before, name), old, new, column)
            for name, column in zip(_PLACED, columns, strict=True)
        )
    return Places(near, *sky, *columns)


_PLACED = ("x", "y", "jacobian", "scale", "prf", "mix")


def _found_in(before: Places, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Give where in a list of sources those at some positions are, -1 for those that are not."""
    if not before.near.size:
        return np.full(ra.size, -1)
    order = np.argsort(before.ra)
    place = order[np.minimum(np.searchsorted(before.ra, ra, sorter=order), order.size - 1)]
    return np.where((before.ra[place] == ra) & (before.dec[place] == dec), place, -1)


def _joined(values: np.ndarray, old: np.ndarray, new: np.ndarray, added: np.ndarray) -> np.ndarray:
    """Take rows of earlier values, and put those of new sources between them."""
    out = values[old]
    out[new] = added
    return out


def free_frame(job: FitJob, state: State, number: int, files: FrameFiles) -> FrameImage:
    """Give a frame without the sources whose fluxes are known."""
    image = frame_to_fit(job, number, files)
    if not job.flux.any():
        return image
    places = places_in(job, state, files)
    lit = places.near[job.flux[places.near] != 0]
    light = hash((job.ra[lit].tobytes(), job.dec[lit].tobytes(), job.flux[lit].tobytes()))
    source = stamps_of(files), stamps_of(job.images[number] if job.images else "")
    now = light, source, job.bits, job.saturation, stamps_of(job.table), job.refined
    held = _free.get(files.image, now)
    if held is None:
        data = (image.data - model_at(job, places, image.data.shape)).astype(np.float32)
        held = _free.put(files.image, now, FrameImage(data, image.sigma, image.bad), data.nbytes)
    return held


def model_at(
    job: FitJob, places: Places, shape: tuple[int, int], corner: tuple[int, int] = (0, 0)
) -> np.ndarray:
    """Draw all sources with their fluxes in (a part of) a frame, whose lower left pixel is given [image unit]."""
    lit = np.flatnonzero(job.flux[places.near] != 0)
    amplitude = job.flux[places.near[lit]] * places.scale[lit]
    at = places.x[lit] - corner[0], places.y[lit] - corner[1]
    table = load_table(job.table)[0]
    return render(*at, amplitude, places.prf[lit], table, shape, mix=places.mix[lit])


@remembered(maxsize=4096)
def frame_disc(path: str, refined: bool, reach: float) -> tuple[np.ndarray, float]:
    """Give the middle of a frame as a unit vector, and the cosine of how far from it light may reach the frame."""
    return disc(*frame_geometry(path, refined), reach)


def disc(wcs: Any, shape: tuple[int, int], reach: float) -> tuple[np.ndarray, float]:
    """Give the middle of an image as a unit vector, and the cosine of how far its corners, and `reach` pixels, are."""
    from pymopex.projection import pixel_to_sky, rotate_sky, sky_system, unit_vectors

    at = np.array([[shape[1] / 2, shape[0] / 2], [-reach, -reach]]).T
    c, e = unit_vectors(*rotate_sky(*pixel_to_sky(wcs, *at), sky_system(wcs), "J2000")).T
    return c, float(c @ e)


def scale_at(wcs: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give MJy/sr per microjansky at each place, by the solid angle of the pixel there."""
    from pymopex.geometry import pixel_solid_angle
    from pymopex.units import ujy_per_mjysr

    return 1 / np.asarray(ujy_per_mjysr(pixel_solid_angle(wcs, x, y)))


def frame_to_fit(job: FitJob, number: int, files: FrameFiles) -> FrameImage:
    """Give the frame to be fitted, or its background-subtracted form."""
    image = _frame_image(files, job.bits)
    if job.saturation is not None:
        full = image.bad | (image.data >= job.saturation)
        image = FrameImage(image.data, image.sigma, full)
    if not job.images:
        return image
    data = read_image(job.images[number], dtype=np.float32)[0]
    return FrameImage(data, image.sigma, image.bad | ~np.isfinite(data))


@remembered(maxsize=_FRAMES)
def _frame_image(files: FrameFiles, bits: FatalBits) -> FrameImage:
    """Read a frame with its masks, once per process as long as it is kept."""
    frame = read_frame(files, bits)
    sigma = frame.sigma if frame.sigma is not None else np.ones_like(frame.data)
    return FrameImage(frame.data, sigma, frame.bad)
