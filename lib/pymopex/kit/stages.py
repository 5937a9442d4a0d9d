"""Modules whose products take the place of the listed files for all modules behind them."""

from __future__ import annotations

import os
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


def _mitigated(product: str) -> Callable[[Run, Frames], Frames]:
    """Give what takes the frames of a module against artifacts."""
    return lambda run, frames: tuple(
        replace(files, image=run.existing(product, base=files.base)) for files in frames
    )


def _located(run: Run, frames: Frames) -> Frames:
    frames = _mitigated("arraylocation")(run, frames)
    if not run.params_of("fix_array_location").Sigmas:
        return frames
    return tuple(
        replace(files, sigma=run.existing("arraylocation", base=files.sigma_base)) if files.sigma else files
        for files in frames
    )


def _with_latents(run: Run, frames: Frames) -> Frames:
    return tuple(replace(files, dmask=run.existing("latents", base=files.base)) for files in frames)


MITIGATED = {
    "fix_muxbleed": "muxbleed",
    "fix_pulldown": "pulldown",
    "fix_banding": "banding",
    "fix_jailbars": "jailbars",
    "fix_background": "background",
    "fix_array_location": "arraylocation",
}
"""Products of the modules against artifacts that change the frames."""

CHANGES: dict[str, Callable[[Run, Frames], Frames]] = {
    "sn_estimator": _with_sigmas,
    "zodiacal_subtraction": _subtracted,
    "mosaic_geom": _on_the_mosaic,
    "detect_radhit": _with_hits,
    **{task: _mitigated(product) for task, product in MITIGATED.items()},
    "fix_array_location": _located,
    "flag_latents": _with_latents,
}
"""What each of these modules changes."""


def links(run: Run) -> dict[str, str]:
    """Give the keys that make a later pipeline take what these modules made, by the value they have there."""
    on = [task for task in sheets.pipeline_tasks(run.pipeline) if run.settings.triggered(task)]
    keys = _kept(run)
    frames = [MITIGATED[task] for task in on if task in MITIGATED]
    if frames:
        keys["IMAGE_STACK_FILE_NAME"] = run.path(f"{frames[-1]}_list")
    if "fix_array_location" in on and run.has_uncertainties and run.params_of("fix_array_location").Sigmas:
        keys["SIGMALIST_FILE_NAME"] = run.path("arraylocation_sigma_list")
    if "flag_latents" in on:
        keys["DCE_STATUS_MASK_LIST"] = run.path("latents_list")
        pattern = run.bits.dmask | 1 << run.params_of("flag_latents").Latent_Bit
        keys["DCE_Status_Mask_Fatal_BitPattern"] = str(pattern)
    if "sn_estimator" in on:
        keys |= {"SIGMALIST_FILE_NAME": run.path("sigma_list"), "have_uncertainties": "1"}
        keys["compute_uncertainties_internally"] = "0"
    if "mosaic_geom" in on:
        keys |= {key: run.path("geom_list", list=name) for key, name in listed(run).items()}
    if "detect_radhit" in on and not run.globals.overwrite_dmask:
        keys["DCE_STATUS_MASK_LIST"] = run.path("dmask_list")
        keys["DCE_Status_Mask_Fatal_BitPattern"] = str(run.bits.dmask)
    return keys


_FILE_OF = {
    "IMAGE_STACK_FILE_NAME": "image",
    "SIGMALIST_FILE_NAME": "sigma",
    "DCE_STATUS_MASK_LIST": "dmask",
    "RMASK_LIST": "rmask",
}


def _kept_lists(run: Run) -> dict[str, str]:
    """Give the places of the lists without the frames that are left out, by their key; none with one image."""
    if run.single or not run.globals.IMAGE_STACK_FILE_NAME:
        return {}
    given = {key: getattr(run.globals, key) for key in _FILE_OF if getattr(run.globals, key)}
    return {key: run.path("kept_list", list=os.path.basename(name)) for key, name in given.items()}


def write_kept(run: Run) -> None:
    """Write the lists without the frames that are left out, for later pipelines; without any, remove old ones."""
    from pymopex.kit.inputs import frame_files
    from pymopex.kit.lists import write_list

    for key, path in _kept_lists(run).items():
        if run.skipped:
            files = [getattr(frame, _FILE_OF[key]) for frame in frame_files(run.globals, skip=run.skipped)]
            if all(files):  # uncertainties may be listed and not used
                write_list(path, files)
        elif os.path.exists(path):
            os.unlink(path)


def _kept(run: Run) -> dict[str, str]:
    return {key: path for key, path in _kept_lists(run).items() if os.path.exists(path)}


def listed(run: Run) -> dict[str, str]:
    """Give the file names of the lists in use, by their key."""
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
