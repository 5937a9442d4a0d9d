"""The frames of a PRF fit: what a block of sources sees of each, freed of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from pymopex.fit_data import FrameImage, GroupData, place_sources
from pymopex.gathering import FrameGroups, gather_groups_of_frame, groups_of_frames
from pymopex.grouping import Groups
from pymopex.kit.files import remembered
from pymopex.kit.images import FatalBits, FrameFiles, frame_geometry, read_frame, read_image
from pymopex.kit.prfs import load_table
from pymopex.residuals import render

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymopex.fitting import FitSettings
    from pymopex.prf import PRFTable

_KEPT = 200  # frames that a process keeps in memory
LARGE = 1200  # pixels; of larger images, which are mosaics, the part that a block needs is worked on


@dataclass(frozen=True)
class FitJob:
    """One block: which sources, in which frames, and how.

    Positions in degrees and fluxes in microjansky are those of all sources; `members` are the sources of the block.
    With a path in `curves`, the measurements in single frames are written there; with `frame_errors`, which is the
    factor expected of the variances (0: chi2/dof of the fit), their scatter is given. Pixels at the level `saturation`
    [image unit] or above are left out, and so are those within `hole` pixels of the sources marked in `bright`.
    """

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    group: np.ndarray
    members: np.ndarray
    frames: tuple[FrameFiles, ...]
    bits: FatalBits
    refined: bool
    fit_size: np.ndarray
    n_edge: int
    settings: FitSettings
    robust: float
    table: str
    images: tuple[str, ...] = ()
    snr_box: int = 3
    curves: str = ""
    frame_errors: float | None = None
    saturation: float | None = None
    bright: np.ndarray | None = None
    hole: float = 0.0


@dataclass(frozen=True)
class Gathered:
    """The pixels of a group in all frames that hold it, and the numbers of these."""

    members: np.ndarray
    group: GroupData
    frames: np.ndarray


def gather_groups(job: FitJob) -> Iterator[Gathered]:
    """Collect the pixels of each group of a block that some frame holds.

    Notes
    -----
    With known fluxes (from an earlier pass) every frame is freed of all sources first.
    """
    from pymopex.projection import unit_vectors

    members = [job.members[part] for part in Groups(job.group[job.members], 0).members]
    block = _Block(
        np.concatenate(members),
        np.concatenate([[0], np.cumsum([len(part) for part in members])]),
        np.array([job.fit_size[part].max(axis=0) for part in members]),
    )
    sky = unit_vectors(job.ra, job.dec)
    pieces = [_seen(job, number, files, block, sky) for number, files in enumerate(job.frames)]
    for found in groups_of_frames([piece for piece in pieces if piece is not None], block.fit_size):
        yield Gathered(members[found.number], found.group, found.frames)


@dataclass(frozen=True, eq=False)
class _Block:
    """Sources of a block, group after group; where each group begins; and the size of its box."""

    members: np.ndarray
    start: np.ndarray
    fit_size: np.ndarray


def _seen(job: FitJob, number: int, files: FrameFiles, block: _Block, sky: np.ndarray) -> FrameGroups | None:
    """Give the pixels and places of the groups that one frame holds; `sky` are unit vectors of all sources."""
    table, where, _ = load_table(job.table)
    reach = float(max(20.0, *table.half_size, job.fit_size.max(), -job.n_edge))
    centre, cosine = _frame_disc(files.image, job.refined, reach)
    if not (centre @ sky[:, block.members] >= cosine).any():
        return None
    wcs, shape = frame_geometry(files.image, job.refined)
    near = np.flatnonzero(centre @ sky >= cosine)
    rows = np.minimum(np.searchsorted(near, block.members), near.size - 1)
    found = near[rows] == block.members
    x, y, jacobian = place_sources(wcs, job.ra[near], job.dec[near], rows[found])
    whole = np.logical_and.reduceat(found, block.start[:-1])
    inside = found & inside_frame(x, y, shape, job.n_edge)[rows]
    chosen = np.flatnonzero(whole & np.logical_or.reduceat(inside, block.start[:-1]))
    if not chosen.size:
        return None
    at = rows[np.isin(np.repeat(np.arange(whole.size), np.diff(block.start)), chosen)]
    image, x0, y0 = _part(frame_to_fit(job, number, files), x[at], y[at], int(job.fit_size.max()))
    scale = _scale(wcs, x, y)
    lit = near[:0] if not np.any(job.flux[near] != 0) else _within(x, y, at, _light(job, table))
    needed = np.union1d(lit, at)
    prf, mix = where.mix_at(x[needed], y[needed])
    if lit.size:
        own = np.searchsorted(needed, lit)
        flux, some = job.flux[near[lit]] * scale[lit], None if mix is None else mix[own]
        model = render(x[lit] - x0, y[lit] - y0, flux, prf[own], table, image.data.shape, mix=some)
        image = FrameImage((image.data - model).astype(np.float32), image.sigma, image.bad)
    which, weight = (prf[:, None], np.ones((needed.size, 1))) if mix is None else (prf, mix)
    own = np.searchsorted(needed, at)
    places = x[at], y[at], jacobian[at], scale[at], which[own], weight[own]
    sizes = np.diff(block.start)[chosen], block.fit_size[chosen]
    return gather_groups_of_frame(image, (x0, y0), files.index, chosen, *sizes, places)


def _light(job: FitJob, table: PRFTable) -> float:
    """How far from a source of a block the light of another enters its fit [pixel]."""
    return max(table.half_size) + float(job.fit_size.max())


def _part(image: FrameImage, x: np.ndarray, y: np.ndarray, reach: int) -> tuple[FrameImage, int, int]:
    """Cut the part that holds the boxes of some sources out of a large image; and its lower left pixel."""
    ny, nx = image.data.shape
    placed = np.isfinite(x) & np.isfinite(y)
    if max(nx, ny) <= LARGE or not placed.any():
        return image, 0, 0
    x0, x1 = _span(x[placed], reach, nx)
    y0, y1 = _span(y[placed], reach, ny)
    arrays = (np.ascontiguousarray(a[y0:y1, x0:x1]) for a in (image.data, image.sigma, image.bad))
    return FrameImage(*arrays), x0, y0


def _span(x: np.ndarray, reach: int, n: int) -> tuple[int, int]:
    """Give the first pixel, and the first behind the last, of the boxes along one axis of n pixels."""
    first = min(max(int(x.min()) - reach, 0), n - 1)
    return first, min(max(int(x.max()) + reach + 2, first + 1), n)


@remembered(maxsize=4096)
def _frame_disc(path: str, refined: bool, reach: float) -> tuple[np.ndarray, float]:
    """Give the middle of a frame as a unit vector, and the cosine of how far from it light may reach the frame."""
    return _disc(*frame_geometry(path, refined), reach)


def model_of_frame(job: FitJob, files: FrameFiles, cut: tuple[slice, slice]) -> tuple[np.ndarray, float]:
    """Draw all sources with their fluxes in (part of) a frame; and give the MJy/sr per microjansky in its middle."""
    from pymopex.projection import rotate_sky, sky_system, sky_to_pixel

    table, where, _ = load_table(job.table)
    wcs, shape = frame_geometry(files.image, job.refined)
    ny, nx = (part.stop - part.start for part in cut)
    middle = np.array([cut[1].start + (nx - 1) / 2]), np.array([cut[0].start + (ny - 1) / 2])
    near = near_frame(wcs, shape, job.ra, job.dec, max(20.0, *table.half_size))
    near = near[job.flux[near] != 0]
    if not near.size:
        return np.zeros((ny, nx)), float(_scale(wcs, *middle)[0])
    x, y = sky_to_pixel(wcs, *rotate_sky(job.ra[near], job.dec[near], "J2000", sky_system(wcs)))
    prf, mix = where.mix_at(x, y)
    amplitude = job.flux[near] * _scale(wcs, x, y)
    model = render(x - cut[1].start, y - cut[0].start, amplitude, prf, table, (ny, nx), mix=mix)
    return model, float(_scale(wcs, *middle)[0])


def near_frame(
    wcs: Any, shape: tuple[int, int], ra: np.ndarray, dec: np.ndarray, reach: float = 20.0
) -> np.ndarray:
    """Give the sources whose light may reach the frame, as far as `reach` pixels."""
    from pymopex.projection import unit_vectors

    centre, cosine = _disc(wcs, shape, reach)
    return np.flatnonzero(centre @ unit_vectors(ra, dec) >= cosine)


def _disc(wcs: Any, shape: tuple[int, int], reach: float) -> tuple[np.ndarray, float]:
    from pymopex.projection import pixel_to_sky, rotate_sky, sky_system, unit_vectors

    at = np.array([[shape[1] / 2, shape[0] / 2], [-reach, -reach]]).T
    c, e = unit_vectors(*rotate_sky(*pixel_to_sky(wcs, *at), sky_system(wcs), "J2000")).T
    return c, float(c @ e)


def inside_frame(x: np.ndarray, y: np.ndarray, shape: tuple[int, int], n_edge: int) -> np.ndarray:
    """Tell which places lie at least `n_edge` pixels inside a frame (if negative, at most that far outside)."""
    ny, nx = shape
    return (x >= n_edge) & (x <= nx - 1 - n_edge) & (y >= n_edge) & (y <= ny - 1 - n_edge)


def _scale(wcs: Any, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give MJy/sr per microjansky at each place, by the solid angle of the pixel there."""
    from pymopex.geometry import pixel_solid_angle
    from pymopex.units import ujy_per_mjysr

    return 1 / np.asarray(ujy_per_mjysr(pixel_solid_angle(wcs, x, y)))


def _within(x: np.ndarray, y: np.ndarray, at: np.ndarray, reach: float) -> np.ndarray:
    """Give the sources within a distance, along both axes, of any of those named by `at`."""
    placed = np.isfinite(x) & np.isfinite(y)
    tree = cKDTree(np.column_stack([x[at], y[at]])[placed[at]])
    points = np.column_stack([np.where(placed, x, 0), np.where(placed, y, 0)])
    distance, _ = tree.query(points, p=np.inf, distance_upper_bound=reach)
    return np.flatnonzero(placed & np.isfinite(distance))


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


@remembered(maxsize=_KEPT)
def _frame_image(files: FrameFiles, bits: FatalBits) -> FrameImage:
    """Read a frame with its masks, once per process as long as it is kept."""
    frame = read_frame(files, bits)
    sigma = frame.sigma if frame.sigma is not None else np.ones_like(frame.data)
    return FrameImage(frame.data, sigma, frame.bad)
