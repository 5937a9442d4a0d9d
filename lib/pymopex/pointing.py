"""Refined pointing: small shifts and turns of frames that make the sources they share agree, or agree with a list."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

_DENSE = 3000  # unknowns up to which the whole covariance is computed
_CLIP = 4.0  # sigma; pairs farther apart are taken for different sources
_TURN_SCALE = 100.0  # arcsec of arc that count as much as a turn by one radian
_ROUNDS = 3  # of matching, each with half the radius of the one before


@dataclass(frozen=True)
class PointingParams:
    """How frames are matched.

    Parameters
    ----------
    radius : float
        Largest distance of the same source in two frames [arcsec]; halved twice as the pointing gets better.
    min_matches : int
        Sources that a frame must share.
    floor : float
        Added in quadrature to the uncertainty of each position [arcsec].
    prior_shift, prior_turn : float
        Standard deviation of the errors expected of the pointing [arcsec] and of the position angle [deg].
    rotation : bool
        Let the position angle change.
    """

    radius: float = 3.0
    min_matches: int = 3
    floor: float = 0.03
    prior_shift: float = 3.0
    prior_turn: float = 0.3
    rotation: bool = True

    def __post_init__(self) -> None:
        if min(self.radius, self.floor, self.prior_shift, self.prior_turn) <= 0 or self.min_matches < 1:
            raise ValueError("radius, floor, prior_shift, prior_turn and min_matches must be positive")


@dataclass(frozen=True, eq=False)
class Positions:
    """Sources of all frames in one tangent plane, 1-D arrays.

    Parameters
    ----------
    frame : ndarray of int
        Number of the frame, from 0.
    east, north : ndarray
        Place in the plane [arcsec].
    error : ndarray
        1-sigma uncertainty along each axis [arcsec].
    """

    frame: np.ndarray
    east: np.ndarray
    north: np.ndarray
    error: np.ndarray


@dataclass(frozen=True, eq=False)
class Refinement:
    """What is to be added to the pointing of the frames; arrays of shape (n,).

    Parameters
    ----------
    east, north : ndarray
        Shift of the reference position [arcsec].
    turn : ndarray
        Change of the position angle, east of north [deg].
    error : ndarray, shape (n, 3)
        1-sigma uncertainties of the three; without a list, those against the mean of all frames.
    matches : ndarray of int
        Sources of each frame that it shares; 0 for a frame that keeps its pointing.
    group : ndarray of int
        Frames of one group are tied to each other, directly or through others, or all to the list; from 1.
    rms : float
        Scatter of the sources along each axis behind the refinement [arcsec].
    before : float
        The same before it.
    """

    east: np.ndarray
    north: np.ndarray
    turn: np.ndarray
    error: np.ndarray
    matches: np.ndarray
    group: np.ndarray
    rms: float
    before: float


def refine(
    found: Positions, centres: np.ndarray, how: PointingParams, reference: Positions | None = None
) -> Refinement:
    """Refine the pointing of all frames together.

    Parameters
    ----------
    found : Positions
        Sources of the frames.
    centres : ndarray, shape (n, 2)
        Where the reference position of each frame lies in the plane, east and north [arcsec]; it turns about it.
    how : PointingParams
        Matching and what is expected.
    reference : Positions, optional
        Sources with known positions, of frame -1. Without them the frames are made consistent with each other, and
        their mean shift and turn stay as they are.

    Returns
    -------
    Refinement
        What is to be added.

    Notes
    -----
    Least squares over shifts, turns and the true positions of all sources at once, the latter eliminated; the errors
    expected of the pointing enter as if they were measured to be zero, which fixes what the sources leave open, and
    is weak against them. Sources are grouped by distance, from twice-halved radii; groups with two sources
    of a frame, and positions more than 4 sigma off, are left out.
    """
    n = len(centres)
    solution, error = np.zeros((n, 3)), np.zeros((n, 3))
    matched = _matched(found, solution, centres, how.radius, how.min_matches, reference)
    before = _scatter(found, solution, centres, matched, reference)
    for step in range(_ROUNDS):
        radius = how.radius / 2**step
        matched = _matched(found, solution, centres, radius, how.min_matches, reference)
        solution, error = _solve(found, centres, matched, how, reference)
        for _ in range(2):
            matched = _clipped(found, solution, centres, matched, how, reference)
            solution, error = _solve(found, centres, matched, how, reference)
    rms = _scatter(found, solution, centres, matched, reference)
    counts = np.bincount(found.frame[matched >= 0], minlength=n)
    kept = counts > 0
    solution[~kept] = 0
    group = _connected(found, matched, n, 0 if reference is None else len(reference.east))
    return Refinement(
        solution[:, 0], solution[:, 1], np.degrees(solution[:, 2]), error, counts, group, rms, before
    )


def _moved(found: Positions, solution: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Places of the sources behind shifts [arcsec] and turns [rad]; shape (k, 2)."""
    p = solution[found.frame]
    rel = np.stack([found.east, found.north], axis=1) - centres[found.frame]
    return np.stack(
        [found.east + p[:, 0] + p[:, 2] * rel[:, 1], found.north + p[:, 1] - p[:, 2] * rel[:, 0]], axis=1
    )


