"""Images of point sources, and images freed of them."""

import math

import numpy as np
import pytest
from pymopex.prf import PRF, prf_table
from pymopex.residuals import render, subtract

FLUX_TOLERANCE = 1e-6  # relative, sum of a rendered source
SIGMA = 0.9  # pixel
SAMPLING = 10  # samples per pixel


def gaussian(half=6, sigma=SIGMA):
    at = np.arange(-half * SAMPLING, half * SAMPLING + 1) / SAMPLING
    one = np.exp(-0.5 * (at / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))
    return PRF(np.outer(one, one), SAMPLING, SAMPLING)


@pytest.fixture(scope="module")
def table():
    return prf_table([gaussian(), gaussian(sigma=1.2)])


def profile(at, sigma=SIGMA):
    return np.exp(-0.5 * (at / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def test_total_flux_and_values(table):
    image = render([12.3], [14.8], [50.0], [0], table, (30, 25))
    assert image.sum() == pytest.approx(50, rel=FLUX_TOLERANCE)
    exact = 50 * np.outer(profile(np.arange(30) - 14.8), profile(np.arange(25) - 12.3))
    assert np.allclose(image, exact, rtol=0, atol=1e-5 * exact.max())


def test_sources_add_up_and_take_their_prf(table):
    both = render([8.0, 15.2], [8.0, 16.1], [10.0, -3.0], [0, 1], table, (30, 25))
    apart = [
        render([x], [y], [f], [k], table, (30, 25)) for x, y, f, k in ((8, 8, 10, 0), (15.2, 16.1, -3, 1))
    ]
    assert np.allclose(both, apart[0] + apart[1], rtol=0, atol=1e-14)
    assert apart[1].min() == pytest.approx(-3 * profile(0.2, 1.2) * profile(0.1, 1.2), rel=1e-4)


def test_hole_and_outer_radius(table):
    whole = render([10.0], [10.0], [1.0], [0], table, (21, 21))
    ring = render([10.0], [10.0], [1.0], [0], table, (21, 21), hole_radius=2.0, outer_radius=4.0)
    y, x = np.mgrid[:21, :21]
    inside = (np.hypot(x - 10, y - 10) >= 2) & (np.hypot(x - 10, y - 10) <= 4)
    assert np.array_equal(ring, np.where(inside, whole, 0.0))
    assert ring[10, 12] == whole[10, 12] > 0  # a pixel at exactly the radius is drawn
    assert ring[10, 14] == whole[10, 14] > 0
    assert ring[10, 11] == ring[10, 15] == 0


@pytest.mark.parametrize("x, y", [(-2.0, 5.0), (5.0, 11.4), (-1.5, -1.5)])
def test_source_outside_reaches_in(table, x, y):
    image = render([x], [y], [100.0], [0], table, (10, 10))
    exact = 100 * np.outer(profile(np.arange(10) - y), profile(np.arange(10) - x))
    assert image.sum() > 0
    assert np.allclose(image, exact, rtol=0, atol=1e-3 * exact.max())


def test_sources_that_are_far_or_nowhere_draw_nothing(table):
    x = np.array([-7.0, 1e5, 1e300, np.nan, 5.0, np.inf])
    flux = np.array([1.0, 1.0, 1.0, 1.0, np.nan, 1.0])
    assert not render(x, np.full(6, 5.0), flux, np.zeros(6, int), table, (10, 10)).any()
    assert render([], [], [], [], table, (3, 4)).tolist() == [[0.0] * 4] * 3


def test_render_is_checked(table):
    with pytest.raises(ValueError, match="one length"):
        render([1.0, 2.0], [1.0], [1.0], [0], table, (5, 5))
    with pytest.raises(ValueError, match="PRF numbers must be 0 to 1, got 2 to 2"):
        render([1.0], [1.0], [1.0], [2], table, (5, 5))
    with pytest.raises(ValueError, match="must not be negative"):
        render([1.0], [1.0], [1.0], [0], table, (5, 5), hole_radius=-1.0)
    with pytest.raises(ValueError, match="must not be negative"):
        render([1.0], [1.0], [1.0], [0], table, (5, 5), outer_radius=-1.0)


@pytest.mark.parametrize("kind", ["f4", ">f4", "f8"])
def test_subtract_keeps_nan_and_type(table, kind):
    model = render([4.0], [4.0], [2.0], [0], table, (9, 9))
    data = (model + 1).astype(kind)
    data[2, 3] = np.nan
    left = subtract(data, model)
    assert left.dtype == data.dtype
    assert np.isnan(left[2, 3])
    left[2, 3] = 1
    assert np.allclose(left, 1, rtol=0, atol=1e-6)


def test_subtract_is_checked():
    with pytest.raises(ValueError, match="differ in shape"):
        subtract(np.zeros((3, 3)), np.zeros((3, 4)))
