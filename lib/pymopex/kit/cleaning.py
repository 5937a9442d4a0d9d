"""Removing what a run leaves and no later step needs, as the namelist asks."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import TYPE_CHECKING

from pymopex.kit import lock, resume, sheets
from pymopex.kit.confining import problems_of_places
from pymopex.kit.errors import InputErrors

if TYPE_CHECKING:
    from pymopex.kit.task import Run

_INTERMEDIATE = {
    "flatfield": ("minback", "detmap"),
    "hdr_mask": (),
    "pointingrefine": (),
    "artifacts": (),
    "overlap": ("minback", "detmap", "interp", "interp_covg", "interp_unc", "interp_var"),
    "mosaic": (
        *("minback", "detmap", "interp", "interp_covg", "interp_unc", "interp_var", "proj", "dual", "level"),
        *(
            "outlier",
            "box_outlier",
            "reinterp",
            "reinterp_covg",
            "reinterp_unc",
            "reinterp_var",
            "fixed_covg",
        ),
    ),
    "apex": ("interp", "interp_covg", "interp_unc", "interp_var"),
    "apex_user_list": ("interp", "interp_covg", "interp_unc", "interp_var"),
    "apex_1frame": ("tile_psp", "tile_filtered", "tile_psp_noise", "tile_detect_map"),
    "apex_user_list_1frame": (),
    "apex_qa": ("interp", "interp_covg", "interp_unc", "interp_var"),
    "prf_estimate": ("minback",),
}


def clean(run: Run, tasks: list[str]) -> None:
    """Remove what the namelist says of the products of a run of these tasks."""
    found: list[tuple[str, list[str]]] = []
    if run.globals.delete_intermediate_files and not run.ended:
        found += intermediate(run)
    if run.globals.delete_intermediate_files_array_corr and "make_array_corr_mosaic" in tasks:
        found.append(("array-location correction images", _of_frames(run, ["arraycorr"])))
    if "zodiacal_subtraction" in tasks and not run.globals.save_zodiacal_subtracted_images:
        found += _subtracted(run)
    _delete(run, found)


def go_on(run: Run, paths: list[str]) -> None:
    """Remove what a run that was cut had still to remove."""
    _delete(run, [("files that were to be deleted", [path for path in paths if os.path.exists(path)])])


def delete_intermediate(run: Run) -> None:
    """Remove the images of each frame that no later pipeline needs, and the co-added tiles unless they are to stay.

    Tiles stay with ``keep_coadded_tiles``, and where the mosaic has not been made of them.

    Raises
    ------
    InputError
        A run is at work in the output directory.
    """
    with lock.hold(run.globals.OUTPUT_DIR, make=False):
        _delete(run, intermediate(run))


def intermediate(run: Run) -> list[tuple[str, list[str]]]:
    """Give what `delete_intermediate` removes: in words, and the files that are there."""
    outside = problems_of_places(run, [])
    if outside:
        raise InputErrors(outside)
    if not run.single and not run.globals.IMAGE_STACK_FILE_NAME:
        return []  # APEX QA on one image
    found = [("intermediate images", _of_frames(run, _INTERMEDIATE[run.pipeline]))]
    if run.pipeline == "prf_estimate":
        return found + _stamps(run)
    if run.single or "mosaic_interp" not in sheets.pipeline_tasks(run.pipeline):
        return found
    combined = run.path("quicklook" if run.pipeline == "overlap" else "mosaic")
    if not run.globals.keep_coadded_tiles and os.path.exists(combined):
        found.append(("co-added tiles", _tiles(run)))
    return found


def listed(run: Run) -> list[str]:
    """Give the files that `delete_intermediate` removes."""
    return [path for _, paths in intermediate(run) for path in paths]


def _of_frames(run: Run, chosen: Iterable[str]) -> list[str]:
    """Give products of each frame that are there."""
    run.task = "mosaic_interp"
    paths = [
        run.path(product, base=frame.sigma_base if product.endswith("unc") else frame.base)
        for product in chosen
        for frame in run.frames()
    ]
    return [path for path in paths if os.path.exists(path)]


def _delete(run: Run, found: list[tuple[str, list[str]]]) -> None:
    """Remove files; what is removed is written down before, so that a run that is cut here can be resumed."""
    if any(paths for _, paths in found):
        resume.removed(run, (path for _, paths in found for path in paths))
    for what, paths in found:
        for path in paths:
            os.unlink(path)
        run.note(f"deleted {len(paths)} {what}")


def _stamps(run: Run) -> list[tuple[str, list[str]]]:
    """Give the stamps that their list names, and the list; their table stays."""
    from pymopex.kit.lists import read_list

    target = run.path("stamp_list")
    if not os.path.exists(target):
        return []
    paths = [entry.path for entry in read_list(target) if os.path.exists(entry.path)]
    return [("stamps", paths), ("list of stamps", [target])]


def _tiles(run: Run) -> list[str]:
    """Give the co-added tiles; their tables stay."""
    from pymopex.kit.coadding import MOSAICS

    found: list[str] = []
    number = 1
    while True:
        paths = [run.path(f"coadd_{part}", tile=number) for part in MOSAICS]
        there = [path for path in paths if os.path.exists(path)]
        if not there:
            return found
        found, number = found + there, number + 1


def _subtracted(run: Run) -> list[tuple[str, list[str]]]:
    """Give the frames without zodiacal light, and their list."""
    run.task = "zodiacal_subtraction"
    paths = [run.path("zodsub", base=frame.base) for frame in run.frames()]
    target = run.path("zodsub_list")
    found = [("frames without zodiacal light", [path for path in paths if os.path.exists(path)])]
    return [*found, ("list of them", [target])] if os.path.exists(target) else found
