"""Mosaic Projection: detection maps projected onto the grid of the mosaic."""

from __future__ import annotations

from typing import Any

from pymopex.kit.images import read_cards, read_pixels, write_image
from pymopex.kit.layers import layers
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``proj_<base>_detmap.fits`` for each frame on the mosaic."""
    grid, refined, stamp = run.fiducial(), run.params.USE_REFINED_POINTING, run.stamp()
    jobs = [
        (
            layer,
            run.existing("detmap", base=layer.files.base),
            run.path("proj", base=layer.files.base),
            grid,
            refined,
            stamp,
        )
        for layer in layers(run)
    ]
    run.keep(*run.map(_project, jobs))
    run.note(f"{len(jobs)} detection maps")


def _project(job: Any) -> str:
    from pymopex.interpolation import project_labels
    from pymopex.kit.layers import frame_map

    layer, source, target, grid, refined, stamp = job
    labels = read_pixels(source)
    placed = frame_map(layer.files, grid, refined)
    header = read_cards(layer.data)
    return write_image(target, project_labels(labels, placed).astype("i4"), header, stamp, (source,))
