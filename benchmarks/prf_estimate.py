"""How well PRF Estimate recovers a known PRF, and the fluxes that APEX measures with it.

    python benchmarks/prf_estimate.py FOLDER

Simulates frames of IRAC channel 1 with stars that are alone, makes PRFs from them by both methods, compares these with
the true one, and fits the stars with each PRF at the positions of the truth. Effective PRFs are also made from each
quarter of the stars, about 70 stamps, and the errors of the fluxes set beside those that the headers tell. A PRF of
`EPSFBuilder` of photutils, from the same stamps, is compared too. Writes ``prf_estimate.png`` into the folder: the
PRFs, and how they differ from the truth. Takes some minutes.
"""

import contextlib
import io
import itertools
import os
import sys
import warnings

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np
from astropy.io import fits
from pymopex import optics
from pymopex.instruments import INSTRUMENTS
from pymopex.kit.cli import main
from pymopex.kit.ipac import read_table
from pymopex.prf import PRF

FACTOR, RADIUS = 5, 10  # samples per pixel; pixels
FIELD = (
    *("Array_Size=160", "N_Frames=24", "Coverage=8", "N_Stars=120", "Min_Separation=25", "Slope=-1"),
    *("Faintest_Flux=400", "Brightest_Flux=4000", "Offset_Rms=0.02", "Seed=11"),
)
STARS = "Source_Conditions=saturated == 0 and n_frames > 2"
LISTS = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-M", "sim/pmask.fits")
OFF = ("run_mosaic_interp=0", "run_mosaic_coadder=0", "run_mosaic_combiner=0", "run_aperture=0")


def mopex(*words):
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        status = main(list(words))
    if status:
        raise SystemExit(log.getvalue())
    return log.getvalue()


def make(method, folder="", stars=STARS):
    """Make a PRF; gives its path."""
    folder = folder or method
    words = (*LISTS, "-E", "sim/truth/sources.tbl", "-O", folder, f"PRF_Method={method}", stars)
    if method == "average":
        words += (
            "run_medfilter=1",
            "Max_Number_Outliers=1000",
            "MinNumber_Replacement_Pixels=5",
            "Reject_NaNs=20",
        )
    log = mopex("drive", "prf_estimate", "-n", "prf_estimate_I1.nl", *words)
    print("\n".join(line for line in log.splitlines() if "stamps" in line))
    return f"{folder}/PRF.fits"


def truth():
    """The true PRF with as many samples as the estimated ones have per pixel."""
    prf = optics.prf(INSTRUMENTS["I1"])
    step, middle = prf.factor_x // FACTOR, prf.samples.shape[0] // 2
    n = middle // step
    return prf.samples[middle - n * step :: step, middle - n * step :: step][: 2 * n + 1, : 2 * n + 1]


