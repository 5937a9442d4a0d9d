"""Pairs of stars 1.5 full widths apart, both above 100 sigma, through the flow: how many are found, and how well.

    python benchmarks/blends.py FOLDER [PAIRS]

Simulates 30 frames of IRAC 1 with the defaults of `mopex simulate`, runs the flow, puts PAIRS (12) pairs of each flux
ratio into its frames, away from the stars that are there, and runs Mosaic and APEX again by the templates. The table
and the picture FOLDER/blends.png have the errors of the fluxes of the brighter and of the fainter star.
"""

import contextlib
import subprocess
import sys
from pathlib import Path

import numpy as np
from pymopex.artificial import draw_places
from pymopex.comparison import match, spread
from pymopex.kit.artificial import put_stars, rerun, star_job
from pymopex.kit.driver import open_settings
from pymopex.kit.images import read_image
from pymopex.kit.ipac import read_table
from pymopex.kit.searched import pixel_grid
from pymopex.kit.task import Run

APART = 1.5 * 1.66  # arcsec
FAINT = 200.0  # uJy, the fainter star: about 100 sigma in five frames
RATIOS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
RADIUS = 0.5  # arcsec, of a match
CLEAR = 10.0  # arcsec, from stars that are there
NAMELISTS = ("overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl")


def run_command(folder: Path, *words: str) -> None:
    done = subprocess.run(words, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(words)}\n{done.stdout[-2000:]}{done.stderr[-2000:]}")


def flow(folder: Path) -> None:
    """Simulate, and run the flow, as far as this is not done."""
    if (folder / "out/extract.tbl").exists():
        return
    run_command(folder, "mopex", "simulate", "OUTPUT_DIR=data", "N_Frames=30")
    words = ("Channel=1", "Magnification_Method=spline", "OUTPUT_DIR=prf")
    run_command(folder, "mopex", "make_prf", "Input_Dir=data/prfs_x5", *words)
    run_command(folder, "mopex", "new", "flow", "I1")
    lists = ("-I", "data/images.txt", "-S", "data/sigmas.txt", "-d", "data/masks.txt", "-O", "out")
    prfs = ("-m", "prf/prfmap.tbl", "-P", "prf/IRAC1_mosaic_detect_kernel.fits")
    run_command(folder, "mopex", "flow", *lists, *prfs, *NAMELISTS)


def pairs(run: Run, count: int) -> tuple[np.ndarray, ...]:
    """Draw the pairs: places and fluxes of the brighter stars, then of the fainter ones."""
    grid, known = pixel_grid(run), read_table(run.path("extract_raw"))
    random, pixel = np.random.default_rng(1), grid.side * 3600
    avoid = np.column_stack([known.column("x") - 1, known.column("y") - 1])
    free = read_image(run.path("mosaic_cov"))[0] >= 4
    ratio = np.repeat(RATIOS, count)
    x, y = draw_places(random, len(ratio), free, 25 / pixel, avoid, CLEAR / pixel).T
    angle = random.uniform(0, 2 * np.pi, len(ratio))
    x = np.concatenate([x, x + APART / pixel * np.cos(angle)])
    y = np.concatenate([y, y + APART / pixel * np.sin(angle)])
    return *grid.to_sky(x + 1, y + 1), FAINT * np.concatenate([ratio, np.ones(len(ratio))])


def measured(folder: Path, count: int) -> np.ndarray:
    """Relative errors of the fluxes, NaN for a star that was not found; brighter stars, then fainter ones."""
    with contextlib.chdir(folder):
        run = Run(open_settings("out/apex_I1.nl", {}, task="complete"))
        run.task = "complete"
        ra, dec, flux = pairs(run, count)
        Path("pairs").mkdir(exist_ok=True)
        stars = star_job(run, ra, dec, flux, "out/prf_table.npz")
        lists = put_stars(run, "pairs", stars, (1,), 0.0)
        table = read_table(rerun(run, "pairs", ["out/mosaic_I1.nl", "out/apex_I1.nl"], lists))
        run.pool.close()
    places = (np.asarray(table.column(name), float) for name in ("RA", "Dec"))
    source, star = match(*places, ra, dec, RADIUS)
    errors = np.full(len(ra), np.nan)
    errors[star] = np.asarray(table.column("flux"), float)[source] / flux[star] - 1
    return errors.reshape(2, -1)


def draw(errors: np.ndarray, count: int, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4.2), layout="constrained")
    ratio = np.repeat(RATIOS, count)
    for values, shift, colour, name in zip(
        errors, (-0.06, 0.06), ("tab:blue", "tab:orange"), ("brighter", "fainter"), strict=True
    ):
        axes.plot(ratio + shift, 100 * values, ".", color=colour, alpha=0.5)
        middle = [100 * spread(values[ratio == one]).median for one in RATIOS]
        axes.plot(np.array(RATIOS) + shift, middle, "_", color=colour, ms=18, mew=2, label=f"{name} star")
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="flux ratio", ylabel="fitted over true flux - 1 [%]", title="pairs 1.5 full widths apart")
    axes.legend()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def main() -> None:
    folder, count = Path(sys.argv[1]).resolve(), int(sys.argv[2]) if len(sys.argv) > 2 else 12
    folder.mkdir(parents=True, exist_ok=True)
    flow(folder)
    errors = measured(folder, count)
    print("ratio  pairs  both found  bias and scatter of the brighter and of the fainter star [%]")
    for number, ratio in enumerate(RATIOS):
        part = errors[:, number * count : (number + 1) * count]
        both = int(np.isfinite(part).all(axis=0).sum())
        numbers = "   ".join(
            f"{100 * s.median:+6.2f} {100 * s.width:5.2f}" for s in (spread(part[0]), spread(part[1]))
        )
        print(f"{ratio:5.1f}  {count:5d}  {both:10d}  {numbers}", flush=True)
    draw(errors, count, folder / "blends.png")


if __name__ == "__main__":
    main()
