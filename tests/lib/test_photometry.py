import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.photometry import aperture_photometry


def measure(image, x, y, radii, *, sigma=None, bad=None, **more):
    return aperture_photometry(image, sigma, bad, np.atleast_1d(x), np.atleast_1d(y), radii, **more)


def test_agrees_with_photutils():
    from photutils.aperture import CircularAperture
    from photutils.aperture import aperture_photometry as reference

    rng = np.random.default_rng(1)
    image, sigma = rng.normal(5, 1, (70, 80)), rng.uniform(0.5, 2, (70, 80))
    x, y = rng.uniform(12, 67, 30), rng.uniform(12, 57, 30)
    radii = [0.3, 2.0, 4.7, 11.0]
    found = measure(image, x, y, radii, sigma=sigma)
    for j, radius in enumerate(radii):
        table = reference(
            image, CircularAperture(np.column_stack([x, y]), radius), error=sigma, method="exact"
        )
        np.testing.assert_allclose(found.flux[:, j], table["aperture_sum"], rtol=1e-10)
        np.testing.assert_allclose(found.uncertainty[:, j], table["aperture_sum_err"], rtol=1e-10)
    assert (found.bad_pixels == 0).all()


@settings(max_examples=50, deadline=None)
@given(st.floats(20, 30), st.floats(20, 30), st.floats(0.1, 19))
def test_area_of_the_circle(x, y, radius):
    flux = measure(np.ones((51, 51)), x, y, [radius]).flux[0, 0]
    assert flux == pytest.approx(np.pi * radius**2, rel=1e-10)


def test_one_pixel_by_hand():
    image = np.zeros((9, 9))
    image[4, 4] = 8.0
    found = measure(image, [4.0, 4.5], [4.0, 4.0], [0.5, 3.0], sigma=np.full(image.shape, 2.0))
    assert found.flux == pytest.approx(np.array([[2 * np.pi, 8], [np.pi, 8]]))
    assert found.uncertainty[:, 0] == pytest.approx(np.sqrt(np.pi / 4 * 4))


def test_bad_pixels_are_left_out_and_counted():
    image = np.full((21, 21), 3.0)
    image[10, 12] = np.nan
    bad = np.zeros(image.shape, dtype=bool)
    bad[9, 10] = True
    bad[0, 0] = True
    found = measure(image, 10.0, 10.0, [1.0, 4.0], bad=bad)
    assert found.bad_pixels.tolist() == [[1, 2]]
    assert found.flux[0, 1] == pytest.approx(3 * (16 * np.pi - 2))


def test_bad_pixels_count_as_sky():
    image = np.full((41, 41), 7.0)
    image[20, 20] += 50
    image[19, 22] = np.nan
    found = measure(image, 20.0, 20.0, [4.0], annulus=(8, 15))
    assert found.sky[0] == pytest.approx(7)
    assert found.flux[0, 0] == pytest.approx(50)
    assert found.bad_pixels[0, 0] == 1


def test_pixels_outside_the_image_are_bad():
    image = np.ones((20, 20))
    inside = measure(image, 10.0, 10.0, [2.0, 3.0]).bad_pixels
    assert inside.tolist() == [[0, 0]]
    # A quarter of the circle, two strips of half a pixel, and a quarter of the corner pixel.
    found = measure(image, 0.0, 0.0, [2.0])
    strip = 0.25 * np.sqrt(3.75) + 2 * np.arcsin(0.25)
    assert found.flux[0, 0] == pytest.approx(np.pi + 2 * strip + 0.25)
    assert found.bad_pixels[0, 0] == 21 - 8


def test_sources_off_the_image():
    image = np.ones((20, 20))
    found = measure(
        image, [-0.6, 19.5, 5.0, np.nan, 1e12], [5.0, 5.0, 30.0, 5.0, 5.0], [2.0, 3.0], annulus=(4, 6)
    )
    assert np.isnan(found.flux).all()
    assert np.isnan(found.uncertainty).all()
    assert (found.bad_pixels[:, 0] >= 16).all()
    assert (found.sky == 0).all()
    assert (found.n_sky == 0).all()


def test_an_aperture_without_a_good_pixel():
    image = np.ones((20, 20))
    image[8:13, 8:13] = np.nan
    found = measure(image, 10.0, 10.0, [2.0, 5.0])
    assert np.isnan(found.flux[0, 0])
    assert found.bad_pixels.tolist() == [[21, 25]]
    assert np.isfinite(found.flux[0, 1])


