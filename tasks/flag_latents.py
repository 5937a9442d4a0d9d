"""Flag Latents: the places of bright sources of earlier frames, in the status masks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles, read_frame, read_header, read_image, write_image
from pymopex.kit.mitigation import Trigger, record, row, triggers
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np


def check(run: Run) -> list[str]:
    """Name frames without a time."""
    return [
        text for text in run.map(_time_problem, [files.image for files in run.frames()], "headers") if text
    ]


def run(run: Run) -> None:
    """Write status masks with the bit of latents set, their list, and ``latents.tbl``.

    Notes
    -----
    Pixels of Trigger_DN and more, or saturated ones (bit 13), burn in; in the frames of the next ``Duration``
    seconds their places are flagged, grown by ``Radius``, if their median stands out of the background there,
    which a star may do too. Places that are as bright in the frame itself are left alone: the source is there.
    The frames may be in any order, and of several exposure times. Put the bit into
    DCE_Status_Mask_Fatal_BitPattern to leave the pixels out.
    """
    frames, p, stamp = run.frames(), run.params, run.stamp()
    trigger = Trigger(p.Trigger_Level, p.Trigger_DN)
    burnt = run.map(_bright, [(files, trigger) for files in frames])
    targets = [run.path("latents", base=files.base) for files in frames]
    jobs = []
    for number, (files, target) in enumerate(zip(frames, targets, strict=True)):
        time = burnt[number][0]
        before = [pixels for then, pixels in burnt if 0 < time - then <= p.Duration]
        settings = (before, burnt[number][1], p.Radius, p.Min_Excess, p.Latent_Bit)
        jobs.append((files, run.bits, target, stamp, settings))
    record(run, "latents", targets, run.map(_flag, jobs))


def _time(path: str, header: Any) -> float:
    """Give the time of a frame [s]."""
    for key, unit in (("SCLK_OBS", 1.0), ("UTCS_OBS", 1.0), ("MJD_OBS", 86400.0)):
        value = header.get(key)
        if isinstance(value, int | float):
            return float(value) * unit
    raise InputError(f"{path}: none of SCLK_OBS, UTCS_OBS, MJD_OBS tells the time, which latents need")


def _time_problem(path: str) -> str:
    try:
        _time(path, read_header(path))
    except InputError as problem:
        return str(problem)
    return ""


def _bright(job: Any) -> tuple[float, np.ndarray]:
    """Give the time of a frame and the flat numbers of its bright pixels."""
    import numpy as np

    files, trigger = job
    data, header = read_image(files.image, dtype=np.float32)
    lit = triggers(files, data, trigger.of(files.image, header))
    return _time(files.image, header), np.flatnonzero(lit)


def _flag(job: Any) -> dict[str, Any]:
    import numpy as np
    from pymopex.artifacts import Found
    from pymopex.dithers import latents
    from pymopex.masks import set_bit

    files, bits, target, stamp, (before, now, radius, min_excess, bit) = job
    frame = read_frame(files, bits, need_sigma=False)
    shape = frame.data.shape
    here = _grown(shape, [now], radius + 2)
    burnt = [_grown(shape, [pixels], 0) & ~here for pixels in before]
    shining = latents(frame.data, frame.bad, burnt, min_excess=min_excess)
    found = _grown(shape, [np.flatnonzero(shining)], radius) & ~here
    mask, header = _mask(files, frame)
    write_image(target, set_bit(mask, found, bit), header, stamp, (files.dmask or files.image,))
    lit = int(sum(len(pixels) for pixels in before))
    return row(files, lit, Found(np.zeros(shape), int(found.sum())))


def _mask(files: FrameFiles, frame: Any) -> tuple[Any, Any]:
    import numpy as np

    if files.dmask:
        return read_image(files.dmask)
    return np.zeros(frame.data.shape, np.int16), frame.header


def _grown(shape: tuple[int, int], pixels: list[Any], radius: float) -> np.ndarray:
    """Mark pixels and those within a radius."""
    import numpy as np
    from scipy.ndimage import distance_transform_edt

    lit = np.zeros(shape, bool)
    for one in pixels:
        lit.ravel()[one] = True
    if radius == 0 or not lit.any():
        return lit
    return distance_transform_edt(~lit) <= radius
