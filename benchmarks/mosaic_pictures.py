"""Pictures of a Mosaic run, and how much of bright stars' cores the search for outliers takes.

    python benchmarks/mosaic_pictures.py OUT FOLDER

OUT is the output directory of a run of Mosaic whose intermediate images are there; FOLDER gets the PNG files. The
rejected fraction of a mosaic pixel is the coverage that Mosaic RMask took from it, over the coverage before: the maps
of Mosaic Interpolate and of Mosaic Reinterpolate are summed.
"""

import sys
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from matplotlib.colors import LogNorm
from scipy import ndimage

ZOOM = 60.0  # arcsec, side of the detail
STAMP = 15.0  # arcsec, half the side of a star's stamp
LEAST = 4  # coverage of a star
CLASSES = ((0.3, 1.0), (1.0, 5.0), (5.0, 60.0))  # MJy/sr, peaks of the stars above the sky
COLORS = ("tab:blue", "tab:green", "tab:orange")


class Run:
    """The products of a run: mosaics, the coverage before and after the search for outliers, and the frames."""

    def __init__(self, out: Path) -> None:
        combined = out / "Combine-mosaic"
        self.mosaic, self.header = fits.getdata(combined / "mosaic.fits", header=True)
        self.coverage = fits.getdata(combined / "mosaic_cov.fits")
        self.uncertainty = fits.getdata(combined / "mosaic_std.fits")
        self.before = _total(out / "Interp-mosaic", self.mosaic.shape)
        self.after = _total(out / "Reinterp-mosaic", self.mosaic.shape)
        self.frames = sorted((out / "Interp-mosaic").glob("interp_*_cbcd.fits"))
        self.pixel = 3600 * self.header["CDELT2"]
        seen = self.coverage > LEAST
        self.level = float(np.median(self.mosaic[seen]))
        self.noise = 1.4826 * float(np.median(np.abs(self.mosaic[seen] - self.level)))
        with np.errstate(invalid="ignore", divide="ignore"):
            self.rejected = np.where(self.before > LEAST, 1 - self.after / self.before, np.nan)


def _total(folder: Path, shape: tuple[int, int]) -> np.ndarray:
    """Sum of the coverages of the interpolated frames of a folder."""
    total = np.zeros(shape)
    for path in folder.glob("*_covg.fits"):
        image, header = fits.getdata(path, header=True)
        x, y = header["MINTOFFX"], header["MINTOFFY"]
        total[y : y + image.shape[0], x : x + image.shape[1]] += image
    return total


def save(figure: Any, path: Path) -> None:
    """Write a figure as a PNG."""
    figure.savefig(path, dpi=80, bbox_inches="tight", pil_kwargs={"optimize": True})
    plt.close(figure)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def sky_axes(figure: Any, place: Any, wcs: WCS) -> Any:
    """Axes in right ascension and declination."""
    axes = figure.add_subplot(*place, projection=wcs)
    for axis, name in zip(axes.coords, ("RA (ICRS)", "Dec (ICRS)"), strict=True):
        axis.set_axislabel(name)
        axis.set_ticklabel(size=7, exclude_overlapping=True)
    return axes


def scale_bar(axes: Any, pixel: float, arcsec: float) -> None:
    """Bar of a length on the sky, in the lower left corner."""
    label = f"{arcsec:g}″" if arcsec < 60 else f"{arcsec / 60:g}′"
    left, right, bottom, top = *axes.get_xlim(), *axes.get_ylim()
    x, y = left + 0.05 * (right - left), bottom + 0.05 * (top - bottom)
    style = {"color": "black", "bbox": {"facecolor": "white", "alpha": 0.7, "edgecolor": "none", "pad": 1}}
    axes.plot([x, x + arcsec / pixel], [y, y], color="red", lw=2)
    axes.text(x, y + 0.015 * (top - bottom), label, size=8, va="bottom", **style)


def compass(axes: Any, header: Any) -> None:
    """Arrows to the north and the east."""
    turn = np.radians(header["CROTA2"])
    for name, (dx, dy) in (("N", (-np.sin(turn), np.cos(turn))), ("E", (-np.cos(turn), -np.sin(turn)))):
        start, end = (0.88, 0.88), (0.88 + 0.07 * dx, 0.88 + 0.07 * dy)
        axes.annotate(
            "",
            end,
            start,
            xycoords="axes fraction",
            arrowprops={"arrowstyle": "->", "color": "red", "lw": 1.2, "shrinkA": 0, "shrinkB": 0},
        )
        axes.text(
            0.88 + 0.1 * dx,
            0.88 + 0.1 * dy,
            name,
            color="red",
            size=8,
            ha="center",
            va="center",
            transform=axes.transAxes,
        )


