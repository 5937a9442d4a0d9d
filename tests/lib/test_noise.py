import numpy as np
import pytest
from pymopex.background import MedianWindow, window_statistic
from pymopex.noise import faint_side_noise, gaussian_noise, level_and_faint_scatter

NORMAL = 0.3413447460685429  # part of a normal distribution between its mean and one standard deviation


def test_width_by_hand():
    image = np.arange(101.0).reshape(1, 101)
    found = gaussian_noise(image, None, MedianWindow(501, 1, 0))
    assert found.dtype == np.float32
    assert found == pytest.approx(100 * NORMAL)


def test_flat_image_has_no_noise():
    image = np.full((20, 30), 4.0)
    image[2, 3] = np.nan
    assert (gaussian_noise(image, None, MedianWindow(7, 7, 3)) == 0).all()


@pytest.mark.parametrize("n_outliers,factor", [(0, 1.0), (100, 0.94)])
def test_normal_noise(n_outliers, factor):
    image = np.random.default_rng(1).normal(100, 3, (200, 200))
    found = gaussian_noise(image, None, MedianWindow(45, 45, n_outliers))
    assert np.mean(found) == pytest.approx(3 * factor, rel=0.015)


def test_noise_follows_the_place_and_sources_do_not_count():
    rng = np.random.default_rng(2)
    scale = np.where(np.arange(160) < 80, 1.0, 4.0)
    image = rng.normal(size=(100, 160)) * scale
    image[rng.uniform(size=image.shape) < 0.05] += 1000
    found = gaussian_noise(image, None, MedianWindow(31, 31, 48))
    assert found[:, :60].mean() == pytest.approx(1, rel=0.05)
    assert found[:, 100:].mean() == pytest.approx(4, rel=0.05)


def test_masked_areas_get_the_noise_around_them():
    image = np.random.default_rng(3).normal(size=(60, 60))
    bad = np.zeros(image.shape, dtype=bool)
    bad[20:40, 20:40] = True
    image[bad] = 1e9
    found = gaussian_noise(image, bad, MedianWindow(11, 11, 0, min_good_pixels=50))
    assert np.isfinite(found).all()
    assert found[30, 30] == pytest.approx(1, rel=0.2)


def test_an_image_without_data_has_no_value():
    assert np.isnan(gaussian_noise(np.full((5, 5), np.nan), None, MedianWindow(3, 3, 0))).all()
    with pytest.raises(ValueError, match="output pixels are bad"):
        gaussian_noise(np.full((5, 5), np.nan), None, MedianWindow(3, 3, 0, max_bad_fraction=0.5))


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="bad has shape"):
        gaussian_noise(np.zeros((5, 5)), np.zeros((4, 5), bool), MedianWindow(3, 3, 0))


INTERPOLATED = 0.007  # relative difference (rms) from windows round every pixel


def test_interpolated_map_is_that_of_windows_round_every_pixel():
    rng = np.random.default_rng(4)
    image = (rng.normal(size=(230, 210)) * np.linspace(1, 3, 210)).astype("f4")
    image[rng.uniform(size=image.shape) < 0.02] += 100
    image[100:104] = np.nan
    how = MedianWindow(45, 45, 100)
    found = gaussian_noise(image, None, how)
    low, high = window_statistic(image, np.isfinite(image), how, (0.5 - NORMAL, 0.5 + NORMAL))
    off = found / (0.5 * (high - low)) - 1
    assert np.sqrt(np.mean(off**2)) < INTERPOLATED
    assert np.mean(off) == pytest.approx(0, abs=INTERPOLATED / 5)


def test_interpolated_map_scatters_no_more_than_that_of_windows_round_every_pixel():
    image = np.random.default_rng(11).normal(size=(400, 420)).astype("f4")
    how = MedianWindow(45, 45, 0)
    low, high = window_statistic(image, np.isfinite(image), how, (0.5 - NORMAL, 0.5 + NORMAL))
    inner = np.s_[25:-25, 25:-25]
    every, found = 0.5 * (high - low)[inner], gaussian_noise(image, None, how)[inner]
    assert np.std(found) < np.std(every)
    assert np.std(found - every) < 0.3 * np.std(every)
    assert np.mean(found) == pytest.approx(np.mean(every), rel=1e-3)


