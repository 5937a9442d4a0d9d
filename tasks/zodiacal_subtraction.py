"""Zodiacal Subtraction: frames minus the zodiacal light that their headers tell of.

ZODY_EST minus SKYDRKZB is subtracted, or ZODY_EST alone where there is no SKYDRKZB. All modules of Overlap behind this
one take the subtracted frames, so the corrected frames hold the subtraction. The subtracted frames themselves
are removed at the end of Overlap unless save_zodiacal_subtracted_images is 1; rerun this module before a module alone.

References
----------
MOPEX User's Guide, Overlap, zodiacal subtraction.
"""

from __future__ import annotations

from typing import Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, read_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name frames whose headers do not tell the zodiacal light."""
    problems = run.map(_problem, [files.image for files in run.frames()], "headers")
    return [problem for problem in problems if problem]


def run(run: Run) -> None:
    """Write the frames without zodiacal light, under their own names, and their list."""
    stamp = run.stamp()
    jobs = [(files.image, run.path("zodsub", base=files.base), stamp) for files in run.frames()]
    levels = run.map(_subtract, jobs)
    paths = [path for _, path, _ in jobs]
    write_list(run.path("zodsub_list"), paths)
    run.keep(run.path("zodsub_list"), *paths)
    run.note(f"{len(paths)} frames, {min(levels):.6g} to {max(levels):.6g} MJy/sr subtracted")


def _problem(image: str) -> str:
    try:
        _level(image, read_header(image))
    except InputError as problem:
        return str(problem)
    return ""


def _level(image: str, header: Any) -> float:
    from pymopex.kit.interpolate import is_surface_brightness
    from pymopex.zodiacal import zodiacal_level

    unit = str(header.get("BUNIT", ""))
    if not is_surface_brightness(unit) or "jy/arc" in unit.lower() or "jy/sq" in unit.lower():
        raise InputError(
            f"{image}: BUNIT = {unit or 'missing'}: the zodiacal light can be subtracted from MJy/sr only"
        )
    try:
        return zodiacal_level(header)
    except ValueError as problem:
        raise InputError(f"{image}: {problem}; it is needed for apply_zodiacal_subtraction = 1") from None


def _subtract(job: Any) -> float:
    import numpy as np

    source, target, stamp = job
    image, header = read_image(source)
    level = _level(source, header)
    dtype = image.dtype if image.dtype.kind == "f" else np.float32
    header["ZODISUB"] = (level, "[MJy/sr] zodiacal light subtracted")
    write_image(target, (image.astype("f8") - level).astype(dtype), header, stamp, (source,))
    return level
