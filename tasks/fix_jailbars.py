"""Fix Jailbars: the pattern of the four readout channels."""

from __future__ import annotations

from typing import Any

from pymopex.kit.images import read_frame
from pymopex.kit.mitigation import check_channel, record, subtract
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name frames that are not of IRAC."""
    return check_channel(run, (1, 2, 3, 4))


def run(run: Run) -> None:
    """Write the frames without jailbars and muxstripe, under their own names, their list, and ``jailbars.tbl``.

    Notes
    -----
    The columns are read by four outputs in turn. In each section of rows, the mean difference of the pixels
    of an output to the mean of their row nearby, in which all outputs have the same weight, is its constant;
    pixels of objects do not count. The constants of a section are taken off if one of them is significant;
    their mean is 0, so that the level of the frame stays.
    """
    p, stamp = run.params, run.stamp()
    settings = (p.Significance, p.Sections, p.Object_Threshold, p.Object_Grow)
    targets = [run.path("jailbars", base=files.base) for files in run.frames()]
    jobs = [
        (files, run.bits, target, stamp, settings)
        for files, target in zip(run.frames(), targets, strict=True)
    ]
    record(run, "jailbars", targets, run.map(_fix, jobs))


def _fix(job: Any) -> dict[str, Any]:
    from pymopex.artifacts import objects
    from pymopex.readout import output_pattern

    files, bits, target, stamp, (significance, sections, threshold, grow) = job
    frame = read_frame(files, bits, need_sigma=False)
    out = frame.bad | objects(frame.data, frame.bad, threshold=threshold, grow=grow)
    found = output_pattern(frame.data, out, significance=significance, sections=sections)
    return subtract(files, frame, target, stamp, found, 0)
