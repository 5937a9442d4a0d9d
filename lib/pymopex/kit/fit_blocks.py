"""The job of the PRF fit: a block of sources, in all frames that hold them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.spatial import cKDTree

from pymopex.fit_data import FrameImage, GroupData, gather_frame, join_frames, place_sources
from pymopex.fitting import FitSettings, GroupFit
from pymopex.grouping import Groups
from pymopex.kit.files import remembered
from pymopex.kit.images import FatalBits, FrameFiles, frame_geometry, read_frame, read_image
from pymopex.kit.prfs import load_table
from pymopex.residuals import render
from pymopex.robust import fit_without_hits

if TYPE_CHECKING:
    from pymopex.prf import PRFGrid, PRFMap, PRFTable

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
class Fitted:
    """The fit of one group and what its rows need besides.

    These are the noise in the box, the mean scale, the central PRF value, and the radius of the masked core of each
    member [pixel], 0 for a core that is not masked. `factors` are those of the variances of the position and of the
    flux of each source of the fit, if single frames tell them.
    """

    members: np.ndarray
    fit: GroupFit
    box_variance: np.ndarray
    scale: np.ndarray
    central: np.ndarray
    dropped: int
    hole: np.ndarray
    factors: np.ndarray | None = None


@dataclass(frozen=True)
class Gathered:
    """The pixels of a group in all frames that hold it, the numbers of these, and the MJy/sr per microjansky."""

    members: np.ndarray
    group: GroupData
    scale: np.ndarray
    frames: np.ndarray


def fit_block(job: FitJob) -> list[Fitted]:
    """Fit the groups of a block.

    Notes
    -----
    With known fluxes (from an earlier pass) every frame is freed of all sources first, and each group gets its own
    model back: so the wings of neighbours that are not in the group do not enter its fit.
    """
    from pymopex.kit.light_curves import curve_rows, save_rows, with_factors

    table, _, central = load_table(job.table)
    found, curves = [], []
    for gathered in gather_groups(job):
        fitted, group = _fit(job, gathered, table, central)
        if job.curves or job.frame_errors is not None:
            rows = curve_rows(fitted, group, table, gathered.frames, job.settings)
            fitted = with_factors(fitted, rows, job.frame_errors)
            if job.curves:
                curves.append(rows)
        found.append(fitted)
    if job.curves:
        save_rows(job.curves, curves)
    return found


def gather_groups(job: FitJob) -> list[Gathered]:
    """Collect the pixels of each group of a block that some frame holds."""
    from pymopex.projection import unit_vectors

    table, where, _ = load_table(job.table)
    groups = [job.members[part] for part in Groups(job.group[job.members], 0).members]
    owner = {int(member): g for g, members in enumerate(groups) for member in members}
    pieces: list[list[Any]] = [[] for _ in groups]
    sky = unit_vectors(job.ra, job.dec)
    for number, files in enumerate(job.frames):
        for g, piece in _pieces(job, number, files, table, where, groups, owner, sky):
            pieces[g].append(piece)
    found = []
    for members, parts in zip(groups, pieces, strict=True):
        if parts:
            pixels, mixes, *columns = zip(*parts, strict=True)
            frames, x, y, jacobian, scale, prf = (np.array(column) for column in columns)
            mix = None if mixes[0] is None else np.array(mixes)
            size = job.fit_size[members].max(axis=0)
            group = join_frames(pixels, x, y, jacobian, scale, prf, (int(size[0]), int(size[1])), mix)
            found.append(Gathered(members, group, scale, frames))
    return found


def _pieces(
    job: FitJob,
    number: int,
    files: FrameFiles,
    table: PRFTable,
    where: PRFMap | PRFGrid,
    groups: list[np.ndarray],
    owner: dict[int, int],
    sky: np.ndarray,
) -> Iterator[tuple[int, tuple]]:
    """Give the number, pixels and places of each group that one frame holds; `sky` are unit vectors of all sources."""
    reach = float(max(20.0, *table.half_size, job.fit_size.max(), -job.n_edge))
    centre, cosine = _frame_disc(files.image, job.refined, reach)
    touched = sorted({owner[int(m)] for m in job.members[centre @ sky[:, job.members] >= cosine]})
    if not touched:
        return
    wcs, shape = frame_geometry(files.image, job.refined)
    near = np.flatnonzero(centre @ sky >= cosine)
    x, y, jacobian = place_sources(wcs, job.ra[near], job.dec[near])
    inside = inside_frame(x, y, shape, job.n_edge)
    chosen = []
    for g in touched:
        rows = np.searchsorted(near, groups[g])
        rows = rows[near[np.minimum(rows, near.size - 1)] == groups[g]]
        if len(rows) == len(groups[g]) and inside[rows].any():
            chosen.append((g, rows))
    if not chosen:
        return
    scale, (prf, mix) = _scale(wcs, x, y), where.mix_at(x, y)
    at = np.concatenate([rows for _, rows in chosen])
    image, x0, y0 = _part(frame_to_fit(job, number, files), x[at], y[at], int(job.fit_size.max()))
    if np.any(job.flux[near] != 0):
        lit = _within(x, y, at, max(table.half_size) + job.fit_size.max())
        amplitude = job.flux[near] * scale
        some = None if mix is None else mix[lit]
        model = render(x[lit] - x0, y[lit] - y0, amplitude[lit], prf[lit], table, image.data.shape, mix=some)
        image = FrameImage((image.data - model).astype(np.float32), image.sigma, image.bad)
    for g, rows in chosen:
        size = job.fit_size[groups[g]].max(axis=0)
        pixels = gather_frame(image, x[rows] - x0, y[rows] - y0, int(size[0]), int(size[1]))
        if pixels.value.size:
            pixels = pixels._replace(px=pixels.px + np.int32(x0), py=pixels.py + np.int32(y0))
            some = None if mix is None else mix[rows]
            yield g, (pixels, some, files.index, x[rows], y[rows], jacobian[rows], scale[rows], prf[rows])


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


def _fit(job: FitJob, gathered: Gathered, table: PRFTable, central: np.ndarray) -> tuple[Fitted, GroupData]:
    """Fit a group; gives the pixels that were used, too."""
    from pymopex.fit_kernels import model_values

    members, group = gathered.members, gathered.group
    masked = _masked_cores(group)
    if job.bright is not None and job.hole > 0:
        group = _without_cores(group, job.bright[members], job.hole)
    known = job.flux[members]
    if np.any(known != 0):
        own = np.append(np.column_stack([0 * known, 0 * known, known]).ravel(), 0.0)
        group = group._replace(value=group.value + model_values(group, table, own))
    fit, group, dropped = fit_without_hits(group, table, job.settings, job.robust)
    variance = _box_variance(group, job.snr_box)
    middle = _mean((central[group.prf] * group.mix).sum(axis=-1))
    return Fitted(members, fit, variance, _mean(gathered.scale), middle, dropped, masked), group


def _masked_cores(group: GroupData) -> np.ndarray:
    """Give the radius of the masked core of each source [pixel].

    The core is masked if in half of the frames the pixel of the source and another of the 3 x 3 round it are.
    """
    frame = np.repeat(np.arange(group.n_frames), np.diff(group.first))
    held = np.isfinite(group.rx) & (np.diff(group.first) > 0)[:, None]
    half = min(3, group.fit_x // 2, group.fit_y // 2)
    out = np.zeros(group.n_sources)
    for n in range(group.n_sources):
        far = np.maximum(
            np.abs(group.px - np.rint(group.rx[frame, n])), np.abs(group.py - np.rint(group.ry[frame, n]))
        )
        own, near, box = (
            np.bincount(frame[far <= reach], minlength=group.n_frames)[held[:, n]] for reach in (0, 1, half)
        )
        masked = (own == 0) & (near <= 7)
        if masked.size and 2 * masked.sum() >= masked.size:
            missing = (2 * half + 1) ** 2 - box[masked]
            out[n] = np.sqrt(np.median(missing) / np.pi)
    return out


def _without_cores(group: GroupData, bright: np.ndarray, hole: float) -> GroupData:
    """Drop the pixels near some of the sources."""
    frame = np.repeat(np.arange(group.n_frames), np.diff(group.first))
    keep = np.ones(group.value.size, bool)
    for n in np.flatnonzero(bright):
        keep &= ~(np.hypot(group.px - group.rx[frame, n], group.py - group.ry[frame, n]) < hole)
    return group.where(keep)


def _mean(values: np.ndarray) -> np.ndarray:
    return np.nanmean(np.where(np.isfinite(values), values, np.nan), axis=0) if len(values) else values


def _box_variance(group: GroupData, box: int) -> np.ndarray:
    """Variance of the sum of a box of pixels at each source, of the mean of all frames [image unit squared].

    If all pixels there are masked, those of the fit stand for them.
    """
    frame = np.repeat(np.arange(group.n_frames), np.diff(group.first))
    half = box // 2
    out = np.full(group.n_sources, np.nan)
    for n in range(group.n_sources):
        dx = np.abs(group.px - np.rint(group.rx[frame, n]))
        dy = np.abs(group.py - np.rint(group.ry[frame, n]))
        near = (dx <= half) & (dy <= half)
        near = near if near.any() else np.ones(near.shape, bool)
        frames = np.unique(frame[near]).size
        if frames:
            out[n] = np.mean(1 / group.weight[near]) * box * box / frames
    return out
