"""Accuracy of the overlap correction against the truth, its limit, and Montage where it is installed.

    python benchmarks/overlap_accuracy.py FOLDER [FRAMES ...]

Simulated frames of IRAC 1 with offsets of 20e-3 MJy/sr rms, stars and hits; 20 and 100 frames unless numbers are given.
Twice each: without and with gradients in the frames, 0.5e-3 MJy/sr rms over the array. The limit is the error of the
best estimate of offsets from the native pixels that frames share, masked ones left out, the sky of each pixel unknown.
Montage (mProject, mDiff, mFitplane, mBgModel) gets the same frames with their masked pixels blank.
"""

import os
import shutil
import sys
from itertools import combinations
from pathlib import Path

import numpy as np
from astropy.io import fits
from outlier_peers import FATAL, run
from pymopex.comparison import offset_residuals
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table

GRADIENT = 5e-4  # MJy/sr over the array
POOLED, MOST = 400, 5  # frames in all, and fields: the fields of a kind are pooled
MONTAGE = ("mImgtbl", "mProjExec", "mOverlaps", "mDiffExec", "mFitExec", "mBgModel")


def simulate(folder: Path, frames: int, gradient: float, seed: int) -> None:
    if not (folder / "sim" / "truth" / "offsets.tbl").exists():
        words = (f"N_Frames={frames}", "Offset_Rms=0.02", f"Frame_Gradient_Rms={gradient}", f"Seed={seed}")
        run(folder, "mopex", "simulate", "OUTPUT_DIR=sim", *words)


def overlap(folder: Path) -> float:
    """Run the pipeline; its interpolated frames stay, for the limit."""
    if not (folder / "overlap_I1.nl").exists():
        run(folder, "mopex", "new", "overlap", "I1")
    lists = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-O", "out")
    keys = ("delete_intermediate_files=0", "apply_overlap_correction=0", "mosaic_corrected_images=0")
    return run(folder, "mopex", "drive", "overlap", "-n", "overlap_I1.nl", *lists, *keys)


def left(folder: Path, table: Path) -> float:
    """Rms of what is left of the true offsets [MJy/sr]."""
    found, true = read_table(str(table)), read_table(str(folder / "sim/truth/offsets.tbl"))
    return float(offset_residuals(found.column("offset"), true.column("offset"), found.column("group")).std())


def again(folder: Path, name: str, *words: str) -> tuple[float, float]:
    """Solve again with other parameters; gives rms left and seconds."""
    spent = run(
        folder,
        "mopex",
        "compute_overlap_correction",
        "out/overlap_I1.nl",
        f"OVERLAP_CORR_FILE_NAME={name}",
        *words,
    )
    return left(folder, folder / "out/Overlap_corr" / name), spent


def limit(folder: Path) -> float:
    """Rms error of the best estimate [MJy/sr], from counts of shared pixels and the true noise of empty sky."""
    interp = folder / "out/Interp-overlap"
    table = read_table(str(next(interp.glob("interp_*.tbl"))))
    x0, y0, nx, ny = (table.column(key).astype(int) for key in ("offset_x", "offset_y", "nx", "ny"))
    covered = [
        fits.getdata(interp / str(name).replace(".fits", "_covg.fits")) > 0.99
        for name in table.column("name")
    ]
    depth = np.zeros(((y0 + ny).max(), (x0 + nx).max()), int)
    for i, mask in enumerate(covered):
        depth[y0[i] : y0[i] + ny[i], x0[i] : x0[i] + nx[i]] += mask
    n, (area, sigma) = len(covered), _pixel(folder)
    known = np.zeros((n, n))
    for i, j in combinations(range(n), 2):
        xa, xb = max(x0[i], x0[j]), min(x0[i] + nx[i], x0[j] + nx[j])
        ya, yb = max(y0[i], y0[j]), min(y0[i] + ny[i], y0[j] + ny[j])
        if xa < xb and ya < yb:
            both = _cut(covered[i], x0[i], y0[i], xa, xb, ya, yb) & _cut(
                covered[j], x0[j], y0[j], xa, xb, ya, yb
            )
            known[i, j] = known[j, i] = area * (1 / depth[ya:yb, xa:xb][both]).sum() / sigma**2
    return float(np.sqrt(np.diag(np.linalg.pinv(np.diag(known.sum(axis=1)) - known)).mean()))


def _cut(mask: np.ndarray, x0: int, y0: int, xa: int, xb: int, ya: int, yb: int) -> np.ndarray:
    return mask[ya - y0 : yb - y0, xa - x0 : xb - x0]


def _pixel(folder: Path) -> tuple[float, float]:
    """Area of a pixel of the mosaic in pixels of the frames, and the noise of those."""
    path = (folder / "sim/sigmas.txt").read_text().split()[0]
    header, grid = fits.getheader(path), read_fif(str(folder / "out/mosaic_fif.tbl"))
    native = abs(header["CD1_1"] * header["CD2_2"] - header["CD1_2"] * header["CD2_1"])
    return abs(grid.cdelt1 * grid.cdelt2) / native, float(np.nanmedian(fits.getdata(path)))


