"""Frames against what the others show on the mosaic, and what the cores of bright sources lose."""

import numpy as np
import pytest
from pymopex.core_losses import Losses, brightest_peaks, losses, near
from pymopex.frame_check import (
    FrameCheck,
    expected_frame,
    frame_deviation,
    frame_flags,
    on_frame,
)
from pymopex.geometry import Box, FrameMap, PixelMap
from pymopex.interpolation import Interpolation, interpolate

PEAK_TOLERANCE = (
    0.25  # of the peak: error of the expected core of a star of 0.6 pixel sigma, seen by nine frames
)
HOW = FrameCheck(5.0, 3.0, 0.25)


def placed(dx, dy, n=30):
    """Place a frame on a mosaic of half its pixel size, moved by parts of a frame pixel."""
    size = 2 * n

    def to_frame(x, y):
        return (x - 0.5) / 2 + dx, (y - 0.5) / 2 + dy

    def to_mosaic(x, y):
        return 2 * (x - dx) + 0.5, 2 * (y - dy) + 0.5

    return FrameMap(
        (n, n),
        Box(0, 0, size, size),
        PixelMap.of(to_frame, (-0.5, size - 0.5), (-0.5, size - 0.5)),
        PixelMap.of(to_mosaic, (-0.5, n - 0.5), (-0.5, n - 0.5)),
    )


def expected(centre, frame_map, coverage=None, scatter=None, tolerance=0.15, **unit):
    coverage = np.full(frame_map.box.shape, 5.0) if coverage is None else coverage
    return expected_frame(centre, coverage, scatter, frame_map, tolerance, **unit)


def star(frame_map, x, y, flux=1000.0, width=0.6):
    """Frame with a star at a place of the mosaic, averaged over each pixel."""
    column, row = frame_map.to_frame.points(np.array([x]), np.array([y]))
    fine = (np.arange(150) + 0.5) / 5 - 0.5
    profile = [
        np.exp(-0.5 * ((fine - at[0]) / width) ** 2).reshape(30, 5).mean(axis=1) for at in (column, row)
    ]
    return flux * np.outer(profile[1], profile[0])


# ---------------------------------------------------------------- what is expected of a frame


def test_a_flat_mosaic_gives_a_flat_frame_in_either_unit():
    frame_map = placed(0.3, -0.2)
    ones = np.full((30, 30), 8.0, np.float32)
    for surface, value in ((True, 8.0), (False, 2.0)):
        mosaic = interpolate(ones, None, None, frame_map, Interpolation(), surface_brightness=surface).data
        assert np.nanmedian(mosaic) == pytest.approx(
            value
        )  # counts: a mosaic pixel is a quarter of a frame pixel
        found = expected(mosaic, frame_map, surface_brightness=surface).values
        assert found[2:-2, 2:-2] == pytest.approx(8.0, rel=1e-5)


def test_the_core_of_a_star_is_expected_nearly_as_the_frame_has_it():
    maps = [placed(dx, dy) for dx in (0.0, 0.35, -0.3) for dy in (0.0, 0.3, -0.35)]
    frames = [star(frame_map, 29.3, 30.1) for frame_map in maps]
    seen = [
        interpolate(f.astype("f4"), None, None, m, Interpolation()).data
        for f, m in zip(frames, maps, strict=True)
    ]
    centre = np.median(seen, axis=0)
    for frame, frame_map in zip(frames, maps, strict=True):
        error = np.abs(expected(centre, frame_map).values - frame)[4:-4, 4:-4].max()
        assert error < PEAK_TOLERANCE * frame.max()
    # a frame that is compared with itself alone
    alone = np.abs(expected(seen[0], maps[0]).values - frames[0])[4:-4, 4:-4].max()
    assert alone < PEAK_TOLERANCE / 3 * frames[0].max()


def test_the_tolerance_grows_below_four_frames():
    coverage = np.full((60, 60), 8.0)
    coverage[:, :20], coverage[:, 20:40] = 2.0, 3.0
    found = expected(np.zeros((60, 60)), placed(0, 0), coverage).tolerance
    assert (found[:, 5], found[:, 15], found[:, 25]) == (
        pytest.approx(0.3),
        pytest.approx(0.2),
        pytest.approx(0.15),
    )
    none = expected(np.zeros((60, 60)), placed(0, 0), np.zeros((60, 60)), tolerance=0.1)
    assert none.tolerance[0, 0] == pytest.approx(0.2)


