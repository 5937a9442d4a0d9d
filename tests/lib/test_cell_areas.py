"""Areas of quadrilaterals in the cells of a grid, against polygons that are clipped one by one."""

import numpy as np
import pytest
from pymopex.cell_areas import cell_areas, load_row, workspace

SINGLE, DOUBLE = 3e-7, 1e-13  # of a cell: error of areas in single and in double precision


def clipped(points, axis, line, above):
    """Cut what is beyond a line off a polygon."""
    out = []
    for a, b in zip(points, np.roll(points, -1, axis=0), strict=True):
        inside = [(p[axis] >= line) == above for p in (a, b)]
        if inside[0]:
            out.append(a)
        if inside[0] != inside[1]:
            out.append(a + (line - a[axis]) / (b[axis] - a[axis]) * (b - a))
    return np.array(out).reshape(-1, 2)


def area(points, column, row):
    """Area of a polygon in the cell from (column, row) to (column + 1, row + 1)."""
    for axis, line in ((0, column), (1, row)):
        points = clipped(clipped(points, axis, line, True), axis, line + 1, False)
    x, y = points.T
    return 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) if len(points) > 2 else 0.0


def quadrilaterals(n, size, seed):
    """Irregular quadrilaterals, turned by any angle, some the other way round: shape (n, 4, 2)."""
    rng = np.random.default_rng(seed)
    square = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * size / 2
    turn = rng.uniform(0, 2 * np.pi, n)
    matrix = np.moveaxis(np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]), 2, 0)
    corners = np.einsum("nij,kj->nki", matrix, square) + rng.normal(0, size / 30, (n, 4, 2))
    corners[::3] = corners[::3, ::-1]
    return corners + rng.uniform(5, 9, (n, 1, 2))


def areas_of(quads, span, *, small=False):
    """First cell and areas, shape (n, rows, columns), of quadrilaterals that share no corner."""
    n = len(quads)
    work = workspace(span, n, 2 * n, small=small)
    low, high = quads[:, :2].reshape(2 * n, 2).T.copy(), quads[:, [3, 2]].reshape(2 * n, 2).T.copy()
    load_row(work, (low, high), 2, 0, n)
    cell_areas(work, n)
    return work.first[:, :n].copy(), work.areas[:, :n].T.reshape(n, span[1], span[0]).copy()


@pytest.mark.parametrize(
    ("size", "span", "small", "error"),
    [(0.5, (2, 2), False, SINGLE), (0.5, (2, 2), True, DOUBLE), (0.5, (3, 3), False, SINGLE)]
    + [(1.0, (3, 3), False, SINGLE), (2.2, (5, 5), False, DOUBLE), (1.4, (3, 4), True, DOUBLE)],
)
def test_areas_are_those_of_clipped_polygons(size, span, small, error):
    quads = quadrilaterals(200, size, 3)
    wide = np.ptp(quads, axis=1) + 1 <= np.array(span)
    quads = quads[wide.all(axis=1)]
    assert len(quads) > 50
    first, found = areas_of(quads, span, small=small)
    assert np.array_equal(first.T, np.floor(quads.min(axis=1)))
    for (i0, j0), quad, one in zip(first.T, quads, found, strict=True):
        expected = [[area(quad, i0 + k, j0 + m) for k in range(span[0])] for m in range(span[1])]
        assert one == pytest.approx(np.array(expected), rel=0, abs=error * span[0] * span[1])


def test_edges_on_the_lines_of_the_grid():
    """Rounding may put the corners of a pixel a hair beside the lines; degenerate ones have no area."""
    square = np.array([(3.0, 4.0), (4.0, 4.0), (4.0, 5.0), (3.0, 5.0)])
    moved = [square + shift for shift in (0.0, 1e-39, 1e-15, -1e-15, 1e-9)]
    tiny = [np.full((4, 2), 3.25), square * [0, 1] + [3.5, 0]]
    for span in ((2, 2), (3, 3)):
        first, found = areas_of(np.array([*moved, *tiny]), span)
        assert np.isfinite(found).all()
        assert found[: len(moved)].sum(axis=(1, 2)) == pytest.approx(1.0, abs=1e-6)
        assert (found[len(moved) :] == 0).all()
        assert found[0, 0, 0] == 1.0
        assert first[:, 0].tolist() == [3, 4]


def test_what_is_next_to_nothing_counts_as_none():
    quad = np.array([[(0.5, 0.5), (1.0 + 1e-8, 0.5), (1.0 + 1e-8, 0.9), (0.5, 0.9)]])
    _, found = areas_of(quad, (2, 2))
    assert found[0, 0, 1] == 0
    assert found[0, 0, 0] == pytest.approx(0.2, rel=1e-6)
