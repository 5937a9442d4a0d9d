"""The noise that detection works with, from the tiles that the namelist names."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pymopex.kit.task import Run


def noise_tile(run: Run, number: int) -> str:
    """Give the path of a tile's noise: uncertainty, standard deviation, or '' to measure it in the image.

    Notes
    -----
    With both switches on, the uncertainty tiles win; a tile that was not made counts as switched off.
    """
    keys = run.globals
    for wanted, product in ((keys.use_unc_to_detect, "coadd_unc"), (keys.use_std_to_detect, "coadd_std")):
        path = run.path(product, tile=number)
        if wanted and os.path.exists(path):
            return path
    return ""
