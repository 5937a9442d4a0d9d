"""HDR Split: a list of frames split into lists of short, medium and long ones."""

from __future__ import annotations

from pymopex.kit.checking import problems_of
from pymopex.kit.errors import InputError
from pymopex.kit.hdr_frames import kinds
from pymopex.kit.lists import Entry, read_list, write_list
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name a list that is missing or empty, and frames that cannot be told."""
    return problems_of(lambda: kinds([entry.path for entry in _entries(run)]) and None)


def run(run: Run) -> None:
    """Write ``Short_<list>``, ``Medium_<list>`` and ``Long_<list>``, those of them that have frames.

    Notes
    -----
    The header keyword HDRFRAME tells. A frame without it is of the kind of those of the same exposure time (EXPTIME,
    within 1 %) that have it. If none has it, the exposure times decide: two are short and long, three are short, medium
    and long. The frames keep their order, so that the lists of the exposures of a set match line by line.
    """
    paths = [entry.path for entry in _entries(run)]
    found = kinds(paths)
    for kind in ("short", "medium", "long"):
        chosen = [path for path, own in zip(paths, found, strict=True) if own == kind]
        if chosen:
            target = run.path(f"hdr_{kind}_list")
            write_list(target, chosen)
            run.keep(target)
            run.note(f"{target}: {len(chosen)} frames")


def _entries(run: Run) -> list[Entry]:
    name = run.params.IMAGE_STACK_FILE_NAME
    if not name:
        raise InputError("IMAGE_STACK_FILE_NAME: no list of frames is given: HDR_Split.pl LIST")
    found = read_list(name)
    if not found:
        raise InputError(f"{name}: the list of frames is empty")
    return found
