"""Variance of interpolated frames and mosaics, and the noise of apertures on them."""

import math

import numpy as np
import pytest
from pymopex.coadd import coadd
from pymopex.geometry import Box, FrameMap, PixelMap
from pymopex.interpolation import Interpolation, interpolate
from pymopex.stack import Stack
from pymopex.variance import (
    NoiseCorrelation,
    coadd_variance,
    disk,
    footprint,
    noise_correlation,
    scatter_ratio,
)
from scipy.signal import fftconvolve

METHODS = [
    Interpolation(1),
    Interpolation(2, driz_fac=0.6),
    Interpolation(3),
    Interpolation(4),
    Interpolation(1, fineres=2),
]


def placed(shape, size, ratio=1.0, degrees=0.0, offset=(0.0, 0.0)):
    """Place a frame on a mosaic of `size` x `size` pixels, `ratio` of them per frame pixel, turned."""
    c, s = math.cos(math.radians(degrees)) / ratio, math.sin(math.radians(degrees)) / ratio
    middle, half = (size - 1) / 2, ((shape[1] - 1) / 2 + offset[0], (shape[0] - 1) / 2 + offset[1])

    def to_frame(x, y):
        x, y = x - middle, y - middle
        return c * x - s * y + half[0], s * x + c * y + half[1]

    def to_mosaic(x, y):
        x, y = x - half[0], y - half[1]
        return (c * x + s * y) * ratio**2 + middle, (c * y - s * x) * ratio**2 + middle

    def mapped(plane_map, nx, ny):
        return PixelMap.of(plane_map, (-0.5, nx - 0.5), (-0.5, ny - 0.5))

    maps = mapped(to_frame, size, size), mapped(to_mosaic, shape[1], shape[0])
    return FrameMap(shape, Box(0, 0, size, size), *maps)


def test_half_pixel_shift_by_hand():
    sigma = np.array([[1.0, 3.0, 2.0]])
    shifted = FrameMap(
        (1, 3),
        Box(0, 0, 3, 1),
        PixelMap.of(lambda x, y: (x - 0.5, y), (-0.5, 2.5), (-0.5, 0.5)),
        PixelMap.of(lambda x, y: (x + 0.5, y), (-0.5, 2.5), (-0.5, 0.5)),
    )
    for how in (Interpolation(1), Interpolation(2)):
        found = interpolate(sigma, sigma, None, shifted, how, want_variance=True)
        assert found.variance[0] == pytest.approx([1, (1 + 9) / 4, (9 + 4) / 4])
    counts = interpolate(sigma, sigma, None, shifted, how, want_variance=True, surface_brightness=False)
    assert counts.variance == pytest.approx(found.variance)


@pytest.mark.parametrize("how", METHODS)
@pytest.mark.parametrize(("ratio", "degrees"), [(2.0, 0), (1.0, 33), (0.4, 20)])
def test_variance_is_that_of_the_sum(how, ratio, degrees):
    """Against the weights themselves, one input pixel after another, with a bad pixel."""
    rng = np.random.default_rng(7)
    shape, size = (9, 9), math.ceil(11 * ratio)
    place = placed(shape, size, ratio, degrees, (0.23, -0.31))
    sigma, bad = rng.uniform(1, 3, shape), np.zeros(shape, bool)
    bad[4, 5] = True
    expected = np.zeros((size, size))
    for j, i in zip(*np.nonzero(~bad), strict=True):
        one = np.zeros(shape)
        one[j, i] = sigma[j, i]
        expected += np.nan_to_num(interpolate(one, None, bad, place, how).data.astype(float)) ** 2
    found = interpolate(sigma, sigma, bad, place, how, want_variance=True)
    covered = found.coverage > 0
    assert covered.sum() > 10
    assert found.variance[covered] == pytest.approx(expected[covered], rel=1e-5, abs=1e-9)
    assert np.isnan(found.variance[~covered]).all()


def test_footprint_counts_the_input_pixels():
    assert footprint(placed((20, 20), 40, 2.0), Interpolation(1)) == 2
    assert footprint(placed((20, 20), 20, 1.0, 45), Interpolation(2)) == 3
    assert footprint(placed((20, 20), 40, 2.0), Interpolation(4)) == 4


def test_variance_needs_uncertainties():
    with pytest.raises(ValueError, match="needs uncertainties"):
        interpolate(np.ones((4, 4)), None, None, placed((4, 4), 4), Interpolation(), want_variance=True)


