import numpy as np
import pytest
from pymopex.clipping import clipped_statistics, workspace

RELATIVE = 1e-9  # of the standard deviation


def plainly(values, clip=3.0, rounds=10):
    """Clip as one would write it down."""
    for _ in range(rounds):
        kept = values[np.abs(values - np.median(values)) <= clip * values.std()]
        if kept.size in (values.size, 0):
            break
        values = kept
    return values


def samples(rng):
    """Samples of all sizes: normal, with stars, on few numbers, with a hole in the middle, one far off."""
    for n in (1, 2, 3, 7, 60, 65, 500, 3000):
        normal = rng.normal(20, 3, n)
        yield normal
        yield np.where(rng.uniform(size=n) < 0.1, normal + rng.exponential(1e4, n), normal)
        yield np.round(normal)
        yield np.where(rng.uniform(size=n) < 0.9, 3.0, normal)
        yield np.where(rng.uniform(size=n) < 0.5, 1e8, normal)
        yield np.append(normal[1:], -1e12)
        yield rng.pareto(1, n)
        yield np.full(n, 0.1)


def test_statistics_are_those_of_clipping_the_values_themselves():
    work = workspace(3000)
    for values in samples(np.random.default_rng(1)):
        work.values[: values.size] = values
        n, mean, median, deviation = clipped_statistics(work, values.size, 3.0, 10)
        expected = plainly(values)
        assert n == expected.size
        assert median == np.median(expected)
        tolerance = RELATIVE * expected.std() + 1e-13 * np.abs(values).max()
        assert mean == pytest.approx(expected.mean(), abs=tolerance)
        assert deviation == pytest.approx(expected.std(), abs=tolerance)


@pytest.mark.parametrize("rounds", [0, 1, 2])
def test_rounds_are_counted(rounds):
    values = np.random.default_rng(2).pareto(1, 400)
    work = workspace(400)
    work.values[:] = values
    expected = plainly(values, 2.0, rounds)
    n, mean, _, _ = clipped_statistics(work, 400, 2.0, rounds)
    assert n == expected.size
    assert mean == pytest.approx(expected.mean())
