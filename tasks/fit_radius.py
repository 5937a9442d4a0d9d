"""Fit Radius: size of the fitting box of each detection."""

from __future__ import annotations

import os
from typing import Any

from pymopex.kit.images import read_image
from pymopex.kit.layers import write_table_whole
from pymopex.kit.searched import Searched, searched
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Add the columns FitX and FitY, in pixels of the frames, to ``detect.tbl`` and ``detect_raw.tbl``.

    Notes
    -----
    The width is measured on the tiles and turned into pixels of the frames by the ratio of the pixels of mosaic and
    frames; it is odd and at least 3. The raw table has the columns too, since Select Detect selects from it.
    """
    if os.path.exists(run.path("detect_raw")):
        _add_columns(run, run.path("detect_raw"))
    _add_columns(run, run.existing("detect"))


def _add_columns(run: Run, path: str) -> None:
    import numpy as np
    from pymopex import columns
    from pymopex.fitradius import fit_radius
    from pymopex.kit.ipac import read_table

    table = read_table(path)
    x, y = (np.asarray(table.column(name), dtype=float) for name in ("x", "y"))
    size = np.full((len(x), 2), 3)
    ratio = _ratio(run)
    for tile in searched(run):
        box = tile.box
        inside = (x - 0.5 >= box.x0) & (x - 0.5 < box.x1) & (y - 0.5 >= box.y0) & (y - 0.5 < box.y1)
        if inside.any():
            image, sigma, coverage = _images(tile)
            at = x[inside] - 1 - box.x0, y[inside] - 1 - box.y0
            size[inside] = np.column_stack(fit_radius(image, sigma, *at, coverage=coverage))
    size = np.maximum(3, np.ceil(size * ratio).astype(int))
    size += 1 - size % 2
    rows = {**table.columns, "FitX": size[:, 0], "FitY": size[:, 1]}
    spec = [columns.by_name(name, table) for name in rows]
    write_table_whole(run, path, spec, rows)
    middle = int(np.median(size)) if len(x) else 0
    run.note(f"{os.path.basename(path)}: {len(x)} sources, median box {middle} pixels of the frames")


def _ratio(run: Run) -> float:
    """Mosaic pixel over frame pixel."""
    import numpy as np
    from pymopex.geometry import frame_wcs, pixel_solid_angle
    from pymopex.kit.images import read_header

    if run.single or not run.globals.IMAGE_STACK_FILE_NAME:
        return 1.0
    grid = run.fiducial()
    header = read_header(run.frames()[0].image)
    centre = np.array([header["NAXIS1"] / 2]), np.array([header["NAXIS2"] / 2])
    frame = np.degrees(np.sqrt(pixel_solid_angle(frame_wcs(header), *centre)[0]))
    return float(abs(grid.cdelt1) / frame)


def _images(tile: Searched) -> tuple[Any, Any, Any]:
    import numpy as np

    image, _ = read_image(tile.files.image, dtype="f8")
    coverage = read_image(tile.coverage, dtype="f8")[0] if tile.coverage else None
    sigma = read_image(tile.noise, dtype="f8")[0] if tile.noise else np.full(image.shape, np.nanstd(image))
    return image, sigma, coverage
