"""MedFilter: frames minus a running background, used for detection only."""

from __future__ import annotations

from typing import Any

from pymopex.kit.backgrounds import check_window, median_window
from pymopex.kit.checking import refused
from pymopex.kit.images import read_cards, read_frame, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    return check_window(run)


def run(run: Run) -> None:
    """Write ``<base>_minback.fits`` for each frame, and their list."""
    filter_frames(run, "minback")
    path = run.path("minback_list")
    write_list(path, [run.path("minback", base=files.base) for files in run.frames()])
    run.keep(path)


def filter_frames(run: Run, product: str) -> None:
    """Subtract the background of each frame."""
    how, stamp, bits = median_window(run.params), run.stamp(), run.bits
    jobs = [(files, bits, how, run.path(product, base=files.base), stamp) for files in run.frames()]
    run.keep(*run.map(_filter_frame, jobs))
    run.note(f"{len(jobs)} frames, windows of {how.window_x} x {how.window_y} pixels")


def _filter_frame(job: Any) -> str:
    from pymopex.background import background

    files, bits, how, path, stamp = job
    frame = read_frame(files, bits, need_sigma=False)
    with refused(files.image):
        minus = frame.data - background(frame.data, frame.bad, how).astype("f4")
    minus[frame.bad] = float("nan")
    return write_image(path, minus, read_cards(files.image), stamp, (files.image,))
