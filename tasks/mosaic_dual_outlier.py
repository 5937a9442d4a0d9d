"""Mosaic Dual Outlier: detections that most frames of a position do not share."""

from __future__ import annotations

from typing import Any

from pymopex.kit.images import read_cards, read_pixels, read_section, write_image
from pymopex.kit.interpolate import layer_header
from pymopex.kit.layers import layers, on_tile, read_mosaic_part, tile_boxes
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write the counts of each tile, then ``proj_<base>_detmap_dual_outlier.fits``: negative where outliers are."""
    p, grid, chosen, stamp = run.params, run.fiducial(), layers(run), run.stamp()
    maps = {layer.files.index: run.existing("proj", base=layer.files.base) for layer in chosen}
    boxes = tile_boxes(run)
    paths = [run.path("dual_counts", tile=number) for number in range(1, len(boxes) + 1)]
    tiles = list(zip(boxes, paths, strict=True))
    jobs = [
        (box, [(part, maps[part.files.index]) for part in on_tile(chosen, box)], path, grid, stamp)
        for box, path in tiles
    ]
    run.keep(*run.map(_count, jobs, "tiles"))
    limits = (p.MAX_OUTL_IMAGE, p.MAX_OUTL_FRAC)
    frame_jobs = [
        (layer.box, maps[layer.files.index], run.path("dual", base=layer.files.base), tiles, limits, stamp)
        for layer in chosen
    ]
    run.keep(*run.map(_judge, frame_jobs))
    run.note(f"{len(chosen)} frames on {len(boxes)} tiles")


def _count(job: Any) -> str:
    import numpy as np
    from astropy.io import fits

    tile, parts, path, grid, stamp = job
    frames = np.zeros(tile.shape, dtype=np.int32)
    detected = np.zeros(tile.shape, dtype=np.int32)
    for part, proj in parts:
        common = part.box.intersect(tile)
        source, target = common.within(part.box), common.within(tile)
        frames[target] += read_section(part.coverage, *source) > 0
        detected[target] += read_section(proj, *source) > 0
    return write_image(path, np.stack([frames, detected]), layer_header(fits.Header(), grid, tile), stamp)


def _judge(job: Any) -> str:
    from pymopex.outliers import dual_outlier

    box, proj, target, tiles, (max_image, max_fraction), stamp = job
    frames, detected = (read_mosaic_part(tiles, box, plane) for plane in (0, 1))
    signed = dual_outlier(read_pixels(proj), frames, detected, max_image, max_fraction)
    return write_image(target, signed, read_cards(proj), stamp, (proj,))
