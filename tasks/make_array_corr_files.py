"""Make Array Correction Files: the array-location correction image with the pointing of each frame."""

from __future__ import annotations

from typing import Any

from pymopex.kit.array_location import check_size, correction_image, correction_problems
from pymopex.kit.images import read_header, read_image, write_image
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name missing correction images."""
    return correction_problems(run)


def run(run: Run) -> None:
    """Write ``arraycorr_<base>.fits`` for each frame, and their list.

    Notes
    -----
    The image is the correction times the relative pixel area. The correction applies to aperture sums on frames
    whose pixels are taken as equal; a mosaic has the true areas, so the product is what its photometry needs.
    Without an area image the relative areas are computed from the distortion of the first frame.
    """
    image = correction_image(run)
    plain = run.path("arraycorr", base="image")
    frames, stamp = run.frames(), run.stamp()
    write_image(plain, image.astype("f4"), read_header(frames[0].image), stamp)
    jobs = [(files.image, plain, run.path("arraycorr", base=files.base), stamp) for files in frames]
    paths = run.map(_stamp_frame, jobs)
    write_list(run.path("arraycorr_list"), paths)
    run.keep(plain, run.path("arraycorr_list"), *paths)
    run.note(f"{len(paths)} frames; correction from {image.min():.4f} to {image.max():.4f}")


def _stamp_frame(job: Any) -> str:
    source, plain, target, stamp = job
    image, _ = read_image(plain)
    header = read_header(source)
    check_size(source, header, image.shape)
    header["BUNIT"] = ("MJy/sr", "correction, to be averaged as the frames are")
    return write_image(target, image, header, stamp, (source,))
