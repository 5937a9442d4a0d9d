"""Making PRFs: magnification, centring, and the kernel of a mosaic against exact convolutions."""

import math

import numpy as np
import pytest
from pymopex.prf import PRF
from pymopex.prf_making import centroid, fine_prf, magnify, mosaic_kernel

CENTRING = 0.02  # fine sample, centroid of a fine PRF from its central sample
FLUX_TOLERANCE = 1e-6  # relative, sum of a fine PRF
KERNEL_TOLERANCE = 5e-4  # of the peak
ROUND_TOLERANCE = 3e-3  # of the peak: the boxes are square, the azimuthal mean is not

SIGMA = 0.6  # pixel, of the Gaussian PRF of a frame


def spot(n, x, y, sigma):
    columns, rows = (np.exp(-0.5 * ((np.arange(n) - c) / sigma) ** 2) for c in (x, y))
    return np.outer(rows, columns)


# ---------------------------------------------------------------------------- magnify


def test_magnify_by_hand():
    assert magnify(np.array([[0.0, 2.0], [4.0, 10.0]]), 2).tolist() == [
        [0, 1, 2, 2],
        [2, 4, 6, 6],
        [4, 7, 10, 10],
        [4, 7, 10, 10],
    ]


@pytest.mark.parametrize("method", ["linear", "spline"])
def test_magnify_keeps_the_samples(method):
    image = np.random.default_rng(1).random((6, 7))
    fine = magnify(image, 5, method)
    assert fine.shape == (30, 35)
    assert np.allclose(fine[::5, ::5], image, rtol=0, atol=1e-13)
    assert np.array_equal(magnify(image, 1), image)


def test_spline_follows_a_smooth_image_better():
    coarse, exact = spot(31, 15, 15, 3.0), spot(121, 60, 60, 12.0)
    wrong = [np.abs(magnify(coarse, 4, m)[:121, :121] - exact).max() for m in ("linear", "spline")]
    assert wrong[1] < 1e-3 < wrong[0]


def test_magnify_is_checked():
    with pytest.raises(ValueError, match="linear, spline"):
        magnify(np.ones((3, 3)), 2, "cubic")
    with pytest.raises(ValueError, match="2-D image"):
        magnify(np.ones(3), 2)
    with pytest.raises(ValueError, match="factor of 1 or more"):
        magnify(np.ones((3, 3)), 0)


# ---------------------------------------------------------------------------- centroid


def test_centroid_by_hand():
    image = np.zeros((4, 5))
    image[1, 2], image[2, 3] = 3.0, 1.0
    assert centroid(image) == (2.25, 1.25)
    image[0, 0] = 100.0
    assert centroid(image, 1) == (2.25, 1.25)


def test_centroid_is_checked():
    with pytest.raises(ValueError, match="leaves nothing"):
        centroid(np.ones((4, 9)), 2)
    with pytest.raises(ValueError, match="no centroid"):
        centroid(np.zeros((4, 4)))


# ---------------------------------------------------------------------------- fine PRF


