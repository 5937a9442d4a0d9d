"""Uncertainties from the scatter of single frames."""

import numpy as np
import pytest
from pymopex.frame_errors import frame_factors, scatter_ratio

CLOSE = 0.1  # of a factor from two thousand frames


def test_scatter_ratio_by_hand():
    assert scatter_ratio(np.array([3.0, -3.0, np.nan]), 1.0) == pytest.approx((4 * 1 + 18) / (4 + 1))
    assert scatter_ratio(np.array([3.0]), 0.5) == 0.5
    assert scatter_ratio(np.zeros(0), 2.0) == 2.0


def test_a_frame_with_a_hit_counts_little():
    calm = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    hit = np.append(calm, 1000.0)
    assert scatter_ratio(hit, 1.0) == pytest.approx((4 + 6 + (4 * 1.4826) ** 2) / (4 + 6))


def test_factors_follow_what_frames_scatter_by():
    rng = np.random.default_rng(3)
    error = rng.uniform(1, 3, 2000)
    flux = 100 + 2.0 * error * rng.normal(0, 1, 2000)
    shift_error = rng.uniform(0.01, 0.03, (2000, 2))
    shift = 3.0 * shift_error * rng.normal(0, 1, (2000, 2))
    position, light = frame_factors((flux, error), (shift, shift_error), 1.0)
    assert light == pytest.approx(4.0, rel=CLOSE)
    assert position == pytest.approx(9.0, rel=CLOSE)


def test_frames_without_errors_tell_nothing():
    nothing = np.full(5, np.nan)
    assert frame_factors((nothing, nothing), (np.zeros((5, 2)), np.zeros((5, 2))), 0.7) == (0.7, 0.7)
