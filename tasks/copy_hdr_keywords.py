"""Copy HDR Keywords: keywords of the exposure copied from frames to their masks.

Masks of the archive lack the keywords by which frames of different exposure times are told apart.
"""

from __future__ import annotations

import os
from typing import Any

from pymopex.kit.checking import problems_of
from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, update_header
from pymopex.kit.lists import read_list
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name lists that are missing or of different lengths, and masks that cannot be written."""
    return problems_of(lambda: _problems(run))


def run(run: Run) -> None:
    """Write the keywords into the headers of the masks; pixels stay as they are.

    Notes
    -----
    What a frame does not have is left out, and what a mask has already gets the value of the frame.
    """
    images, masks = _lists(run)
    keys = run.params.Keywords.replace(",", " ").upper().split()
    jobs = [(image, mask, keys, run.stamp()) for image, mask in zip(images, masks, strict=True)]
    counts = run.map(_copy, jobs)
    run.keep(*masks)
    run.note(f"{len(masks)} masks, {sum(counts)} keywords")


def _lists(run: Run) -> tuple[list[str], list[str]]:
    found = []
    for key in ("IMAGE_STACK_FILE_NAME", "DCE_STATUS_MASK_LIST"):
        name = getattr(run.params, key)
        if not name:
            raise InputError(f"{key}: no list is given: copy_HDR_keywords.pl IMAGES MASKS")
        found.append([entry.path for entry in read_list(name)])
        if not found[-1]:
            raise InputError(f"{name}: the list is empty")
    return found[0], found[1]


def _problems(run: Run) -> list[str]:
    images, masks = _lists(run)
    if len(images) != len(masks):
        names = run.params.DCE_STATUS_MASK_LIST, run.params.IMAGE_STACK_FILE_NAME
        return [
            f"{names[0]}: has {len(masks)} entries; {names[1]} has {len(images)} (one line per frame in each list)"
        ]
    problems = [text for path in (*images, *masks) for text in problems_of(lambda p: _readable(p), path)]
    return problems + [
        f"{mask}: cannot be written"
        for mask in map(os.path.realpath, masks)
        if os.path.exists(mask)
        and not (os.access(mask, os.W_OK) and os.access(os.path.dirname(mask), os.W_OK))
    ]


def _readable(path: str) -> list[str]:
    read_header(path)
    return []


def _copy(job: Any) -> int:
    image, mask, keys, stamp = job
    header = read_header(image)
    cards = [header.cards[key] for key in keys if key in header]
    update_header(mask, [(card.keyword, card.value, card.comment) for card in cards], stamp)
    return len(cards)
