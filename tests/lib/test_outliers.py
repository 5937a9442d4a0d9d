import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex import order_statistics, outliers
from pymopex.box_outliers import box_statistics
from pymopex.geometry import Box
from pymopex.outliers import (
    deviations,
    dual_outlier,
    gradient_guard,
    level,
    reference_values,
    temporal_statistics,
)
from pymopex.stack import Stack

RNG_SEED = 4


def stack_of(values, sigma=None):
    """Stack of full frames: values of shape (n, ny, nx)."""
    values = np.asarray(values, dtype="f4")
    tile = Box(0, 0, values.shape[2], values.shape[1])
    sigmas = None if sigma is None else [np.full(tile.shape, sigma, "f4")] * len(values)
    return Stack.build(
        tile, [tile] * len(values), list(values), [np.ones(tile.shape, "f4")] * len(values), sigmas
    )


# ---------------------------------------------------------------- stack


def test_a_stack_holds_what_covers_each_pixel():
    tile = Box(10, 20, 3, 2)
    one, two = Box(10, 20, 2, 2), Box(11, 21, 2, 1)
    data = [np.array([[1, 2], [3, np.nan]], "f4"), np.array([[7, 8]], "f4")]
    coverage = [np.ones((2, 2), "f4"), np.array([[0.5, 0]], "f4")]
    found = Stack.build(tile, [one, two], data, coverage, None)
    assert found.first.tolist() == [0, 1, 2, 2, 3, 4, 4]
    assert found.value.tolist() == [1, 2, 3, 7]
    assert found.layer.tolist() == [0, 0, 0, 1]
    assert found.coverage.tolist() == [1, 1, 1, 0.5]
    assert found.sigma.size == 0


def test_without_coverages_every_value_counts():
    tile = Box(0, 0, 2, 1)
    data = [np.array([[1, np.nan]], "f4"), np.array([[7, 8]], "f4")]
    found = Stack.build(tile, [tile, tile], data, None, None)
    assert found.first.tolist() == [0, 2, 3]
    assert found.value.tolist() == [1, 7, 8]
    assert found.coverage.size == 0


def test_a_part_must_fit_its_box_and_the_tile():
    tile = Box(0, 0, 3, 2)
    with pytest.raises(ValueError, match="not inside"):
        Stack.build(tile, [Box(2, 0, 2, 2)], [np.ones((2, 2))], [np.ones((2, 2))], None)
    with pytest.raises(ValueError, match=r"an image of shape \(2, 2\) for a box of shape \(2, 3\)"):
        Stack.build(tile, [tile], [np.ones((2, 2))], [np.ones((2, 3))], None)
    with pytest.raises(ValueError, match=r"values of shape \(4,\) for boxes of 6 pixels"):
        Stack.build(tile, [tile], np.ones(6), np.ones(4), None)


# ---------------------------------------------------------------- temporal


def test_median_and_deviation_by_hand():
    centre, scatter = temporal_statistics(stack_of([[[1.0]], [[2.0]], [[4.0]], [[9.0]], [[100.0]]]))
    assert centre[0, 0] == 4
    assert scatter[0, 0] == pytest.approx(3 / 0.6745)  # deviations 3, 2, 0, 5, 96
    centre, scatter = temporal_statistics(stack_of([[[1.0]], [[3.0]], [[4.0]], [[10.0]]]))
    assert centre[0, 0] == 3.5
    assert scatter[0, 0] == pytest.approx(1.5 / 0.6745)  # deviations 2.5, 0.5, 0.5, 6.5


def test_the_scatter_is_not_below_the_smallest_uncertainty():
    values = [[[1.0]], [[1.0]], [[1.0]], [[50.0]]]
    assert temporal_statistics(stack_of(values, sigma=0.5))[1][0, 0] == 0.5
    assert temporal_statistics(stack_of(values))[1][0, 0] == 0


