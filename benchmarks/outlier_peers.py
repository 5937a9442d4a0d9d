"""Cosmic rays that reach the mosaic: Mosaic with its default template, and SWarp's clipped co-add, on the same frames.

    python benchmarks/outlier_peers.py FOLDER [FRAMES]

Simulated frames of IRAC 1 with hits and stars, without offsets. Each program co-adds the frames, and, without any
rejection, the same frames without hits. A hit counts as removed if the difference of the two mosaics stays below 3
sigma of the mosaic at its brightest pixel, or in the 3 x 3 pixels round that. Stars are compared in apertures on the
same pairs of mosaics.
SWarp (COMBINE_TYPE CLIPPED, CLIP_SIGMA 4, CLIP_AMPFRAC 0.3) gets weight maps that are 0 at masked pixels, the gain,
without which it clips nothing, and the distortion in the form it reads (TPV); it subtracts the background, so that
the fraction is one of the stars' light alone. It is left out if it is not installed.
The brightest pixel alone flatters a co-add that clips pixel by pixel, since what is left of a hit lies beside it.
"""

import os
import shutil
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.comparison import spread
from pymopex.geometry import frame_wcs
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table
from scipy.ndimage import label, maximum_filter, maximum_position

FATAL = 32520  # bits of the status mask
HIT = 8.0  # sigma of a frame: charge of the brightest pixel from which a hit counts
LEFT = 3.0  # sigma of the mosaic
DEPTHS = (0.5, 1.5, 2.5, 3.5, 4.5, 1e9)  # coverage
APERTURE = 6  # pixels of the mosaic
NO_REJECTION = tuple(f"USE_{kind}OUTLIER_FOR_RMASK=0" for kind in ("", "DUAL_", "BOX_"))


def run(folder: Path, *words: str, said: list[str] | None = None) -> float:
    """Run a command quietly; gives the seconds of processor time, and adds what it said to `said`."""
    before = os.times()
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    if said is not None:
        said.append(done.stdout)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def names(folder: Path, kind: str) -> list[str]:
    return (folder / "sim" / f"{kind}.txt").read_text().split()


def hit_image(folder: Path, image: str) -> np.ndarray:
    path = folder / "sim/truth/hits" / os.path.basename(image).replace(".fits", "_hits.fits")
    return fits.getdata(path).astype(float)


def simulate(folder: Path, frames: int, *words: str) -> None:
    """Simulate, and write the frames without their hits; masked pixels stay masked in both."""
    if (folder / "clean.txt").exists():
        return
    run(folder, "mopex", "simulate", "OUTPUT_DIR=sim", f"N_Frames={frames}", "Offset_Rms=0", *words)
    (folder / "clean").mkdir(exist_ok=True)
    for image in names(folder, "images"):
        data, header = fits.getdata(image, header=True)
        clean = (data - hit_image(folder, image)).astype("f4")
        fits.writeto(folder / "clean" / os.path.basename(image), clean, header, overwrite=True)
    lines = [str(folder / "clean" / os.path.basename(image)) for image in names(folder, "images")]
    (folder / "clean.txt").write_text("\n".join(lines) + "\n")


def mosaic(folder: Path, images: str, out: str, *words: str) -> float:
    """Run Mosaic with its template."""
    if not (folder / "mosaic_I1.nl").exists():
        run(folder, "mopex", "new", "mosaic", "I1")
    lists = ("-I", images, "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-O", out)
    return run(folder, "mopex", "drive", "mosaic", "-n", "mosaic_I1.nl", *lists, *words)


def swarp(
    folder: Path, images: list[str], out: str, combine: str, resampling: str, threads: int = 0
) -> float:
    """Co-add with SWarp on the grid of the mosaic."""
    work = folder / out
    work.mkdir(exist_ok=True)
    for image, sigma, mask in zip(images, names(folder, "sigmas"), names(folder, "masks"), strict=True):
        _swarp_input(work, Path(image), sigma, mask)
    grid = read_fif(str(folder / "out/mosaic_fif.tbl"))
    header = grid.header()
    for j in (1, 2):
        for k in (1, 2):
            header[f"CD{j}_{k}"] = grid.wcs().pixel_scale_matrix[j - 1, k - 1]
    for key in ("CDELT1", "CDELT2", "CROTA2"):
        header.remove(key, ignore_missing=True)
    (work / "coadd.head").write_text(_text_header(header))
    (work / "list").write_text("".join(f"{os.path.basename(image)}\n" for image in images))
    keys = {
        "COMBINE_TYPE": combine, "CLIP_SIGMA": "4", "CLIP_AMPFRAC": "0.3", "WEIGHT_TYPE": "MAP_WEIGHT",
        "SUBTRACT_BACK": "Y", "BACK_SIZE": "64", "RESAMPLING_TYPE": resampling, "GAIN_DEFAULT": _gain(images[0]),
        "FSCALASTRO_TYPE": "NONE", "VERBOSE_TYPE": "QUIET", "WRITE_XML": "N",
    }  # fmt: skip
    if threads:
        keys["NTHREADS"] = str(threads)
    words = [word for key, value in keys.items() for word in (f"-{key}", value)]
    return run(work, _swarp_command(), "@list", *words)


