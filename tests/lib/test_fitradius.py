import numpy as np
import pytest
from pymopex.fitradius import fit_radius


def one(image, sigma, x, y, **more):
    fit_x, fit_y = fit_radius(image, sigma, np.array([x]), np.array([y]), **more)
    return int(fit_x[0]), int(fit_y[0])


@pytest.fixture
def field():
    """Image of mean 0 with a bar at x = 18..22, y = 14..16 in noise of 1."""
    image = np.zeros((31, 41))
    image[14:17, 18:23] = 10.0
    return image - image.mean(), np.ones(image.shape)


def test_bar_by_hand(field):
    # The first pixels in the noise are 3 away along x, 2 along y.
    assert one(*field, 20.0, 15.0) == (7, 5)


def test_the_shorter_way_counts(field):
    assert one(*field, 19.0, 15.0) == (5, 5)
    assert one(*field, 22.0, 16.0) == (3, 3)


def test_the_nearest_pixel_is_the_start(field):
    assert one(*field, 20.49, 14.51) == (7, 5)
    assert one(*field, 20.51, 15.0) == (5, 5)


def test_the_mean_is_taken_off(field):
    image, sigma = field
    assert one(image + 1000, sigma, 20.0, 15.0) == (7, 5)


def test_a_faint_source_gets_the_smallest_box(field):
    image, sigma = field
    assert one(image, 20 * sigma, 20.0, 15.0) == (3, 3)
    assert one(image, sigma, 5.0, 5.0) == (3, 3)


def test_coverage_makes_the_noise_larger(field):
    image, sigma = field
    image = image + np.where(np.arange(41) == 20, 20.0, 0.0)
    image -= image.mean()
    coverage = np.full(image.shape, 144.0)
    assert one(image, sigma, 20.0, 15.0)[0] == 7
    assert one(image, sigma, 20.0, 15.0, coverage=coverage)[0] == 3


def test_a_way_into_missing_data_does_not_count(field):
    image, sigma = field
    image[15, 21] = np.nan
    assert one(image, sigma, 20.0, 15.0)[0] == 7
    image[15, 19] = np.nan
    assert one(image, sigma, 20.0, 15.0)[0] == 3


def test_edges():
    image = np.zeros((20, 20))
    image[:3, :2] = 10.0
    assert one(image, np.ones(image.shape), 0.0, 1.0) == (5, 5)
    image[:] = np.arange(20) < 19
    assert one(image, np.zeros(image.shape), 9.0, 10.0) == (21, 21)


def test_sources_off_the_image_get_the_smallest_box(field):
    x = np.array([-1.0, 41.0, np.nan, 5.0, 20.0])
    y = np.array([3.0, 3.0, 3.0, 31.0, 15.0])
    fit_x, fit_y = fit_radius(*field, x, y)
    assert fit_x.tolist() == [3, 3, 3, 3, 7]
    assert fit_y.tolist() == [3, 3, 3, 3, 5]


def test_sizes_are_odd_and_at_least_three():
    rng = np.random.default_rng(7)
    image, sigma = rng.normal(size=(40, 50)), rng.uniform(0, 1, (40, 50))
    image[rng.uniform(size=image.shape) < 0.1] = np.nan
    found = fit_radius(image, sigma, rng.uniform(-2, 52, 300), rng.uniform(-2, 42, 300))
    for size in found:
        assert size.dtype.kind == "i"
        assert (size % 2 == 1).all()
        assert size.min() == 3


def test_empty_lists_and_images_without_data(field):
    assert [len(size) for size in fit_radius(*field, np.zeros(0), np.zeros(0))] == [0, 0]
    assert one(np.full((4, 4), np.nan), np.ones((4, 4)), 1.0, 1.0) == (3, 3)


def test_wrong_shapes_are_refused(field):
    image, sigma = field
    with pytest.raises(ValueError, match="must be 2-D and equal"):
        one(image, sigma[1:], 1.0, 1.0)
    with pytest.raises(ValueError, match="coverage has shape"):
        one(image, sigma, 1.0, 1.0, coverage=sigma[1:])
    with pytest.raises(ValueError, match="lists of one length"):
        fit_radius(image, sigma, np.zeros(2), np.zeros(3))