def overview(run: Run, folder: Path) -> None:
    """The mosaic and its coverage; the rejected fraction and the uncertainty."""
    error = np.nanpercentile(run.uncertainty[run.coverage > LEAST], (0.5, 97))
    panels = (
        (
            "mosaic",
            run.mosaic - run.level,
            "MJy/sr above the sky",
            "gray_r",
            (-3 * run.noise, 20 * run.noise),
        ),
        ("coverage", np.where(run.coverage > 0, run.coverage, np.nan), "frames", "viridis", None),
        ("rejected fraction, coverage above 4", 100 * run.rejected, "% of the coverage", "magma", (0, 10)),
        (
            "uncertainty from the scatter of the frames",
            1e3 * run.uncertainty,
            "1e-3 MJy/sr",
            "viridis",
            1e3 * error,
        ),
    )
    for name, pair in (("mosaic", panels[:2]), ("rejected", panels[2:])):
        figure = plt.figure(figsize=(12, 3.6), layout="constrained")
        for number, (title, image, unit, colors, limits) in enumerate(pair, 1):
            axes = sky_axes(figure, (1, 2, number), WCS(run.header))
            low, high = (0, np.nanmax(image)) if limits is None else limits
            style = {"cmap": colors, "interpolation": "antialiased", "origin": "lower"}
            shown = axes.imshow(image, vmin=low, vmax=high, **style)
            axes.set_title(title, size=10)
            extend = "neither" if limits is None else "max" if low == 0 else "both"
            figure.colorbar(shown, ax=axes, shrink=0.8, label=unit, extend=extend)
            scale_bar(axes, run.pixel, 120)
            if title == "mosaic":
                compass(axes, run.header)
        save(figure, folder / f"{name}.png")


