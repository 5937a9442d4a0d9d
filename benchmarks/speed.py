"""Speed of the pipelines beside other programs, on the same simulated frames of IRAC 1: a table in Markdown.

    python benchmarks/speed.py FOLDER [FRAMES ...] [--repeats N]

100 frames unless numbers are given, pixels of 0.6 arcsec, median of five repeats unless told otherwise. Times are of
the processors (user and system), all processes together, with compiled code in its cache; wall time where two
processes are compared with one. A program that is not installed is left out and named. SWarp makes one clipped
co-add; Montage projects, subtracts, fits and models. What FOLDER holds already is used again.
"""

import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import detection_peers
import numpy as np
import outlier_peers
import overlap_accuracy
from astropy.io import fits
from fit_speed import fastest, machine
from outlier_peers import run
from pymopex.geometry import FrameMap, frame_wcs
from pymopex.interpolation import Interpolation, interpolate
from pymopex.kit.allocation import reuse_memory
from pymopex.kit.driver import open_settings
from pymopex.kit.fif import read_fif
from pymopex.kit.images import Stamp, read_image, write_image
from pymopex.kit.task import Run

MODULES = ("detect_medfilter", "gaussnoise", "pointsourceprob", "detect", "aperture")
OTHERS = (
    "fiducial_image_frame",
    "mosaic_interp",
    "mosaic_coadder",
    "mosaic_combiner",
    "sourcestimate",
    "select",
)
ALONE = ("do_multiprocess=off", "create_report=0", "use_extract_table_for_aperture=0")


def lists(images: str, out: str) -> list[str]:
    return ["-I", images, "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-O", out, "create_report=0"]


def line(what: str, ours: float, peer: str, theirs: float | None, target: str, unit: str = "s") -> None:
    other = f"{theirs:.2f} {unit}" if theirs is not None else "not installed"
    ratio = f"{ours / theirs:.2f}" if theirs else ""
    print(
        f"| {what} | {ours:.2f} {unit} | {peer} | {other if peer else ''} | {ratio} | {target} |", flush=True
    )


def median(call: Callable[[], float], repeats: int) -> float:
    return statistics.median(call() for _ in range(repeats))


