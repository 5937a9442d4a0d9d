"""Detections of tiles with margins, put together."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymopex.geometry import Box
from pymopex.tile_merge import grown, merge

MOSAIC = Box(0, 0, 100, 60)
TILES = [Box(0, 0, 50, 60), Box(50, 0, 50, 60)]


def found(*tables):
    """Positions and blends of each tile, from rows (x, y, blend)."""
    arrays = [np.array(rows, dtype=float).reshape(-1, 3) for rows in tables]
    return [[a[:, k] for a in arrays] for k in (0, 1)] + [[a[:, 2].astype(int) for a in arrays]]


def test_margin_ends_with_the_mosaic():
    assert grown(TILES[0], 10, MOSAIC) == Box(0, 0, 60, 60)
    assert grown(TILES[1], 10, MOSAIC) == Box(40, 0, 60, 60)
    with pytest.raises(ValueError, match="not on"):
        grown(Box(200, 0, 5, 5), 1, MOSAIC)


def test_a_source_in_both_margins_is_listed_by_the_tile_that_holds_it():
    both = [(48, 20, 1), (52, 30, 2)]
    merged = merge(TILES, *found(both, both))
    assert merged.rows.tolist() == [0, 3]
    assert merged.blend_id.tolist() == [1, 2]
    assert merged.blend_size.tolist() == [1, 1]


@pytest.mark.parametrize(("left", "right", "row"), [(49.6, 49.3, 0), (49.3, 49.6, 0), (49.45, 49.8, 1)])
def test_a_source_that_tiles_place_differently_is_listed_once(left, right, row):
    """Placed in the other tile by each, in its own by each (the deeper wins), and in one tile by both."""
    merged = merge(TILES, *found([(left, 20, 1)], [(right, 20, 1)]))
    assert merged.rows.tolist() == [row]


def test_a_faint_source_beyond_the_border_is_left_to_its_own_tile():
    merged = merge(TILES, *found([(49.7, 20, 1)], []))
    assert merged.rows.tolist() == []


def test_a_blend_on_the_border_is_one_blend():
    rows = [(45, 20, 7), (48, 20, 7), (52, 20, 7), (20, 5, 3)]
    other = [(48, 20, 1), (52, 20, 1), (90, 5, 2)]
    merged = merge(TILES, *found(rows, other))
    assert merged.rows.tolist() == [0, 1, 3, 5, 6]
    assert merged.blend_id.tolist() == [1, 1, 2, 1, 3]
    assert merged.blend_size.tolist() == [3, 3, 1, 3, 1]


def test_nothing_found():
    merged = merge(TILES, *found([], []))
    assert len(merged.rows) == len(merged.blend_id) == len(merged.blend_size) == 0
    with pytest.raises(ValueError, match="one length"):
        merge(TILES, [np.zeros(1)], [np.zeros(1)], [np.ones(1, int)])


@given(
    st.lists(st.tuples(st.integers(0, 33), st.integers(0, 19)), unique=True, max_size=30), st.integers(10, 90)
)
def test_same_detections_on_any_tiles_are_listed_once(cells, cut):
    """Sources three pixels apart, wherever the border lies."""
    rows = np.array([(3 * x + 0.3, 3 * y + 0.4, i + 1) for i, (x, y) in enumerate(cells)]).reshape(-1, 3)
    tiles = [Box(0, 0, cut, 60), Box(cut, 0, 100 - cut, 60)]
    tables = [rows[rows[:, 0] < cut + 9.5], rows[rows[:, 0] >= cut - 10.5]]
    x, y, blend = found(*tables)
    merged = merge(tiles, x, y, blend)
    listed = np.column_stack([np.concatenate(x), np.concatenate(y)])[merged.rows]
    assert sorted(map(tuple, listed)) == sorted(map(tuple, rows[:, :2]))
    assert sorted(merged.blend_id) == list(range(1, len(rows) + 1))