def test_nothing_is_expected_where_the_mosaic_knows_nothing():
    mosaic = np.full((60, 60), 3.0)
    mosaic[:, 30:] = np.nan
    found = expected(mosaic, placed(0, 0)).values
    assert np.isnan(found[:, 16:]).all()
    assert found[:, :14] == pytest.approx(3.0)
    assert np.isnan(expected(np.full((60, 60), np.nan), placed(0, 0)).values).all()


# ---------------------------------------------------------------- deviations and flags


def test_deviation_by_hand():
    expected = np.zeros((5, 5))
    expected[2, 2] = 8.0
    data = expected.copy()
    data[0, 0], data[2, 2], data[4, 4] = 3.0, 12.0, np.nan
    found = frame_deviation(data, np.full((5, 5), 2.0), expected, 0.125)  # doubled: too few steep pixels
    assert found[0, 0] == 1.5
    assert found[2, 2] == pytest.approx(4 / np.hypot(2, 2))  # a step of 8 to each neighbour
    assert found[4, 4] == 0
    assert not frame_deviation(data, None, np.full((5, 5), np.nan), 0.25).any()


def test_uncertainties_that_are_too_small_do_not_make_outliers():
    data = np.random.default_rng(1).normal(0, 1, (60, 60))
    data[30, 30] = 20
    for sigma in (None, np.full(data.shape, 0.01), np.ones(data.shape)):
        found = frame_deviation(data, sigma, np.zeros(data.shape), 0.25)
        assert found[30, 30] == pytest.approx(20, rel=0.05)
        assert np.count_nonzero(np.abs(found) > 5) == 1


def test_the_offset_of_a_frame_is_no_deviation():
    data = np.random.default_rng(1).normal(7, 1, (40, 40))
    found = frame_deviation(data, np.ones(data.shape), np.zeros(data.shape), 0.25)
    assert abs(np.median(found)) < 1e-9
    assert np.abs(found).max() < 5


def test_outliers_grow_to_brighter_neighbours_alone():
    deviation = np.array([[0, 3.5, 6, 3.5, 2.9, 3.5, 0, -6, -3.5]])
    none = np.zeros(deviation.shape, bool)
    assert frame_flags(deviation, none, None, HOW).astype(int).tolist() == [[0, 1, 1, 1, 0, 0, 0, 1, 0]]
    other = np.array([[0, 0, 0, 0, 1, 0, 0, 0, 0]], bool)  # found by another method
    assert frame_flags(deviation, other, None, HOW).astype(int).tolist() == [[0, 1, 1, 1, 0, 1, 0, 1, 0]]
    assert frame_flags(deviation, other, None, FrameCheck(5.0, 0.0)).sum() == 2


def test_inside_sources_the_gentler_cut_counts_alone():
    deviation, sources = np.array([[0, 6, 13, 4.0]]), np.array([[0, 1, 1, 1]], bool)
    how = FrameCheck(5.0, 3.0, 0.25, 12.0)
    assert frame_flags(deviation, sources & False, sources, how).tolist() == [[False, False, True, False]]


def test_a_frame_pixel_is_a_source_where_more_than_half_of_it_is():
    flags = np.zeros((60, 60), bool)
    flags[20:22, 20:22] = True
    flags[20:22, 30] = True
    assert np.argwhere(on_frame(flags, placed(0, 0))).tolist() == [[10, 10]]


# ---------------------------------------------------------------- losses at cores


def test_the_brightest_peaks_come_first_and_hits_of_one_frame_are_none():
    image = np.random.default_rng(2).normal(0, 1, (40, 50))
    image[10, 20], image[10, 21], image[30, 40], image[5, 5] = 500, 400, 900, np.nan
    x, y, value = brightest_peaks(image, 10)
    assert (x.tolist(), y.tolist(), value.tolist()) == ([40, 20], [30, 10], [900, 500])
    assert brightest_peaks(image, 1)[0].tolist() == [40]
    assert brightest_peaks(np.full((4, 4), np.nan), 5)[0].size == 0


