"""Every problem that the frames of a run and their grid have, found before work starts."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pymopex.kit import sheets
from pymopex.kit.checking import problems_of
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.images import FatalBits, FrameFiles

if TYPE_CHECKING:
    import numpy as np

    from pymopex.kit.frame_wcs import Place
    from pymopex.kit.parameters import Params
    from pymopex.kit.task import Run

_ROWS = 32
_FARTHEST = 30.0  # degrees from the middle of the frames: a plane mosaic beyond is all distortion


def problems_of_fiducial(run: Run, tasks: list[str], *, first: bool) -> list[str]:
    """Name what is wrong with the fiducial image frame that is given; in a flow, only the first run misses it."""
    given = run.globals.FIF_FILE_NAME
    if not given or not any("FIF_FILE_NAME" in sheets.sheet(task).uses for task in tasks):
        return []
    made = "fiducial_image_frame" in tasks
    if os.path.exists(given):
        replaced = made and run.fiducial_target() == given
        return [] if replaced else problems_of(_read_fiducial, given)
    if made or not first:
        return []
    return [f"{run.globals.origin('FIF_FILE_NAME')}: {given}: no such fiducial image frame (FIF_FILE_NAME)"]


def _read_fiducial(path: str) -> None:
    from pymopex.kit.fif import read_fif

    read_fif(path)


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
    from pymopex.kit.images import kept_header

    files, refined, bits = argument
    try:
        header = kept_header(files.image)
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
        image = read_section(files.image, *rows)
        if _is_turned(image):
            return [f"{files.image}: {_TURNED}"]
        good = np.isfinite(image)
        finite |= bool(good.any())
        if files.sigma:
            sigma = read_section(files.sigma, *rows)
            if _is_turned(sigma):
                return [f"{files.sigma}: {_TURNED}"]
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


_TURNED = "its pixels are in the wrong byte order: FITS has the highest byte first"


def _is_turned(pixels: np.ndarray) -> bool:
    """Tell whether numbers make sense only when their bytes are turned round.

    Their exponents are then low bytes of other numbers: values of all magnitudes, or below the normal ones where these
    bytes are zero. No image of the sky has both above 1e15 and below 1e-15, or most below the normal numbers; turned
    round, none of them may be like that.
    """
    if pixels.dtype.kind != "f":
        return False  # any integer can be meant
    return _is_wild(pixels) and not _is_wild(pixels.byteswap())


def _is_wild(pixels: np.ndarray) -> bool:
    import numpy as np

    sizes = np.abs(pixels[np.isfinite(pixels) & (pixels != 0)])
    if not sizes.size:
        return False
    small, large = np.mean(sizes < 1e-15), np.mean(sizes > 1e15)
    return bool(min(small, large) > 0.02 or np.mean(sizes < np.finfo(pixels.dtype).tiny) > 0.5)


def _companion_problems(path: str, shape: tuple[int, int]) -> list[str]:
    from pymopex.kit.images import plain_shape, read_header

    if not os.path.exists(path):
        return [f"{path}: no such file"]
    try:
        got = plain_shape(path)
        if got is None:
            header = read_header(path)
            if header.get("NAXIS") != 2:
                return [f"{path}: has {header.get('NAXIS')} axes; a two-dimensional image is needed"]
            got = header.get("NAXIS1"), header.get("NAXIS2")
    except InputError as problem:
        return [str(problem)]
    if got != shape:
        return [f"{path}: is {got[0]} x {got[1]} pixels; the frame is {shape[0]} x {shape[1]}"]
    return []