@pytest.mark.parametrize("method", ["linear", "spline"])
@pytest.mark.parametrize("size", [64, 65])
def test_fine_prf_is_odd_centred_and_keeps_the_flux(size, method):
    coarse = spot(size, 30.3, 33.8, 3.0)
    prf = fine_prf(coarse, 5, 4, method=method, centroid_border=20, zero_border=8)
    ny, nx = prf.samples.shape
    assert (ny, nx) == (4 * size - 1, 4 * size - 1)
    assert (prf.factor_x, prf.factor_y) == (20, 20)
    assert prf.samples.dtype == np.float32
    assert np.allclose(centroid(prf.samples), (nx // 2, ny // 2), rtol=0, atol=CENTRING)
    assert prf.samples.sum(dtype=float) == pytest.approx(16 * coarse.sum(), rel=FLUX_TOLERANCE)
    border = np.ones((ny, nx), bool)
    border[8:-8, 8:-8] = False
    assert not prf.samples[border].any()


def test_fine_prf_has_the_shape_of_the_coarse():
    prf = fine_prf(spot(64, 30.3, 33.8, 3.0), 5, 4, method="spline", centroid_border=20, zero_border=8)
    exact = spot(255, 127, 127, 12.0)
    exact[:8] = exact[-8:] = exact[:, :8] = exact[:, -8:] = 0
    assert np.abs(prf.samples - exact).max() < 2e-3  # the centroid is good to hundredths of a sample


def test_fine_prf_of_the_published_size():
    prf = fine_prf(spot(128, 63.5, 63.5, 3.5).astype(np.float32))
    assert prf.samples.shape == (2559, 2559)
    assert prf.factor_x == 100
    assert np.allclose(centroid(prf.samples), (1279, 1279), rtol=0, atol=CENTRING)


def test_fine_prf_is_checked():
    with pytest.raises(ValueError, match="leaves nothing"):
        fine_prf(np.ones((16, 16)), 5, 4, centroid_border=250)
    with pytest.raises(ValueError, match="linear, spline"):
        fine_prf(np.ones((16, 16)), 5, 4, method="nearest")


# ---------------------------------------------------------------------------- kernel


def gaussian_prf(factor):
    at = np.arange(-6 * factor, 6 * factor + 1) / factor
    one = np.exp(-0.5 * (at / SIGMA) ** 2) / (SIGMA * math.sqrt(2 * math.pi))
    return PRF(np.outer(one, one), factor, factor)


def exact_kernel(offset, ratio, drop):
    """Gaussian convolved with both boxes, by its Fourier transform; per mosaic pixel."""
    f = np.arange(-400, 401) / 100  # cycles per frame pixel
    transfer = np.exp(-2 * (np.pi * f * SIGMA) ** 2) * np.sinc(f * drop) * np.sinc(f * ratio)
    one = ratio * np.cos(2 * np.pi * np.outer(offset, f)) @ transfer / 100
    return np.outer(one, one)


@pytest.mark.parametrize("factor", [5, 10, 100])
@pytest.mark.parametrize("ratio, drop", [(1.0, 1.0), (0.5, 1.0), (0.4918, 0.65), (2.0, 0.8)])
def test_kernel_of_a_gaussian(factor, ratio, drop):
    plain = mosaic_kernel(gaussian_prf(factor), ratio, drop=drop, round_off=False, radius=4 / ratio)
    n = plain.samples.shape[0] // 2
    assert (plain.factor_x, n) == (4, math.floor(4 / ratio * 4))
    offset = np.arange(-n, n + 1) * ratio / 4
    exact = exact_kernel(offset, ratio, drop)
    assert np.abs(plain.samples - exact).max() < KERNEL_TOLERANCE * exact.max()
    assert plain.central_sum() == pytest.approx(1)
    mixed = mosaic_kernel(gaussian_prf(factor), ratio, drop=drop, radius=4 / ratio)
    if ratio <= 1:
        assert np.abs(mixed.samples - exact).max() < ROUND_TOLERANCE * exact.max()
    assert np.allclose(mixed.samples, mixed.samples.T, rtol=0, atol=1e-9)


def test_flux_of_a_kernel_within_a_circle():
    plain = mosaic_kernel(gaussian_prf(10), 0.5, radius=3.0)
    cut = mosaic_kernel(gaussian_prf(10), 0.5, radius=3.0, circle=True)
    n = plain.samples.shape[0] // 2
    y, x = np.indices(plain.samples.shape) - n
    inside = np.hypot(x, y) <= 3.0 * 4
    assert np.all(cut.samples[~inside] == 0)
    ratio = cut.samples[inside] / plain.samples[inside]
    assert ratio == pytest.approx(1 / plain.central_sum(12))
    assert cut.central_sum() == pytest.approx(1)


def test_kernel_is_round_and_free_of_the_place_of_the_arms():
    y, x = np.mgrid[-30:31, -30:31] / 10
    arms = np.exp(-0.5 * (x**2 + y**2)) * (1 + 0.5 * np.cos(4 * np.arctan2(y, x)))
    kernel = mosaic_kernel(PRF(arms, 10, 10), 0.5, radius=4)
    n = kernel.samples.shape[0] // 2
    assert kernel.samples[n, n + 5] == pytest.approx(kernel.samples[n + 3, n + 4], rel=1e-9)


def test_kernel_reaches_as_far_as_the_prf():
    kernel = mosaic_kernel(gaussian_prf(10), 0.5, sampling=2)
    assert kernel.samples.shape[0] // 2 == (6 + 1) * 2 * 2


@pytest.mark.parametrize(
    "ratio, keys", [(0.0, {}), (1.0, {"drop": 0.0}), (1.0, {"sampling": 0}), (1.0, {"radius": -1.0})]
)
def test_kernel_is_checked(ratio, keys):
    with pytest.raises(ValueError, match="bad mosaic kernel"):
        mosaic_kernel(gaussian_prf(5), ratio, **keys)
