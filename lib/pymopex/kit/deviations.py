"""The two steps of the outlier modules: statistics of each tile, then the deviation map of each frame."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pymopex.kit.images import read_cards, read_pixels, write_image
from pymopex.kit.interpolate import layer_header
from pymopex.kit.layers import layers, on_tile, read_mosaic_part, stack, tile_boxes
from pymopex.kit.task import Run


def map_deviations(
    run: Run, product: str, statistics: Callable[..., Any], settings: tuple, margin=(0, 0)
) -> None:
    """Write the statistics tiles, then ``(I - centre) / scale`` of each interpolated frame.

    The planes of a tile are centre, scale, and what the frames show, with which Mosaic RMask compares each.

    Parameters
    ----------
    run : Run
        The task at work.
    product : str
        Product name of the deviation maps; ``<product>_tile`` is that of the statistics.
    statistics : callable
        Module-level function ``(stack, core, reach, settings) -> centre, scale`` on the box `core` from a stack on
        the box `reach`.
    settings : tuple
        Passed on to `statistics`.
    margin : tuple of int, optional
        Pixels in x and y by which the stack must reach beyond the pixels wanted.
    """
    grid, chosen, stamp = run.fiducial(), layers(run), run.stamp()
    boxes = tile_boxes(run)
    paths = [run.path(f"{product}_tile", tile=number) for number in range(1, len(boxes) + 1)]
    tiles = list(zip(boxes, paths, strict=True))
    tolerance = run.params.Gradient_Tolerance
    jobs: list[Any] = []
    for box, path in tiles:
        core = box.grown((1, 1), grid.shape)  # the gradient needs the neighbours
        reach = core.grown(margin, grid.shape)
        how = (statistics, settings, tolerance)
        jobs.append(((box, core, reach), on_tile(chosen, reach), path, grid, stamp, how))
    run.keep(*run.map(_tile_statistics, jobs, "tiles"))
    cuts = (run.params.BOTTOM_THRESHOLD, run.params.TOP_THRESHOLD) if product == "outlier" else (0.0, 0.0)
    frame_jobs = [(layer, tiles, run.path(product, base=layer.files.base), cuts, stamp) for layer in chosen]
    run.keep(*run.map(_deviate, frame_jobs))
    run.note(f"{len(chosen)} frames on {len(boxes)} tiles")


def _tile_statistics(job: Any) -> str:
    import numpy as np
    from astropy.io import fits

    from pymopex.outliers import gradient_guard, reference_values

    (box, core, reach), chosen, path, grid, stamp, (statistics, settings, tolerance) = job
    if chosen:
        values = stack(chosen, reach, need_coverage=False)
        centre, scale = statistics(values, core, reach, settings)
        scale = gradient_guard(centre, scale, tolerance)
        place = box.within(core)
        planes = centre[place], scale[place], reference_values(values)[box.within(reach)]
    else:
        planes = (np.full(box.shape, np.nan),) * 3
    header = layer_header(fits.Header(), grid, box)
    return write_image(path, np.stack(planes).astype("f4"), header, stamp)


def _deviate(job: Any) -> str:
    import numpy as np

    from pymopex.outliers import deviations

    layer, tiles, path, (bottom, top), stamp = job
    data = read_pixels(layer.data)
    centre, scale = (read_mosaic_part(tiles, layer.box, plane) for plane in (0, 1))
    result = deviations(data, centre, scale)
    if bottom > 0 or top > 0:
        inside = (result > -bottom) & (result < top)
        result = np.where(inside, np.float32(0), result)
    return write_image(path, result.astype("f4"), read_cards(layer.data), stamp, (layer.data,))