def _matched(
    found: Positions,
    solution: np.ndarray,
    centres: np.ndarray,
    radius: float,
    least: int,
    reference: Positions | None,
) -> np.ndarray:
    """Give the number of the object of each source, -1 for a source that no other frame has.

    Objects with a known position are numbered first, as in the list.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import cKDTree

    places, frame = _moved(found, solution, centres), found.frame
    known = 0 if reference is None else len(reference.east)
    if reference is not None:
        places = np.concatenate([np.stack([reference.east, reference.north], axis=1), places])
        frame = np.concatenate([np.full(known, -1), frame])
    pairs = (
        cKDTree(places).query_pairs(radius, output_type="ndarray") if len(places) else np.zeros((0, 2), int)
    )
    pairs = pairs[frame[pairs[:, 0]] != frame[pairs[:, 1]]]
    ones = np.ones(len(pairs), bool)
    _, label = connected_components(coo_matrix((ones, pairs.T), shape=(len(places),) * 2), directed=False)
    twice = _with_two_of_a_frame(label, frame)
    label = np.where(twice, -1, label)
    if reference is not None:
        label = _numbered_as_known(label, known)
    out = label[known:]
    sizes = np.bincount(out[out >= 0], minlength=1)
    alone = (out >= 0) & (sizes[np.maximum(out, 0)] < 2) & (out >= known)
    return _enough(np.where(alone, -1, out), found.frame, len(centres), least, known)


def _with_two_of_a_frame(label: np.ndarray, frame: np.ndarray) -> np.ndarray:
    """Tell the members of groups that hold two sources of one frame."""
    key = label.astype(np.int64) * (frame.max(initial=0) + 2) + frame + 1
    _, inverse, count = np.unique(key, return_inverse=True, return_counts=True)
    spoilt = np.unique(label[count[inverse] > 1])
    return np.isin(label, spoilt)


def _numbered_as_known(label: np.ndarray, known: int) -> np.ndarray:
    """Give groups that hold a known source its number, the others numbers behind."""
    new = np.full(label.max(initial=0) + 1, -1)
    good = label[:known] >= 0
    new[label[:known][good]] = np.nonzero(good)[0]
    others = np.setdiff1d(np.unique(label[label >= 0]), label[:known][good])
    new[others] = known + np.arange(len(others))
    return np.where(label >= 0, new[label], -1)


def _enough(matched: np.ndarray, frame: np.ndarray, n: int, least: int, known: int) -> np.ndarray:
    """Drop the sources of frames that share too few, and what stands alone then."""
    out = matched.copy()
    while True:
        counts = np.bincount(frame[out >= 0], minlength=n)
        sizes = np.bincount(out[out >= 0], minlength=1)
        drop = (out >= 0) & (counts[frame] < least)
        drop |= (out >= known) & (sizes[np.maximum(out, 0)] < 2)
        if not drop.any():
            return out
        out[drop] = -1


def _sums(values: np.ndarray, label: np.ndarray, n: int) -> np.ndarray:
    return np.stack([np.bincount(label, weights=column, minlength=n) for column in values.T], axis=1)


def _means(
    places: np.ndarray, weight: np.ndarray, label: np.ndarray, reference: Positions | None
) -> tuple[np.ndarray, np.ndarray]:
    """Weighted mean of each object, shape (m, 2), and the sum of its weights."""
    n = int(label.max(initial=-1)) + 1
    n = max(n, 0 if reference is None else len(reference.east))
    total: np.ndarray = np.bincount(label, weights=weight, minlength=n)
    sums = _sums(places * weight[:, None], label, n)
    if reference is not None:
        known, w = len(reference.east), 1 / reference.error**2
        total[:known] += w
        sums[:known] += np.stack([reference.east, reference.north], axis=1) * w[:, None]
    return sums / np.maximum(total, 1e-300)[:, None], total


def _solve(
    found: Positions,
    centres: np.ndarray,
    matched: np.ndarray,
    how: PointingParams,
    reference: Positions | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Least squares; gives shifts [arcsec] and turns [rad], shape (n, 3), and errors with turns in degrees."""
    from scipy import sparse

    n, used = len(centres), np.nonzero(matched >= 0)[0]
    prior_turn = np.radians(how.prior_turn) if how.rotation else 1e-12
    prior = np.tile([how.prior_shift**-2, how.prior_shift**-2, prior_turn**-2], n)
    frame, label = found.frame[used], matched[used]
    weight = 1 / (found.error[used] ** 2 + how.floor**2)
    places = np.stack([found.east[used], found.north[used]], axis=1)
    means, total = _means(places, weight, label, reference)
    rel = places - centres[frame]
    rows, k = np.arange(len(used)), len(used)
    design, group = [], sparse.coo_matrix((np.ones(k), (rows, label)), shape=(k, len(total))).tocsr()
    for axis, turned in ((0, rel[:, 1]), (1, -rel[:, 0])):
        data = np.concatenate([np.ones(k), turned])
        columns = np.concatenate([3 * frame + axis, 3 * frame + 2])
        design.append(sparse.coo_matrix((data, (np.tile(rows, 2), columns)), shape=(k, 3 * n)).tocsr())
    normal = sparse.diags(prior).tocsr()
    right = np.zeros(3 * n)
    w, inverse = sparse.diags(weight), sparse.diags(1 / np.maximum(total, 1e-300))
    for axis, a in enumerate(design):
        coupled = group.T @ w @ a
        normal = normal + a.T @ w @ a - coupled.T @ inverse @ coupled
        right -= a.T @ (weight * (places[:, axis] - means[label, axis]))
    p, variance = _inverted(normal, right, None if reference is not None else _common(centres))
    p, error = p.reshape(n, 3), np.sqrt(variance).reshape(n, 3)
    error[:, 2] = np.degrees(error[:, 2])
    return p, error


