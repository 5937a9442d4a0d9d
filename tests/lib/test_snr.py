"""The three recipes for the signal-to-noise ratio, by hand."""

import math

import numpy as np
import pytest
from pymopex.snr import fit_snr, snr_box

BOX = np.array([[1.0, 2.0, 2.0], [3.0, 5.0, 4.0], [1.0, 1.0, 2.0]])  # sum of squares 65


def test_box_is_odd():
    assert [snr_box(width) for width in (0.5, 1.0, 1.4, 2.0, 3.0, 3.1, 4.0)] == [1, 1, 3, 3, 3, 5, 5]
    with pytest.raises(ValueError, match="positive"):
        snr_box(0.0)


def test_recipe_0():
    assert fit_snr(0, 100.0, BOX, noise_pixels=4.0) == pytest.approx(100 / (4 * 5))
    assert fit_snr(0, -100.0, BOX) == pytest.approx(-20)


def test_recipe_1():
    assert fit_snr(1, 100.0, BOX) == pytest.approx(100 / math.sqrt(65))
    assert fit_snr(1, -100.0, BOX) == pytest.approx(-100 / math.sqrt(65))


def test_recipe_2():
    assert fit_snr(2, 100.0, BOX, gain=2.0, coverage=10.0) == pytest.approx(100 / math.sqrt(65 + 5))
    assert fit_snr(2, -100.0, BOX, gain=2.0, coverage=10.0) == pytest.approx(-100 / math.sqrt(65))


def test_pixels_without_data_get_the_mean_variance():
    box = BOX.copy()
    box[0, 0] = np.nan
    assert fit_snr(1, 100.0, box) == pytest.approx(100 / math.sqrt(64 * 9 / 8))


@pytest.mark.parametrize("recipe", [0, 1, 2])
def test_no_noise_value_gives_nan(recipe):
    assert math.isnan(fit_snr(recipe, 1.0, np.full((3, 3), np.nan)))
    assert math.isnan(fit_snr(recipe, 0.0, np.zeros((3, 3))))


def test_no_coverage_or_gain_gives_nan():
    assert math.isnan(fit_snr(2, 100.0, BOX, coverage=0.0))
    assert math.isnan(fit_snr(2, 100.0, BOX, gain=0.0))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="recipe must be 0, 1 or 2"):
        fit_snr(3, 1.0, BOX)
    with pytest.raises(ValueError, match="odd size"):
        fit_snr(1, 1.0, np.ones((2, 3)))
    with pytest.raises(ValueError, match="odd size"):
        fit_snr(1, 1.0, np.ones(3))
