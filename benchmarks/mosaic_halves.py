"""Half of the frames against the other half: is the difference of two mosaics what their uncertainties say?

    python benchmarks/mosaic_halves.py DATA OUT [FIELD ...]

DATA holds the folders of the fields: ``irac1_grb120119a/`` (108 long frames with uncertainties and masks),
``irac1_cryo_17577216/`` (10 frames, cleaned, neither) and ``irac2_raw_61246976/`` (9 frames, neither); the others are
left out. Overlap makes the backgrounds of all frames agree; then two halves of the frames are mosaicked apart, each
with its own search for outliers, on one fiducial frame. Frames go to the halves by turns: one by one where two frames
in a row have one place on the sky (17577216), else two by two, since the dithers of this camera step by half a pixel
from each frame to the next, so that frames of even and of odd place see stars at different phases of the pixel. Without
uncertainty images the S/N Estimator computes them from gain and read noise.

The width of the difference over its uncertainty is half the distance between the 15.87 and 84.13 per cent points,
where both halves have a coverage of at least 3.5 and there is no star. It should be 1; over an uncertainty
from the scatter of four or five frames, which is uncertain itself, about 1.07. Products are there afterwards:
a second run takes them.
"""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pymopex.par
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.geometry import frame_wcs
from pymopex.projection import sky_to_pixel
from real_aor import long_frames, write_lists
from scipy import ndimage

FIELDS = {  # pattern of the names; frames in a row that go to one half; level of saturation [MJy/sr]
    "irac1_grb120119a": ("*_cbcd.fits", 2, 30.0),
    "irac1_cryo_17577216": ("*_clean.fits", 1, 100.0),
    "irac2_raw_61246976": ("*_cbcd_rebuilt.fits", 2, 100.0),
}
TEMPLATES = Path(pymopex.par.__file__).parent
LEAST = 3.5  # coverage by each half
CORE, APERTURE, ANNULUS, REACH = 3, 6.1, (20, 30), 31  # mosaic pixels of 0.6 arcsec
SMOOTH = 2.0  # mosaic pixels, sigma
BRIGHT = 100  # peak of a star over the noise of the difference
STARS = 40  # the brightest that are clear of saturation
PARTS = {"value": "", "coverage": "_cov", "unc": "_unc", "std": "_std", "var": "_var"}
Half = dict[str, np.ndarray]


