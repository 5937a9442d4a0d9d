"""The frames of a run, from the lists of the namelist, and every problem they have, found before work starts."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from pymopex.kit import sheets
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.images import FatalBits, FrameFiles

if TYPE_CHECKING:
    from pymopex.kit.frame_wcs import Place
    from pymopex.kit.parameters import Params
    from pymopex.kit.task import Run

_LISTS = {
    "IMAGE_STACK_FILE_NAME": "image",
    "SIGMALIST_FILE_NAME": "sigma",
    "DCE_STATUS_MASK_LIST": "dmask",
    "RMASK_LIST": "rmask",
}

_ROWS = 32
_FARTHEST = 30.0  # degrees from the middle of the frames: a plane mosaic beyond is all distortion


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
    """Refuse frames that are listed twice, names that no table can hold, and companions of other frames."""
    seen: dict[str, str] = {}
    problems = []
    for files in frames:
        before = seen.get(files.base) or seen.get(os.path.realpath(files.image))
        if before == files.image:
            problems.append(f"{files.image}: is in the list of frames more than once")
        elif before is not None and os.path.realpath(before) == os.path.realpath(files.image):
            problems.append(f"{files.image}: is the same file as {before}")
        elif before is not None:
            problems.append(
                f"{files.image}: has the same file name as {before}; products are named after frames"
            )
        seen[files.base] = seen[os.path.realpath(files.image)] = files.image
        try:
            files.image.encode()
        except UnicodeEncodeError:
            shown = files.image.encode("utf-8", "replace").decode()
            problems.append(f"{shown}: the name is not UTF-8; rename the file")
    problems = problems or _strangers(frames)
    if problems:
        raise InputErrors(problems)


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
    jobs = [(files, keys.USE_REFINED_POINTING, run.bits) for files in frames]
    found, places = zip(*run.map(_frame_problems, jobs, "headers"), strict=True)
    far = _far_away(frames, places) if _makes_fiducial(run) else {}
    for files, troubles in zip(frames, found, strict=True):
        troubles = troubles or far.get(files.image, [])
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


def _makes_fiducial(run: Run) -> bool:
    """Tell whether the frames must fit into one mosaic, whose frame is made from them."""
    keys = run.globals
    return not run.single and not keys.FIF_FILE_NAME and run.switched("fiducial_image_frame")


def _far_away(frames: tuple[FrameFiles, ...], places: tuple[Place | None, ...]) -> dict[str, list[str]]:
    """Name the frames that are too far from the middle of all for one mosaic."""
    import numpy as np

    from pymopex.projection import unit_vectors

    placed = [(files, place) for files, place in zip(frames, places, strict=True) if place is not None]
    if len(placed) < 2:
        return {}
    vectors = unit_vectors(*np.transpose([place for _, place in placed])).T
    middle = np.median(vectors, axis=0)  # follows the most of them
    cosine = vectors @ middle / max(float(np.linalg.norm(middle)), 1e-9)
    angles = np.degrees(np.arccos(np.clip(cosine, -1, 1)))
    return {
        files.image: [
            f"{files.image}: lies {angle:.0f} degrees from the middle of the frames; one mosaic reaches "
            f"{_FARTHEST:.0f} degrees (a longitude or latitude is wrong, or lists of two fields are joined)"
        ]
        for (files, _), angle in zip(placed, angles, strict=True)
        if angle > _FARTHEST
    }


def _frame_problems(argument: tuple[FrameFiles, bool, FatalBits]) -> tuple[list[str], Place | None]:
    """Name what is wrong with one frame, and give its place on the sky if it has one."""
    from pymopex.kit.frame_wcs import wcs_problems
    from pymopex.kit.images import read_header

    files, refined, bits = argument
    try:
        header = read_header(files.image)
    except InputError as problem:
        return [str(problem)], None
    if _is_table(header):
        return [f"{files.image}: holds a table; a two-dimensional image is needed"], None
    if header.get("NAXIS") != 2:
        return [f"{files.image}: has {header.get('NAXIS')} axes; a two-dimensional image is needed"], None
    shape = header["NAXIS1"], header["NAXIS2"]
    if min(shape) < 1:
        return [f"{files.image}: is {shape[0]} x {shape[1]} pixels; an image holds one at least"], None
    problems, place = wcs_problems(files.image, header, refined)
    for path in (files.sigma, files.dmask, files.rmask, files.pmask):
        problems += _companion_problems(path, shape) if path else []
    if not problems:
        try:
            problems += _without_data(files, shape, bits)
        except InputError as problem:
            problems.append(str(problem))
    return problems, place


def _is_table(header) -> bool:
    return header.get("XTENSION", "IMAGE").strip() != "IMAGE" and not header.get("ZIMAGE", False)


def _without_data(files: FrameFiles, shape: tuple[int, int], bits: FatalBits) -> list[str]:
    """Tell why no pixel of a frame can be used; of most frames, the first rows alone are read."""
    import numpy as np

    from pymopex.kit.images import read_section
    from pymopex.masks import bad_pixels

    nx, ny = shape
    masks = [
        (name, getattr(files, name), getattr(bits, name))
        for name in ("dmask", "pmask", "rmask")
        if getattr(files, name) and getattr(bits, name)
    ]
    finite = certain = False
    for y in range(0, ny, _ROWS):
        rows = slice(y, min(y + _ROWS, ny)), slice(0, nx)
        good = np.isfinite(read_section(files.image, *rows))
        finite |= bool(good.any())
        if files.sigma:
            sigma = read_section(files.sigma, *rows)
            good &= np.isfinite(sigma) & (sigma > 0)
        certain |= bool(good.any())
        for name, path, pattern in masks:
            given = {name: read_section(path, *rows), f"{name}_pattern": pattern}
            good &= ~bad_pixels(good.shape, **given)
        if good.any():
            return []
    if not finite:
        return [f"{files.image}: holds no finite pixel"]
    if not certain:
        return [f"{files.sigma}: no pixel of the frame has a value and an uncertainty above zero"]
    names = ", ".join(path for _, path, _ in masks)
    return [f"{files.image}: all its pixels are masked ({names})"]


def _companion_problems(path: str, shape: tuple[int, int]) -> list[str]:
    from pymopex.kit.images import read_header

    if not os.path.exists(path):
        return [f"{path}: no such file"]
    try:
        header = read_header(path)
    except InputError as problem:
        return [str(problem)]
    got = header.get("NAXIS1"), header.get("NAXIS2")
    if header.get("NAXIS") != 2:
        return [f"{path}: has {header.get('NAXIS')} axes; a two-dimensional image is needed"]
    if got != shape:
        return [f"{path}: is {got[0]} x {got[1]} pixels; the frame is {shape[0]} x {shape[1]}"]
    return []
