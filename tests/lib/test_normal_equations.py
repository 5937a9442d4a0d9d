"""Steps and covariances of normal equations, against plain linear algebra."""

import numpy as np
import pytest
from pymopex.normal_equations import covariance, solve

RNG = np.random.default_rng(5)


def equations(m):
    a = RNG.normal(size=(3 * m, m)) * 10.0 ** RNG.integers(-6, 6, m)
    return a.T @ a


@pytest.mark.parametrize("m", [1, 4, 16])
def test_covariance_is_the_inverse_of_the_free_part(m):
    matrix = equations(m)
    free = RNG.uniform(size=m) < 0.7
    free[0] = True
    want = np.zeros((m, m))
    want[np.ix_(free, free)] = np.linalg.inv(matrix[np.ix_(free, free)])
    got = covariance(matrix, free)
    units = np.sqrt(np.diag(matrix))
    np.testing.assert_allclose(
        got * units * units[:, None], want * units * units[:, None], rtol=1e-9, atol=1e-9
    )


def test_singular_equations_have_no_covariance():
    matrix = np.ones((3, 3))
    matrix[2] = matrix[:, 2] = 0.0
    free = np.array([True, True, False])
    got = covariance(matrix, free)
    assert np.isnan(got[:2, :2]).all()
    assert (got[2] == 0).all()
    assert (got[:, 2] == 0).all()
    assert not solve(matrix, np.ones(3), free, 0.0, np.empty(3))
    assert np.isnan(covariance(np.array([[0.0]]), np.array([True]))).all()


def test_step_solves_the_free_part_and_damping_shortens_it():
    matrix, vector = equations(5), RNG.normal(size=5)
    free = np.array([True, False, True, True, False])
    step, short = np.empty(5), np.empty(5)
    assert solve(matrix, vector, free, 0.0, step)
    np.testing.assert_allclose(
        step[free], np.linalg.solve(matrix[np.ix_(free, free)], vector[free]), rtol=1e-8
    )
    assert (step[~free] == 0).all()
    assert solve(matrix, vector, free, 10.0, short)
    units = np.sqrt(np.diag(matrix))
    assert np.linalg.norm(short * units) < np.linalg.norm(step * units)
