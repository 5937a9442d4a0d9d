import numpy as np
import pytest
from pymopex.grouping import blocks, group_by_distance, group_by_label


def test_chains_are_one_group():
    x = np.array([0.0, 1.0, 2.0, 10.0, 10.5])
    found = group_by_distance(x, np.zeros(5), 1.1, 12)
    assert found.number.tolist() == [0, 0, 0, 1, 1]
    assert found.n_split == 0
    assert [m.tolist() for m in found.members] == [[0, 1, 2], [3, 4]]


def test_large_groups_are_cut_and_counted():
    x = np.arange(20.0)
    found = group_by_distance(x, np.zeros(20), 1.5, 6)
    assert found.n_split == 1
    assert max(np.bincount(found.number)) <= 6
    assert (np.diff(found.number) >= 0).all()


def test_labels():
    found = group_by_label(np.arange(4.0), np.zeros(4), np.array([7, 3, 7, 3]), 12)
    assert found.number.tolist() == [0, 1, 0, 1]


@pytest.mark.parametrize("count", [1, 3, 100])
def test_blocks_hold_every_source_once_and_groups_whole(count):
    rng = np.random.default_rng(1)
    x, y = rng.uniform(0, 100, (2, 60))
    groups = group_by_distance(x, y, 5, 4)
    found = blocks(x, y, groups.number, count)
    assert sorted(np.concatenate(found).tolist()) == list(range(60))
    for block in found:
        inside = set(block.tolist())
        for members in groups.members:
            assert inside.isdisjoint(members.tolist()) or inside.issuperset(members.tolist())


def test_no_sources():
    empty = np.zeros(0)
    assert group_by_distance(empty, empty, 1, 5).members == []
    assert blocks(empty, empty, np.zeros(0, int), 4) == []
