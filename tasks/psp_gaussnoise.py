"""PSP Gaussnoise: maps of the fluctuation of the probability, or filtered, images."""

from __future__ import annotations

from pymopex.kit.backgrounds import check_window
from pymopex.kit.task import Run
from pymopex.tasks.gaussnoise import map_noises


def check(run: Run) -> list[str]:
    """Name a window that contradicts its other settings."""
    return check_window(run)


def run(run: Run) -> None:
    """Write ``coadd_Tile_<n>_Image_PSP_noise.fits`` for each tile, or ``<base>_PSP_noise.fits``.

    Notes
    -----
    The module runs where the namelist has its block, unless ``run_psp_gaussnoise`` says otherwise. Detect divides the
    image by it with ``Input_Type = snr_input``. Without the module it measures one number per image.
    """
    searched = run.params.use_psp_to_detect
    if searched == "0":
        run.note("use_psp_to_detect = 0: nothing to measure")
    else:
        map_noises(run, "tile_filtered" if searched == "2" else "tile_psp", "tile_psp_noise")
