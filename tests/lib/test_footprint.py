import numpy as np
import pytest
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.fiducial import FiducialFrame
from pymopex.footprint import common_area, overlaps

PIXEL = 1 / 3600  # deg
GRID = FiducialFrame("TAN", 150, 2, 50.5, 50.5, 0, -PIXEL, PIXEL, 100, 100, "RA---TAN", "DEC--TAN")


def frame(x, y, roll=0.0):
    """World coordinates of a frame of 20 pixels with its middle at a pixel (0-based) of the grid."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval = np.ravel(GRID.wcs().all_pix2world(x, y, 0))
    wcs.wcs.crpix = 10.5, 10.5
    c, s = np.cos(np.radians(roll)), np.sin(np.radians(roll))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) * PIXEL
    return wcs


def seen(x, y, roll=0.0, margin=0):
    return overlaps(frame(x, y, roll), (20, 20), GRID, margin)


def test_areas_by_hand():
    square = np.array([0, 4, 4, 0.0]), np.array([0, 0, 4, 4.0])
    assert common_area(*square, (1, 3), (-1, 9)) == 8
    assert common_area(*square, (-9, 9), (-9, 9)) == 16
    assert common_area(*square, (4, 5), (0, 4)) == 0
    assert common_area(*square, (1, 2), (1, 2)) == 1
    diamond = np.array([2, 4, 2, 0.0]), np.array([0, 2, 4, 2.0])
    assert common_area(*diamond, (0, 2), (0, 2)) == 2
    assert common_area(*diamond, (0, 0.9), (0, 0.9)) == 0  # beyond the corner that a bounding box would fill
    assert common_area(np.array([]), np.array([]), (0, 1), (0, 1)) == 0


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=3, max_size=3))
@settings(max_examples=60, deadline=None)
def test_four_quarters_make_the_whole(corners):
    x, y = np.array(corners).T
    parts = [common_area(x, y, a, b) for a in ((-9, 0), (0, 9)) for b in ((-9, 1), (1, 9))]
    assert sum(parts) == pytest.approx(common_area(x, y, (-9, 9), (-9, 9)), abs=1e-9)


def test_inside_and_outside():
    assert seen(50, 50)
    assert seen(105, 50)
    assert not seen(130, 50)
    assert not seen(50, -30)


def test_touching_is_not_overlapping():
    assert seen(109, 50)
    assert not seen(110, 50)  # edge on edge


def test_a_corner_needs_more_than_a_bounding_box():
    """A frame turned by 45 degrees whose bounding box reaches into the corner of the grid, and itself does not."""
    assert not seen(99.5 + 9, 99.5 + 9, roll=45)
    assert seen(99.5 + 6, 99.5 + 6, roll=45)


def test_margin_widens_and_shrinks():
    assert seen(115, 50, margin=6)
    assert not seen(115, 50, margin=4)
    assert not seen(105, 50, margin=-6)
    assert seen(105, 50, margin=-4)


def test_a_margin_that_leaves_nothing():
    with pytest.raises(ValueError, match="a margin of -50 leaves nothing of 100 x 100 pixels"):
        seen(50, 50, margin=-50)


def test_the_grid_inside_a_large_frame():
    wcs = frame(50, 50)
    wcs.wcs.cd = wcs.wcs.cd * 100
    assert overlaps(wcs, (20, 20), GRID)


def test_the_other_side_of_the_sky():
    wcs = frame(50, 50)
    wcs.wcs.crval = 330, -2
    assert not overlaps(wcs, (20, 20), GRID)


def test_other_coordinates():
    grid = FiducialFrame("TAN", 236.0, 42.0, 50.5, 50.5, 0, -PIXEL, PIXEL, 100, 100, "GLON-TAN", "GLAT-TAN")
    assert not overlaps(frame(50, 50), (20, 20), grid)
