"""Mosaic Corrected Images: quick-look mosaic of the frames with their offsets."""

from __future__ import annotations

import os
from typing import Any

from pymopex.kit.coadding import CoaddJob, coadd_tile, combine, combine_job, write_tile_tables
from pymopex.kit.errors import InputError
from pymopex.kit.layers import layers, on_tile, tile_boxes
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write the tiles of the quick-look mosaic with their table and lists, and the mosaic.

    Notes
    -----
    The offsets and slopes of Compute Overlap Correction (or of ``OFFSETS_TABLE_IN``) are added to the interpolated
    frames, which are averaged with their coverage as the only weight. Outliers are not rejected, and detected objects
    are left out if they were left out of the overlap correction (``mask_bright``): the mosaic shows whether the
    backgrounds agree, no more.
    """
    grid, chosen = run.fiducial(), layers(run)
    how: dict[str, Any] = {"offsets": _offsets(run), "refined": run.params.USE_REFINED_POINTING}
    jobs = []
    for number, box in enumerate(tile_boxes(run, "TILEMAX_X", "TILEMAX_Y"), 1):
        paths = {part: run.path(f"coadd_{part}", tile=number) for part in ("image", "cov")}
        jobs.append(CoaddJob(box, tuple(on_tile(chosen, box)), paths, grid, run.stamp(), **how))
    for written in run.map(coadd_tile, jobs, "tiles"):
        run.keep(*written)
    tiles = [(job.box, job.paths["image"]) for job in jobs]
    write_tile_tables(run, "coadd_tiles", "coadd_tile_bcd", tiles, [job.layers for job in jobs])
    for product, part in (("coadd_tiles_list", "image"), ("coadd_cov_list", "cov")):
        write_list(run.path(product), [job.paths[part] for job in jobs])
        run.keep(run.path(product))
    run.keep(combine(combine_job(run, "quicklook", tiles)))


def _offsets(run: Run) -> dict[int, tuple[float, float, float]]:
    """Read the offset and the slopes of each frame, by its index.

    Raises
    ------
    InputError
        The table of offsets does not tell those of a frame.
    """
    import numpy as np
    from pymopex.kit.ipac import read_table

    given = run.params_of("compute_overlap_correction").OFFSETS_TABLE_IN
    path = given or run.existing("offsets")
    table = read_table(path)
    rows = {os.path.basename(str(name)): i for i, name in enumerate(table.column("file"))}
    slopes = (
        table.column(name) if name in table.columns else np.zeros(len(rows))
        for name in ("slope_x", "slope_y")
    )
    values = np.stack([table.column("offset"), *slopes], axis=1).astype(float)
    found = {}
    for files in run.frames():
        i = rows.get(os.path.basename(files.image))
        if i is None:
            raise InputError(f"{path}: has no row for {files.image}; run compute_overlap_correction again")
        found[files.index] = tuple(values[i])
    return found
