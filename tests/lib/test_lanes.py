"""Eight numbers at a time, against numpy, of both kinds and at places that are not aligned."""

import numba
import numpy as np
import pytest
from pymopex.lanes import LANES, load, same, store, times, times_plus, total


@numba.njit
def _work(a, b, out, i, j, k, factor):
    one, other = load(a, i), load(b, j)
    store(out, k, times_plus(one, other, times(same(factor), one)))
    return total(one)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_eight_numbers_are_read_combined_summed_and_written(dtype):
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=(2, 40)).astype(dtype)
    out, factor = np.zeros(40, dtype), dtype(1.5)
    for i, j, k in ((0, 0, 0), (3, 17, 5), (32, 1, 31)):
        out[:] = 0
        summed = _work(a, b, out, i, j, k, factor)
        expected = a[i : i + LANES] * b[j : j + LANES] + factor * a[i : i + LANES]
        np.testing.assert_allclose(out[k : k + LANES], expected, rtol=1e-5 if dtype == np.float32 else 1e-13)
        assert np.count_nonzero(out) == LANES  # nothing else is touched
        assert summed == pytest.approx(a[i : i + LANES].sum(), rel=1e-4, abs=1e-5)