def test_no_sources():
    found = measure(np.ones((5, 5)), np.zeros(0), np.zeros(0), [1.0, 2.0])
    assert found.flux.shape == found.uncertainty.shape == found.bad_pixels.shape == (0, 2)
    assert found.sky.shape == (0,)


def test_sky_statistics_by_hand():
    image = np.full((21, 21), np.nan)
    # Centres 5 pixels from the source.
    image[[15, 5, 10, 10], [10, 10, 15, 5]] = 1, 2, 3, 10
    image[10, 10] = 100
    level = {
        how: measure(image, 10.0, 10.0, [1.0], annulus=(5, 5.1), statistic=how).sky[0]
        for how in ("mean", "median", "mode")
    }
    assert level == pytest.approx({"mean": 4.0, "median": 2.5, "mode": -0.5})


def test_annulus_goes_by_the_pixel_centre():
    image = np.ones((41, 41))
    row, column = np.indices(image.shape)
    distance = np.hypot(row - 20, column - 20.3)
    for inner, outer in ((0, 3), (5, 5.5), (10, 15)):
        found = measure(image, 20.3, 20.0, [1.0], annulus=(inner, outer))
        assert found.n_sky[0] == np.count_nonzero((distance >= inner) & (distance < outer))


def test_stars_in_the_annulus_are_clipped():
    rng = np.random.default_rng(2)
    image = rng.normal(10, 1, (81, 81))
    clean = measure(image, 40.0, 40.0, [3.0], annulus=(15, 30), statistic="mean")
    for x, y in ((20, 40), (55, 50), (40, 62)):
        image[y : y + 3, x : x + 3] += 500
    found = measure(image, 40.0, 40.0, [3.0], annulus=(15, 30), statistic="mean")
    assert found.sky[0] == pytest.approx(clean.sky[0], abs=0.05)
    assert found.sky_sigma[0] == pytest.approx(1, abs=0.1)


def test_too_few_sky_pixels():
    image, sigma = np.full((21, 21), 4.0), np.full((21, 21), 2.0)
    how = {"annulus": (5, 6), "sigma": sigma}
    n = int(measure(image, 10.0, 10.0, [2.0], **how).n_sky[0])
    enough = measure(image, 10.0, 10.0, [2.0], min_pixels=n, **how)
    few = measure(image, 10.0, 10.0, [2.0], min_pixels=n + 1, **how)
    assert enough.flux[0, 0] == pytest.approx(0, abs=1e-12)
    assert few.flux[0, 0] == pytest.approx(16 * np.pi)
    assert (few.sky[0], few.n_sky[0]) == (0, 0)
    assert few.uncertainty[0, 0] == pytest.approx(np.sqrt(4 * np.pi * 4))


@pytest.mark.parametrize("statistic", ["mean", "median", "mode"])
def test_uncertainty_is_the_scatter_of_the_flux_and_the_sky_is_not_biased(statistic):
    image = np.random.default_rng(3).normal(3, 2, (400, 400))
    at = np.arange(15, 400, 25.0)
    x, y = (grid.ravel() for grid in np.meshgrid(at, at))
    how = {"annulus": (7, 11), "statistic": statistic}
    found = measure(image, x, y, [6.0], **how)
    scatter = found.flux[:, 0].std()
    assert np.median(found.uncertainty) == pytest.approx(scatter, rel=0.12)
    assert found.flux.mean() == pytest.approx(0, abs=3.5 * scatter / np.sqrt(len(x)))
    given_sigma = measure(image, x, y, [6.0], sigma=np.full(image.shape, 2.0), **how)
    assert np.median(given_sigma.uncertainty) == pytest.approx(scatter, rel=0.12)


def test_uncertainty_without_sigma_and_sky_is_unknown():
    assert np.isnan(measure(np.ones((9, 9)), 4.0, 4.0, [2.0]).uncertainty[0, 0])


def test_pixels_without_uncertainty_take_the_scatter_of_the_sky():
    image = np.random.default_rng(4).normal(0, 2, (61, 61))
    sigma = np.full(image.shape, np.nan)
    how = {"annulus": (8, 20)}
    without = measure(image, 30.0, 30.0, [3.0], **how)
    assert measure(image, 30.0, 30.0, [3.0], sigma=sigma, **how).uncertainty == pytest.approx(
        without.uncertainty
    )


