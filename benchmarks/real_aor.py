"""The recipe on a real AOR: lists, PRF map, the whole flow, and the figures that say whether it worked.

    python benchmarks/real_aor.py DATA OUT [KEY=VALUE ...]

DATA holds ``irac1_grb120119a/`` (cbcd, cbunc, bimsk), ``prf/ssc_070131_x5/`` and ``cal/ch1_photcorr_ap_5.fits``.
The frames are chosen by their headers: those of a high-dynamic-range set (HDRMODE true) that are not its long
frame are left out, and so are other exposure times than the longest. The last figures are azimuthal means of the
residuals round the brightest stars that no frame saturates; ``OUT/rings.png`` shows six of these stars.
"""

import subprocess
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.comparison import spread
from pymopex.kit.ipac import read_table

# IRAC Instrument Handbook: warm aperture correction, radius 3 native pixels, annulus 12-20; Table C.1, PRF flux factor.
APERTURE_CORRECTION = 1.1132
PRF_FACTOR = 1.021
SATURATED = 1 << 13  # bit of the status mask
RING, HALF, NEIGHBOUR = 2, 44, 8  # pixels of the mosaic: width of rings, half of a cutout, round other stars
N_STARS = 20


def long_frames(folder: Path) -> list[Path]:
    """Choose the long frames by their headers."""
    chosen, longest = [], 0.0
    for path in sorted(folder.glob("*_cbcd.fits")):
        header = fits.getheader(path)
        if header.get("HDRMODE", False) and str(header.get("HDRFRAME", "long")).strip().lower() != "long":
            continue
        chosen.append((path, float(header["EXPTIME"])))
        longest = max(longest, float(header["EXPTIME"]))
    return [path for path, exposure in chosen if exposure > 0.99 * longest]


def write_lists(frames: list[Path], out: Path) -> list[str]:
    """Write the three lists; gives the flags that name them."""
    flags = []
    for flag, name, ending in (("-I", "images", "cbcd"), ("-S", "sigmas", "cbunc"), ("-d", "masks", "bimsk")):
        path = out / f"{name}.txt"
        path.write_text("".join(f"{str(frame).replace('_cbcd', '_' + ending)}\n" for frame in frames))
        flags += [flag, str(path)]
    return flags


def run(*words: str) -> None:
    """Run a command, its log on the screen."""
    print("$", " ".join(words), flush=True)
    subprocess.run(words, check=True)


def overlap_figures(out: Path) -> None:
    offsets = read_table(str(out / "Overlap_corr" / "offsets.tbl")).column("offset")
    print(f"overlap offsets: n {len(offsets)}, rms {offsets.std():.5f}, range {np.ptp(offsets):.5f} MJy/sr")


def rejection_figures(out: Path) -> None:
    table = read_table(str(out / "Rmask-mosaic" / "rejected.tbl"))
    total = table.column("n_pixels").sum()
    for name in ("temporal", "dual", "box", "rejected"):
        print(f"rejected, {name}: {100 * table.column(name).sum() / total:.3f} % of the pixels")


def coverage_figures(out: Path) -> None:
    coverage = fits.getdata(out / "Combine-mosaic" / "mosaic_cov.fits")
    inside = coverage[coverage > 0]
    low, middle, high = np.percentile(inside, (5, 50, 95))
    print(f"coverage: 5 % {low:.1f}, median {middle:.1f}, 95 % {high:.1f}, max {inside.max():.1f}")


def source_figures(out: Path) -> None:
    detected = read_table(str(out / "detect_raw.tbl"))
    table = read_table(str(out / "extract.tbl"))
    snr, chi = table.column("SNR"), table.column("chi2/dof")
    print(f"sources: detected {len(detected.column('srcid'))}, extracted {len(snr)}")
    print(f"chi2/dof: median {np.median(chi):.3f}; at SNR > 50 {np.median(chi[snr > 50]):.3f}")


