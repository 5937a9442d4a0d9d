"""Jobs that compare products with the truth of a simulation: rejected pixels of a frame, bounds of a block of stars."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.kit.fit_frames import FitJob, gather_groups
from pymopex.kit.images import FrameFiles, read_frame, read_image

if TYPE_CHECKING:
    from pymopex.comparison import Rejection
    from pymopex.geometry import FiducialFrame
    from pymopex.kit.images import FatalBits

DEPTHS = (1, 2, 3, 4, 5)
"""Coverages that rejection is counted for; the last one stands for itself and more."""

_CORE = 1.5  # pixel, radius of the core of a star
_CORE_SIGMA = 20.0  # signal-to-noise of the peak of a star whose core is watched


def true_base(base: str) -> str:
    """Give the name that the simulation knows a frame by."""
    return base.removeprefix("correct_")


@dataclass(frozen=True)
class RejectionJob:
    """One frame: its files, the truth, and the coverage of the mosaic before rejection."""

    files: FrameFiles
    bits: FatalBits
    refined: bool
    hits: str
    covg_map: str
    grid: FiducialFrame
    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    hit_sigma: float


def count_rejected(job: RejectionJob) -> list[Rejection]:
    """Count the rejected pixels of a frame against the truth, for each of `DEPTHS`."""
    from dataclasses import replace

    from pymopex.comparison import rejection

    plain = replace(job.files, rmask="")
    frame = read_frame(plain, job.bits)
    assert frame.sigma is not None
    charge, _ = read_image(job.hits, dtype="f4")
    rejected = read_image(job.files.rmask)[0].astype(int) & job.bits.rmask > 0
    hit, strong = charge != 0, charge > job.hit_sigma * frame.sigma
    core = _cores(job, frame)
    depth = _depth(job, frame)
    found = []
    for number in DEPTHS:
        at = depth == number if number < DEPTHS[-1] else depth >= number
        found.append(rejection(rejected, hit, strong, core, ~frame.bad & at))
    return found


def _cores(job: RejectionJob, frame: Any) -> np.ndarray:
    """Mark the pixels at the cores of bright stars that are not saturated."""
    from pymopex.fit_data import place_sources
    from pymopex.geometry import frame_wcs, pixel_solid_angle
    from pymopex.kit.fit_frames import near_frame
    from pymopex.units import ujy_per_mjysr

    core = np.zeros(frame.data.shape, bool)
    wcs = frame_wcs(frame.header, refined=job.refined)
    near = near_frame(wcs, frame.data.shape, job.ra, job.dec)
    if not near.size:
        return core
    x, y, _ = place_sources(wcs, job.ra[near], job.dec[near])
    peak = 0.3 * job.flux[near] / np.asarray(ujy_per_mjysr(pixel_solid_angle(wcs, x, y)))
    noise = float(np.median(frame.sigma[~frame.bad]))
    bright = peak > _CORE_SIGMA * noise
    for a, b in zip(x[bright], y[bright], strict=True):
        rows, columns = (np.arange(max(0, int(v) - 2), max(0, int(v) + 4)) for v in (b, a))
        rows, columns = rows[rows < core.shape[0]], columns[columns < core.shape[1]]
        near_star = np.hypot(columns - a, rows[:, None] - b) < _CORE
        core[np.ix_(rows, columns)] |= near_star
    return core


def _depth(job: RejectionJob, frame: Any) -> np.ndarray:
    """Give the number of frames at each pixel of a frame."""
    from pymopex.geometry import FrameMap, frame_wcs
    from pymopex.kit.images import read_section

    wcs = frame_wcs(frame.header, refined=job.refined)
    placed = FrameMap.make(wcs, frame.data.shape, job.grid.wcs(), job.grid.shape)
    ny, nx = frame.data.shape
    if placed is None:
        return np.zeros((ny, nx), int)
    box = placed.box
    coverage = np.nan_to_num(read_section(job.covg_map, *box.slices))
    x, y = placed.to_mosaic.grid(np.arange(nx), np.arange(ny))
    column = np.clip(np.rint(x).astype(int) - box.x0, 0, box.nx - 1)
    row = np.clip(np.rint(y).astype(int) - box.y0, 0, box.ny - 1)
    return np.rint(coverage[row, column]).astype(int)


def bounds(argument: tuple[FitJob, np.ndarray]) -> np.ndarray:
    """Give the smallest errors that any fit of the stars of a block can have, each alone.

    Parameters
    ----------
    argument : tuple of FitJob and ndarray
        Job with the true positions, fluxes 0 (no star is subtracted) and the settings of the fit; true fluxes.

    Returns
    -------
    ndarray, shape (n, 3)
        1-sigma of u, v [arcsec] and flux [microjansky]; NaN for stars that no frame holds.
    """
    from pymopex.fitting import cramer_rao
    from pymopex.kit.prfs import load_table

    job, flux = argument
    table, _, _ = load_table(job.table)
    out = np.full((len(job.members), 3), np.nan)
    order = {int(member): i for i, member in enumerate(job.members)}
    for found in gather_groups(job):
        if found.group.value.size < 5:
            continue
        zero = np.zeros(len(found.members))
        covariance = cramer_rao(found.group, table, zero, zero, flux[found.members], job.settings)
        for member, part in zip(found.members, covariance, strict=True):
            with np.errstate(invalid="ignore"):
                out[order[int(member)]] = np.sqrt(np.diag(part))
    return out
