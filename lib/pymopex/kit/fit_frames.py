"""The frames of a PRF fit: what a block of sources sees of each, freed of all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.fit_data import FrameImage, GroupData
from pymopex.gathering import FrameGroups, batch_of_frames, gather_groups_of_frame, groups_of_frames
from pymopex.grouping import Groups
from pymopex.kit.images import FatalBits, FrameFiles, frame_geometry
from pymopex.kit.sights import (
    Places,
    State,
    disc,
    frame_to_fit,
    free_frame,
    model_at,
    places_in,
    reaches,
    scale_at,
    state_of,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pymopex.batches import Batch
    from pymopex.fitting import FitSettings

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
    """Collect the pixels of each group of a block that some frame holds; see `gather_batch`."""
    members, pieces, fit_size = _pieces(job)
    for found in groups_of_frames(pieces, fit_size):
        yield Gathered(members[found.number], found.group, found.frames)


def gather_batch(job: FitJob) -> tuple[list[np.ndarray], Batch] | None:
    """Collect the pixels of the groups of a block that some frame holds: their members, and the groups.

    Notes
    -----
    With known fluxes (from an earlier pass) every frame is freed of all sources first.
    """
    members, pieces, fit_size = _pieces(job)
    found = batch_of_frames(pieces, fit_size)
    return None if found is None else ([members[number] for number in found[0]], found[1])


def _pieces(job: FitJob) -> tuple[list[np.ndarray], list[FrameGroups], np.ndarray]:
    """Give the members of the groups of a block, what the frames show of them, and the size of the box of each."""
    members = [job.members[part] for part in Groups(job.group[job.members], 0).members]
    flat, count = np.concatenate(members), np.array([len(part) for part in members])
    start = np.concatenate([[0], np.cumsum(count)])
    block = _Block(flat, start, np.maximum.reduceat(job.fit_size[flat], start[:-1]))
    state = state_of(job)
    pieces = [_seen(job, state, number, files, block) for number, files in enumerate(job.frames)]
    return members, [piece for piece in pieces if piece is not None], block.fit_size


@dataclass(frozen=True, eq=False)
class _Block:
    """Sources of a block, group after group; where each group begins; and the size of its box."""

    members: np.ndarray
    start: np.ndarray
    fit_size: np.ndarray


def _seen(job: FitJob, state: State, number: int, files: FrameFiles, block: _Block) -> FrameGroups | None:
    """Give the pixels and places of the groups that one frame holds."""
    if not reaches(job, state, files, block.members).any():
        return None
    places = places_in(job, state, files)
    near = places.near
    rows = np.minimum(np.searchsorted(near, block.members), near.size - 1)
    found = near[rows] == block.members
    _, shape = frame_geometry(files.image, job.refined)
    whole = np.logical_and.reduceat(found, block.start[:-1])
    inside = found & inside_frame(places.x, places.y, shape, job.n_edge)[rows]
    chosen = np.flatnonzero(whole & np.logical_or.reduceat(inside, block.start[:-1]))
    if not chosen.size:
        return None
    at = rows[np.isin(np.repeat(np.arange(whole.size), np.diff(block.start)), chosen)]
    if max(shape) > LARGE:
        image, x0, y0 = _part(job, frame_to_fit(job, number, files), places, at)
    else:
        image, x0, y0 = free_frame(job, state, number, files), 0, 0
    own = tuple(
        column[at] for column in (places.x, places.y, places.jacobian, places.scale, places.prf, places.mix)
    )
    sizes = np.diff(block.start)[chosen], block.fit_size[chosen]
    return gather_groups_of_frame(image, (x0, y0), files.index, chosen, *sizes, own)


def _part(job: FitJob, image: FrameImage, places: Places, at: np.ndarray) -> tuple[FrameImage, int, int]:
    """Cut the part with the boxes of some sources out of a large image, freed of all; and give its lower left pixel."""
    ny, nx = image.data.shape
    x, y, reach = places.x[at], places.y[at], int(job.fit_size.max())
    placed = np.isfinite(x) & np.isfinite(y)
    x0, x1 = _span(x[placed], reach, nx) if placed.any() else (0, 1)
    y0, y1 = _span(y[placed], reach, ny) if placed.any() else (0, 1)
    data, sigma, bad = (np.ascontiguousarray(a[y0:y1, x0:x1]) for a in (image.data, image.sigma, image.bad))
    if job.flux.any():
        data = (data - model_at(job, places, data.shape, (x0, y0))).astype(np.float32)
    return FrameImage(data, sigma, bad), x0, y0


def _span(x: np.ndarray, reach: int, n: int) -> tuple[int, int]:
    """Give the first pixel, and the first behind the last, of the boxes along one axis of n pixels."""
    first = min(max(int(x.min()) - reach, 0), n - 1)
    return first, min(max(int(x.max()) + reach + 2, first + 1), n)


def model_of_frame(job: FitJob, files: FrameFiles, cut: tuple[slice, slice]) -> tuple[np.ndarray, float]:
    """Draw all sources with their fluxes in (part of) a frame; and give the MJy/sr per microjansky in its middle."""
    wcs, _ = frame_geometry(files.image, job.refined)
    ny, nx = (part.stop - part.start for part in cut)
    corner = cut[1].start, cut[0].start
    middle = np.array([corner[0] + (nx - 1) / 2]), np.array([corner[1] + (ny - 1) / 2])
    model = model_at(job, places_in(job, state_of(job), files), (ny, nx), corner)
    return model, float(scale_at(wcs, *middle)[0])


def near_frame(
    wcs: Any, shape: tuple[int, int], ra: np.ndarray, dec: np.ndarray, reach: float = 20.0
) -> np.ndarray:
    """Give the sources whose light may reach the frame, as far as `reach` pixels."""
    from pymopex.projection import unit_vectors

    centre, cosine = disc(wcs, shape, reach)
    return np.flatnonzero(centre @ unit_vectors(ra, dec) >= cosine)


def inside_frame(x: np.ndarray, y: np.ndarray, shape: tuple[int, int], n_edge: int) -> np.ndarray:
    """Tell which places lie at least `n_edge` pixels inside a frame (if negative, at most that far outside)."""
    ny, nx = shape
    return (x >= n_edge) & (x <= nx - 1 - n_edge) & (y >= n_edge) & (y <= ny - 1 - n_edge)
