"""Completeness and reliability of detection: the flow with its templates, and other programs on its mosaic.

    python benchmarks/detection_peers.py FOLDER [FRAMES] [KEY=VALUE ...]

Simulates FRAMES (100) frames of IRAC 1 with the defaults of `mopex simulate` and runs the flow; KEY=VALUE changes a
parameter of APEX. SExtractor gets the mosaic and its uncertainty (MAP_RMS), photutils (DAOStarFinder) the mosaic over
its uncertainty; one that is not installed is left out. What FOLDER holds already is used again.

All lists are judged by the same rules: a source and a star belong together if each is the nearest of the other within
1 arcsec; stars that saturate or that one frame alone holds do not count. The signal-to-noise ratio (SNR) of a star is
its flux over the smallest error that a fit of it in all frames can have; that of a source is its flux over this
error of a star as bright. Fluxes of the others (apertures, peaks) are scaled to the true ones by the median of the
stars above SNR 50.
"""

import contextlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.comparison import match
from pymopex.kit.artificial import blocks_of, star_job
from pymopex.kit.driver import open_settings
from pymopex.kit.ipac import read_table
from pymopex.kit.task import Run
from pymopex.kit.truth import bounds

NAMELISTS = ("overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl", "apex_qa_I1.nl")
RADIUS = 1.0  # arcsec, of a match
EDGES = (5.0, 7.0, 10.0, 20.0, 50.0, 100.0, np.inf)
FWHM = 1.66 / 0.6  # pixel of the mosaic
BRIGHT = 50  # SNR of the stars that scale fluxes

SEXTRACTOR = {
    "DETECT_THRESH": "1.5",
    "ANALYSIS_THRESH": "1.5",
    "DETECT_MINAREA": "4",
    "DEBLEND_NTHRESH": "64",
    "DEBLEND_MINCONT": "0.0005",
    "BACK_SIZE": "45",
    "WEIGHT_TYPE": "MAP_RMS",
    "PHOT_APERTURES": "5",
    "CATALOG_TYPE": "FITS_1.0",
}
KERNEL = "CONV NORM\n1 2 1\n2 4 2\n1 2 1\n"


@dataclass(frozen=True)
class Stars:
    """True stars, with the smallest error that a fit of the flux can have."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    saturated: np.ndarray
    n_frames: np.ndarray
    bound: np.ndarray


def run(folder: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def flow(folder: Path, frames: int, changes: list[str]) -> None:
    """Simulate, and run the flow, as far as this is not done."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data/truth/sources.tbl").exists():
        run(folder, "mopex", "simulate", "OUTPUT_DIR=data", f"N_Frames={frames}")
        words = ("Channel=1", "Magnification_Method=spline", "OUTPUT_DIR=prf")
        run(folder, "mopex", "make_prf", "Input_Dir=data/prfs_x5", *words)
        run(folder, "mopex", "new", "flow", "I1")
    if not (folder / "out/extract.tbl").exists():
        lists = ("-I", "data/images.txt", "-S", "data/sigmas.txt", "-d", "data/masks.txt", "-O", "out")
        prfs = ("-m", "prf/prfmap.tbl", "-P", "prf/IRAC1_mosaic_detect_kernel.fits")
        run(folder, "mopex", "flow", *lists, *prfs, *NAMELISTS[:3])
    if changes:
        run(folder, "mopex", "sourcestimate", "out/apex_I1.nl", *changes)
        run(folder, "mopex", "select", "out/apex_I1.nl")


def apex(folder: Path):
    table = read_table(str(folder / "out/extract.tbl"))
    return tuple(np.asarray(table.column(name), float) for name in ("RA", "Dec", "flux"))


def sextractor(folder: Path):
    """Run SExtractor on the mosaic; None if it is not installed."""
    command = next((name for name in ("source-extractor", "sex") if shutil.which(name)), "")
    if not command:
        return None
    names = "NUMBER\nALPHA_J2000\nDELTA_J2000\nFLUX_APER(1)\n"
    (folder / "sex.param").write_text(names)
    (folder / "sex.conv").write_text(KERNEL)
    (folder / "sex.cfg").write_text("")
    files = {
        "PARAMETERS_NAME": "sex.param",
        "FILTER_NAME": "sex.conv",
        "CATALOG_NAME": "sex.fits",
        "WEIGHT_IMAGE": "out/Combine-mosaic/mosaic_unc.fits",
    }
    mosaic = fits.getdata(folder / "out/Combine-mosaic/mosaic.fits").astype("f4")
    noise = fits.getdata(folder / "out/Combine-mosaic/mosaic_unc.fits").astype("f4")
    header = fits.getheader(folder / "out/Combine-mosaic/mosaic.fits")
    empty = ~(np.isfinite(mosaic) & np.isfinite(noise) & covered(folder))
    fits.writeto(folder / "sex_image.fits", np.where(empty, 0, mosaic), header, overwrite=True)
    fits.writeto(folder / "sex_rms.fits", np.where(empty, 1e31, noise), header, overwrite=True)
    files["WEIGHT_IMAGE"] = "sex_rms.fits"
    words = [word for key, value in (SEXTRACTOR | files).items() for word in (f"-{key}", value)]
    run(folder, command, "sex_image.fits", "-c", "sex.cfg", *words)
    table = fits.getdata(folder / "sex.fits", 1)
    return table["ALPHA_J2000"], table["DELTA_J2000"], np.ravel(table["FLUX_APER"]).astype(float)


