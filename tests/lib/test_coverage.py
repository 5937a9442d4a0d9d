import numpy as np
from pymopex.coverage import fixed_coverage


def test_the_rim_goes_and_the_inside_stays():
    fixed = fixed_coverage(np.ones((5, 6)), 0.95, 0.83)
    assert fixed.dtype == np.float32
    assert fixed[1:-1, 1:-1].tolist() == np.ones((3, 4)).tolist()
    assert fixed.sum() == 12


def test_single_pixels():
    coverage = np.ones((5, 5))
    coverage[2, 2] = 0.94
    fixed = fixed_coverage(coverage, 0.95, 0)
    assert fixed[2, 2] == 0
    assert fixed.sum() == 24
    assert fixed_coverage(coverage, 0.94, 0)[2, 2] == np.float32(0.94)


def test_the_block_counts_what_was_there_before():
    """A hole of coverage 0 takes an ninth of the block of its neighbours, not more after its own removal."""
    coverage = np.ones((7, 7))
    coverage[3, 3] = 0
    fixed = fixed_coverage(coverage, 0.95, 8 / 9)
    assert (fixed[2:5, 2:5] == coverage[2:5, 2:5]).all()
    coverage[3, 4] = 0
    fixed = fixed_coverage(coverage, 0.95, 8 / 9)
    assert fixed[3, 2] == 1  # touches one hole
    assert fixed[2, 3] == 0  # touches two


def test_zero_limits_change_nothing_but_missing_values():
    coverage = np.array([[0.2, np.nan], [0.0, 3.0]])
    np.testing.assert_array_equal(fixed_coverage(coverage, 0, 0), np.array([[0.2, 0], [0, 3]], "f4"))