def _gain(image: str) -> str:
    """Electrons per MJy/sr."""
    header = fits.getheader(image)
    return str(header["EXPTIME"] * header["GAIN"] / header["FLUXCONV"])


def _swarp_command() -> str:
    return shutil.which("SWarp") or shutil.which("swarp") or ""


def _swarp_input(work: Path, image: Path, sigma: str, mask: str) -> None:
    """Write frame, weights and a header with the distortion as SWarp reads it."""
    data, header = fits.getdata(image, header=True)
    bad = ~np.isfinite(data) | ((fits.getdata(mask) & FATAL) > 0)
    weight = np.where(bad, 0, 1 / np.nan_to_num(fits.getdata(sigma), nan=1.0) ** 2)
    plain = fits.Header()
    fits.writeto(work / image.name, np.where(bad, 0, data).astype("f4"), plain, overwrite=True)
    fits.writeto(
        work / image.name.replace(".fits", ".weight.fits"), weight.astype("f4"), plain, overwrite=True
    )
    (work / image.name.replace(".fits", ".head")).write_text(_text_header(tpv(frame_wcs(header), data.shape)))


def tpv(wcs: WCS, shape: tuple[int, int]) -> fits.Header:
    """Fit the distortion of a frame by the polynomial of the TPV projection."""
    y, x = (at.ravel() for at in np.indices(shape)[:, ::4, ::4].astype(float))
    cd = wcs.pixel_scale_matrix
    u, v = cd @ [x + 1 - wcs.wcs.crpix[0], y + 1 - wcs.wcs.crpix[1]]
    plane = wcs.deepcopy()
    plane.sip = None
    flat = np.stack(plane.wcs_world2pix(*wcs.all_pix2world(x, y, 0), 0)) + 1 - wcs.wcs.crpix[:, None]
    header = fits.Header({"CTYPE1": "RA---TPV", "CTYPE2": "DEC--TPV", "CUNIT1": "deg", "CUNIT2": "deg"})
    for k in (0, 1):
        header[f"CRVAL{k + 1}"], header[f"CRPIX{k + 1}"] = wcs.wcs.crval[k], wcs.wcs.crpix[k]
        for j in (0, 1):
            header[f"CD{k + 1}_{j + 1}"] = cd[k, j]
    numbers = (0, 1, 2, 4, 5, 6, 7, 8, 9, 10)
    for k, (a, b, wanted) in enumerate(((u, v, (cd @ flat)[0]), (v, u, (cd @ flat)[1])), 1):
        terms = np.stack([a**0, a, b, a**2, a * b, b**2, a**3, a**2 * b, a * b**2, b**3], axis=1)
        scale = np.abs(terms).max(axis=0)
        found = np.linalg.lstsq(terms / scale, wanted, rcond=None)[0] / scale
        for number, value in zip(numbers, found, strict=True):
            header[f"PV{k}_{number}"] = float(value)
    return header


def _text_header(header: fits.Header) -> str:
    return "\n".join(str(card).rstrip() for card in header.cards) + "\nEND\n"


def hits(folder: Path) -> tuple[np.ndarray, np.ndarray, float]:
    """Places of the brightest pixels of the hits on the mosaic, x and y, and the noise of a frame."""
    grid = read_fif(str(folder / "out/mosaic_fif.tbl")).wcs()
    found, sigma = [], 0.0
    for image, mask, unc in zip(
        *(names(folder, kind) for kind in ("images", "masks", "sigmas")), strict=True
    ):
        charge = hit_image(folder, image)
        sigma = float(np.nanmedian(fits.getdata(unc)))
        charge[(fits.getdata(mask) & FATAL) > 0] = 0
        tracks, n = label(charge > HIT * sigma, np.ones((3, 3)))
        if n:
            at = np.array(maximum_position(charge, tracks, np.arange(1, n + 1)), dtype=float)
            sky = frame_wcs(fits.getheader(image)).all_pix2world(at[:, 1], at[:, 0], 0)
            found.append(np.stack(grid.all_world2pix(*sky, 0)))
    x, y = np.concatenate(found, axis=1)
    return x, y, sigma


