"""Level: one verdict for all pixels of a detected cluster."""

from __future__ import annotations

from typing import Any

from pymopex.kit.images import read_cards, read_pixels, write_image
from pymopex.kit.layers import layers
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``proj_<base>_detmap_dual_outlier_level.fits``."""
    ratio, stamp = run.params.Threshold_Ratio, run.stamp()
    jobs = [
        (
            run.existing("dual", base=layer.files.base),
            run.path("level", base=layer.files.base),
            ratio,
            stamp,
        )
        for layer in layers(run)
    ]
    run.keep(*run.map(_level, jobs))
    run.note(f"{len(jobs)} frames")


def _level(job: Any) -> str:
    from pymopex.outliers import level

    source, target, ratio, stamp = job
    return write_image(target, level(read_pixels(source), ratio), read_cards(source), stamp, (source,))
