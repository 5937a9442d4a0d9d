"""PRFs, maps of them, and the spline table against a PRF that is known everywhere."""

import math

import numpy as np
import pytest
from pymopex.prf import PRF, SAMPLING, PRFGrid, PRFMap, PRFTable, prf_table
from scipy import ndimage

FLUX_BIAS = 5e-4  # relative, of a fit of the undersampled PRF, mean over the places in a pixel
PEAK_ERROR = {5: 5e-4, 10: 3e-5}  # samples per pixel: largest error of a value, of the peak
LINEAR_BIAS = {5: 0.0093, 10: 0.0023, 20: 0.0006, 100: 0.000023}  # of the flux, with linear interpolation
SLOPE_ERROR = 1e-6  # of the largest slope

PERIOD = 40  # pixel, of the Fourier sum that makes the true PRF
HALF = 10  # pixel, reach of the table
WIDTH = {"diffraction": 0.0, "IRAC": 0.4}  # pixel, sigma of the jitter and aberration beside the diffraction
RESOLUTION = 0.71  # lambda / D [pixel]: 3.6 micron, 0.85 m, 1.22 arcsec


def true_prf(width):
    """Response of a square pixel to an Airy disc blurred by a Gaussian: a Fourier sum, exact anywhere."""
    f = np.arange(-2 * PERIOD, 2 * PERIOD + 1) / PERIOD
    f = f[np.abs(f) < 1 / RESOLUTION]
    nu = np.minimum(np.hypot(f[:, None], f) * RESOLUTION, 1)
    transfer = 2 / np.pi * (np.arccos(nu) - nu * np.sqrt(1 - nu**2))
    one = np.sinc(f) * np.exp(-2 * (np.pi * f * width) ** 2)
    transfer = transfer * one[:, None] * one / PERIOD**2

    def at(x, y):
        wave_x, wave_y = (np.exp(2j * np.pi * np.outer(a, f)) for a in (x, y))
        return (wave_y @ transfer @ wave_x.T).real

    return at


def samples(width, factor):
    at = np.arange(-HALF * factor, HALF * factor + 1) / factor
    return true_prf(width)(at, at)


def small_prf():
    """7 x 9 samples, 2 a pixel in x, 3 in y."""
    return PRF(np.arange(63.0).reshape(9, 7), 2, 3)


# ---------------------------------------------------------------------------- samples


def test_central_prf_by_hand():
    prf = small_prf()  # central sample at row 4, column 3: 31; central PRF: rows 1, 4, 7 and columns 1, 3, 5
    central = [8, 10, 12, 29, 31, 33, 50, 52, 54]
    assert prf.central_value == 31
    assert prf.noise_pixels == pytest.approx(1 / 31)
    assert prf.central_sum() == sum(central)
    assert prf.central_sum(1.9) == 31
    assert prf.central_sum(2.0) == 29 + 31 + 33
    assert prf.central_sum(3.0) == 29 + 31 + 33 + 10 + 52
    assert prf.central_sum(math.hypot(2, 3)) == sum(central)
    assert np.allclose(prf.normalised(2.0).samples, prf.samples / 93)
    assert prf.normalised(2.0).central_sum(2.0) == pytest.approx(1)
    assert prf.normalised().central_sum() == pytest.approx(1)


def test_normalised_keeps_the_type():
    prf = PRF(np.ones((5, 5), np.float32), 1, 1).normalised(1.0)
    assert prf.samples.dtype == np.float32
    assert prf.central_value == pytest.approx(0.2)


@pytest.mark.parametrize("shape", [(4, 5), (5, 4), (1, 5), (5,), (3, 3, 3)])
def test_shapes_are_checked(shape):
    with pytest.raises(ValueError, match=r"odd axes|2-D array"):
        PRF(np.ones(shape), 1, 1)


def test_samples_are_checked():
    with pytest.raises(ValueError, match="samples per pixel"):
        PRF(np.ones((3, 3)), 0, 1)
    with pytest.raises(ValueError, match="not finite"):
        PRF(np.full((3, 3), np.nan), 1, 1)
    with pytest.raises(ValueError, match="cannot be normalised"):
        PRF(np.zeros((3, 3)), 1, 1).normalised()


