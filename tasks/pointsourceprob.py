"""Point Source Probability: probability, or signal-to-noise, of a point source at each pixel of a tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import refused
from pymopex.kit.errors import InputError
from pymopex.kit.images import read_image, write_image
from pymopex.kit.layers import coadd_tiles
from pymopex.kit.task import Run
from pymopex.kit.tile_noise import noise_tile

if TYPE_CHECKING:
    import numpy as np


def check(run: Run) -> list[str]:
    """Name a PRF that is missing, or that cannot be used."""
    if not run.params.MOSAIC_PRF_file_name:
        return [
            f"{run.settings.namelist.path}: MOSAIC_PRF_file_name: no PRF of the mosaic is given; make_prf writes one "
            "(*_mosaic_detect_kernel.fits), give it with -P"
        ]
    try:
        _kernel(run)
    except InputError as problem:
        return [str(problem)]
    return []


def run(run: Run) -> None:
    """Write ``coadd_Tile_<n>_Image_PSP.fits`` or, with ``use_psp_to_detect = 2``, ``..._Filtered.fits``."""
    p, kernel = run.params, _kernel(run)
    product = "tile_filtered" if p.use_psp_to_detect == "2" else "tile_psp"
    jobs = []
    for number in range(1, len(coadd_tiles(run, "image")) + 1):
        noise = "" if p.Noise_Type == "internal_noise" else noise_tile(run, number)
        source, target = run.existing("tile_minback", tile=number), run.path(product, tile=number)
        prior = None if p.use_psp_to_detect == "2" else p.Apriori_Probability
        jobs.append((source, noise, kernel, prior, target, run.stamp()))
    run.keep(*run.map(_search, jobs, "tiles"))
    run.note(f"{len(jobs)} tiles, PRF of {kernel.shape[1]} x {kernel.shape[0]} pixels")


def _kernel(run: Run) -> np.ndarray:
    """Read the PRF of the mosaic and cut the part that is used."""
    from pymopex.probability import kernel_at_pixels

    p, path = run.params, run.calibration("MOSAIC_PRF_file_name")
    samples, _ = read_image(path, dtype="f8")
    with refused(path):
        return kernel_at_pixels(
            samples, p.PRF_ResampleX_Factor, p.PRF_ResampleY_Factor, p.PRF_Xsize, p.PRF_Ysize
        )


def _search(job: Any) -> str:
    import numpy as np
    from pymopex.probability import filtered, point_source_probability

    source, noise, kernel, prior, target, stamp = job
    image, header = read_image(source, dtype="f4")
    sigma = read_image(noise, dtype="f4")[0] if noise else _measured_noise(image)
    if prior is None:
        result = filtered(image, sigma, kernel)
    else:
        result = point_source_probability(image, sigma, kernel, prior=prior)
    return write_image(target, np.asarray(result, dtype="f4"), header, stamp, (source,))


def _measured_noise(image: Any) -> Any:
    import numpy as np
    from pymopex.background import MedianWindow
    from pymopex.noise import gaussian_noise

    bad = ~np.isfinite(image)
    if bad.all():
        return np.full(image.shape, np.nan)
    return gaussian_noise(image, bad, MedianWindow(45, 45, 0))
