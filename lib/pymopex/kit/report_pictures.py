"""The pictures of a report: images with sky axes, and distributions."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.kit import report_facts
from pymopex.kit.images import read_image
from pymopex.kit.pictures import MARKED, limits, mark_sources, pyplot
from pymopex.order_statistics import robust_scatter

if TYPE_CHECKING:
    from pymopex.kit.report import Products

_MOST = 1400  # pixels of an image along its longer side, as drawn
_DPI = 100
_LIGHT_CURVES = 200_000  # measurements of single frames in the distribution of pulls, at most

Drawn = Iterator[tuple[str, bytes]]


def _png(figure: Any) -> bytes:
    with io.BytesIO() as file:
        figure.savefig(file, format="png", dpi=_DPI)
        pyplot().close(figure)
        return file.getvalue()


def _small(image: np.ndarray) -> tuple[np.ndarray, int]:
    """Average blocks of pixels, blank ones left out, so that the image is no larger than it is drawn."""
    step = max(1, -(-max(image.shape) // _MOST))
    if step == 1:
        return image, 1
    lines, columns = (-(-side // step) for side in image.shape)
    whole = np.full((lines * step, columns * step), np.nan, image.dtype)
    whole[: image.shape[0], : image.shape[1]] = image
    blocks = whole.reshape(lines, step, columns, step)
    good = np.isfinite(blocks)
    count = good.sum(axis=(1, 3))
    total = np.where(good, blocks, 0).sum(axis=(1, 3))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan), step


def _sky(figure: Any, place: Any, image: np.ndarray, header: Any, label: str, title: str, **how: Any) -> Any:
    """Draw an image with sky axes, colour bar and scale bar; gives the axes."""
    from pymopex.geometry import frame_wcs

    axes = figure.add_subplot(place, projection=frame_wcs(header))
    drawn, step = _small(image)
    extent = (-0.5, drawn.shape[1] * step - 0.5, -0.5, drawn.shape[0] * step - 0.5)
    shown = axes.imshow(drawn, origin="lower", extent=extent, interpolation="nearest", **how)
    axes.set_xlim(-0.5, image.shape[1] - 0.5)
    axes.set_ylim(-0.5, image.shape[0] - 0.5)
    axes.set_title(title, pad=12)
    for axis, name in zip(axes.coords, header_names(header), strict=True):
        axis.set_axislabel(name)
        axis.set_ticklabel(size=7, exclude_overlapping=True)
    figure.colorbar(shown, ax=axes, shrink=0.75, label=label)
    _scale_bar(axes, image.shape, report_facts.pixel_scale(header))
    return axes


def header_names(header: Any) -> tuple[str, str]:
    """Give the names of the two sky axes of an image."""
    kind = str(header.get("CTYPE1", "RA---TAN"))[:4]
    return {"GLON": ("l", "b"), "ELON": ("ecliptic longitude", "ecliptic latitude")}.get(kind, ("RA", "Dec"))


def _scale_bar(axes: Any, shape: tuple[int, ...], pixel: float) -> None:
    """Draw a bar of a round length, about a fifth of the width."""
    steps = (1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000)
    length = max((step for step in steps if step <= shape[1] * pixel / 5), default=1)
    name = f"{length}″" if length < 60 else f"{length // 60}′" if length < 3600 else f"{length // 3600}°"
    x, y = 0.05 * shape[1], 0.05 * shape[0]
    axes.plot([x, x + length / pixel], [y, y], color="tab:orange", lw=2.5, solid_capstyle="butt")
    axes.text(x, y + 0.015 * shape[0], name, color="tab:orange", fontsize=9)


def mosaic(products: Products) -> Drawn:
    """Draw the mosaic with its sources, the residual mosaic on the same scale, coverage and lost coverage."""
    path = products.find("mosaic.fits", ["mosaic", "apex", "overlap"])
    if path is None:
        return
    image, header = read_image(path, dtype="f4")
    if not np.isfinite(image).any():
        return
    plt = pyplot()
    low, high = limits(image)
    how, table = {"vmin": low, "vmax": high, "cmap": "gray"}, report_facts.sources(products)
    figure = plt.figure(figsize=(13, 6), layout="constrained")
    axes = _sky(figure, 121, image, header, "MJy/sr", "mosaic", **how)
    shown = [axes]
    left = products.find("mosaic.fits", ["apex_qa"])
    if left is not None:
        rest, its_header = read_image(left, dtype="f4")
        shown.append(_sky(figure, 122, rest, its_header, "MJy/sr", "mosaic of residuals", **how))
    for panel in shown if table is not None else ():
        mark_sources(panel, table)
    marked = f", the {min(MARKED, len(table))} brightest sources marked" if table is not None else ""
    yield f"Mosaic{' and what is left without the fitted sources' if left else ''}{marked}.", _png(figure)


def coverage(products: Products) -> Drawn:
    """Draw coverage, and the share of it that was rejected; and that share at bright sources."""
    path = products.find("mosaic_cov.fits", ["mosaic", "apex"])
    if path is None:
        return
    depth, header = read_image(path, dtype="f4")
    figure = pyplot().figure(figsize=(13, 6), layout="constrained")
    shown = np.where(depth > 0, depth, np.nan)
    if not np.isfinite(shown).any():
        return
    _sky(figure, 121, shown, header, "frames", "coverage", cmap="viridis", vmin=0)
    lost = report_facts.lost_coverage(products)
    if lost is not None:
        _sky(figure, 122, 100 * lost[0], lost[1], "%", "coverage rejected", cmap="magma", vmin=0, vmax=20)
    yield (
        "Coverage of the mosaic" + (", and the share of it that outlier rejection took." if lost else "."),
        _png(figure),
    )


def offsets(products: Products) -> Drawn:
    """Draw the offset of each frame with its error."""
    table = products.table("offsets.tbl")
    if table is None:
        return
    value, error = table.column("offset"), np.nan_to_num(table.column("delta_offset"))
    group = table.column("group")
    figure, axes = pyplot().subplots(figsize=(10, 3.2), layout="constrained")
    for number in sorted(set(group)):
        one = group == number
        axes.errorbar(
            table.column("index")[one], value[one], error[one], fmt=".", ms=4, label=f"group {number}"
        )
    if 1 < len(set(group)) < 12:
        axes.legend()
    axes.axhline(0, color="black", lw=0.8)
    axes.set(xlabel="frame", ylabel="offset [MJy/sr]")
    yield "Constant added to each frame, with its error.", _png(figure)


def quality(products: Products) -> Drawn:
    """Draw the distributions of chi2/dof, of the signal-to-noise ratio, and of the pulls of single frames."""
    table = report_facts.sources(products)
    if table is None or not len(table):
        return
    snr, chi2 = table.column("SNR"), table.column("chi2/dof")
    figure, (one, two, three) = pyplot().subplots(1, 3, figsize=(13, 3.8), layout="constrained")
    known = np.isfinite(chi2) & (chi2 > 0) & (snr > 0)
    one.hist(np.clip(chi2[known], 0, 5), bins=50, range=(0, 5), color="tab:blue")
    one.axvline(1, color="black", lw=0.8)
    one.set(xlabel="chi2/dof (the last bin holds all above 5)", ylabel="sources")
    two.hist(np.log10(snr[snr > 0]), 40, color="tab:blue")
    two.set(xlabel="log10 of the signal-to-noise ratio", ylabel="sources")
    said = _pulls(products, three)
    if not said:
        three.plot(snr[known], chi2[known], ".", ms=2, color="tab:blue")
        three.set(xscale="log", yscale="log", xlabel="signal-to-noise ratio", ylabel="chi2/dof")
        three.axhline(1, color="black", lw=0.8)
        said = "chi2/dof against the signal-to-noise ratio"
    yield f"Fitted sources: chi2/dof, signal-to-noise ratio, and {said}.", _png(figure)


def _pulls(products: Products, axes: Any) -> str:
    """Draw (flux in one frame - flux in all) / error, if the measurements of the frames are there."""
    path = products.find("extract.h5")
    if path is None:
        return ""
    import tables

    with tables.open_file(path) as file:
        if "/lightcurve" not in file or "/catalogue" not in file:
            return ""
        rows = file.root.lightcurve.read(stop=_LIGHT_CURVES)
        whole = file.root.catalogue.read()
    at = np.argsort(whole["srcid"])
    place = at[np.clip(np.searchsorted(whole["srcid"][at], rows["srcid"]), 0, len(at) - 1)]
    with np.errstate(invalid="ignore", divide="ignore"):
        pull = (rows["flux"] - whole["flux"][place]) / rows["delta_flux"]
    pull = pull[np.isfinite(pull)]
    if not pull.size:
        return ""
    axes.hist(pull, bins=60, range=(-5, 5), density=True, color="tab:blue")
    x = np.linspace(-5, 5, 200)
    axes.plot(x, np.exp(-0.5 * x * x) / np.sqrt(2 * np.pi), color="black", lw=0.8)
    width = robust_scatter(pull)
    axes.set(xlabel="(flux in one frame - flux in all) / error", ylabel="share")
    return f"pulls of the fluxes in single frames (width {width:.2f}; the line is that of 1)"


PAGES: tuple[tuple[str, Callable[[Any], Iterable[tuple[str, bytes]]]], ...] = (
    ("Mosaic", mosaic),
    ("Coverage and rejected pixels", coverage),
    ("Offsets of the frames", offsets),
    ("Quality of the fits", quality),
)
