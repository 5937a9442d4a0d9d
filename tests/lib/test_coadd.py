import numpy as np
import pytest
from pymopex.coadd import coadd
from pymopex.geometry import Box
from pymopex.stack import Stack

TILE = Box(0, 0, 2, 1)


def pair(sigma=True):
    """Two frames on two pixels: values 1, 2 and 4, -; coverages 1, 0.5 and 0.5, 0; sigmas 1 and 2."""
    data = [np.array([[1, 2]], "f4"), np.array([[4, np.nan]], "f4")]
    coverage = [np.array([[1, 0.5]], "f4"), np.array([[0.5, 0]], "f4")]
    sigmas = [np.ones((1, 2), "f4"), np.full((1, 2), 2, "f4")] if sigma else None
    return Stack.build(TILE, [TILE, TILE], data, coverage, sigmas)


def test_mean_coverage_and_uncertainties_by_hand():
    found = coadd(pair())
    assert found.image.tolist() == [[2, 2]]
    assert found.coverage.tolist() == [[1.5, 0.5]]
    assert found.uncertainty[0] == pytest.approx([1 / np.sqrt(1 + 0.125), 1 / np.sqrt(0.5)])
    assert found.std[0, 0] == pytest.approx(np.sqrt((1 * 1 + 0.5 * 4) / 1.5))
    assert np.isnan(found.std[0, 1])
    assert found.exposure is None


def test_exposure_weights_by_hand():
    found = coadd(pair(), weights=np.array([10.0, 40.0]))
    assert found.image[0] == pytest.approx([(10 + 80) / 30, 2])
    assert found.exposure[0] == pytest.approx([30, 5])
    assert found.uncertainty[0, 0] == pytest.approx(np.sqrt(10**2 * 1 + 20**2 * 4 / 0.5) / 30)


def test_inverse_variance_weights_by_hand():
    found = coadd(pair(), sigma_weighted=True)
    assert found.image[0, 0] == pytest.approx((1 * 1 + 0.125 * 4) / 1.125)
    assert found.uncertainty[0, 0] == pytest.approx(1 / np.sqrt(1.125))


def test_without_uncertainties():
    found = coadd(pair(sigma=False), want_std=False)
    assert found.uncertainty is None
    assert found.std is None
    with pytest.raises(ValueError, match="sigma_weighted needs"):
        coadd(pair(sigma=False), sigma_weighted=True)


def test_nothing_gives_nothing():
    for sigma_weighted in (False, True):
        empty = coadd(Stack.build(TILE, [], [], [], None), sigma_weighted=sigma_weighted)
        assert np.isnan(empty.image).all()
        assert not empty.coverage.any()


def test_weights_are_checked():
    with pytest.raises(ValueError, match="need 2 positive weights"):
        coadd(pair(), weights=np.ones(3))
    with pytest.raises(ValueError, match="need 2 positive weights"):
        coadd(pair(), weights=np.array([1.0, 0.0]))


def test_scatter_and_uncertainty_agree_with_the_noise():
    n, tile = 40, Box(0, 0, 60, 50)
    values = np.random.default_rng(3).normal(5, 2, (n, *tile.shape)).astype("f4")
    ones = [np.ones(tile.shape, "f4")] * n
    found = coadd(Stack.build(tile, [tile] * n, list(values), ones, [2 * one for one in ones]))
    expected = 2 / np.sqrt(n)
    assert found.uncertainty == pytest.approx(np.full(tile.shape, expected), rel=1e-6)
    assert np.sqrt((found.std**2).mean()) == pytest.approx(expected, rel=0.01)
    assert (found.image - 5).std() == pytest.approx(expected, rel=0.03)


def test_tiles_of_any_size_give_the_same_pixels():
    rng = np.random.default_rng(8)
    whole, boxes = Box(0, 0, 30, 20), [Box(0, 0, 20, 15), Box(5, 2, 25, 18), Box(0, 5, 30, 10)]
    data = [rng.normal(0, 1, box.shape).astype("f4") for box in boxes]
    coverage = [rng.uniform(0.1, 1, box.shape).astype("f4") for box in boxes]
    expected = coadd(Stack.build(whole, boxes, data, coverage, coverage))
    tile = Box(7, 3, 11, 9)
    common = [box.intersect(tile) for box in boxes]
    cut = [
        [image[c.within(b)] for image, c, b in zip(kind, common, boxes, strict=True)]
        for kind in (data, coverage)
    ]
    found = coadd(Stack.build(tile, common, *cut, cut[1]))
    for name in ("image", "coverage", "uncertainty", "std"):
        assert np.array_equal(getattr(expected, name)[tile.slices], getattr(found, name), equal_nan=True)