def flux_figures(out: Path) -> None:
    """Fitted flux over aperture flux of isolated stars far from the saturated one, on the scale of the calibration."""
    table = read_table(str(out / "extract.tbl"))
    flux, snr = (table.column(name) for name in ("flux", "SNR"))
    aperture = table.column("aperture2")
    bad = table.column("bad_pix2")
    x, y = table.column("x"), table.column("y")
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + np.where(
        np.eye(len(x)), 1e9, 0
    )  # pixels of 0.6 arcsec
    share = flux[None, :] / flux[:, None]
    isolated = (np.where(apart < 10, share, 0).sum(axis=1) < 0.01) & (
        np.where(apart < 24, share, 0).max(axis=1) < 0.1
    )
    coverage = fits.getdata(out / "Combine-mosaic" / "mosaic_cov.fits")
    depth = coverage[np.round(y).astype(int) - 1, np.round(x).astype(int) - 1]
    chosen = (
        isolated
        & away_from_brightest(out, x - 1, y - 1)
        & (snr > 50)
        & (bad == 0)
        & (depth > 15)
        & (flux < 5000)
    )
    ratio = (flux / PRF_FACTOR) / (aperture * APERTURE_CORRECTION)
    found = spread(ratio[chosen])
    print(f"PRF flux / aperture flux: {found.n} stars, median {found.median:.4f}, scatter {found.width:.4f}")


def saturated_in(out: Path, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Count the frames in which a pixel round each star is saturated."""
    count = np.zeros(len(ra), int)
    names = ((out / f"{kind}.txt").read_text().split() for kind in ("images", "masks"))
    for image, mask in zip(*names, strict=True):
        header, bits = fits.getheader(image), np.pad(fits.getdata(mask), 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keywords of SIP without -SIP, dates
            places = WCS(header).all_world2pix(ra, dec, 0, quiet=True)
        column, row = (np.round(np.nan_to_num(at, nan=-9)).astype(int) for at in places)
        inside = (column >= 0) & (row >= 0) & (column < header["NAXIS1"]) & (row < header["NAXIS2"])
        for i in np.flatnonzero(inside):
            count[i] += bool((bits[row[i] : row[i] + 3, column[i] : column[i] + 3] & SATURATED).any())
    return count


def bright_stars(out: Path) -> np.ndarray:
    """Places of the brightest stars that no frame saturates, away from the saturated one: rows x, y from 0, flux."""
    table = read_table(str(out / "extract.tbl"))
    x, y, flux = table.column("x") - 1, table.column("y") - 1, table.column("flux")
    coverage = fits.getdata(out / "Combine-mosaic" / "mosaic_cov.fits")
    depth = coverage[np.round(y).astype(int), np.round(x).astype(int)]
    candidates = np.argsort(-flux)
    candidates = candidates[(depth[candidates] > 10) & away_from_brightest(out, x, y)[candidates]][:60]
    sky = (table.column(name)[candidates] for name in ("RA", "Dec"))
    chosen = candidates[saturated_in(out, *sky) == 0][:N_STARS]
    return np.array([x[chosen], y[chosen], flux[chosen]])


def away_from_brightest(out: Path, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Tell which places are 230 pixels or more from the brightest pixel of the mosaic."""
    mosaic = np.nan_to_num(fits.getdata(out / "Combine-mosaic" / "mosaic.fits"))
    row, column = np.unravel_index(np.argmax(mosaic), mosaic.shape)
    return np.hypot(x - column, y - row) > 230


def residual_figures(out: Path) -> None:
    """Residual rms in star-free sky and at the brightest unsaturated stars."""
    mosaic = fits.getdata(out / "Combine-mosaic" / "mosaic.fits")
    residual = fits.getdata(out / "Residual" / "mosaic" / "Combine" / "mosaic.fits")
    coverage = fits.getdata(out / "Combine-mosaic" / "mosaic_cov.fits")
    table = read_table(str(out / "extract.tbl"))
    x, y, flux = (table.column(name) for name in ("x", "y", "flux"))
    yy, xx = np.indices(mosaic.shape)
    stars = np.zeros(mosaic.shape, bool)
    for a, b, f in zip(x - 1, y - 1, flux, strict=True):
        reach = 8 if f < 1000 else 25
        box = np.s_[max(0, int(b) - reach) : int(b) + reach + 1, max(0, int(a) - reach) : int(a) + reach + 1]
        stars[box] |= np.hypot(xx[box] - a, yy[box] - b) < reach
    sky = ~stars & (coverage > 15) & np.isfinite(residual)
    print(f"residual, star-free sky at coverage > 15: robust rms {spread(residual[sky]).width:.5f} MJy/sr")


def cutout(image: np.ndarray, x: float, y: float) -> np.ndarray:
    """Cut a square round a place, NaN beyond the image."""
    padded = np.pad(image.astype(float), HALF, constant_values=np.nan)
    row, column = round(y), round(x)
    return padded[row : row + 2 * HALF + 1, column : column + 2 * HALF + 1]


def ring_figures(out: Path) -> None:
    """Azimuthal means of the residuals round the brightest unsaturated stars, over the peak of each; a picture."""
    mosaic = fits.getdata(out / "Combine-mosaic" / "mosaic.fits")
    residual = fits.getdata(out / "Residual" / "mosaic" / "Combine" / "mosaic.fits")
    table = read_table(str(out / "extract.tbl"))
    stars = np.array([table.column("x") - 1, table.column("y") - 1, table.column("flux")])
    chosen = bright_stars(out)
    edges = np.arange(0, HALF - 12, RING)
    means, pictures, within = [], [], []
    yy, xx = np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1]
    for x, y, flux in chosen.T:
        left, image = cutout(residual, x, y), cutout(mosaic, x, y)
        distance = np.hypot(xx + round(x) - x, yy + round(y) - y)
        free = np.isfinite(left)
        for a, b, other in stars.T:
            if 0 < np.hypot(a - x, b - y) < 2 * HALF and other > 0.01 * flux:
                free &= np.hypot(xx + round(x) - a, yy + round(y) - b) > NEIGHBOUR
        if not (free & (distance > HALF - 12)).any():
            continue
        sky = np.median(left[free & (distance > HALF - 12)])
        peak = np.nanmax(image[distance < 3]) - np.nanmedian(image)
        share = np.where(free, (left - sky) / peak, np.nan)
        rings = [share[(distance >= r) & (distance < r + RING)] for r in edges]
        means.append(
            [np.nanmean(ring) if np.isfinite(ring).sum() > ring.size / 2 else np.nan for ring in rings]
        )
        within.append(np.nanstd((left - sky)[distance < 5]) / peak)
        pictures.append((image / peak, (left - sky) / peak))
    print(
        f"residual rms within 3 arcsec of {len(within)} unsaturated stars: {np.median(within):.4f} of the peak"
    )
    print(
        f"mean residual over peak in rings of {RING} pixels of 0.6 arcsec round them, "
        f"{chosen[2].min():.0f} to {chosen[2].max():.0f} microjansky:"
    )
    for start, ring in zip(edges, np.array(means).T, strict=True):
        known = ring[np.isfinite(ring)]
        farthest = known[np.argmax(np.abs(known))]
        print(f"  {start:2d} to {start + RING:2d}: median {np.median(known):+.4f}, farthest {farthest:+.4f}")
    ring_picture(out / "rings.png", pictures[:6])


