import numpy as np
import pytest
from pymopex.geometry import Box
from pymopex.overlap import (
    OverlapParams,
    PairOptions,
    PairSums,
    _connected,
    merge,
    pair_sums,
    solve_offsets,
    tile_sums,
)
from pymopex.overlap_kernels import Parts
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

EXACT = 1e-10  # image unit


def grid_of_frames(n_side, offsets, noise=0.0, seed=1, size=20, step=14, sigma=0.1, change=lambda *_: None):
    """Frames on a square grid, each overlapping its neighbours, as one tile; `change` gets values and uncertainties."""
    rng = np.random.default_rng(seed)
    boxes = [Box(step * x, step * y, size, size) for y in range(n_side) for x in range(n_side)]
    side = step * (n_side - 1) + size
    sky = rng.uniform(0, 5, (side, side))
    data = [
        (sky[box.slices] + offset + rng.normal(0, noise, box.shape)).astype("f8")
        for box, offset in zip(boxes, offsets, strict=True)
    ]
    ones = [np.ones(box.shape, "f4") for box in boxes]
    sigmas = [sigma * one for one in ones]
    change(data, sigmas)
    return Parts.build(Box(0, 0, side, side), boxes, data, ones, sigmas)


def solve(parts, how=None, *, before=None, **options):
    sums = pair_sums(parts, range(len(parts.start)), PairOptions(**options), before=before)
    return solve_offsets(len(parts.start), sums, how or OverlapParams())


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


def test_groups_are_numbered_by_their_first_frames():
    rng = np.random.default_rng(4)
    for n, links in ((1, 0), (30, 12), (60, 40), (200, 190)):
        first, second = rng.integers(0, n, (2, links))
        graph = coo_array((np.ones(links), (first, second)), shape=(n, n))
        assert (
            _connected(n, first, second).tolist() == connected_components(graph, directed=False)[1].tolist()
        )


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
    def hit(data, _):
        data[4].ravel()[::40] += 30

    parts = grid_of_frames(3, np.zeros(9), noise=0.1, change=hit)
    first = found = solve(parts)
    for _ in range(3):
        found = solve(parts, before=found.offsets, clip_sigma=4.0)
    assert np.abs(first.offsets).max() > 0.2
    assert np.abs(found.offsets).max() < 0.03


@pytest.mark.parametrize("size", [20, 60])  # all shared pixels are listed, or those near the limit
@pytest.mark.parametrize("once", [True, False])
def test_sums_follow_the_offsets_without_the_pixels(size, once):
    """The sums of a tile for other offsets and planes are those that its pixels give."""
    rng = np.random.default_rng(3)

    def hit(data, _):
        for image in data:
            image.ravel()[::37] += rng.uniform(0, 2, image.ravel()[::37].size)

    true = rng.normal(0, 1, 9)
    parts = grid_of_frames(3, true, noise=0.1, size=size, step=size // 2, change=hit)
    how = PairOptions(once, clip_sigma=4.0, moments=True)
    known, everything = (
        tile_sums(parts, range(9), how),
        pair_sums(parts, range(9), PairOptions(once, moments=True)),
    )
    for shift in (0.0, 0.01):
        planes = np.column_stack([-true + rng.normal(0, shift, 9), rng.normal(0, shift / 200, (9, 2))])
        found, expected = known.clipped(planes), pair_sums(parts, range(9), how, before=planes)
        assert expected.weight.sum() < 0.99 * everything.weight.sum()
        for name in ("first", "second", "weight", "difference", "moments", "tilts"):
            assert getattr(found, name) == pytest.approx(getattr(expected, name), rel=1e-12), name


def test_offsets_that_are_far_need_the_pixels_again():
    true = np.random.default_rng(3).normal(0, 1, 4)
    parts, how = grid_of_frames(2, true, noise=0.1, size=60, step=30), PairOptions(clip_sigma=4.0)
    known = tile_sums(parts, range(4), how)
    assert known.clipped(-true) is not None
    assert known.clipped(np.zeros(4)) is None
    again = tile_sums(parts, range(4), how, before=np.zeros(4))
    assert again.clipped(np.zeros(4)).weight.sum() < 0.1 * known.clipped(-true).weight.sum()


def test_of_too_many_pixels_none_is_kept_in_mind():
    true = np.random.default_rng(3).normal(0, 1, 4)
    parts, how = grid_of_frames(2, true, noise=0.1, size=60, step=30), PairOptions(clip_sigma=2.0, most=50)
    known = tile_sums(parts, range(4), how)
    assert known.clipped(-true) is None
    for margin in (known.next_margin, 0.125):
        again = tile_sums(parts, range(4), how, before=-true, margin=margin)
        assert again.clipped(-true).weight == pytest.approx(
            tile_sums(parts, range(4), PairOptions(clip_sigma=2.0)).clipped(-true).weight, rel=1e-12
        )
        assert again.clipped(-true + np.arange(4) * 1e-3) is None
        assert again.next_margin == 0


def test_tiles_add_up():
    true = np.random.default_rng(5).normal(0, 1, 4)
    whole = pair_sums(grid_of_frames(2, true), range(4))
    half = PairSums(whole.first, whole.second, whole.weight / 2, whole.difference / 2)
    both = merge([half, half])
    for name in ("first", "second", "weight", "difference"):
        assert getattr(both, name) == pytest.approx(getattr(whole, name))
    assert merge([]).first.size == 0


def test_without_uncertainties_the_noise_is_measured():
    parts = grid_of_frames(3, np.arange(9.0), noise=0.1)
    blind = parts._replace(sigma=np.zeros(0, "f4"))
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
        parts = Parts.build(whole, [whole] * n, [ones] * n, [ones] * n, [s * ones for s in sigma[:n]])
        sums = pair_sums(parts, range(n), PairOptions(once))
        assert sums.weight == pytest.approx(expected)
        assert pair_sums(parts, range(n), PairOptions(once, share=0.25)).weight == pytest.approx(
            np.array(expected) / 4
        )


def test_noise_that_counts_once_makes_better_offsets():
    """Frames that overlap four deep: smaller errors than with legacy weights, and true ones."""
    left, pulls = {True: [], False: []}, []
    for seed in range(12):
        true = np.random.default_rng(seed).normal(0, 0.05, 25)
        parts = grid_of_frames(5, true, noise=0.1, seed=seed, size=32, step=13)
        for once in left:
            found = solve(parts, OverlapParams(top=100, bottom=100), count_once=once)
            left[once].append(found.offsets + true - true.mean())
            if once:
                pulls.append(left[once][-1] / found.uncertainty)
    assert np.std(left[True]) < 0.97 * np.std(left[False])
    assert np.std(pulls) == pytest.approx(1, abs=0.1)


def test_values_without_an_error_do_not_count():
    def without_errors(_, sigmas):
        sigmas[3][:] = 0

    parts = grid_of_frames(2, np.zeros(4), change=without_errors)
    sums = pair_sums(parts, range(4))
    assert 3 not in sums.second
    assert np.isfinite(sums.weight).all()
