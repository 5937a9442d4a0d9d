"""Residual backgrounds and latents."""

import numpy as np
import pytest
from pymopex.dithers import common_pattern, isolated, latents, residual_background, surface

NOISE = 0.03


def stack(n=20, shape=(64, 64), pattern=0.0, seed=1):
    return np.random.default_rng(seed).normal(0, NOISE, (n, *shape)) + pattern


def ramp(shape=(64, 64)):
    y, x = np.mgrid[: shape[0], : shape[1]]
    return 0.1 * (x / shape[1] - 0.5) ** 2 + 0.05 * y / shape[0]


def test_a_smooth_pattern_and_fixed_pixels_are_recovered():
    true = ramp() - np.median(ramp())
    true[10, 20] += 0.2
    frames = stack(pattern=true)
    frames[:3, 30:34, 30:34] = np.nan  # objects
    found = residual_background(common_pattern(frames, 5), 16, 5.0)
    inner = (slice(8, -8),) * 2
    assert np.sqrt(np.mean((found - true)[inner] ** 2)) < 0.2 * NOISE
    assert found[10, 20] == pytest.approx(true[10, 20], abs=3 * 1.25 * NOISE / np.sqrt(20))


@pytest.mark.parametrize("seed", range(4))
def test_clean_frames_stay(seed):
    found = residual_background(common_pattern(stack(seed=seed), 5), 16, 5.0)
    assert np.abs(found).mean() < 0.1 * NOISE
    assert abs(np.median(found)) < 0.01 * NOISE


def test_pixels_with_too_few_values_stay():
    frames = stack(6)
    frames[:3, 5, 5] = np.nan
    pattern = common_pattern(frames, 5)
    assert np.isnan(pattern.median[5, 5])
    assert residual_background(pattern, 16, 5.0)[5, 5] == 0


def test_median_and_its_error_by_hand():
    pattern = common_pattern(np.array([1.0, 2, 3, 4, 100]).reshape(5, 1, 1), 3)
    assert pattern.median[0, 0] == 3
    assert pattern.error[0, 0] == pytest.approx(1.2533 * 1.4826 / np.sqrt(5), rel=1e-3)


def test_groups_of_few_pixels():
    marked = np.zeros((8, 8), bool)
    marked[0, 0] = marked[1, 1] = True
    marked[4:7, 4:7] = True
    kept = isolated(marked, 2)
    assert kept.sum() == 2
    assert kept[1, 1]
    np.testing.assert_array_equal(isolated(marked, 9), marked)


def test_surface():
    y, x = np.mgrid[:64, :64]
    true = 1e-3 * (x - 31.5) - 2e-5 * ((y - 31.5) ** 2 - np.mean((np.arange(64) - 31.5) ** 2))
    data = 5 + true + np.random.default_rng(1).normal(0, NOISE, true.shape)
    data[20:24, 20:24] += 50
    found = surface(data, np.zeros(true.shape, bool), 2)
    assert np.sqrt(np.mean((found - true) ** 2)) < 0.1 * NOISE
    assert found.mean() == pytest.approx(0, abs=1e-12)
    assert not surface(data, np.ones(true.shape, bool), 2).any()


def place(x, y, shape=(64, 64)):
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    return np.hypot(xx - x, yy - y) <= 3


def test_a_latent_is_flagged_and_an_empty_place_is_not():
    data = np.random.default_rng(3).normal(0.1, NOISE, (64, 64))
    bad = np.zeros(data.shape, bool)
    shining, empty = place(20, 30), place(45, 12)
    data[shining] += 2 * NOISE
    found = latents(data, bad, [shining, empty], min_excess=5)
    np.testing.assert_array_equal(found, shining)
    np.testing.assert_array_equal(latents(data, bad, [shining, empty], min_excess=0), shining | empty)
    assert not latents(data, bad, [bad], min_excess=5).any()


def test_a_place_without_good_pixels_is_not_flagged():
    data = np.random.default_rng(3).normal(0.1, NOISE, (64, 64))
    burnt = place(20, 30)
    assert not latents(data, burnt.copy(), [burnt], min_excess=3).any()
