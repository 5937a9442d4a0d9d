"""Noise of apertures on mosaics of pure noise against the variance product and its factors.

    python benchmarks/mosaic_noise.py FOLDER

Simulated frames of IRAC 1 at two roll angles, with distortion, without stars, hits and offsets; each way of
interpolating makes a mosaic with ``create_var_mosaic``. The scatter of the sums over apertures, over the root of
the sum of the variances of their pixels, is compared with the factor for this radius in the header (``NCOR_R01`` ...,
``NOISECOR``): 1 is right. Apertures count that lie where the coverage is above half of the median.
"""

import contextlib
import io
import sys
from pathlib import Path

import numpy as np
import pymopex.par
from astropy.io import fits
from pymopex.kit.cli import main as main_of_mopex
from pymopex.variance import disk
from scipy.ndimage import minimum_filter
from scipy.signal import fftconvolve

SIMULATION = (
    "N_Frames=30",
    "Coverage=5",
    "Array_Size=128",
    "N_Stars=0",
    "Hits_Per_Second=0",
    "Offset_Rms=0",
    "Bad_Fraction=0",
)
RADII = (1, 2, 3, 5, 10)  # mosaic pixels
METHODS = {
    "area overlap": ("INTERP_METHOD=1",),
    "area overlap, fineres 2": ("INTERP_METHOD=1", "FINERES=2"),
    "drizzle 1": ("INTERP_METHOD=2", "DRIZ_FAC=1"),
    "drizzle 0.8": ("INTERP_METHOD=2", "DRIZ_FAC=0.8"),
    "drizzle 0.6": ("INTERP_METHOD=2", "DRIZ_FAC=0.6"),
    "drizzle 0.4": ("INTERP_METHOD=2", "DRIZ_FAC=0.4"),
    "grid 2": ("INTERP_METHOD=3", "GRID_RATIO=2"),
    "grid 4": ("INTERP_METHOD=3", "GRID_RATIO=4"),
    "bicubic": ("INTERP_METHOD=4",),
}
PIXELS = {"0.6": (), "1.2": ("MOSAIC_PIXEL_SIZE_X=-3.3333E-4", "MOSAIC_PIXEL_SIZE_Y=3.3333E-4")}  # arcsec
COARSE = ("area overlap", "drizzle 0.8", "bicubic")  # with the larger pixels
OFF = tuple(
    f"run_{name}=0"
    for name in (
        *("medfilter", "detect_outlier", "mosaic_proj", "mosaic_covg", "mosaic_dual_outlier", "level"),
        *("mosaic_outlier", "mosaic_box_outlier", "mosaic_rmask", "mosaic_reinterp"),
    )
)


def run(*words: str) -> None:
    """Run a command in this process, quietly; its log is shown if it fails."""
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        status = main_of_mopex(list(words))
    if status:
        sys.exit(f"mopex {' '.join(words)}\n{log.getvalue()[-2000:]}")


def mosaic(folder: Path, method: tuple[str, ...], size: tuple[str, ...]) -> tuple[np.ndarray, ...]:
    """Make the mosaic; gives image, coverage, variance, and the factors by radius, the last for large apertures."""
    out, template = folder / "out", Path(pymopex.par.__file__).parent / "mosaic_I1.nl"
    lists = [word for flag, name in zip("ISd", ("images", "sigmas", "masks"), strict=True)
             for word in (f"-{flag}", str(folder / "sim" / f"{name}.txt"))]  # fmt: skip
    keys = [f"MOSAICINTIN.{key}" for key in method]
    run(
        "drive",
        "mosaic",
        "-n",
        str(template),
        *lists,
        "-O",
        str(out),
        *OFF,
        "do_multiprocess=off",
        "create_report=0",
        *keys,
        *size,
        "create_var_mosaic=1",
    )
    image, covg, var = (
        fits.getdata(out / f"Combine-mosaic/mosaic{part}.fits") for part in ("", "_cov", "_var")
    )
    header = fits.getheader(out / "Combine-mosaic/mosaic_var.fits")
    factors = [header[f"NCOR_R{radius:02d}"] for radius in RADII]
    return image.astype(float), covg, var.astype(float), np.array([*factors, header["NOISECOR"]])


def ratios(image: np.ndarray, covg: np.ndarray, var: np.ndarray, factors: np.ndarray) -> list[float]:
    """Scatter of apertures over what variance and factor say: of single pixels, then by radius."""
    inside = covg > 0.5 * np.median(covg[covg > 0])
    level = np.median(image[inside])
    off, squares = np.where(inside, image - level, 0), np.where(inside, var, 0)
    found = [float((off[inside] / np.sqrt(squares[inside])).std())]
    for radius, factor in zip(RADII, factors, strict=False):
        whole = minimum_filter(inside, footprint=disk(radius).astype(bool), mode="constant")
        sums, spread = (fftconvolve(part, disk(radius), "same")[whole] for part in (off, squares))
        found.append(float((sums / np.sqrt(spread)).std() / factor))
    return found


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    if not (folder / "sim" / "images.txt").exists():
        run("simulate", f"OUTPUT_DIR={folder / 'sim'}", *SIMULATION)
    print(f"{'pixel':6s}{'method':24s} NOISECOR   pixel " + "".join(f"  r {radius:2d}" for radius in RADII))
    for pixel, size in PIXELS.items():
        for name, method in METHODS.items():
            if size and name not in COARSE:
                continue
            *images, factors = mosaic(folder, method, size)
            found = ratios(*images, factors)
            values = "".join(f"{value:6.3f}" for value in found)
            print(f"{pixel:6s}{name:24s} {factors[-1]:8.3f}  {values}", flush=True)


if __name__ == "__main__":
    main()
