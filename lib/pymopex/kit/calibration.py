"""The user's calibration files: recognised, checked, kept in one folder with an index.

The folder is the one that the environment variable ``MOPEX_CAL`` names, else ``cal/`` of the working directory.
"""

from __future__ import annotations

import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import astuple, dataclass, fields, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from pymopex.kit.archive import CAMERAS
from pymopex.kit.errors import InputError
from pymopex.kit.files import calibration_folder, whole

if TYPE_CHECKING:
    import numpy as np

INDEX = "index.tbl"
"""File name of the index."""

KINDS = {
    "pmask": "permanent mask",
    "prfmap": "PRF map",
    "prf": "PRF of the frames",
    "mosaic_prf": "PRF of mosaics, for detection",
    "photcorr": "array-location dependent correction",
    "pixarea": "relative pixel areas",
    "pixelphase": "pixel-phase correction",
}
"""Kinds of calibration files."""

NONE = "-"
SHAPES = {
    **dict.fromkeys(CAMERAS[:4], (256, 256)),
    "M1": (128, 128),
    "M2": (32, 32),
    "M3": (2, 20),
}
"""Rows and columns of the arrays."""

_NAMES = (
    ("pmask", r".*ch(?:an)?_?(?P<n>[1-4])_?.*(?:pmask|ormask).*\.fits"),
    ("pmask", r".*mips_?(?P<band>24|70|160).*pmask.*\.fits"),
    ("photcorr", r".*ch(?P<n>[1-4])_photcorr_.*\.fits"),
    ("pixarea", r".*ch(?P<n>[1-4])_?relpixarea.*\.fits"),
    ("pixelphase", r".*ch(?P<n>[1-4])_ppcorr_.*\.fits"),
    ("mosaic_prf", r".*irac(?P<n>[1-4])_.*mosaic.*kernel.*\.fits"),
    ("mosaic_prf", r".*mips_?(?P<band>24|70|160)_prf_mosaic_.*_(?P<x>\d+)x\.fits"),
    ("prf", r".*irac(?P<n>[1-4])_col(?P<col>\d+)_row(?P<row>\d+)(?:_x(?P<x>\d+))?\.fits"),
    ("prf", r".*irac\.(?P<n>[1-4])\.(?:ext)?prf\.(?P<x>\d+)x.*\.fits"),
    ("prf", r"standin_(?P<camera>[im]\d)_prf_x(?P<x>\d+)\.fits"),
)
_BANDS = {"24": "M1", "70": "M2", "160": "M3"}
_DATES = ("%Y-%m-%d", "%Y/%m/%d", "%b %d %Y", "%B %d %Y", "%d %b %Y", "%d %B %Y", "%m/%d/%Y", "%Y%m%d")
_CORRECTION = (0.5, 2.0)  # what the values of a correction may be
_TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


@dataclass(frozen=True)
class Entry:
    """A line of the index; ``-`` for what does not apply.

    Parameters
    ----------
    kind : str
        Of `KINDS`.
    camera : str
        I1 to I4, M1 to M3.
    mission : str
        cryogenic, warm, or ``-`` for both.
    start, end : str
        First and last day, for permanent masks that tell them.
    sampling : int
        Samples of a PRF per pixel; 0 for what is none, or does not tell.
    origin : str
        archive, or computed for a stand-in.
    file : str
        File name in the folder.
    """

    kind: str
    camera: str
    mission: str = NONE
    start: str = NONE
    end: str = NONE
    sampling: int = 0
    origin: str = "archive"
    file: str = ""


