import numpy as np
import pytest
from pymopex import window_quantiles
from pymopex.window_quantiles import quantiles_at

QUANTILES = (0.1587, 0.8413)


def plainly(image, good, nodes, size, dropped, least):
    """Quantiles as one would write them down."""
    found = np.full((2, len(nodes[0]), len(nodes[1])), np.nan)
    for (j, y), (i, x) in ((a, b) for a in enumerate(nodes[0]) for b in enumerate(nodes[1])):
        cut = tuple(
            slice(max(0, at - n // 2), max(0, at - n // 2 + n)) for at, n in zip((y, x), size, strict=True)
        )
        values = np.sort(image[cut][good[cut]])
        if values.size >= least:
            values = values[: max(1, values.size - round(dropped * values.size))]
            found[:, j, i] = np.quantile(values, QUANTILES)
    return found


@pytest.mark.parametrize("block", [384, 9])
@pytest.mark.parametrize("size", [(7, 5), (6, 4), (1, 1), (70, 80)])
def test_few_values_give_the_exact_quantiles(size, block, monkeypatch):
    monkeypatch.setattr(window_quantiles, "_BLOCK", block)
    rng = np.random.default_rng(1)
    image = rng.normal(size=(24, 37)).astype("f4")
    image[rng.uniform(size=image.shape) < 0.1] += 50
    image[3:9, 10:20], image[20] = np.nan, 7.0
    good = np.isfinite(image) & (rng.uniform(size=image.shape) < 0.9)
    nodes = np.array([0, 2, 4, 11, 13, 23]), np.array([0, 1, 5, 17, 30, 36])
    found = quantiles_at(image, good, nodes, size, 0.06, QUANTILES, 1 + size[0] // 2)
    expected = plainly(image, good, nodes, size, 0.06, 1 + size[0] // 2)
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6)


@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_many_values_give_them_within_a_rank(kind):
    rng = np.random.default_rng(2)
    scale = np.linspace(1, 8, 430)
    image = (rng.normal(size=(410, 430)) * scale).astype(kind)
    image[rng.uniform(size=image.shape) < 0.02] += 1e5
    image[:, 100:130] = 3.0
    good = rng.uniform(size=image.shape) < 0.95
    nodes = np.arange(0, 410, 40), np.arange(0, 430, 40)
    found = np.array(quantiles_at(image, good, nodes, (45, 45), 0.05, QUANTILES, 9))
    expected = plainly(image, good, nodes, (45, 45), 0.05, 9)
    assert np.abs(found - expected).max() < 0.02 * scale.max()
    assert np.std((found - expected) / scale[nodes[1]]) < 0.005


def test_windows_of_many_equal_values_are_counted_right():
    image = np.zeros((300, 300), "f4")
    image[::4] = 1.0
    found = quantiles_at(
        image, np.ones(image.shape, bool), (np.array([150]), np.array([150])), (299, 299), 0, (0.1, 0.9), 1
    )
    assert np.ravel(found).tolist() == [0, 1]


def test_no_good_pixel_gives_no_value():
    image = np.full((5, 6), np.nan, "f4")
    found = quantiles_at(image, np.zeros((5, 6), bool), (np.arange(5), np.arange(6)), (3, 3), 0, QUANTILES, 1)
    assert np.isnan(found).all()
