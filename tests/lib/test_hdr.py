import numpy as np
import pytest
from pymopex.hdr import (
    Exposure,
    HdrParams,
    exposure_kinds,
    nearest_reference,
    replaced,
    saturated,
    sky_difference,
)

FULL = 50.0  # MJy/sr, saturation of the long frame
NOISE = {"long": 0.05, "short": 0.8}  # MJy/sr


def pair(wrapped, seed=1):
    """Four stars, in a long frame that saturates and a short one that does not; gives frames and the true image."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:64, :64]
    truth = np.full((64, 64), 1.0)
    for at_x, at_y, peak in ((16.2, 15.7, 400), (45.4, 20, 90), (20, 47.5, 30), (48, 47, 2000)):
        truth += peak * np.exp(-((x - at_x) ** 2 + (y - at_y) ** 2) / (2 * 1.3**2))
    long = truth + rng.normal(0, NOISE["long"], truth.shape)
    over = truth > FULL
    long[over] = np.clip(2 * FULL - truth[over], 0, None) if wrapped else FULL
    short = truth - 0.4 + rng.normal(0, NOISE["short"], truth.shape)
    for place in ((5, 40), (30, 33), (33, 60)):
        short[place] += 60  # cosmic rays on empty sky
    good = np.zeros(truth.shape, bool)
    frames = [Exposure(d, np.full(d.shape, NOISE[n]), good) for n, d in (("long", long), ("short", short))]
    return *frames, truth


@pytest.mark.parametrize("wrapped", [False, True])
def test_saturated_pixels_are_found(wrapped):
    long, short, truth = pair(wrapped)
    found = saturated(long, long.data - 1.0, short, HdrParams())
    # a value over the level by less than Min_Excess cannot be told where the frame is cut at the level
    sure = truth > FULL * (1.2 if wrapped else 1.3)
    assert np.count_nonzero(sure) > 50
    assert found[sure].all()
    assert np.count_nonzero(found[truth < FULL]) <= 2  # of some 100 pixels of stars, by noise


def test_cosmic_rays_of_the_short_frame_are_not_taken_for_stars():
    long, short, _ = pair(False)
    excess = short.data - long.data > 20
    assert np.count_nonzero(excess & (long.data < 3)) == 3
    found = saturated(long, long.data - 1.0, short, HdrParams())
    assert not (found & (long.data < 3)).any()


def test_pixels_without_a_value_belong_to_the_star():
    long, short, truth = pair(False)
    long.data[truth > FULL] = np.nan
    long.data[10, 50] = np.nan
    minus = long.data - 1.0
    found = saturated(long, minus, short, HdrParams())
    assert found[truth > FULL].all()
    assert not found[10, 50]


def test_least_value_and_rim():
    long, short, truth = pair(False)
    limited = saturated(long, long.data - 1.0, short, HdrParams(least=200.0))
    assert limited[truth > 220].all()
    assert not limited[truth < 180].any()
    grown = saturated(long, long.data - 1.0, short, HdrParams(grow=2))
    assert np.count_nonzero(grown) > 1.5 * np.count_nonzero(
        saturated(long, long.data - 1, short, HdrParams())
    )


def test_values_of_the_short_frame():
    long, short, truth = pair(True)
    assert sky_difference(long, short) == pytest.approx(0.4, abs=0.05)
    found = truth > FULL
    bad = np.zeros(truth.shape, bool)
    bad[15, 16] = True
    data, sigma, done = replaced(long, Exposure(short.data, short.sigma, bad), found)
    assert not done[15, 16]
    assert np.count_nonzero(found & ~done) == 1
    off = (data - truth)[done]
    assert abs(off.mean()) < 4 * NOISE["short"] / np.sqrt(off.size)
    assert off.std() < 1.3 * NOISE["short"]
    assert np.unique(sigma[done]).tolist() == [np.float32(NOISE["short"])]
    np.testing.assert_array_equal(data[~found], long.data[~found].astype("f4"))


def test_kinds_by_keyword_and_time():
    named = ["   short", "  medium", "    long", "", ""]
    assert exposure_kinds(named, [0.4, 10.4, 93.6, 93.6, 0.4]) == ["short", "medium", "long", "long", "short"]
    assert exposure_kinds([""] * 3, [1.0, 26.8, 26.8]) == ["short", "long", "long"]
    assert exposure_kinds([""] * 4, [93.6, 0.4, 10.4, 0.4]) == ["long", "short", "medium", "short"]
    assert exposure_kinds([""], [12.0]) == ["long"]


@pytest.mark.parametrize(
    ("named", "times", "told"),
    [
        (["brief"], [1.0], "frame 0: HDRFRAME = 'brief' is none of short, medium, long"),
        (["long", ""], [90.0, 12.0], "frame 1: no HDRFRAME, and no frame of 12 s that has it"),
        ([""] * 4, [1.0, 2.0, 3.0, 4.0], "more than three exposure times: 1, 2, 3, 4 s"),
        (["", ""], [1.0, np.nan], "frame 1: neither HDRFRAME nor an exposure time"),
    ],
)
def test_frames_that_cannot_be_told(named, times, told):
    with pytest.raises(ValueError, match=told):
        exposure_kinds(named, times)


def test_nearest_in_time_of_those_that_look_there():
    look = lambda ra: [np.cos(np.radians(ra)), np.sin(np.radians(ra)), 0.0]  # noqa: E731
    short = np.array([look(10.0), look(10.0001), look(20.0)])
    which = nearest_reference(
        np.array([5.0, 5.0, 5.0]),
        np.array([look(10.0), look(20.0), look(30.0)]),
        np.array([1.0, 4.0, 5.0]),
        short,
        0.001,
    )
    assert which.tolist() == [1, 2, -1]


def test_contradictions_are_refused():
    with pytest.raises(ValueError, match="excess = 1"):
        HdrParams(excess=1.0)
    with pytest.raises(ValueError, match="bright = 0"):
        HdrParams(bright=0)
