import numpy as np
import pytest
from pymopex.sn_estimator import Detector, electrons_per_unit, estimate_sigma


def test_terms_add_in_squares():
    sigma = estimate_sigma(np.array([[0.0, 8.0]]), Detector(gain=2, read_noise=6, confusion=8))
    assert sigma.dtype == np.float32
    np.testing.assert_allclose(sigma, [[5, np.sqrt(25 + 4)]], rtol=1e-6)


def test_photon_noise_alone():
    """100 electrons have a noise of 10."""
    np.testing.assert_allclose(estimate_sigma(np.array([[25.0]]), Detector(4, 0)), [[10 / 4]], rtol=1e-6)


def test_negative_pixels_have_no_photon_noise():
    sigma = estimate_sigma(np.array([[-1e6, 0.0, -0.0]]), Detector(2, 3))
    assert sigma.tolist() == [[1.5, 1.5, 1.5]]


def test_no_value_no_uncertainty():
    sigma = estimate_sigma(np.array([[np.nan, np.inf, -np.inf, 1]]), Detector(1, 1))
    assert np.isnan(sigma[0, :3]).all()
    assert sigma[0, 3] == pytest.approx(np.sqrt(2))


def test_gain_of_a_real_header():
    """IRAC 1, 93.6 s."""
    assert electrons_per_unit(93.6, 3.7, 0.1257) == pytest.approx(2755.13, abs=0.01)


def test_poisson_frames_scatter_as_told():
    rng = np.random.default_rng(1)
    gain, read_noise, level = 50.0, 9.0, 12.0
    frames = (rng.poisson(level * gain, (400, 40, 40)) + rng.normal(0, read_noise, (400, 40, 40))) / gain
    told = estimate_sigma(frames, Detector(gain, read_noise))
    assert frames.std() == pytest.approx(np.sqrt((told**2).mean()), rel=0.005)


@pytest.mark.parametrize("values", [(0, 1, 0), (-1, 1, 0), (np.nan, 1, 0), (1, -1, 0), (1, 1, -1)])
def test_impossible_detectors(values):
    with pytest.raises(ValueError, match=r"must"):
        Detector(*values)


@pytest.mark.parametrize("values", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan)])
def test_impossible_headers(values):
    with pytest.raises(ValueError, match=r"must be above 0"):
        electrons_per_unit(*values)
