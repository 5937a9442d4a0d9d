"""Flatfield: flat field from the frames themselves, and its running median.

The frames, each over its level, are stacked: the median, or trimmed mean, of a pixel of the array in all frames is the
flat there, which is normalised to the mean 1. Pixels with a fatal bit are left out, and with mask_bright = 1 those of
the objects that Detect found, if its maps are there. The level of a frame is the median of its pixels over the flat.

References
----------
README of flatfield.pl, distributed with MOPEX.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of_settings, refused
from pymopex.kit.errors import InputError
from pymopex.kit.images import read_frame, read_header, write_image
from pymopex.kit.layers import write_table_whole
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.flatfield import FlatParams

_STRIP = 2**26  # values read at once
_ROUNDS = 2  # the levels depend on the flat, and the flat on the levels
_FIELDS = {"method": "Stack_Method", "trim": "Trim_Fraction", "min_frames": "Min_Frames"}


def check(run: Run) -> list[str]:
    """Name settings that contradict each other, fewer frames than a pixel needs, and frames of different sizes."""
    problems = problems_of_settings(run, lambda: _settings(run), _FIELDS)
    frames, p = run.frames(), run.params
    if len(frames) < p.Min_Frames:
        origin = p.origin("Min_Frames")
        problems.append(f"{origin}: FLATFIELD.Min_Frames = {p.Min_Frames}: there are {len(frames)} frames")
    sizes = {path: _size(path) for path in (files.image for files in frames)}
    first = next(iter(sizes.values()), None)
    problems += [
        f"{path}: is {size[0]} x {size[1]} pixels; the first frame is {first[0]} x {first[1]}"
        for path, size in sizes.items()
        if first and size != first
    ]
    return problems


def run(run: Run) -> None:
    """Write ``flatfield.fits``, its uncertainty, its count of frames and its median, and a table of the levels.

    Notes
    -----
    The uncertainty is that of the scatter of the frames. The median of the flat is a running one over a window of
    Median_Window_X by Median_Window_Y pixels: it keeps what is smooth. With Per_Scan_Leg = 1 there is a set of files
    for each leg, with ``_leg1``, ``_leg2``, ... behind the name; legs are told by Scan_Leg_Keyword or, without it,
    by the motion of the telescope: a leg ends where a step turns back, or is three times the usual one.
    """
    frames = run.frames()
    legs = _legs(run) if run.params.Per_Scan_Leg else [0] * len(frames)
    rows: dict[str, list] = {"file": [], "leg": [], "level": []}
    for leg in sorted(set(legs)):
        chosen = [files for files, own in zip(frames, legs, strict=True) if own == leg]
        levels = _make(run, chosen, f"_leg{leg}" if leg else "")
        rows["file"] += [os.path.basename(files.image) for files in chosen]
        rows["leg"] += [leg] * len(chosen)
        rows["level"] += levels
    from pymopex import columns

    write_table_whole(run, run.path("flat_table"), columns.FLAT_LEVELS, rows)


def _settings(run: Run) -> FlatParams:
    from pymopex.flatfield import FlatParams

    p = run.params
    return FlatParams(p.Stack_Method, p.Trim_Fraction, p.Min_Frames)


def _size(path: str) -> tuple[int, int]:
    header = read_header(path)
    return header["NAXIS1"], header["NAXIS2"]


def _legs(run: Run) -> list[int]:
    """Give the number of the scan leg of each frame, from 1."""
    import numpy as np
    from pymopex.flatfield import scan_legs
    from pymopex.kit.frame_places import looks, times

    key = run.params.Scan_Leg_Keyword
    headers = [read_header(files.image) for files in run.frames()]
    if key:
        for files, header in zip(run.frames(), headers, strict=True):
            if key not in header:
                raise InputError(f"{files.image}: no {key} in the header (Scan_Leg_Keyword)")
        values = [str(header[key]) for header in headers]
        return [list(dict.fromkeys(values)).index(value) + 1 for value in values]
    east, north = looks(headers)
    return [int(leg) for leg in scan_legs(np.array(times(run.frames(), headers)), east, north)]


def _make(run: Run, frames: list, leg: str) -> list[float]:
    """Make the flat of some frames; gives their levels."""
    import numpy as np
    from pymopex.background import MedianWindow, background
    from pymopex.flatfield import normalised

    p, stamp = run.params, run.stamp()
    detmaps = [run.path("detmap", base=files.base) for files in frames]
    masked = [path if p.mask_bright and os.path.exists(path) else "" for path in detmaps]
    jobs = [(files, run.bits, path, p.Grow_Objects) for files, path in zip(frames, masked, strict=True)]
    flat, levels = None, [1.0] * len(frames)
    for _ in range(_ROUNDS if p.Scale_Frames else 1):
        if p.Scale_Frames:
            levels = run.map(_level, [(*job, flat) for job in jobs])
        value, error, count = _stack(run, jobs, levels)
        with refused(frames[0].image):
            flat, error, mean = normalised(value, error)
    header = read_header(frames[0].image)
    header["BUNIT"] = ("", "")
    header["NFRAMES"] = (len(frames), "frames of the flat")
    header["FLATMEAN"] = (mean, "mean of the stack")
    window = MedianWindow(p.Median_Window_X, p.Median_Window_Y, 0)
    assert flat is not None
    smooth = background(flat, ~np.isfinite(flat), window)
    inputs = [files.image for files in frames[:100]]
    for product, image in (("flat", flat), ("flat_unc", error), ("flat_median", smooth), ("flat_cov", count)):
        path = run.path(product, leg=leg)
        run.keep(write_image(path, image.astype("f4"), header, stamp, inputs))
    run.note(f"{run.path('flat', leg=leg)}: {len(frames)} frames, rms {np.nanstd(flat):.4f}")
    return levels


def _pixels(job: tuple) -> tuple[np.ndarray, np.ndarray]:
    """Read a frame, and where it cannot be used."""
    import numpy as np
    from pymopex.kit.images import read_image
    from scipy.ndimage import binary_dilation

    files, bits, detmap, grow = job
    frame = read_frame(files, bits, need_sigma=False)
    bad = frame.bad
    if detmap:
        objects = read_image(detmap)[0] > 0
        around = np.ones((3, 3), bool)
        bad = bad | (binary_dilation(objects, around, iterations=grow) if grow else objects)
    return frame.data, bad


def _level(job: tuple) -> float:
    from pymopex.flatfield import level

    *what, flat = job
    found = level(*_pixels(tuple(what)), flat)
    if not found > 0:
        raise InputError(
            f"{what[0].image}: its level is {found:.4g}; frames of no or negative sky make no flat "
            "(Scale_Frames = 0 takes them as they are)"
        )
    return found


def _stack(run: Run, jobs: list, levels: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stack the frames, some rows at a time."""
    import numpy as np

    nx, ny = _size(jobs[0][0].image)
    rows = max(1, min(ny, _STRIP // (nx * len(jobs))))
    how = _settings(run)
    strips = [(jobs, levels, slice(y, min(y + rows, ny)), how) for y in range(0, ny, rows)]
    found = run.map(_strip, strips, "strips")
    value, error, count = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return value, error, count


def _strip(job: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    import numpy as np
    from pymopex.flatfield import stacked

    jobs, levels, rows, how = job
    parts = []
    for one, size in zip(jobs, levels, strict=True):
        data, bad = _pixels(one)
        parts.append(np.where(bad[rows], np.nan, data[rows] / size).astype("f4"))
    return stacked(np.stack(parts), how)
