"""Colour corrections: the integral against the tables of the handbook, and what both refuse."""

import numpy as np
import pytest
from pymopex.colour import WAVELENGTHS, Spectrum, blackbody, computed, published

EDGES = {"I1": (3.18, 3.92), "I2": (4.0, 5.02), "I3": (5.05, 6.46), "I4": (6.45, 9.42)}
"""Wavelengths [um] at which the response is half of its peak, about."""


def curve(band):
    """A flat response between the edges of a band, with slopes of a tenth of its width."""
    low, high = EDGES[band]
    slope = (high - low) / 20
    w = np.linspace(low - 2 * slope, high + 2 * slope, 801)
    return w, np.interp(w, [low - slope, low + slope, high - slope, high + slope], [0, 1, 1, 0])


@pytest.mark.parametrize("band", EDGES)
def test_reference_spectrum_needs_no_correction(band):
    assert computed(band, Spectrum("power_law", -1), *curve(band)) == pytest.approx(1, abs=1e-12)
    assert published(band, Spectrum("power_law", -1)) == 1
    w = np.linspace(20, 28, 50)
    assert computed("M1", Spectrum("blackbody", 1e4), w, np.ones(50)) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("band", EDGES)
@pytest.mark.parametrize(
    ("spectrum", "tolerance"),
    [
        (Spectrum("power_law", -2), 0.005),
        (Spectrum("power_law", 2), 0.016),
        (Spectrum("blackbody", 5000), 0.016),
        (Spectrum("blackbody", 1000), 0.008),
        (Spectrum("blackbody", 400), 0.025),
        (Spectrum("blackbody", 200), 0.05),
    ],
)
def test_integral_over_a_flat_band_gives_the_published_values(band, spectrum, tolerance):
    assert computed(band, spectrum, *curve(band)) == pytest.approx(published(band, spectrum), rel=tolerance)


def test_published_values():
    assert published("I1", Spectrum("blackbody", 5000)) == pytest.approx(1.0063)
    assert published("I4", Spectrum("blackbody", 200)) == pytest.approx(1.1215)
    assert published("I3", Spectrum("power_law", 2)) == pytest.approx(1.0155)
    assert published("I2", Spectrum("power_law", 1.5)) == pytest.approx(1.0075, abs=2e-4)


@pytest.mark.parametrize("band", EDGES)
def test_hot_blackbodies_go_over_into_the_square_law(band):
    values = [published(band, Spectrum("blackbody", t)) for t in (5000, 8000, 20000, 1e7)]
    assert values == sorted(values)
    assert values[-1] == pytest.approx(published(band, Spectrum("power_law", 2)), abs=1e-4)


def test_a_narrow_band_at_the_nominal_wavelength_needs_none():
    w = WAVELENGTHS["I1"] + np.linspace(-1e-3, 1e-3, 21)
    assert computed("I1", Spectrum("blackbody", 300), w, np.ones(21)) == pytest.approx(1, abs=1e-4)


def test_order_and_scale_of_the_curve_do_not_matter():
    w, r = curve("I2")
    one = computed("I2", Spectrum("blackbody", 600), w, r)
    assert computed("I2", Spectrum("blackbody", 600), w[::-1], 7 * r[::-1]) == pytest.approx(one, rel=1e-13)


def test_blackbody_at_long_wavelengths_is_the_square_law():
    w = np.array([1e4, 2e4])
    assert blackbody(w, 5000)[0] / blackbody(w, 5000)[1] == pytest.approx(4, rel=1e-3)
    assert blackbody(np.array([0.1]), 10.0)[0] == 0


@pytest.mark.parametrize(
    ("band", "spectrum", "error"),
    [
        ("M1", Spectrum("blackbody", 300), "no colour corrections of M1"),
        ("I1", Spectrum("power_law", 2.5), "index 2.5 is outside the table, -2 to 2"),
        ("I1", Spectrum("blackbody", 150), "below the table, which begins at 200 K"),
    ],
)
def test_what_the_tables_do_not_hold(band, spectrum, error):
    with pytest.raises(ValueError, match=error):
        published(band, spectrum)


@pytest.mark.parametrize(
    ("w", "r", "error"),
    [
        ([3, 4], [1, 1], "three points"),
        ([3, 4, np.nan], [1, 1, 1], "all of them numbers"),
        ([3, 3, 4], [1, 1, 1], "different from each other"),
        ([-3, 3, 4], [1, 1, 1], "not positive"),
        ([3, 3.5, 4], [0, 0, 0], "nowhere above 0"),
    ],
)
def test_what_is_no_response(w, r, error):
    with pytest.raises(ValueError, match=error):
        computed("I1", Spectrum("power_law", 0), np.array(w), np.array(r))
