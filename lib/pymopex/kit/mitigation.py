"""Frames without an artifact: copies under their own names, their list, and a table of what was done to each."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of
from pymopex.kit.errors import InputError
from pymopex.kit.images import FatalBits, FrameFiles, Stamp, read_frame, read_header, read_image, write_image
from pymopex.kit.layers import write_table_whole
from pymopex.kit.lists import write_list

if TYPE_CHECKING:
    import numpy as np

    from pymopex.artifacts import Found
    from pymopex.kit.task import Run

_SATURATED = 1 << 13  # of the imask
_CHANNELS = {1: "IRAC 1", 2: "IRAC 2", 3: "IRAC 3", 4: "IRAC 4"}


@dataclass(frozen=True)
class Trigger:
    """What is very bright: a level [MJy/sr], or counts [DN] that FLUXCONV and EXPTIME of the header turn into one."""

    level: float | None
    counts: float

    def of(self, path: str, header: Any) -> float:
        """Give the level for a frame [MJy/sr].

        Raises
        ------
        InputError
            The header does not tell what a count is.
        """
        if self.level is not None:
            return self.level
        fluxconv, exptime = (header.get(key) for key in ("FLUXCONV", "EXPTIME"))
        if not all(isinstance(value, int | float) and value > 0 for value in (fluxconv, exptime)):
            raise InputError(f"{path}: FLUXCONV or EXPTIME is missing or not positive; set Trigger_Level")
        return self.counts * fluxconv / exptime


@dataclass(frozen=True)
class FrameJob:
    """One frame to be corrected: its files, where to, what triggers, and the correction with its settings."""

    files: FrameFiles
    bits: FatalBits
    target: str
    stamp: Stamp
    trigger: Trigger
    correct: Callable[..., Found]
    settings: Any = None


def mitigate(run: Run, product: str, correct: Callable[..., Found], settings: Any = None) -> None:
    """Correct each frame for itself: ``correct(data, bad, triggers, settings)`` gives what is subtracted.

    Parameters
    ----------
    run : Run
        The task at work, with the keys Trigger_Level and Trigger_DN.
    product : str
        Name of the corrected frames; list and table have its ends ``_list`` and ``_table``.
    correct : callable
        Function of a module, so that processes can be handed it.
    settings : object
        Its last argument.
    """
    p, stamp = run.params, run.stamp()
    trigger = Trigger(p.Trigger_Level, p.Trigger_DN)
    jobs = [
        FrameJob(files, run.bits, run.path(product, base=files.base), stamp, trigger, correct, settings)
        for files in run.frames()
    ]
    record(run, product, [job.target for job in jobs], run.map(_correct, jobs))


def _correct(job: FrameJob) -> dict[str, Any]:
    frame = read_frame(job.files, job.bits, need_sigma=False)
    lit = triggers(job.files, frame.data, job.trigger.of(job.files.image, frame.header))
    try:
        found = job.correct(frame.data, frame.bad, lit, job.settings)
    except ValueError as problem:
        raise InputError(f"{job.files.image}: {problem}") from None
    return subtract(job.files, frame, job.target, job.stamp, found, int(lit.sum()))


def subtract(
    files: FrameFiles, frame: Any, target: str, stamp: Stamp, found: Found, lit: int
) -> dict[str, Any]:
    """Write a frame without what was found; gives its row of the table."""
    import numpy as np

    image = (frame.data.astype("f8") - found.image).astype(np.float32) if found.count else frame.data
    write_image(target, image, frame.header, stamp, (files.image,))
    return row(files, lit, found)


def row(files: FrameFiles, lit: int, found: Found) -> dict[str, Any]:
    """Give the row of a frame in the table of corrections."""
    import numpy as np

    largest = found.image.ravel()[np.abs(found.image).argmax()] if found.count else 0.0
    values = (found.image.mean(), np.sqrt(np.mean(found.image**2)), largest)
    mean, rms, largest = (float(v) for v in values)
    return {
        "index": files.index + 1,
        "file": files.image,
        "triggers": lit,
        "corrected": found.count,
        "mean": -mean,
        "rms": rms,
        "largest": -largest,
    }


def triggers(files: FrameFiles, data: np.ndarray, level: float) -> np.ndarray:
    """Mark the pixels at a level or above, and those that the status mask calls saturated."""
    import numpy as np

    lit = np.nan_to_num(data, nan=-np.inf) >= level
    if files.dmask:
        lit |= (read_image(files.dmask)[0].astype(np.int64) & _SATURATED) > 0
    return lit


def record(run: Run, product: str, paths: list[str], rows: list[dict[str, Any]]) -> None:
    """Write the list of corrected frames and the table of what was done, and say it."""
    from pymopex.columns import ARTIFACTS

    write_list(run.path(f"{product}_list"), paths)
    run.keep(run.path(f"{product}_list"), *paths)
    data = {c.name: [one[c.name] for one in rows] for c in ARTIFACTS}
    write_table_whole(run, run.path(f"{product}_table"), ARTIFACTS, data)
    changed = sum(one["corrected"] > 0 for one in rows)
    largest = max((abs(one["largest"]) for one in rows), default=0.0)
    run.note(f"{changed} of {len(rows)} frames changed, by {largest:.4g} MJy/sr at most")


def check_channel(run: Run, allowed: Iterable[int]) -> list[str]:
    """Name frames of channels that do not have the artifact."""
    jobs = [(files.image, tuple(allowed), run.task) for files in run.frames()]
    return [text for text in run.map(_channel_problem, jobs, "headers") if text]


def _channel_problem(job: Any) -> str:
    path, allowed, task = job
    problems: list[str] = problems_of(lambda: [_wrong_channel(read_header(path), allowed, task)])
    return f"{path}: {problems[0]}" if problems and problems[0] else ""


def _wrong_channel(header: Any, allowed: tuple[int, ...], task: str) -> str:
    name = str(header.get("INSTRUME", "IRAC")).strip()
    if name != "IRAC":
        return f"INSTRUME = {name}: {task} is for IRAC; switch it off"
    if "CHNLNUM" not in header or header["CHNLNUM"] in allowed:
        return ""
    names = " and ".join(_CHANNELS[number] for number in allowed)
    return f"CHNLNUM = {header['CHNLNUM']}: {task} is for {names}; switch it off"
