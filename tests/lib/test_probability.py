import numpy as np
import pytest
from pymopex.probability import filtered, kernel_at_pixels, point_source_probability


def gaussian(shape, x, y, width):
    """Samples of a Gaussian of unit sum."""
    row, column = np.indices(shape)
    return np.exp(-((column - x) ** 2 + (row - y) ** 2) / 2 / width**2) / (2 * np.pi * width**2)


KERNEL = gaussian((5, 5), 2, 2, 0.8)


def test_kernel_takes_whole_pixels_round_the_centre():
    samples = np.arange(35.0).reshape(5, 7)  # central sample: 17
    kernel = kernel_at_pixels(samples, 3, 2, 3, 3)
    assert kernel * (0 + 3 + 6 + 14 + 17 + 20 + 28 + 31 + 34) == pytest.approx(samples[::2, ::3])
    assert kernel.sum() == pytest.approx(1)


def test_kernel_is_normalised_before_it_is_cut_and_padded_with_zeros():
    samples = gaussian((21, 21), 10, 10, 3.0)
    cut = kernel_at_pixels(samples, 2, 2, 3, 3)
    assert cut.sum() < 0.7
    whole = kernel_at_pixels(samples, 2, 2, 15, 13)
    assert whole.shape == (13, 15)
    assert whole.sum() == pytest.approx(1)
    assert (whole[:, [0, 1, -2, -1]] == 0).all()
    assert whole[5:8, 6:9] == pytest.approx(cut)


@pytest.mark.parametrize("size,made", [(1, 1), (2, 3), (3, 3), (4, 5)])
def test_even_kernels_are_made_odd(size, made):
    assert kernel_at_pixels(np.ones((9, 9)), 1, 1, size, 3).shape == (3, made)


def test_kernel_refuses_wrong_numbers():
    with pytest.raises(ValueError, match="at least 1 x 1"):
        kernel_at_pixels(np.ones((5, 5)), 1, 1, 0, 3)
    with pytest.raises(ValueError, match="odd axes"):
        kernel_at_pixels(np.ones((4, 5)), 1, 1, 3, 3)
    with pytest.raises(ValueError, match="samples per pixel"):
        kernel_at_pixels(np.ones((5, 5)), 0, 1, 3, 3)
    with pytest.raises(ValueError, match="cannot be normalised"):
        kernel_at_pixels(np.zeros((5, 5)), 1, 1, 3, 3)


def test_ratio_of_a_source_alone():
    image = np.zeros((11, 11))
    image[3:8, 4:9] = 100 * KERNEL
    found = filtered(image, np.full(image.shape, 2.0), KERNEL)
    assert np.unravel_index(found.argmax(), found.shape) == (5, 6)
    assert found.max() == pytest.approx(100 * np.sqrt((KERNEL**2).sum()) / 2)


def test_ratio_against_the_sums_written_out():
    rng = np.random.default_rng(3)
    image, sigma = rng.normal(size=(8, 9)), rng.uniform(0.5, 2, (8, 9))
    kernel = rng.uniform(size=(3, 5))
    image[2, 3], sigma[5, 5], sigma[0, 0], sigma[7, 8] = np.nan, np.nan, 0.0, -1.0
    good = np.isfinite(image) & (sigma > 0)
    found = filtered(image, sigma, kernel)
    for y, x in np.ndindex(image.shape):
        a = b = 0.0
        for dy, dx in np.ndindex(3, 5):
            j, i = y + dy - 1, x + dx - 2
            if 0 <= j < 8 and 0 <= i < 9 and good[j, i]:
                a += image[j, i] * kernel[dy, dx] / sigma[j, i] ** 2
                b += kernel[dy, dx] ** 2 / sigma[j, i] ** 2
        assert found[y, x] == pytest.approx(a / np.sqrt(b) if (y, x) != (2, 3) else np.nan, nan_ok=True)


def test_a_lopsided_source_is_found_where_it_is():
    kernel = np.array([[0, 0, 0], [0, 0.5, 0.4], [0, 0, 0.1]])
    image = np.zeros((9, 9))
    image[3:6, 3:6] = kernel
    found = filtered(image, np.ones(image.shape), kernel)
    assert np.unravel_index(found.argmax(), found.shape) == (4, 4)


