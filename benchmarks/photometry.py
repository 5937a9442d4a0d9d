"""How near the fit comes to the limit that the photons set: simulated stars through the whole flow.

    python benchmarks/photometry.py OUT [--channel I1|I2|I3|I4|M1] [--mode isolated|crowded] [--frames 60] [--seed 1]
                                        [--hits 3] [--density 1/deg2] [--linear] [KEY=VALUE ...]

Simulates frames with cosmic rays, noise and offsets (``mopex simulate``), runs ``flow.sh`` from Overlap to APEX with
the templates as they are, and compares with the truth (``mopex compare``). In the mode ``isolated`` no two stars are
nearer than twice the side of the fit box, and their fluxes are spread evenly over signal-to-noise ratios of about 5 to
1000; ``crowded`` is the default sky of the camera, or one with ``--density`` stars a square degree, and prints the
table of `benchmarks/crowding.py` besides. KEY=VALUE goes to the flow; ``--linear`` takes the PRFs in the form
that the archive published (linear interpolation between samples of a fifth of a pixel) in place of cubic splines;
``--hits 0`` leaves the cosmic rays out, whose faint parts no one can tell from noise and the bound does not know.

The last lines set the figures against the targets; ``ok?`` is one that agrees within two of its own standard errors.
"""

import argparse
import math
import subprocess
from pathlib import Path

from crowding import crowding_table

PIXEL = {"I1": 1.221, "I2": 1.213, "I3": 1.222, "I4": 1.22, "M1": 2.55}  # arcsec
FLUXES = {"I1": (4, 3000), "I2": (5, 4000), "I3": (30, 30000), "I4": (40, 40000), "M1": (300, 250000)}  # uJy
APART = 14  # pixels between isolated stars: twice the fit box
PACKED = 0.5  # of the stars that have room at that distance

SCATTER, PULL, CHI = 0.05, 0.05, 0.03
BIAS_BRIGHT, BIAS_FAINT = 0.2, 0.1  # per cent above SNR 50, sigma below


def run(*words: str, cwd: Path) -> None:
    """Run a command, its log in a file."""
    print("$", " ".join(words), flush=True)
    with open(cwd / "log.txt", "a") as log:
        done = subprocess.run(words, cwd=cwd, stdout=log, stderr=subprocess.STDOUT)
    if done.returncode:
        raise SystemExit(f"failed: see {cwd / 'log.txt'}")


def simulate(out: Path, given: argparse.Namespace) -> None:
    """Make the frames."""
    words = [f"Instrument={given.channel}", f"N_Frames={given.frames}", f"Seed={given.seed}"]
    words.append(f"Hits_Per_Second={given.hits:g}")
    if given.mode == "isolated":
        apart = APART * PIXEL[given.channel]
        low, high = FLUXES[given.channel]
        density = PACKED * 3600**2 / apart**2
        words += [f"Min_Separation={apart:.2f}", f"Star_Density={density:.0f}", "Slope=-1"]
        words += [f"Faintest_Flux={low}", f"Brightest_Flux={high}"]
    elif given.density is not None:
        words.append(f"Star_Density={given.density:g}")
    run("mopex", "simulate", "OUTPUT_DIR=data", *words, cwd=out)


def prf_flags(out: Path, given: argparse.Namespace) -> list[str]:
    """Give the flags and settings that name the PRFs."""
    if given.channel.startswith("M"):
        kernel = next((out / "data").glob("mips*_prf_mosaic_*.fits"))
        size = ("PRF_ResampleX_Factor=5", "PRF_ResampleY_Factor=5", "Normalization_Radius=50")
        return ["-p", "data/prfs_x5/MIPS24_prf_x5.fits", "-P", str(kernel.relative_to(out))] + [
            f"SOURCESTIMATE.{word}" for word in size
        ]
    method = "linear" if given.linear else "spline"
    number = given.channel[1]
    words = [
        "Input_Dir=data/prfs_x5",
        f"Channel={number}",
        f"Magnification_Method={method}",
        "OUTPUT_DIR=prf",
    ]
    run("mopex", "make_prf", *words, cwd=out)
    return ["-m", "prf/prfmap.tbl", "-P", f"prf/IRAC{number}_mosaic_detect_kernel.fits"]


