"""Artificial stars in the frames of a finished run: frames with more stars, and the flow once more on them."""

from __future__ import annotations

import contextlib
import glob
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles, Stamp, read_image, write_image

if TYPE_CHECKING:
    from pymopex.kit.fit_frames import FitJob
    from pymopex.kit.task import Run

_KEYS = {"exposure": "EXPTIME", "gain": "GAIN", "fluxconv": "FLUXCONV"}


def namelist_of(folder: str, pipeline: str) -> str:
    """Find the namelist that a pipeline has left in its output directory; '' if there is none.

    Raises
    ------
    InputError
        If there are several.
    """
    from pymopex.kit import namelist
    from pymopex.kit.driver import pipeline_of

    paths = sorted(glob.glob(os.path.join(glob.escape(folder), "*.nl")))
    found = [path for path in paths if pipeline_of(namelist.read(path)) == pipeline]
    if len(found) > 1:
        raise InputError(
            f"{folder}: holds {len(found)} namelists of {pipeline}: {', '.join(found)}; name the one meant"
        )
    return found[0] if found else ""


def apex_namelist(folder: str) -> str:
    """Find the namelist that APEX has left in its output directory.

    Raises
    ------
    InputError
        If there is none, or several.
    """
    found = namelist_of(folder, "apex")
    if not found:
        raise InputError(
            f"{folder}: holds no namelist of apex; the output directory of a finished run is needed"
        )
    return found


@dataclass(frozen=True)
class StarJob:
    """A frame that gets stars: those of the fit job, with the noise of their light by a seed, if there is one."""

    stars: FitJob
    files: FrameFiles
    image: str
    sigma: str
    gain: float
    seed: tuple[int, ...] | None
    stamp: Stamp


def add_stars(job: StarJob) -> None:
    """Write a frame with stars added to it, and its uncertainties with the photon noise of their light.

    Raises
    ------
    InputError
        If the header does not tell the gain that the photon noise needs.

    Notes
    -----
    The stars are drawn with the PRFs of the fit. Pixels without data stay so; the masks are those of the run, so that
    the light that was put in saturates nothing.
    """
    from pymopex.kit.fit_frames import model_of_frame

    data, header = read_image(job.files.image, dtype="f8")
    everything = slice(0, data.shape[0]), slice(0, data.shape[1])
    light, _ = model_of_frame(job.stars, job.files, everything)
    variance = np.zeros(data.shape)
    if job.seed is not None and light.any():
        gain = job.gain or _gain(job.files.image, header)
        random = np.random.default_rng(job.seed)
        electrons = np.maximum(light, 0) * gain
        light = light + (random.poisson(electrons) - electrons) / gain
        variance = electrons / gain**2
    write_image(job.image, (data + light).astype("f4"), header, job.stamp, (job.files.image,))
    if job.sigma:
        sigma, its_header = read_image(job.files.sigma, dtype="f8")
        total = np.sqrt(sigma**2 + variance)
        write_image(job.sigma, total.astype("f4"), its_header, job.stamp, (job.files.sigma,))


def _gain(path: str, header: dict) -> float:
    """Electrons per image unit of a frame."""
    from pymopex.sn_estimator import electrons_per_unit

    try:
        return electrons_per_unit(**{name: float(header[key]) for name, key in _KEYS.items()})
    except (KeyError, TypeError, ValueError) as problem:
        missing = next((key for key in _KEYS.values() if not _number(header.get(key))), str(problem))
        raise InputError(
            f"{os.path.normpath(path)}: the header has no {missing}, which the photon noise needs; give "
            "COMPLETE.Gain, or COMPLETE.Photon_Noise = 0"
        ) from None


def _number(value: object) -> bool:
    return isinstance(value, int | float) and value > 0


def star_job(run: Run, ra: np.ndarray, dec: np.ndarray, flux: np.ndarray, table: str) -> FitJob:
    """Give stars the form in which the fit knows its sources, each a group of its own."""
    from pymopex.fitting import FitSettings
    from pymopex.kit.fit_frames import FitJob

    p, each = run.params_of("sourcestimate"), np.arange(len(ra))
    size = np.tile([p.Fitting_Area_X or 7, p.Fitting_Area_Y or 7], (len(ra), 1))
    settings = FitSettings(background=p.Background_Fit)
    common = (run.frames(), run.bits, p.USE_REFINED_POINTING, size, p.N_Edge, settings, 0.0)
    return FitJob(ra, dec, flux, each, each, *common, table)


def put_stars(
    run: Run, folder: str, stars: FitJob, seed: tuple[int, ...] | None, gain: float
) -> dict[str, str]:
    """Write all frames with stars into a folder, and their lists; gives the keys of a namelist that name these."""
    from pymopex.kit.lists import write_list

    frames, jobs = run.frames(), []
    for files in frames:
        image = os.path.join(folder, "frames", os.path.basename(files.image))
        sigma = os.path.join(folder, "frames", os.path.basename(files.sigma)) if files.sigma else ""
        own = None if seed is None else (*seed, files.index)
        jobs.append(StarJob(stars, files, image, sigma, gain, own, run.stamp()))
    names = [path for job in jobs for path in (job.image, job.sigma) if path]
    if len(set(names)) < len(names):
        raise InputError(
            f"{run.globals.IMAGE_STACK_FILE_NAME}: two frames have the same name in different folders"
        )
    run.map(add_stars, jobs)
    columns = {
        "IMAGE_STACK_FILE_NAME": (run.list_name, [job.image for job in jobs]),
        "SIGMALIST_FILE_NAME": ("sigmas.txt", [job.sigma for job in jobs]),
        "DCE_STATUS_MASK_LIST": ("masks.txt", [files.dmask for files in frames]),
        "RMASK_LIST": ("rmasks.txt", [files.rmask for files in frames]),
    }
    lists = {}
    for key, (name, paths) in columns.items():
        if all(paths):
            lists[key] = os.path.join(folder, name)
            write_list(lists[key], [os.path.abspath(path) for path in paths])
    return lists


def rerun(run: Run, folder: str, namelists: list[str], lists: dict[str, str]) -> str:
    """Run the flow on the frames of `put_stars`; gives the path of its catalogue.

    The log of the flow is in the folder.
    """
    from pymopex.kit.driver import Command
    from pymopex.kit.flow import flow

    out, grid = os.path.join(folder, "out"), run.path("fif")
    overrides = {**lists, "OUTPUT_DIR": out}
    if len(namelists) > 1:  # Mosaic makes outlier masks of its own
        overrides.pop("RMASK_LIST", None)
    mode, count = run.globals.do_multiprocess, run.globals.ncpu_multiprocess
    overrides |= {"do_multiprocess": str(mode), "ncpu_multiprocess": str(count or 1)}
    if os.path.exists(grid):
        overrides |= {"FIF_FILE_NAME": os.path.abspath(grid), "run_fiducial_image_frame": "0"}
    with open(os.path.join(folder, "log.txt"), "w", encoding="utf-8") as log, contextlib.redirect_stdout(log):
        flow(Command(namelists, overrides))
    return os.path.join(out, "extract.tbl")


def blocks_of(job: FitJob, size: int) -> list[FitJob]:
    """Cut a job into several of at most about so many stars."""
    parts = np.array_split(job.members, max(1, len(job.members) // size))
    return [replace(job, members=part) for part in parts]
