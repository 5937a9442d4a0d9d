"""Mosaic CoAdder: interpolated frames averaged tile by tile."""

from __future__ import annotations

from typing import Any

from pymopex.kit.errors import InputError
from pymopex.kit.files import write_text
from pymopex.kit.images import read_header, write_image
from pymopex.kit.interpolate import layer_header
from pymopex.kit.layers import best_layers, on_tile, stack, tile_boxes, tile_rows, write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

_PARTS = ("image", "cov", "unc", "std", "exposure")


def check(run: Run) -> list[str]:
    """Name weights that nothing is known of."""
    p = run.params
    if p.sigma_weighted_coadd and not (p.SIGMALIST_FILE_NAME and p.have_uncertainties):
        return [f"{p.origin('sigma_weighted_coadd')}: sigma_weighted_coadd = 1: no uncertainties are given"]
    return []


def run(run: Run) -> None:
    """Write the tiles ``coadd_Tile_<n>_Image.fits`` and their companions, tables and lists."""
    from pymopex import columns

    p, grid, chosen = run.params, run.fiducial(), best_layers(run)
    if not chosen:
        raise InputError(f"{run.fiducial_path()}: none of the frames lies on this fiducial frame")
    boxes = tile_boxes(run, "TILEMAX_X", "TILEMAX_Y")
    wanted = _wanted(run)
    time_key = p.INTEG_TIME_KWD if p.USE_INT_TIME_KWD else ""
    jobs = []
    for number, box in enumerate(boxes, 1):
        paths = {part: run.path(f"coadd_{part}", tile=number) for part in wanted}
        jobs.append((box, on_tile(chosen, box), paths, grid, time_key, p.sigma_weighted_coadd, run.stamp()))
    for written in run.map(_coadd, jobs, "tiles"):
        run.keep(*written)
    tiles = [(box, run.path("coadd_image", tile=number)) for number, box in enumerate(boxes, 1)]
    write_table_whole(run, run.path("coadd_tiles"), columns.TILES, tile_rows(tiles))
    _write_lists(run, [job[1] for job in jobs], wanted)
    run.note(f"{len(chosen)} frames on {len(boxes)} tiles")


def _wanted(run: Run) -> list[str]:
    p = run.params
    have = all(files.sigma for files in run.frames())
    switches = (True, True, p.create_unc_mosaic and have, p.create_std_mosaic, p.USE_INT_TIME_KWD)
    return [part for part, on in zip(_PARTS, switches, strict=True) if on]


def _write_lists(run: Run, members: list, wanted: list[str]) -> None:
    lines = [
        f"{n} {len(part)} {' '.join(str(layer.files.index) for layer in part)}"
        for n, part in enumerate(members, 1)
    ]
    write_text(run.path("coadd_tile_bcd"), "\n".join(lines) + "\n")
    run.keep(run.path("coadd_tile_bcd"))
    numbers = range(1, len(members) + 1)
    for product, part in (
        ("coadd_tiles_list", "image"),
        ("coadd_cov_list", "cov"),
        ("coadd_unc_list", "unc"),
    ):
        if part in wanted:
            write_list(run.path(product), [run.path(f"coadd_{part}", tile=n) for n in numbers])
            run.keep(run.path(product))


def _coadd(job: Any) -> list[str]:
    import numpy as np
    from astropy.io import fits
    from pymopex.coadd import coadd

    tile, chosen, paths, grid, time_key, sigma_weighted, stamp = job
    first = read_header(chosen[0].data) if chosen else fits.Header()
    header = layer_header(first, grid, tile)
    if not chosen:
        zero, nothing = np.zeros(tile.shape, "f4"), np.full(tile.shape, np.nan, "f4")
        images = {part: zero if part in ("cov", "exposure") else nothing for part in paths}
    else:
        weights = _exposures(chosen, time_key) if time_key else None
        result = coadd(
            stack(chosen, tile), weights=weights, sigma_weighted=sigma_weighted, want_std="std" in paths
        )
        images = {
            "image": result.image,
            "cov": result.coverage,
            "unc": result.uncertainty,
            "std": result.std,
            "exposure": result.exposure,
        }
    return [write_image(path, images[part], header, stamp) for part, path in paths.items()]


def _exposures(chosen: list, key: str) -> Any:
    import numpy as np

    times = []
    for layer in chosen:
        header = read_header(layer.files.image)
        if key not in header:
            raise InputError(f"{layer.files.image}: no {key} in the header (INTEG_TIME_KWD)")
        try:
            times.append(float(header[key]))
        except (TypeError, ValueError):
            times.append(0.0)
        if not times[-1] > 0:
            raise InputError(
                f"{layer.files.image}: {key} = {header[key]} is no exposure time (INTEG_TIME_KWD)"
            )
    return np.array(times)
