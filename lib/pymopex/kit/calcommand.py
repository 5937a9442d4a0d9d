"""The command ``mopex cal``: calibration files into the index, and out of it."""

from __future__ import annotations

from pymopex.kit import calfind, calibration, log
from pymopex.kit.errors import InputError
from pymopex.kit.files import calibration_folder

USAGE = """usage: mopex cal add PATH...                  index copies of the calibration files in folders, tarballs
       mopex cal find FRAME|LIST [--stand-in] those of a frame, or of the frames of a list, and why
       mopex cal list                         what is in the index

The folder is the one of the environment variable MOPEX_CAL, or cal/ of the working directory. Keys of a namelist that
may be auto: {keys}.
With --stand-in, what is absent is computed, if it can be, and marked so.
"""


def run(words: list[str]) -> None:
    """Run ``mopex cal`` with the words behind it.

    Raises
    ------
    InputError
        The words make no command, or a file cannot be used.
    """
    if not words or words[0] in ("-h", "--help", "help"):
        print(USAGE.format(keys=", ".join(calfind.KEYS)), end="")
        return
    name, rest = words[0], words[1:]
    if name == "add" and rest:
        _add(rest)
    elif name == "find" and len(paths := [word for word in rest if word != "--stand-in"]) == 1:
        calfind.find(paths[0], log.say, computed="--stand-in" in rest)
    elif name == "list" and not rest:
        _list()
    else:
        raise InputError(f"cal {' '.join(words)}: not understood; 'mopex cal --help' tells what there is")


def _add(paths: list[str]) -> None:
    added = calibration.add(paths, log.say)
    if not added:
        raise InputError(f"{', '.join(paths)}: no calibration file of a known kind")
    for kind, title in calibration.KINDS.items():
        own = [entry for entry in added if entry.kind == kind]
        if own:
            log.say(f"{len(own):4d} {title}: {', '.join(sorted({entry.camera for entry in own}))}")
    log.say(f"{len(added)} files are in {calibration_folder()}, its index is {calibration.INDEX}")


def _list() -> None:
    entries = calibration.read_index()
    if not entries:
        log.say(f"{calibration_folder()}: no index; mopex cal add PATH... makes it")
        return
    for entry in entries:
        span = "" if entry.start == calibration.NONE else f" {entry.start} to {entry.end}"
        samples = f" x{entry.sampling}" if entry.sampling else ""
        mission = "" if entry.mission == calibration.NONE else f" {entry.mission}"
        computed = " computed" if entry.origin == "computed" else ""
        log.say(f"{entry.kind:11s}{entry.camera:3s}{samples}{mission}{span}{computed}  {entry.file}")
