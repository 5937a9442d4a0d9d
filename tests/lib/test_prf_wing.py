"""Sums of a PRF over pixels, and the average of its wing."""

import numpy as np
import pytest
from pymopex.prf_average import Grid
from pymopex.prf_kernels import PAD
from pymopex.prf_spline import samples_of
from pymopex.prf_wing import even, quiet_wing

GRID = Grid(65, 65, 5, 5)


def bell(noise=0.0, wave=0.0):
    """Coefficients of a PRF: a Gaussian with noise, and a sum that depends on the place in the pixel."""
    y, x = np.indices((65 + 2 * PAD,) * 2) - 32 - PAD
    out = np.exp(-(x**2 + y**2) / 2 / 4.5**2)
    out *= 1 + noise * np.random.default_rng(3).normal(size=out.shape)
    return out * (1 + wave * (np.cos(2 * np.pi * x / 5) + np.cos(2 * np.pi * y / 5)) / 2)


def sums(coefficients):
    """Sums over pixels, by the place of the sample in its pixel, the middle first."""
    samples = np.roll(samples_of(coefficients), (-2, -2), axis=(0, 1))
    return np.array([[samples[b::5, a::5].sum() for a in range(5)] for b in range(5)])


@pytest.mark.parametrize("free", [True, False])
def test_noise_is_taken_out_of_the_sums(free):
    noisy = bell(noise=0.02)
    out, response = even(noisy, GRID, free)
    before, after = (one.std() / one.mean() for one in (sums(noisy), sums(out)))
    assert before > 0.002
    assert after < 0.1 * before
    assert response.amplitude == 0
    assert response.error == pytest.approx(before / 5, rel=0.2)
    assert np.abs(samples_of(out) - samples_of(noisy)).max() < 0.03


def test_a_response_that_is_certain_stays():
    """Cosines along both axes with 4 per cent in the coefficients: the samples, means of three, keep 3.1 / 4 of it."""
    wavy = bell(noise=0.002, wave=0.04)
    out, response = even(wavy, GRID, True)
    kept = sums(out)
    assert response.amplitude == pytest.approx(0.04 * (2 + np.cos(0.4 * np.pi)) / 3, rel=0.05)
    assert kept[0, 0] / kept.mean() - 1 == pytest.approx(response.amplitude, rel=0.05)
    assert even(wavy, GRID, False)[1].amplitude == 0


def test_samples_that_no_pixel_tells_of_do_not_count_in_the_wing():
    samples = np.full((65, 65), 2.0)
    samples[0, :] = 1e6
    density = np.ones((65, 65))
    density[0, :] = 0
    out = quiet_wing(samples, GRID, density)
    np.testing.assert_allclose(out, 2.0)


def test_the_core_stays_as_it_is():
    samples = np.random.default_rng(1).normal(size=(65, 65))
    out = quiet_wing(samples, GRID, np.ones((65, 65)))
    r = np.hypot(GRID.y[:, None], GRID.x)
    assert np.array_equal(out[r < 3], samples[r < 3])
    assert out[r > 5].std() < 0.25 * samples[r > 5].std()
