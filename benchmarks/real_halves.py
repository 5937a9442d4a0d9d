"""Real stars measured in two halves of the frames: do they agree within their uncertainties?

    python benchmarks/real_halves.py DATA OUT [FIELD ...]

DATA holds ``irac1_grb120119a/`` (108 long frames with uncertainties and masks), ``irac2_raw_61246976/`` (9 frames
without either: the S/N Estimator computes the uncertainties) and ``prf/ssc_070131_x5/``. The flow from Overlap to APEX
runs on all frames; then its sources are fitted again in each half of the frames (``apex_user_list.sh``), with the
outlier masks of all. Frames go to the halves two by two, since the dithers of this camera step by half a pixel from
each frame to the next.

Printed per bin of signal-to-noise ratio: the width of the differences between the halves over their uncertainties, as
they are, scaled by the square root of chi2/dof (``Scale_Errors``), and from the scatter of the single frames
(``Frame_Errors`` besides), for flux, right ascension and declination; the
median chi2/dof; and the scatter of the fluxes between the halves in per cent. Then the ratio of PRF flux to aperture
flux on the scale of the calibration. Products are there afterwards: a second run takes them.
"""

import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np
import pymopex.par
from astropy.io import fits
from pymopex.comparison import match, sky_offsets, spread
from pymopex.kit.ipac import Table, read_table
from real_aor import long_frames, write_lists

# IRAC Instrument Handbook: warm aperture correction, radius 3 native pixels, annulus 12-20; Table C.1, PRF flux factor.
CORRECTION = {1: 1.1132, 2: 1.1126}
FACTOR = {1: 1.021, 2: 1.012}
SATURATED = {1: 5000.0, 2: 20000.0}  # uJy, about, of long frames
FIELDS = {"irac1_grb120119a": (1, "*_cbcd.fits"), "irac2_raw_61246976": (2, "*_cbcd_rebuilt.fits")}
TEMPLATES = Path(pymopex.par.__file__).parent
EDGES = (5, 20, 50, 100, 300, 1000, 10000)
TURN = 2  # frames in a row that go to one half


def run(*words: str) -> None:
    """Run a command quietly; its log is shown if it fails."""
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")


def template(name: str, channel: int) -> str:
    """Give the template of a pipeline."""
    path = TEMPLATES / f"{name}_I{channel}.nl"
    return str(path if path.exists() else TEMPLATES / f"{name}_I1.nl")


def whole_flow(data: Path, field: str, out: Path) -> tuple[list[str], list[str]]:
    """Run the flow on all frames; gives flags and paths of the lists, and the settings of the uncertainties."""
    channel, pattern = FIELDS[field]
    folder = data / field
    frames = long_frames(folder) if field == "irac1_grb120119a" else sorted(folder.glob(pattern))
    lists, keys = write_lists(frames, out), []
    if not frames[0].name.endswith("_cbcd.fits"):
        lists, keys = lists[:2], ["have_uncertainties=0", "compute_uncertainties_internally=1"]
    prf = out / "prf"
    if not (prf / "prfmap.tbl").exists():
        words = [f"Input_Dir={data / 'prf' / 'ssc_070131_x5'}", f"Channel={channel}", f"OUTPUT_DIR={prf}"]
        run("mopex", "make_prf", *words)
    if not (out / "out" / "extract.tbl").exists():
        kernel = str(prf / f"IRAC{channel}_mosaic_detect_kernel.fits")
        words = ["-m", str(prf / "prfmap.tbl"), "-P", kernel, "-O", str(out / "out"), *keys]
        run("flow.sh", *lists, *words, *(template(name, channel) for name in ("overlap", "mosaic", "apex")))
    return lists, keys


