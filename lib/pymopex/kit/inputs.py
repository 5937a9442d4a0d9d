"""The frames of a run, from the lists of the namelist."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.images import FrameFiles

if TYPE_CHECKING:
    from pymopex.kit.parameters import Params

_LISTS = {
    "IMAGE_STACK_FILE_NAME": "image",
    "SIGMALIST_FILE_NAME": "sigma",
    "DCE_STATUS_MASK_LIST": "dmask",
    "RMASK_LIST": "rmask",
}

_WHAT = {
    "image": "frame",
    "sigma": "uncertainty image",
    "dmask": "status mask",
    "rmask": "outlier mask",
    "pmask": "permanent mask",
}
_APART = [("sigma", "image"), ("dmask", "image"), ("rmask", "image"), ("dmask", "sigma"), ("rmask", "sigma")]


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
    image, dmask, rmask = keys.INPUT_FILE_NAME, names["DCE_STATUS_MASK"], names["RMASK_FILE_NAME"]
    files = FrameFiles(0, image, sigma, dmask, rmask, pmask)
    problems = _its_own_companion(files, _identity(image))
    if problems:
        raise InputErrors(problems)
    return (files,)


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
        same = [
            _WHAT[other] for one, other in _APART if one == role and lists.get(one) == lists.get(other) != []
        ]
        if count and role in lists and same:
            problems.append(
                f"{keys.origin(key)}: {key} = {getattr(keys, key)}: lists the {same[0]}s; "
                f"the list of the {_WHAT[role]}s is needed"
            )
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
    """Refuse frames that are listed twice, names that no table can hold, and companions of other frames."""
    seen: dict[Any, str] = {}
    problems = []
    for files in frames:
        own = _identity(files.image)
        before = seen.get(files.base) or seen.get(own)
        if before == files.image:
            problems.append(f"{files.image}: is in the list of frames more than once")
        elif before is not None and _identity(before) == own:
            problems.append(f"{files.image}: is the same file as {before}")
        elif before is not None:
            problems.append(
                f"{files.image}: has the same file name as {before}; products are named after frames"
            )
        seen[files.base] = seen[own] = files.image
        problems += _its_own_companion(files, own)
        try:
            files.image.encode()
        except UnicodeEncodeError:
            shown = files.image.encode("utf-8", "replace").decode()
            problems.append(f"{shown}: the name is not UTF-8; rename the file")
    problems = problems or _strangers(frames)
    if problems:
        raise InputErrors(problems)


def _identity(path: str) -> Any:
    """Give what tells a file from others, by whatever name it goes."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return "", path
    return found.st_dev, found.st_ino


def _its_own_companion(files: FrameFiles, own: Any) -> list[str]:
    """Name the companions of a frame that are its image, or its uncertainty in place of a mask."""
    problems = []
    sigma = _identity(files.sigma) if files.sigma else None
    for role in ("sigma", "dmask", "rmask", "pmask"):
        path = getattr(files, role)
        found = sigma if role == "sigma" else _identity(path) if path else None
        taken = {own: "image", **({} if role == "sigma" else {sigma: "sigma"})}.get(found) if path else None
        if taken == "image":
            problems.append(f"{path}: is the frame {files.image} itself, listed as its {_WHAT[role]}")
        elif taken:
            problems.append(f"{path}: is the uncertainty image of {files.image}, listed as its {_WHAT[role]}")
    return problems


def _strangers(frames: tuple[FrameFiles, ...]) -> list[str]:
    """Name the companions that another frame of the list should have by the numbers in their names."""
    if len(frames) < 2:
        return []
    owners: dict[tuple[str, ...], list[str]] = {}
    for files in frames:
        owners.setdefault(_numbers(files.image), []).append(files.image)
    problems = []
    sigmas: set[str] = set()
    for role in ("sigma", "dmask", "rmask"):
        paths = [getattr(files, role) for files in frames]
        if len(set(paths)) == 1 and role != "sigma":
            continue  # one mask may serve all
        for files, path in zip(frames, paths, strict=True):
            owner = owners.get(_numbers(path), []) if _numbers(path) else []
            if len(owner) == 1 and owner[0] != files.image:
                problems.append(
                    f"{path}: stands beside {files.image} and belongs to {owner[0]}; "
                    "lists must have one order"
                )
            elif role == "sigma" and path and files.sigma_base in sigmas:
                problems.append(f"{path}: its name stands twice; products are named after uncertainties")
            if role == "sigma":
                sigmas.add(files.sigma_base)
    return problems


def _numbers(path: str) -> tuple[str, ...]:
    """Give the numbers in a file name, which tell archive frames apart."""
    return tuple(re.findall(r"\d+", os.path.basename(path)))