def montage(folder: Path, *, slopes: bool) -> tuple[float, float]:
    """Offsets of mBgModel; gives rms left and seconds."""
    work = folder / "montage"
    spent = _project(folder, work) if not (work / "done").exists() else 0.0
    level = () if slopes else ("-l",)
    shutil.rmtree(work / "diff", ignore_errors=True)
    (work / "diff").mkdir()
    for words in (
        ("mImgtbl", "proj", "images.tbl"),
        ("mOverlaps", "images.tbl", "diffs.tbl"),
        ("mDiffExec", "-p", "proj", "diffs.tbl", "grid.hdr", "diff"),
        ("mFitExec", *level, "diffs.tbl", "fits.tbl", "diff"),
        ("mBgModel", *level, "-i", "10000", "images.tbl", "fits.tbl", "corrections.tbl"),
    ):
        spent += run(work, *words)
    (work / "done").touch()
    return _montage_left(folder, work), spent


def _project(folder: Path, work: Path) -> float:
    """Blank the masked pixels, and project the frames on the grid of the mosaic."""
    for name in ("raw", "proj"):
        (work / name).mkdir(parents=True, exist_ok=True)
    lists = ((folder / "sim" / f"{name}.txt").read_text().split() for name in ("images", "masks"))
    for image, mask in zip(*lists, strict=True):
        data, header = fits.getdata(image, header=True)
        data[(fits.getdata(mask) & FATAL) > 0] = np.nan
        fits.writeto(work / "raw" / os.path.basename(image), data, header, overwrite=True)
    grid = read_fif(str(folder / "out/mosaic_fif.tbl"))
    header = grid.header()
    cards = [fits.Card("SIMPLE", True), fits.Card("BITPIX", -32), fits.Card("NAXIS", 2)]
    cards += [fits.Card("NAXIS1", grid.naxis1), fits.Card("NAXIS2", grid.naxis2)]
    cards += [
        card
        for card in header.cards
        if card.keyword not in ("SIMPLE", "BITPIX") and "NAXIS" not in card.keyword
    ]
    (work / "grid.hdr").write_text("\n".join(str(card).rstrip() for card in cards) + "\nEND\n")
    run(work, "mImgtbl", "raw", "raw.tbl")
    return run(work, "mProjExec", "-p", "raw", "raw.tbl", "grid.hdr", "proj", "stats.tbl")


def _rows(path: Path) -> list[dict[str, str]]:
    """Read one of Montage's tables: its bars do not always stand over the cells."""
    from astropy.table import Table

    table = Table.read(path, format="ascii.ipac")
    return [dict(zip(table.colnames, map(str, row), strict=True)) for row in table]


def _montage_left(folder: Path, work: Path) -> float:
    planes = {row["id"]: [float(row[key]) for key in "abc"] for row in _rows(work / "corrections.tbl")}
    true = read_table(str(folder / "sim/truth/offsets.tbl"))
    offsets = dict(zip(map(str, true.column("file")), true.column("offset"), strict=True))
    remaining = []
    for row in _rows(work / "images.tbl"):
        name = os.path.basename(row["fname"]).removeprefix("hdu0_")
        if name not in offsets:
            continue
        a, b, c = planes.get(row["cntr"], [0.0, 0.0, 0.0])
        x, y = (float(row[f"naxis{k}"]) / 2 - float(row[f"crpix{k}"]) for k in (1, 2))
        remaining.append(offsets[name] - (a * x + b * y + c))
    return float(np.std(remaining))


def measure(
    folder: Path, frames: int, gradient: float, seed: int, *, with_montage: bool
) -> dict[str, tuple[float, float]]:
    """Simulate one field and correct it in all ways: rms left [MJy/sr] and seconds; the limit comes first."""
    folder.mkdir(parents=True, exist_ok=True)
    simulate(folder, frames, gradient, seed)
    spent = overlap(folder)
    found = {
        "limit": (limit(folder), 0.0),
        "pymopex (time: whole pipeline)": (left(folder, folder / "out/Overlap_corr/offsets.tbl"), spent),
        "pymopex, legacy weights": again(folder, "legacy.tbl", "Count_Noise_Once=0"),
        "pymopex, slopes": again(folder, "slopes.tbl", "Fit_Slopes=1"),
    }
    if with_montage:
        found["Montage, level only (with mProject)"] = montage(folder, slopes=False)
        found["Montage, planes"] = montage(folder, slopes=True)
    return found


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    missing = [name for name in MONTAGE if not shutil.which(name)]
    if missing:
        print(f"Montage is left out: no {', '.join(missing)}")
    for frames in [int(word) for word in sys.argv[2:]] or [20, 100]:
        for gradient in (0.0, GRADIENT):
            fields = [
                measure(
                    folder / f"{frames}_{gradient:g}_{seed}", frames, gradient, seed, with_montage=not missing
                )
                for seed in range(1, 1 + max(1, min(MOST, POOLED // frames)))
            ]
            report(frames, gradient, fields)


def report(frames: int, gradient: float, fields: list[dict[str, tuple[float, float]]]) -> None:
    """Print the table of fields of one kind, their rms pooled."""
    rms = {name: np.sqrt(np.mean([field[name][0] ** 2 for field in fields])) for name in fields[0]}
    best = rms.pop("limit")
    print(
        f"{len(fields)} x {frames} frames, gradients {1e3 * gradient:g}e-3 MJy/sr; limit {1e6 * best:.1f}e-6 MJy/sr"
    )
    print(f"  {'':36s} left e-6  /limit  CPU [s] a field")
    for name, value in rms.items():
        spent = np.mean([field[name][1] for field in fields])
        print(f"  {name:36s} {1e6 * value:8.1f}  {value / best:6.2f}  {spent:8.1f}", flush=True)


if __name__ == "__main__":
    main()
