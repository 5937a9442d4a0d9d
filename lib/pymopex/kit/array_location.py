"""The array-location correction image, and what it says at the places of sources."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import read_header, read_image

if TYPE_CHECKING:
    import numpy as np

    from pymopex.kit.task import Run


def correction_problems(run: Run) -> list[str]:
    """Name correction images that are missing."""
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


def correction_image(run: Run) -> np.ndarray:
    """Give the factors on the flux of blue sources by the pixel of a frame.

    Raises
    ------
    InputError
        An image is missing, or they differ in size.

    Notes
    -----
    The correction applies to aperture sums on frames whose pixels are taken as equal; a mosaic, and the PRF fit, have
    the true areas, so the factor is the correction times the relative pixel area. Without an area image the relative
    areas are computed from the distortion of the first frame.
    """
    correction, _ = read_image(run.calibration("ARRAY_CORR_IMAGE"), dtype="f8")
    return correction * _relative_area(run, correction.shape)


def _relative_area(run: Run, shape: tuple[int, int]) -> np.ndarray:
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


def check_size(path: str, header: Any, shape: tuple[int, int]) -> None:
    """Complain of a frame of another size than the correction image.

    Raises
    ------
    InputError
        It is.
    """
    if (header["NAXIS2"], header["NAXIS1"]) != tuple(shape):
        raise InputError(f"{path}: is not of the size of the correction image")


@dataclass(frozen=True)
class FrameJob:
    """What is looked up in one frame: at positions J2000 [deg], at least `n_edge` pixels inside its edge.

    Parameters
    ----------
    image : str
        The frame.
    ra, dec : ndarray, shape (n,)
        Positions.
    refined : bool
        Whether its refined pointing counts.
    n_edge : int
        Least distance from the edge.
    correction : ndarray or None
        Factors by pixel.
    phase : (str, str) or None
        Band and model of the pixel phase.
    """

    image: str
    ra: np.ndarray
    dec: np.ndarray
    refined: bool
    n_edge: int
    correction: np.ndarray | None
    phase: tuple[str, str] | None


def look_up(job: FrameJob) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Give the sources that a frame holds, and their array-location and pixel-phase factors there."""
    import numpy as np

    from pymopex.fit_data import place_sources
    from pymopex.geometry import frame_wcs
    from pymopex.kit.fit_frames import inside_frame, near_frame
    from pymopex.photcorr import phase_response

    header = read_header(job.image)
    wcs, shape = frame_wcs(header, refined=job.refined), (header["NAXIS2"], header["NAXIS1"])
    if job.correction is not None:
        check_size(job.image, header, job.correction.shape)
    near = near_frame(wcs, shape, job.ra, job.dec, max(20.0, -job.n_edge))
    if not near.size:
        return near, np.zeros(0), np.zeros(0)
    x, y, _ = place_sources(wcs, job.ra[near], job.dec[near])
    inside = inside_frame(x, y, shape, job.n_edge)
    near, x, y = near[inside], x[inside], y[inside]
    located = np.ones(len(near)) if job.correction is None else at_places(job.correction, x, y)
    phased = np.ones(len(near)) if job.phase is None else 1 / phase_response(*job.phase, x, y)
    return near, located, phased


def at_places(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Interpolate an image at pixels from 0, linearly; NaN outside of it."""
    import numpy as np
    from scipy.ndimage import map_coordinates

    ny, nx = image.shape
    found = map_coordinates(image, [y, x], order=1, mode="nearest")
    inside = (x >= -0.5) & (y >= -0.5) & (x < nx - 0.5) & (y < ny - 0.5)
    return np.where(inside, found, np.nan)


def mean_over_frames(found: list, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Average the factors of each source over the frames that hold it.

    Parameters
    ----------
    found : list
        What `look_up` gave for each frame.
    n : int
        Number of sources.

    Returns
    -------
    located, phased : ndarray, shape (n,)
        Mean factors; NaN for a source in no frame.
    count : ndarray of int, shape (n,)
        Frames that hold it.
    """
    import numpy as np

    count = np.zeros(n, int)
    sums = np.zeros((2, n))
    for rows, located, phased in found:
        count[rows] += 1
        sums[0, rows] += located
        sums[1, rows] += phased
    with np.errstate(invalid="ignore", divide="ignore"):
        return sums[0] / count, sums[1] / count, count
