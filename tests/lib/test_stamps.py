"""Stamps: cutting, missing pixels, cubic convolution, Gaussians, neighbours."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.stamps import Stamps, box_of, cubic_weights, cut, fill, fit_gaussians, isolated


def stamps(data, x=None, y=None, flux=None):
    n, ny, nx = data.shape
    x = np.full(n, nx // 2) if x is None else x
    y = np.full(n, ny // 2) if y is None else y
    flux = np.ones(n) if flux is None else flux
    number = np.arange(n)
    return Stamps(data, x, y, flux, None, number, number * 0, np.tile(np.eye(2), (n, 1, 1)))


def gaussian(size, x, y, sigma, flux=1.0):
    """Gaussian summed over many points of each pixel."""
    fine = 41
    at = (np.arange(size * fine) + 0.5) / fine - 0.5
    lines = [np.exp(-0.5 * ((at - c) / sigma) ** 2).reshape(size, fine).mean(axis=1) for c in (y, x)]
    return flux * np.outer(*lines) / (2 * np.pi * sigma**2)


def test_a_stamp_is_centred_on_the_pixel_of_the_star():
    image = np.arange(80.0).reshape(8, 10)
    stamp, x0, y0 = cut(image, 4.49, 3.51, (5, 3))
    assert (x0, y0) == (2, 3)
    np.testing.assert_array_equal(stamp, image[3:6, 2:7])


def test_beyond_the_image_a_stamp_is_missing():
    stamp, x0, y0 = cut(np.ones((8, 10)), 0.2, 7.1, (5, 5))
    assert (x0, y0) == (-2, 5)
    assert np.isnan(stamp[3:]).all()
    assert np.isnan(stamp[:, :2]).all()
    assert (stamp[:3, 2:] == 1).all()
    assert np.isnan(cut(np.ones((8, 10)), 40.0, 3.0, (5, 5))[0]).all()


@pytest.mark.parametrize("size", [(4, 5), (5, 4)])
def test_even_sizes_are_refused(size):
    with pytest.raises(ValueError, match="odd sizes"):
        cut(np.ones((8, 8)), 3.0, 3.0, size)
    with pytest.raises(ValueError, match="odd sizes"):
        stamps(np.ones((1, size[1] + 2, size[0] + 2)))


def test_missing_pixels_take_the_median_of_their_neighbours():
    data = np.arange(25.0).reshape(1, 5, 5)
    data[0, 2, 2] = np.nan
    data[0, 0, 0] = np.inf
    filled, replaced = fill(data, 8)
    assert filled[0, 2, 2] == np.median([6, 7, 8, 11, 13, 16, 17, 18])
    assert np.isnan(filled[0, 0, 0])  # three neighbours
    assert replaced.tolist() == [1]
    filled, replaced = fill(data, 3)
    assert filled[0, 0, 0] == np.median([1, 5, 6])
    assert replaced.tolist() == [2]


def test_a_missing_neighbour_does_not_count():
    data = np.ones((1, 5, 5))
    data[0, 2, 2:4] = np.nan
    assert fill(data, 8)[1].tolist() == [0]
    assert fill(data, 7)[1].tolist() == [2]


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 8), st.tuples(*[st.floats(-2, 2)] * 3))
def test_cubic_convolution_keeps_parabolas(at, power):
    """Keys 1981: third-order accurate, so that quadratic polynomials come out exactly, away from the edge."""
    x = np.arange(13.0)
    weights, inside = cubic_weights(np.array([at + 2]), 13)
    assert inside.all()
    assert weights.sum() == pytest.approx(1)
    expected = np.polyval(power, at + 2)
    assert weights[0] @ np.polyval(power, x) == pytest.approx(expected, abs=1e-9)


def test_cubic_convolution_gives_the_pixels_themselves_and_nothing_beyond():
    weights, inside = cubic_weights(np.array([-0.1, 0.0, 3.0, 6.0, 6.1]), 7)
    assert inside.tolist() == [False, True, True, True, False]
    np.testing.assert_allclose(weights[1:4], np.eye(7)[[0, 3, 6]], atol=1e-12)
    assert (weights[[0, 4]] == 0).all()
    half = cubic_weights(np.array([3.5]), 7)[0][0]
    np.testing.assert_allclose(half[2:6], [-1 / 16, 9 / 16, 9 / 16, -1 / 16])


@pytest.mark.parametrize(("x", "y", "sigma"), [(5.0, 5.0, 0.6), (5.3, 4.6, 0.9), (4.55, 5.45, 1.4)])
def test_gaussians_are_found_again(x, y, sigma):
    one = stamps(gaussian(11, x, y, sigma, 50.0)[None], np.array([5.1]), np.array([4.9]))
    fit = fit_gaussians(one, box_of(one, 7, 7))
    assert fit.good.all()
    np.testing.assert_allclose([fit.x[0], fit.y[0]], [x, y], atol=1e-3)
    np.testing.assert_allclose([fit.flux[0], fit.width[0]], [50, sigma], rtol=2e-3)


def test_gaussians_that_cannot_be_fitted_are_told():
    data = np.stack(
        [np.zeros((9, 9)), np.full((9, 9), np.nan), -gaussian(9, 4, 4, 1), gaussian(9, 7.6, 4, 0.5)]
    )
    one = stamps(data)
    assert not fit_gaussians(one, box_of(one, 3, 3)).good.any()


def test_boxes_lie_round_the_middle():
    box = box_of(stamps(np.zeros((1, 7, 9))), 3, 5)
    assert box.sum() == 15
    assert box[1:6, 3:6].all()


def test_isolated_stars():
    ra = np.array([10.0, 10.0, 20.0, 20.0, 30.0, np.nan])
    dec = np.array([0.0, 5 / 3600, 0.0, 5 / 3600, 0.0, 0.0])
    flux = np.array([100.0, 0.5, 100.0, 50.0, 1.0, 1.0])
    assert isolated(ra, dec, flux, 10.0, 0.01).tolist() == [True, False, False, False, True, False]
    assert isolated(ra, dec, flux, 10.0, 0.0).tolist() == [False] * 4 + [True, False]
    assert isolated(ra, dec, flux, 4.0, 0.01).tolist() == [True] * 5 + [False]
    unknown = np.full(6, np.nan)
    assert isolated(ra, dec, unknown, 10.0, 0.01).tolist() == [False] * 4 + [True, False]