def flow(out: Path, given: argparse.Namespace) -> None:
    """Run the pipelines and compare with the truth."""
    prf = prf_flags(out, given)
    run("mopex", "new", "flow", given.channel, cwd=out)
    names = [f"{name}_{given.channel}.nl" for name in ("overlap", "mosaic", "apex")]
    lists = ["-I", "data/images.txt", "-S", "data/sigmas.txt", "-d", "data/masks.txt"]
    run("flow.sh", *lists, *prf, "-O", "out", "run_aperture=0", *given.settings, *names, cwd=out)
    apart = ["COMPARE.Isolation_Radius=0"] if given.mode == "isolated" else []
    run("mopex", "compare", f"out/{names[2]}", "COMPARE.Truth_Dir=data/truth", *apart, cwd=out)


def table(out: Path) -> list[dict[str, float]]:
    """Print what was found, and give the rows of the table of errors."""
    text = (out / "out" / "comparison.txt").read_text().splitlines()
    print("\n".join(text))
    start = next(i for i, line in enumerate(text) if line.startswith("isolated stars"))
    names = ("low", "high", "n", "bias", "sigma", "scatter", "tail", "pull", "pull_ra", "pull_dec")
    names += ("east", "north", "place", "chi")
    rows = []
    for line in text[start + 2 :]:
        numbers = [float(word) for word in line.replace("%", " ").split()]
        rows.append(dict(zip(names, numbers, strict=True)))
    return rows


def verdict(value: float, target: float, error: float) -> str:
    """Say whether a deviation is within a target, as far as its own error lets one tell."""
    if abs(value) <= target:
        return "ok"
    return "ok?" if abs(value) <= target + 2 * error else "NO"


def judge(rows: list[dict[str, float]]) -> None:
    """Set the figures against the targets."""
    print("\nagainst the targets (ok?: outside, by less than two standard errors of the figure)")
    print(" SNR from    to     n   error   bias    scatter  place   pulls (flux, RA, Dec)  chi2/dof")
    for row in rows:
        if row["low"] < 5 or row["low"] >= 1000:
            continue
        one = 1 / math.sqrt(2 * row["n"])
        median = 1.25 / math.sqrt(row["n"])
        if row["low"] >= 50:
            bias = verdict(row["bias"], BIAS_BRIGHT, abs(row["bias"] / row["sigma"]) * median)
        else:
            bias = verdict(row["sigma"], BIAS_FAINT, median)
        words = [
            bias,
            verdict(row["scatter"] - 1, SCATTER, one),
            verdict(row["place"] - 1, SCATTER, one / math.sqrt(2)),
        ]
        pulls = [verdict(row[name] - 1, PULL, one) for name in ("pull", "pull_ra", "pull_dec")]
        chi = verdict(row["chi"] - 1, CHI, 0.1 * median)
        texts = [f"{word:6s}" for word in (*words, *pulls, chi)]
        print(f"{row['low']:9g} {row['high']:5g} {row['n']:5.0f}  {one:6.3f}   {'  '.join(texts)}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path)
    parser.add_argument("--channel", default="I1", choices=sorted(PIXEL))
    parser.add_argument("--mode", default="isolated", choices=("isolated", "crowded"))
    parser.add_argument("--frames", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--hits", type=float, default=3.0, help="tracks of cosmic rays per second")
    parser.add_argument("--density", type=float, help="stars a square degree of the mode crowded")
    parser.add_argument("--linear", action="store_true")
    parser.add_argument("settings", nargs="*", help="KEY=VALUE for the flow")
    given = parser.parse_intermixed_args()
    given.out.mkdir(parents=True)
    simulate(given.out, given)
    flow(given.out, given)
    judge(table(given.out))
    if given.mode == "crowded":
        crowding_table(given.out, given.channel)


if __name__ == "__main__":
    main()
