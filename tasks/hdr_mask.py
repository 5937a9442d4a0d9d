"""HDR Mask: saturated pixels of long frames found with the short frames of the same field.

In high dynamic range mode each field is taken with two or three exposure times. A pixel that is saturated in the long
frame reads too little there, down to nothing, and cannot be told by its value; the short frame shows what it should
read.

References
----------
README of hdr_mask.pl, distributed with MOPEX.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of, problems_of_settings
from pymopex.kit.errors import InputError
from pymopex.kit.frame_places import directions, times
from pymopex.kit.hdr_frames import kinds
from pymopex.kit.images import FatalBits, FrameFiles, read_header, read_image, write_image
from pymopex.kit.lists import read_list, write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.hdr import Exposure, HdrParams

_FIELDS = {
    "bright": "Bright_Threshold",
    "difference": "Difference_Threshold",
    "excess": "Min_Excess",
    "grow": "Grow",
}
_SHORT = ("SHORT_SIGMALIST_FILE_NAME", "SHORT_DCE_STATUS_MASK_LIST")


def check(run: Run) -> list[str]:
    """Name lists and frames that do not go together."""
    problems = problems_of_settings(run, lambda: _settings(run), _FIELDS)
    return problems + problems_of(lambda: _pairs(run) and None)


def run(run: Run) -> None:
    """Write ``<base>_hdrmask.fits`` for each long frame: 1 where it is saturated; and their list.

    Notes
    -----
    The long frames are those of IMAGE_STACK_FILE_NAME, the short ones those of SHORT_IMAGE_STACK_FILE_NAME. Without the
    latter, both stand in one list and are told apart as by HDR Split. The short frame of a long one is the nearest in
    time of those that look at the same place within Max_Distance; a long frame without any keeps an empty mask.

    Pixels that the short frame shows Difference_Threshold sigma, and Min_Excess of the source, above the long one
    are saturated if their cluster touches a pixel that is bright in the long frame, and if the
    short frame shows more than Min_Level of the level of saturation. What the mask of the short
    frame makes bad is not told, but for its bit Saturation_Bit. Of three exposure times, both shorter ones are
    compared with the long one, and pixels count that either of them shows.

    Where status masks are given, copies get the bit Saturation_Bit: ``<mask>_hdr.fits``. With Replace_Saturated = 1,
    ``hdr_<base>.fits`` has the values of the short frame in these pixels, less the difference of the skies, and
    ``hdr_<uncertainty>.fits`` its uncertainties; the bit is set only where there is no value to put in. Values of
    the medium frame go before those of the short one where it is not saturated itself.
    """
    how, stamp, p = _settings(run), run.stamp(), run.params
    pairs = _pairs(run)
    jobs = [
        (
            long,
            shorter,
            run.bits,
            _targets(run, long),
            _how(run, how, long),
            (p.Window, p.Saturation_Bit),
            stamp,
        )
        for long, shorter in pairs
    ]
    counts = run.map(_mask_frame, jobs)
    for name, product in (
        ("mask", "hdr_masks_list"),
        ("dmask", "hdr_dmask_list"),
        ("image", "hdr_replaced_list"),
        ("sigma", "hdr_replaced_unc_list"),
    ):
        written = [job[3][name] for job in jobs if job[3][name]]
        if len(written) == len(jobs):
            write_list(run.path(product), written)
            run.keep(*written, run.path(product))
    alone = sum(not shorter for _, shorter in pairs)
    run.note(f"{len(jobs)} long frames, {sum(counts) / len(jobs):.1f} saturated pixels a frame")
    if alone:
        run.note(f"{alone} of them have no short frame: their masks are empty")


def _settings(run: Run) -> HdrParams:
    from pymopex.hdr import HdrParams

    p = run.params
    return HdrParams(p.Bright_Threshold, p.Difference_Threshold, p.Min_Excess, grow=p.Grow)


def _how(run: Run, how: HdrParams, files: FrameFiles) -> HdrParams:
    """Give the thresholds of a frame: the level at which it saturates depends on its exposure time."""
    from dataclasses import replace

    p = run.params
    level = p.Saturation_Level if p.Saturation_Level is not None else _saturation(files.image)
    return replace(how, least=p.Min_Level * level)


def _saturation(path: str) -> float:
    """Level at which a frame saturates [MJy/sr], about; 0 if the header names no camera that is known."""
    from pymopex.instruments import INSTRUMENTS

    header = read_header(path)
    name, channel = str(header.get("INSTRUME", "")).strip(), header.get("CHNLNUM")
    wells = {(one.name, one.channel): one.well for one in INSTRUMENTS.values()}
    values = [header.get(key) for key in ("EXPTIME", "GAIN", "FLUXCONV")]
    if (name, channel) not in wells or not all(isinstance(v, (int, float)) and v > 0 for v in values):
        return 0.0
    exposure, gain, fluxconv = values
    return wells[name, channel] * fluxconv / (exposure * gain)


def _targets(run: Run, files: FrameFiles) -> dict[str, str]:
    """Give the paths that are written for a long frame; empty for what is not asked for."""
    replace = run.params.Replace_Saturated
    mask_base = FrameFiles(0, files.dmask).base if files.dmask else ""
    return {
        "mask": run.path("hdr_mask", base=files.base),
        "dmask": run.path("hdr_dmask", base=mask_base) if files.dmask else "",
        "image": run.path("hdr_replaced", base=files.base) if replace else "",
        "sigma": run.path("hdr_replaced", base=files.sigma_base) if replace and files.sigma else "",
    }


def _pairs(run: Run) -> list[tuple[FrameFiles, list[FrameFiles]]]:
    """Give each long frame with its shorter ones, the shortest first."""
    long, groups = _by_exposure(run)
    partners: list[list[FrameFiles]] = [[] for _ in long]
    for some in filter(None, groups):
        for mine, k in zip(partners, _nearest(run, long, some), strict=True):
            mine += [some[k]] if k >= 0 else []
    if not any(partners):
        raise InputError(
            f"{long[0].image}: no short frame looks there within Max_Distance = {run.params.Max_Distance:g} arcsec, "
            "nor for any other long frame"
        )
    return list(zip(long, partners, strict=True))


def _by_exposure(run: Run) -> tuple[list[FrameFiles], list[list[FrameFiles]]]:
    """Give the long frames, and the shorter ones by their exposure, the shortest first."""
    frames, p = run.frames(), run.params
    if p.SHORT_IMAGE_STACK_FILE_NAME:
        return list(frames), [list(_short_frames(p))]
    found = kinds([files.image for files in frames])
    long, short, medium = (
        [files for files, own in zip(frames, found, strict=True) if own == kind]
        for kind in ("long", "short", "medium")
    )
    groups = {"all": [short, medium], "short": [short], "medium": [medium]}[p.Use_Frames]
    for what, some in (
        ("long", long),
        (p.Use_Frames.replace("all", "short"), [f for g in groups for f in g]),
    ):
        if not some:
            raise InputError(
                f"{p.IMAGE_STACK_FILE_NAME}: holds no {what} frames; "
                "give lists of both (IMAGE_STACK_FILE_NAME and SHORT_IMAGE_STACK_FILE_NAME)"
            )
    return long, groups


def _nearest(run: Run, long: list[FrameFiles], short: list[FrameFiles]) -> np.ndarray:
    """Give the number of the short frame of each long one, -1 for none."""
    import numpy as np
    from pymopex.hdr import nearest_reference

    p = run.params
    headers = [[read_header(files.image) for files in some] for some in (long, short)]
    when = [np.array(times(some, heads)) for some, heads in zip((long, short), headers, strict=True)]
    where = [directions(heads, p.USE_REFINED_POINTING) for heads in headers]
    which = nearest_reference(when[0], where[0], when[1], where[1], p.Max_Distance / 3600)
    _same_sizes(long, short, which, headers)
    return which


def _short_frames(p: Any) -> Iterator[FrameFiles]:
    name = p.SHORT_IMAGE_STACK_FILE_NAME
    images = [entry.path for entry in read_list(name)]
    if not images:
        raise InputError(f"{name}: the list of short frames is empty")
    others = []
    for key in _SHORT:
        given = getattr(p, key)
        wanted = given and (key != _SHORT[0] or p.have_uncertainties)
        paths = [entry.path for entry in read_list(given)] if wanted else [""] * len(images)
        if len(paths) != len(images):
            raise InputError(f"{given}: has {len(paths)} entries; {name} has {len(images)}")
        others.append(paths)
    for i, image in enumerate(images):
        yield FrameFiles(i, image, others[0][i], others[1][i], pmask=p.PMASK_FILE_NAME)


def _same_sizes(long: list, short: list, which: np.ndarray, headers: list) -> None:
    for i, k in enumerate(which):
        sizes = [(head["NAXIS1"], head["NAXIS2"]) for head in (headers[0][i], headers[1][k])]
        if k >= 0 and sizes[0] != sizes[1]:
            (nx, ny), (mx, my) = sizes
            raise InputError(f"{short[k].image}: is {mx} x {my} pixels; {long[i].image} is {nx} x {ny}")


def _mask_frame(job: Any) -> int:
    import numpy as np
    from pymopex.background import MedianWindow, background
    from pymopex.hdr import saturated
    from pymopex.masks import set_bit

    files, partners, bits, targets, how, (window, bit), stamp = job
    header = read_header(files.image)
    inputs = (files.image, *(partner.image for partner in partners))
    # bits that saturation may have set must not hide it
    long = _exposure(files, FatalBits(0, bits.pmask))
    shorter = [_exposure(partner, FatalBits(bits.dmask & ~(1 << bit), bits.pmask)) for partner in partners]
    wide = MedianWindow(window, window, 0)
    minus = long.data - background(long.data, long.bad | ~np.isfinite(long.data), wide)
    found = np.zeros(long.data.shape, bool)
    for short in shorter:
        found |= saturated(long, minus, short, how)
    done = np.zeros_like(found)
    if targets["image"]:
        data, sigma, done = _filled(long, partners, shorter, found, (how, wide, bits))
        write_image(targets["image"], data, header, stamp, inputs)
        if targets["sigma"]:
            write_image(targets["sigma"], sigma, read_header(files.sigma), stamp, inputs)
    header.remove("BUNIT", ignore_missing=True)
    write_image(targets["mask"], found.astype(np.uint8), header, stamp, inputs)
    if targets["dmask"]:
        mask, mask_header = read_image(files.dmask)
        out = set_bit(mask, found & ~done, bit)
        write_image(targets["dmask"], out, mask_header, stamp, (files.dmask, *inputs))
    return int(np.count_nonzero(found))


def _filled(
    long: Exposure, partners: list[FrameFiles], shorter: list[Exposure], found: np.ndarray, how: tuple
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Put values of the shorter frames into the saturated pixels, those of longer ones last."""
    import numpy as np
    from pymopex.background import background
    from pymopex.hdr import Exposure, replaced, saturated

    thresholds, wide, bits = how
    data, sigma, done = long.data, long.sigma, np.zeros_like(found)
    for number, (files, short) in enumerate(zip(partners, shorter, strict=True)):
        bad = _exposure(files, bits).bad
        if number:  # the medium frame, by the short one
            minus = short.data - background(short.data, bad, wide)
            bad = bad | saturated(short, minus, shorter[0], thresholds)
        put, errors, here = replaced(long, Exposure(short.data, short.sigma, bad), found)
        data, sigma = np.where(here, put, data), np.where(here, errors, sigma)
        done = done | here
    return data.astype(np.float32), sigma.astype(np.float32), done


def _exposure(files: FrameFiles, bits: FatalBits) -> Exposure:
    """Read a frame; its uncertainty is measured where none is given."""
    import numpy as np
    from pymopex.hdr import Exposure
    from pymopex.masks import bad_pixels
    from pymopex.noise import faint_side_noise

    data, _ = read_image(files.image, dtype="f4")
    dmask = read_image(files.dmask)[0] if files.dmask and bits.dmask else None
    pmask = read_image(files.pmask)[0] if files.pmask and bits.pmask else None
    bad = bad_pixels(data.shape, dmask=dmask, dmask_pattern=bits.dmask, pmask=pmask, pmask_pattern=bits.pmask)
    sigma = read_image(files.sigma, dtype="f4")[0] if files.sigma else None
    if sigma is None:
        sigma = faint_side_noise(data, bad | ~np.isfinite(data))
    return Exposure(data, sigma, bad)