def run(*words: str) -> None:
    """Run a command quietly; its log is shown if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def frames_of(folder: Path) -> list[Path]:
    """Frames of a field in the order of their exposures."""
    if folder.name == "irac1_grb120119a":
        return long_frames(folder)
    return sorted(folder.glob(FIELDS[folder.name][0]))


def correct(frames: list[Path], out: Path) -> tuple[list[str], list[str]]:
    """Make the backgrounds of all frames agree; gives flags and paths of the lists, and what a run needs besides."""
    flags, keys = write_lists(frames, out), []
    if not frames[0].name.endswith("_cbcd.fits"):
        flags, keys = flags[:2], ["have_uncertainties=0", "compute_uncertainties_internally=1"]
    if not (out / "Overlap_corr" / "offsets.tbl").exists():
        run("overlap.sh", "-n", str(TEMPLATES / "overlap_I1.nl"), *flags, *keys, "-O", str(out))
    flags[1] = str(out / "Overlap_corr" / "correct_images.txt")
    return flags, keys


def halves(frames: list[Path], out: Path, turn: int) -> list[Half]:
    """Mosaic two halves of the frames apart, which get `turn` frames by turns."""
    flags, keys = correct(frames, out)
    keys += ["-F", str(out / "FIF.tbl"), "run_fiducial_image_frame=0", "create_var_mosaic=1"]
    made = []
    for number in (0, 1):
        half = out / f"half{number + 1}"
        half.mkdir(exist_ok=True)
        lists = list(flags)
        lists[1::2] = [_part(half / Path(path).name, Path(path), turn, number) for path in flags[1::2]]
        if not (half / "Combine-mosaic" / "mosaic_var.fits").exists():
            run("mosaic.sh", "-n", str(TEMPLATES / "mosaic_I1.nl"), *lists, *keys, "-O", str(half))
        folder = half / "Combine-mosaic"
        made.append({name: fits.getdata(folder / f"mosaic{part}.fits") for name, part in PARTS.items()})
    return made


def _part(path: Path, whole: Path, turn: int, number: int) -> str:
    lines = [line for i, line in enumerate(whole.read_text().split()) if i // turn % 2 == number]
    path.write_text("".join(f"{line}\n" for line in lines))
    return str(path)


def width(values: np.ndarray) -> float:
    """Half the distance between the points of -1 and +1 sigma of a normal distribution."""
    low, high = np.percentile(values[np.isfinite(values)], (15.87, 84.13))
    return float(high - low) / 2


def empty_sky(pair: list[Half]) -> np.ndarray:
    """Pixels without stars that both halves see often enough."""
    seen = (pair[0]["coverage"] > LEAST) & (pair[1]["coverage"] > LEAST)
    mean = np.where(seen, (pair[0]["value"] + pair[1]["value"]) / 2, np.nan)
    level, noise = np.nanmedian(mean), width(mean[seen])
    noise = width(mean[seen & (mean < level + 3 * noise)])
    stars = ndimage.binary_dilation(np.nan_to_num(mean - level) > 5 * noise, iterations=6)
    return seen & ~stars


def noise_figures(pair: list[Half], sky: np.ndarray) -> None:
    """Print the width of the difference over the uncertainties of each kind."""
    one, two = pair
    off = (one["value"] - two["value"])[sky]
    off -= np.median(off)
    depth = [half["coverage"][sky] for half in pair]
    print(
        f"  sky: {off.size} pixels, coverage {np.median(depth[0]):.1f} and {np.median(depth[1]):.1f}, ",
        end="",
    )
    print(f"width of the difference {1e3 * width(off):.2f}e-3 MJy/sr")
    squares = {name: sum(half[name][sky].astype(float) ** 2 for half in pair) for name in ("unc", "std")}
    squares["var"] = sum(half["var"][sky].astype(float) for half in pair)
    spread = [np.sqrt(np.nanmedian((half["std"][sky] / half["unc"][sky]) ** 2)) for half in pair]
    for name, square in squares.items():
        print(f"  width of difference / {name}: {width(off / np.sqrt(square)):.3f}")
    print(f"  std / unc: {np.mean(spread):.3f}")


def star_places(pair: list[Half], saturation: float) -> np.ndarray:
    """Rows and columns of the brightest stars that are not saturated, whose cores are whole, and none brighter near."""
    mean = np.nan_to_num((pair[0]["value"] + pair[1]["value"]) / 2)
    least = np.minimum(pair[0]["coverage"], pair[1]["coverage"])
    whole = ndimage.minimum_filter(least, 2 * CORE + 1) > np.maximum(
        LEAST, 0.85 * ndimage.maximum_filter(least, 15)
    )
    level = np.median(mean[least > LEAST])
    peaks = (mean == ndimage.maximum_filter(mean, 61)) & whole & (mean < saturation)
    noise = np.sqrt(sum(half["std"][least > LEAST] ** 2 for half in pair))
    peaks &= mean - level > BRIGHT * np.nanmedian(noise)
    rows, columns = np.nonzero(peaks)
    return np.stack([rows, columns], axis=1)[np.argsort(-mean[rows, columns])][:STARS]


def star_figures(pair: list[Half], saturation: float, out: Path) -> None:
    """Print what the difference leaves of bright stars: in the core, the same on smoothed mosaics, in an aperture."""
    images = [np.nan_to_num(half["value"].astype(float)) for half in pair]
    smooth = [ndimage.gaussian_filter(image, SMOOTH) for image in images]
    places = star_places(pair, saturation)
    peaks = [sum(image[tuple(place)] for image in images) / 2 for place in places]
    print(f"  {len(places)} stars, peaks of {min(peaks):.1f} to {max(peaks):.1f} MJy/sr")
    for title, (one, two) in (("as they are", images), ("smoothed by a frame pixel", smooth)):
        left = [_core(one, two, place) for place in places]
        print(
            f"  largest difference in the core / peak, {title}: median {100 * np.median(left):.2f} %, ",
            end="",
        )
        print(f"90 % {100 * np.percentile(left, 90):.2f} %, largest {100 * np.max(left):.2f} %")
    flux = [_flux(*images, place) for place in places]
    print(f"  difference of fluxes within 3 frame pixels: median {100 * np.median(flux):+.2f} %, ", end="")
    print(f"scatter {100 * width(np.array(flux)):.2f} %, largest {100 * np.abs(flux).max():.2f} %")
    frame_figures(places, np.array(flux), out)


def frame_figures(places: np.ndarray, flux: np.ndarray, out: Path) -> None:
    """Print how the fluxes of the same stars scatter from frame to frame, and what that makes halves differ by."""
    wcs = WCS(fits.getheader(out / "half1" / "Combine-mosaic" / "mosaic.fits"))
    ra, dec = wcs.all_pix2world(places[:, 1], places[:, 0], 0)
    ratios, counts = [], []
    for half in ("half1", "half2"):
        lines = (out / half / "correct_images.txt").read_text().split()
        found = np.array([_frame_fluxes(path, ra, dec) for path in lines])
        counts.append(np.isfinite(found).sum(axis=0))
        enough = found[:, counts[-1] > 2]
        ratios.append(enough / np.nanmedian(enough, axis=0))
    scatter = width(np.concatenate([ratio.ravel() for ratio in ratios]))
    both = np.minimum(*counts) > 2
    allowed = scatter * np.sqrt(1 / counts[0][both] + 1 / counts[1][both])
    print(f"  {both.sum()} of them in single frames: scatter {100 * scatter:.1f} %; ", end="")
    print(f"width of the difference over what that allows: {width(flux[both] / allowed):.2f}")


def _frame_fluxes(path: str, ra: np.ndarray, dec: np.ndarray) -> np.ndarray:
    """Fluxes of stars on a frame within the aperture; NaN for those off it and those with bad pixels."""
    data, header = fits.getdata(path, header=True)
    fluxes = np.full(ra.size, np.nan)
    rows, columns = np.indices(data.shape)
    for i, (x, y) in enumerate(zip(*sky_to_pixel(frame_wcs(header), ra, dec), strict=True)):
        if min(x, y) > ANNULUS[1] / 2 and max(x, y) < data.shape[0] - 1 - ANNULUS[1] / 2:
            r = 2 * np.hypot(columns - x, rows - y)
            fluxes[i] = (data - np.nanmedian(data[(r > ANNULUS[0]) & (r < ANNULUS[1])]))[r < APERTURE].sum()
    return fluxes


def _cut(place: np.ndarray) -> tuple[tuple[slice, slice], np.ndarray]:
    """Cut round a star, and the distances from it."""
    half = [np.arange(-min(int(at), REACH), REACH + 1) for at in place]
    cut = tuple(slice(int(at) + steps[0], int(at) + REACH + 1) for at, steps in zip(place, half, strict=True))
    return cut, np.hypot(half[0][:, None], half[1])  # type: ignore[return-value]


def _core(one: np.ndarray, two: np.ndarray, place: np.ndarray) -> float:
    """Largest difference in the core over the peak above the sky."""
    cut, r = _cut(place)
    ring = (r > ANNULUS[0]) & (r < ANNULUS[1])
    a, b = (image[cut] - np.median(image[cut][ring]) for image in (one, two))
    return float(np.abs(a - b)[r < CORE].max() / ((a + b)[r < CORE].max() / 2))


def _flux(one: np.ndarray, two: np.ndarray, place: np.ndarray) -> float:
    """Relative difference of the fluxes in the aperture."""
    cut, r = _cut(place)
    ring, inside = (r > ANNULUS[0]) & (r < ANNULUS[1]), r < APERTURE
    a, b = (float((image[cut] - np.median(image[cut][ring]))[inside].sum()) for image in (one, two))
    return 2 * (a - b) / (a + b)


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2]).resolve()
    for name in sys.argv[3:] or FIELDS:
        if not (data / name).is_dir():
            print(f"{name}: not in {data}, left out")
            continue
        frames, (_, turn, saturation) = frames_of(data / name), FIELDS[name]
        (out / name).mkdir(parents=True, exist_ok=True)
        pair = halves(frames, out / name, turn)
        print(f"{name}: {len(frames)} frames")
        noise_figures(pair, empty_sky(pair))
        star_figures(pair, saturation, out / name)


if __name__ == "__main__":
    main()