def ring_picture(path: Path, pictures: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Draw stars, and their residuals, in parts of the peak."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(
        2, len(pictures), figsize=(3 * len(pictures), 6), squeeze=False, layout="constrained"
    )
    for (image, left), top, bottom in zip(pictures, *axes, strict=True):
        top.imshow(image, origin="lower", cmap="gray", vmin=-0.003, vmax=0.03)
        shown = bottom.imshow(100 * left, origin="lower", cmap="RdBu_r", vmin=-3, vmax=3)
        for axis in (top, bottom):
            axis.set_axis_off()
    figure.colorbar(shown, ax=axes[1].tolist(), label="residual, % of the peak")
    figure.savefig(path, dpi=80)


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    out.mkdir(parents=True, exist_ok=True)
    frames = long_frames(data / "irac1_grb120119a")
    print(f"{len(frames)} long frames")
    flags = write_lists(frames, out)
    prf = out / "prf"
    run("mopex", "make_prf", f"Input_Dir={data / 'prf' / 'ssc_070131_x5'}", "Channel=1", f"OUTPUT_DIR={prf}")
    import pymopex.par

    templates = Path(pymopex.par.__file__).parent
    names = [str(templates / f"{name}_I1.nl") for name in ("overlap", "mosaic", "apex", "apex_qa")]
    kernel = next(prf.glob("*_mosaic_detect_kernel.fits"))
    extra = [
        "make_array_corr_files=1",
        "make_array_corr_mosaic=1",
        f"ARRAY_CORR_IMAGE={data / 'cal' / 'ch1_photcorr_ap_5.fits'}",
    ]
    started = time.monotonic()
    run(
        "flow.sh",
        *flags,
        "-m",
        str(prf / "prfmap.tbl"),
        "-P",
        str(kernel),
        "-O",
        str(out),
        *extra,
        *sys.argv[3:],
        *names,
    )
    print(f"wall time of the flow: {time.monotonic() - started:.1f} s")
    for figures in (
        overlap_figures,
        rejection_figures,
        coverage_figures,
        source_figures,
        flux_figures,
        residual_figures,
        ring_figures,
    ):
        figures(out)


if __name__ == "__main__":
    main()
