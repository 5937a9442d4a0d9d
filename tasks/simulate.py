"""Simulate: a Spitzer data set with known truth."""

from __future__ import annotations

import os
from typing import Any

from pymopex.kit.images import Stamp, write_image
from pymopex.kit.task import Run

_BANDS = {1: (24, 2.45), 2: (70, 4.0), 3: (160, 8.0)}  # of MIPS: micrometre, pixel of the mosaic [arcsec]


def check(run: Run) -> list[str]:
    """Name values that exclude each other."""
    try:
        _settings(run)
    except ValueError as problem:
        return [f"{run.settings.namelist.path}: {problem}"]
    return []


def run(run: Run) -> None:
    """Write frames in ``bcd/``, their lists, the permanent mask, the PRFs in ``prfs_x5/``, and the truth in ``truth/``.

    Notes
    -----
    Fluxes of ``truth/sources.tbl`` are those of a PRF that is normalised within 10 pixels (Normalization_Radius = 1000
    for a PRF sampled 100 times). Frames of MIPS carry the mask bits of IRAC.
    """
    from pymopex.simulation import pointings, prepare

    sim = _settings(run)
    prepare(sim)
    frames = [_frame_files(run, sim, pointing) for pointing in pointings(sim)]
    jobs = [(sim, index, files, run.stamp()) for index, files in enumerate(frames)]
    found = run.map(_simulate, jobs)
    run.keep(*(path for files in frames for path in files))
    _write_lists(run, frames)
    _write_pmask(run, sim)
    _write_prfs(run, sim)
    _write_truth(run, sim, frames, found)


def _settings(run: Run) -> Any:
    from pymopex.simulation import simulation

    given = {v.parameter.name.lower(): v.value for v in run.params if v.parameter.block}
    return simulation(given.pop("instrument") or "I1", **given)


def _frame_files(run: Run, sim: Any, pointing: Any) -> tuple[str, ...]:
    """Give the files of a frame: image, uncertainty, mask, charge of cosmic rays."""
    from pymopex.frame_headers import frame_name

    bases = [f"{frame_name(sim, pointing)}_{ending}" for ending in sim.camera.endings]
    return (*(run.path("simulated", base=base) for base in bases), run.path("true_hits", base=bases[0]))


def _simulate(job: tuple[Any, int, tuple[str, ...], Stamp]) -> tuple[tuple[float, ...], Any, Any]:
    """Simulate and write one frame; gives its offset and slopes, the stars on it, and the saturated ones."""
    from pymopex.simulation import simulate_frame

    sim, index, files, stamp = job
    frame = simulate_frame(sim, index)
    mask_header = frame.header.copy()
    mask_header["BUNIT"] = ("", "bits")
    images = (frame.data, frame.sigma, frame.mask, frame.hits)
    for path, image in zip(files, images, strict=True):
        write_image(path, image, mask_header if image is frame.mask else frame.header, stamp)
    return (frame.offset, *frame.slopes), frame.inside, frame.saturated


def _write_lists(run: Run, frames: list[tuple[str, ...]]) -> None:
    from pymopex.kit.lists import write_list

    for number, product in enumerate(("simulated_images", "simulated_sigmas", "simulated_masks")):
        path = run.path(product)
        write_list(path, [os.path.abspath(files[number]) for files in frames])
        run.keep(path)


def _write_pmask(run: Run, sim: Any) -> None:
    from astropy.io import fits
    from pymopex.simulation import permanent_mask

    header = fits.Header([("INSTRUME", sim.camera.name), ("CHNLNUM", sim.camera.channel)])
    run.keep(write_image(run.path("simulated_pmask"), permanent_mask(sim), header, run.stamp()))


def _write_prfs(run: Run, sim: Any) -> None:
    """Write PRFs like the archive's set that is sampled 5 times; that of MIPS has odd axes, to be used as it is."""
    from pymopex.optics import sampled
    from pymopex.simulation import prf_places, prfs

    irac = sim.camera.name == "IRAC"
    for (column, row), prf in zip(prf_places(sim), prfs(sim), strict=True):
        name = (
            f"IRAC{sim.camera.channel}_col{column:03d}_row{row:03d}"
            if irac
            else f"MIPS{_BANDS[sim.camera.channel][0]}_prf_x5"
        )
        header = _prf_header(sim.camera.channel, column, row)
        path = run.path("simulated_prf", base=name)
        run.keep(write_image(path, sampled(prf, 5, 128 if irac else 129), header, run.stamp()))
    if not irac:
        _write_mosaic_prf(run, sim)


def _write_mosaic_prf(run: Run, sim: Any) -> None:
    """Write the PRF of the mosaic, under the name that the archive gave its own."""
    from pymopex.prf_making import mosaic_kernel
    from pymopex.simulation import prfs

    band, pixel = _BANDS[sim.camera.channel]
    kernel = mosaic_kernel(prfs(sim)[0], pixel / sim.pixel, sampling=4)
    header = _prf_header(sim.camera.channel, 0, 0)
    header["PRFXRSMP"] = header["PRFYRSMP"] = 4
    path = run.path("simulated_mosaic_prf", base=f"mips{band}_prf_mosaic_{pixel:g}_4x")
    run.keep(write_image(path, kernel.samples.astype("f4"), header, run.stamp()))


def _prf_header(channel: int, column: int, row: int) -> Any:
    from astropy.io import fits

    return fits.Header(
        [
            ("CHAN", channel, "channel"),
            ("PRFXRSMP", 5, "samples per pixel along x"),
            ("PRFYRSMP", 5, "samples per pixel along y"),
            ("PRFROW", f"{row:03d}", "row of the array"),
            ("PRFCOL", f"{column:03d}", "column of the array"),
        ]
    )


def _write_truth(
    run: Run, sim: Any, frames: list[tuple[str, ...]], found: list[tuple[tuple[float, ...], Any, Any]]
) -> None:
    import numpy as np
    from pymopex import columns
    from pymopex.kit.layers import write_table_whole
    from pymopex.simulation import stars

    sky = stars(sim)
    n = sky.flux.size
    planes, inside, saturated = zip(*found, strict=True)
    seen, full = (np.bincount(np.concatenate(which), minlength=n) for which in (inside, saturated))
    table = {
        "id": np.arange(1, n + 1),
        **sky._asdict(),
        "saturated": (full > 0).astype(int),
        "n_frames": seen,
    }
    write_table_whole(run, run.path("true_sources"), columns.TRUTH_SOURCES, table)
    names = [os.path.basename(files[0]) for files in frames]
    added = dict(zip(("offset", "slope_x", "slope_y"), np.array(planes).T, strict=True))
    table = {"index": np.arange(1, len(names) + 1), "file": names, **added}
    write_table_whole(run, run.path("true_offsets"), columns.TRUTH_OFFSETS, table)
    high, wide = (n * sim.pixel / 60 for n in sim.shape)
    run.note(
        f"{len(frames)} frames of {sim.camera.name} {sim.camera.channel}, {wide:.2f} x {high:.2f} arcmin"
    )
    run.note(f"{n} stars, {np.count_nonzero(seen)} on a frame, {np.count_nonzero(full)} saturated")
