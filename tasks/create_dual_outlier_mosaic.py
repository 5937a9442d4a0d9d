"""Create Dual Outlier Mosaic: the signs of the dual outlier maps averaged on the grid of the mosaic."""

from __future__ import annotations

from dataclasses import replace

from pymopex.kit.coadding import mosaic_of_maps
from pymopex.kit.layers import layers
from pymopex.kit.task import Run


def run(run: Run) -> None:
    """Write ``mosaic_dual_outlier.fits``, its tiles, their table and the list of their frames.

    Notes
    -----
    The values of dual outlier maps are the numbers of clusters, which cannot be averaged; their signs can. The
    mosaic has the share of the frames with a detection that the other frames share, less the share with one that
    they do not: 1 in a star, 1 / n below 0 at an outlier of one of n frames.
    """
    maps = [replace(layer, data=run.existing("dual", base=layer.files.base)) for layer in layers(run)]
    mosaic_of_maps(run, "mosaic_dual_outlier", "dual_mosaic", maps, signs=True)
