import numpy as np
import pytest
from pymopex import background as module
from pymopex.background import MedianWindow, background, window_statistic


def naive_window(image, good, how, quantile):
    """Write the sliding quantile out pixel by pixel."""
    result = np.full(image.shape, np.nan)
    for y, x in np.ndindex(image.shape):
        y0, x0 = y - how.window_y // 2, x - how.window_x // 2
        cut = slice(max(0, y0), max(0, y0 + how.window_y)), slice(max(0, x0), max(0, x0 + how.window_x))
        values = np.sort(image[cut][good[cut]])
        if len(values) >= how.min_good_pixels:
            dropped = round(how.n_outliers / (how.window_x * how.window_y) * len(values))
            result[y, x] = np.quantile(values[: max(1, len(values) - dropped)], quantile)
    return result


def naive_fill(result, wanted):
    """Fill each missing value from growing squares round it."""
    filled = result.copy()
    known = np.isfinite(result)
    for y, x in np.argwhere(~known):
        for radius in range(1, max(result.shape) + 1):
            cut = slice(max(0, y - radius), y + radius + 1), slice(max(0, x - radius), x + radius + 1)
            if known[cut].sum() >= min(wanted, known.sum()):
                filled[y, x] = result[cut][known[cut]].mean()
                break
    return filled


@pytest.fixture
def sky():
    """Random image with a masked block, single bad pixels and NaN."""
    rng = np.random.default_rng(1)
    image = rng.normal(10, 2, (31, 37))
    image[rng.uniform(size=image.shape) < 0.05] += 100
    bad = rng.uniform(size=image.shape) < 0.1
    bad[5:17, 8:22] = True
    image[20, 20], image[0, :] = np.nan, np.nan
    return image, bad


@pytest.mark.parametrize("block", [384, 7])
@pytest.mark.parametrize(
    "how",
    [
        MedianWindow(5, 5, 0, min_good_pixels=1),
        MedianWindow(7, 5, 4),
        MedianWindow(6, 4, 3, min_good_pixels=4, min_good_neighbors=30),
        MedianWindow(1, 1, 0, min_good_pixels=1),
        MedianWindow(90, 91, 500, min_good_pixels=20),
        MedianWindow(11, 3, 32, min_good_pixels=2, min_good_neighbors=1),
    ],
)
def test_window_against_the_definition(sky, how, block, monkeypatch):
    monkeypatch.setattr(module, "_BLOCK", block)
    image, bad = sky
    good = np.isfinite(image) & ~bad
    found = window_statistic(image, good, how, (0.5, 0.16))
    for result, quantile in zip(found, (0.5, 0.16), strict=True):
        expected = naive_fill(naive_window(image, good, how, quantile), how.min_good_neighbors)
        np.testing.assert_allclose(result, expected, rtol=1e-12)
    np.testing.assert_allclose(background(image, bad, how), found[0], rtol=1e-6)


def test_median_by_hand():
    image = np.array([[1.0, 5.0, 2.0, 100.0, 3.0]])
    how = MedianWindow(3, 1, 0, min_good_pixels=1)
    assert background(image, None, how)[0].tolist() == [3, 2, 5, 3, 51.5]


def test_skewed_median_by_hand():
    image = np.array([[1.0, 2.0, 3.0, 50.0, 60.0]])
    how = MedianWindow(11, 1, 4, min_good_pixels=1)
    # Five of eleven pixels are there: two of the four outliers are dropped.
    assert background(image, None, how)[0].tolist() == [2] * 5


def test_even_window_reaches_further_left_and_down():
    image = np.arange(6.0).reshape(1, 6)
    how = MedianWindow(2, 1, 0, min_good_pixels=1)
    assert background(image, None, how)[0].tolist() == [0, 0.5, 1.5, 2.5, 3.5, 4.5]
    how = MedianWindow(1, 2, 0, min_good_pixels=1)
    assert background(image.T, None, how)[:, 0].tolist() == [0, 0.5, 1.5, 2.5, 3.5, 4.5]


@pytest.mark.parametrize("use_sbkg", [False, True])
def test_flat_image_is_its_background(use_sbkg):
    image = np.full((40, 50), 7.25)
    image[3, 3] = np.nan
    found = background(image, None, MedianWindow(9, 9, 5, use_sbkg=use_sbkg))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, 7.25)


def test_bad_pixels_and_nan_take_no_part():
    image, bad = np.full((15, 15), 2.0), np.zeros((15, 15), dtype=bool)
    image[5, 5], image[7, 7] = 1e30, np.inf
    bad[5, 5] = True
    np.testing.assert_allclose(background(image, bad, MedianWindow(3, 3, 0, min_good_pixels=1)), 2)


