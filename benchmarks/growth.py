"""Growth with the number of frames: time per frame, peak memory and disk of Overlap and Mosaic, and of the equations.

    python benchmarks/growth.py FOLDER [FRAMES ...] [KEY=VALUE ...]

Simulates 100, 500 and 2000 frames of IRAC 1 unless numbers are given, coverage 5, runs Overlap and Mosaic with their
templates in one process, and prints a table. KEY=VALUE changes a parameter of both, such as MOSAIC_PIXEL_SIZE_X. What
was made is removed after each run; 2000 frames need 11 GB with pixels of 1.2 arcsec, and four times as much with 0.6.
The equations of Overlap are solved for simulated differences of 10,000 and 100,000 frames besides.
"""

import re
import resource
import shutil
import sys
import time
from pathlib import Path

import numpy as np
from outlier_peers import run
from pymopex.overlap import OverlapParams, PairSums, solve_offsets

FRAMES = (100, 500, 2000)
SOLVED = (10_000, 100_000)
NEIGHBOURS = 2  # steps of the grid within which frames overlap
LIMIT = 1.15  # of the time per frame, over that of the first row


def lists(out: str, images: str) -> list[str]:
    return ["-I", images, "-S", "data/sigmas.txt", "-d", "data/masks.txt", "-O", out]


def pipelines(folder: Path, frames: int, words: list[str]) -> tuple[float, float, float, float]:
    """Run both; gives seconds of processor time of each per frame, megabytes of memory, and of disk per frame."""
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "data/truth/offsets.tbl").exists():
        run(folder, "mopex", "simulate", "OUTPUT_DIR=data", f"N_Frames={frames}")
    for pipeline in ("overlap", "mosaic"):
        if not (folder / f"{pipeline}_I1.nl").exists():
            run(folder, "mopex", "new", pipeline, "I1")
    shared = [*words, "do_multiprocess=off", "create_report=0"]
    spent, memory, images = [], 0.0, "data/images.txt"
    for pipeline in ("overlap", "mosaic"):
        command = ("mopex", "drive", pipeline, "-n", f"{pipeline}_I1.nl", *lists("out", images), *shared)
        text: list[str] = []
        spent.append(run(folder, *command, said=text) / frames)
        memory = max(memory, *(float(number) for number in re.findall(r"peak memory (\d+) MB", text[0])))
        images = "out/Overlap_corr/correct_images.txt"
    disk = sum(path.stat().st_size for path in (folder / "out").rglob("*") if path.is_file())
    shutil.rmtree(folder / "out")
    return spent[0], spent[1], memory, disk / 1e6 / frames


def grid_pairs(frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of frames that overlap on a square grid."""
    side, number = int(np.ceil(np.sqrt(frames))), np.arange(frames)
    first, second = [], []
    for dy in range(NEIGHBOURS + 1):
        for dx in range(-NEIGHBOURS if dy else 1, NEIGHBOURS + 1):
            other, column = number + dx + dy * side, number % side + dx
            inside = (column >= 0) & (column < side) & (other < frames)
            first.append(number[inside])
            second.append(other[inside])
    return np.concatenate(first), np.concatenate(second)


def solve(frames: int) -> tuple[int, float, float]:
    """Solve the equations; gives pairs, seconds of processor time, rms error in that of one difference."""
    rng = np.random.default_rng(1)
    first, second = grid_pairs(frames)
    true, noise = rng.normal(0, 0.02, frames), 1e-4
    weight = rng.uniform(0.5, 1.5, first.size) / noise**2
    seen = true[first] - true[second] + noise * rng.standard_normal(first.size)
    begin = time.process_time()
    found = solve_offsets(frames, PairSums(first, second, weight, weight * seen), OverlapParams())
    return first.size, time.process_time() - begin, float((found.offsets - true).std() / noise)


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    words = [word for word in sys.argv[2:] if "=" in word]
    numbers = [int(word) for word in sys.argv[2:] if "=" not in word] or FRAMES
    print(
        "| frames | Overlap [CPU ms a frame] | Mosaic [CPU ms a frame] | peak memory [MB] | disk [MB a frame] |"
    )
    print("|---|---|---|---|---|")
    first = 0.0
    for frames in numbers:
        overlap, mosaic, memory, disk = pipelines(folder / str(frames), frames, words)
        first = first or overlap + mosaic
        note = "" if overlap + mosaic < LIMIT * first else f" ({(overlap + mosaic) / first:.2f} x the first)"
        print(
            f"| {frames} | {1e3 * overlap:.0f} | {1e3 * mosaic:.0f}{note} | {memory:.0f} | {disk:.1f} |",
            flush=True,
        )
    print(
        "\n| unknowns | pairs | CPU [s] | memory [GB] | error over that of a difference |\n|---|---|---|---|---|"
    )
    for frames in SOLVED:
        pairs, seconds, error = solve(frames)
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
        print(f"| {frames} | {pairs} | {seconds:.1f} | {most:.2f} | {error:.2f} |", flush=True)


if __name__ == "__main__":
    main()
