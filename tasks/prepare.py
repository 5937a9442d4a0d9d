"""Prepare: lists of frames from a download of the archive."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from typing import Any

from pymopex.kit import archive
from pymopex.kit.archive import ArchiveFrame
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.task import Run

_SAME_EXPOSURE = 0.05  # relative
_SHOWN = 10  # problems told one by one


def check(run: Run) -> list[str]:
    """Name settings that make no sense, and a folder that is missing."""
    p = run.params
    problems = []
    if not os.path.isdir(p.Input_Dir):
        told = p.Input_Dir or "(not given)"
        problems.append(
            f"{p.origin('Input_Dir')}: Input_Dir = {told}: no such folder; write mopex prepare FOLDER"
        )
    for camera in _words(p.Camera):
        if _camera(camera) not in archive.CAMERAS:
            known = ", ".join(archive.CAMERAS)
            problems.append(f"{p.origin('Camera')}: Camera = {camera}: no such camera; known are {known}")
    problems += [f"{p.origin('AOR')}: AOR = {w}: not a number" for w in _words(p.AOR) if not w.isdigit()]
    problems += [text for name in ("Date_From", "Date_To") for text in _date_problem(p, name)]
    cone = (p.Cone_RA, p.Cone_Dec, p.Cone_Radius)
    if any(value is not None for value in cone) and None in cone:
        problems.append("Cone_RA, Cone_Dec and Cone_Radius: all three or none must be given")
    return problems


def run(run: Run) -> None:
    """Write ``images.txt``, ``sigmas.txt`` and ``masks.txt``, and tell what the folder holds.

    Notes
    -----
    ``mopex prepare FOLDER`` is short for ``mopex prepare Input_Dir=FOLDER``.

    Any layout will do: ``r<aor>/ch<n>/bcd`` as the archive packs it, or all files in one folder. Only names and headers
    are read. Of frames that are there in several versions the last is taken. The log shows each group of frames of one
    request, camera and exposure time, those taken marked with ``*``, and the next command to type. If frames of several
    cameras are taken, the names of the lists bear the camera (``images_I1.txt``). Lists have absolute paths, in
    the same order. A kind of companion that no frame of a camera has gets no list.
    """
    p = run.params
    frames = _found(run)
    taken = _chosen(run, frames)
    chosen = {id(frame) for frame in taken}
    for line in _table(frames, chosen):
        run.note(line)
    if not taken:
        raise InputError(f"{p.Input_Dir}: none of its {len(frames)} frames is left by these settings")
    cameras = sorted({frame.camera for frame in taken})
    suffixes = {camera: f"_{camera}" if len(cameras) > 1 else "" for camera in cameras}
    lists = {
        (camera, role): (run.path(f"prepared_{role}", suffix=suffix), names)
        for camera, suffix in suffixes.items()
        for role, names in _lists(run, [f for f in taken if f.camera == camera], suffix).items()
    }
    _write(run, list(lists.values()))
    for camera in cameras:
        _tell_next(run, camera, {role: path for (of, role), (path, _) in lists.items() if of == camera})


def _words(text: str) -> list[str]:
    return text.replace(",", " ").split()


def _camera(word: str) -> str:
    return f"I{word}" if word in ("1", "2", "3", "4") else word.upper()


def _date_problem(p: Any, name: str) -> list[str]:
    from datetime import datetime

    try:
        datetime.fromisoformat(getattr(p, name) or "2000-01-01")
    except ValueError:
        return [f"{p.origin(name)}: {name} = {getattr(p, name)}: not a date such as 2004-01-25T12:00:00"]
    return []


def _found(run: Run) -> list[ArchiveFrame]:
    """Read the headers of all frames of the kind, camera and request asked for."""
    p = run.params
    cameras, aors = {_camera(word) for word in _words(p.Camera)}, {int(word) for word in _words(p.AOR)}
    jobs, others = [], set()
    for (camera, aor, _, _), kinds in archive.find_files(p.Input_Dir).items():
        if (cameras and camera not in cameras) or (aors and aor not in aors):
            continue
        product = archive.product_of(kinds, p.Product)
        if not product:
            others.update(kinds)
            continue
        jobs.append((kinds[product][1], *archive.companions(kinds, product, p.Uncertainty, p.Mask)))
    if not jobs:
        kinds_there = f"; of the kinds {', '.join(sorted(others))} name one as Product" if others else ""
        raise InputError(f"{p.Input_Dir}: holds no images of this camera, request and product{kinds_there}")
    results = run.map(archive.describe, jobs, "headers")
    problems = [found for found in results if isinstance(found, str)]
    if problems:
        raise InputErrors(_few(problems))
    return [found for found in results if isinstance(found, ArchiveFrame)]


def _few(problems: list[str]) -> list[str]:
    more = len(problems) - _SHOWN
    return problems[:_SHOWN] + ([f"and {more} more of this kind"] if more > 0 else [])


def _chosen(run: Run, frames: list[ArchiveFrame]) -> list[ArchiveFrame]:
    p = run.params
    first: dict[tuple[int, str], list[tuple[int, int]]] = {}
    for frame in frames:
        first.setdefault((frame.aor, frame.camera), []).append(frame.order)
    begin = {key: sorted(orders)[: p.Skip_First] for key, orders in first.items()}
    kept = [f for f in frames if f.order not in begin[f.aor, f.camera] and _wanted(p, f)]
    longest: dict[str, float] = {}
    for frame in kept:
        longest[frame.camera] = max(longest.get(frame.camera, 0.0), frame.exposure)
    times = {camera: p.Exposure if p.Exposure is not None else time for camera, time in longest.items()}
    return [f for f in kept if math.isnan(f.exposure) or _same(f.exposure, times[f.camera])]


def _same(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_EXPOSURE * other


def _wanted(p: Any, frame: ArchiveFrame) -> bool:
    if p.HDR != "any" and frame.hdr != p.HDR:
        return False
    if p.Campaign and not frame.campaign.startswith(p.Campaign):
        return False
    if p.Date_From and frame.date < p.Date_From:
        return False
    if p.Date_To and frame.date[: len(p.Date_To)] > p.Date_To:
        return False
    if p.Cone_Radius is None:
        return True
    return archive.separation(frame, p.Cone_RA, p.Cone_Dec) <= p.Cone_Radius


def _table(frames: list[ArchiveFrame], chosen: set[int]) -> Iterable[str]:
    """Give a line for each group of frames, those that are taken marked."""
    yield (
        f"{'':2s}{'AOR':>9s} cam {'EXPTIME':>8s} {'HDR':6s} {'frames':>6s} {'taken':>6s}  "
        "dates, centre, product, target"
    )
    for (aor, camera, exposure, hdr), members in sorted(
        archive.groups(frames).items(), key=lambda g: g[0][:2]
    ):
        taken = sum(id(frame) in chosen for frame in members)
        dates = sorted(frame.date[:10] for frame in members if frame.date)
        span = "-" if not dates else dates[0] if dates[0] == dates[-1] else f"{dates[0]} to {dates[-1]}"
        ra, dec = archive.centre(members)
        versions = archive.most_common(f"{f.kind} {f.pipeline}".strip() for f in members)
        target = archive.most_common(frame.target for frame in members)
        mark = "*" if taken else ""
        yield (
            f"{mark:2s}{aor:9d} {camera:3s} {exposure:8.2f} {hdr or '-':6s} {len(members):6d} {taken:6d}  "
            f"{span}, {ra:.4f} {dec:+.4f}, {versions}, {target or '-'}"
        )


def _lists(run: Run, frames: list[ArchiveFrame], suffix: str) -> dict[str, list[str]]:
    """Give the lists of one camera: images, sigmas, masks."""
    p = run.params
    roles = {"images": "path", "sigmas": "sigma", "masks": "mask"}
    has = {name: [bool(getattr(frame, role)) for frame in frames] for name, role in roles.items()}
    lacking = {name: flags for name, flags in has.items() if any(flags) and not all(flags)}
    if lacking and not p.Skip_Incomplete:
        lines = [
            f"{frame.path}: has no {'uncertainty image' if name == 'sigmas' else 'status mask'}, others have"
            for name, flags in lacking.items()
            for frame, there in zip(frames, flags, strict=True)
            if not there
        ]
        raise InputErrors([*_few(lines), "Skip_Incomplete=1 leaves such frames out"])
    kept = [f for k, f in enumerate(frames) if all(flags[k] for flags in lacking.values())]
    if len(kept) < len(frames):
        run.note(f"left out: {len(frames) - len(kept)} frames without all companions")
    for name in [name for name in roles if not any(has[name])]:
        run.note(f"no {name}{suffix}.txt: no frame has such a companion")
    return {
        name: [os.path.abspath(getattr(f, role)) for f in kept]
        for name, role in roles.items()
        if any(has[name])
    }


def _write(run: Run, lists: list[tuple[str, list[str]]]) -> None:
    """Write the lists; never over others without being told to."""
    from pymopex.kit.lists import write_list

    there = [path for path, names in lists if os.path.exists(path) and not _holds(path, names)]
    if there and not run.params.Overwrite:
        raise InputError(f"{', '.join(there)}: already here, with other frames; Overwrite=1 writes over")
    for path, names in lists:
        write_list(path, names)
        run.keep(path)
        run.note(f"{path}: {len(names)} files")


def _holds(path: str, names: list[str]) -> bool:
    with open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read() == "".join(f"{name}\n" for name in names)


def _tell_next(run: Run, camera: str, paths: dict[str, str]) -> None:
    """Tell what to type next."""
    flags = {"images": "-I", "sigmas": "-S", "masks": "-d"}
    told = " ".join(f"{flags[role]} {path}" for role, path in paths.items())
    four = " ".join(f"{name}_{camera}.nl" for name in ("overlap", "mosaic", "apex", "apex_qa"))
    if "sigmas" not in paths:  # computed from gain and read noise
        told += " have_uncertainties=0 compute_uncertainties_internally=1"
    run.note("next:")
    run.note(f"  mopex cal find {paths['images']}")
    run.note(f"  mopex new flow {camera}")
    run.note(f"  flow.sh {told} -M PMASK -m PRFMAP -P PRF_OF_MOSAIC -O out {four}")
