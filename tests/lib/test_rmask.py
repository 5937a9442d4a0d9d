import numpy as np
import pytest
from pymopex.rmask import (
    BOX,
    DUAL,
    RADHIT,
    TEMPORAL,
    RMaskParams,
    box_flags,
    compose_rmask,
    dual_flags,
    temporal_flags,
)

HOW = RMaskParams(0.5, 4, 5, 3, 10, True, 12, 6, 7, 2, 3)


def row(*values):
    return np.array([values])


def test_temporal_cuts_and_coverage():
    deviation = row(-4.5, -3.9, 4.9, 5.1, np.nan, 20)
    assert temporal_flags(deviation, row(*[4] * 6), None, HOW).tolist() == [
        [True, False, False, True, False, True]
    ]
    assert not temporal_flags(deviation, row(*[2.4] * 6), None, HOW).any()
    assert temporal_flags(deviation, row(*[2.6] * 6), None, HOW)[0, 0]


def test_inside_sources_the_gentler_cut_counts():
    deviation, sources = row(11.0, 13.0, -13.0, 11.0), row(True, True, True, False)
    assert temporal_flags(deviation, row(*[4] * 4), sources, HOW).tolist() == [[False, True, True, True]]
    assert box_flags(deviation, row(*[4] * 4), sources, HOW).tolist() == [[False, True, True, True]]


def test_box_has_its_own_cuts():
    assert box_flags(row(-6.1, 6.5, 7.1), row(2, 2, 2), None, HOW).tolist() == [[True, False, True]]
    assert not box_flags(row(50), row(1), None, HOW).any()


def test_dual_outliers_need_low_coverage_and_confirmation():
    levelled = row(-1, -1, 1, -1)
    assert dual_flags(levelled, row(4, 11, 4, 4), HOW).tolist() == [[True, False, False, True]]
    assert dual_flags(levelled, row(4, 4, 4, 4), HOW, row(2.9, 3.1, 9, np.nan)).tolist() == [
        [False, True, False, False]
    ]


def test_the_mask_is_the_sum_of_the_bits_above_the_fraction():
    temporal, dual, box = row(0.5, 0.51, 0.9), row(0, 0, 0.6), row(1, 0, 0.2)
    mask = compose_rmask(row(True, False, False), temporal, dual, box, 0.5, shape=(1, 3))
    assert mask.dtype == np.uint8
    assert mask.tolist() == [[RADHIT + BOX, TEMPORAL, TEMPORAL + DUAL]]
    assert compose_rmask(None, None, None, None, 0.5, shape=(1, 2)).tolist() == [[0, 0]]


def test_shapes_are_checked():
    with pytest.raises(ValueError, match=r"shape \(1, 3\) for a frame of shape \(2, 3\)"):
        compose_rmask(None, np.zeros((1, 3)), None, None, 0.5, shape=(2, 3))
