import numpy as np
import pytest
from pymopex.radhit import RadhitParams, radhits

HOW = RadhitParams(segmentation=3, max_area=3, peak=10)
SIZE = 12


def image(**pixels):
    """An empty frame with some pixels, written as p3_4 for column 3, row 4."""
    out = np.zeros((SIZE, SIZE))
    for name, value in pixels.items():
        x, y = (int(word) for word in name[1:].split("_"))
        out[y, x] = value
    return out


def found(minus, sigma=1.0, how=HOW):
    """Pixels of hits as (column, row)."""
    sigma = None if sigma is None else np.broadcast_to(np.asarray(sigma, float), minus.shape)
    return sorted((int(x), int(y)) for y, x in np.argwhere(radhits(minus, sigma, how)))


def test_a_sharp_pixel_is_a_hit():
    assert found(image(p3_4=10.1)) == [(3, 4)]


def test_the_peak_decides_about_the_whole_cluster():
    assert found(image(p3_4=10.1, p4_4=3.1, p5_5=3.1)) == [(3, 4), (4, 4), (5, 5)]
    assert found(image(p3_4=9.9, p4_4=9.9, p5_5=9.9)) == []


def test_pixels_below_the_low_threshold_are_no_part():
    assert found(image(p3_4=10.1, p4_4=2.9)) == [(3, 4)]


def test_large_clusters_are_stars():
    assert found(image(p3_4=100, p4_4=5, p3_5=5)) == [(3, 4), (3, 5), (4, 4)]
    assert found(image(p3_4=100, p4_4=5, p3_5=5, p4_5=5)) == []


def test_corners_touch():
    assert found(image(p3_3=50, p4_4=5, p5_5=5, p6_6=5)) == []


def test_thresholds_are_in_sigma_of_each_pixel():
    sigma = np.ones((SIZE, SIZE))
    sigma[:, 6:] = 10
    assert found(image(p3_4=50, p8_4=50), sigma) == [(3, 4)]


def test_heights_count_from_the_median():
    assert found(image(p3_4=10.1) + 7) == [(3, 4)]
    assert found(image(p3_4=10.1) - 7) == [(3, 4)]


def test_the_rim_of_a_masked_core_is_no_hit():
    star = image(p5_5=np.nan, p6_5=np.nan, p5_6=np.nan, p4_5=50)
    assert found(star) == []
    assert found(image(p5_5=np.nan, p4_5=50)) == [(4, 5)]


def test_pixels_without_uncertainty_are_unusable():
    sigma = np.ones((SIZE, SIZE))
    sigma[4, 3] = np.nan
    assert found(image(p3_4=100), sigma) == []
    sigma[4, 3] = 0
    assert found(image(p3_4=100), sigma) == []


def test_a_frame_without_data():
    assert found(np.full((SIZE, SIZE), np.nan)) == []
    assert found(np.full((SIZE, SIZE), np.nan), None) == []


def test_measured_noise_in_place_of_uncertainties():
    rng = np.random.default_rng(2)
    minus = rng.normal(0, 0.25, (80, 80))
    minus[39:42, 29:32] = 0
    minus[40, 30] = 0.25 * 15
    minus[10, 20] = 0.25 * 7
    assert found(minus, None) == [(30, 40)]


def test_wrong_shape():
    with pytest.raises(ValueError, match=r"sigma has shape \(2, 2\), the image \(12, 12\)"):
        radhits(image(), np.ones((2, 2)), HOW)


@pytest.mark.parametrize(
    ("values", "error"),
    [((0, 3, 10), "segmentation"), ((3, 0, 10), "max_area"), ((3, 3, 2), "peak = 2 must not be below")],
)
def test_contradictions(values, error):
    with pytest.raises(ValueError, match=error):
        RadhitParams(*values)
