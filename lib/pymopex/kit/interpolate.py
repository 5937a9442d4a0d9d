"""Interpolating frames onto the mosaic: the job that Interpolate, Reinterpolate and the correction mosaic share."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import refused
from pymopex.kit.errors import InputError
from pymopex.kit.images import (
    FatalBits,
    FrameFiles,
    Stamp,
    keyword_of,
    read_cards,
    read_frame,
    read_image,
    write_image,
)

if TYPE_CHECKING:
    from astropy.io import fits

    from pymopex.geometry import Box, FiducialFrame
    from pymopex.interpolation import Interpolation
    from pymopex.kit.plain_fits import Cards
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

    frame = read_frame(job.files, job.bits)
    bad = frame.bad
    if job.bright:
        bad = bad | (read_image(job.bright)[0] > 0)
    pointing = job.pointing or job.files.image
    with refused(job.files.image):
        placed = placed_on(job.grid, pointing, job.refined)
    if placed is None:
        return None
    told = read_cards(pointing)
    surface = job.as_brightness or is_surface_brightness(keyword_of(told, "BUNIT") or "")
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
    cards = layer_cards(told, job.grid, result.box, job.how)
    inputs = tuple(path for path in (job.files.image, job.files.dmask, job.files.rmask) if path)
    write_image(job.data, result.data, cards, job.stamp, inputs)
    write_image(job.coverage, result.coverage, cards, job.stamp, inputs)
    if result.sigma is not None and job.sigma:
        write_image(job.sigma, result.sigma, cards, job.stamp, (job.files.sigma,))
    if result.variance is not None:
        header = variance_header(header_of(cards))
        write_image(job.variance, result.variance, header, job.stamp, (job.files.sigma,))
    return result.box


def is_surface_brightness(unit: str) -> bool:
    """Tell whether a BUNIT is MJy/sr or microJy/arcsec2, in any usual spelling; anything else is counts."""
    bare = str(unit).lower().replace(" ", "").replace("**", "").replace("^", "").replace("µ", "u")
    return bare in ("mjy/sr", "mjysr-1", "mjy.sr-1") or (
        bare.startswith(
            ("microjy/arcsec2", "ujy/arcsec2", "microjy/sqarcsec", "ujy/sqarcsec", "microjy/arcsec")
        )
    )


def layer_cards(
    frame: fits.Header | Cards, grid: FiducialFrame, box: Box, how: Interpolation | None = None
) -> Cards:
    """Make the header of an image on a part of the mosaic grid: its coordinates, offset, unit and pointing facts.

    What a frame says of itself is taken over from its cards as they stand.
    """
    from pymopex.kit.plain_fits import cards_in

    own = frame if isinstance(frame, tuple) else cards_in(frame)
    stands = {card[:8]: card for card in reversed(own)}
    kept = (stands[key] for key in (f"{key:8s}" for key in _KEPT) if key in stands)
    return *_grid_cards(grid, box.x0, box.y0), *kept, *(_method_cards(how) if how is not None else ())


def layer_header(frame: fits.Header | Cards, grid: FiducialFrame, box: Box) -> fits.Header:
    """Make the header of `layer_cards` as astropy has it."""
    return header_of(layer_cards(frame, grid, box))


def header_of(cards: Cards) -> fits.Header:
    """Give cards as a header of astropy."""
    from astropy.io import fits

    return fits.Header.fromstring("".join(cards))


@lru_cache(maxsize=4)
def _whole_grid(grid: FiducialFrame) -> tuple[fits.Header, Cards]:
    from pymopex.kit.plain_fits import cards_in

    header = grid.header()
    return header, cards_in(header)


def _grid_cards(grid: FiducialFrame, x0: int, y0: int) -> Cards:
    header, cards = _whole_grid(grid)
    reference = _cards(
        ("CRPIX1", header["CRPIX1"] - x0, header.comments["CRPIX1"]),
        ("CRPIX2", header["CRPIX2"] - y0, header.comments["CRPIX2"]),
    )
    offset = _cards(
        ("MINTOFFX", x0, "[pixel] offset from the mosaic's origin along x"),
        ("MINTOFFY", y0, "[pixel] offset from the mosaic's origin along y"),
    )
    changed = {card[:8]: card for card in reference}
    return *(changed.get(card[:8], card) for card in cards), *offset


@lru_cache(maxsize=4)
def _method_cards(how: Interpolation) -> Cards:
    return _cards(
        ("INTERP_M", int(how.method), "1 area overlap, 2 drizzle, 3 grid, 4 bicubic"),
        ("DRIZ_FAC", how.driz_fac, "linear shrink factor of the input pixel"),
        ("GRID_RAT", how.grid_ratio, "points per input pixel side"),
        ("ALPHA", how.alpha, "parameter of the cubic kernel"),
        ("FINERES", how.fineres, "parts of an input pixel side"),
    )


def _cards(*told: tuple[str, Any, str]) -> Cards:
    from astropy.io import fits

    return tuple(str(fits.Card(*card)) for card in told)


def variance_header(header: Any) -> Any:
    """Give a header with the unit squared."""
    squared = header.copy()
    squared["BUNIT"] = (f"({header['BUNIT']})**2" if header.get("BUNIT") else "", "variance")
    return squared


METHOD = ("INTERP_M", "DRIZ_FAC", "GRID_RAT", "ALPHA", "FINERES")
"""Header keywords of the method of interpolation."""


def method_of(path: str) -> Interpolation:
    """Give the method an image was interpolated with, by its header.

    Raises
    ------
    InputError
        The header does not tell.
    """
    from pymopex.interpolation import Interpolation

    cards = read_cards(path)
    method, factor, ratio, alpha, parts = told = [keyword_of(cards, key) for key in METHOD]
    if None in told:
        raise InputError(f"{path}: no {METHOD[told.index(None)]} in the header; run mosaic_interp again")
    return Interpolation(method, parts, factor, ratio, alpha)


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
