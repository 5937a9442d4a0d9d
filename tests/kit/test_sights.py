"""What a process keeps of frames: valid for one state, within its limit; places of sources that did not move stay."""

import numpy as np
import pytest
from pymopex.kit.sights import Kept, Places, _found_in, _joined


def test_what_is_kept_is_of_one_state():
    kept = Kept(2)
    assert kept.get("a", 1) is None
    assert kept.put("a", 1, "first") == "first"
    assert kept.get("a", 1) == "first"
    assert kept.get("a", 2) is None
    assert kept.last("a") == (1, "first")
    kept.put("a", 2, "second")
    assert kept.get("a", 1) is None
    assert kept.get("a", 2) == "second"


def test_what_was_not_used_for_longest_goes():
    kept = Kept(10.0)
    kept.put("a", 0, 1, 4.0)
    kept.put("b", 0, 2, 4.0)
    assert kept.get("a", 0) == 1
    kept.put("c", 0, 3, 4.0)
    assert [kept.get(key, 0) for key in "abc"] == [1, None, 3]
    kept.put("c", 0, 4, 1.0)  # in place of the old one
    kept.put("d", 0, 5, 5.0)
    assert [kept.get(key, 0) for key in "acd"] == [1, 4, 5]
    kept.put("e", 0, 6, 100.0)  # too large alone: the last one stays all the same
    assert [kept.get(key, 0) for key in "ade"] == [None, None, 6]


def test_sources_that_did_not_move_are_found_again():
    ra, dec = np.array([3.0, 1.0, 2.0]), np.array([0.0, 0.1, 0.2])
    nothing = np.zeros((3, 1))
    before = Places(np.array([4, 5, 9]), ra, dec, ra, dec, nothing, ra, nothing, nothing)
    now_ra, now_dec = np.array([1.0, 2.0, 2.5, 3.0, 7.0]), np.array([0.1, 0.3, 0.2, 0.0, 0.0])
    old = _found_in(before, now_ra, now_dec)
    assert old.tolist() == [1, -1, -1, 0, -1]
    new = np.flatnonzero(old < 0)
    joined = _joined(np.array([10.0, 11.0, 12.0]), old, new, np.array([20.0, 21.0, 22.0]))
    assert joined.tolist() == [11.0, 20.0, 21.0, 10.0, 22.0]


@pytest.mark.parametrize("n", [0, 2])
def test_of_no_source_nothing_is_found(n):
    none = np.zeros(0)
    before = Places(none, none, none, none, none, none, none, none, none)
    assert _found_in(before, np.ones(n), np.ones(n)).tolist() == [-1] * n
