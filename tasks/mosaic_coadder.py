"""Mosaic CoAdder: interpolated frames averaged tile by tile."""

from __future__ import annotations

from typing import Any

from pymopex.kit.coadding import (
    CoaddJob,
    coadd_boxes,
    coadd_tile,
    header_number,
    parts,
    time_key,
    write_tile_tables,
)
from pymopex.kit.errors import InputError
from pymopex.kit.interpolate import method_of
from pymopex.kit.layers import Layer, best_layers, frame_map, on_tile, problems_of_coverage
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

_RADII = (1, 2, 3, 5, 10)  # pixels, of the apertures whose noise the header tells


def check(run: Run) -> list[str]:
    """Name weights and variances that nothing is known of."""
    p = run.params
    problems = problems_of_coverage(run)
    if run.has_uncertainties:
        return problems
    keys = ("sigma_weighted_coadd", "create_var_mosaic")
    return problems + [
        f"{p.origin(key)}: {key} = 1: no uncertainties are given" for key in keys if getattr(p, key)
    ]


def run(run: Run) -> None:
    """Write the tiles ``coadd_Tile_<n>_Image.fits`` and their companions, tables and lists.

    Notes
    -----
    Median, absolute-minimum and trimmed mosaics take no weights of exposure time. With ``Epoch_Gap`` the frames are
    cut into epochs wherever the time between one and the next (``MJD_OBS``) is longer, and the first and the last
    epoch get a mosaic each.

    Tiles of the variance have the factor ``NOISECOR`` in the header: the noise of the sum over a large aperture is
    the root of the sum of the variances of its pixels times this; ``NCOR_R01`` and so on are the factors for
    apertures of a radius of 1, 2, 3, 5 and 10 pixels. They hold for frames at all phases of a pixel
    (Fruchter & Hook 2002, PASP 114, 144, eqs. 9 and 10).
    """
    p, grid, chosen = run.params, run.fiducial(), best_layers(run)
    if not chosen:
        raise InputError(f"{run.fiducial_path()}: none of the frames lies on this fiducial frame")
    boxes, wanted = coadd_boxes(run), parts(run)
    epochs = _epochs(run, chosen) if "epoch1" in wanted else ()
    if not epochs:
        wanted = [part for part in wanted if not part.startswith("epoch")]
    settings: dict[str, Any] = {
        "time_key": time_key(p),
        "sigma_weighted": p.sigma_weighted_coadd,
        "trim": p.Trim_Fraction,
        "epochs": epochs,
        "cards": _noise_cards(run, chosen[0], grid) if "var" in wanted else (),
    }
    jobs = []
    for number, box in enumerate(boxes, 1):
        paths = {part: run.path(f"coadd_{part}", tile=number) for part in wanted}
        jobs.append(CoaddJob(box, tuple(on_tile(chosen, box)), paths, grid, run.stamp(), **settings))
    for written in run.map(coadd_tile, jobs, "tiles"):
        run.keep(*written)
    _write_tables(run, jobs, wanted)
    run.note(f"{len(chosen)} frames on {len(boxes)} tiles")


def _write_tables(run: Run, jobs: list[CoaddJob], wanted: list[str]) -> None:
    frames = [job.layers for job in jobs]
    for part, name in (("image", "coadd"), ("median", "coadd_median")):
        if part in wanted:
            tiles = [(job.box, job.paths[part]) for job in jobs]
            write_tile_tables(run, f"{name}_tiles", f"{name}_tile_bcd", tiles, frames)
    for product, part in (
        ("coadd_tiles_list", "image"),
        ("coadd_cov_list", "cov"),
        ("coadd_unc_list", "unc"),
    ):
        if part in wanted:
            write_list(run.path(product), [job.paths[part] for job in jobs])
            run.keep(run.path(product))


def _noise_cards(run: Run, layer: Layer, grid: Any) -> tuple[tuple[str, float, str], ...]:
    from pymopex.variance import noise_correlation

    placed = frame_map(layer.files, grid, run.params.USE_REFINED_POINTING)
    assert placed is not None  # it has been interpolated
    noise = noise_correlation(placed, method_of(layer.data))
    large = ("NOISECOR", round(noise.large, 4), "noise of large aperture / root sum of variances")
    radii = [(f"NCOR_R{r:02d}", round(noise.aperture(r), 4), f"the same, radius {r} pixel") for r in _RADII]
    return (large, *radii)


def _epochs(run: Run, chosen: list[Layer]) -> tuple[frozenset[int], ...]:
    """Give the indices of the frames of the first and of the last epoch; nothing if there is one epoch."""
    times = sorted(
        (header_number(layer.files.image, "MJD_OBS", "Epoch_Gap"), layer.files.index) for layer in chosen
    )
    gap = run.params.Epoch_Gap
    cuts = [i for i in range(1, len(times)) if times[i][0] - times[i - 1][0] > gap]
    if not cuts:
        run.note(f"Warning: no two frames in a row are more than {gap:g} days apart: no mosaics of epochs")
        return ()
    first, last = times[: cuts[0]], times[cuts[-1] :]
    run.note(f"{len(cuts) + 1} epochs; {len(first)} frames in the first, {len(last)} in the last")
    return frozenset(index for _, index in first), frozenset(index for _, index in last)
