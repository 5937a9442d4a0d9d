import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymopex.geometry import Box
from pymopex.tiling import tiles


def test_example_of_the_guide():
    found = tiles(4450, 1024, 500, 500)
    assert len(found) == 18
    assert [b.nx for b in found[:9]] == [494] * 8 + [498]
    assert {b.ny for b in found} == {512}


def test_order_is_row_by_row():
    assert tiles(5, 4, 2, 2) == [Box(0, 0, 2, 2), Box(2, 0, 3, 2), Box(0, 2, 2, 2), Box(2, 2, 3, 2)]


@pytest.mark.parametrize("length,count", [(500, 1), (501, 1), (750, 1), (751, 2), (1250, 2), (1251, 3)])
def test_half_a_tile_more_makes_another(length, count):
    assert len(tiles(length, 1, 500, 500)) == count


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 30), st.integers(1, 30))
def test_every_pixel_belongs_to_one_tile(naxis1, naxis2, max_x, max_y):
    seen = np.zeros((naxis2, naxis1), dtype=int)
    for box in tiles(naxis1, naxis2, max_x, max_y):
        assert min(box.shape) > 0
        seen[box.slices] += 1
    assert (seen == 1).all()


@pytest.mark.parametrize("sizes", [(0, 5, 5, 5), (5, 0, 5, 5), (5, 5, 0, 5), (5, 5, 5, -1)])
def test_sizes_must_be_positive(sizes):
    with pytest.raises(ValueError, match="at least 1"):
        tiles(*sizes)
