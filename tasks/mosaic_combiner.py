"""Mosaic Combine: tiles combined to the final mosaics."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING

from pymopex.kit.coadding import MOSAICS, combine, combine_job, parts
from pymopex.kit.layers import coadd_tiles, read_mosaic_part
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np

_RIGHT = (0.8, 1.25)  # ratios of scatter and uncertainty that need no word
_ENOUGH = 2_000_000  # pixels of a mosaic that tell the ratio


def run(run: Run) -> None:
    """Write ``mosaic.fits``, ``mosaic_unc.fits``, ``mosaic_cov.fits``, ``mosaic_std.fits`` and the others asked for.

    Notes
    -----
    If both ``mosaic_unc.fits`` and ``mosaic_std.fits`` are made, the log tells the ratio of the noise that the
    scatter of the frames shows in the sky to the uncertainty propagated from their uncertainty images. It need not
    be 1: those of the IRAC archive over-estimate the noise, the legacy rule adds the uncertainties of the pixels that
    interpolation mixes linearly, and offsets that are left between frames scatter too. With
    ``Scale_Uncertainties = 1`` the uncertainty mosaics are multiplied by the ratio, and the variance mosaic by the
    square of the ratio of the scatter to its root; ``UNCSCALE`` in the header tells the factor.
    ``mosaic_std.fits`` is the noise of each pixel as it is, though uncertain where few frames overlap, and
    larger at stars, whose undersampled images change with their place in the pixel.
    """
    made = [
        part for part in parts(run) if part == "image" or os.path.exists(run.path(f"coadd_{part}", tile=1))
    ]
    factors = _factors(run, made)
    jobs = []
    for part in made:
        kind = "unc" if part.endswith("unc") else part
        jobs.append(combine_job(run, MOSAICS[part], coadd_tiles(run, part), factors.get(kind, 1.0)))
    run.keep(*run.map(combine, jobs, "mosaics"))


def _factors(run: Run, made: list[str]) -> dict[str, float]:
    """Compare uncertainties with the scatter; gives what uncertainties and variance are to be multiplied by."""
    import numpy as np
    from pymopex.variance import scatter_ratio

    if not {"unc", "std"} <= set(made):
        return {}
    read = {part: _sample(run, part) for part in ("image", "std", "unc", "cov")}
    ratio = scatter_ratio(read["image"], read["std"], read["unc"], read["cov"])
    if not math.isfinite(ratio):
        return {}
    _tell(run, ratio)
    if not run.params.Scale_Uncertainties:
        return {}
    factors = {"unc": ratio}
    if "var" in made:
        root = np.sqrt(_sample(run, "var"))
        factors["var"] = scatter_ratio(read["image"], read["std"], root, read["cov"]) ** 2
    return factors


def _sample(run: Run, part: str) -> np.ndarray:
    """Read a mosaic, of a large one as many of its rows, evenly spaced, as a ratio needs."""
    import numpy as np
    from pymopex.geometry import Box

    grid, tiles = run.fiducial(), coadd_tiles(run, part)
    step = math.ceil(grid.naxis1 * grid.naxis2 / _ENOUGH)
    if step == 1:
        return read_mosaic_part(tiles, Box(0, 0, grid.naxis1, grid.naxis2))
    rows = [read_mosaic_part(tiles, Box(0, y, grid.naxis1, 1)) for y in range(0, grid.naxis2, step)]
    return np.concatenate(rows)


def _tell(run: Run, ratio: float) -> None:
    text = f"scatter of the frames over their uncertainty, in the sky: {ratio:.3f}"
    if run.params.Scale_Uncertainties:
        text += ", by which the uncertainties are multiplied"
    elif not _RIGHT[0] < ratio < _RIGHT[1]:
        text += "; Scale_Uncertainties = 1 would multiply the uncertainties by it"
    run.note(text)
