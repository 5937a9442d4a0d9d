import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.coadd import coadd
from pymopex.geometry import Box
from pymopex.rank_coadd import absolute_minimum, median, median_variance, trimmed_mean, trimmed_variance
from pymopex.stack import Stack


def pile(values, sigmas=None, coverages=None):
    """A stack of frames on one row of pixels: rows are frames."""
    values = np.array(values, "f4")
    tile = Box(0, 0, values.shape[1], 1)
    ones = np.ones_like(values)
    coverages = ones if coverages is None else ones * np.array(coverages, "f4")
    errors = None if sigmas is None else list((ones * np.array(sigmas, "f4"))[:, None])
    boxes = [tile] * len(values)
    return Stack.build(tile, boxes, list(values[:, None]), list(coverages[:, None]), errors)


NAN = np.nan
FRAMES = [[1, 5, NAN, -4], [9, 1, NAN, 3], [2, NAN, NAN, -3], [4, NAN, NAN, 8], [100, NAN, NAN, 9]]


def test_median_by_hand():
    found = median(pile(FRAMES))
    np.testing.assert_array_equal(found.image, [[4, 3, NAN, 3]])
    assert found.uncertainty is None


def test_absolute_minimum_by_hand():
    errors = np.arange(20.0).reshape(5, 4) + 1
    found = absolute_minimum(pile(FRAMES, errors, 0.25))
    np.testing.assert_array_equal(found.image, [[1, 1, NAN, 3]])  # of 3 and -3 the first
    np.testing.assert_array_equal(found.uncertainty, [[2, 12, NAN, 16]])  # s / sqrt(c) of that frame


def test_trimmed_mean_by_hand():
    found = trimmed_mean(pile(FRAMES), 0.2)
    assert found.image[0, :2].tolist() == [5, 3]  # 2, 4 and 9; two values are not trimmed
    assert trimmed_mean(pile(FRAMES), 0.0).image[0, 0] == np.float32(116 / 5)
    assert trimmed_mean(pile(FRAMES), 0.5).image[0, 0] == 4  # one value is left


def test_trimmed_mean_is_weighted_by_coverage():
    found = trimmed_mean(pile([[1], [2], [5], [100]], coverages=[[1], [1], [0.5], [1]]), 0.25)
    assert found.image[0, 0] == 3


def test_untrimmed_is_the_mean():
    rng = np.random.default_rng(2)
    stack = pile(rng.normal(5, 2, (7, 30)), rng.uniform(1, 2, (7, 30)), rng.uniform(0.1, 1, (7, 30)))
    mean, trimmed = coadd(stack), trimmed_mean(stack, 0.0)
    assert np.array_equal(mean.image, trimmed.image)
    assert np.array_equal(mean.uncertainty, trimmed.uncertainty)


def test_uncertainty_of_equal_frames_is_a_factor_times_that_of_the_mean():
    stack = pile(np.arange(15.0).reshape(5, 3), 2.0, 0.5)
    mean = coadd(stack).uncertainty
    assert median(stack).uncertainty == pytest.approx(mean * np.sqrt(median_variance(5)), rel=1e-6)
    expected = mean * np.sqrt(trimmed_variance(5, 1))
    assert trimmed_mean(stack, 0.2).uncertainty == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 8, 15, 21, 40, 101])
def test_uncertainty_of_the_median_is_its_scatter(n):
    trials = 40_000 if n < 50 else 10_000
    values = np.random.default_rng(n).normal(0, 3, (n, trials))
    found = median(pile(values, 3.0))
    assert found.image.std() == pytest.approx(float(found.uncertainty[0, 0]), rel=4 / np.sqrt(2 * trials))


def test_uncertainty_of_the_median_of_unequal_frames():
    sigmas = np.repeat([1.0, 1.5, 2.0, 3.0], 8)[:, None]
    values = np.random.default_rng(1).normal(0, 1, (32, 20_000)) * sigmas
    found = median(pile(values, sigmas))
    assert found.image.std() == pytest.approx(float(found.uncertainty[0, 0]), rel=0.03)


@pytest.mark.parametrize(("n", "fraction"), [(3, 0.2), (5, 0.2), (10, 0.1), (10, 0.4), (20, 0.25)])
def test_uncertainty_of_the_trimmed_mean_is_its_scatter(n, fraction):
    values = np.random.default_rng(n).normal(0, 3, (n, 20_000))
    found = trimmed_mean(pile(values, 3.0), fraction)
    assert found.image.std() == pytest.approx(float(found.uncertainty[0, 0]), rel=0.03)


def test_variance_of_the_median_goes_to_that_of_many_values():
    assert median_variance(3) == pytest.approx(9 / 2 * (2 / 3) * 0.4487, abs=1e-3)
    assert median_variance(21) == pytest.approx(1.5385, abs=1e-3)
    assert median_variance(22) == pytest.approx(1.4773, abs=1e-3)
    assert median_variance(100_001) == pytest.approx(np.pi / 2, abs=1e-4)
    with pytest.raises(ValueError, match="median of 0"):
        median_variance(0)


def test_fraction_is_checked():
    with pytest.raises(ValueError, match=r"from 0 to 0\.5"):
        trimmed_mean(pile(FRAMES), 0.6)


def test_nothing_gives_nothing():
    empty = Stack.build(Box(0, 0, 2, 1), [], [], [], None)
    for found in (median(empty), absolute_minimum(empty), trimmed_mean(empty, 0.2)):
        assert np.isnan(found.image).all()


@settings(max_examples=40, deadline=None)
@given(st.permutations(range(6)), st.floats(0, 0.5))
def test_order_of_frames_does_not_matter(order, fraction):
    rng = np.random.default_rng(5)
    values, errors = rng.normal(0, 1, (6, 4)), rng.uniform(1, 2, (6, 4))
    whole, other = pile(values, errors), pile(values[order], errors[order])
    for function in (median, absolute_minimum, lambda stack: trimmed_mean(stack, fraction)):
        for a, b in zip(function(whole), function(other), strict=True):
            assert a == pytest.approx(b, rel=1e-6, abs=1e-6)