def test_coadded_variance_by_hand():
    tile = Box(0, 0, 2, 1)
    data = [np.array([[1, 2]], "f4"), np.array([[4, np.nan]], "f4")]
    coverage = [np.array([[1, 0.5]], "f4"), np.array([[0.5, 0]], "f4")]
    stack = Stack.build(tile, [tile, tile], data, coverage, [np.ones((1, 2), "f4")] * 2)
    variance = np.array([4, 9, 16], "f4")[
        [0, 2, 1]
    ]  # entries: frame 0 and frame 1 of pixel 0, frame 0 of pixel 1
    assert stack.layer.tolist() == [0, 1, 0]
    found = coadd_variance(stack, variance)
    assert found[0] == pytest.approx([(4 + 16 / 4) / 1.5**2, 9])
    weighted = coadd_variance(stack, variance, weights=np.array([1.0, 4.0]))
    assert weighted[0] == pytest.approx([(4 + 4 * 16) / 3**2, 9])
    by_sigma = coadd_variance(stack._replace(sigma=np.array([1, 2, 1], "f4")), variance, sigma_weighted=True)
    assert by_sigma[0] == pytest.approx([(4 + 16 / 64) / 1.125**2, 9])
    with pytest.raises(ValueError, match="2 variances for 3 values"):
        coadd_variance(stack, variance[:2])


@pytest.mark.parametrize(("ratio", "drop"), [(2.0, 1.0), (1.0, 1.0), (2.0, 0.6), (1.0, 0.5)])
def test_factor_of_large_apertures_is_that_of_fruchter_and_hook(ratio, drop):
    r = ratio * drop
    expected = r / (1 - 1 / (3 * r)) if r >= 1 else 1 / (1 - r / 3)
    found = noise_correlation(placed((40, 40), 40, ratio), Interpolation(2, driz_fac=drop))
    assert found.large == pytest.approx(expected, rel=0.01)
    assert found.correlation.max() == found.correlation[tuple(n // 2 for n in found.correlation.shape)] == 1


def test_factor_without_correlation_is_one():
    alone = NoiseCorrelation(np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]))
    assert alone.large == alone.aperture(0) == 1
    assert alone.aperture(5) == pytest.approx(1)
    row = NoiseCorrelation(np.array([[0.0, 0, 0], [0.5, 1, 0.5], [0, 0, 0]]))
    assert row.weighted(np.ones((1, 2))) == pytest.approx(math.sqrt(1.5))
    assert disk(1).sum() == 5


@pytest.mark.parametrize("how", METHODS[:4])
@pytest.mark.parametrize(("ratio", "degrees"), [(2.03, 12)])
def test_apertures_scatter_as_variance_and_factor_say(how, ratio, degrees):
    """Pure noise: the scatter of sums over apertures of 1 to 10 pixels, within 5 per cent."""
    rng = np.random.default_rng(11)
    shape, size, frames = (420, 420), 620, 4 if how.method != 2 else 9
    tile = Box(0, 0, size, size)
    data, coverage, variance = [], [], []
    for _ in range(frames):
        place = placed(shape, size, ratio, degrees, tuple(rng.uniform(-1, 1, 2)))
        noise = rng.normal(0, 2, shape)
        found = interpolate(noise, np.full(shape, 2.0), None, place, how, want_variance=True)
        data.append(found.data)
        coverage.append(found.coverage)
        variance.append(found.variance)
    stack = Stack.build(tile, [tile] * frames, data, coverage, variance)
    mosaic = coadd(stack, want_std=False).image.astype(float)
    squares = coadd_variance(stack, stack.sigma).astype(float)
    assert np.isfinite(mosaic).all()
    assert (mosaic / np.sqrt(squares)).std() == pytest.approx(1, abs=0.01)
    correlation = noise_correlation(place, how)
    assert correlation.large > 1.4
    for radius in (1, 2, 5, 10):
        aperture = disk(radius)
        sums, spread = (fftconvolve(image, aperture, "valid") for image in (mosaic, squares))
        ratio_of_noise = float((sums / np.sqrt(spread)).std()) / correlation.aperture(radius)
        assert ratio_of_noise == pytest.approx(1, abs=0.05), radius


@pytest.mark.parametrize("frames", [4, 6, 20])
def test_scatter_over_uncertainty(frames):
    """Uncertainties of twice the noise; bright pixels, 40 per cent, scatter more; one pixel without coverage."""
    rng = np.random.default_rng(frames)
    values = rng.normal(0, 3, (frames, 150, 100))
    values[:, :60] += rng.uniform(10, 200, (frames, 60, 100))
    std = values.std(axis=0, ddof=1) / np.sqrt(frames)
    image, covg, unc = (
        values.mean(axis=0),
        np.full(std.shape, frames),
        np.full(std.shape, 6 / np.sqrt(frames)),
    )
    covg[0, 0], std[0, 0], unc[0, 0], image[0, 0] = 0, np.nan, np.nan, np.nan
    assert scatter_ratio(image, std, unc, covg) == pytest.approx(0.5, rel=0.03)


def test_scatter_of_few_frames_tells_nothing():
    one = np.ones((3, 3))
    assert math.isnan(scatter_ratio(one, one, one, 3 * one))