def _common(centres: np.ndarray) -> np.ndarray:
    """Give what sources in frames cannot tell, shape (3 n, 3), orthonormal: a shift, or turn, of all together."""
    n, scale = len(centres), _TURN_SCALE
    middle = centres - centres.mean(axis=0)
    modes = np.zeros((n, 3, 3))
    modes[:, 0, 0] = modes[:, 1, 1] = 1.0
    modes[:, 0, 2], modes[:, 1, 2], modes[:, 2, 2] = middle[:, 1] / scale, -middle[:, 0] / scale, 1.0
    return np.linalg.qr(modes.reshape(3 * n, 3))[0]


def _inverted(normal, right: np.ndarray, common: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Solve, and give the variances, without those of what is common to all frames.

    Of very many unknowns the variances are those of each alone.
    """
    from scipy.sparse.linalg import spsolve

    if len(right) > _DENSE:
        return spsolve(normal.tocsc(), right), 1 / normal.diagonal()
    inverse = np.linalg.inv(normal.toarray())
    shown = inverse
    if common is not None:
        unit = np.tile([1.0, 1.0, _TURN_SCALE], len(right) // 3)
        shown = inverse * unit[:, None] * unit
        out = np.eye(len(right)) - common @ common.T
        shown = (out @ shown @ out) / (unit[:, None] * unit)
    return inverse @ right, np.maximum(np.diag(shown), 0.0)


def _residuals(
    found: Positions,
    solution: np.ndarray,
    centres: np.ndarray,
    matched: np.ndarray,
    reference: Positions | None,
) -> np.ndarray:
    """Distances of the matched sources from the mean of their object, shape (k, 2) [arcsec]."""
    used = matched >= 0
    places = _moved(found, solution, centres)[used]
    if not used.any():
        return np.zeros((0, 2))
    means, _ = _means(places, 1 / found.error[used] ** 2, matched[used], reference)
    return places - means[matched[used]]


def _scatter(found, solution, centres, matched, reference) -> float:
    r = _residuals(found, solution, centres, matched, reference)
    return float(np.sqrt(np.mean(r**2))) if len(r) else float("nan")


def _clipped(found, solution, centres, matched, how: PointingParams, reference) -> np.ndarray:
    """Leave out the sources that are too far from their object."""
    r = _residuals(found, solution, centres, matched, reference)
    if not len(r):
        return matched
    used = np.nonzero(matched >= 0)[0]
    expected = np.hypot(found.error[used], how.floor)
    ratio = np.hypot(*r.T) / expected
    scale = max(1.0, float(np.median(ratio)) / 1.1774)  # median of a distance of two normal axes
    out = matched.copy()
    out[used[ratio > _CLIP * scale]] = -1
    known = 0 if reference is None else len(reference.east)
    return _enough(out, found.frame, len(centres), how.min_matches, known)


def _connected(found: Positions, matched: np.ndarray, n: int, known: int) -> np.ndarray:
    """Give the group of each frame; frames that share sources are of one, a frame that shares none has its own."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    used = matched >= 0
    frame, label = found.frame[used], matched[used]
    nodes = n + int(label.max(initial=-1)) + 1 + 1
    rows, columns = frame, n + label
    if known:  # whatever shares a source with the list is tied to it
        tied = np.unique(frame[label < known])
        rows = np.concatenate([rows, tied])
        columns = np.append(columns, np.full(len(tied), nodes - 1))
    graph = coo_matrix((np.ones(len(rows), bool), (rows, columns)), shape=(nodes, nodes))
    _, group = connected_components(graph, directed=False)
    _, first, inverse = np.unique(group[:n], return_index=True, return_inverse=True)
    return np.argsort(np.argsort(first))[inverse] + 1


def plane(lon: np.ndarray, lat: np.ndarray, lon0: float, lat0: float) -> tuple[np.ndarray, np.ndarray]:
    """Give the places of positions [deg] in the plane that touches the sky at another, east and north [arcsec]."""
    a, d, d0 = np.radians(np.asarray(lon) - lon0), np.radians(lat), np.radians(lat0)
    down = np.sin(d) * np.sin(d0) + np.cos(d) * np.cos(d0) * np.cos(a)
    east = np.cos(d) * np.sin(a) / down
    north = (np.sin(d) * np.cos(d0) - np.cos(d) * np.sin(d0) * np.cos(a)) / down
    return np.degrees(east) * 3600, np.degrees(north) * 3600


def mean_position(lon: Sequence[float], lat: Sequence[float]) -> tuple[float, float]:
    """Give the middle of positions [deg]."""
    from pymopex.projection import lon_lat, unit_vectors

    a, d = lon_lat(unit_vectors(np.asarray(lon, float), np.asarray(lat, float)).mean(axis=1))
    return float(a), float(d)
