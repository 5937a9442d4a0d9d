"""Box statistics by sorting networks are those by selection; networks sort."""

import numpy as np
import pytest
from pymopex import box_outliers
from pymopex.geometry import Box
from pymopex.sort_networks import apply, merging, sorting
from pymopex.stack import Stack


@pytest.mark.parametrize("n", [*range(1, 14), 37])
def test_networks_sort(n):
    rows = np.random.default_rng(n).integers(0, 9, (3 * n, 40)).astype("f4")
    for first in range(0, 3 * n, n):
        pairs, order = sorting(n)
        part = rows[first : first + n]
        wanted = np.sort(part, axis=0)
        apply(pairs, part, 40)
        part[:] = part[order]
        np.testing.assert_array_equal(part, wanted)
    wanted = np.sort(rows, axis=0)
    pairs, order = merging(n, 3)
    apply(pairs, rows, 40)
    np.testing.assert_array_equal(rows[order], wanted)


def stack(depth: float, shape: tuple[int, int]) -> Stack:
    """Poisson numbers of values at the pixels, with ties."""
    rng = np.random.default_rng(3)
    first = np.concatenate([[0], np.cumsum(rng.poisson(depth, shape[0] * shape[1]))])
    values = np.round(rng.normal(size=first[-1]), 1).astype("f4")
    sigma = (0.1 * rng.random(first[-1])).astype("f4")
    ones = np.ones(first[-1], "f4")
    return Stack(*shape, first, ones.astype("i4"), values, ones, sigma, 1)


@pytest.mark.parametrize("box", [(3, 3, 1), (5, 2, 0), (2, 4, 2), (1, 1, 0)])
@pytest.mark.parametrize("depth", [0.4, 4, 14])
def test_networks_find_what_selection_finds(monkeypatch, box, depth):
    values, core, reach = stack(depth, (9, 150)), Box(1, 1, 147, 7), Box(0, 0, 150, 9)
    size = {"box_x": box[0], "box_y": box[1], "bias": box[2], "core": core, "reach": reach}
    found = box_outliers.box_statistics(values, **size)
    monkeypatch.setattr(box_outliers, "LONGEST", 0)
    np.testing.assert_array_equal(found, box_outliers.box_statistics(values, **size))