def removed(folder: Path, dirty: np.ndarray, clean: np.ndarray, side: int) -> list[tuple[int, float]]:
    """Number of hits and share of those removed [%], by coverage; the worst of side x side pixels counts."""
    x, y, sigma = hits(folder)
    depth = np.nan_to_num(fits.getdata(folder / "ref/Combine-mosaic/mosaic_cov.fits"))
    worst = maximum_filter(np.abs(np.nan_to_num(dirty - clean)), side)
    column, line = np.rint(x).astype(int), np.rint(y).astype(int)
    inside = (column >= 0) & (line >= 0) & (column < depth.shape[1]) & (line < depth.shape[0])
    column, line = column[inside], line[inside]
    seen = depth[line, column]
    # an empty pixel of the mosaic, which rejection may leave at coverage 1, holds no hit
    gone = worst[line, column] < LEFT * sigma / np.sqrt(np.maximum(seen, 1))
    rows = []
    for low, high in pairwise(DEPTHS):
        chosen = (seen >= low) & (seen < high)
        rows.append((int(chosen.sum()), 100 * float(gone[chosen].mean())))
    return rows


def star_fluxes(folder: Path, dirty: np.ndarray, clean: np.ndarray) -> str:
    """Relative change of the flux of bright unsaturated stars: median, scatter, share off by more than 1 %."""
    grid = read_fif(str(folder / "out/mosaic_fif.tbl")).wcs()
    table = read_table(str(folder / "sim/truth/sources.tbl"))
    good = (table.column("flux") > 300) & (table.column("saturated") == 0) & (table.column("n_frames") >= 3)
    x, y = grid.all_world2pix(table.column("ra")[good], table.column("dec")[good], 0)
    ratios = []
    for column, line in zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True):
        box = np.s_[line - APERTURE : line + APERTURE + 1, column - APERTURE : column + APERTURE + 1]
        before, after = clean[box], dirty[box]
        if before.shape == (2 * APERTURE + 1,) * 2 and np.isfinite(before).all() and np.isfinite(after).all():
            level = np.median(before)
            ratios.append((after - before).sum() / (before - level).sum())
    found = spread(np.array(ratios))
    off = 100 * np.mean(np.abs(ratios) > 0.01)
    return f"{found.n} stars: {100 * found.median:+.3f} %, scatter {100 * found.width:.3f} %, {off:.1f} % off by > 1 %"


def read(path: Path) -> np.ndarray:
    return fits.getdata(path).astype(float)


def report(name: str, folder: Path, dirty: np.ndarray, clean: np.ndarray, spent: float) -> None:
    for side, end in ((1, f"   {spent:7.1f}   {star_fluxes(folder, dirty, clean)}"), (3, "")):
        shares = "  ".join(f"{share:7.2f}" for _, share in removed(folder, dirty, clean, side))
        print(f"{name:16s} {side} x {side}  {shares}{end}", flush=True)


def main() -> None:
    folder, frames = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 60
    folder.mkdir(parents=True, exist_ok=True)
    simulate(folder, frames, "Coverage=4")
    spent = mosaic(folder, "sim/images.txt", "out")
    mosaic(folder, "clean.txt", "ref", *NO_REJECTION)
    dirty, clean = (read(folder / part / "Combine-mosaic/mosaic.fits") for part in ("out", "ref"))
    counts = "  ".join(f"{n:7d}" for n, _ in removed(folder, dirty, clean, 1))
    print("hits below 3 sigma on the mosaic [%], by coverage; CPU [s]; change of star fluxes")
    print(f"{'coverage':22s} {'  '.join(f'{depth:>7s}' for depth in ('1', '2', '3', '4', '5+'))}")
    print(f"{'hits':22s} {counts}")
    report("pymopex", folder, dirty, clean, spent)
    if not _swarp_command():
        print("SWarp is not installed: left out")
        return
    for resampling in ("LANCZOS3", "BILINEAR"):
        spent = swarp(folder, names(folder, "images"), "swarp", "CLIPPED", resampling)
        swarp(folder, (folder / "clean.txt").read_text().split(), "swarp_ref", "WEIGHTED", resampling)
        dirty, clean = (read(folder / part / "coadd.fits") for part in ("swarp", "swarp_ref"))
        report(f"SWarp {resampling}", folder, dirty, clean, spent)


if __name__ == "__main__":
    main()