@pytest.mark.parametrize(
    "more,message",
    [
        ({"radii": []}, "at least one"),
        ({"radii": [0.0]}, "must be positive"),
        ({"radii": [np.nan]}, "must be positive"),
        ({"annulus": (5, 5)}, "outer radius"),
        ({"annulus": (-1, 5)}, "outer radius"),
        ({"statistic": "average"}, "must be one of mode, median, mean"),
        ({"sigma": np.ones((3, 3))}, "sigma has shape"),
        ({"bad": np.ones((3, 3), bool)}, "bad has shape"),
        ({"x": np.zeros(2)}, "lists of one length"),
        ({"image": np.ones(5)}, "2 dimensions"),
    ],
)
def test_wrong_input_is_refused(more, message):
    with pytest.raises(ValueError, match=message):
        measure(**({"image": np.ones((9, 9)), "x": np.zeros(1), "y": np.zeros(1), "radii": [1.0]} | more))


@pytest.mark.parametrize("kind", ["f4", "f8", ">f4", "i2"])
@pytest.mark.parametrize("statistic", ["mean", "median", "mode"])
def test_apertures_and_sky_by_the_definition(kind, statistic):
    from photutils.geometry import circular_overlap_grid

    rng = np.random.default_rng(5)
    image = (rng.normal(50, 5, (60, 70)) + (rng.uniform(size=(60, 70)) < 0.05) * 900).astype(kind)
    sigma = rng.uniform(1, 2, image.shape).astype("f4")
    bad = rng.uniform(size=image.shape) < 0.1
    if kind != "i2":
        image[10:20, 30:45] = np.nan
    sigma[40:50] = np.nan
    x, y = rng.uniform(-0.5, 69.5, 40), rng.uniform(-0.5, 59.5, 40)
    found = measure(
        image, x, y, [0.4, 3.0, 7.5], sigma=sigma, bad=bad, annulus=(6.5, 13.0), statistic=statistic
    )
    values, good = image.astype("f8"), np.isfinite(image.astype("f8")) & ~bad
    row, column = np.indices(image.shape)
    for i in range(40):
        distance = (row - y[i]) ** 2 + (column - x[i]) ** 2
        sky = values[good & (distance >= 6.5**2) & (distance < 13.0**2)]
        for _ in range(10):
            sky = sky[np.abs(sky - np.median(sky)) <= 3 * sky.std()]
        mean, median = sky.mean(), np.median(sky)
        level = {"mean": mean, "median": median, "mode": 3 * median - 2 * mean}[statistic]
        assert found.sky[i] == pytest.approx(level, rel=1e-12)
        assert found.n_sky[i] == sky.size
        variance = {"mean": 1, "median": np.pi / 2, "mode": 4.5 * np.pi - 8}[statistic] * sky.var() / sky.size
        error = np.where(np.isfinite(sigma), sigma.astype("f8"), sky.std())
        for j, radius in enumerate((0.4, 3.0, 7.5)):
            edges = -0.5 - x[i], 69.5 - x[i], -0.5 - y[i], 59.5 - y[i]
            part = circular_overlap_grid(*edges, 70, 60, radius, 1, 1)
            used = good & (part > 0)
            flux = np.sum(part[used] * (values[used] - level)) if used.any() else np.nan
            assert found.flux[i, j] == pytest.approx(flux, rel=1e-9, abs=1e-9, nan_ok=True)
            square = np.sum(part[used] * error[used] ** 2) + part[used].sum() ** 2 * variance
            if used.any():
                assert found.uncertainty[i, j] == pytest.approx(np.sqrt(square), rel=1e-9)


def test_an_annulus_without_a_good_pixel_or_off_the_image_gives_no_sky():
    image = np.ones((30, 30), "f4")
    image[5:26, 5:26] = np.nan
    image[14:17, 14:17] = 4
    found = measure(image, [15.0, 15.0], [15.0, 15.0], [1.0], annulus=(3, 6), statistic="median")
    assert found.sky.tolist() == [0, 0]
    assert found.n_sky.tolist() == [0, 0]
    assert found.flux[:, 0] == pytest.approx(4 * np.pi)
    far = measure(image, 15.0, 15.0, [1.0], annulus=(200, 300))
    assert (far.sky[0], far.n_sky[0]) == (0, 0)
    assert np.isnan(far.sky_sigma[0])
