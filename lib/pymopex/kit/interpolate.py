"""Interpolating frames onto the mosaic: the job that Interpolate, Reinterpolate and the correction mosaic share."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import refused
from pymopex.kit.images import FatalBits, FrameFiles, Stamp, read_frame, read_header, read_image, write_image

if TYPE_CHECKING:
    from pymopex.geometry import Box, FiducialFrame
    from pymopex.interpolation import Interpolation
    from pymopex.kit.task import Run


@dataclass(frozen=True)
class InterpolationJob:
    """One frame to interpolate: its files, the grid, the method, the names of the products.

    Pointing and unit are those of the image, or of the file `pointing` if one is given. With `as_brightness`
    values are averaged like surface brightness, whatever the unit.
    """

    files: FrameFiles
    bits: FatalBits
    grid: FiducialFrame
    refined: bool
    how: Interpolation
    data: str
    coverage: str
    sigma: str
    stamp: Stamp
    bright: str = ""
    variance: str = ""
    pointing: str = ""
    as_brightness: bool = False


def interpolate_frame(job: InterpolationJob) -> Box | None:
    """Interpolate a frame and write its image, coverage and uncertainty; gives its place, None if off the mosaic."""
    from pymopex.interpolation import interpolate
    from pymopex.kit.layers import placed_on
    from pymopex.kit.plain_fits import cards_in

    frame = read_frame(job.files, job.bits)
    bad = frame.bad
    if job.bright:
        bad = bad | (read_image(job.bright)[0] > 0)
    pointing = read_header(job.pointing) if job.pointing else frame.header
    with refused(job.files.image):
        placed = placed_on(job.grid, job.pointing or job.files.image, job.refined)
    if placed is None:
        return None
    surface = job.as_brightness or is_surface_brightness(pointing.get("BUNIT", ""))
    with refused(job.files.image):
        result = interpolate(
            frame.data,
            frame.sigma,
            bad,
            placed,
            job.how,
            surface_brightness=surface,
            want_variance=bool(job.variance),
        )
    header = layer_header(pointing, job.grid, result.box, job.how)
    cards = cards_in(header)
    inputs = tuple(path for path in (job.files.image, job.files.dmask, job.files.rmask) if path)
    write_image(job.data, result.data, cards, job.stamp, inputs)
    write_image(job.coverage, result.coverage, cards, job.stamp, inputs)
    if result.sigma is not None and job.sigma:
        write_image(job.sigma, result.sigma, cards, job.stamp, (job.files.sigma,))
    if result.variance is not None:
        write_image(job.variance, result.variance, variance_header(header), job.stamp, (job.files.sigma,))
    return result.box


def is_surface_brightness(unit: str) -> bool:
    """Tell whether a BUNIT is MJy/sr or microJy/arcsec2, in any usual spelling; anything else is counts."""
    bare = str(unit).lower().replace(" ", "").replace("**", "").replace("^", "").replace("µ", "u")
    return bare in ("mjy/sr", "mjysr-1", "mjy.sr-1") or (
        bare.startswith(
            ("microjy/arcsec2", "ujy/arcsec2", "microjy/sqarcsec", "ujy/sqarcsec", "microjy/arcsec")
        )
    )


def layer_header(frame_header: Any, grid: FiducialFrame, box: Box, how: Interpolation | None = None) -> Any:
    """Make the header of an image on a part of the mosaic grid: its coordinates, offset, unit and pointing facts."""
    header = grid.header()
    header["CRPIX1"] -= box.x0
    header["CRPIX2"] -= box.y0
    header["MINTOFFX"] = (box.x0, "[pixel] offset from the mosaic's origin along x")
    header["MINTOFFY"] = (box.y0, "[pixel] offset from the mosaic's origin along y")
    for key in _KEPT:
        if key in frame_header:
            header[key] = (frame_header[key], frame_header.comments[key])
    if how is not None:
        header["INTERP_M"] = (int(how.method), "1 area overlap, 2 drizzle, 3 grid, 4 bicubic")
        header["DRIZ_FAC"] = (how.driz_fac, "linear shrink factor of the input pixel")
        header["GRID_RAT"] = (how.grid_ratio, "points per input pixel side")
        header["ALPHA"] = (how.alpha, "parameter of the cubic kernel")
        header["FINERES"] = (how.fineres, "parts of an input pixel side")
    return header


def variance_header(header: Any) -> Any:
    """Give a header with the unit squared."""
    squared = header.copy()
    squared["BUNIT"] = (f"({header['BUNIT']})**2" if header.get("BUNIT") else "", "variance")
    return squared


METHOD = ("INTERP_M", "DRIZ_FAC", "GRID_RAT", "ALPHA", "FINERES")
"""Header keywords of the method of interpolation."""


def method_of(header: Any) -> Interpolation:
    """Give the method an image was interpolated with, by its header."""
    from pymopex.interpolation import Interpolation

    return Interpolation(
        header["INTERP_M"], header["FINERES"], header["DRIZ_FAC"], header["GRID_RAT"], header["ALPHA"]
    )


def wanted_method(run: Run) -> Interpolation:
    """Give the method that the namelist asks for."""
    from pymopex.interpolation import Interpolation

    p = run.params_of("mosaic_interp")
    return Interpolation(int(p.INTERP_METHOD), p.FINERES, p.DRIZ_FAC, p.GRID_RATIO, p.ALPHA)


_KEPT = (
    *(
        "TELESCOP",
        "INSTRUME",
        "CHNLNUM",
        "AORKEY",
        "EXPID",
        "DCENUM",
        "DCEID",
        "OBJECT",
        "DATE_OBS",
        "MJD_OBS",
    ),
    *("EXPTIME", "FRAMTIME", "GAIN", "RONOISE", "FLUXCONV", "BUNIT"),
)
