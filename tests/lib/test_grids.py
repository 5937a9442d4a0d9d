import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.fiducial import FiducialFrame
from pymopex.grids import grid_at, grid_of
from pymopex.projection import pixel_to_sky

ARCSEC = 1 / 3600
FRAME = FiducialFrame("TAN", 10.0, 60.0, 20.5, 15.5, 30.0, -ARCSEC, ARCSEC, 40, 30, "RA---TAN", "DEC--TAN")


def cd_header(angle=25.0, skew=0.0, flip=1, size=(50, 30), **more):
    """An image 50 x 30 pixels of 0.9 x 1.1 arcsec with a CD matrix, its axes `skew` degrees off right angles."""
    header = fits.Header({"NAXIS": 2, "NAXIS1": size[0], "NAXIS2": size[1], "CRPIX1": 7.25, "CRPIX2": -3.5})
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.1, "CRVAL2": -20.2})
    a, b = math.radians(angle), math.radians(angle + skew)
    header["CD1_1"], header["CD2_1"] = -flip * 0.9 * ARCSEC * math.cos(a), -flip * 0.9 * ARCSEC * math.sin(a)
    header["CD1_2"], header["CD2_2"] = -1.1 * ARCSEC * math.sin(b), 1.1 * ARCSEC * math.cos(b)
    header.update(more)
    return header


@pytest.mark.parametrize("angle", [0, 25, 90, 180, -135])
def test_grid_of_an_image_has_its_pixels(angle):
    header = cd_header(angle)
    found = grid_of(header)
    assert found.shape == (30, 50)
    assert (found.cdelt1, found.cdelt2) == pytest.approx((-0.9 * ARCSEC, 1.1 * ARCSEC))
    x, y = np.array([-0.5, 49.5, 10.0]), np.array([-0.5, 0.0, 29.5])
    there, here = (pixel_to_sky(wcs, x, y) for wcs in (WCS(header), found.wcs()))
    assert np.allclose(there, here, rtol=0, atol=1e-5 * ARCSEC)


def test_grid_of_a_mosaic_is_its_grid():
    found = grid_of(FRAME.header())
    assert found.crota2 == pytest.approx(30.0, abs=1e-9)
    assert (found.crval1, found.crpix1, found.crpix2, found.shape) == (10.0, 20.5, 15.5, (30, 40))


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (cd_header(skew=1.0), "not at right angles"),
        (cd_header(flip=-1), "must grow to the left"),
        (
            cd_header(CTYPE1="RA---TAN-SIP", CTYPE2="DEC--TAN-SIP", A_ORDER=2, B_ORDER=2, A_2_0=1e-3),
            "distortion",
        ),
        (cd_header(LONPOLE=150.0), "native pole"),
        (cd_header(RADESYS="FK4", EQUINOX=1950.0), "equinox"),
        (fits.Header({"NAXIS": 2, "NAXIS1": 5, "NAXIS2": 5}), "celestial"),
    ],
)
def test_a_grid_that_cannot_be_told_is_refused(header, reason):
    with pytest.raises(ValueError, match=reason):
        grid_of(header)


def test_a_skew_too_small_to_see_is_taken():
    assert grid_of(cd_header(skew=1e-4)).shape == (30, 50)


def test_grid_round_a_position():
    found = grid_at(FRAME, centre=(370.5, 59.0), size=(100.2, 21.0))
    assert found.shape == (21, 101)
    assert (found.crpix1, found.crpix2, found.crota2) == (51.0, 11.0, 30.0)
    lon, lat = pixel_to_sky(found.wcs(), np.array([50.0]), np.array([10.0]))
    assert (lon[0], lat[0]) == pytest.approx((10.5, 59.0))


def test_grid_round_a_position_in_other_coordinates():
    from dataclasses import replace

    galactic = replace(FRAME, ctype1="GLON-TAN", ctype2="GLAT-TAN", projtype="TAN")
    found = grid_at(galactic, centre=(266.40499, -28.93617))
    assert (found.crval1, found.crval2) == pytest.approx((0, 0), abs=1e-3) or found.crval1 > 359.999
    assert found.shape == FRAME.shape


def test_size_alone_keeps_the_middle():
    found = grid_at(FRAME, size=(10, 12))
    assert (found.crval1, found.crval2, found.shape) == (10.0, 60.0, (12, 10))
    with pytest.raises(ValueError, match="not positive"):
        grid_at(FRAME, size=(0, 1))
