"""What each way of finding outliers finds, and what it costs, by coverage.

    python benchmarks/outlier_methods.py FOLDER [FRAMES [SIDE]]

Two simulations of IRAC 1 (FRAMES of SIDE pixels, 60 of 256 if not given), of coverage 4 and 10, without offsets. Mosaic
runs once on each with its template; then Mosaic RMask and the modules behind it run again with each method alone.
Printed are, for frame pixels by the coverage of the mosaic: pixels hit above 8 sigma, those of them that are rejected,
rejected clean pixels, rejected pixels at the cores of unsaturated stars whose peak is above 20 sigma; and the change
of the aperture flux of bright unsaturated stars, against the mosaic of the same frames without hits.
"""

import contextlib
import io
import os
import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from outlier_peers import FATAL, HIT, NO_REJECTION, hit_image, mosaic, names, read, simulate, star_fluxes
from pymopex.core_losses import near
from pymopex.geometry import FrameMap, frame_wcs, pixel_solid_angle
from pymopex.kit.cli import main as main_of_mopex
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table
from pymopex.projection import sky_to_pixel
from pymopex.units import ujy_per_mjysr

DEPTHS = {4: ((2, 2), (3, 3), (4, 4), (5, 7)), 10: ((8, 9), (10, 10), (11, 99))}
PEAK = 20.0  # sigma of a frame
PART = 0.3  # of the flux of a star in its brightest pixel
BEHIND = ("mosaic_reinterp", "mosaic_coadder", "mosaic_combiner")
METHODS = {
    "temporal": ("", "FRAME_THRESHOLD=0"),
    "dual": ("DUAL_", "FRAME_THRESHOLD=0"),
    "box": ("BOX_", "FRAME_THRESHOLD=0"),
    "all three": None,
    "frame alone": None,
    "template": None,
}


def switches(method: str) -> list[str]:
    """Give the parameters that leave one method."""
    chosen = METHODS[method]
    if method == "template":
        return []
    if method == "all three":
        return ["FRAME_THRESHOLD=0"]
    if chosen is None:  # temporal cuts that nothing reaches: only the comparison on the frame is left
        return ["USE_DUAL_OUTLIER_FOR_RMASK=0", "USE_BOX_OUTLIER_FOR_RMASK=0", "MIN_COVERAGE=1000000"]
    used, check = chosen
    off = [f"USE_{kind}OUTLIER_FOR_RMASK=0" for kind in ("", "DUAL_", "BOX_") if kind != used]
    return [*off, check]


def mopex(folder: Path, *words: str) -> None:
    """Run a module in this process."""
    log = io.StringIO()
    with contextlib.chdir(folder), contextlib.redirect_stdout(log):
        status = main_of_mopex(list(words))
    if status:
        sys.exit(f"{' '.join(words)}\n{log.getvalue()[-2000:]}")


def masks_and_mosaic(folder: Path, method: str) -> tuple[str, Path]:
    """Run Mosaic RMask and what is behind it; gives the folder of the masks, and the mosaic."""
    label = method.replace(" ", "_")
    kinds = ("RMASK", "REINTERP", "COADDER", "COMBINER")
    folders = [f"{kind}_DIR={kind.capitalize()}-{label}" for kind in kinds]
    for task in ("mosaic_rmask", *BEHIND):
        mopex(folder, task, "out/mosaic_I1.nl", *folders, *switches(method))
    return f"out/Rmask-{label}", folder / f"out/Combiner-{label}" / "mosaic.fits"