def photutils(folder: Path):
    """Run DAOStarFinder on the mosaic over its uncertainty; None if photutils is not installed."""
    try:
        from photutils.background import Background2D, SExtractorBackground
        from photutils.detection import DAOStarFinder
    except ImportError:
        return None
    mosaic, header = fits.getdata(folder / "out/Combine-mosaic/mosaic.fits", header=True)
    noise = fits.getdata(folder / "out/Combine-mosaic/mosaic_unc.fits")
    bad = ~(np.isfinite(mosaic) & np.isfinite(noise) & covered(folder))
    level = Background2D(
        np.where(bad, 0, mosaic), 45, mask=bad, filter_size=3, bkg_estimator=SExtractorBackground()
    )
    over = np.where(bad, 0, (mosaic - level.background) / np.where(bad, 1, noise))
    faint = over[~bad & (over < 0)]
    threshold = 5 * np.sqrt(np.mean(faint**2)) * 0.6  # of the kernel-weighted image, whose noise is lower
    found = DAOStarFinder(threshold, FWHM, sharpness_range=(0.0, 2.0), roundness_range=(-2.0, 2.0))(
        over, mask=bad
    )
    names = [
        name for name in ("x_centroid", "y_centroid", "xcentroid", "ycentroid") if name in found.colnames
    ]
    x, y = (np.asarray(found[name], float) for name in names)
    ra, dec = WCS(header).pixel_to_world_values(x, y)
    column, row = np.rint(x).astype(int), np.rint(y).astype(int)
    return ra, dec, np.asarray(found["flux"]) * noise[row, column]


def covered(folder: Path) -> np.ndarray:
    """Pixels that APEX searches too."""
    return fits.getdata(folder / "out/Combine-mosaic/mosaic_cov.fits") >= 1.8


def judge(name: str, found, stars) -> None:
    """Print completeness by the SNR of stars, reliability by that of sources."""
    ra, dec, flux = found
    snr = stars.flux / stars.bound
    shown = np.flatnonzero(np.isfinite(snr) & (snr > 2))
    source, star = match(ra, dec, stars.ra[shown], stars.dec[shown], RADIUS)
    star = shown[star]
    bright = snr[star] > BRIGHT
    flux = flux * np.median(stars.flux[star[bright]] / flux[source[bright]])
    usable = np.flatnonzero(np.isfinite(snr))
    order = usable[np.argsort(stars.flux[usable])]
    smooth = np.array([np.median(part) for part in np.array_split(stars.bound[order], 40)])
    at = np.array([np.median(part) for part in np.array_split(stars.flux[order], 40)])
    measured = flux / np.interp(flux, at, smooth)
    real, seen = np.zeros(len(ra), bool), np.zeros(len(snr), bool)
    real[source], seen[star] = True, True
    counted = np.isfinite(snr) & (stars.saturated == 0) & (stars.n_frames > 1)
    rows = []
    for low, high in [(EDGES[0], EDGES[-1]), *pairwise(EDGES)]:
        these, those = counted & (snr >= low) & (snr < high), (measured >= low) & (measured < high)
        rows.append((share(seen, these), share(real, those)))
    print(f"{name:12s} complete {'  '.join(f'{a:6.2f}' for a, _ in rows)}")
    print(f"{'':12s} reliable {'  '.join(f'{b:6.2f}' for _, b in rows)}", flush=True)


def share(good: np.ndarray, among: np.ndarray) -> float:
    return 100 * float(good[among].mean()) if among.any() else np.nan


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    frames = next((int(word) for word in sys.argv[2:] if "=" not in word), 100)
    folder.mkdir(parents=True, exist_ok=True)
    flow(folder, frames, [word for word in sys.argv[2:] if "=" in word])
    stars = true_stars(folder)
    bins = ("5+", "5-7", "7-10", "10-20", "20-50", "50-100", "100+")
    print(f"{'SNR [%]':21s} {'  '.join(f'{text:>6s}' for text in bins)}")
    for name, program in (("pymopex", apex), ("SExtractor", sextractor), ("photutils", photutils)):
        found = program(folder)
        if found is None:
            print(f"{name} is not installed: left out")
        else:
            judge(name, found, stars)


def true_stars(folder: Path) -> Stars:
    """Read the stars that frames hold, and find the smallest error of the flux of each."""
    truth = read_table(str(folder / "data/truth/sources.tbl"))
    held = truth.column("n_frames") > 0
    ra, dec, flux, saturated, n_frames = (
        truth.column(name)[held] for name in ("ra", "dec", "flux", "saturated", "n_frames")
    )
    with contextlib.chdir(folder):
        run = Run(open_settings("out/apex_I1.nl", {}, task="sourcestimate"))
        run.task = "sourcestimate"
        job = star_job(run, ra, dec, 0 * flux, "out/prf_table.npz")
        try:
            found = run.map(bounds, [(part, flux) for part in blocks_of(job, 400)])
        finally:
            run.pool.close()
    return Stars(ra, dec, flux, saturated, n_frames, np.concatenate(found)[:, 2])


if __name__ == "__main__":
    main()