def fit_half(out: Path, lists: list[str], keys: list[str], channel: int, number: int) -> tuple[Table, Table]:
    """Fit the sources of all frames in one half of them: uncertainties of the pixels, and of the frames' scatter."""
    half, done = out / f"half{number + 1}", out / "out"
    half.mkdir(exist_ok=True)
    wanted = dict(zip(lists[::2], lists[1::2], strict=True))
    wanted["-I"] = str(done / "Overlap_corr" / "correct_images.txt")
    wanted["-R"] = str(done / "Rmask-mosaic" / "rmask_correct_images.txt")
    flags: list[str] = []
    for flag, path in wanted.items():
        part = half / f"{flag[1:]}.txt"
        lines = [line for i, line in enumerate(Path(path).read_text().split()) if i // TURN % 2 == number]
        part.write_text("".join(f"{line}\n" for line in lines))
        flags += [flag, str(part)]
    words = [
        "-u",
        str(done / "extract.tbl"),
        "-F",
        str(done / "mosaic_fif.tbl"),
        "-m",
        str(out / "prf" / "prfmap.tbl"),
    ]
    off = [
        f"run_{name}=0"
        for name in ("fiducial_image_frame", "mosaic_interp", "mosaic_coadder", "mosaic_combiner")
    ]
    off += [
        f"run_{name}=0" for name in ("detect_medfilter", "gaussnoise", "detection_map", "aperture", "select")
    ]
    run(
        "apex_user_list.sh",
        "-n",
        template("apex_user_list", channel),
        *flags,
        *words,
        *keys,
        *off,
        "-O",
        str(half),
    )
    found = read_table(str(half / "extract_raw.tbl"))
    run(
        "mopex",
        "sourcestimate",
        str(half / f"apex_user_list_I{channel}.nl"),
        "Frame_Errors=1",
        "Scale_Errors=1",
    )
    return found, read_table(str(half / "extract_raw.tbl"))


def column(table: Table, name: str, rows: np.ndarray) -> np.ndarray:
    return np.asarray(table.column(name), dtype=float)[rows]


def difference_figures(halves: list[tuple[Table, Table]], channel: int) -> None:
    """Print the widths of the differences over their uncertainties."""
    (one, framed), (two, framed_too) = halves
    every = [np.arange(len(table.column("flux"))) for table in (one, two)]
    place = [
        (column(t, "RA", rows), column(t, "Dec", rows)) for t, rows in zip((one, two), every, strict=True)
    ]
    pair = match(*place[0], *place[1], 0.6)
    values = {
        name: np.array([column(t, name, rows) for t, rows in zip((one, two), pair, strict=True)])
        for name in (
            "RA",
            "Dec",
            "flux",
            "delta_RA",
            "delta_Dec",
            "delta_flux",
            "chi2/dof",
            "status",
            "N_PS",
            "n_frames",
        )
    }
    scattered = {
        name: np.array([column(t, name, rows) for t, rows in zip((framed, framed_too), pair, strict=True)])
        for name in ("delta_flux", "delta_RA", "delta_Dec")
    }
    good = (
        (values["status"] > 0).all(axis=0)
        & (values["N_PS"] == 1).all(axis=0)
        & (values["n_frames"] > 2).all(axis=0)
    )
    values = {name: value[:, good] for name, value in values.items()}
    scattered = {name: value[:, good] for name, value in scattered.items()}
    across = np.cos(np.radians(values["Dec"][0]))
    east, north = sky_offsets(values["RA"][0], values["Dec"][0], values["RA"][1], values["Dec"][1])
    off = [values["flux"][0] - values["flux"][1], east / 3600, north / 3600]
    error = [values["delta_flux"], values["delta_RA"] * across, values["delta_Dec"]]
    framed_error = [scattered["delta_flux"], scattered["delta_RA"] * across, scattered["delta_Dec"]]
    snr = (values["flux"] / values["delta_flux"]).mean(axis=0)
    flux = values["flux"].mean(axis=0)
    print(
        "   SNR of a half       n   pulls: flux    RA   Dec   scaled: flux    RA   Dec   frames: flux    RA   Dec"
        "   chi2/dof  scatter of flux"
    )
    for low, high in pairwise(EDGES):
        use = (snr >= low) & (snr < high) & (flux < SATURATED[channel])
        if use.sum() < 10:
            continue
        plain = [spread((d / np.hypot(*e))[use]).width for d, e in zip(off, error, strict=True)]
        root = np.sqrt(values["chi2/dof"])
        scaled = [spread((d / np.hypot(*(e * root)))[use]).width for d, e in zip(off, error, strict=True)]
        frames = [spread((d / np.hypot(*e))[use]).width for d, e in zip(off, framed_error, strict=True)]
        share = spread((off[0] / flux)[use]).width / np.sqrt(2)
        numbers = "  ".join(" ".join(f"{v:6.3f}" for v in part) for part in (plain, scaled, frames))
        chi = np.median(values["chi2/dof"][:, use])
        print(f"  {low:6d} to {high:6d}  {use.sum():5d}   {numbers}   {chi:8.3f}  {100 * share:8.2f} %")


def aperture_figures(done: Path, channel: int) -> None:
    """PRF flux over aperture flux of isolated stars, on the scale of the calibration."""
    table = read_table(str(done / "extract.tbl"))
    flux, error, x, y = (np.asarray(table.column(name)) for name in ("flux", "delta_flux", "x", "y"))
    aperture, bad = table.column("aperture2"), table.column("bad_pix2")
    coverage = fits.getdata(done / "Combine-mosaic" / "mosaic_cov.fits")
    depth = coverage[np.round(y).astype(int) - 1, np.round(x).astype(int) - 1]
    apart = np.hypot(x[:, None] - x, y[:, None] - y) + np.where(
        np.eye(len(x)), 1e9, 0
    )  # pixels of 0.6 arcsec
    share = flux[None, :] / flux[:, None]
    alone = np.where(apart < 10, share, 0).sum(axis=1) < 0.01
    alone &= np.where(apart < 24, share, 0).max(axis=1) < 0.1
    brightest = np.argmax(flux)
    away = (
        np.hypot(x - x[brightest], y - y[brightest]) > 230 if flux[brightest] > 1e5 else np.ones(len(x), bool)
    )
    chosen = (
        alone
        & away
        & (flux / error > 50)
        & (bad == 0)
        & (depth > 0.4 * np.percentile(coverage[coverage > 0], 90))
    )
    chosen &= flux < SATURATED[channel]
    found = spread(((flux / FACTOR[channel]) / (aperture * CORRECTION[channel]))[chosen])
    print(
        f"  PRF flux / aperture flux, SNR > 50: {found.n} stars, median {found.median:.4f} "
        f"+- {1.25 * found.width / np.sqrt(max(found.n, 1)):.4f}, scatter {found.width:.4f}"
    )


def main() -> None:
    data, top = Path(sys.argv[1]).resolve(), Path(sys.argv[2]).resolve()
    for field in sys.argv[3:] or [name for name in FIELDS if (data / name).is_dir()]:
        channel, out = FIELDS[field][0], top / field
        out.mkdir(parents=True, exist_ok=True)
        lists, keys = whole_flow(data, field, out)
        halves = [fit_half(out, lists, keys, channel, number) for number in (0, 1)]
        print(f"{field}: {' and '.join(str(len(plain.column('flux'))) for plain, _ in halves)} sources")
        difference_figures(halves, channel)
        aperture_figures(out / "out", channel)


if __name__ == "__main__":
    main()
