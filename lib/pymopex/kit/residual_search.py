"""Source Estimate: sources that its own residuals show are added to those at work."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from pymopex.fit_data import offset_sky
from pymopex.grouping import group_by_distance, group_by_label
from pymopex.kit.bright_stars import plane
from pymopex.kit.files import remembered, stamps_of
from pymopex.kit.fit_frames import LARGE, FitJob
from pymopex.kit.images import frame_geometry
from pymopex.kit.prfs import load_table
from pymopex.kit.sights import (
    Kept,
    State,
    frame_disc,
    frame_to_fit,
    free_frame,
    model_at,
    places_in,
    scale_at,
    state_of,
)
from pymopex.residual_search import (
    Nodes,
    Scores,
    SearchedFrame,
    SearchRules,
    Stamps,
    add_frame,
    find_peaks,
    searched_frame,
    stamps,
)

if TYPE_CHECKING:
    from pymopex.kit.images import FrameFiles
    from pymopex.kit.task import Run

_STEP = 0.5  # pixel of the frames, between points of the grid
_SIDE = 1200  # points of a block's side
_MARGIN = 2  # points round a block that are searched besides, so that a peak at its border is one
_OVERLAP = 24  # points that neighbouring blocks share
_BORDER_OF_SKY = 20.0  # pixel, round the outermost sources
_EVERY = 50  # points between those that are placed with the full WCS
_ROUND = (
    1.5 * _EVERY * _STEP + 40
)  # pixel round a frame: points there may be needed, however the frame is distorted
_BORDER = 16  # pixel, of a large image round the grid
_LIGHT = 12.0  # pixel, from a source that was added to where the residuals may have changed
_APART = 3.0  # pixel: of peaks that are nearer to each other only the highest is taken at a time


@dataclass(frozen=True)
class _Block:
    """A part of the sky: its middle [deg], the step of its grid [arcsec], and how to search it."""

    fit: FitJob
    ra: float
    dec: float
    step: float
    shape: tuple[int, int]
    rules: SearchRules
    near: tuple[np.ndarray, np.ndarray] | None = None


def further_sources(
    run: Run, job: FitJob, scale: float, places: tuple[np.ndarray, np.ndarray] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Find sources in the residuals of all frames.

    Parameters
    ----------
    run : Run
        The task at work.
    job : FitJob
        A job of the fit, with the fluxes of the last pass; the members do not matter.
    scale : float
        Pixel of the frames [arcsec].
    places : (ra, dec) or None
        Search only where these are [deg], as far as their light may reach.

    Returns
    -------
    ra, dec : ndarray
        Their places [deg].
    """
    rules = SearchRules(run.params.Residual_Sigma, 1 if len(job.frames) == 1 else 2)
    blocks = [replace(block, near=places) for block in _blocks(job, scale, rules)]
    found = [part for part in run.map(_search, blocks, "parts of the sky") if len(part)]
    if not found:
        return np.zeros(0), np.zeros(0)
    peaks = np.concatenate(found)
    peaks = peaks[np.argsort(-peaks[:, 2], kind="stable")]
    points = plane(peaks[:, 0], peaks[:, 1]) / scale
    near = cKDTree(points).query_pairs(_APART, output_type="ndarray")
    lower = {int(max(pair)) for pair in near}
    chosen = [i for i in range(len(peaks)) if i not in lower]
    return peaks[chosen, 0], peaks[chosen, 1]


def _blocks(job: FitJob, scale: float, rules: SearchRules) -> list[_Block]:
    """Cut the sky of the sources into blocks that overlap a little; what two of them find is one peak."""
    known = np.isfinite(job.ra) & np.isfinite(job.dec)
    if not known.any():
        return []
    step, border = _STEP * scale, _BORDER_OF_SKY * scale / 3600
    pitch = (_SIDE - _OVERLAP) * step / 3600
    ra0 = _rounded(job.ra[known][0])
    east, dec = (job.ra[known] - ra0 + 180) % 360 - 180, job.dec[known]
    shape = (_SIDE + 2 * _MARGIN, _SIDE + 2 * _MARGIN)
    blocks = []
    for north in np.arange(_rounded(dec.min() - border) + pitch / 2, dec.max() + border + pitch / 2, pitch):
        across = max(np.cos(np.radians(north)), 1e-3)
        first, last = _rounded(east.min() - border / across), east.max() + border / across
        for at in np.arange(first + pitch / across / 2, last + pitch / across / 2, pitch / across):
            blocks.append(_Block(job, float((ra0 + at) % 360), float(north), step, shape, rules))
    return blocks


def _rounded(angle: float) -> float:
    """Round down, so that the blocks of the next round are the same [deg]."""
    return float(np.floor(angle * 1000) / 1000)


