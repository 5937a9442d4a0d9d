"""Run the commands of docs/recipe.md, and compare what they say with what the page shows.

    python benchmarks/recipe.py DATA OUT [--write]

DATA holds ``irac1_grb120119a/``, ``prf/ssc_070131_x5/`` and ``cal/``. The commands run in OUT, a folder of their own.
With ``--write`` the outputs on the page and its pictures are made anew. Times and memory may differ, other text not.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from pymopex.kit.images import read_image
from pymopex.kit.ipac import read_table

PAGE = Path(__file__).parents[1] / "docs" / "recipe.md"
PICTURES = PAGE.parent / "recipe"
BLOCK = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LOOSE = re.compile(r"\d[\d.]* (?:s|MB)\b")
LEFT_OUT = (sys.prefix, "System Exit", "real", "user", "sys")
ZOOM = 260  # mosaic pixels on a side


def commands(block: str) -> list[str]:
    """Give the commands of a block; lines that end with a backslash go on."""
    found: list[str] = []
    going = False
    for line in block.splitlines():
        if line.startswith("$ "):
            found.append(line[2:])
        elif going:
            found[-1] += "\n" + line
        going = line.endswith("\\") and (line.startswith("$ ") or going)
    return found


def run(command: str, data: Path, out: Path) -> str:
    """Run a command; gives what it printed, without the lines that tell of this machine."""
    print(f"$ {command}", flush=True)
    known = {**os.environ, "DATA": str(data), "PATH": f"{sys.prefix}/bin:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", command], cwd=out, env=known, capture_output=True, text=True, check=False
    )
    if done.returncode:
        sys.exit(f"{done.stdout}{done.stderr}\nstatus {done.returncode}")
    lines = [line for line in done.stdout.splitlines() if not line.startswith(LEFT_OUT)]
    text = "\n".join(line.replace(str(data), "$DATA").rstrip() for line in lines)
    print(text, flush=True)
    return text


def outputs(text: str, data: Path, out: Path) -> str:
    """Give the page with the outputs of its commands as they are now."""

    def fresh(match: re.Match) -> str:
        parts = []
        for command in commands(match[1]):
            said = run(command, data, out)
            parts.append(f"$ {command}\n" + (f"{said}\n" if said else ""))
        return "```console\n" + "".join(parts) + "```"

    return BLOCK.sub(fresh, text)


def draw(out: Path) -> None:
    """Draw the whole mosaic with its residual, and a part of both with the sources."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    PICTURES.mkdir(exist_ok=True)
    mosaic, _ = read_image(str(out / "out/Combine-mosaic/mosaic.fits"), dtype="f8")
    residual, _ = read_image(str(out / "out/Residual/mosaic/Combine/mosaic.fits"), dtype="f8")
    table = read_table(str(out / "out/extract.tbl"))
    middle = np.nanmedian(mosaic)
    width = 1.4826 * np.nanmedian(np.abs(mosaic - middle))
    grey = {"origin": "lower", "cmap": "gray", "vmin": middle - 3 * width, "vmax": middle + 15 * width}
    x, y, flux = (table.column(name) for name in ("x", "y", "flux"))
    coverage, _ = read_image(str(out / "out/Combine-mosaic/mosaic_cov.fits"))
    low_x, low_y = busiest(x, y, flux, (coverage > 20) & (mosaic < 60), mosaic < middle + width)
    views = (
        ("mosaic", (7.5, 4.4), [("mosaic", mosaic)], None),
        (
            "residual",
            (9.0, 4.7),
            [("part of the mosaic, fitted sources", mosaic), ("residuals", residual)],
            (low_x, low_y),
        ),
    )
    for name, size, panels, part in views:
        figure, axes = plt.subplots(1, len(panels), figsize=size, layout="constrained", squeeze=False)
        for number, (title, image) in enumerate(panels):
            shown = axes[0][number]
            shown.imshow(image[::2, ::2] if part is None else image, interpolation="nearest", **grey)
            shown.set(title=title, xticks=[], yticks=[])
            if part:
                shown.set(xlim=(part[0], part[0] + ZOOM), ylim=(part[1], part[1] + ZOOM))
                if number == 0:
                    shown.scatter(
                        x - 1, y - 1, s=40, facecolors="none", edgecolors="tab:orange", linewidths=0.7
                    )
        figure.savefig(PICTURES / f"{name}.png", dpi=80, pil_kwargs={"optimize": True})
        plt.close(figure)


def busiest(
    x: np.ndarray, y: np.ndarray, flux: np.ndarray, good: np.ndarray, dark: np.ndarray
) -> tuple[int, int]:
    """Give the corner of the part that holds most sources, of those that are good everywhere and mostly dark."""
    best, corner = -1, (0, 0)
    for low_y in range(0, good.shape[0] - ZOOM, 20):
        for low_x in range(0, good.shape[1] - ZOOM, 20):
            part = np.s_[low_y : low_y + ZOOM, low_x : low_x + ZOOM]
            if not good[part].all() or dark[part].mean() < 0.6:
                continue
            inside = (x > low_x) & (x < low_x + ZOOM) & (y > low_y) & (y < low_y + ZOOM)
            if np.count_nonzero(inside & (flux > 50)) > best:
                best, corner = np.count_nonzero(inside & (flux > 50)), (low_x, low_y)
    return corner


def main() -> None:
    data, out = (Path(word).resolve() for word in sys.argv[1:3])
    out.mkdir(parents=True, exist_ok=True)
    shown = PAGE.read_text()
    found = outputs(shown, data, out)
    if "--write" in sys.argv:
        PAGE.write_text(found)
        draw(out)
        return
    pairs = zip(LOOSE.sub("-", shown).splitlines(), LOOSE.sub("-", found).splitlines(), strict=False)
    changed = [f"page: {one}\nnow:  {other}" for one, other in pairs if one != other]
    if changed or len(shown.splitlines()) != len(found.splitlines()):
        sys.exit("\n".join(changed) or "the page and the outputs differ in their number of lines")
    print("the page shows what the commands say")


if __name__ == "__main__":
    main()
