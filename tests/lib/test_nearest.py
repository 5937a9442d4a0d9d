import numpy as np
import pytest
from pymopex.nearest import filled_from_nearest


def plainly(mesh, count):
    """Fill as one would write it down."""
    known, out = np.argwhere(~np.isnan(mesh)), mesh.copy()
    for y, x in np.argwhere(np.isnan(mesh)):
        squares = ((known - [y, x]) ** 2).sum(axis=1)
        near = squares <= np.sort(squares)[min(count, len(squares)) - 1]
        weight = 1 / np.sqrt(squares[near])
        out[y, x] = (weight * mesh[tuple(known[near].T)]).sum() / weight.sum()
    return out


@pytest.mark.parametrize("count", [1, 3, 10])
@pytest.mark.parametrize("missing", [0.1, 0.6, 0.95])
def test_missing_values_are_those_of_the_definition(missing, count):
    rng = np.random.default_rng(1)
    for shape in ((1, 1), (1, 9), (7, 1), (5, 6), (13, 11), (9, 24)):
        mesh = rng.normal(size=shape)
        mesh[rng.uniform(size=shape) < missing] = np.nan
        mesh[shape[0] // 2, shape[1] // 3] = 4.0
        np.testing.assert_allclose(filled_from_nearest(mesh, count), plainly(mesh, count), rtol=1e-12)


def test_a_mesh_without_gaps_is_given_back():
    mesh = np.arange(12.0).reshape(3, 4)
    assert filled_from_nearest(mesh, 10) is mesh


def test_equally_near_values_count_all():
    mesh = np.full((3, 3), np.nan)
    mesh[0, 1], mesh[1, 0], mesh[1, 2], mesh[2, 1] = 1, 2, 3, 6
    assert filled_from_nearest(mesh, 1)[1, 1] == pytest.approx(3)