@remembered(maxsize=2)
def _stamps(table: str) -> Stamps:
    return stamps(load_table(table)[0])


def _search(block: _Block) -> np.ndarray:
    """Search one block; gives right ascension, declination and significance of the peaks inside its margin."""
    job = block.fit
    scores, wanted, state = Scores.empty(block.shape), _wanted(block), state_of(job)
    for number, files in enumerate(job.frames if wanted.any() else ()):
        nodes = _nodes(block.ra, block.dec, block.step, block.shape, files.image, job.refined, job.table)
        if nodes is None:
            continue
        nodes = nodes._replace(prf=np.where(wanted, nodes.prf, -1))
        shape = frame_geometry(files.image, job.refined)[1]
        if not _on_frame(nodes, shape)[wanted].any():
            continue
        cut, nodes = _cut(shape, nodes)
        frame, per_ujy = _searched(job, state, number, files, cut)
        add_frame(scores, frame, nodes, per_ujy, _stamps(job.table), max(job.n_edge, 0))
    row, column = find_peaks(scores, block.rules)
    inside = (np.minimum(row, column) >= _MARGIN) & (row < block.shape[0] - _MARGIN)
    inside &= column < block.shape[1] - _MARGIN
    row, column = row[inside], column[inside]
    u, v = _offsets(block.shape, block.step, column, row)
    ra, dec = offset_sky(block.ra, block.dec, u, v)
    return np.column_stack([ra, dec, scores.top[row, column] / np.sqrt(scores.norm[row, column])])


_kept: Kept[tuple[SearchedFrame, float]] = Kept(100e6)  # bytes


def _searched(
    job: FitJob, state: State, number: int, files: FrameFiles, cut: tuple[slice, slice]
) -> tuple[SearchedFrame, float]:
    """Give (a part of) a frame in the form that is searched, and the MJy/sr per microjansky in its middle."""
    now = state, stamps_of(files), job.bits, job.saturation, str(cut)
    held = _kept.get(files.image, now)
    if held is None:
        image = frame_to_fit(job, number, files)
        wcs, shape = frame_geometry(files.image, job.refined)
        data = image.data[cut]
        if max(shape) > LARGE:
            corner = cut[1].start, cut[0].start
            free = data - model_at(job, places_in(job, state, files), data.shape, corner)
        else:
            free = free_frame(job, state, number, files).data
        frame = searched_frame(data, image.sigma[cut], image.bad[cut], free)
        middle = (np.array([(part.start + part.stop - 1) / 2]) for part in cut[::-1])
        per_ujy = float(scale_at(wcs, *middle)[0])
        held = _kept.put(files.image, now, (frame, per_ujy), sum(a.nbytes for a in frame))
    return held


def _cut(shape: tuple[int, int], nodes: Nodes) -> tuple[tuple[slice, slice], Nodes]:
    """Give the part of a large image, which is a mosaic, that holds the grid, and the places in that part."""
    if max(shape) <= LARGE:
        return (slice(0, shape[0]), slice(0, shape[1])), nodes
    x, y = (_reach(at, n) for at, n in zip((nodes.x, nodes.y), shape[::-1], strict=True))
    return (y, x), nodes._replace(x=nodes.x - x.start, y=nodes.y - y.start)


def _reach(at: np.ndarray, n: int) -> slice:
    """Give the pixels along one axis of n that hold some places."""
    first = int(np.clip(np.floor(at.min()) - _BORDER, 0, n - 1))
    return slice(first, int(np.clip(np.ceil(at.max()) + _BORDER, first + 1, n)))


