"""Artificial stars: fluxes, places, intervals and the table, against hand-made cases."""

import numpy as np
import pytest
from pymopex.artificial import Recovery, draw_fluxes, draw_places, interval, summary
from pymopex.columns import COMPLETENESS
from scipy.spatial import cKDTree


def test_fluxes_of_a_list_come_in_equal_numbers():
    found = draw_fluxes(np.random.default_rng(1), 9, np.array([5.0, 10.0, 20.0]), spread_out=False)
    assert sorted(found) == [5.0] * 3 + [10.0] * 3 + [20.0] * 3
    assert list(found) != sorted(found)


def test_fluxes_of_a_range_are_even_in_the_logarithm():
    found = draw_fluxes(np.random.default_rng(1), 4000, np.array([1.0, 100.0]), spread_out=True)
    assert found.min() >= 1
    assert found.max() <= 100
    assert np.mean(found < 10) == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize(
    ("fluxes", "spread_out"),
    [([], False), ([0.0], False), ([-1.0, 3.0], True), ([3.0, 3.0], True), ([1.0], True)],
)
def test_bad_fluxes_are_named(fluxes, spread_out):
    with pytest.raises(ValueError, match="flux"):
        draw_fluxes(np.random.default_rng(1), 3, np.array(fluxes), spread_out=spread_out)


def test_places_keep_their_distances():
    allowed = np.zeros((200, 300), bool)
    allowed[50:150, 100:250] = True
    avoid = np.array([[175.0, 100.0], [120.0, 60.0]])
    found = draw_places(np.random.default_rng(2), 60, allowed, 9.0, avoid, 15.0)
    assert found.shape == (60, 2)
    assert allowed[tuple(np.rint(found[:, ::-1]).astype(int).T)].all()
    assert len(cKDTree(found).query_pairs(9.0)) == 0
    assert cKDTree(avoid).query(found)[0].min() >= 15
    again = draw_places(np.random.default_rng(2), 60, allowed, 9.0, avoid, 15.0)
    np.testing.assert_array_equal(found, again)


def test_too_many_places_and_none_allowed_are_errors():
    with pytest.raises(ValueError, match=r"room for \d+ of 100 stars"):
        draw_places(np.random.default_rng(1), 100, np.ones((20, 20), bool), 8.0)
    with pytest.raises(ValueError, match="room for 0 of 1 stars"):
        draw_places(np.random.default_rng(1), 1, np.zeros((20, 20), bool), 0.0)


def test_interval_against_published_values():
    """Of 0 of n the Wilson limits are 0 and 1/(n + 1); of half they lie evenly; it holds 68 per cent of the draws."""
    assert interval(0, 9) == pytest.approx((0.0, 0.1))
    assert interval(9, 9) == pytest.approx((0.9, 1.0))
    low, high = interval(50, 100)
    assert (low + high) / 2 == pytest.approx(0.5)
    assert high - low == pytest.approx(2 * np.sqrt(0.25 / 100 + 0.25 / 1e4) / 1.01, rel=1e-6)
    assert np.isnan(interval(0, 0)).all()
    draws = np.random.default_rng(3).binomial(100, 0.8, 2000)
    held = [limits[0] <= 0.8 <= limits[1] for limits in map(interval, draws, [100] * len(draws))]
    assert np.mean(held) == pytest.approx(0.683, abs=0.05)


def test_table_of_a_case_by_hand():
    nan = np.nan
    stars = Recovery(
        flux=np.array([10.0, 10.0, 10.0, 20.0]),
        snr=np.array([6.0, 6.5, 8.0, 15.0]),
        measured=np.array([10.5, 10.1, nan, 19.0]),
        error=np.array([1.0, 1.0, nan, 1.0]),
        east=np.array([0.010, 0.030, nan, 0.0]),
        north=np.array([0.0, 0.0, nan, -0.02]),
    )
    new, false = np.array([10.5, 10.1, 19.0, 8.0]), np.array([False, False, False, True])
    first, second = summary(stars, "flux", [(10.0, 10.0), (20.0, 20.0)], new, false)
    assert set(first) == {column.name for column in COMPLETENESS}
    assert (first["n_stars"], first["n_found"], first["n_new"], first["n_false"]) == (3, 2, 3, 1)
    assert first["completeness"] == pytest.approx(2 / 3)
    assert first["reliability"] == pytest.approx(2 / 3)
    assert first["flux_bias"] == pytest.approx(0.03)
    assert first["flux_scatter"] == pytest.approx(1.4826 * 0.02)
    assert first["east_bias"] == pytest.approx(20.0)
    assert (second["n_stars"], second["n_found"], second["completeness"]) == (1, 1, 1.0)
    (row,) = summary(stars, "SNR", [(5.0, 7.0)], np.array([6.0]), np.array([True]))
    assert (row["n_stars"], row["n_found"], row["n_new"], row["reliability"]) == (2, 2, 1, 0.0)
    (empty,) = summary(stars, "SNR", [(100.0, 200.0)], np.array([6.0]), np.array([True]))
    assert empty["n_stars"] == 0
    assert np.isnan(empty["completeness"])
