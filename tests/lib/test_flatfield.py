import numpy as np
import pytest
from pymopex.flatfield import FlatParams, flattened, level, normalised, scan_legs, stacked

RMS = 0.006  # largest error of the recovered flat, 40 frames of 2.5 per cent noise a pixel: 0.5 per cent expected


def flat_of(shape, rng):
    y, x = np.mgrid[: shape[0], : shape[1]]
    flat = 1 + 0.1 * (x / shape[1] - 0.5) - 0.05 * (y / shape[0] - 0.5) ** 2 + rng.normal(0, 0.02, shape)
    return flat / flat.mean()


def made(how, frames, bad=None):
    bad = np.zeros_like(frames, bool) if bad is None else bad
    flat = None
    for _ in range(2):
        levels = [level(image, mask, flat) for image, mask in zip(frames, bad, strict=True)]
        cube = np.where(bad, np.nan, frames / np.array(levels)[:, None, None])
        value, error, _ = stacked(cube, how)
        flat, error, _ = normalised(value, error)
    return flat, error, levels


@pytest.mark.parametrize("how", [FlatParams(), FlatParams("trimmed", 0.2)])
def test_flat_is_recovered_from_frames_of_different_skies(how):
    rng = np.random.default_rng(1)
    truth = flat_of((40, 48), rng)
    skies = rng.uniform(2, 8, 40)
    noise = rng.normal(0, 0.025, (40, 40, 48))
    frames = skies[:, None, None] * truth * (1 + noise)
    frames[:, 5, 5] = np.nan
    frames[rng.uniform(size=frames.shape) < 0.02] *= 5  # stars and hits
    flat, error, levels = made(how, frames)
    assert np.isnan(flat[5, 5])
    known = np.isfinite(flat)
    off = (flat - truth)[known]
    assert np.sqrt(np.mean(off**2)) < RMS
    assert 0.8 < np.sqrt(np.mean(off**2)) / np.sqrt(np.mean(error[known] ** 2)) < 1.25
    np.testing.assert_allclose(np.array(levels) / skies, np.median(levels / skies), rtol=0.004)


def test_level_does_not_depend_on_which_pixels_are_good():
    truth = np.linspace(0.5, 1.5, 100).reshape(10, 10)
    left = np.zeros((10, 10), bool)
    left[:5] = True
    assert level(3 * truth, left) != pytest.approx(3.0)
    assert level(3 * truth, left, truth) == pytest.approx(3.0)
    assert np.isnan(level(truth, np.ones((10, 10), bool)))


def test_stack_by_hand():
    cube = np.array([1.0, 2, 3, 4, 100])[:, None, None] * np.ones((5, 1, 2))
    cube[2:, 0, 1] = np.nan
    value, error, count = stacked(cube, FlatParams("median", min_frames=3))
    assert value[0, 0] == 3
    assert np.isnan(value[0, 1])
    assert count.tolist() == [[5, 2]]
    assert error[0, 0] == pytest.approx(1.2533 * 1.4826 * 1 / np.sqrt(5))
    assert stacked(cube, FlatParams("trimmed", 0.2))[0][0, 0] == 3
    assert stacked(cube, FlatParams("trimmed", 0.0))[0][0, 0] == 22


def test_flattened():
    out = flattened(np.full((1, 4), 6.0), np.array([[2.0, np.nan, 0.05, 1.0]]), 0.1)
    np.testing.assert_array_equal(out, np.array([[3, np.nan, np.nan, 6]], "f4"))
    with pytest.raises(ValueError, match="the flat has shape"):
        flattened(np.ones((2, 2)), np.ones((1, 2)), 0.1)


def test_scan_legs():
    north = np.array([0, 10, 20, 30, 30, 20, 10, 0, 0, 10, 20.0])
    east = np.array([0, 0, 0, 0, 5, 5, 5, 5, 10, 10, 10.0])
    legs = scan_legs(np.arange(11), east, north)
    assert legs.tolist() == [1] * 5 + [2] * 4 + [3] * 2  # the step aside belongs to the leg before it
    far = scan_legs(np.arange(6), np.array([0, 1, 2, 50, 51, 52.0]), np.zeros(6))
    assert far.tolist() == [1, 1, 1, 2, 2, 2]
    mixed = scan_legs(np.array([2, 0, 1.0]), np.array([2, 0, 1.0]), np.zeros(3))
    assert mixed.tolist() == [1, 1, 1]


@pytest.mark.parametrize("given", [{"method": "mean"}, {"trim": 0.5}, {"min_frames": 0}])
def test_refused(given):
    with pytest.raises(ValueError, match=next(iter(given))):
        FlatParams(**given)


def test_no_flat_from_nothing():
    with pytest.raises(ValueError, match="no pixel has enough frames"):
        normalised(np.full((2, 2), np.nan), np.full((2, 2), np.nan))
    with pytest.raises(ValueError, match="the mean of the stack is -1"):
        normalised(np.full((2, 2), -1.0), np.ones((2, 2)))
