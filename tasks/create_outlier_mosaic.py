"""Create Outlier Mosaic: the temporal outlier maps averaged on the grid of the mosaic."""

from __future__ import annotations

from dataclasses import replace

from pymopex.kit.coadding import mosaic_of_maps
from pymopex.kit.layers import layers
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``mosaic_outlier.fits``, its tiles, their table and the list of their frames.

    Notes
    -----
    The mean of the deviations [sigma] of all frames at each pixel, weighted by coverage. To be looked at: stars that
    stand out in it are rejected by Mosaic Outlier where they should not be.
    """
    maps = [replace(layer, data=run.existing("outlier", base=layer.files.base)) for layer in layers(run)]
    mosaic_of_maps(run, "mosaic_outlier", "outlier_mosaic", maps)