def read_index(folder: str = "") -> list[Entry]:
    """Read the index of the calibration folder; empty if there is none.

    Raises
    ------
    InputError
        The index cannot be read.
    """
    from pymopex.kit.ipac import read_table

    path = os.path.join(folder or calibration_folder(), INDEX)
    if not os.path.exists(path):
        return []
    table = read_table(path)
    columns = [table.column(one.name) for one in fields(Entry)]
    return [Entry(*(_plain(value) for value in row)) for row in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    return int(value) if hasattr(value, "dtype") and value.dtype.kind in "if" else str(value).strip()


def write_index(entries: Iterable[Entry], folder: str = "") -> str:
    """Write the index, sorted; gives its path."""
    from pymopex.columns import Column
    from pymopex.kit.ipac import write_table

    rows = sorted(set(entries), key=astuple)
    spec = [
        Column(
            f.name, "int" if f.name == "sampling" else "char", "", "d" if f.name == "sampling" else "s", ""
        )
        for f in fields(Entry)
    ]
    data = {one.name: [getattr(row, one.name) for row in rows] for one in fields(Entry)}
    path = os.path.join(folder or calibration_folder(), INDEX)
    with whole(path) as temporary:
        write_table(temporary, spec, data, comments=["calibration files; made by mopex cal add"])
    return path


def add(paths: Iterable[str], say: Any) -> list[Entry]:
    """Copy the calibration files among some files, folders and tarballs into the calibration folder, and index them.

    Parameters
    ----------
    paths : iterable of str
        What to look through.
    say : callable
        Gets a line about each file that is taken or refused, and one for the others.

    Returns
    -------
    list of Entry
        What was added.

    Raises
    ------
    InputError
        A path is missing, or no tarball though named like one, or a file of this name with other content is there.
    """
    folder = calibration_folder()
    added: list[Entry] = []
    with _unpacked(paths) as found:
        sound, others = [], 0
        for path in found:
            try:
                entry = recognise(path)
            except InputError as problem:
                say(f"refused: {problem}")
                continue
            if entry is None:
                others += 1
            else:
                sound.append((path, entry))
        _check_names(sound, folder)
        os.makedirs(folder, exist_ok=True)
        for path, entry in sound:
            _copy(path, os.path.join(folder, entry.file))
            added.append(entry)
        if others:
            say(f"{others} other files are of no kind that is known, and were left")
    if added:
        names = {entry.file for entry in added}
        write_index([*(old for old in read_index(folder) if old.file not in names), *added], folder)
    return added


def _check_names(sound: list[tuple[str, Entry]], folder: str) -> None:
    """Complain of files that would be written over, and of two of one name."""
    seen: dict[str, str] = {}
    for path, entry in sound:
        target = os.path.join(folder, entry.file)
        for other in (target, seen.get(entry.file, "")):
            if other and os.path.exists(other) and not _equal(path, other):
                raise InputError(f"{path}: {other} has the same name and other content; remove or rename one")
        seen[entry.file] = path


def _equal(one: str, other: str) -> bool:
    import filecmp

    return os.path.samefile(one, other) or filecmp.cmp(one, other, shallow=False)


def _copy(path: str, target: str) -> None:
    if not os.path.exists(target):
        with whole(target) as temporary:
            shutil.copyfile(path, temporary)


@contextmanager
def _unpacked(paths: Iterable[str]) -> Iterator[list[str]]:
    """Give all files of the paths; those of tarballs from a folder that is removed behind."""
    with tempfile.TemporaryDirectory() as scratch:
        found: list[str] = []
        for number, path in enumerate(paths):
            if not os.path.exists(path):
                raise InputError(f"{path}: no such file or folder")
            if path.endswith(_TAR):
                home = os.path.join(scratch, str(number))
                try:
                    with tarfile.open(path) as tar:
                        tar.extractall(home, filter="data")
                except (tarfile.TarError, OSError, EOFError) as problem:
                    raise InputError(f"{path}: cannot be unpacked: {problem}") from None
                path = home
            found += _files(path) if os.path.isdir(path) else [path]
        yield found


def _files(folder: str) -> Iterator[str]:
    for home, folders, names in os.walk(folder):
        folders.sort()
        for name in sorted(names):
            if not name.startswith(".") and name != INDEX:
                yield os.path.join(home, name)


def recognise(path: str) -> Entry | None:
    """Tell what a file is, and check it; None if it is no calibration file.

    Raises
    ------
    InputError
        It is named like one, but cannot be one: wrong shape, not finite, dates that cannot be read.
    """
    name = os.path.basename(path)
    if name.endswith(".tbl"):
        return _prf_map(path)
    for kind, pattern in _NAMES:
        match = re.fullmatch(pattern, name, re.IGNORECASE)
        if match:
            return _image(path, kind, match.groupdict())
    return None


def _prf_map(path: str) -> Entry | None:
    from pymopex.kit.prfmap import read_prf_map

    try:
        table = read_prf_map(path)
    except InputError:
        return None
    named = [re.search(r"IRAC(\d).*?(?:_x(\d+))?\.fits", file, re.IGNORECASE) for file in table.files]
    cameras = {f"I{match[1]}" for match in named if match}
    if len(cameras) != 1:
        raise InputError(f"{path}: the names of its PRFs do not tell one channel of IRAC")
    camera, sampling = cameras.pop(), next((int(match[2]) for match in named if match and match[2]), 0)
    name = os.path.basename(path)
    if not re.search(r"\d", name):  # the archive names the maps of all channels alike
        name = f"{name.removesuffix('.tbl')}_{camera}.tbl"
    return Entry("prfmap", camera, _mission(name, ""), sampling=sampling, file=name)


def _image(path: str, kind: str, named: dict[str, str | None]) -> Entry:
    from pymopex.kit.images import read_image

    data, header = read_image(path)
    camera = (named.get("camera") or _BANDS.get(named.get("band") or "", f"I{named.get('n')}")).upper()
    text = "\n".join(str(line) for line in header.get("COMMENT", []))
    sampling = int(named.get("x") or header.get("PRFXRSMP", header.get("PRFSAMPX", 0)) or 0)
    entry = Entry(
        kind,
        camera,
        _mission(os.path.basename(path), text),
        sampling=sampling if "prf" in kind else 0,
        origin="computed" if header.get("STANDIN", False) else "archive",
        file=os.path.basename(path),
    )
    _check_pixels(path, kind, camera, data)
    if kind == "pmask":
        days = [_day(path, header, key) for key in ("STRTDATE", "ENDDATE")]
        if NONE not in days and days[0] > days[1]:
            raise InputError(f"{path}: STRTDATE {days[0]} is behind ENDDATE {days[1]}")
        return replace(entry, start=days[0], end=days[1], mission=NONE)
    return entry


def _mission(name: str, text: str) -> str:
    low = name.casefold()
    if "warm" in low or "_ap_5" in low:
        return "warm"
    return "cryogenic" if "cryo" in low or "CRYOGENIC" in text.upper() else NONE


def _check_pixels(path: str, kind: str, camera: str, data: np.ndarray) -> None:
    import numpy as np

    if kind in ("pmask", "photcorr", "pixarea") and data.shape != SHAPES[camera]:
        ny, nx = SHAPES[camera]
        raise InputError(f"{path}: has {data.shape[1]} x {data.shape[0]} pixels; {camera} has {nx} x {ny}")
    if kind == "pmask":
        if data.dtype.kind not in "iu" and not (np.isfinite(data).all() and (data == np.rint(data)).all()):
            raise InputError(f"{path}: holds other values than whole numbers; a mask has bits")
        return
    if not np.isfinite(data).all():
        raise InputError(f"{path}: {np.count_nonzero(~np.isfinite(data))} pixels are not finite")
    low, high = _CORRECTION
    if kind in ("photcorr", "pixarea", "pixelphase") and not ((data > low) & (data < high)).all():
        raise InputError(f"{path}: values from {data.min():g} to {data.max():g}; a correction is near 1")
    if "prf" in kind and not data.sum() > 0:
        raise InputError(f"{path}: a PRF has a positive sum, not {data.sum():g}")


def _day(path: str, header: Any, key: str) -> str:
    """Give a date of a header as YYYY-MM-DD; - if there is none."""
    text = str(header.get(key, "")).strip()
    if not text:
        return NONE
    try:
        return datetime.fromisoformat(text).strftime("%Y-%m-%d")
    except ValueError:
        pass
    bare = re.sub(r"[,.]", " ", text.split("T")[0])
    for form in _DATES:
        try:
            return datetime.strptime(" ".join(bare.split()), form).strftime("%Y-%m-%d")
        except ValueError:
            continue
    raise InputError(f"{path}: {key} = {text}: not a date that can be read, such as 2003-08-01")
