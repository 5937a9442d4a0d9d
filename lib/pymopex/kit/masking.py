"""The outlier mask of a frame: a job that Mosaic RMask runs for each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.images import (
    FatalBits,
    Frame,
    FrameFiles,
    Stamp,
    frame_geometry,
    read_cards,
    read_frame,
    read_keyword,
    read_pixels,
    read_section,
    write_image,
)
from pymopex.kit.layers import Layer, frame_map, read_mosaic_part

if TYPE_CHECKING:
    import numpy as np

    from pymopex.core_losses import Losses
    from pymopex.frame_check import FrameCheck
    from pymopex.geometry import Box, FiducialFrame, FrameMap
    from pymopex.kit.task import Run
    from pymopex.rmask import RMaskParams


@dataclass(frozen=True)
class RMaskJob:
    """One frame: its files and maps (empty names: not used), the cuts, and the name of its mask.

    `tiles` have what the others show (their third plane) where the frame is compared with that, and
    `peaks` the places of bright sources on the mosaic, from 0.
    """

    files: FrameFiles
    layer: Layer | None
    covg_map: str
    temporal: str
    box: str
    level: str
    dual: bool
    grid: FiducialFrame
    refined: bool
    radhit_bit: int
    how: RMaskParams
    target: str
    stamp: Stamp
    bits: FatalBits
    check: FrameCheck
    tiles: list[tuple[Box, str]]
    peaks: tuple[np.ndarray, np.ndarray]


def mask_frame(job: RMaskJob) -> tuple[tuple[int, ...], Losses]:
    """Write the mask; gives the numbers of all pixels, of those of each bit, and of any, and what cores lose."""
    import numpy as np

    from pymopex.core_losses import Losses
    from pymopex.rmask import BOX, TEMPORAL, compose_rmask

    _, shape = frame_geometry(job.files.image, job.refined)
    radhit = None
    if job.files.dmask:
        radhit = (read_pixels(job.files.dmask).astype(np.int64) >> job.radhit_bit) & 1 > 0
    shown = _Shown.read(job) if job.layer is not None else None
    fractions: tuple[Any, Any, Any] = _fractions(job, shown) if shown is not None else (None, None, None)
    mask = compose_rmask(radhit, *fractions, job.how.rm_thresh, shape=shape)
    lost = Losses()
    if shown is not None and job.tiles:
        frame, placed = read_frame(job.files, job.bits), shown.placed
        if job.check.threshold > 0:
            mask[_checked(job, frame, shown, mask > 0)] |= TEMPORAL if job.temporal else BOX
        lost = _losses(job, frame, placed, mask > 0)
    if job.files.rmask:
        mask |= read_pixels(job.files.rmask).astype(mask.dtype)  # left out by the second pass too
    write_image(job.target, mask, read_cards(job.files.image), job.stamp, (job.files.image,))
    bits = [int(np.count_nonzero(mask & (1 << bit))) for bit in range(4)]
    return (mask.size, *bits, int(np.count_nonzero(mask))), lost


@dataclass(frozen=True, eq=False)
class _Shown:
    """Place of the frame on the mosaic, and there the coverage and the levelled detections, if these are used."""

    placed: FrameMap
    coverage: np.ndarray
    level: np.ndarray | None

    @classmethod
    def read(cls, job: RMaskJob) -> _Shown:
        placed = frame_map(job.files, job.grid, job.refined)
        assert placed is not None  # it has been interpolated
        coverage = read_section(job.covg_map, *placed.box.slices)
        return cls(placed, coverage, read_pixels(job.level) if job.level else None)

    @property
    def sources(self) -> np.ndarray | None:
        """Where there are real sources, if detections are used."""
        return None if self.level is None else self.level > 0


def _fractions(job: RMaskJob, shown: _Shown) -> tuple[Any, Any, Any]:
    """Project the outliers of each method back onto the frame: covered fraction of each frame pixel."""
    from pymopex.interpolation import back_project
    from pymopex.rmask import box_flags, dual_flags, temporal_flags

    coverage, sources = shown.coverage, shown.sources
    maps = {path: read_pixels(path) for path in (job.temporal, job.box) if path}
    flags = {}
    if job.temporal:
        flags["temporal"] = temporal_flags(maps[job.temporal], coverage, sources, job.how)
    if job.dual and shown.level is not None:
        flags["dual"] = dual_flags(shown.level, coverage, job.how, _largest(list(maps.values())))
    if job.box:
        flags["box"] = box_flags(maps[job.box], coverage, sources, job.how)
    found = {method: back_project(flagged, shown.placed) for method, flagged in flags.items()}
    return found.get("temporal"), found.get("dual"), found.get("box")


def _checked(job: RMaskJob, frame: Frame, shown: _Shown, found: np.ndarray) -> np.ndarray:
    """Compare the pixels of the frame with what the others show there; gives those that deviate."""
    from pymopex.frame_check import expected_frame, frame_deviation, frame_flags, on_frame
    from pymopex.kit.interpolate import is_surface_brightness

    placed = shown.placed
    centre = read_mosaic_part(job.tiles, placed.box, 2)
    surface = is_surface_brightness(read_keyword(frame.path, "BUNIT") or "")
    scatter = read_mosaic_part(job.tiles, placed.box, 1) if job.temporal and surface else None
    expected = expected_frame(
        centre, shown.coverage, scatter, placed, job.check.tolerance, surface_brightness=surface
    )
    deviation = frame_deviation(frame.data, frame.sigma, *expected)
    sources = shown.sources
    on_sources = on_frame(sources, placed) if sources is not None else None
    return frame_flags(deviation, found, on_sources, job.check) & ~frame.bad


def _losses(job: RMaskJob, frame: Frame, placed: FrameMap, rejected: np.ndarray) -> Losses:
    import numpy as np

    from pymopex.core_losses import Losses, losses, near

    x, y = placed.to_frame.points(*job.peaks)
    on = np.isfinite(x) & np.isfinite(y)
    found = losses(rejected, ~frame.bad, near(x[on], y[on], frame.data.shape))
    return found if job.peaks[0].size else Losses()


def _largest(deviations: list) -> Any:
    """Give the larger deviation of the methods that ran, None if none did."""
    import numpy as np

    if not deviations:
        return None
    return np.fmax(*deviations) if len(deviations) == 2 else deviations[0]


def find_peaks(run: Run, tiles: list, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Find the brightest peaks of what at least two frames show: 0-based x and y on the mosaic."""
    import numpy as np

    found = run.map(_peaks, [(box, path, number) for box, path in tiles], "tiles") if number else []
    x, y, value = np.concatenate(found, axis=1) if found else np.zeros((3, 0))
    order = np.argsort(-value, kind="stable")[:number]
    return x[order], y[order]


def _peaks(job: Any) -> np.ndarray:
    import numpy as np

    from pymopex.core_losses import brightest_peaks

    box, path, number = job
    image = read_mosaic_part([(box, path)], box, 2)
    x, y, value = brightest_peaks(image, number)
    return np.stack([x + box.x0, y + box.y0, value])
