import numpy as np
import pytest
from pymopex import comparison


def test_spread_by_hand():
    found = comparison.spread(np.array([1.0, 2.0, 3.0, np.nan]))
    assert (found.n, found.median) == (3, 2.0)
    assert found.width == pytest.approx(1.4826)
    assert comparison.spread(np.array([np.nan])).n == 0
    found = comparison.spread(np.array([1.0, 2.0, 3.0, 100.0]))
    assert found.width == pytest.approx(1.4826)
    assert found.rms == pytest.approx(np.std([1.0, 2.0, 3.0]))
    assert found.tail == 0.25


def test_match_is_mutual_and_within_the_radius():
    ra, dec = np.array([10.0, 10.001, 200.0]), np.array([0.0, 0.0, -30.0])
    other_ra, other_dec = np.array([10.0001, 200.0]), np.array([0.0, -30.0002])
    first, second = comparison.match(ra, dec, other_ra, other_dec, radius=1.0)
    assert first.tolist() == [0, 2]
    assert second.tolist() == [0, 1]
    assert comparison.match(ra, dec, other_ra, other_dec, radius=0.1)[0].size == 0
    assert comparison.match(ra, dec, np.zeros(0), np.zeros(0), radius=1.0)[0].size == 0


def test_positions_across_zero_hours():
    east, north = comparison.sky_offsets(
        np.array([0.0001]), np.array([60.0]), np.array([359.9999]), np.array([60.0])
    )
    assert east[0] == pytest.approx(0.0002 * 3600 * 0.5)
    assert north[0] == 0


def test_offset_residuals_are_taken_in_each_group():
    true = np.array([1.0, 2.0, 3.0, 10.0])
    left = comparison.offset_residuals(5 - true, true, np.array([1, 1, 1, 2]))
    assert left == pytest.approx(0)
    left = comparison.offset_residuals(np.array([0.0, 0.0, 0.0, 0.0]), true, np.array([1, 1, 1, 2]))
    assert left == pytest.approx([-1, 0, 1, 0])


def test_rejection_counts():
    shape = (2, 3)
    hit = np.array([[1, 1, 0], [0, 0, 0]], bool)
    strong = np.array([[1, 0, 0], [0, 0, 0]], bool)
    core = np.array([[0, 0, 1], [0, 0, 0]], bool)
    rejected = np.array([[1, 1, 1], [1, 0, 0]], bool)
    usable = np.ones(shape, bool)
    usable[1, 2] = False
    found = comparison.rejection(rejected, hit, strong, core, usable)
    assert found == comparison.Rejection(1, 1, 2, 1, 1, 1)
    assert (found + found).clean == 4


def test_rates():
    rows = comparison.rates(
        np.array([1.0, 6.0, 7.0]), np.array([False, True, False]), np.array([5.0, 10.0, 20.0])
    )
    assert rows[0] == (5.0, 10.0, 2, 0.5)
    assert rows[1][2] == 0
    assert np.isnan(rows[1][3])
