import numpy as np
import pytest
from pymopex.sn_estimator import Detector, Sky, electrons_per_unit, estimate_sigma, sky_of


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


@pytest.mark.parametrize(
    "values", [(0, 1), (-1, 1), (np.nan, 1), (1, -1), (1, 1, -1), (1, 1, 0, -1), (1, 1, 0, np.inf)]
)
def test_impossible_detectors(values):
    with pytest.raises(ValueError, match=r"must"):
        Detector(*values)


@pytest.mark.parametrize("values", [(0, 1, 1), (1, -1, 1), (1, 1, np.nan)])
def test_impossible_headers(values):
    with pytest.raises(ValueError, match=r"must be above 0"):
        electrons_per_unit(*values)


def test_photons_of_a_subtracted_background_made_noise():
    """0, -25 and -50 units above a background of 25: 100, 0 and no electrons, with a noise of 10 electrons or none."""
    sigma = estimate_sigma(np.array([[0.0, -25.0, -50.0]]), Detector(4, 0, subtracted=25))
    np.testing.assert_allclose(sigma, [[10 / 4, 0, 0]], rtol=1e-6)


def _noise(shape=(256, 256), seed=1):
    return np.random.default_rng(seed).normal(3.0, 2.0, shape)


def test_scatter_of_normal_noise():
    found = [sky_of(_noise(seed=seed), np.full((256, 256), 1.0)) for seed in range(4)]
    assert np.mean([one.scatter for one in found]) == pytest.approx(2.0, rel=0.01)
    assert found[0].ratio == found[0].scatter
    assert found[0].missing == pytest.approx(np.sqrt(found[0].scatter ** 2 - 1))


def test_sources_gradients_and_lost_pixels_do_not_count():
    """400 stars, a gradient of 12 sigma over the frame, a tenth of the pixels without data."""
    image, random = _noise(), np.random.default_rng(2)
    y, x = np.indices(image.shape)
    plain = sky_of(image, np.ones_like(image)).scatter
    image += 0.05 * x + 0.05 * y
    for cx, cy, flux in random.uniform((0, 0, 40), (255, 255, 4000), (400, 3)):
        image += flux * np.exp(-((x - cx) ** 2 + (y - cy) ** 2) / 1.2)
    image[random.random(image.shape) < 0.1] = np.nan
    assert sky_of(image, np.ones_like(image)).scatter == pytest.approx(plain, rel=0.03)


def test_the_uncertainty_is_that_of_the_sky():
    image, sigma = _noise(), np.full((256, 256), 2.0)
    image[::5, ::7] += 100
    sigma[::5, ::7] = 9.0
    found = sky_of(image, sigma)
    assert found.estimated == 2
    assert found.ratio == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("image", [np.full((40, 40), np.nan), np.zeros((40, 40)), np.full((1, 1), 3.0)])
def test_no_sky_no_statement(image):
    found = sky_of(image, np.ones(image.shape))
    assert np.isnan(found.ratio)
    assert found.missing == 0


def test_an_estimate_that_is_large_enough_lacks_nothing():
    assert Sky(scatter=1.0, estimated=1.5).missing == 0
    assert Sky(scatter=5.0, estimated=3.0).missing == 4
    assert np.isnan(Sky(scatter=1.0, estimated=0.0).ratio)
