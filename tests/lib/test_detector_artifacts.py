"""Artifacts of single frames: recovered where they are, nothing found where they are not."""

import numpy as np
import pytest
from pymopex.artifacts import (
    LineSettings,
    box_background,
    column_offsets,
    nan_median,
    objects,
    row_offsets,
)
from pymopex.readout import output_pattern, trail_shape, trails

NOISE = 0.03
"""Noise of a pixel [MJy/sr], about that of 100 s of IRAC 1."""
LEVEL = 40.0
"""Trigger [MJy/sr]."""


def frame(seed=1, shape=(128, 128), stars=()):
    """A sloped background with noise and Gaussian stars (x, y, peak)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: shape[0], : shape[1]]
    data = 0.1 + 0.0005 * x + rng.normal(0, NOISE, shape)
    for x0, y0, peak in stars:
        r2 = (x - x0) ** 2 + (y - y0) ** 2
        data += peak * (np.exp(-r2 / 2 / 0.8**2) + 2e-4 / (1 + r2 / 25) ** 1.5)
    return data, np.zeros(shape, bool)


STAR = ((60, 70, 500.0),)


@pytest.mark.parametrize("seed", range(5))
def test_pulldown_is_recovered_on_both_sides(seed):
    data, bad = frame(seed, stars=STAR)
    triggers = data > LEVEL
    columns = np.nonzero(triggers.any(axis=0))[0]
    below, above = -0.2, -0.35
    shifted = data.copy()
    first, last = np.nonzero(triggers.any(axis=1))[0][[0, -1]]
    for c in columns:
        shifted[:first, c] += below
        shifted[last + 1 :, c] += above
    found = column_offsets(shifted, bad, triggers, LineSettings(decay=False))
    assert found.count == 2 * len(columns)
    error = 3 * 1.25 * NOISE / np.sqrt(40)  # 3 sigma of the shorter side
    np.testing.assert_allclose(found.image[: first - 1, columns], below, atol=error)
    np.testing.assert_allclose(found.image[last + 2 :, columns], above, atol=error)
    others = np.setdiff1d(np.arange(128), columns)
    assert not found.image[:, others].any()


def test_a_decaying_pulldown_is_followed():
    data, bad = frame(3, shape=(256, 64), stars=((30, 60, 500.0),))
    triggers = data > LEVEL
    (columns,) = np.nonzero(triggers.any(axis=0))
    last = np.nonzero(triggers.any(axis=1))[0][-1]
    t = np.arange(1, 256 - last)
    true = -0.1 - 0.5 * np.exp(-t / 30)
    data[last + 1 :, columns] += true[:, None]
    found = column_offsets(data, bad, triggers, LineSettings(significance=5))
    error = np.sqrt(np.mean((found.image[last + 1 :, columns] - true[:, None])[15:] ** 2))
    assert error < NOISE / 2
    plain = column_offsets(data, bad, triggers, LineSettings(decay=False))
    assert np.sqrt(np.mean((plain.image[last + 1 :, columns] - true[:, None])[15:] ** 2)) > error


@pytest.mark.parametrize("seed", range(10))
def test_a_bright_star_alone_is_left_as_it_is(seed):
    data, bad = frame(seed, shape=(128, 128), stars=STAR)
    triggers = data > LEVEL
    assert triggers.any()
    assert np.abs(column_offsets(data, bad, triggers, LineSettings()).image).mean() < 0.1 * NOISE
    assert np.abs(row_offsets(data, bad, triggers, LineSettings(positive=True)).image).mean() < 0.1 * NOISE
    assert trails(data, bad, triggers).count == 0


def test_nothing_is_done_without_triggers():
    data, bad = frame()
    none = np.zeros(data.shape, bool)
    assert column_offsets(data, bad, none, LineSettings()).count == 0
    assert trails(data, bad, none).count == 0


def test_bands_of_rows_add_light():
    data, bad = frame(2, stars=STAR)
    triggers = data > LEVEL
    (rows,) = np.nonzero(triggers.any(axis=1))
    banded = data.copy()
    banded[rows] += 0.4
    found = row_offsets(banded, bad, triggers, LineSettings(decay=False, positive=True))
    assert found.count == 2 * len(rows)
    assert np.median(found.image[rows]) == pytest.approx(0.4, abs=0.02)
    banded = data.copy()
    banded[rows] -= 0.4
    assert row_offsets(banded, bad, triggers, LineSettings(decay=False, positive=True)).count == 0


def test_other_stars_in_the_column_do_not_count():
    data, bad = frame(4, stars=(*STAR, (60, 20, 30.0), (59, 110, 20.0), (61, 100, 10.0)))
    triggers = data > LEVEL
    (columns,) = np.nonzero(triggers.any(axis=0))
    last = np.nonzero(triggers.any(axis=1))[0][-1]
    data[last + 1 :, columns] -= 0.3
    found = column_offsets(data, bad, triggers, LineSettings(decay=False))
    np.testing.assert_allclose(found.image[last + 2 :, columns], -0.3, atol=0.03)


def test_shape_of_a_trail_by_hand():
    """Handbook: log10 I = 3.1880 - 2.4973 x + 1.2010 x^2 - 0.2444 x^3, x = log10 (n + 1)."""
    assert trail_shape(1) == pytest.approx(1)
    x = 1.0  # n = 9
    first = np.log10(2)
    change = -2.4973 * (x - first) + 1.2010 * (x**2 - first**2) - 0.2444 * (x**3 - first**3)
    assert trail_shape(9) == pytest.approx(10**change)
    assert (np.diff(trail_shape(np.arange(1, 300))) < 0).all()


@pytest.mark.parametrize("amplitude", [1.0, 4.0])
def test_a_trail_is_recovered_over_the_end_of_its_row(amplitude):
    data, bad = frame(5, shape=(64, 128), stars=((61, 30, 60.0),))
    triggers = data > LEVEL
    assert triggers.sum() == 1
    place = 30 * 32 + 61 // 4 + np.arange(1, 65)
    y, x = place // 32, 4 * (place % 32) + 61 % 4
    assert y.max() == 32
    true = np.zeros(data.shape)
    true[y, x] = amplitude * trail_shape(np.arange(1, 65))
    found = trails(data + true, bad, triggers)
    assert found.count == 1
    np.testing.assert_allclose(found.image, true, atol=0.25 * amplitude)
    left = (true - found.image)[y[4:], x[4:]]
    assert np.sqrt(np.mean(left**2)) < NOISE


def test_a_width_that_is_no_multiple_of_four_has_no_outputs():
    with pytest.raises(ValueError, match="a width of 30 is no multiple of 4"):
        trails(np.zeros((8, 30)), np.zeros((8, 30), bool), np.ones((8, 30), bool))


def test_the_pattern_of_the_outputs_is_recovered():
    data, bad = frame(6)
    pattern = np.array([0.02, -0.03, 0.01, 0.0])
    data[:64] += np.resize(pattern, 128)
    found = output_pattern(data, bad, sections=2)
    error = 4 * NOISE / np.sqrt(64 * 32)
    np.testing.assert_allclose(found.image[:64], np.resize(pattern, (64, 128)), atol=error)
    assert not found.image[64:].any()
    assert found.image.mean() == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("seed", range(5))
def test_a_clean_frame_has_no_pattern(seed):
    data, bad = frame(seed, stars=((20, 20, 30), (90, 33, 100), (64, 64, 10)))
    found = output_pattern(data, bad | objects(data, bad), sections=4)
    assert np.abs(found.image).mean() < 0.1 * NOISE


def test_objects_are_marked_and_the_background_follows_the_sky():
    data, bad = frame(7, stars=((30, 40, 10.0),))
    marked = objects(data, bad, threshold=5)
    assert marked[40, 30]
    assert marked.mean() < 0.1
    x = np.mgrid[:128, :128][1]
    inner = (slice(12, -12),) * 2
    np.testing.assert_allclose(box_background(data, 16)[inner], (0.1 + 0.0005 * x)[inner], atol=0.012)


def test_median_without_what_is_missing():
    values = np.array([[1.0, 3, np.nan], [np.nan, np.nan, np.nan], [4, 2, 9]])
    np.testing.assert_array_equal(nan_median(values, axis=1), [2, np.nan, 4])
