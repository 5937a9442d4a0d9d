"""Make Array Correction Files: the array-location correction image with the pointing of each frame."""

from __future__ import annotations

from typing import Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, read_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name missing correction images."""
    problems = []
    if not run.params.ARRAY_CORR_IMAGE:
        problems.append(
            f"{run.settings.namelist.path}: ARRAY_CORR_IMAGE: no array-location correction image is given"
        )
    for key in ("ARRAY_CORR_IMAGE", "ARRAY_PIXAREA_IMAGE"):
        if getattr(run.params, key):
            try:
                run.calibration(key)
            except InputError as problem:
                problems.append(str(problem))
    return problems


def run(run: Run) -> None:
    """Write ``arraycorr_<base>.fits`` for each frame, and their list.

    Notes
    -----
    The image is the correction times the relative pixel area. The correction applies to aperture sums on frames
    whose pixels are taken as equal; a mosaic has the true areas, so the product is what its photometry needs.
    Without an area image the relative areas are computed from the distortion of the first frame.
    """
    correction, _ = read_image(run.calibration("ARRAY_CORR_IMAGE"), dtype="f8")
    image = correction * _relative_area(run, correction.shape)
    plain = run.path("arraycorr", base="image")
    frames, stamp = run.frames(), run.stamp()
    write_image(plain, image.astype("f4"), read_header(frames[0].image), stamp)
    jobs = [(files.image, plain, run.path("arraycorr", base=files.base), stamp) for files in frames]
    paths = run.map(_stamp_frame, jobs)
    write_list(run.path("arraycorr_list"), paths)
    run.keep(plain, run.path("arraycorr_list"), *paths)
    run.note(f"{len(paths)} frames; correction from {image.min():.4f} to {image.max():.4f}")


def _relative_area(run: Run, shape: tuple[int, int]) -> Any:
    import numpy as np
    from pymopex.geometry import frame_wcs, pixel_solid_angle

    if run.params.ARRAY_PIXAREA_IMAGE:
        area, _ = read_image(run.calibration("ARRAY_PIXAREA_IMAGE"), dtype="f8")
        if area.shape != shape:
            raise InputError(
                f"{run.calibration('ARRAY_PIXAREA_IMAGE')}: is not of the size of ARRAY_CORR_IMAGE"
            )
        return area
    wcs = frame_wcs(read_header(run.frames()[0].image), refined=run.params.USE_REFINED_POINTING)
    y, x = np.mgrid[: shape[0], : shape[1]]
    area = pixel_solid_angle(wcs, x.ravel(), y.ravel()).reshape(shape)
    return area / area[shape[0] // 2, shape[1] // 2]


def _stamp_frame(job: Any) -> str:
    source, plain, target, stamp = job
    image, _ = read_image(plain)
    header = read_header(source)
    if (header["NAXIS2"], header["NAXIS1"]) != image.shape:
        raise InputError(f"{source}: is not of the size of the correction image")
    header["BUNIT"] = ("MJy/sr", "correction, to be averaged as the frames are")
    return write_image(target, image, header, stamp, (source,))
