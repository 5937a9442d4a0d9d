"""Published factors on fluxes."""

import numpy as np
import pytest
from pymopex import photcorr

PHASES = [("I1", "cryo"), ("I2", "cryo"), ("I1", "warm"), ("I2", "warm")]


def grid(n=200):
    at = (np.arange(n) + 0.5) / n - 0.5
    return np.meshgrid(at, at)


@pytest.mark.parametrize(("band", "model"), PHASES)
def test_phase_response_is_one_on_average(band, model):
    assert photcorr.phase_response(band, model, *grid()).mean() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("band", "model", "peak_to_peak"),
    [("I1", "cryo", 0.048), ("I2", "cryo", 0.0175), ("I1", "warm", 0.096), ("I2", "warm", 0.026)],
)
def test_phase_response_varies_as_published(band, model, peak_to_peak):
    assert np.ptp(photcorr.phase_response(band, model, *grid())) == pytest.approx(peak_to_peak, abs=0.002)


def test_phase_response_is_periodic_and_peaks_near_the_middle():
    x, y = grid()
    response = photcorr.phase_response("I1", "warm", x, y)
    np.testing.assert_allclose(photcorr.phase_response("I1", "warm", x + 17, y - 3), response, rtol=1e-9)
    row, column = np.unravel_index(response.argmax(), response.shape)
    assert (x[row, column], y[row, column]) == pytest.approx((0.159, 0.037), abs=0.01)


def test_radial_form():
    at = np.array([0.0, 0.3])
    found = photcorr.phase_response("I1", "radial", at, np.zeros(2))
    np.testing.assert_allclose(
        found, [1 + 0.0535 / np.sqrt(2 * np.pi), 1 + 0.0535 * (1 / np.sqrt(2 * np.pi) - 0.3)]
    )


@pytest.mark.parametrize("model", ["cryo", "radial"])
def test_channels_3_and_4_have_no_phase(model):
    assert (photcorr.phase_response("I4", model, *grid(5)) == 1).all()


@pytest.mark.parametrize(("index", "part"), [(-1, 0), (0, 0), (1, 0.5), (2, 1), (3, 1)])
def test_part_of_the_array_location_correction(index, part):
    assert photcorr.blueness(index) == part


@pytest.mark.parametrize(
    ("band", "mission", "radius", "annulus", "factor"),
    [
        ("I1", "warm", 3 * 1.221, (12 * 1.221, 20 * 1.221), 1.1132),
        ("I2", "warm", 2 * 1.213, (2 * 1.213, 6 * 1.213), 1.2322),
        ("I1", "warm", 4 * 0.6, (24 * 0.6, 40 * 0.6), 1.2026),
        ("I4", "cryo", 2 * 1.22, (12 * 1.22, 20 * 1.22), 1.571),
        ("I3", "cryo", 20 * 0.6, (24 * 0.6, 40 * 0.6), 1.0),
        ("M1", "cryo", 13, (20, 32), 1.17),
    ],
)
def test_published_apertures(band, mission, radius, annulus, factor):
    assert photcorr.aperture_factor(band, mission, radius, annulus) == factor


@pytest.mark.parametrize(
    ("band", "radius", "annulus", "error"),
    [
        ("I1", 3.3, (12 * 1.221, 20 * 1.221), r"for 2.70 \(12.00-20.00\) native pixels; known: 2 \(2-6\)"),
        ("I1", 3 * 1.221, None, "3.00 without annulus"),
        ("M2", 35, (39, 65), "known: none"),
    ],
)
def test_apertures_of_which_nothing_is_published(band, radius, annulus, error):
    with pytest.raises(ValueError, match=error):
        photcorr.aperture_factor(band, "warm", radius, annulus)


def test_magnitudes():
    flux = np.array([280.9e6, 2809.0, 0.0, -5.0])
    mag, error = photcorr.magnitudes("I1", flux, flux / 100)
    np.testing.assert_allclose(mag[:2], [0, 12.5], atol=1e-9)
    np.testing.assert_allclose(error[:2], 0.010857, atol=1e-6)
    assert np.isnan(mag[2:]).all()
    assert np.isnan(error[2:]).all()


def test_mission_by_date():
    assert photcorr.mission(54965.9) == "cryo"
    assert photcorr.mission(54966.1) == "warm"
