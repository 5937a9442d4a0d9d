"""Pictures of what a flow made, as PNG."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.kit.files import whole
from pymopex.kit.images import read_image

if TYPE_CHECKING:
    from pymopex.kit.task import Run

_MARKED = 400  # sources marked at most, the brightest


def flow_picture(run: Run, path: str) -> str:
    """Draw a frame, the mosaic with the fitted sources, and the mosaic of residuals; gives the path.

    Parameters
    ----------
    run : Run
        A flow whose mosaic, extraction table and residual mosaic exist.
    path : str
        PNG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

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
    low, high = _limits(mosaic)
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
            _mark(axes, read_table(run.existing("extract")))
    figure.colorbar(shown, ax=figure.axes, shrink=0.8, label="MJy/sr")
    with whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110, bbox_inches="tight")
    plt.close(figure)
    return path


def _limits(image: np.ndarray) -> tuple[float, float]:
    middle = float(np.nanmedian(image))
    width = 1.4826 * float(np.nanmedian(np.abs(image - middle)))
    return middle - 3 * width, middle + 15 * width


def _mark(axes: Any, table: Any) -> None:
    brightest = np.argsort(-table.column("flux"))[:_MARKED]
    x, y = table.column("x")[brightest] - 1, table.column("y")[brightest] - 1
    axes.scatter(x, y, s=14, facecolors="none", edgecolors="tab:orange", linewidths=0.5)
