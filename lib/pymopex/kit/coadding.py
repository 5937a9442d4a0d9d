"""Co-adding interpolated frames tile by tile, and combining tiles to mosaics: what several tasks share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.files import write_text
from pymopex.kit.images import Stamp, read_header, write_image, write_image_of
from pymopex.kit.interpolate import METHOD, layer_header, variance_header
from pymopex.kit.layers import (
    Layer,
    frame_map,
    mosaic_strips,
    on_tile,
    stack,
    tile_boxes,
    tile_rows,
    write_table_whole,
)

if TYPE_CHECKING:
    from pymopex.geometry import Box, FiducialFrame
    from pymopex.kit.task import Run
    from pymopex.stack import Stack

MOSAICS = {
    "image": "mosaic",
    "cov": "mosaic_cov",
    "unc": "mosaic_unc",
    "std": "mosaic_std",
    "exposure": "mosaic_exp",
    "var": "mosaic_var",
    "median": "median_mosaic",
    "median_unc": "median_mosaic_unc",
    "minimum": "minimum_mosaic",
    "minimum_unc": "minimum_mosaic_unc",
    "trimmed": "trimmed_mosaic",
    "trimmed_unc": "trimmed_mosaic_unc",
    "epoch1": "mosaic_epoch1",
    "epoch1_cov": "mosaic_epoch1_cov",
    "epoch2": "mosaic_epoch2",
    "epoch2_cov": "mosaic_epoch2_cov",
}
"""The mosaic that the tiles ``coadd_<part>`` are combined to, by part."""

_ZERO = ("cov", "exposure", "epoch1_cov", "epoch2_cov")  # parts that are 0 where there is no frame, not NaN
_MEAN = ("image", "cov", "unc", "std", "exposure")
_TILE = 1000  # pixels; bounds the memory of an average


@dataclass(frozen=True)
class CoaddJob:
    """A tile to co-add: its frames, the path of each part that is wanted, and the weights.

    ``trim`` is the share of values that a trimmed mean leaves out at each end, ``offsets`` and slopes along x and y
    of the detector, from its middle, are added to the frames by their index, ``signs`` averages the signs of the
    values, ``epochs`` are the indices of the frames of the first and the last epoch, and ``cards`` go to the header.
    """

    box: Box
    layers: tuple[Layer, ...]
    paths: Mapping[str, str]
    grid: FiducialFrame
    stamp: Stamp
    time_key: str = ""
    sigma_weighted: bool = False
    trim: float = 0.0
    offsets: Mapping[int, tuple[float, float, float]] | None = None
    refined: bool = False
    signs: bool = False
    epochs: tuple[frozenset[int], ...] = ()
    cards: tuple[tuple[str, Any, str], ...] = ()


def parts(run: Run) -> list[str]:
    """Give the parts of a tile that the namelist asks of Mosaic CoAdder."""
    p = run.params_of("mosaic_coadder")
    have = run.has_uncertainties or not p.IMAGE_STACK_FILE_NAME
    unc = p.create_unc_mosaic and have
    switches = {
        **{"image": True, "cov": True, "unc": unc, "std": p.create_std_mosaic},
        **{"exposure": bool(time_key(p)), "var": p.create_var_mosaic and have},
        **{"median": p.run_median_mosaic, "median_unc": p.run_median_mosaic and have},
        **{"minimum": p.run_absolute_minimum_mosaic, "minimum_unc": p.run_absolute_minimum_mosaic and have},
        **{"trimmed": p.run_trimmed_mosaic, "trimmed_unc": p.run_trimmed_mosaic and have},
        **dict.fromkeys(("epoch1", "epoch1_cov", "epoch2", "epoch2_cov"), p.Epoch_Gap > 0),
    }
    return [part for part in MOSAICS if switches[part]]


def time_key(p: Any) -> str:
    """Give the header keyword of the exposure times that weight the frames; empty if they do not.

    Notes
    -----
    ``USE_INT_TIME_KWD`` decides. Namelists of older releases do not have it: there the presence of
    ``INTEG_TIME_KWD`` alone turns the weights on.
    """
    if p.is_set("USE_INT_TIME_KWD"):
        return p.INTEG_TIME_KWD if p.USE_INT_TIME_KWD else ""
    return p.INTEG_TIME_KWD if p.is_set("INTEG_TIME_KWD") else ""


def coadd_tile(job: CoaddJob) -> list[str]:
    """Co-add a tile and write its parts; gives their paths."""
    import numpy as np
    from astropy.io import fits

    first = read_header(job.layers[0].data) if job.layers else fits.Header()
    header = layer_header(first, job.grid, job.box)
    for key in METHOD:
        if key in first:
            header[key] = (first[key], first.comments[key])
    header.update({key: (value, comment) for key, value, comment in job.cards})
    images = _images(job) if job.layers else {}
    written = []
    for part, path in job.paths.items():
        image = images.get(part)
        if image is None:
            image = np.full(job.box.shape, 0 if part in _ZERO else np.nan, "f4")
        written.append(write_image(path, image, _header_of(part, header), job.stamp))
    return written


def _header_of(part: str, header: Any) -> Any:
    if part in ("cov", "epoch1_cov", "epoch2_cov"):
        return _with_unit(header, "", "number of frames")
    if part == "exposure":
        return _with_unit(header, "s", "total exposure time")
    return variance_header(header) if part == "var" else header


def _with_unit(header: Any, unit: str, comment: str) -> Any:
    changed = header.copy()
    changed["BUNIT"] = (unit, comment)
    return changed


def _images(job: CoaddJob) -> dict[str, Any]:
    from pymopex import rank_coadd

    whole = _adjusted(stack(list(job.layers), job.box), job)
    images = _mean(job, whole)
    ranked = {
        "median": rank_coadd.median,
        "minimum": rank_coadd.absolute_minimum,
        "trimmed": lambda one: rank_coadd.trimmed_mean(one, job.trim),
    }
    for part, function in ranked.items():
        if part in job.paths:
            images[part], images[f"{part}_unc"] = function(whole)
    if "var" in job.paths:
        images["var"] = _variance(job, whole)
    for number, indices in enumerate(job.epochs, 1):
        members = tuple(layer for layer in job.layers if layer.files.index in indices)
        if members:
            one = replace(job, layers=members, paths={})
            found = _mean(one, stack(list(members), job.box))
            images[f"epoch{number}"], images[f"epoch{number}_cov"] = found["image"], found["cov"]
    return images


def _adjusted(whole: Stack, job: CoaddJob) -> Stack:
    import numpy as np

    if job.signs:
        return whole._replace(value=np.sign(whole.value))
    if job.offsets is not None:
        value, pixel = whole.value.copy(), np.repeat(np.arange(job.box.nx * job.box.ny), np.diff(whole.first))
        for number, layer in enumerate(job.layers):
            mine = whole.layer == number
            value[mine] += _correction(job, layer, pixel[mine])
        return whole._replace(value=value)
    return whole


def _correction(job: CoaddJob, layer: Layer, pixel: Any) -> Any:
    """Give what is added to a frame at pixels of the tile: a constant, or a plane on the detector."""
    assert job.offsets is not None
    offset, slope_x, slope_y = job.offsets[layer.files.index]
    if not (slope_x or slope_y):
        return offset
    placed = frame_map(layer.files, job.grid, job.refined)
    assert placed is not None  # it has been interpolated
    x, y = placed.to_frame.points(pixel % job.box.nx + job.box.x0, pixel // job.box.nx + job.box.y0)
    ny, nx = placed.shape
    return offset + slope_x * (x - (nx - 1) / 2) + slope_y * (y - (ny - 1) / 2)


def _mean(job: CoaddJob, whole: Stack) -> dict[str, Any]:
    from pymopex.coadd import coadd

    weights = exposures(job.layers, job.time_key) if job.time_key else None
    found = coadd(whole, weights=weights, sigma_weighted=job.sigma_weighted, want_std="std" in job.paths)
    values = (found.image, found.coverage, found.uncertainty, found.std, found.exposure)
    return dict(zip(_MEAN, values, strict=True))


def _variance(job: CoaddJob, whole: Stack) -> Any:
    from pymopex.variance import coadd_variance

    squares = stack([replace(layer, sigma=layer.variance) for layer in job.layers], job.box).sigma
    weights = exposures(job.layers, job.time_key) if job.time_key else None
    return coadd_variance(whole, squares, weights=weights, sigma_weighted=job.sigma_weighted)


def exposures(layers: tuple[Layer, ...], key: str) -> Any:
    """Give the exposure times of frames from their headers [s].

    Raises
    ------
    InputError
        A header has none, or one that is no time.
    """
    import numpy as np

    times = []
    for layer in layers:
        time = header_number(layer.files.image, key, "INTEG_TIME_KWD")
        if not time > 0:
            raise InputError(f"{layer.files.image}: {key} = {time:g} is no exposure time (INTEG_TIME_KWD)")
        times.append(time)
    return np.array(times)


def header_number(path: str, key: str, why: str) -> float:
    """Read a number from the header of an image; `why` names the key of the namelist that needs it.

    Raises
    ------
    InputError
        There is none.
    """
    header = read_header(path)
    if key not in header:
        raise InputError(f"{path}: no {key} in the header ({why})")
    try:
        return float(header[key])
    except (TypeError, ValueError):
        raise InputError(f"{path}: {key} = {header[key]} is no number ({why})") from None


def write_tile_tables(
    run: Run, table: str, members: str, tiles: list[tuple[Box, str]], frames: list[tuple[Layer, ...]]
) -> None:
    """Write the table of tiles, and the list of the frames of each: number of the tile, of its frames, indices."""
    from pymopex import columns

    write_table_whole(run, run.path(table), columns.TILES, tile_rows(tiles))
    lines = [
        f"{n} {len(part)} {' '.join(str(layer.files.index) for layer in part)}"
        for n, part in enumerate(frames, 1)
    ]
    write_text(run.path(members), "\n".join(lines) + "\n")
    run.keep(run.path(members))


@dataclass(frozen=True)
class CombineJob:
    """One mosaic: its path, its tiles, how many frames it is of, and what its pixels are multiplied by."""

    path: str
    tiles: list[tuple[Box, str]]
    grid: FiducialFrame
    frames: int
    stamp: Stamp
    factor: float = 1.0


def combine_job(run: Run, product: str, tiles: list[tuple[Box, str]], factor: float = 1.0) -> CombineJob:
    """Give the job that combines tiles to a mosaic, multiplied by a factor that its header tells."""
    grid = run.fiducial()
    run.note(f"{product}: {grid.naxis1} x {grid.naxis2} pixels from {len(tiles)} tiles")
    frames = len(run.frames()) if run.globals.IMAGE_STACK_FILE_NAME else 0
    return CombineJob(run.path(product), tiles, grid, frames, run.stamp(), factor)


def combine(job: CombineJob) -> str:
    """Combine tiles to a mosaic; gives its path."""
    import numpy as np

    header = read_header(job.tiles[0][1])
    for key in ("MINTOFFX", "MINTOFFY", "HISTORY"):
        header.remove(key, ignore_missing=True, remove_all=True)
    header.update(job.grid.header())
    header["TOTALBCD"] = (job.frames, "number of frames")
    strips = mosaic_strips(job.grid, job.tiles)
    if job.factor != 1:
        strips = (strip * np.float32(job.factor) for strip in strips)
        header["UNCSCALE"] = (round(job.factor, 6), "applied: ratio of scatter to uncertainty")
    inputs = [path for _, path in job.tiles[:100]]
    return write_image_of(job.path, job.grid.shape, strips, header, job.stamp, inputs)


def average(grid: FiducialFrame, chosen: list[Layer]) -> Any:
    """Give the mean of interpolated images on the whole mosaic, NaN where there is none."""
    import numpy as np

    from pymopex.coadd import coadd
    from pymopex.tiling import tiles

    image = np.full(grid.shape, np.nan, dtype=np.float32)
    for tile in tiles(grid.naxis1, grid.naxis2, _TILE, _TILE):
        part = on_tile(chosen, tile)
        if part:
            image[tile.slices] = coadd(stack(part, tile, need_sigma=False), want_std=False).image
    return image


def mosaic_of_maps(run: Run, name: str, product: str, maps: list[Layer], *, signs: bool = False) -> None:
    """Average maps of the interpolated frames, with their coverages as weights, into a mosaic.

    Parameters
    ----------
    run : Run
        The task at work.
    name : str
        Product name of the mosaic.
    product : str
        Product names of tiles and their tables: ``<product>_tile``, ``<product>_tiles``, ``<product>_tile_bcd``.
    maps : list of Layer
        The interpolated frames with their maps in place of the data.
    signs : bool, optional
        Average the signs of the values.
    """
    grid = run.fiducial()
    boxes = coadd_boxes(run)
    paths = [run.path(f"{product}_tile", tile=number) for number in range(1, len(boxes) + 1)]
    tiles = list(zip(boxes, paths, strict=True))
    jobs = [
        CoaddJob(box, tuple(on_tile(maps, box)), {"image": path}, grid, run.stamp(), signs=signs)
        for box, path in tiles
    ]
    for written in run.map(coadd_tile, jobs, "tiles"):
        run.keep(*written)
    frames = [job.layers for job in jobs]
    write_tile_tables(run, f"{product}_tiles", f"{product}_tile_bcd", tiles, frames)
    run.keep(combine(combine_job(run, name, tiles)))


def coadd_boxes(run: Run) -> list[Box]:
    """Cut the mosaic into tiles by the sizes of Mosaic CoAdder."""
    return tile_boxes(run, "TILEMAX_X", "TILEMAX_Y", "mosaic_coadder")
