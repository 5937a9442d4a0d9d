"""Fix Background: what stays on the detector while the frames are dithered, and the first frames of a request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.images import FrameFiles, read_frame, read_header, read_image, read_section, write_image
from pymopex.kit.mitigation import record, subtract
from pymopex.kit.task import Run

if TYPE_CHECKING:
    pass

_ROWS = 16  # of all frames that are in memory at once
_FIXED = (
    9  # pixels; what is called an object in most of the dithered frames, and is no larger, is none of the sky
)


def run(run: Run) -> None:
    """Write the frames without the residual background, under their own names, their list, and ``background.tbl``.

    Notes
    -----
    Frames of one camera, size and exposure time make a group. Each loses its median and its objects; the
    median of the group, pixel by pixel, is the pattern of the detector. Its smooth part (medians of boxes) is
    subtracted from each frame, and single pixels that stand out of it, such as a latent that stays. The level
    of a frame does not change. The sky itself must not repeat from frame to frame: frames that are not
    dithered, or a nebula as large as the dithers, would lose it.

    The first frames of a request (AORKEY, by EXPID) may have a pattern of their own, the first-frame effect. With
    ``First_Frames`` they are left out of the median, and lose a polynomial surface after it.
    """
    frames, p, stamp = run.frames(), run.params, run.stamp()
    facts = run.map(_facts, [files.image for files in frames], "headers")
    masked = run.map(_without_objects, [_mask_job(run, files, stamp) for files in frames])
    first = _first(facts, p.First_Frames)
    patterns: dict[int, str] = {}
    for members in _groups(facts, p.Min_Frames, first):
        path = run.path("background_pattern", number=len(set(patterns.values())) + 1)
        _write_pattern(run, path, members, frames, masked, stamp)
        patterns |= dict.fromkeys(members, path)
        key = _key(facts[members[0]])
        patterns |= {i: path for i in first if _key(facts[i]) == key}
    targets = [run.path("background", base=files.base) for files in frames]
    order = p.Surface_Order
    jobs = [
        (files, run.bits, targets[i], stamp, patterns.get(i, ""), masked[i][0], order if i in first else 0)
        for i, files in enumerate(frames)
    ]
    rows = run.map(_subtract, jobs)
    record(run, "background", targets, rows)
    alone = len(frames) - len(patterns)
    if alone:
        run.note(
            f"Warning: {alone} frames are in groups of less than {p.Min_Frames} and have no pattern taken off"
        )


def _mask_job(run: Run, files: FrameFiles, stamp: Any) -> Any:
    p = run.params
    return (
        files,
        run.bits,
        run.path("background_masked", base=files.base),
        stamp,
        p.Object_Threshold,
        p.Object_Grow,
    )


def _facts(path: str) -> dict[str, Any]:
    header = read_header(path)
    keys = ("INSTRUME", "CHNLNUM", "NAXIS1", "NAXIS2", "EXPTIME", "AORKEY", "EXPID")
    return {key: header.get(key) for key in keys}


def _key(facts: dict[str, Any]) -> tuple:
    return tuple(facts[key] for key in ("INSTRUME", "CHNLNUM", "NAXIS1", "NAXIS2", "EXPTIME"))


def _first(facts: list[dict[str, Any]], count: int) -> set[int]:
    """Give the first frames of each request, by their number of exposure."""
    requests: dict[Any, list[int]] = {}
    for i, one in enumerate(facts):
        requests.setdefault(one["AORKEY"], []).append(i)
    found = set()
    for members in requests.values():
        found.update(sorted(members, key=lambda i: (facts[i]["EXPID"] or 0, i))[:count])
    return found


def _groups(facts: list[dict[str, Any]], least: int, first: set[int]) -> list[list[int]]:
    groups: dict[tuple, list[int]] = {}
    for i, one in enumerate(facts):
        if i not in first:
            groups.setdefault(_key(one), []).append(i)
    return [members for members in groups.values() if len(members) >= least]


def _without_objects(job: Any) -> tuple[str, float]:
    """Write a frame without level, objects and bad pixels; gives the path and the level."""
    import numpy as np
    from pymopex.artifacts import objects

    files, bits, path, stamp, threshold, grow = job
    frame = read_frame(files, bits, need_sigma=False)
    out = frame.bad | objects(frame.data, frame.bad, threshold=threshold, grow=grow)
    left = frame.data[~out]
    level = float(np.median(left)) if left.size else 0.0
    image = np.where(out, np.nan, frame.data - level).astype("f4")
    write_image(path, image, frame.header, stamp, (files.image,))
    return path, level


def _write_pattern(run: Run, path: str, members: list[int], frames: Any, masked: Any, stamp: Any) -> None:
    """Make the pattern of a group, some rows of all its frames at a time."""
    import numpy as np
    from pymopex.artifacts import nan_median
    from pymopex.dithers import Pattern, common_pattern, isolated, residual_background

    p, header = run.params, read_header(frames[members[0]].image)
    shape = header["NAXIS2"], header["NAXIS1"]
    median, error, plain = (np.full(shape, np.nan) for _ in range(3))
    seldom = np.zeros(shape, bool)
    for start in range(0, shape[0], _ROWS):
        rows = slice(start, min(start + _ROWS, shape[0]))
        stack = np.array([read_section(masked[i][0], rows, slice(0, shape[1])) for i in members], "f4")
        part = common_pattern(stack, p.Min_Frames)
        median[rows], error[rows] = part.median, part.error
        seldom[rows] = np.isfinite(stack).mean(axis=0) < 0.5
        whole = [read_section(frames[i].image, rows, slice(0, shape[1])) - masked[i][1] for i in members]
        plain[rows] = nan_median(np.array(whole), axis=0)
    fixed = isolated(seldom, (_FIXED + 2 * p.Object_Grow) ** 2)
    median[fixed], error[fixed] = plain[fixed], 0.0
    noise = float(np.nanmedian(error)) * np.sqrt(len(members) * 2 / np.pi)
    image = residual_background(Pattern(median, error), p.Box_Size, p.Fixed_Pixels)
    write_image(path, image.astype("f4"), header, stamp)
    run.keep(path)
    run.note(f"{len(members)} frames of {header.get('EXPTIME')} s: pattern of rms {image.std():.4g} MJy/sr")
    if image.std() > 0.3 * noise:
        run.note(
            f"Warning: the pattern is strong against the noise of a pixel, {noise:.4g} MJy/sr: see {path} "
            "whether it is the sky, such as the halo of a star that all frames hold"
        )


def _subtract(job: Any) -> dict[str, Any]:
    import os

    import numpy as np
    from pymopex.artifacts import Found
    from pymopex.dithers import surface

    files, bits, target, stamp, path, masked, order = job
    frame = read_frame(files, bits, need_sigma=False)
    image = read_image(path, dtype="f8")[0] if path else np.zeros(frame.data.shape)
    if order:
        left = read_image(masked, dtype="f8")[0] - image
        image = image + surface(left, ~np.isfinite(left), order)
    os.unlink(masked)
    return subtract(files, frame, target, stamp, Found(image, int(bool(path or order))), 0)
