import numpy as np
import pytest
from astropy.io import fits
from pymopex.fiducial import FiducialFrame
from pymopex.geometry import frame_wcs, pixel_solid_angle
from pymopex.tangent_plane import TangentPlane


def mosaic(crota2=23.0, system=("RA---TAN", "DEC--TAN"), size=3000):
    middle = (size + 1) / 2
    return FiducialFrame(
        "TAN", 210.0, 54.0, middle, middle, crota2, -1.7e-4, 1.6e-4, size, size, *system
    ).header()


def cd(header):
    """The same with a CD matrix."""
    matrix = frame_wcs(header).pixel_scale_matrix
    header = fits.Header(
        [card for card in header.cards if card.keyword not in ("CDELT1", "CDELT2", "CROTA2")]
    )
    for i, j in np.ndindex(2, 2):
        header[f"CD{i + 1}_{j + 1}"] = matrix[i, j]
    return header


@pytest.mark.parametrize(
    "header", [mosaic(), mosaic(0.0), cd(mosaic(-70.0)), mosaic(5.0, ("GLON-TAN", "GLAT-TAN"))]
)
def test_solid_angles_are_those_of_the_whole_wcs(header):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(-200, 3200, (2, 100))
    plane = TangentPlane.of(header.get)
    assert plane is not None
    np.testing.assert_allclose(plane.solid_angle(x, y), pixel_solid_angle(frame_wcs(header), x, y), rtol=1e-9)


def test_large_mosaics_fall_off_to_their_edges():
    header = mosaic(size=200_000)  # 33 degrees
    x = y = np.array([0.0, 1e5, 2e5])
    plane = TangentPlane.of(header.get)
    np.testing.assert_allclose(plane.solid_angle(x, y), pixel_solid_angle(frame_wcs(header), x, y), rtol=1e-8)
    assert plane.solid_angle(x, y)[0] < 0.8 * plane.solid_angle(x, y)[1]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("CTYPE1", "RA---TAN-SIP"),
        ("CTYPE2", "DEC--SIN"),
        ("A_ORDER", 2),
        ("PV2_1", 0.5),
        ("PC1_2", 0.1),
        ("CD1_1", 1e-4),
        ("CDELT1", 0.0),
        ("CDELT2", "x"),
        ("CRPIX1", None),
        ("CUNIT1", "arcsec"),
    ],
)
def test_what_is_not_plain_is_left_to_the_whole_wcs(key, value):
    header = mosaic()
    header[key] = value
    assert TangentPlane.of(lambda name: header.get(name) or None) is None