class Frame:
    """What is known of a frame: hits, usable pixels, cores of stars, coverage."""

    def __init__(self, folder: Path, image: str, sigma: str, mask: str, stars: dict) -> None:
        self.base = Path(image).stem
        header, noise = fits.getheader(image), fits.getdata(sigma)
        self.hits = hit_image(folder, image)
        self.strong = self.hits > HIT * noise
        self.usable = ((fits.getdata(mask) & FATAL) == 0) & np.isfinite(noise)
        wcs = frame_wcs(header)
        x, y = sky_to_pixel(wcs, stars["ra"], stars["dec"])
        on = (np.abs(x - 128) < 140) & (np.abs(y - 128) < 140)  # cores that a frame may touch
        x, y, flux = x[on], y[on], stars["flux"][on]
        peak = PART * flux / ujy_per_mjysr(pixel_solid_angle(wcs, x, y))
        bright = peak > PEAK * np.nanmedian(noise)
        self.cores = near(x[bright], y[bright], self.hits.shape)
        self.depth = self._depth(folder, wcs)

    def _depth(self, folder: Path, wcs) -> np.ndarray:
        grid = read_fif(str(folder / "out/mosaic_fif.tbl"))
        placed = FrameMap.make(wcs, self.hits.shape, grid.wcs(), grid.shape)
        seen = np.nan_to_num(fits.getdata(folder / "out/covg_map.fits"))
        x, y = placed.to_mosaic.grid(*(np.arange(n, dtype=float) for n in self.hits.shape[::-1]))
        column, row = (
            np.clip(np.rint(at).astype(int), 0, n - 1) for at, n in zip((x, y), seen.shape[::-1], strict=True)
        )
        return np.rint(seen[row, column]).astype(int)

    def count(self, rejected: np.ndarray, low: int, high: int) -> np.ndarray:
        """Hits, clean pixels and core pixels of a coverage, each with the number of those rejected."""
        at = self.usable & (self.depth >= low) & (self.depth <= high)
        whole = self.hits == 0
        kinds = (self.strong, whole & ~self.cores, whole & self.cores)
        return np.array([[(at & kind).sum(), (at & kind & rejected).sum()] for kind in kinds])


def report(folder: Path, coverage: int, frames: list[Frame], clean: np.ndarray) -> None:
    for method in METHODS:
        place, path = masks_and_mosaic(folder, method)
        masks = [fits.getdata(folder / place / f"{frame.base}_rmask.fits") > 0 for frame in frames]
        stars = star_fluxes(folder, read(path), clean)
        for low, high in DEPTHS[coverage]:
            total = sum(frame.count(mask, low, high) for frame, mask in zip(frames, masks, strict=True))
            shares = "  ".join(f"{100 * lost / max(n, 1):9.4f}" for n, lost in total)
            depth = f"{low}" if low == high else f"{low}-{high}" if high < 99 else f"{low}+"
            numbers = "  ".join(f"{n:8d}" for n in total[:, 0])
            print(f"{method:12s} {depth:>5s}  {shares}  {numbers}", flush=True)
        print(f"{'':12s} {stars}", flush=True)


def main() -> None:
    top = Path(sys.argv[1]).resolve()
    frames, side = (int(word) for word in (sys.argv[2:] + ["60", "256"][len(sys.argv) - 2 :]))
    print("rejected [%] of hits, clean pixels, cores of stars; numbers of each")
    for coverage in DEPTHS:
        folder = top / f"coverage_{coverage}"
        folder.mkdir(parents=True, exist_ok=True)
        simulate(folder, frames, f"Coverage={coverage}", f"Array_Size={side}")
        if not os.path.exists(folder / "ref/Combine-mosaic/mosaic.fits"):
            mosaic(folder, "sim/images.txt", "out")
            mosaic(folder, "clean.txt", "ref", *NO_REJECTION)
        table = read_table(str(folder / "sim/truth/sources.tbl"))
        good = table.column("saturated") == 0
        stars = {name: np.asarray(table.column(name)[good], dtype=float) for name in ("ra", "dec", "flux")}
        lists = (names(folder, kind) for kind in ("images", "sigmas", "masks"))
        known = [Frame(folder, *files, stars) for files in zip(*lists, strict=True)]
        print(f"coverage {coverage}, {len(known)} frames of {side} pixels")
        report(folder, coverage, known, read(folder / "ref/Combine-mosaic/mosaic.fits"))


if __name__ == "__main__":
    main()