def busiest(run: Run) -> tuple[Path, int, int]:
    """The frame, and the corner of the detail in it, with the most hits that the mosaic does not have."""
    side = round(ZOOM / run.pixel)
    best: tuple[float, Path, int, int] = (-1.0, run.frames[0], 0, 0)
    above = np.nan_to_num(run.mosaic - run.level)
    crowded = ndimage.uniform_filter((above > 0.3).astype("f4"), side) > 0.06
    for path in run.frames[:: max(1, len(run.frames) // 12)]:
        image, header = fits.getdata(path, header=True)
        x, y = header["MINTOFFX"], header["MINTOFFY"]
        cut = np.s_[y : y + image.shape[0], x : x + image.shape[1]]
        hits = (np.nan_to_num(image - run.level) > 0.3) & (above[cut] < 0.05)
        count = np.where(crowded[cut], 0, ndimage.uniform_filter(hits.astype("f4"), side))
        margin = side
        inner = count[margin:-margin, margin:-margin]
        row, column = np.unravel_index(np.argmax(inner), inner.shape)
        if inner[row, column] > best[0]:
            corner = x + margin - side // 2, y + margin - side // 2
            best = (float(inner[row, column]), path, corner[0] + int(column), corner[1] + int(row))
    return best[1], best[2], best[3]


def detail(run: Run, folder: Path) -> None:
    """One frame and the mosaic, the same arcminute."""
    path, x0, y0 = busiest(run)
    side = round(ZOOM / run.pixel)
    image, header = fits.getdata(path, header=True)
    whole = np.full(run.mosaic.shape, np.nan)
    x, y = header["MINTOFFX"], header["MINTOFFY"]
    whole[y : y + image.shape[0], x : x + image.shape[1]] = image
    cut = np.s_[y0 : y0 + side, x0 : x0 + side]
    figure = plt.figure(figsize=(11, 5), layout="constrained")
    wcs = WCS(run.header)[cut]
    for number, (title, part) in enumerate((("one frame, interpolated", whole), ("mosaic", run.mosaic)), 1):
        axes = sky_axes(figure, (1, 2, number), wcs)
        shown = axes.imshow(
            part[cut] - run.level,
            origin="lower",
            vmin=-0.05,
            vmax=0.5,
            cmap="gray_r",
            interpolation="nearest",
        )
        axes.set_title(
            f"{title}, {np.nanmedian(run.coverage[cut]):.0f} frames" if number == 2 else title, size=10
        )
        scale_bar(axes, run.pixel, 10)
    figure.colorbar(shown, ax=figure.axes, label="MJy/sr above the sky", extend="both")
    save(figure, folder / "detail.png")


def stars(run: Run) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows, columns and peaks of stars with whole cores: no pixel was bad in the frames before the search."""
    image = np.nan_to_num(run.mosaic - run.level)
    peaks = (image == ndimage.maximum_filter(image, round(12 / run.pixel))) & (image > CLASSES[0][0])
    ratio = ndimage.minimum_filter(run.before, 7) / np.maximum(ndimage.maximum_filter(run.before, 41), 1)
    peaks &= (ratio > 0.7) & (run.before > LEAST) & (image < CLASSES[-1][1])
    rows, columns = np.nonzero(peaks)
    inner = (np.minimum(rows, columns) > 50) & (rows < image.shape[0] - 50) & (columns < image.shape[1] - 50)
    rows, columns = rows[inner], columns[inner]
    order = np.argsort(-image[rows, columns])
    return rows[order], columns[order], image[rows, columns][order]


def empty(run: Run) -> np.ndarray:
    """Pixels of the sky without stars."""
    bright = np.nan_to_num(run.mosaic - run.level) > 4 * run.noise
    return (run.before > LEAST) & ~ndimage.binary_dilation(bright, iterations=8)


def cores(run: Run, folder: Path) -> None:
    """Stamps of the brightest stars with the rejected fraction below, and its profile round stars of three classes."""
    rows, columns, peaks = stars(run)
    half = round(STAMP / run.pixel)
    figure = plt.figure(figsize=(11, 7.4), layout="constrained")
    parts = figure.subfigures(2, 1, height_ratios=(1.25, 1))
    panels = parts[0].subplots(2, 6, sharex=True, sharey=True)
    extent = (-STAMP, STAMP, -STAMP, STAMP)
    for number, (row, column, peak) in enumerate(zip(rows[:6], columns[:6], peaks[:6], strict=True)):
        cut = np.s_[row - half : row + half + 1, column - half : column + half + 1]
        light = panels[0, number].imshow(
            np.maximum(run.mosaic[cut] - run.level, 0.01),
            origin="lower",
            norm=LogNorm(0.01, 50),
            cmap="gray_r",
            extent=extent,
        )
        share = panels[1, number].imshow(
            100 * run.rejected[cut], origin="lower", vmin=0, vmax=10, cmap="magma", extent=extent
        )
        panels[0, number].set_title(f"peak {peak:.0f} MJy/sr", size=9)
    for axes in panels[1]:
        axes.set_xlabel("arcsec", size=8)
    for axes in panels[:, 0]:
        axes.set_ylabel("arcsec", size=8)
    parts[0].colorbar(light, ax=panels[0], label="MJy/sr", extend="both")
    parts[0].colorbar(share, ax=panels[1], label="rejected, %", extend="max")
    _profiles(run, parts[1].subplots(), rows, columns, peaks)
    save(figure, folder / "cores.png")


def _profiles(run: Run, axes: Any, rows: np.ndarray, columns: np.ndarray, peaks: np.ndarray) -> None:
    """Draw and print the rejected fraction by the distance from a star."""
    sky = empty(run)
    level = float(np.average(run.rejected[sky], weights=run.before[sky]))
    print(f"rejected in the empty sky: {100 * level:.2f} %")
    edges = np.arange(0, 13, 0.6) - 0.3
    half = round(12 / run.pixel)
    y, x = np.mgrid[-half : half + 1, -half : half + 1]
    ring = np.digitize(np.hypot(x, y) * run.pixel, edges) - 1
    for (low, high), color in zip(CLASSES, COLORS, strict=True):
        chosen = (peaks >= low) & (peaks < high)
        sums = np.zeros((2, len(edges)))
        for row, column in zip(rows[chosen], columns[chosen], strict=True):
            cut = np.s_[row - half : row + half + 1, column - half : column + half + 1]
            before, lost = run.before[cut], (run.before - run.after)[cut]
            sums += [np.bincount(ring.ravel(), part.ravel(), len(edges)) for part in (lost, before)]
        share = (sums[0] / np.maximum(sums[1], 1e-9))[:-1]
        label = f"{chosen.sum()} stars, peaks of {low:g} to {high:g} MJy/sr"
        axes.plot(edges[:-1] + 0.3, 100 * share, "o-", ms=3, color=color, label=label)
        print(f"{label}: rejected at the centre {100 * share[0]:.2f} %, within 1.5 arcsec ", end="")
        print(f"{100 * sums[0, :3].sum() / max(sums[1, :3].sum(), 1e-9):.2f} %")
    axes.axhline(100 * level, color="black", ls="--", lw=1, label="empty sky")
    axes.set(xlabel="distance from the star, arcsec", ylabel="rejected, % of the coverage", xlim=(-0.3, 12))
    axes.set_ylim(bottom=0)
    axes.legend(fontsize=8)


def main() -> None:
    run, folder = Run(Path(sys.argv[1])), Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    overview(run, folder)
    detail(run, folder)
    cores(run, folder)


if __name__ == "__main__":
    main()
