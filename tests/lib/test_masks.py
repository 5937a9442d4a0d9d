import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymopex.masks import KINDS, bad_pixels, bit_names, recommended_pattern, set_bit

SHAPE = (2, 2)


@pytest.mark.parametrize(
    "kind, pattern",
    [("imask", 32520), ("dmask", 32544), ("pmask", 32767), ("rmask", 15), ("mips_pmask", 16640)],
)
def test_recommended_patterns(kind, pattern):
    assert recommended_pattern(kind) == pattern


def test_recommended_patterns_are_the_bits_they_are_said_to_be():
    assert sum(1 << bit for bit in (3, *range(8, 15))) == recommended_pattern("imask")
    assert sum(1 << bit for bit in (5, *range(8, 15))) == recommended_pattern("dmask")
    assert sum(1 << bit for bit in KINDS["rmask"].bits) == recommended_pattern("rmask")


def test_bit_names():
    assert bit_names("imask", 8 + 512) == ["3 stray light", "9 cosmic ray"]
    assert bit_names("pmask", 1 << 20) == ["20 without a known meaning"]
    assert bit_names("rmask", 0) == []


def test_wrong_kind_and_pattern():
    with pytest.raises(ValueError, match="'bmask' is not one of imask"):
        recommended_pattern("bmask")
    with pytest.raises(ValueError, match="negative"):
        bit_names("imask", -1)


def test_no_mask_no_bad_pixel():
    assert not bad_pixels(SHAPE).any()
    assert not bad_pixels(SHAPE, dmask=np.full(SHAPE, 8)).any()


def test_each_mask_with_its_pattern():
    bad = bad_pixels(
        SHAPE,
        data=np.array([[1, 1], [1, np.nan]], np.float32),
        dmask=np.array([[8, 4], [0, 0]], np.int16),
        dmask_pattern=8,
        pmask=np.array([[0, 2], [1, 0]], np.int32),
        pmask_pattern=2,
        rmask=np.array([[0, 0], [4, 0]], np.uint8),
        rmask_pattern=8,
    )
    assert bad.tolist() == [[True, True], [False, True]]


def test_infinite_data_are_bad():
    assert bad_pixels((1, 2), data=np.array([[np.inf, 0.0]])).tolist() == [[True, False]]


def test_sign_bit_of_a_short_integer():
    mask = np.array([[-32768, 0]], np.int16)
    assert bad_pixels((1, 2), dmask=mask, dmask_pattern=32768).tolist() == [[True, False]]
    assert not bad_pixels((1, 2), dmask=mask, dmask_pattern=32520).any()


def test_float_mask():
    mask = np.array([[8.0, 16.0, np.nan, 1e30]])
    assert bad_pixels((1, 4), dmask=mask, dmask_pattern=8).tolist() == [[True, False, True, True]]


def test_big_endian_mask():
    assert bad_pixels((1, 1), dmask=np.array([[512]], ">i2"), dmask_pattern=512).all()


def test_other_shape():
    with pytest.raises(ValueError, match=r"pmask has shape \(1, 2\); the frame has \(2, 2\)"):
        bad_pixels(SHAPE, pmask=np.zeros((1, 2), int), pmask_pattern=1)


@given(st.integers(0, 32767), st.integers(0, 32767))
def test_a_pixel_is_bad_if_a_bit_is_common(value, pattern):
    for kind in (np.int16, np.int32, np.float32):
        found = bad_pixels((1, 1), dmask=np.full((1, 1), value, kind), dmask_pattern=pattern)
        assert bool(found[0, 0]) == (value & pattern != 0)


@pytest.mark.parametrize(
    ("dtype", "bit", "result"),
    [
        ("i2", 9, "i2"),
        ("i2", 14, "i2"),
        ("i2", 15, "i4"),
        ("u2", 15, "u2"),
        ("u1", 9, "i2"),
        ("u1", 3, "u1"),
        ("i4", 9, "i4"),
        ("f4", 9, "f4"),
    ],
)
def test_set_bit_adds_to_what_is_there(dtype, bit, result):
    mask = np.array([[0, 1], [6, 0]], dtype)
    changed = set_bit(mask, np.array([[True, True], [False, False]]), bit)
    assert changed.dtype == result
    assert changed.tolist() == [[1 << bit, 1 | 1 << bit], [6, 0]]
    assert mask.tolist() == [[0, 1], [6, 0]]


def test_set_bit_twice_is_set_bit_once():
    where = np.array([[True, False]])
    once = set_bit(np.array([[512, 4]], "i2"), where, 9)
    assert once.tolist() == [[512, 4]]


def test_set_bit_leaves_alone_what_is_no_integer():
    changed = set_bit(np.array([[np.nan, 2.0]], "f4"), np.array([[True, True]]), 9)
    assert np.isnan(changed[0, 0])
    assert changed[0, 1] == 514


def test_set_bit_wants_one_shape():
    with pytest.raises(ValueError, match="where has shape"):
        set_bit(np.zeros((2, 2), "i2"), np.zeros((1, 2), bool), 9)
