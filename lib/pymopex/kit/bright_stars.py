"""Bright stars in Source Estimate: detections on the ring round a masked core, and in the wings of their PRF."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from pymopex.kit.prfs import load_table

if TYPE_CHECKING:
    from pymopex.kit.fit_blocks import Fitted
    from pymopex.kit.task import Run

_RING = 1.0  # pixel, from the edge of a hole to a detection on its ring
_BORDER = 3.0  # pixel, from there to the edge of the fitting box


def keep(sources: Any, which: np.ndarray) -> None:
    """Keep some of the sources at work."""
    for column in fields(sources):
        setattr(sources, column.name, getattr(sources, column.name)[which])


def merge_rings(run: Run, sources: Any, found: list[Fitted], scale: float) -> tuple[list[Fitted], np.ndarray]:
    """Make one source of the detections that lie on the ring round one masked core.

    Parameters
    ----------
    run : Run
        The task at work.
    sources : dataclass of arrays
        The sources at work; the first of the detections of a ring stays, in the middle of them, with a box that
        holds the ring.
    found : list of Fitted
        Fits of these sources.
    scale : float
        Pixel of the frames [arcsec].

    Returns
    -------
    found : list of Fitted
        The fits of the groups that had no ring.
    again : ndarray of bool
        Which of the sources that are left are to be fitted again.

    Notes
    -----
    A detection belongs to the ring of one whose core is masked if it lies no farther from it than the radius of the
    circle of as many pixels as are masked, and one pixel.
    """
    n = len(sources.ra)
    hole = np.zeros(n)
    for fitted in found:
        hole[fitted.members] = fitted.hole
    label, points = _rings(sources, hole, scale)
    first = np.full(n, n)
    np.minimum.at(first, label, np.arange(n))
    stays = first[label] == np.arange(n)
    if stays.all():
        return found, np.zeros(n, bool)
    renewed = np.isin(sources.group, sources.group[np.isin(label, label[~stays])])
    for number in np.flatnonzero(stays & np.isin(label, label[~stays])):
        members = np.flatnonzero(label == label[number])
        middle = points[members].mean(axis=0)
        radius = max(hole[members].max(), np.hypot(*(points[members] - middle).T).max())
        _move(sources, int(number), (middle - points[number]) * scale / 3600)
        side = 2 * int(np.ceil(radius + _BORDER)) + 1
        sources.fit_size[number] = np.maximum(sources.fit_size[number], side)
    place = np.cumsum(stays) - 1
    kept = [replace(f, members=place[f.members]) for f in found if not renewed[f.members].any()]
    keep(sources, stays)
    run.note(f"{int((~stays).sum())} detections on the rings of masked cores were joined with others")
    return kept, renewed[stays]


def _rings(sources: Any, hole: np.ndarray, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """Give each detection the number of its ring, and its place [pixel of the frames]."""
    points = plane(sources.start_ra, sources.start_dec) / scale
    masked = np.flatnonzero(hole > 0)
    tree = cKDTree(points)
    near = [tree.query_ball_point(points[m], hole[m] + _RING) for m in masked]
    one = np.repeat(masked, [len(part) for part in near])
    other = np.concatenate([np.array(part, int) for part in near]) if len(masked) else masked
    links = coo_array((np.ones(len(one)), (one, other)), shape=(len(hole), len(hole)))
    return connected_components(links, directed=False)[1], points


def plane(ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Place positions in a plane, to the east and to the north [arcsec]; far away if they are not known."""
    if not len(ra):
        return np.zeros((0, 2))
    known = np.isfinite(ra) & np.isfinite(dec)
    ra0, dec0 = (ra[known][0], dec[known].mean()) if known.any() else (0.0, 0.0)
    east = ((ra - ra0 + 180) % 360 - 180) * np.cos(np.radians(dec0))
    points = np.column_stack([east, dec - dec0]) * 3600
    return np.where(known[:, None], points, 1e9 + 1e6 * np.arange(len(ra))[:, None])


def _move(sources: Any, number: int, step: np.ndarray) -> None:
    """Move a source by a step to the east and to the north [deg]; it starts from there."""
    across = np.cos(np.radians(sources.start_dec.mean()))
    sources.start_ra[number] = (sources.start_ra[number] + step[0] / across) % 360
    sources.start_dec[number] += step[1]
    sources.ra[number], sources.dec[number] = sources.start_ra[number], sources.start_dec[number]


def widen(run: Run, sources: Any, found: list[Fitted]) -> None:
    """Mark the sources whose core is masked, or whose whole box is, and give them the box for bright ones."""
    sources.bright[:] = True
    for fitted in found:
        sources.bright[fitted.members] = fitted.hole > 0
    if run.params.Bright_Fitting_Area:
        side = np.maximum(sources.fit_size, run.params.Bright_Fitting_Area)
        sources.fit_size = np.where(sources.bright[:, None], side, sources.fit_size)


def drop_in_wings(run: Run, sources: Any, table: str, scale: float) -> None:
    """Drop sources that an error of the PRF of a brighter neighbour may make.

    Parameters
    ----------
    run : Run
        The task at work.
    sources : dataclass of arrays
        The sources at work, with the fluxes of the last pass.
    table : str
        The saved PRFs.
    scale : float
        Pixel of the frames [arcsec].

    Notes
    -----
    Such a source has less flux than ``Wing_Tolerance`` times that which the wing of the neighbour has there: the
    neighbour's flux times its PRF at the distance over the peak of the PRF.
    """
    tolerance = run.params.Wing_Tolerance
    bright = np.flatnonzero(sources.flux > 0)
    if not tolerance or len(bright) < 2:
        return
    prfs = load_table(table)[0]
    points = plane(sources.ra[bright], sources.dec[bright]) / scale
    pairs = cKDTree(points).query_pairs(min(prfs.half_size), output_type="ndarray")
    flux = sources.flux[bright]
    first = flux[pairs[:, 0]] < flux[pairs[:, 1]]
    faint, strong = (np.where(first, pairs[:, k], pairs[:, 1 - k]) for k in (0, 1))
    distance = np.hypot(*(points[faint] - points[strong]).T)
    wing = np.mean([prfs.evaluate(*at)[0] for at in _round(distance)], axis=0)
    peak = prfs.evaluate(np.zeros(1), np.zeros(1))[0]
    lost = np.unique(bright[faint[flux[faint] < tolerance * flux[strong] * wing / peak]])
    if len(lost):
        keep(sources, ~np.isin(np.arange(len(sources.ra)), lost))
        run.note(f"{len(lost)} detections in the wings of brighter ones were dropped (Wing_Tolerance)")


def _round(distance: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Give offsets in eight directions."""
    for angle in np.arange(8) * np.pi / 4:
        yield distance * np.cos(angle), distance * np.sin(angle)
