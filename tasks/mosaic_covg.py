"""Mosaic Coverage: coverage of the mosaic before outlier rejection."""

from __future__ import annotations

from typing import Any

from pymopex.kit.images import read_section, write_image, write_image_of
from pymopex.kit.interpolate import layer_header
from pymopex.kit.layers import layers, mosaic_strips, on_tile, tile_boxes, tile_rows, write_table_whole
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write the coverage tiles, their table, and ``covg_map.fits``."""
    from pymopex import columns

    grid, chosen, stamp = run.fiducial(), layers(run), run.stamp()
    boxes = tile_boxes(run, "TILEMAX_X", "TILEMAX_Y")
    paths = [run.path("covg_tile", tile=number) for number in range(1, len(boxes) + 1)]
    jobs = [
        (box, [(part.box, part.coverage) for part in on_tile(chosen, box)], path, grid, stamp)
        for box, path in zip(boxes, paths, strict=True)
    ]
    run.keep(*run.map(_cover, jobs, "tiles"))
    tiles = list(zip(boxes, paths, strict=True))
    strips = mosaic_strips(grid, tiles)
    run.keep(write_image_of(run.path("covg_map"), grid.shape, strips, grid.header(), stamp))
    write_table_whole(run, run.path("covg_tiles"), columns.TILES, tile_rows(tiles))
    run.note(f"{len(chosen)} frames on {len(boxes)} tiles")


def _cover(job: Any) -> str:
    import numpy as np
    from astropy.io import fits

    tile, parts, path, grid, stamp = job
    total = np.zeros(tile.shape)
    for box, source in parts:
        common = box.intersect(tile)
        total[common.within(tile)] += np.nan_to_num(read_section(source, *common.within(box)))
    return write_image(path, total.astype("f4"), layer_header(fits.Header(), grid, tile), stamp)
