"""Fix Coverage: coverage maps without the ragged rims of the interpolated frames.

A pixel keeps its coverage if that is at least Min_Single_Coverage, and the mean over the pixel and its eight neighbours
at least Min_Block_Coverage. The maps are those of Mosaic Reinterpolate if that is switched on. The
co-addition uses the result only if use_fixed_coverage is 1. The parameters are those of the namelist.

References
----------
MOPEX User's Guide, Fix Coverage.
"""

from __future__ import annotations

from typing import Any

from pymopex.kit.images import read_image, write_image
from pymopex.kit.layers import plain_layers
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``fixed_covg_<base>.fits`` for each interpolated frame."""
    p, stamp = run.params, run.stamp()
    limits = (p.Min_Single_Coverage, p.Min_Block_Coverage)
    jobs = [
        (layer.coverage, run.path("fixed_covg", base=layer.files.base), limits, stamp)
        for layer in plain_layers(run)
    ]
    changed = run.map(_fix, jobs)
    run.keep(*(path for _, path, _, _ in jobs))
    run.note(
        f"{len(jobs)} frames, coverage of {sum(changed) / max(len(jobs), 1):.1f} pixels a frame set to 0"
    )


def _fix(job: Any) -> int:
    import numpy as np
    from pymopex.coverage import fixed_coverage

    source, target, limits, stamp = job
    coverage, header = read_image(source, dtype="f4")
    fixed = fixed_coverage(coverage, *limits)
    write_image(target, fixed, header, stamp, (source,))
    return int(np.count_nonzero((coverage > 0) & (fixed == 0)))
