"""Point Source Probability: probability, or signal-to-noise, of a point source at each pixel of a tile."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import refused
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.images import read_cards, read_pixels, write_image
from pymopex.kit.prfs import problems_of_sampling
from pymopex.kit.searched import area_of, searched
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np

_WINDOW = 45  # pixels, of the noise that is measured in the image


def check(run: Run) -> list[str]:
    """Name a PRF that is missing, or that cannot be used."""
    if not getattr(run.params, _prf_key(run)):
        if run.single:
            return [f"{run.settings.namelist.path}: PRF_file_name: no PRF of the image is given (-p)"]
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
    """Write ``coadd_Tile_<n>_Image_PSP.fits`` or, with ``use_psp_to_detect = 2``, ``..._Filtered.fits``.

    Notes
    -----
    Of one image the products are ``<base>_PSP.fits`` and ``<base>_Filtered.fits``, and the PRF is that of the fit,
    unless ``MOSAIC_PRF_file_name`` gives another.
    """
    p, kernel = run.params, _kernel(run)
    product = "tile_filtered" if p.use_psp_to_detect == "2" else "tile_psp"
    prior = None if p.use_psp_to_detect == "2" else p.Apriori_Probability
    internal, tiles, jobs = p.Noise_Type == "internal_noise", searched(run), []
    for tile in tiles:
        area = area_of(tile, tiles, max(*kernel.shape, _WINDOW) // 2)
        sources = area.paths(lambda other: run.existing("tile_minback", tile=other.number))
        noise = () if internal or not tile.noise else area.paths(lambda other: other.noise)
        own, target = run.path("tile_minback", tile=tile.number), run.path(product, tile=tile.number)
        jobs.append((area, sources, noise, kernel, prior, own, target, run.stamp()))
    run.keep(*run.map(_search, jobs, "tiles"))
    run.note(f"{len(jobs)} tiles, PRF of {kernel.shape[1]} x {kernel.shape[0]} pixels")


def _prf_key(run: Run) -> str:
    """Tell which key names the PRF of the image that is searched."""
    return "PRF_file_name" if run.single and not run.params.MOSAIC_PRF_file_name else "MOSAIC_PRF_file_name"


def _kernel(run: Run) -> np.ndarray:
    """Read the PRF of the mosaic and cut the part that is used."""
    from pymopex.probability import kernel_at_pixels

    p, path = run.params, run.calibration(_prf_key(run))
    samples = read_pixels(path)
    problems = problems_of_sampling(run, path)
    if problems:
        raise InputErrors(problems)
    with refused(path):
        return kernel_at_pixels(
            samples, p.PRF_ResampleX_Factor, p.PRF_ResampleY_Factor, p.PRF_Xsize, p.PRF_Ysize
        )


def _search(job: Any) -> str:
    import numpy as np
    from pymopex.probability import filtered, point_source_probability

    area, sources, noise, kernel, prior, own, target, stamp = job
    image = area.read(sources)
    sigma = area.read(noise) if noise else _measured_noise(image)
    if prior is None:
        result = filtered(image, sigma, kernel, np.float32)
    else:
        result = point_source_probability(image, sigma, kernel, prior=prior)
    return write_image(target, area.cut(np.asarray(result, dtype="f4")), read_cards(own), stamp, (own,))


def _measured_noise(image: Any) -> Any:
    import numpy as np
    from pymopex.background import MedianWindow
    from pymopex.noise import gaussian_noise

    bad = ~np.isfinite(image)
    if bad.all():
        return np.full(image.shape, np.nan)
    return gaussian_noise(image, bad, MedianWindow(_WINDOW, _WINDOW, 0))
