"""Detect Radhit: radiation hits found in each frame alone, set in its status mask.

Clusters of touching pixels of the background-subtracted frame above Segmentation_Threshold sigma are hits if they are
no larger than Detection_Max_Area and have a pixel above Radhit_Threshold sigma. Their pixels get the bit
DCE_Status_Mask_Radhit_Bit in a copy of the input mask, or in an empty mask where none is given. Modules behind
this one use the new masks; they leave the hits out if the bit is in DCE_Status_Mask_Fatal_BitPattern.

With overwrite_dmask = 1 the bits are set in the input masks themselves and no copies are made.

References
----------
MOPEX User's Guide, Single Frame Radhit Detection, section 8.2.1.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of_settings
from pymopex.kit.images import read_image, update_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.radhit import RadhitParams

_FIELDS = {
    "segmentation": "Segmentation_Threshold",
    "max_area": "Detection_Max_Area",
    "peak": "Radhit_Threshold",
}


def check(run: Run) -> list[str]:
    """Name thresholds that contradict each other, and masks that cannot be overwritten."""
    p, bit = run.params, run.params.DCE_Status_Mask_Radhit_Bit
    problems = problems_of_settings(run, lambda: _settings(run), _FIELDS)
    if not run.bits.dmask >> bit & 1:
        run.settings.warnings.append(
            f"{p.origin('DCE_Status_Mask_Fatal_BitPattern')}: DCE_Status_Mask_Fatal_BitPattern = {run.bits.dmask} "
            f"lacks bit {bit} ({1 << bit}): the hits found are marked, but stay in the mosaic"
        )
    return problems + (_not_writable(run) if p.overwrite_dmask else [])


def _not_writable(run: Run) -> list[str]:
    masks = [os.path.realpath(files.dmask) for files in run.frames() if files.dmask]
    if not masks:
        return [f"{run.params.origin('overwrite_dmask')}: overwrite_dmask = 1: no status masks are given"]
    return [
        f"{mask}: cannot be written, and overwrite_dmask = 1"
        for mask in masks
        if not (os.access(mask, os.W_OK) and os.access(os.path.dirname(mask), os.W_OK))
    ]


def run(run: Run) -> None:
    """Write ``<base>_dmask.fits`` for each frame, and their list; or set the bits in the input masks."""
    how, stamp, frames = _settings(run), run.stamp(), run.frames()
    overwrite, bit = run.params.overwrite_dmask, run.params.DCE_Status_Mask_Radhit_Bit
    targets = [files.dmask if overwrite else run.path("dmask", base=files.base) for files in frames]
    jobs = [
        (files, run.existing("minback", base=files.base), target, (overwrite, bit, how), stamp)
        for files, target in zip(frames, targets, strict=True)
    ]
    counts = run.map(_mark, jobs)
    run.keep(*targets)
    if not overwrite:
        write_list(run.path("dmask_list"), targets)
        run.keep(run.path("dmask_list"))
    run.note(f"{len(frames)} frames, {sum(counts) / len(frames):.1f} pixels of hits a frame")


def _settings(run: Run) -> RadhitParams:
    from pymopex.radhit import RadhitParams

    p = run.params
    return RadhitParams(p.Segmentation_Threshold, p.Detection_Max_Area, p.Radhit_Threshold)


def _mark(job: Any) -> int:
    import numpy as np
    from pymopex.masks import set_bit
    from pymopex.radhit import radhits

    files, minback, target, (overwrite, bit, how), stamp = job
    minus, header = read_image(minback, dtype="f4")
    sigma = read_image(files.sigma, dtype="f4")[0] if files.sigma else None
    hits = radhits(minus, sigma, how)

    def change(mask: np.ndarray) -> np.ndarray:
        return set_bit(mask, hits, bit)

    if overwrite:
        update_image(target, change, stamp)
    else:
        mask = np.zeros(minus.shape, np.int16)
        if files.dmask:
            mask, header = read_image(files.dmask)
        else:
            header.remove("BUNIT", ignore_missing=True)
        write_image(target, change(mask), header, stamp, tuple(filter(None, (files.dmask, minback))))
    return int(np.count_nonzero(hits))
