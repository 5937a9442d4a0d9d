"""Modules whose products take the place of the listed files for all modules behind them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from pymopex.kit import sheets
from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles

if TYPE_CHECKING:
    from pymopex.kit.task import Run

Frames = tuple[FrameFiles, ...]


def stages_before(run: Run) -> tuple[str, ...]:
    """Give the modules that have changed the frames for the task at work.

    Notes
    -----
    These are the ones that the namelist switches on and that stand before the task in the pipeline's driver, so that
    a module alone sees the same frames as in the whole run. What the run at work has still to make does not count.
    """
    order = sheets.pipeline_tasks(run.pipeline)
    last = order.index(run.task) if run.task in order else len(order)
    return tuple(
        task
        for task in order[:last]
        if task in CHANGES and task not in run.pending and run.settings.triggered(task)
    )


def changed(run: Run, frames: Frames, stages: tuple[str, ...]) -> Frames:
    """Give the frames behind these modules.

    Raises
    ------
    InputError
        If a product is missing; the message names the module that makes it.
    """
    for task in stages:
        frames = CHANGES[task](run, frames)
    return frames


def _subtracted(run: Run, frames: Frames) -> Frames:
    return tuple(replace(files, image=run.existing("zodsub", base=files.base)) for files in frames)


def _with_sigmas(run: Run, frames: Frames) -> Frames:
    return tuple(replace(files, sigma=run.existing("sigma", base=files.base)) for files in frames)


def _on_the_mosaic(run: Run, frames: Frames) -> Frames:
    from pymopex.kit.lists import read_list

    path = run.existing("geom_list")
    kept = {entry.path for entry in read_list(path)}
    if not kept and not run.ended and run.task != "mosaic_geom":
        raise InputError(f"{path}: holds no frame: none overlaps the fiducial image frame")
    chosen = [files for files in frames if files.image in kept]
    return tuple(replace(files, index=index) for index, files in enumerate(chosen))


def _with_hits(run: Run, frames: Frames) -> Frames:
    if run.globals.overwrite_dmask:
        return frames
    return tuple(replace(files, dmask=run.existing("dmask", base=files.base)) for files in frames)


CHANGES: dict[str, Callable[[Run, Frames], Frames]] = {
    "sn_estimator": _with_sigmas,
    "zodiacal_subtraction": _subtracted,
    "mosaic_geom": _on_the_mosaic,
    "detect_radhit": _with_hits,
}
"""What each of these modules changes."""


def links(run: Run) -> dict[str, str]:
    """Give the keys that make a later pipeline take what these modules made, by the value they have there."""
    on = [task for task in sheets.pipeline_tasks(run.pipeline) if run.settings.triggered(task)]
    keys: dict[str, str] = {}
    if "sn_estimator" in on:
        keys |= {"SIGMALIST_FILE_NAME": run.path("sigma_list"), "have_uncertainties": "1"}
        keys["compute_uncertainties_internally"] = "0"
    if "mosaic_geom" in on:
        keys |= {key: run.path("geom_list", list=name) for key, name in listed(run).items()}
    if "detect_radhit" in on and not run.globals.overwrite_dmask:
        keys["DCE_STATUS_MASK_LIST"] = run.path("dmask_list")
        keys["DCE_Status_Mask_Fatal_BitPattern"] = str(run.bits.dmask)
    return keys


def listed(run: Run) -> dict[str, str]:
    """Give the file names of the lists in use, by their key."""
    import os

    keys = run.globals
    names = {"IMAGE_STACK_FILE_NAME": run.list_name}
    if run.settings.triggered("sn_estimator"):
        names["SIGMALIST_FILE_NAME"] = os.path.basename(run.path("sigma_list"))
    elif keys.SIGMALIST_FILE_NAME and keys.have_uncertainties:
        names["SIGMALIST_FILE_NAME"] = os.path.basename(keys.SIGMALIST_FILE_NAME)
    for key in ("DCE_STATUS_MASK_LIST", "RMASK_LIST"):
        if getattr(keys, key):
            names[key] = os.path.basename(getattr(keys, key))
    return names
