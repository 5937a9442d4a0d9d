import numpy as np
import pytest
from pymopex.fiducial import FiducialFrame
from pymopex.geometry import Box
from pymopex.placing import box_on_grid, paste

GRID = FiducialFrame("TAN", 150.0, 2.0, 50.5, 40.5, 20.0, -3e-4, 3e-4, 100, 80, "RA---TAN", "DEC--TAN")


def tile(x, y):
    wcs = GRID.wcs()
    wcs.wcs.crpix = wcs.wcs.crpix - [x, y]
    return wcs


@pytest.mark.parametrize(("x", "y"), [(0, 0), (30, 12), (-5, 70)])
def test_place_of_a_tile(x, y):
    assert box_on_grid(tile(x, y), (20, 40), GRID) == Box(x, y, 40, 20)


def test_pixels_of_another_grid_are_refused():
    with pytest.raises(ValueError, match=r"off by 0\.4 pixels"):
        box_on_grid(tile(3.4, 2), (20, 40), GRID)


def test_the_first_value_counts_and_the_rim_cuts():
    mosaic = np.full((4, 5), np.nan, "f4")
    assert paste(mosaic, np.array([[1, np.nan], [1, 1.0]]), Box(-1, 0, 2, 2)) == 1
    assert paste(mosaic, np.full((2, 2), 2.0), Box(0, 0, 2, 2)) == 3
    assert paste(mosaic, np.full((2, 2), 3.0), Box(9, 9, 2, 2)) == 0
    np.testing.assert_array_equal(mosaic[:2, :2], [[2, 2], [1, 2]])
    assert np.isnan(mosaic[2:]).all()
