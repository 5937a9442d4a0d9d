"""Fix Array Location: frames times the array-location correction, before they are mosaicked."""

from __future__ import annotations

from typing import Any

from pymopex.kit.array_location import check_size, correction_image, correction_problems
from pymopex.kit.images import read_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.mitigation import check_channel, record, row
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name missing correction images, and frames that are not of IRAC."""
    return correction_problems(run) or check_channel(run, (1, 2, 3, 4))


def run(run: Run) -> None:
    """Write the frames times the correction, under their own names, their list, and ``arraylocation.tbl``.

    Notes
    -----
    This is the exact way of the correction for blue sources; the mosaic of corrections (Make Array Correction
    Mosaic) is the approximate one, and photometry must not be corrected once more: take Array_Correction =
    none in Photometric Corrections. The factor is the correction image times the relative pixel area, as in
    Make Array Correction Files. The flat field is right for the background, which the factor spoils by a few
    percent; Keep_Background corrects what stands above the median of the frame only. Uncertainties are
    multiplied too and listed in ``arraylocation_sigmas_<list>``.
    """
    plain, p, stamp = run.path("arraylocation", base="factor"), run.params, run.stamp()
    write_image(plain, correction_image(run).astype("f4"), _header(), stamp)
    targets = [run.path("arraylocation", base=files.base) for files in run.frames()]
    sigmas = [
        run.path("arraylocation", base=files.sigma_base) if files.sigma and p.Sigmas else ""
        for files in run.frames()
    ]
    jobs = [
        (files, plain, target, sigma, stamp, p.Keep_Background)
        for files, target, sigma in zip(run.frames(), targets, sigmas, strict=True)
    ]
    record(run, "arraylocation", targets, run.map(_multiply, jobs))
    if all(sigmas):
        write_list(run.path("arraylocation_sigma_list"), sigmas)
        run.keep(run.path("arraylocation_sigma_list"), *sigmas)


def _header() -> Any:
    from astropy.io import fits

    return fits.Header([("BUNIT", "", "factor on the flux of blue sources")])


def _multiply(job: Any) -> dict[str, Any]:
    import numpy as np
    from pymopex.artifacts import Found

    files, plain, target, sigma, stamp, keep = job
    factor, _ = read_image(plain, dtype="f8")
    data, header = read_image(files.image, dtype="f8")
    check_size(files.image, header, factor.shape)
    level = float(np.nanmedian(data)) if keep and np.isfinite(data).any() else 0.0
    header["ARRAYLOC"] = (True, "times the array-location correction")
    image = level + (data - level) * factor
    write_image(target, image.astype("f4"), header, stamp, (files.image,))
    if sigma:
        unc, sigma_header = read_image(files.sigma, dtype="f8")
        check_size(files.sigma, sigma_header, factor.shape)
        write_image(sigma, (unc * factor).astype("f4"), sigma_header, stamp, (files.sigma,))
    return row(files, 0, Found(np.nan_to_num(data - image), 1))
