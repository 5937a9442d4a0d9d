"""The fiducial image frame: the grid of a mosaic."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from pymopex.projection import (
    SYSTEMS,
    exact_map,
    lon_lat,
    perimeter,
    pixel_solid_angle,
    pixel_to_sky,
    rotate_sky,
    sky_system,
    sky_to_pixel,
    unit_vectors,
)

if TYPE_CHECKING:
    from astropy.io import fits
    from astropy.wcs import WCS

_HORIZON = 0.05  # cosine; no plane holds frames 87 degrees from its middle


@dataclass(frozen=True)
class FiducialFrame:
    """The grid of a mosaic: the content of a FIF table.

    Parameters
    ----------
    projtype : str
        Projection code of the FITS standard, such as TAN.
    crval1, crval2 : float
        Reference position [deg].
    crpix1, crpix2 : float
        Reference pixel, 1-based.
    crota2 : float
        The FITS keyword [deg]: north lies this angle counter-clockwise of +y, so that the position angle of
        +y is -CROTA2 east of north. 0 is north up, east left.
    cdelt1, cdelt2 : float
        Pixel size [deg], the first negative.
    naxis1, naxis2 : int
        Size in pixels.
    ctype1, ctype2 : str
        FITS coordinate types.

    References
    ----------
    Greisen & Calabretta 2002, A&A 395, 1061, section 6.1 (CROTA2). MOPEX User's Guide, Fiducial Image Frame.
    """

    projtype: str
    crval1: float
    crval2: float
    crpix1: float
    crpix2: float
    crota2: float
    cdelt1: float
    cdelt2: float
    naxis1: int
    naxis2: int
    ctype1: str
    ctype2: str

    def __post_init__(self) -> None:
        if self.naxis1 < 1 or self.naxis2 < 1:
            raise ValueError(f"fiducial frame of {self.naxis1} x {self.naxis2} pixels is empty")
        if self.cdelt1 == 0 or self.cdelt2 == 0:
            raise ValueError("fiducial frame with a pixel size of zero")

    @property
    def shape(self) -> tuple[int, int]:
        """Array shape (naxis2, naxis1)."""
        return self.naxis2, self.naxis1

    def header(self) -> fits.Header:
        """Make the FITS header of the grid, with CDELT and CROTA2 as the legacy products have."""
        from astropy.io import fits

        header = fits.Header()
        header["NAXIS"] = 2
        for key in ("naxis1", "naxis2", "ctype1", "ctype2", "crval1", "crval2", "crpix1", "crpix2"):
            header[key.upper()] = getattr(self, key)
        header["CDELT1"] = (self.cdelt1, "[deg/pix] Scale for axis 1")
        header["CDELT2"] = (self.cdelt2, "[deg/pix] Scale for axis 2")
        header["CROTA2"] = (self.crota2, "[deg] Orientation of axis 2 (W of N, +=CW)")
        header["RADESYS"] = "ICRS"
        header["EQUINOX"] = 2000.0
        return header

    def wcs(self) -> WCS:
        """Make the astropy WCS of the grid.

        Raises
        ------
        ValueError
            The projection cannot be used.
        """
        from astropy.wcs import WCS

        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                wcs = WCS(self.header())
                wcs.wcs.set()
        except Exception as error:  # wcslib has an exception type per problem
            reason = str(error).strip().splitlines()[-1]
            raise ValueError(f"projection {self.projtype} cannot be used: {reason}") from None
        if wcs.wcs.lng < 0:
            raise ValueError(f"projection {self.projtype} cannot be used: not a projection of the sky")
        return wcs

    def rescaled(self, cdelt1: float, cdelt2: float) -> FiducialFrame:
        """Give the frame another pixel size and keep its area of sky.

        Parameters
        ----------
        cdelt1, cdelt2 : float
            New pixel size [deg], the first negative, the second positive.

        Returns
        -------
        FiducialFrame
            NAXIS rounded up, the pixels gained shared by both sides; a reference pixel at (NAXIS+1)/2 stays
            there.

        Raises
        ------
        ValueError
            A pixel size has the wrong sign.
        """
        if not (cdelt1 < 0 < cdelt2):
            raise ValueError(
                f"pixel size must be negative in x and positive in y, not {cdelt1:g}, {cdelt2:g}"
            )
        if (cdelt1, cdelt2) == (self.cdelt1, self.cdelt2):
            return self
        naxis1, crpix1 = _rescaled_axis(self.naxis1, self.crpix1, abs(self.cdelt1 / cdelt1))
        naxis2, crpix2 = _rescaled_axis(self.naxis2, self.crpix2, abs(self.cdelt2 / cdelt2))
        return replace(
            self, naxis1=naxis1, naxis2=naxis2, crpix1=crpix1, crpix2=crpix2, cdelt1=cdelt1, cdelt2=cdelt2
        )


def _rescaled_axis(naxis: int, crpix: float, ratio: float) -> tuple[int, float]:
    size = naxis * ratio
    new = max(math.ceil(size - 1e-4), 1)  # slack: a rounded pixel size must not add a pixel
    return new, (crpix - 0.5) * ratio + 0.5 + (new - size) / 2


def fiducial_frame(
    wcss: Sequence[WCS],
    shapes: Sequence[tuple[int, int]],
    *,
    padding: float = 10.0,
    projection: str = "TAN",
    system: str = "J2000",
    crota2: float | None = None,
    margin: int = 0,
) -> FiducialFrame:
    """Find the grid that holds all frames.

    Parameters
    ----------
    wcss : sequence of astropy.wcs.WCS
        WCS of the frames, with distortion.
    shapes : sequence of (ny, nx)
        Their array shapes.
    padding : float
        Border on all four sides [arcsec].
    projection : str
        FITS projection code.
    system : str
        J2000, Galactic or Ecliptic (any case).
    crota2 : float, optional
        FITS CROTA2 of the grid [deg]; None takes the average orientation of the frames.
    margin : int
        Pixels added on all four sides, negative to remove.

    Returns
    -------
    FiducialFrame
        Square pixels of the mean size of the input pixels (mean of the square root of their area over the
        frames, with distortion), CRVAL in the middle, CRPIX = (NAXIS+1)/2.

    Raises
    ------
    ValueError
        No frames, frames that span more than a hemisphere, an unknown system or projection, or nothing left.

    References
    ----------
    MOPEX User's Guide, Fiducial Image Frame; Makovoz 2004, PASP 116, 971.

    Notes
    -----
    The average orientation is the vector average of the directions of +y of the frames, measured in the plane
    of the mosaic (so that it also holds near a pole). Where the directions differ much (mean vector shorter
    than 0.5, as for visits half a year apart) the average is taken modulo 90 degrees, as for a square.
    """
    key = system.upper()
    if key not in SYSTEMS:
        raise ValueError(f"coordinate system {system!r} is not one of J2000, Galactic, Ecliptic")
    if not wcss or len(wcss) != len(shapes):
        raise ValueError(
            f"{len(wcss)} frames with {len(shapes)} shapes: need one shape each, at least one frame"
        )
    edges = np.concatenate([_edge_directions(w, s, key) for w, s in zip(wcss, shapes, strict=True)], axis=1)
    middle = edges.mean(axis=1)
    if (middle @ edges).min() <= _HORIZON * np.linalg.norm(middle):
        raise ValueError("the frames span more than a hemisphere")
    scale = float(np.mean([_mean_scale(w, s) for w, s in zip(wcss, shapes, strict=True)]))
    lon, lat = (float(v) for v in lon_lat(middle))
    ctypes = [f"{axis:-<4}-{projection}" for axis in SYSTEMS[key]]
    trial = FiducialFrame(projection, lon, lat, 1.0, 1.0, crota2 or 0.0, -scale, scale, 1, 1, *ctypes)
    for _ in range(8):  # move the reference position to the middle of the frames
        if crota2 is None:
            trial = replace(trial, crota2=_average_orientation(replace(trial, crota2=0.0), wcss, shapes))
        wcs = trial.wcs()
        x, y = sky_to_pixel(wcs, *lon_lat(edges))
        if not np.isfinite([x, y]).all():
            raise ValueError(f"the frames do not fit in a {projection} projection")
        offset = (x.min() + x.max()) / 2, (y.min() + y.max()) / 2
        if max(abs(offset[0]), abs(offset[1])) < 1e-7:
            break
        lon, lat = (float(v[0]) for v in pixel_to_sky(wcs, *np.array(offset)[:, None]))
        trial = replace(trial, crval1=lon, crval2=lat)
    naxis1, naxis2 = (_padded(p, padding / 3600.0 / scale, margin) for p in (x, y))
    if naxis1 < 1 or naxis2 < 1:
        raise ValueError(f"a margin of {margin} pixels leaves nothing of the fiducial frame")
    return replace(trial, naxis1=naxis1, naxis2=naxis2, crpix1=(naxis1 + 1) / 2, crpix2=(naxis2 + 1) / 2)


def _padded(offsets: np.ndarray, padding: float, margin: int) -> int:
    """Pixels that hold offsets from the middle with a border; the slack absorbs rounding."""
    return math.ceil(2 * (float(np.abs(offsets).max()) + padding) - 1e-4) + 2 * margin


def _edge_directions(wcs: WCS, shape: tuple[int, int], system: str) -> np.ndarray:
    """Give unit vectors, shape (3, n), of points along the edge of a frame."""
    lon, lat = pixel_to_sky(wcs, *perimeter(shape, max(shape) / 16))
    return unit_vectors(*rotate_sky(lon, lat, sky_system(wcs), system))


def _mean_scale(wcs: WCS, shape: tuple[int, int]) -> float:
    """Mean pixel size of a frame [deg]."""
    x, y = np.meshgrid(*((np.arange(5) + 0.5) / 5 * n - 0.5 for n in (shape[1], shape[0])))
    return float(np.degrees(np.mean(np.sqrt(pixel_solid_angle(wcs, x, y)))))


def _average_orientation(
    north_up: FiducialFrame, wcss: Sequence[WCS], shapes: Sequence[tuple[int, int]]
) -> float:
    """CROTA2 [deg] of the average direction of +y of the frames in the plane of the mosaic."""
    plane = north_up.wcs()
    directions = []
    for wcs, (ny, nx) in zip(wcss, shapes, strict=True):
        x, y = exact_map(wcs, plane)(np.full(2, (nx - 1) / 2), (ny - 1) / 2 + np.array([-0.5, 0.5]))
        directions.append(math.atan2(x[1] - x[0], y[1] - y[0]))
    vectors = np.exp(1j * np.array(directions))
    mean = vectors.mean()
    if abs(mean) < 0.5:
        quarter = float(np.angle(np.mean(vectors**4))) / 4
        turns = np.round((float(np.angle(mean)) - quarter) / (math.pi / 2))
        return math.degrees(quarter + turns * math.pi / 2)
    return float(np.degrees(np.angle(mean)))
