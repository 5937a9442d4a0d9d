"""Pictures of what a flow made, as PNG."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.kit.files import whole
from pymopex.kit.images import read_image

if TYPE_CHECKING:
    from pymopex.kit.task import Run

MARKED = 400  # sources marked at most, the brightest


def pyplot() -> Any:
    """Give ``matplotlib.pyplot``, drawing into files."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    return plt


def limits(image: np.ndarray) -> tuple[float, float]:
    """Give the limits of a grey scale, from the median and the scatter."""
    middle = float(np.nanmedian(image))
    width = 1.4826 * float(np.nanmedian(np.abs(image - middle))) or 1.0
    return middle - 3 * width, middle + 15 * width


def mark_sources(axes: Any, table: Any) -> None:
    """Mark the brightest sources of an extraction table on an image."""
    brightest = np.argsort(-table.column("flux"))[:MARKED]
    x, y = table.column("x")[brightest] - 1, table.column("y")[brightest] - 1
    axes.scatter(x, y, s=14, facecolors="none", edgecolors="tab:orange", linewidths=0.5)


def flow_picture(run: Run, path: str) -> str:
    """Draw a frame, the mosaic with the fitted sources, and the mosaic of residuals; gives the path.

    Parameters
    ----------
    run : Run
        A flow whose mosaic, extraction table and residual mosaic exist.
    path : str
        PNG file to write.
    """
    from pymopex.geometry import frame_wcs
    from pymopex.kit.ipac import read_table

    frame, frame_header = read_image(run.frames()[0].image, dtype="f8")
    mosaic, header = read_image(run.existing("mosaic"), dtype="f8")
    panels: list[tuple[str, Any, Any]] = [
        ("one frame", frame, frame_header),
        ("mosaic, fitted sources", mosaic, header),
    ]
    residual = os.path.join(
        run.globals.OUTPUT_DIR, run.globals.RESIDUAL_DIR, "mosaic", "Combine", "mosaic.fits"
    )
    if os.path.exists(residual):
        panels.append(("mosaic of residuals", *read_image(residual, dtype="f8")))
    low, high = limits(mosaic)
    plt = pyplot()
    figure = plt.figure(figsize=(5.2 * len(panels), 5.0), layout="constrained")
    for number, (title, image, its_header) in enumerate(panels, 1):
        axes = figure.add_subplot(1, len(panels), number, projection=frame_wcs(its_header))
        shown = axes.imshow(image, origin="lower", vmin=low, vmax=high, cmap="gray", interpolation="nearest")
        axes.set_title(title, pad=12)
        for axis, name in zip(axes.coords, ("RA", "Dec"), strict=True):
            axis.set_axislabel(name)
            axis.set_ticks_position("b" if name == "RA" else "l")
            axis.set_ticklabel(size=7, exclude_overlapping=True)
        if number == 2:
            mark_sources(axes, read_table(run.existing("extract")))
    figure.colorbar(shown, ax=figure.axes, shrink=0.8, label="MJy/sr")
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path


def completeness_picture(table: dict[str, Any], stars: dict[str, Any], path: str) -> str:
    """Draw completeness and reliability by flux and signal-to-noise ratio, and the flux errors; gives the path.

    Parameters
    ----------
    table : dict
        Columns of ``completeness.tbl``.
    stars : dict
        Columns of ``artificial_stars.tbl``.
    path : str
        PNG file to write.
    """
    plt = pyplot()
    figure, panels = plt.subplots(2, 2, figsize=(10, 7.5), layout="constrained")
    for axes, by, label in zip(
        panels[0], ("flux", "SNR"), ("flux [µJy]", "signal-to-noise ratio"), strict=True
    ):
        rows = np.array([kind == by for kind in table["by"]])
        for name, colour, marker in (("completeness", "tab:blue", "o"), ("reliability", "tab:orange", "s")):
            _rates(axes, {key: np.asarray(table[key])[rows] for key in table}, name, colour, marker)
        axes.set(xscale="log", xlabel=label, ylabel="fraction", ylim=(-0.03, 1.05))
        axes.legend(loc="lower right")
    found = np.asarray(stars["found"]) > 0
    flux, measured = (np.asarray(stars[name], float)[found] for name in ("flux", "flux_fit"))
    errors, places = panels[1]
    errors.plot(flux, 100 * (measured / flux - 1), ".", ms=4, color="tab:blue", alpha=0.5)
    errors.axhline(0, color="black", lw=0.8)
    errors.set(xscale="log", xlabel="flux [µJy]", ylabel="fitted over true flux - 1 [%]")
    _show_most(errors, 100 * (measured / flux - 1))
    east, north = (1000 * np.asarray(stars[name], float)[found] for name in ("east", "north"))
    for values, axis, colour in ((east, "east", "tab:blue"), (north, "north", "tab:orange")):
        places.plot(flux, values, ".", ms=4, color=colour, alpha=0.5, label=axis)
    places.axhline(0, color="black", lw=0.8)
    places.set(xscale="log", xlabel="flux [µJy]", ylabel="fitted minus true position [mas]")
    places.legend(loc="upper right")
    _show_most(places, np.concatenate([east, north]))
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    plt.close(figure)
    return path


def _rates(axes: Any, rows: dict[str, np.ndarray], name: str, colour: str, marker: str) -> None:
    """Plot rates in the middles of their bins, with their intervals."""
    at, rate = np.sqrt(rows["low"] * rows["high"]), rows[name]
    known = np.isfinite(rate)
    below, above = rate - rows[f"{name}_low"], rows[f"{name}_high"] - rate
    bars = np.maximum(np.stack([below, above]), 0)[:, known]
    axes.errorbar(at[known], rate[known], bars, fmt=f"{marker}-", ms=5, color=colour, capsize=2, label=name)


def _show_most(axes: Any, values: np.ndarray) -> None:
    """Let the axis hold all but a fiftieth of the values."""
    if values.size:
        limit = max(float(np.percentile(np.abs(values), 98)) * 1.2, 1e-6)
        axes.set_ylim(-limit, limit)