def compared(samples, true):
    """Common part of a PRF and of the true one, both normalised within the radius."""
    half = min(n // 2 for n in (*samples.shape, *true.shape))
    cut = [
        PRF(
            s[tuple(slice(n // 2 - half, n // 2 + half + 1) for n in s.shape)].astype(float), FACTOR, FACTOR
        ).normalised(RADIUS * FACTOR)
        for s in (samples, true)
    ]
    return cut[0].samples, cut[1].samples


def fluxes(prf):
    """Relative error of the fluxes that APEX fits with a PRF, of stars that several frames hold unsaturated."""
    name = os.path.dirname(prf) or "true"
    block = [f"SOURCESTIMATE.PRF_Resample{axis}_Factor={FACTOR}" for axis in "XY"] + [
        f"SOURCESTIMATE.Normalization_Radius={RADIUS * FACTOR}"
    ]
    words = (*LISTS, "-u", "user.tbl", "-p", prf, "-O", f"fit_{name}", *OFF, *block)
    mopex("drive", "apex_user_list", "-n", "apex_user_list_I1.nl", *words)
    found, true = read_table(f"fit_{name}/extract_raw.tbl"), read_table("sim/truth/sources.tbl")
    row = np.searchsorted(true.column("id"), found.column("detid"))
    good = (
        (found.column("status") > 0)
        & (true.column("n_frames")[row] > 2)
        & (true.column("saturated")[row] == 0)
    )
    chi = np.median(found.column("chi2/dof")[good])
    return (found.column("flux") / true.column("flux")[row] - 1)[good], chi


def builder():
    """PRF of EPSFBuilder of photutils from the same stamps."""
    from photutils.psf import EPSFBuilder, EPSFStar, EPSFStars

    table = read_table("effective/Crop_Stack/stamps.tbl")
    stars = []
    for name, x, y, x0, y0 in zip(*(table.column(c) for c in ("file", "x", "y", "x0", "y0")), strict=True):
        data = fits.getdata(f"effective/Crop_Stack/{name}").astype(float)
        if np.isfinite(data).all():
            stars.append(EPSFStar(data, cutout_center=(x - x0, y - y0)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made, _ = EPSFBuilder(oversampling=FACTOR, maxiters=10, progress_bar=False)(EPSFStars(stars))
    return np.asarray(made.data)


def picture(prfs, true):
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(prfs), figsize=(5 * len(prfs), 9), squeeze=False, layout="constrained")
    for (name, samples), top, bottom in zip(prfs.items(), *axes, strict=True):
        mine, same = compared(samples, true)
        half = mine.shape[0] / 2 / FACTOR
        where = {"origin": "lower", "extent": (-half, half, -half, half)}
        shown = top.imshow(np.log10(np.maximum(mine, 1e-6)), cmap="magma", vmin=-6, **where)
        top.set_title(f"{name}: log10 of the PRF")
        figure.colorbar(shown, ax=top, shrink=0.8)
        shown = bottom.imshow(100 * (mine - same) / same.max(), cmap="RdBu_r", vmin=-2, vmax=2, **where)
        bottom.set_title("minus truth [% of the peak]")
        figure.colorbar(shown, ax=bottom, shrink=0.8)
    figure.savefig("prf_estimate.png", dpi=60)


def run(folder):
    os.makedirs(folder, exist_ok=True)
    os.chdir(folder)
    if not os.path.exists("sim/truth/sources.tbl"):
        mopex("simulate", "OUTPUT_DIR=sim", *FIELD)
    for name in ("prf_estimate", "apex_user_list"):
        if not os.path.exists(f"{name}_I1.nl"):
            mopex("new", name)
    true = truth()
    table = read_table("sim/truth/sources.tbl")
    with open("user.tbl", "w") as file:
        file.write("|srcid|RA|Dec|\n|int|double|double|\n")
        for row in zip(*(table.column(c) for c in ("id", "ra", "dec")), strict=True):
            file.write(f" {row[0]} {row[1]:.9f} {row[2]:.9f}\n")
    header = fits.Header([("PRFXRSMP", FACTOR), ("PRFYRSMP", FACTOR)])
    fits.writeto("true.fits", true.astype("f4"), header, overwrite=True)
    prfs = {"effective": fits.getdata(make("effective")), "average": fits.getdata(make("average"))}
    if "nophot" not in sys.argv:
        prfs["photutils"] = builder()
    for name, samples in prfs.items():
        mine, same = compared(samples, true)
        off = (mine - same) / same.max()
        print(
            f"{name}: peak {mine.max() / same.max() - 1:+.2%}, largest difference {np.abs(off).max():.2%} of the peak"
        )
    for path in ("true.fits", "effective/PRF.fits", "average/PRF.fits"):
        error, chi = fluxes(path)
        wide = 1.4826 * np.median(np.abs(error - np.median(error)))
        print(
            f"fluxes with {path}: {len(error)} stars, median error {np.median(error):+.2%}, scatter {wide:.2%}, "
            f"median chi2/dof {chi:.2f}"
        )
    quarters(table)
    picture(prfs, true)


def quarters(table):
    """Errors of the fluxes with PRFs from a quarter of the stars each, and what the headers tell of them."""
    edges = np.quantile(table.column("id"), (0, 0.25, 0.5, 0.75, 1)).astype(int)
    edges[-1] += 1
    for number, (low, high) in enumerate(itertools.pairwise(edges.tolist())):
        path = make("effective", f"quarter{number + 1}", f"{STARS} and id >= {low} and id < {high}")
        error, _ = fluxes(path)
        told = fits.getheader(path)["NORMERR"]
        print(f"fluxes with {path}: median error {np.median(error):+.2%}, expected {told:.2%}")


if __name__ == "__main__":
    run(sys.argv[1])
