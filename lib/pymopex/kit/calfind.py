"""The calibration files that belong to frames: which, where, and why; computed stand-ins for absent ones."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import date
from typing import TYPE_CHECKING, Any

from pymopex.kit import archive, calibration
from pymopex.kit.calibration import NONE, Entry
from pymopex.kit.errors import InputError
from pymopex.kit.files import calibration_folder
from pymopex.kit.namelist import Entry as Setting

if TYPE_CHECKING:
    from pymopex.kit.parameters import Settings

END_OF_CRYOGEN = "2009-05-15"
"""When the telescope ran out of helium: masks and corrections of IRAC from before do not hold for the time behind."""

KEYS = {
    "PMASK_FILE_NAME": "pmask",
    "PRFMAP_FILE_NAME": "prfmap",
    "MOSAIC_PRF_file_name": "mosaic_prf",
    "ARRAY_CORR_IMAGE": "photcorr",
    "ARRAY_PIXAREA_IMAGE": "pixarea",
}
"""Keys of a namelist that may be ``auto``, and the kind of file each names."""

_FACTOR = {"I": 100, "M": 4}  # samples of the PRF per pixel in the templates
_KEPT = ("INSTRUME", "CHNLNUM", "DATE_OBS")


@dataclass(frozen=True)
class Frame:
    """What decides on the calibration files of a frame: camera, and day of the observation (- if not told)."""

    camera: str
    day: str

    @property
    def mission(self) -> str:
        """Cryogenic or warm; - if not known."""
        if self.day == NONE:
            return NONE
        return "cryogenic" if self.day < END_OF_CRYOGEN else "warm"


@dataclass(frozen=True)
class Choice:
    """The file of a kind, or none, and why."""

    kind: str
    path: str
    why: str


def read_frame(path: str) -> Frame:
    """Tell camera and day of an image by its header, or else the camera by its name.

    Raises
    ------
    InputError
        It cannot be read, or tells no camera.
    """
    try:
        cards = archive.read_cards(path, _KEPT)
    except (OSError, EOFError, ValueError) as problem:
        raise InputError(f"{path}: cannot be read: {problem}") from None
    camera = f"{str(cards.get('INSTRUME', '')).strip()[:1]}{cards.get('CHNLNUM', '')}"
    if camera not in archive.CAMERAS:
        named = archive.NAME.fullmatch(os.path.basename(path))
        if not named or named["camera"] not in archive.CAMERAS:
            raise InputError(f"{path}: neither INSTRUME and CHNLNUM nor its name tell the camera")
        camera = named["camera"]
    return Frame(camera, str(cards.get("DATE_OBS", "")).strip()[:10] or NONE)


def frames_of(path: str) -> list[tuple[str, Frame]]:
    """Give the images of a list, or the one image, with what decides on their calibration files."""
    from pymopex.kit.lists import read_list

    try:
        with open(path, "rb") as file:
            single = file.read(9) == b"SIMPLE  =" or path.endswith(".gz")
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None
    names = [path] if single else [entry.path for entry in read_list(path)]
    if not names:
        raise InputError(f"{path}: names no frame")
    return [(name, read_frame(name)) for name in names]


def choose(kind: str, frame: Frame, entries: Iterable[Entry], *, computed: bool = False) -> Choice:
    """Choose the file of a kind for a frame.

    Parameters
    ----------
    kind : str
        Of `calibration.KINDS`.
    frame : Frame
        The frame.
    entries : iterable of Entry
        The index.
    computed : bool
        Whether a stand-in will do where there is nothing else.

    Returns
    -------
    Choice
        Without a path if there is none.

    Notes
    -----
    A permanent mask whose dates hold the day of the observation is taken, the one with the shortest span if there are
    several; else the nearest of the same part of the mission. A mask without dates holds for all days. Corrections and
    maps of the part of the mission go before those of both; those of the other part are not taken.
    """
    own = [
        e
        for e in entries
        if e.kind == kind and e.camera == frame.camera and (computed or e.origin != "computed")
    ]
    if kind == "pmask":
        return _mask(frame, own)
    if frame.mission == NONE and len({e.mission for e in own} - {NONE}) > 1:
        return Choice(kind, "", "the frame has no DATE_OBS to choose between the parts of the mission")
    own = [e for e in own if e.mission in (NONE, frame.mission) or frame.mission == NONE]
    own = [e for e in own if _whole_array(e.file)]
    own.sort(key=lambda e: (e.origin == "computed", e.mission == NONE, -e.sampling, e.file))
    if not own:
        return Choice(kind, "", f"no {calibration.KINDS[kind]} of {frame.camera}{_of(frame)} is in the index")
    best = own[0]
    what = "computed stand-in" if best.origin == "computed" else f"of {best.camera}"
    span = "any time" if best.mission == NONE else f"the {best.mission} mission"
    return Choice(
        kind,
        _path(best),
        f"{what}, for {span}" + (f", {best.sampling} samples a pixel" * bool(best.sampling)),
    )


def _of(frame: Frame) -> str:
    return "" if frame.mission == NONE else f" for the {frame.mission} mission"


def _path(entry: Entry) -> str:
    return os.path.join(calibration_folder(), entry.file)


def _mask(frame: Frame, own: list[Entry]) -> Choice:
    dated = [e for e in own if NONE not in (e.start, e.end)]
    open_ended = [e for e in own if e not in dated]
    if frame.day == NONE:
        if open_ended:
            return Choice("pmask", _path(open_ended[0]), "has no dates: for any day")
        return Choice("pmask", "", "the frame has no DATE_OBS to choose a mask by")
    holds = sorted(
        (e for e in dated if e.start <= frame.day <= e.end), key=lambda e: (_days(e.start, e.end), e.file)
    )
    if holds:
        return Choice("pmask", _path(holds[0]), f"{frame.day} is in {holds[0].start} to {holds[0].end}")
    if open_ended:
        return Choice("pmask", _path(open_ended[0]), "has no dates: for any day")
    same = [e for e in dated if replace(frame, day=e.start).mission == frame.mission]
    if not same:
        return Choice("pmask", "", f"no permanent mask of {frame.camera}{_of(frame)} is in the index")
    gap, best = min(((_gap(frame.day, e), e) for e in same), key=lambda pair: (pair[0], pair[1].file))
    why = f"none holds {frame.day}; the nearest, {gap} days off ({best.start} to {best.end})"
    return Choice("pmask", _path(best), why)


def _days(start: str, end: str) -> int:
    return (date.fromisoformat(end) - date.fromisoformat(start)).days


def _gap(day: str, entry: Entry) -> int:
    return max(_days(day, entry.start), _days(entry.end, day))


def stand_in(kind: str, frame: Frame, say: Callable[[str], None]) -> Entry | None:
    """Compute a stand-in for an absent calibration file, write it into the folder, and index it.

    Parameters
    ----------
    kind : str
        prf or photcorr; others cannot be computed.
    frame : Frame
        What is known of a frame of the camera.
    say : callable
        Gets a line about what was computed.

    Returns
    -------
    Entry or None
        None if there is nothing to compute it from.
    """
    from astropy.io import fits

    from pymopex.kit.images import Stamp, write_image

    made = {"prf": _optics, "photcorr": _polynomial}.get(kind, _nothing)(frame)
    if made is None:
        return None
    name, data, cards, how = made
    header = fits.Header([("STANDIN", True, "computed, no file of the archive"), *cards])
    header.add_comment(how)
    target = os.path.join(calibration_folder(), name)
    write_image(target, data.astype("f4"), header, Stamp("cal find --stand-in"))
    entry = calibration.recognise(target)
    assert entry is not None
    entry = replace(entry, mission="cryogenic" if kind == "photcorr" else NONE)
    calibration.write_index([*(e for e in calibration.read_index() if e.file != name), entry])
    say(f"computed {target}: {how}")
    return entry


_Made = tuple[str, Any, list[tuple[str, Any, str]], str]


def _nothing(frame: Frame) -> _Made | None:
    return None


def _optics(frame: Frame) -> _Made | None:
    from pymopex.instruments import INSTRUMENTS
    from pymopex.optics import prf

    if frame.camera not in INSTRUMENTS:
        return None
    factor = _FACTOR[frame.camera[0]]
    samples = prf(INSTRUMENTS[frame.camera], sampling=factor).samples
    cards = [(f"PRF{a}RSMP", factor, f"samples per pixel along {a.lower()}") for a in "XY"]
    how = "PRF of the optics: pupil, band, jitter and pixel; the same on the whole array"
    return f"standin_{frame.camera}_prf_x{factor}.fits", samples, cards, how


def _polynomial(frame: Frame) -> _Made | None:
    from pymopex.array_location import rayleigh_jeans_correction

    if frame.camera[0] != "I" or frame.mission == "warm":
        return None
    channel = int(frame.camera[1])
    how = "array-location correction of the cryogenic mission from the polynomial of the archive's file"
    return f"standin_ch{channel}_photcorr_rj.fits", rayleigh_jeans_correction(channel), [], how


def find(path: str, say: Callable[[str], None], *, computed: bool = False) -> dict[str, str]:
    """Tell the calibration files of a frame, or of the frames of a list, as lines of a namelist with reasons.

    Parameters
    ----------
    path : str
        An image, or a list of images.
    say : callable
        Gets the lines.
    computed : bool
        Whether stand-ins are computed for what is absent.

    Returns
    -------
    dict of str to str
        Key of the namelist to path, where all frames agree on it.
    """
    frames = frames_of(path)
    kinds: dict[Frame, list[str]] = {}
    for name, frame in frames:
        kinds.setdefault(frame, []).append(name)
    found: dict[str, str] = {}
    for key, kind in {**KEYS, "PRF_file_name": "prf"}.items():
        choices = {frame: _choice(kind, frame, say, computed) for frame in kinds}
        paths = {choice.path for choice in choices.values()}
        if len(paths) == 1:
            choice = next(iter(choices.values()))
            if kind == "prf" and found.get("PRFMAP_FILE_NAME"):
                continue
            if kind == "prf" and _has_set(next(iter(kinds)).camera):
                say(_hint(next(iter(kinds)).camera))
                continue
            say(f"{key} = {choice.path}".ljust(60) + f"  # {choice.why}")
            if choice.path:
                found[key] = choice.path
            continue
        say(f"{key}: the frames need different files; make a list for each:")
        for frame, choice in choices.items():
            say(
                f"  {frame.camera} {frame.day}, {len(kinds[frame])} frames: {choice.path or '-'} ({choice.why})"
            )
    return found


def _choice(kind: str, frame: Frame, say: Callable[[str], None], computed: bool) -> Choice:
    choice = choose(kind, frame, calibration.read_index(), computed=computed)
    if kind == "pixarea" and not choice.path:
        return replace(
            choice, why=f"{choice.why}; not needed: the areas follow from the distortion of the frames"
        )
    if choice.path or not computed:
        return choice
    made = stand_in(kind, frame, say)
    if made is None:
        return replace(choice, why=f"{choice.why}, and there is nothing to compute it from")
    return choose(kind, frame, calibration.read_index(), computed=True)


def _whole_array(path: str) -> bool:
    """Tell whether a PRF is not one of a set over the array."""
    return "_col" not in os.path.basename(path).casefold()


def _has_set(camera: str) -> bool:
    return any(
        e.kind == "prf" and e.camera == camera and not _whole_array(e.file) for e in calibration.read_index()
    )


def _hint(camera: str) -> str:
    folder = calibration_folder()
    return (
        f"PRFMAP_FILE_NAME: PRFs of {camera} over the array are there, without a map; "
        f"make it: mopex make_prf Input_Dir={folder} Channel={camera[1]} OUTPUT_DIR=prf"
    )


def resolve(settings: Settings) -> None:
    """Put paths in the place of ``auto`` for the keys of `KEYS`, by the first frame; what fails becomes a problem."""
    wanted = [(key, setting) for key in KEYS if (setting := settings._entry(key, "")) and _is_auto(setting)]
    if not wanted:
        return
    try:
        frame = _first_frame(settings)
        entries = calibration.read_index()
    except InputError as problem:
        settings.problems += [f"{setting.origin}: {key} = auto: {problem}" for key, setting in wanted]
        return
    for key, setting in wanted:
        choice = choose(KEYS[key], frame, entries)
        if choice.path:
            settings.overrides[key.casefold(), ""] = Setting(key, choice.path, "", setting.origin)
        else:
            settings.problems.append(f"{setting.origin}: {key} = auto: {choice.why}; see mopex cal add")


def _is_auto(setting: Setting) -> bool:
    return setting.value.strip("'\" ").casefold() == "auto"


def _first_frame(settings: Settings) -> Frame:
    from pymopex.kit.lists import read_list

    one, many = (settings._entry(key, "") for key in ("INPUT_FILE_NAME", "IMAGE_STACK_FILE_NAME"))
    if many and many.value:
        names = [entry.path for entry in read_list(many.value)]
        if not names:
            raise InputError(f"{many.value}: names no frame")
        return read_frame(names[0])
    if one and one.value:
        return read_frame(one.value)
    raise InputError("no frame is given to choose by")
