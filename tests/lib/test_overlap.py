import numpy as np
import pytest
from pymopex.geometry import Box
from pymopex.overlap import OverlapParams, PairOptions, PairSums, merge, pair_sums, solve_offsets
from pymopex.stack import Stack

EXACT = 1e-10  # image unit


def grid_of_frames(n_side, offsets, noise=0.0, seed=1, size=20, step=14, sigma=0.1):
    """Frames on a square grid, each overlapping its neighbours, as one stack over the whole."""
    rng = np.random.default_rng(seed)
    boxes = [Box(step * x, step * y, size, size) for y in range(n_side) for x in range(n_side)]
    side = step * (n_side - 1) + size
    sky = rng.uniform(0, 5, (side, side))
    data = [
        (sky[box.slices] + offset + rng.normal(0, noise, box.shape)).astype("f8")
        for box, offset in zip(boxes, offsets, strict=True)
    ]
    ones = [np.ones(box.shape, "f4") for box in boxes]
    return Stack.build(Box(0, 0, side, side), boxes, data, ones, [sigma * one for one in ones])


def solve(stack, how=None, *, before=None, **options):
    sums = pair_sums(stack, range(stack.n_layers), PairOptions(**options), before=before)
    return solve_offsets(stack.n_layers, sums, how or OverlapParams())


def test_two_frames_by_hand():
    pairs = PairSums(np.array([0]), np.array([1]), np.array([4.0]), np.array([8.0]))  # the second is 2 higher
    found = solve_offsets(3, pairs, OverlapParams())
    assert found.offsets == pytest.approx([1, -1, 0])
    assert found.group.tolist() == [1, 1, 2]
    assert found.bad.tolist() == [False, False, True]
    assert found.uncertainty[:2] == pytest.approx([0.25, 0.25])  # half of the error 1/2 of the difference
    assert np.isnan(found.uncertainty[2])


@pytest.mark.parametrize("sparse", [False, True])
def test_offsets_come_back(sparse):
    true = np.random.default_rng(2).normal(0, 0.02, 25)
    found = solve(grid_of_frames(5, true), OverlapParams(top=100, bottom=100, sparse=sparse))
    assert found.offsets == pytest.approx(-(true - true.mean()), abs=1e-6)


def test_the_error_is_that_of_the_overlap_areas():
    """Pulls over many realisations have unit width."""
    pulls = []
    for seed in range(12):
        true = np.random.default_rng(seed).normal(0, 0.05, 16)
        found = solve(grid_of_frames(4, true, noise=0.1, seed=seed), OverlapParams(top=100, bottom=100))
        pulls.append((found.offsets + true - true.mean()) / found.uncertainty)
    assert np.std(pulls) == pytest.approx(1, abs=0.15)


def test_groups_that_do_not_connect_are_solved_apart():
    pairs = PairSums(np.array([0, 2]), np.array([1, 3]), np.array([1.0, 1.0]), np.array([2.0, 6.0]))
    found = solve_offsets(4, pairs, OverlapParams())
    assert found.offsets == pytest.approx([1, -1, 3, -3])
    assert found.group.tolist() == [1, 1, 2, 2]


def test_an_outlying_offset_does_not_set_the_level():
    true = np.zeros(25)
    true[7] = 10.0
    found = solve(grid_of_frames(5, true))
    assert found.outlier.nonzero()[0].tolist() == [7]
    assert np.delete(found.offsets, 7) == pytest.approx(np.zeros(24), abs=1e-5)
    assert found.offsets[7] == pytest.approx(-10, abs=1e-5)
    kept = solve(grid_of_frames(5, true), OverlapParams(min_img_num=26))
    assert not kept.outlier.any()
    assert kept.offsets.mean() == pytest.approx(0, abs=EXACT)


def test_damping_shrinks_the_offsets():
    true = np.random.default_rng(2).normal(0, 1, 9)
    plain = solve(grid_of_frames(3, true))
    for sparse in (False, True):
        damped = solve(grid_of_frames(3, true), OverlapParams(weight=1, sparse=sparse))
        assert 0 < damped.offsets.std() < 0.9 * plain.offsets.std()


def test_clipping_by_the_first_solution_leaves_hits_out():
    true = np.zeros(9)
    stack = grid_of_frames(3, true, noise=0.1)
    stack.value[stack.layer == 4] += np.where(np.arange((stack.layer == 4).sum()) % 40 == 0, 30, 0)
    first = found = solve(stack)
    for _ in range(3):
        found = solve(stack, before=found.offsets, clip_sigma=4.0)
    assert np.abs(first.offsets).max() > 0.2
    assert np.abs(found.offsets).max() < 0.03


def test_tiles_add_up():
    true = np.random.default_rng(5).normal(0, 1, 4)
    whole = pair_sums(grid_of_frames(2, true), range(4))
    half = PairSums(whole.first, whole.second, whole.weight / 2, whole.difference / 2)
    both = merge([half, half])
    for name in ("first", "second", "weight", "difference"):
        assert getattr(both, name) == pytest.approx(getattr(whole, name))
    assert merge([]).first.size == 0


def test_without_uncertainties_the_noise_is_measured():
    stack = grid_of_frames(3, np.arange(9.0), noise=0.1)
    blind = stack._replace(sigma=np.zeros(0, "f4"))
    found = solve(blind, OverlapParams(top=100, bottom=100))
    assert found.offsets == pytest.approx(4 - np.arange(9.0), abs=0.05)


def test_no_frames_overlap():
    found = solve_offsets(3, merge([]), OverlapParams())
    assert found.bad.all()
    assert not found.offsets.any()


def test_weights_of_a_pixel_by_hand():
    """Three frames at one pixel: w_m w_n / sum(w), or the legacy weights; two frames: both are the same."""
    whole, ones = Box(0, 0, 1, 1), np.ones((1, 1), "f4")
    sigma = [1.0, 1.0, 2.0]
    for n, once, expected in (
        (3, True, [1 / 2.25, 0.25 / 2.25, 0.25 / 2.25]),
        (3, False, [1 / 2, 1 / 5, 1 / 5]),
        (2, True, [1 / 2]),
        (2, False, [1 / 2]),
    ):
        stack = Stack.build(whole, [whole] * n, [ones] * n, [ones] * n, [s * ones for s in sigma[:n]])
        sums = pair_sums(stack, range(n), PairOptions(once))
        assert sums.weight == pytest.approx(expected)
        assert pair_sums(stack, range(n), PairOptions(once, share=0.25)).weight == pytest.approx(
            np.array(expected) / 4
        )


def test_noise_that_counts_once_makes_better_offsets():
    """Frames that overlap four deep: smaller errors than with legacy weights, and true ones."""
    left, pulls = {True: [], False: []}, []
    for seed in range(12):
        true = np.random.default_rng(seed).normal(0, 0.05, 25)
        stack = grid_of_frames(5, true, noise=0.1, seed=seed, size=32, step=13)
        for once in left:
            found = solve(stack, OverlapParams(top=100, bottom=100), count_once=once)
            left[once].append(found.offsets + true - true.mean())
            if once:
                pulls.append(left[once][-1] / found.uncertainty)
    assert np.std(left[True]) < 0.97 * np.std(left[False])
    assert np.std(pulls) == pytest.approx(1, abs=0.1)


def test_values_without_an_error_do_not_count():
    stack = grid_of_frames(2, np.zeros(4))
    stack.sigma[stack.layer == 3] = 0
    sums = pair_sums(stack, range(4))
    assert 3 not in sums.second
    assert np.isfinite(sums.weight).all()