def test_sources_do_not_raise_the_skewed_median():
    rng = np.random.default_rng(2)
    image = rng.normal(size=(80, 80))
    image[rng.uniform(size=image.shape) < 0.1] += 50
    low = background(image, None, MedianWindow(25, 25, 62))
    high = background(image, None, MedianWindow(25, 25, 0))
    assert abs(np.mean(low)) < 0.03
    assert np.mean(high) > 0.1


def test_no_good_window_gives_nan():
    image = np.full((12, 12), np.nan)
    image[0, 0] = 1
    for use_sbkg in (False, True):
        assert np.isnan(background(image, None, MedianWindow(5, 5, 0, use_sbkg=use_sbkg))).all()


@pytest.mark.parametrize("byteorder", ["<", ">"])
@pytest.mark.parametrize("kind", ["f4", "f8", "i2"])
def test_any_number_type(kind, byteorder):
    image = np.arange(25).reshape(5, 5).astype(byteorder + kind)
    found = background(image, None, MedianWindow(3, 3, 0, min_good_pixels=1))
    assert found[2, 2] == 12
    assert found[0, 0] == 3


def test_mesh_is_that_of_photutils():
    from photutils.background import Background2D, SExtractorBackground

    rng = np.random.default_rng(3)
    image = rng.normal(20, 1, (60, 80)) + 0.05 * np.arange(80)
    expected = Background2D(image, (15, 20), filter_size=3, bkg_estimator=SExtractorBackground()).background
    found = background(image, None, MedianWindow(20, 15, use_sbkg=True, sbkg_filter=4))
    np.testing.assert_allclose(
        found, expected, rtol=3e-5
    )  # scipy's spline through so few panels is not exact
    slope = 20 + 0.05 * np.arange(80)
    assert found[:, 20:60].mean(axis=0) == pytest.approx(slope[20:60], abs=0.3)


def test_a_panel_without_data_follows_its_neighbours():
    image = np.random.default_rng(4).normal(5, 0.1, (60, 60))
    bad = np.zeros(image.shape, dtype=bool)
    bad[20:40, 20:40] = True
    image[bad] = 1e6
    found = background(image, bad, MedianWindow(20, 20, use_sbkg=True))
    np.testing.assert_allclose(found, 5, atol=0.1)


def test_panels_need_enough_good_pixels():
    image, bad = np.full((40, 40), 5.0), np.zeros((40, 40), dtype=bool)
    image[:20, :20] = 1000.0
    bad[:20, :20] = True
    bad[3, 3:12] = False
    few = background(image, bad, MedianWindow(20, 20, use_sbkg=True, min_good_pixels=10))
    np.testing.assert_allclose(few, 5)
    enough = background(image, bad, MedianWindow(20, 20, use_sbkg=True, min_good_pixels=9))
    assert enough[5, 5] > 900


def test_mesh_of_an_image_smaller_than_a_panel():
    image = np.random.default_rng(5).normal(5, 0.1, (10, 12))
    found = background(image, None, MedianWindow(45, 45, use_sbkg=True, sbkg_filter=3, min_good_pixels=500))
    np.testing.assert_allclose(found, 5, atol=0.05)


def test_bad_output_pixels_are_counted():
    image = np.ones((10, 10))
    image[:2] = np.nan
    background(image, None, MedianWindow(3, 3, 0, max_bad_fraction=0.2))
    with pytest.raises(ValueError, match=r"20\.0% of the output pixels are bad; at most 19\.0%"):
        background(image, None, MedianWindow(3, 3, 0, max_bad_fraction=0.19))


@pytest.mark.parametrize(
    "how,message",
    [
        ({"window_x": 0}, "at least 1 x 1"),
        ({"window_x": 5, "window_y": 5, "n_outliers": 25}, "below the 25 pixels"),
        ({"n_outliers": -1}, "n_outliers = -1"),
        ({"min_good_pixels": 0}, "at least 1"),
        ({"min_good_neighbors": 0}, "at least 1"),
        ({"max_bad_fraction": -0.1}, "must not be negative"),
        ({"max_bad_fraction": np.nan}, "must not be negative"),
    ],
)
def test_wrong_rules_are_refused(how, message):
    with pytest.raises(ValueError, match=message):
        MedianWindow(**how)


def test_wrong_images_are_refused():
    with pytest.raises(ValueError, match="2-D and not empty"):
        background(np.zeros(5), None, MedianWindow())
    with pytest.raises(ValueError, match="2-D and not empty"):
        background(np.zeros((0, 5)), None, MedianWindow())
    with pytest.raises(ValueError, match="bad has shape"):
        background(np.zeros((5, 5)), np.zeros((5, 4), bool), MedianWindow())