@pytest.mark.parametrize("size", [101, 103, 109, 111])
def test_decimated_keeps_the_centre(size):
    y, x = np.mgrid[:size, :size] - size // 2
    fine = PRF(x + 1000.0 * y, 100, 100)
    kept = fine.decimated()
    assert (kept.factor_x, kept.factor_y) == (SAMPLING, SAMPLING)
    ny, nx = kept.samples.shape
    assert (ny % 2, nx % 2) == (1, 1)
    assert kept.central_value == 0
    assert kept.samples[ny // 2, nx // 2 + 1] == 10
    assert kept.samples[ny // 2 - 1, nx // 2] == -10000


@pytest.mark.parametrize("factor, left", [(1, 1), (5, 5), (10, 10), (12, 12), (20, 10), (24, 12), (100, 10)])
def test_decimated_factors(factor, left):
    assert PRF(np.ones((201, 201)), factor, factor).decimated().factor_x == left


# ---------------------------------------------------------------------------- map


def quarters():
    """PRF map of an array of 256 x 256: four regions of 128 x 128."""
    prf = PRF(np.ones((3, 3)), 1, 1)
    regions = np.array([[1, 1, 128, 128], [129, 1, 128, 128], [1, 129, 128, 128], [129, 129, 128, 128]])
    return PRFMap([prf] * 4, regions)


def test_regions_start_at_their_lower_left_pixel():
    x = np.array([0.0, 127.4, 127.6, 255.0, 0.0, 200.0])
    y = np.array([0.0, 127.4, 127.4, 0.0, 127.6, 200.0])
    assert quarters().index_at(x, y).tolist() == [0, 0, 1, 1, 2, 3]


def test_outside_the_nearest_region_is_taken():
    x = np.array([-50.0, 300.0, 10.0, 1e4, np.nan])
    y = np.array([10.0, 10.0, 400.0, 1e4, 3.0])
    assert quarters().index_at(x, y).tolist() == [0, 1, 2, 3, 0]
    assert quarters().index_at(np.full((2, 3), 200.0), np.zeros((2, 3))).tolist() == [[1, 1, 1]] * 2


def test_overlapping_regions_and_gaps():
    prf = PRF(np.ones((3, 3)), 1, 1)
    found = PRFMap([prf] * 2, np.array([[1, 1, 100, 10], [51, 1, 100, 10]]))
    assert found.index_at(np.array([20.0, 70.0, 80.0, 140.0]), np.full(4, 5.0)).tolist() == [0, 0, 1, 1]
    apart = PRFMap([prf] * 2, np.array([[1, 1, 10, 10], [31, 1, 10, 10]]))
    assert apart.index_at(np.array([15.0, 24.0]), np.full(2, 5.0)).tolist() == [0, 1]


def test_single_prf_is_everywhere():
    found = PRFMap.single(PRF(np.ones((3, 3)), 1, 1)).index_at(np.array([-9.0, 500.0]), np.array([3.0, 1e5]))
    assert found.tolist() == [0, 0]


@pytest.mark.parametrize("regions", [np.ones((2, 4)), np.ones((1, 3)), np.zeros((0, 4))])
def test_map_needs_a_region_for_each_prf(regions):
    with pytest.raises(ValueError, match="as many regions"):
        PRFMap([PRF(np.ones((3, 3)), 1, 1)], regions)


def test_empty_region_is_refused():
    with pytest.raises(ValueError, match="empty"):
        PRFMap([PRF(np.ones((3, 3)), 1, 1)], np.array([[1, 1, 0, 5]]))


# ---------------------------------------------------------------------------- table


def test_table_goes_through_the_samples():
    rng = np.random.default_rng(1)
    prf = PRF(rng.random((13, 11)), 2, 3)
    table = prf_table([prf])
    assert isinstance(table, PRFTable)
    assert table.half_size == (2.5, 2.0)
    dx, dy = np.arange(-5, 6) / 2, np.arange(-6, 7) / 3
    value, _, _ = table.evaluate(dx[None, :], dy[:, None])
    assert np.allclose(value, prf.samples, rtol=0, atol=1e-13)


def test_table_is_zero_outside():
    table = prf_table([PRF(np.ones((11, 11)), 2, 2)])
    found = table.evaluate(np.array([2.5, 2.501, -2.6, 0.0, np.nan, 1e300]), np.array([0, 0, 0, 3.0, 0, 0]))
    assert np.allclose(found[0], [1, 0, 0, 0, 0, 0], rtol=0, atol=1e-13)
    assert np.allclose(found[1:], 0, rtol=0, atol=1e-12)


def test_table_of_several_prfs():
    small, large = PRF(np.ones((5, 7)), 2, 2), PRF(np.full((9, 9), 3.0), 2, 2)
    table = prf_table(iter([small, large]))
    assert table.half_size == (2.0, 2.0)
    assert table.evaluate(0.0, 0.0, 0)[0] == pytest.approx(1)
    assert table.evaluate(0.0, 0.0, 1)[0] == pytest.approx(3)
    assert table.evaluate(0.0, 1.5, 0)[0] == pytest.approx(0, abs=1e-12)


def test_table_is_cut_and_thinned():
    table = prf_table([PRF(samples(0.4, 20), 20, 20)], radius=4.0)
    assert (table.sampling_x, table.sampling_y) == (10, 10)
    assert table.half_size == (4.0, 4.0)


def test_table_is_checked():
    prf = PRF(np.ones((5, 5)), 2, 2)
    with pytest.raises(ValueError, match="same samples per pixel"):
        prf_table([prf, PRF(np.ones((5, 5)), 2, 3)])
    with pytest.raises(ValueError, match="same samples per pixel"):
        prf_table([])
    with pytest.raises(ValueError, match="radius"):
        prf_table([prf], radius=0.0)


@pytest.mark.parametrize("width", WIDTH.values(), ids=WIDTH.keys())
@pytest.mark.parametrize("factor", [5, 10, 20, 100])
def test_undersampled_flux_is_not_biased(width, factor):
    """Matched filter at the true place, table against truth; 5 samples a pixel are enough."""
    table, truth = prf_table([PRF(samples(width, factor), factor, factor)]), true_prf(width)
    pixel, phases = np.arange(-3, 4), (np.arange(16) + 0.5) / 16 - 0.5
    bias, worst = [], 0.0
    for x in phases:
        for y in phases:
            exact = truth(pixel - x, pixel - y)
            got = table.evaluate((pixel - x)[None, :], (pixel - y)[:, None])[0]
            bias.append((got * exact).sum() / (got * got).sum() - 1)
            worst = max(worst, np.abs(got - exact).max())
    assert abs(np.mean(bias)) < FLUX_BIAS
    assert np.abs(bias).max() < FLUX_BIAS
    assert worst < PEAK_ERROR[min(factor, SAMPLING)] * truth([0.0], [0.0])[0, 0]


@pytest.mark.parametrize("factor, expected", LINEAR_BIAS.items())
def test_linear_interpolation_would_bias_the_flux(factor, expected):
    """What the spline saves: linear interpolation between the samples lowers the core, and fluxes come out too high."""
    fine, truth = samples(WIDTH["IRAC"], factor), true_prf(WIDTH["IRAC"])
    pixel, phases, bias = np.arange(-3, 4), (np.arange(16) + 0.5) / 16 - 0.5, []
    for x in phases:
        for y in phases:
            at = [
                (pixel - y)[:, None] * factor + HALF * factor,
                (pixel - x)[None, :] * factor + HALF * factor,
            ]
            got = ndimage.map_coordinates(fine, np.broadcast_arrays(*at), order=1)
            exact = truth(pixel - x, pixel - y)
            bias.append((got * exact).sum() / (got * got).sum() - 1)
    assert np.mean(bias) == pytest.approx(expected, rel=0.1)


def test_slopes_are_the_derivatives():
    table = prf_table([PRF(samples(0.4, 10), 10, 10)])
    dx, dy = np.random.default_rng(2).uniform(-4, 4, (2, 200))
    step = 1e-4
    _, slope_x, slope_y = table.evaluate(dx, dy)
    along_x = (table.evaluate(dx + step, dy)[0] - table.evaluate(dx - step, dy)[0]) / (2 * step)
    along_y = (table.evaluate(dx, dy + step)[0] - table.evaluate(dx, dy - step)[0]) / (2 * step)
    largest = np.abs(slope_x).max()
    assert np.allclose(slope_x, along_x, rtol=0, atol=SLOPE_ERROR * largest)
    assert np.allclose(slope_y, along_y, rtol=0, atol=SLOPE_ERROR * largest)


def test_grid_mixes_the_four_prfs_round_a_place():
    x, y = (a.ravel() for a in np.meshgrid([11.0, 21.0, 31.0], [1.0, 41.0], indexing="ij"))
    grid = PRFGrid(x, y)
    at_x, at_y = np.array([10.0, 12.5, 25.0, 60.0, np.nan]), np.array([0.0, 10.0, 40.0, -50.0, 10.0])
    index, weight = grid.mix_at(at_x, at_y)
    assert index.shape == weight.shape == (5, 4)
    np.testing.assert_allclose(weight.sum(axis=1), 1)
    # bilinear weights reproduce a plane, and carry it on for half a cell
    value = 2 + 0.3 * x - 0.1 * y
    expected = 2 + 0.3 * np.clip(at_x + 1, 6, 36) - 0.1 * np.clip(at_y + 1, -19, 61)
    np.testing.assert_allclose((value[index] * weight).sum(axis=1)[:4], expected[:4])
    assert weight[0].tolist() == [1, 0, 0, 0]
    assert index[0, 0] == 0


def test_grid_of_other_shapes_is_refused():
    for x, y in (([1, 2, 1], [1, 1, 2]), ([1, 2], [1, 1]), ([1, 1, 2, 2], [1, 1, 2, 2])):
        with pytest.raises(ValueError, match="no grid"):
            PRFGrid(np.array(x), np.array(y))