def wall(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


def drive(folder: Path, pipeline: str, images: str, out: str, *words: str) -> float:
    """Run a pipeline into a new folder; gives the seconds of the processors."""
    shutil.rmtree(folder / out, ignore_errors=True)
    command = ("mopex", "drive", pipeline, "-n", f"{pipeline}_I1.nl", *lists(images, out), *words)
    return run(folder, *command)


def mosaic(folder: Path, repeats: int) -> None:
    """The whole Mosaic pipeline, and SWarp's clipped co-add."""
    one, two = "do_multiprocess=off", ("do_multiprocess=manual", "ncpu_multiprocess=2")
    images = "sim/images.txt"
    drive(folder, "mosaic", images, "out", one)  # fills the cache of compiled code
    ours = median(lambda: drive(folder, "mosaic", images, "out", one), repeats)
    theirs = None
    if outlier_peers._swarp_command():
        frames = outlier_peers.names(folder, "images")
        theirs = median(
            lambda: outlier_peers.swarp(folder, frames, "swarp", "CLIPPED", "LANCZOS3", threads=1), repeats
        )
    line("Mosaic, one process", ours, "SWarp, CLIPPED, one thread", theirs, "0.5")
    single = median(lambda: wall(lambda: drive(folder, "mosaic", images, "out", one)), repeats)
    double = median(lambda: wall(lambda: drive(folder, "mosaic", images, "out", *two)), repeats)
    line("Mosaic, two processes, wall time", double, "one process", single, "0.56")


def overlap(folder: Path, repeats: int, frames: int) -> None:
    """Overlap without the corrected frames, and Montage."""
    words = ("do_multiprocess=off", "apply_overlap_correction=0", "mosaic_corrected_images=0")
    drive(folder, "overlap", "sim/images.txt", "out_overlap", *words)
    ours = median(lambda: drive(folder, "overlap", "sim/images.txt", "out_overlap", *words), repeats)
    theirs = None
    if all(shutil.which(name) for name in overlap_accuracy.MONTAGE):

        def montage() -> float:
            shutil.rmtree(folder / "montage", ignore_errors=True)
            return overlap_accuracy.montage(folder, slopes=False)[1]

        theirs = median(montage, repeats if frames <= 100 else 1)
        shutil.rmtree(folder / "montage", ignore_errors=True)
    line("Overlap", ours, "Montage: project, difference, fit, model", theirs, "0.1")


def kernels(folder: Path) -> None:
    """What a frame costs: its map, its interpolation, reading and writing; memory is kept, as in all tasks."""
    reuse_memory()
    image = outlier_peers.names(folder, "images")[0]
    (data, header), grid = read_image(image, dtype="f4"), read_fif(str(folder / "out/mosaic_fif.tbl"))
    wcs, sky = frame_wcs(header), grid.wcs()
    placed = FrameMap.make(wcs, data.shape, sky, grid.shape)
    assert placed is not None
    bad, sigma = np.zeros(data.shape, bool), np.ones_like(data)
    result = interpolate(data, sigma, bad, placed, Interpolation())
    path, head = str(folder / "written.fits"), fits.getheader(image)
    at = fastest(lambda: FrameMap.make(frame_wcs(header), data.shape, sky, grid.shape))
    taken = fastest(lambda: interpolate(data, sigma, bad, placed, Interpolation()))
    made = fastest(lambda: write_image(path, result.data, head, Stamp("speed")))
    read = fastest(lambda: read_image(path))
    os.unlink(path)
    line("coordinate map of a frame, from its header", at, "", None, "2 ms", "ms")
    line("interpolation by area overlap, data and uncertainty", taken, "", None, "6.6 ms (10 Mpixel/s)", "ms")
    ny, nx = result.data.shape
    line(f"writing an image of {nx} x {ny} pixels", made, "", None, "", "ms")
    line("reading it", read, "", None, "", "ms")


def detection(folder: Path, repeats: int) -> None:
    """Detection and apertures on the mosaic, with the start, and SExtractor; the work of each module."""
    detection_peers.flow(folder, 100, [])
    command = (
        "mopex",
        "drive",
        "apex",
        "-n",
        "out/apex_I1.nl",
        *ALONE,
        *(f"run_{name}=0" for name in OTHERS),
    )
    run(folder, *command)  # fills the cache of compiled code
    ours, theirs = median(lambda: run(folder, *command), repeats), None
    if any(shutil.which(name) for name in ("source-extractor", "sex")):
        detection_peers.sextractor(folder)
        again = [
            "source-extractor" if shutil.which("source-extractor") else "sex",
            "sex_image.fits",
            "-c",
            "sex.cfg",
        ]
        again += ["-PARAMETERS_NAME", "sex.param", "-FILTER_NAME", "sex.conv", "-CATALOG_NAME", "sex.fits"]
        again += ["-WEIGHT_IMAGE", "sex_rms.fits"]
        again += [word for key, value in detection_peers.SEXTRACTOR.items() for word in (f"-{key}", value)]
        theirs = median(lambda: run(folder, *again), repeats)
    line("detection and apertures on the mosaic, one run of the driver", ours, "SExtractor", theirs, "1.5")
    seconds = work(folder, repeats)
    line("the same without start, imports and loading of code", sum(seconds), "SExtractor", theirs, "1.5")
    for name, second in zip(MODULES, seconds, strict=True):
        line(f"{name}, work alone", second, "", None, "")


def work(folder: Path, repeats: int) -> list[float]:
    """Seconds of the processor that each module works when it has been run before in the same process."""
    spent: dict[str, list[float]] = {name: [] for name in MODULES}
    settings = dict(word.split("=") for word in ALONE)
    with contextlib.chdir(folder), contextlib.redirect_stdout(io.StringIO()):
        for _ in range(repeats + 1):
            for name in MODULES:
                task = Run(open_settings("out/apex_I1.nl", settings, task=name))
                begin = time.process_time()
                task.execute(name)
                spent[name].append(time.process_time() - begin)
    return [statistics.median(seconds[1:]) for seconds in spent.values()]


def starts(repeats: int) -> None:
    """Time until help is there, and until a wrong parameter is refused."""
    line(
        "mopex mosaic_interp --help, wall",
        median(lambda: _said("mosaic_interp", "--help"), repeats),
        "",
        None,
        "0.3 s",
    )


def _said(*words: str) -> float:
    return wall(lambda: subprocess.run(["mopex", *words], capture_output=True, check=True))


def main() -> None:
    words = sys.argv[1:]
    repeats = int(words.pop(words.index("--repeats") + 1)) if "--repeats" in words else 5
    words = [word for word in words if word != "--repeats"]
    base = Path(words[0]).resolve()
    print(f"{machine()}; {os.cpu_count()} processors, load {os.getloadavg()[0]:.1f}; median of {repeats}\n")
    for frames in [int(word) for word in words[1:]] or [100]:
        folder = base / str(frames)
        folder.mkdir(parents=True, exist_ok=True)
        outlier_peers.simulate(folder, frames)
        for pipeline in ("overlap", "mosaic"):
            if not (folder / f"{pipeline}_I1.nl").exists():
                run(folder, "mopex", "new", pipeline, "I1")
        print(
            f"| {frames} frames | pymopex | beside | its time | ratio | target |\n|---|---|---|---|---|---|"
        )
        mosaic(folder, repeats)
        overlap(folder, repeats, frames)
        kernels(folder)
    starts(repeats)
    detection(base / "detection", repeats)


if __name__ == "__main__":
    main()