def test_small_windows_are_taken_round_every_pixel():
    image = np.random.default_rng(5).normal(size=(25, 30))
    how = MedianWindow(9, 7, 3)
    low, high = window_statistic(image, np.isfinite(image), how, (0.5 - NORMAL, 0.5 + NORMAL))
    np.testing.assert_allclose(gaussian_noise(image, None, how), 0.5 * (high - low), rtol=1e-6)


# ---------------------------------------------------------------- crowded images

FAINT_SIDE = 0.06  # relative error of the noise from the faint side, with and without sources


def test_the_faint_side_gives_the_noise_of_empty_and_of_crowded_images():
    rng = np.random.default_rng(6)
    image = rng.normal(3, 2, (220, 260))
    empty = faint_side_noise(image, None)
    assert np.median(empty) == pytest.approx(2, rel=FAINT_SIDE)
    y, x = np.mgrid[:220, :260]
    for _ in range(120):  # a star per 500 pixels, each on some 50
        height = 5 * rng.pareto(1) + 4
        image += height * np.exp(-((x - rng.uniform(0, 260)) ** 2 + (y - rng.uniform(0, 220)) ** 2) / 8)
    assert np.median(faint_side_noise(image, None)) == pytest.approx(2, rel=3 * FAINT_SIDE)
    assert np.median(gaussian_noise(image, None, MedianWindow(101, 101, 0))) > 2.25


def test_the_faint_side_follows_the_place_and_leaves_bad_pixels_out():
    rng = np.random.default_rng(7)
    image = rng.normal(0, 1, (200, 400)) * np.where(np.arange(400) < 200, 1, 5)
    image[:, 50] = np.nan
    bad = np.zeros(image.shape, bool)
    bad[100] = True
    image[100] = -1e9
    noise = faint_side_noise(image, bad)
    assert np.median(noise[:, :120]) == pytest.approx(1, rel=2 * FAINT_SIDE)
    assert np.median(noise[:, 280:]) == pytest.approx(5, rel=2 * FAINT_SIDE)
    assert np.isfinite(noise).all()
    assert np.isnan(faint_side_noise(np.full((9, 9), np.nan), None)).all()


def test_the_faint_side_by_the_definition():
    rng = np.random.default_rng(8)
    image = rng.normal(3, 2, (70, 90)).astype("f4") + rng.pareto(2, (70, 90)).astype("f4")
    image[5:30, 20:60] = np.nan
    bad = rng.uniform(size=image.shape) < 0.1
    found = faint_side_noise(image, bad, window=21, step=20)
    for y, x in ((10, 10), (50, 70), (30, 50)):
        cut = slice(y - 10, y + 11), slice(x - 10, x + 11)
        values = np.sort(image[cut][np.isfinite(image[cut]) & ~bad[cut]].astype("f8"))
        quarter = len(values) // 4
        start = np.argmin(values[quarter:] - values[:-quarter])
        mode = values[start : start + quarter + 1].mean()
        assert found[y, x] == pytest.approx(1.4826 * (mode - np.median(values[values < mode])), rel=1e-6)


def test_level_and_scatter_take_no_notice_of_what_is_brighter():
    rng = np.random.default_rng(6)
    image = rng.normal(3.0, 0.5, (200, 200))
    image[:, 100:] = rng.normal(10.0, 2.0, (200, 100))
    stars = rng.random(image.shape) < 0.02
    image[stars] += 1000
    image[90:94, 20:24] = np.nan
    level, scatter = level_and_faint_scatter(image, stars & (image > 1e9), 31)
    for part, middle, sigma in ((np.s_[20:180, 20:80], 3.0, 0.5), (np.s_[20:180, 120:180], 10.0, 2.0)):
        assert level[part].mean() == pytest.approx(middle + 0.025 * sigma, abs=0.02 * sigma)  # 2 % are stars
        assert scatter[part].mean() == pytest.approx(sigma, rel=0.03)
        assert scatter[part].std() < 0.1 * sigma
    corner = np.sort(image[:16, :16], axis=None)  # a window is cut at the edges
    assert level[0, 0] == pytest.approx(np.quantile(corner, 0.5), rel=1e-3)
    assert scatter[0, 0] == pytest.approx(np.quantile(corner, 0.5) - np.quantile(corner, 0.158655), rel=1e-2)


def test_level_of_an_image_without_data():
    level, scatter = level_and_faint_scatter(np.full((20, 20), np.nan), None, 11)
    assert np.isnan(level).all()
    assert np.isnan(scatter).all()
