"""The frames of a run, from the lists of the namelist, and every problem they have, found before work starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pymopex.kit import sheets
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.images import FrameFiles

if TYPE_CHECKING:
    from pymopex.kit.parameters import Params
    from pymopex.kit.task import Run

_LISTS = {
    "IMAGE_STACK_FILE_NAME": "image",
    "SIGMALIST_FILE_NAME": "sigma",
    "DCE_STATUS_MASK_LIST": "dmask",
    "RMASK_LIST": "rmask",
}

_ROWS = 32


def frame_files(keys: Params, *, skip: dict[str, str] | None = None) -> tuple[FrameFiles, ...]:
    """Read the lists and the permanent mask's name into one record per frame.

    Parameters
    ----------
    keys : Params
        The global keys.
    skip : dict of str to str, optional
        Images to leave out, with the reason.

    Raises
    ------
    InputErrors
        If a list is missing, empty, or of another length than the list of images.
    """
    problems: list[str] = []
    lists = _read_lists(keys, problems)
    pmask = _permanent_mask(keys, problems)
    if problems:
        raise InputErrors(problems)
    nothing = [""] * len(lists["image"])
    sigmas, dmasks, rmasks = (lists.get(role, nothing) for role in ("sigma", "dmask", "rmask"))
    frames = tuple(
        FrameFiles(i, image, sigmas[i], dmasks[i], rmasks[i], pmask)
        for i, image in enumerate(lists["image"])
        if image not in (skip or {})
    )
    _check_names(frames)
    return frames


def one_frame(keys: Params, *, either: bool = False) -> tuple[FrameFiles, ...]:
    """Give the one image of a single-frame run with its companions.

    Parameters
    ----------
    keys : Params
        The global keys.
    either : bool
        Whether the pipeline works on lists of frames, too: then the keys of lists may name the companions of the
        image, as an image or as a list of one line.

    Raises
    ------
    InputErrors
        No image is given, or the permanent mask is missing.
    """
    problems: list[str] = []
    if not keys.INPUT_FILE_NAME:
        frames = ", and no list of frames (IMAGE_STACK_FILE_NAME, -I)" if either else ""
        problems.append(f"INPUT_FILE_NAME: no image is given, neither in the namelist nor with -i{frames}")
    pmask = _permanent_mask(keys, problems)
    if problems:
        raise InputErrors(problems)
    names = {key: getattr(keys, key) for key in _OF_ONE}
    if either:
        names = {key: name or _only(keys, _OF_ONE[key]) for key, name in names.items()}
    sigma = names["SIGMA_FILE_NAME"] if keys.have_uncertainties else ""
    return (
        FrameFiles(0, keys.INPUT_FILE_NAME, sigma, names["DCE_STATUS_MASK"], names["RMASK_FILE_NAME"], pmask),
    )


_OF_ONE = {
    "SIGMA_FILE_NAME": "SIGMALIST_FILE_NAME",
    "DCE_STATUS_MASK": "DCE_STATUS_MASK_LIST",
    "RMASK_FILE_NAME": "RMASK_LIST",
}
_FITS = (".fits", ".fit", ".fits.gz", ".fits.fz")


def _only(keys: Params, key: str) -> str:
    """Give the one image that the key of a list names: itself, or the list's only line."""
    from pymopex.kit.lists import read_list

    name = getattr(keys, key)
    if not name or name.lower().endswith(_FITS):
        return name
    try:
        paths = [entry.path for entry in read_list(name)]
    except InputError as problem:
        raise InputError(f"{keys.origin(key)}: {key} = {problem}") from None
    if len(paths) != 1:
        raise InputError(f"{name}: has {len(paths)} entries for the one image {keys.INPUT_FILE_NAME} ({key})")
    return paths[0]


def _read_lists(keys: Params, problems: list[str]) -> dict[str, list[str]]:
    """Read the lists that are given, by role; adds to the problems."""
    from pymopex.kit.lists import read_list

    lists: dict[str, list[str]] = {}
    for key, role in _LISTS.items():
        name = getattr(keys, key)
        if not name or (role == "sigma" and not keys.have_uncertainties):
            continue
        try:
            lists[role] = [entry.path for entry in read_list(name)]
        except InputError as problem:
            problems.append(f"{keys.origin(key)}: {key} = {problem}")
    images = keys.IMAGE_STACK_FILE_NAME
    count = len(lists.get("image", ()))
    if not images:
        problems.append(
            "IMAGE_STACK_FILE_NAME: no list of frames is given, neither in the namelist nor with -I"
        )
    elif "image" in lists and not count:
        problems.append(f"{images}: the list of frames is empty")
    for key, role in _LISTS.items():
        if count and role in lists and len(lists[role]) != count:
            problems.append(
                f"{getattr(keys, key)}: has {len(lists[role])} entries; "
                f"{images} has {count} (one line per frame in each list)"
            )
    return lists


def _permanent_mask(keys: Params, problems: list[str]) -> str:
    """Find the permanent mask, if one is given; adds to the problems."""
    from pymopex.kit.files import calibration_file

    if not keys.PMASK_FILE_NAME:
        return ""
    try:
        return calibration_file(keys.PMASK_FILE_NAME)
    except InputError as problem:
        problems.append(f"{keys.origin('PMASK_FILE_NAME')}: PMASK_FILE_NAME = {problem}")
        return ""