def test_few_values_take_the_uncertainty():
    values = [[[1.0]], [[9.0]]]
    assert temporal_statistics(stack_of(values, sigma=0.5), min_pix_num=3)[1][0, 0] == 0.5
    assert np.isnan(temporal_statistics(stack_of(values), min_pix_num=3)[1][0, 0])
    assert temporal_statistics(stack_of(values, sigma=0.5), min_pix_num=2)[1][0, 0] == pytest.approx(
        4 / 0.6745
    )


def test_the_reference_is_the_median_and_of_two_values_the_lower():
    for values, expected in (([5.0, 3], 3), ([9.0, 1, 4], 4), ([70.0, 2, 1, 4], 3), ([1.0, 2, 3, 4, 50], 3)):
        assert reference_values(stack_of(np.reshape(values, (-1, 1, 1))))[0, 0] == expected
    assert np.isnan(reference_values(stack_of([[[1.0]]]))[0, 0])


@pytest.mark.parametrize("depth", [1, 2, 5, 14])
def test_networks_find_what_selection_finds(monkeypatch, depth):
    rng = np.random.default_rng(RNG_SEED)
    values = rng.normal(10, 1, (depth, 7, 300)).astype("f4")
    values[rng.random(values.shape) < 0.3] = np.nan  # pixels of all depths, also of none
    stack = stack_of(values, 0.5)
    found = (*temporal_statistics(stack), reference_values(stack))
    monkeypatch.setattr(outliers, "LONGEST", 0)
    selected = (*temporal_statistics(stack), reference_values(stack))
    for one, other in zip(found, selected, strict=True):
        np.testing.assert_allclose(one, other, rtol=3e-7)
    np.testing.assert_array_equal(np.isnan(found[0]), np.isnan(values).all(axis=0))


def test_trimmed_mean_leaves_the_hit_out():
    values = np.random.default_rng(RNG_SEED).normal(10, 1, (30, 1, 1))
    values[3] = 1000
    centre, scatter = temporal_statistics(stack_of(values), thresh_option=2)
    kept = np.delete(values.ravel(), 3)
    assert centre[0, 0] == pytest.approx(kept.mean(), rel=1e-5)
    assert scatter[0, 0] == pytest.approx(kept.std(ddof=1), rel=1e-5)


def test_unknown_option():
    with pytest.raises(ValueError, match="1 or 2, not 3"):
        temporal_statistics(stack_of([[[1.0]]]), thresh_option=3)


@given(st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40), st.data())
@settings(max_examples=60, deadline=None)
def test_selection_agrees_with_sorting(values, data):
    k = data.draw(st.integers(0, len(values) - 1))
    work = np.array(values)
    assert order_statistics.select_rank(work, len(values), k) == np.sort(values)[k]
    assert order_statistics.median(np.array(values)) == pytest.approx(np.median(values))
    assert order_statistics.median_of(np.array(values), len(values)) == pytest.approx(
        np.median(values), rel=1e-12
    )


@given(st.permutations(range(6)))
@settings(max_examples=20, deadline=None)
def test_the_order_of_frames_does_not_matter(order):
    values = np.random.default_rng(RNG_SEED).normal(0, 1, (6, 4, 5))
    expected = temporal_statistics(stack_of(values, sigma=0.1))
    found = temporal_statistics(stack_of(values[list(order)], sigma=0.1))
    assert np.array_equal(expected, found)


# ---------------------------------------------------------------- box