def test_cores_are_pixels_within_a_radius_also_at_the_rim():
    core = near(np.array([2.0, -1.0]), np.array([3.0, 5.0]), (6, 6))
    assert core[2:5, 1:4].all()
    assert core.sum() == 9 + 2  # (0, 4) and (0, 5) lie near the place off the frame
    assert not near(np.array([-9.0]), np.array([5.0]), (6, 6)).any()


def test_losses_are_counted_and_judged():
    rejected, usable = np.zeros((10, 10), bool), np.ones((10, 10), bool)
    core = near(np.array([5.0]), np.array([5.0]), (10, 10))
    rejected[5, 5] = rejected[0, 0] = rejected[9, 9] = True
    usable[9, 9] = False
    assert losses(rejected, usable, core) == Losses(9, 1, 90, 1)
    assert Losses(10, 1, 90, 1) + Losses(1, 1, 1, 1) == Losses(11, 2, 91, 2)
    assert not Losses(1000, 9, 100000, 700).harmful  # 0.9 % and 0.7 %: hits
    assert Losses(1000, 40, 100000, 700).harmful
    assert not Losses(10, 1, 100000, 700).harmful  # one pixel
    assert not Losses().harmful


def test_tolerance_follows_how_well_frames_agree_on_gradients():
    """Stars that are misplaced by a part of a pixel are no outliers; with few of them the tolerance is doubled."""
    rng = np.random.default_rng(5)
    sigma = np.full((96, 96), 0.01)
    y, x = np.indices(sigma.shape)

    def stars(n, shift):
        image = np.zeros(sigma.shape)
        for i in range(n):
            x0, y0 = 8 + 16 * (i % 6), 8 + 16 * (i // 6)
            image += 20 * np.exp(-((x - x0 - shift) ** 2 + (y - y0) ** 2) / 2)
        return image

    found = {}
    for n, shift in ((36, 0.2), (36, 0.0), (1, 0.2)):
        expected = stars(n, 0.0)
        data = stars(n, shift) + rng.normal(0, 0.01, sigma.shape)
        data[4, 48] += 0.2  # a hit between the stars
        deviation = frame_deviation(data, sigma, expected, 0.02)
        found[n, shift] = np.abs(deviation) > 5
        assert found[n, shift][4, 48]
    assert found[36, 0.2].sum() < 40  # of 36 x 25 pixels of the stars
    assert found[36, 0.0].sum() == 1
    assert found[1, 0.2].sum() > 5


def test_the_scatter_of_many_frames_is_known_that_of_few_is_not():
    coverage = np.full((60, 60), 20.0)
    coverage[:, :20], coverage[:, 20:40] = 5.0, 9.0
    scatter = np.full((60, 60), 0.4)
    scatter[:, 50:] = np.nan
    found = expected(np.zeros((60, 60)), placed(0, 0), coverage, scatter).scatter
    assert expected(np.zeros((60, 60)), placed(0, 0), coverage).scatter is None
    assert found[:, 5] == pytest.approx(0.0)
    assert found[:, 15] == pytest.approx(0.2)
    assert found[:, 22] == pytest.approx(0.4)
    assert found[:, 28] == pytest.approx(0.0)


def test_what_frames_differ_by_on_a_gradient_is_tolerated_there_alone():
    expected = np.zeros((9, 9))
    expected[4, 4] = 100.0
    data = expected.copy()
    data[4, 4], data[0, 0] = 200.0, 100.0
    sigma, scatter = np.ones((9, 9)), np.full((9, 9), 40.0)
    plain = frame_deviation(data, sigma, expected, 0.05)
    known = frame_deviation(data, sigma, expected, 0.05, scatter)
    assert plain[4, 4] == pytest.approx(100 / np.hypot(1, 10))
    assert known[4, 4] == pytest.approx(100 / np.sqrt(1 + 10**2 + 40**2 - 1))
    assert known[0, 0] == plain[0, 0] == pytest.approx(100.0)  # no gradient is expected there