def test_noise_has_ratios_of_unit_width():
    image = np.random.default_rng(4).normal(0, 3, (150, 150))
    assert filtered(image, np.full(image.shape, 3.0), KERNEL).std() == pytest.approx(1, abs=0.03)


def test_no_usable_pixel_gives_nan():
    image, sigma = np.zeros((12, 12)), np.ones((12, 12))
    sigma[:, :7] = 0
    found = filtered(image, sigma, KERNEL)
    assert np.isnan(found[:, :5]).all()
    assert np.isfinite(found[:, 5:]).all()
    assert np.isnan(point_source_probability(image, np.zeros(image.shape), KERNEL, prior=0.1)).all()


def test_probability_by_hand():
    image = np.array([[-4.0, 0.0, 1.0, 2.0]])
    found = point_source_probability(image, np.ones(image.shape), np.ones((1, 1)), prior=0.2)
    assert found[0] == pytest.approx([0.2, 0.2, 1 / (1 + 4 * np.exp(-0.5)), 1 / (1 + 4 * np.exp(-2))])


def test_a_bright_star_does_not_hide_faint_ones():
    image = np.random.default_rng(5).normal(size=(60, 60))
    image += 1e5 * gaussian(image.shape, 20, 20, 0.8) + 30 * gaussian(image.shape, 45, 40, 0.8)
    found = point_source_probability(image, np.ones(image.shape), KERNEL, prior=0.1)
    assert found[20, 20].astype(np.float32) == 1
    assert found[40, 45] > 0.99


def test_noise_that_is_far_too_small_is_made_up_for():
    image = np.random.default_rng(6).normal(size=(60, 60))
    image += 200 * gaussian(image.shape, 30, 20, 0.8)
    sigma = np.full(image.shape, 1e-4)
    found = point_source_probability(image, sigma, KERNEL, prior=0.1).astype(np.float32)
    assert np.unravel_index(found.argmax(), found.shape) == (20, 30)
    assert found.max() == np.float32(1 - 2.0**-24)
    assert np.count_nonzero(found > 0.9) < 20
    assert np.nanmin(found) == pytest.approx(0.1)


def test_wrong_input_is_refused():
    image = np.zeros((5, 5))
    with pytest.raises(ValueError, match="must be 2-D and equal"):
        filtered(image, np.ones((5, 4)), KERNEL)
    with pytest.raises(ValueError, match="odd size"):
        filtered(image, image, np.ones((2, 3)))
    for prior in (0.0, 1.0, np.nan):
        with pytest.raises(ValueError, match="prior"):
            point_source_probability(image, image, KERNEL, prior=prior)


@pytest.mark.parametrize("shape", [(1, 1), (2, 7), (30, 31)])
@pytest.mark.parametrize("size", [(1, 1), (3, 3), (7, 5)])
@pytest.mark.parametrize("kind", ["f4", "f8"])
def test_filter_by_its_equation(shape, size, kind):
    from scipy.ndimage import correlate

    rng = np.random.default_rng(9)
    image, sigma = rng.normal(size=shape).astype(kind), rng.uniform(0.5, 2, shape).astype(kind)
    image[rng.uniform(size=shape) < 0.2] = np.nan
    sigma[rng.uniform(size=shape) < 0.1] = rng.choice([0, -1, np.nan, np.inf])
    kernel = rng.uniform(size=size)
    usable = np.isfinite(image) & np.isfinite(sigma) & (sigma > 0)
    weight = np.divide(1, sigma.astype("f8") ** 2, where=usable, out=np.zeros(shape))
    a = correlate(np.where(usable, image, 0) * weight, kernel, mode="constant")
    b = correlate(weight, kernel**2, mode="constant")
    known = np.isfinite(image) & (b > 0)
    expected = np.divide(a, np.sqrt(b), where=known, out=np.full(shape, np.nan))
    np.testing.assert_allclose(filtered(image, sigma, kernel), expected, rtol=1e-12)
    single = filtered(image, sigma, kernel, np.float32)
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, expected, rtol=1e-6)