def _offsets(
    shape: tuple[int, int], step: float, column: np.ndarray, row: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Points of the grid as offsets from the middle of a block, to the east and to the north [arcsec]."""
    ny, nx = shape
    return (column - (nx - 1) / 2) * step, (row - (ny - 1) / 2) * step


def _grid(shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the points that are placed with the full WCS."""
    rows, columns = (np.arange(0, n + _EVERY, _EVERY) for n in shape)
    row, column = np.meshgrid(rows, columns, indexing="ij")
    return row, column


def _wanted(block: _Block) -> np.ndarray:
    """Tell which cells between these points are to be searched."""
    row, column = _grid(block.shape)
    if block.near is None:
        return np.ones(row.shape, bool)
    middle = _offsets(block.shape, block.step, column + _EVERY / 2, row + _EVERY / 2)
    origin = np.concatenate([[block.ra], block.near[0]]), np.concatenate([[block.dec], block.near[1]])
    places = plane(*origin)[1:] - plane(*origin)[0]
    reach = (_EVERY / 2 + _LIGHT / _STEP) * block.step
    distance, _ = cKDTree(places).query(np.column_stack([m.ravel() for m in middle]), p=np.inf)
    return (distance <= reach).reshape(row.shape)


@lru_cache(maxsize=4)
def _places(ra: float, dec: float, step: float, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Give the sky of the points of a block that are placed with the full WCS [deg]."""
    row, column = _grid(shape)
    return offset_sky(ra, dec, *_offsets(shape, step, column, row))


@remembered(maxsize=4096)
def _nodes(
    ra: float, dec: float, step: float, shape: tuple[int, int], path: str, refined: bool, table: str
) -> Nodes | None:
    """Place the grid in a frame, but for cells that are far from it; None if all are."""
    from pymopex.projection import rotate_sky, sky_system, sky_to_pixel, unit_vectors

    centre, cosine = frame_disc(path, refined, float(np.hypot(*shape) / 2 * _STEP))
    if not centre @ unit_vectors(np.array(ra), np.array(dec)) >= cosine:
        return None
    wcs, size = frame_geometry(path, refined)
    lon, lat = rotate_sky(*_places(ra, dec, step, shape), "J2000", sky_system(wcs))
    near = _near(wcs, size, lon, lat)
    if not near.any():
        return None
    x, y = np.full((2, *near.shape), -np.inf)
    x[near], y[near] = sky_to_pixel(wcs, lon[near], lat[near])
    index, mix = load_table(table)[1].mix_at(x[near], y[near])
    if mix is not None:
        index = np.take_along_axis(index, mix.argmax(axis=1)[:, None], axis=1)[:, 0]
    prf = np.full(near.shape, -1, np.int64)
    prf[near] = index
    prf[:-1, :-1][~(near[:-1, :-1] & near[1:, :-1] & near[:-1, 1:] & near[1:, 1:])] = -1
    nodes = Nodes(x, y, prf, _EVERY)
    return nodes if _on_frame(nodes, size).any() else None


def _near(wcs: Any, size: tuple[int, int], lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
    """Tell which points lie in a frame, or within some cells of it, by the WCS without its distortion."""
    world = (lon, lat) if wcs.wcs.lng == 0 else (lat, lon)
    x, y = wcs.wcs_world2pix(*(p.ravel() for p in world), 0)
    with np.errstate(invalid="ignore"):
        near = (np.abs(2 * x - size[1]) < size[1] + 2 * _ROUND) & (
            np.abs(2 * y - size[0]) < size[0] + 2 * _ROUND
        )
    return np.asarray(near.reshape(lon.shape))


def _on_frame(nodes: Nodes, size: tuple[int, int]) -> np.ndarray:
    """Tell which of the points of the grid, or the cells behind them, a frame may hold."""
    cell = 1.5 * _EVERY * _STEP
    x, y = nodes.x, nodes.y
    return (x > -cell) & (x < size[1] + cell) & (y > -cell) & (y < size[0] + cell)


def append(sources: Any, ra: np.ndarray, dec: np.ndarray) -> None:
    """Add sources to those at work, each a group of its own; their numbers go on from the last."""
    n = len(ra)
    new = {
        "detid": np.arange(n) + sources.detid.max(initial=0) + 1,
        "group": np.arange(n) + sources.group.max(initial=-1) + 1,
        **dict.fromkeys(("ra", "start_ra"), ra),
        **dict.fromkeys(("dec", "start_dec"), dec),
        "flux": np.zeros(n),
        "fit_size": np.tile(np.median(sources.fit_size, axis=0), (n, 1)),
        "bright": np.zeros(n, bool),
        "added": np.ones(n, bool),
    }
    for column in fields(sources):
        old = getattr(sources, column.name)
        setattr(sources, column.name, np.concatenate([old, np.asarray(new[column.name], old.dtype)]))


def regroup(run: Run, sources: Any, scale: float) -> None:
    """Group the sources anew at their places now.

    Without ``Angular_Distance`` one that was added joins the blend of the nearest detection, if that is in its box.
    """
    p = run.params
    points = plane(sources.ra, sources.dec)
    x, y = points.T
    if p.Angular_Distance is not None:
        sources.group = group_by_distance(x, y, p.Angular_Distance, p.Max_Group_Size).number
        return
    label, old = sources.group.copy(), np.flatnonzero(~sources.added)
    distance, nearest = cKDTree(points[old]).query(points[sources.added])
    near = distance <= sources.fit_size[sources.added].max(axis=1) / 2 * scale
    label[sources.added] = np.where(near, label[old[nearest]], label[sources.added])
    sources.group = group_by_label(x, y, label, p.Max_Group_Size).number
