"""Areas computed once give what interpolation and its way back give."""

import numpy as np
import pytest
from astropy.wcs import WCS
from pymopex.geometry import FrameMap
from pymopex.interpolation import Interpolation, interpolate
from pymopex.shared_areas import shared_areas


@pytest.fixture
def placed():
    """A frame of 30 x 20 pixels, turned by 25 degrees, on mosaic pixels of half the size; a corner lies off it."""
    wcs = []
    for scale, angle, crpix in ((3e-4, 25, (15, 10)), (1.5e-4, 0, (22, 25))):
        one, turn = WCS(naxis=2), np.radians(angle)
        one.wcs.ctype, one.wcs.crval, one.wcs.crpix = ("RA---TAN", "DEC--TAN"), (150, 2), crpix
        one.wcs.cd = scale * np.array([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        wcs.append(one)
    return FrameMap.make(wcs[0], (20, 30), wcs[1], (52, 58))


@pytest.fixture
def image(placed):
    values = np.random.default_rng(1).normal(size=placed.shape).astype("f4")
    values[3, 4] = np.nan
    return values


def test_there_and_back_is_interpolation_and_blot(placed, image):
    there = interpolate(image, None, None, placed, Interpolation()).data
    (expected,) = shared_areas(placed).blot(there)
    assert np.isfinite(expected).sum() > 400
    np.testing.assert_allclose(shared_areas(placed).there_and_back(image), expected, rtol=2e-6, atol=1e-6)


def test_to_the_frame_is_the_transposed(placed, image):
    areas, weights = shared_areas(placed), np.random.default_rng(2).uniform(size=placed.box.shape)
    image = np.nan_to_num(image)
    mean = interpolate(image, None, None, placed, Interpolation())
    total = areas.cells.areas.sum(axis=1)
    sums = np.nan_to_num(mean.data) * mean.coverage * total
    assert (areas.to_frame(weights) * image).sum() == pytest.approx((weights * sums).sum(), rel=1e-5)


def test_blot_keeps_a_constant_and_knows_its_gaps(placed):
    mosaic = np.full(placed.box.shape, 7.5, "f4")
    mosaic[20:30, 20:30] = np.nan
    (found,) = shared_areas(placed).blot(mosaic)
    assert np.isnan(found).any()
    np.testing.assert_allclose(found[np.isfinite(found)], 7.5, rtol=1e-6)


def test_images_blotted_at_once_are_those_blotted_alone(placed):
    images = np.random.default_rng(4).normal(size=(4, *placed.box.shape)).astype("f4")
    images[2, 10:30, 20:40] = np.nan
    areas = shared_areas(placed)
    for found, image in zip(areas.blot(*images), images, strict=True):
        np.testing.assert_array_equal(found, areas.blot(image)[0])
    with pytest.raises(ValueError, match="5 images at once; 4 are possible"):
        areas.blot(*images, images[0])


def test_the_last_one_is_kept(placed):
    assert shared_areas(placed) is shared_areas(placed)
