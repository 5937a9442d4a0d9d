"""Pixels of many groups at once, against one group at a time and by hand."""

import numpy as np
from pymopex.batches import alone
from pymopex.fit_data import FrameImage, gather_frame, join_frames
from pymopex.gathering import gather_groups_of_frame, groups_of_frames
from pymopex.group_kernels import box_variance, masked_core, mean_scale

SIZES = np.array([1, 3, 2])
FIT = np.array([[5, 7], [9, 9], [3, 5]])


def image_of(rng):
    data = rng.normal(size=(40, 30)).astype(np.float32)
    data[rng.uniform(size=data.shape) < 0.05] = np.nan
    sigma = rng.uniform(0.5, 2, data.shape).astype(np.float32)
    return FrameImage(data, sigma, rng.uniform(size=data.shape) < 0.1)


def places_of(rng, n):
    x, y = rng.uniform(-3, 33, n), rng.uniform(-3, 43, n)
    which, weight = rng.integers(0, 5, (n, 4)), rng.uniform(size=(n, 4))
    return x, y, rng.normal(size=(n, 2, 2)), rng.uniform(1, 2, n), which, weight


def test_many_groups_are_as_one_by_one():
    rng = np.random.default_rng(3)
    shown = [np.array([0, 1, 2]), np.array([1]), np.array([0, 2]), np.array([1, 2])]
    pieces, alone = [], {g: [] for g in range(3)}
    for number, groups in enumerate(shown):
        image, places = image_of(rng), places_of(rng, SIZES[groups].sum())
        pieces.append(
            gather_groups_of_frame(image, (0, 0), 10 + number, groups, SIZES[groups], FIT[groups], places)
        )
        edges = np.cumsum(SIZES[groups])[:-1]
        for g, *own in zip(groups, *(np.split(column, edges) for column in places), strict=True):
            pixels = gather_frame(image, own[0], own[1], *FIT[g])
            if pixels.value.size:
                alone[g].append((pixels, 10 + number, own))
    found = list(groups_of_frames(pieces, FIT))
    assert [one.number for one in found] == [g for g in range(3) if alone[g]]
    for one in found:
        pixels, frames, own = zip(*alone[one.number], strict=True)
        x, y, jacobian, scale, prf, mix = (np.array(column) for column in zip(*own, strict=True))
        want = join_frames(pixels, x, y, jacobian, scale, prf, tuple(FIT[one.number]), mix)
        assert one.frames.tolist() == list(frames)
        for name, got in one.group._asdict().items():
            np.testing.assert_array_equal(got, getattr(want, name), err_msg=name)
            assert np.asarray(got).dtype == np.asarray(getattr(want, name)).dtype, name


def test_a_part_of_an_image_counts_pixels_of_the_whole():
    rng = np.random.default_rng(4)
    image, places = image_of(rng), places_of(rng, 6)
    places = np.clip(places[0], 12, 20), np.clip(places[1], 12, 25), *places[2:]
    groups = np.arange(3)
    whole = gather_groups_of_frame(image, (0, 0), 0, groups, SIZES, FIT, places)
    cut = FrameImage(*(np.ascontiguousarray(a[4:36, 6:28]) for a in (image.data, image.sigma, image.bad)))
    part = gather_groups_of_frame(cut, (6, 4), 0, groups, SIZES, FIT, places)
    for name, got in part.pixels._asdict().items():
        np.testing.assert_array_equal(got, getattr(whole.pixels, name), err_msg=name)


def test_no_frame_gives_no_group():
    assert list(groups_of_frames([], FIT)) == []
    rng = np.random.default_rng(5)
    x, *places = places_of(rng, 1)
    none = gather_groups_of_frame(
        image_of(rng), (0, 0), 0, np.array([0]), SIZES[:1], FIT[:1], (x + 1e4, *places)
    )
    assert none.counts.tolist() == [0]
    assert list(groups_of_frames([none], FIT)) == []


def group_with_hole(radius, size=9):
    """One source in the middle of a pixel, in two frames; pixels within a radius are masked."""
    data = np.ones((size, size), np.float32)
    at = np.arange(size) - size // 2
    bad = np.hypot(at[:, None], at) < radius
    image = FrameImage(data, 2 * data, bad)
    place = np.full((2, 1), size // 2, float)
    pixels = [gather_frame(image, place[0], place[0], size, size)] * 2
    jacobian = np.tile(np.eye(2), (2, 1, 1, 1))
    zero = np.zeros((2, 1), int)
    return join_frames(pixels, place, place, jacobian, np.ones((2, 1)), zero, (size, size))


def test_radius_of_a_masked_core():
    assert masked_core(alone(group_with_hole(0.0)), 0) == 0.0
    assert masked_core(alone(group_with_hole(0.5)), 0) == 0.0  # the pixel of the source alone
    np.testing.assert_allclose(masked_core(alone(group_with_hole(1.1)), 0), np.sqrt(5 / np.pi))
    np.testing.assert_allclose(masked_core(alone(group_with_hole(1.5)), 0), np.sqrt(9 / np.pi))


def test_variance_of_a_box():
    # 9 pixels of variance 4 each, mean of two frames
    np.testing.assert_allclose(box_variance(alone(group_with_hole(0.0)), 0, 3), 4 * 9 / 2)
    # no pixel of the box is left: those of the fit stand for them
    np.testing.assert_allclose(box_variance(alone(group_with_hole(2.0)), 0, 3), 4 * 9 / 2)


def test_mean_of_frames_leaves_out_what_is_not_there():
    group = group_with_hole(0.0).take([0, 0, 0])
    group = alone(group._replace(scale=np.array([[1.0, np.nan, np.nan], [3.0, 5.0, np.inf]])))
    np.testing.assert_array_equal([mean_scale(group, n) for n in range(3)], [2.0, 5.0, np.nan])