def brute_box(values, box, bias):
    _, ny, nx = values.shape
    centre, scatter = np.zeros((ny, nx)), np.zeros((ny, nx))
    half = box // 2
    for y in range(ny):
        for x in range(nx):
            part = np.sort(
                values[:, max(0, y - half) : y + half + 1, max(0, x - half) : x + half + 1].ravel()
            )
            rank = max(0, part.size // 2 - bias)
            middle = part[rank]
            width = np.sort(np.abs(part - middle))[rank] / 0.6745
            own = values[:, y, x]
            if not (np.abs(own - middle) <= width).any():
                middle = np.median(own)
                width = np.median(np.abs(own - middle)) / 0.6745
            centre[y, x], scatter[y, x] = middle, width
    return centre, scatter


def test_box_statistics_agree_with_a_plain_loop():
    values = np.random.default_rng(RNG_SEED).normal(0, 1, (3, 6, 7)).astype("f4")
    values[:, 3, 3] += 50  # the core of a star: the temporal statistics take its place
    box = Box(0, 0, 7, 6)
    found = box_statistics(stack_of(values), box_x=3, box_y=3, bias=1, core=box, reach=box)
    assert np.allclose(found, brute_box(values.astype(float), 3, 1), rtol=1e-5)
    assert found[0][3, 3] == pytest.approx(np.median(values[:, 3, 3]))


def test_the_core_of_a_box_tile_is_that_of_the_whole():
    values = np.random.default_rng(RNG_SEED).normal(0, 1, (3, 8, 9))
    whole = Box(0, 0, 9, 8)
    core = Box(2, 3, 4, 2)
    expected = box_statistics(stack_of(values), box_x=3, box_y=3, bias=1, core=whole, reach=whole)
    found = box_statistics(stack_of(values), box_x=3, box_y=3, bias=1, core=core, reach=whole)
    for one, two in zip(expected, found, strict=True):
        assert np.array_equal(one[core.slices], two)


def test_box_finds_a_hit_with_two_frames():
    values = np.random.default_rng(RNG_SEED).normal(0, 1, (2, 9, 9))
    values[1, 4:6, 4:6] = 60
    box = Box(0, 0, 9, 9)
    centre, scatter = box_statistics(stack_of(values, sigma=1), box_x=3, box_y=3, bias=1, core=box, reach=box)
    off = [deviations(v, centre, scatter) for v in values]
    assert (off[1][4:6, 4:6] > 10).all()
    assert np.abs(off[0]).max() < 6


# ---------------------------------------------------------------- deviations and guard


def test_deviations_by_hand():
    found = deviations(
        np.array([[3.0, 5.0, 5.0, np.nan]]),
        np.array([[1.0, 5.0, 4.0, 1.0]]),
        np.array([[0.5, 0.0, np.nan, 1.0]]),
    )
    assert found[0, 0] == 4
    assert found[0, 1] == 0
    assert np.isnan(found[0, 2:]).all()


def test_gradient_guard_by_hand():
    centre = np.array([[0.0, 0.0, 10.0, 0.0, np.nan]])
    scatter = np.full((1, 5), 3.0)
    assert gradient_guard(centre, scatter, 0.4).tolist() == [[3, 5, 5, 5, 3]]
    assert gradient_guard(centre, scatter, 0) is scatter


# ---------------------------------------------------------------- dual and level


def test_dual_outliers_by_hand():
    labels = np.array([[0, 1, 1, 2, 3]])
    frames, detected = np.array([[5, 5, 5, 2, 4]]), np.array([[1, 1, 3, 1, 2]])
    assert dual_outlier(labels, frames, detected, 2, 0.51).tolist() == [[0, -1, 1, -2, -3]]
    assert dual_outlier(labels, frames, detected, 2, 0.4).tolist() == [[0, -1, 1, 2, 3]]
    assert dual_outlier(labels, frames, detected, 0, 1.0).tolist() == [[0, 1, 1, 2, 3]]


def test_level_is_a_majority_vote_by_cluster():
    signed = np.array([[-1, -1, 1, 0], [2, 2, -2, 0], [3, -3, 0, 0]])
    assert level(signed, 0.5).tolist() == [[-1, -1, -1, 0], [2, 2, 2, 0], [3, -3, 0, 0]]
    assert level(signed, 0.0).tolist() == signed.tolist()
    assert level(np.zeros((2, 2), int), 0.5).tolist() == [[0, 0], [0, 0]]


@pytest.mark.parametrize("shape", [(1,), (2,), (5,), (40, 31), (40, 32)])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_median_and_scatter_of_images(shape, dtype):
    values = np.random.default_rng(7).normal(3.0, 2.0, shape).astype(dtype)
    assert order_statistics.median(values) == pytest.approx(float(np.median(values)), rel=1e-6)
    scatter = 1.4826 * np.median(np.abs(values - np.median(values)))
    assert order_statistics.robust_scatter(values) == pytest.approx(float(scatter), rel=1e-5)