def _check_names(frames: tuple[FrameFiles, ...]) -> None:
    seen: dict[str, str] = {}
    problems = []
    for files in frames:
        before = seen.get(files.base)
        if before == files.image:
            problems.append(f"{files.image}: is in the list of frames more than once")
        elif before is not None:
            problems.append(
                f"{files.image}: has the same file name as {before}; products are named after frames"
            )
        seen[files.base] = files.image
    if problems:
        raise InputErrors(problems)


def check_frames(run: Run) -> None:
    """Check every frame and its companions by their headers, and that the frames hold data.

    With ``Skip_Bad_Frames`` the frames that have problems are left out and named.

    Raises
    ------
    InputErrors
        With all problems of all frames.
    """
    keys = run.globals
    problems = list(_missing_patterns(keys, run.single, run.pipeline in sheets.EITHER))
    frames = run.frames()
    found = run.map(_frame_problems, [(files, keys.USE_REFINED_POINTING) for files in frames], "headers")
    for files, troubles in zip(frames, found, strict=True):
        if troubles and keys.Skip_Bad_Frames:
            run.skipped[files.image] = troubles[0]
            run.note(f"left out: {troubles[0]}")
        else:
            problems += troubles
    if len(run.skipped) == len(frames):
        name, what = (
            (keys.INPUT_FILE_NAME, "the image cannot be used")
            if run.single
            else (keys.IMAGE_STACK_FILE_NAME, "no frame of the list can be used")
        )
        problems.append(f"{name}: {what}")
    if problems:
        raise InputErrors(problems)
    run._frames = None


def _missing_patterns(keys: Params, single: bool, either: bool):
    from pymopex.masks import recommended_pattern

    dmasks = ["DCE_STATUS_MASK" if single else "DCE_STATUS_MASK_LIST"]
    if single and either:
        dmasks.append("DCE_STATUS_MASK_LIST")
    for list_key, bits_key, kind in (
        *((key, "DCE_Status_Mask_Fatal_BitPattern", "imask") for key in dmasks),
        ("PMASK_FILE_NAME", "PMask_Fatal_BitPattern", "pmask"),
    ):
        if getattr(keys, list_key) and getattr(keys, bits_key) is None:
            yield (
                f"{keys.origin(list_key)}: {list_key} is given without {bits_key}; "
                f"for IRAC write {bits_key} = {recommended_pattern(kind)}"
            )


def _frame_problems(argument: tuple[FrameFiles, bool]) -> list[str]:
    """Name what is wrong with one frame."""
    from pymopex.kit.images import read_header

    files, refined = argument
    try:
        header = read_header(files.image)
    except InputError as problem:
        return [str(problem)]
    if header.get("NAXIS") != 2:
        return [f"{files.image}: has {header.get('NAXIS')} axes; a two-dimensional image is needed"]
    problems = _wcs_problems(files.image, header, refined)
    shape = header["NAXIS1"], header["NAXIS2"]
    for path in (files.sigma, files.dmask, files.rmask, files.pmask):
        problems += _companion_problems(path, shape) if path else []
    if not problems and not _holds_data(files.image, shape):
        problems.append(f"{files.image}: holds no finite pixel")
    return problems


def _holds_data(image: str, shape: tuple[int, int]) -> bool:
    """Tell whether a frame has a finite pixel; of most frames, the first rows alone are read."""
    import numpy as np

    from pymopex.kit.images import read_section

    nx, ny = shape
    parts = (read_section(image, slice(y, y + _ROWS), slice(0, nx)) for y in range(0, ny, _ROWS))
    return any(np.isfinite(part).any() for part in parts)


def _wcs_problems(image: str, header, refined: bool) -> list[str]:
    import numpy as np

    from pymopex.geometry import frame_wcs

    needed = ("CTYPE1", "CTYPE2", "CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2")
    missing = [key for key in needed if key not in header]
    if not any(key in header for key in ("CD1_1", "CDELT1", "PC1_1")):
        missing.append("CD1_1 (or CDELT1)")
    if missing:
        return [f"{image}: no world coordinates: {', '.join(missing)} missing"]
    try:
        wcs = frame_wcs(header, refined=refined)
        sky = wcs.all_pix2world(np.array([[header["NAXIS1"] / 2, header["NAXIS2"] / 2]]), 0)
    except Exception as problem:
        return [f"{image}: world coordinates cannot be used: {problem}"]
    return [] if np.isfinite(sky).all() else [f"{image}: world coordinates are not finite"]


def _companion_problems(path: str, shape: tuple[int, int]) -> list[str]:
    from pymopex.kit.images import read_header

    if not os.path.exists(path):
        return [f"{path}: no such file"]
    try:
        header = read_header(path)
    except InputError as problem:
        return [str(problem)]
    got = header.get("NAXIS1"), header.get("NAXIS2")
    if header.get("NAXIS") != 2 or got != shape:
        return [f"{path}: is {got[0]} x {got[1]} pixels; the frame is {shape[0]} x {shape[1]}"]
    return []
