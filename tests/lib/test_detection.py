import numpy as np
import pytest
from pymopex import detection
from pymopex.detection import DetectionParams, detect, detection_map, initial_threshold


def star(shape, x, y, peak, width=0.9):
    row, column = np.indices(shape)
    return peak * np.exp(-((column - x) ** 2 + (row - y) ** 2) / 2 / width**2)


def field(stars, shape=(60, 70), noise=1.0, seed=1):
    image = np.random.default_rng(seed).normal(0, noise, shape)
    for x, y, peak in stars:
        image += star(shape, x, y, peak)
    return image


def search(image, bad=None, **rules):
    """Detect above a threshold of 1 in an image in units of its noise, unless told otherwise."""
    more = {key: rules.pop(key) for key in ("coverage", "noise", "brightness") if key in rules}
    rules = {"input_type": "snr_input", "threshold": 1.0, "min_area": 1, "min_peak_sigma": 0.0} | rules
    if rules["input_type"] == "snr_input":
        more.setdefault("noise", np.ones(image.shape))
    return detect(image, bad, DetectionParams(**rules), **more)


def pixels(text):
    """Small image from digits."""
    return np.array([[float(digit) for digit in line] for line in text.split()])


def places(found):
    return sorted((round(float(x)), round(float(y))) for x, y in zip(found.x, found.y, strict=True))


KINDS = pytest.mark.parametrize("kind", ["simple", "peak", "combo"])

TWO_CLOSE = [(30.0, 30.0, 200.0), (34.2, 31.0, 150.0)]


# The first threshold


def test_threshold_by_hand():
    image = np.array([[1.0, 2.0, 3.0, 100.0]])
    good = np.ones(image.shape, dtype=bool)
    # 100 is above 26.5 + 1.5 * 42.4 and goes; 3 stays below 2 + 1.5 * 0.816.
    assert initial_threshold(image, good, 1.5) == pytest.approx(2 + 1.5 * np.sqrt(2 / 3))
    good[0, 3] = False
    assert initial_threshold(image, good, 3.0) == pytest.approx(2 + 3 * np.sqrt(2 / 3))


def test_threshold_leaves_sources_out():
    image = field([(20, 20, 1000), (50, 40, 500)])
    good = np.ones(image.shape, dtype=bool)
    assert initial_threshold(image, good, 4.0) == pytest.approx(4, rel=0.05)


def test_threshold_of_odd_images():
    good = np.ones((3, 3), dtype=bool)
    assert np.isnan(initial_threshold(np.zeros((3, 3)), ~good, 3.0))
    assert initial_threshold(np.full((3, 3), 0.1), good, 3.0) == pytest.approx(0.1)
    with pytest.raises(ValueError, match="must be positive"):
        initial_threshold(np.zeros((3, 3)), good, 0.0)


# Clusters by hand


def test_clusters_by_hand():
    image = pixels("""
        00000000
        03200000
        01000040
        00000400
        00000000
    """)
    found = search(image, threshold=0.5, max_area=100)
    # Pixels that touch at a corner are apart. The weights are values above the level of the free pixels around.
    assert len(found) == 3
    assert sorted(found.area) == [1, 1, 3]
    three = int(np.flatnonzero(found.area == 3)[0])
    assert (found.x[three], found.y[three]) == pytest.approx((8 / 6, 7 / 6))
    assert found.flux[three] == 3
    assert found.labels[1, 1] == found.labels[1, 2] == found.labels[2, 1] == three + 1
    assert np.count_nonzero(found.labels) == 5
    assert found.blend_id.tolist() == [1, 2, 3]
    assert found.blend_size.tolist() == [1, 1, 1]
    assert (found.levels[found.labels > 0] == 1).all()
    joined = search(image, threshold=0.5, max_area=100, neighbor_type="corners")
    assert sorted(joined.area) == [2, 3]
    assert joined.x[joined.area == 2] == pytest.approx(5.5)


def test_only_pixels_above_the_threshold_count():
    image = pixels("00000 02220 02320 02220 00000")
    assert search(image, threshold=2.0).area.tolist() == [1]
    assert search(image, threshold=1.99, max_area=9).area.tolist() == [9]
    assert len(search(image, threshold=3.0)) == 0


def test_smallest_area():
    image = pixels("0000000 0900880 0000000 0077700 0000000")
    assert sorted(search(image, min_area=1, max_area=9).flux) == [7, 8, 9]
    assert sorted(search(image, min_area=2, max_area=9).flux) == [7, 8]
    assert sorted(search(image, min_area=3, max_area=9).flux) == [7]
    assert len(search(image, min_area=4, max_area=9)) == 0
    assert len(search(image, min_area=0, max_area=9)) == 3


@KINDS
def test_large_clusters_shrink(kind):
    image = star((21, 21), 10, 10, 100, width=2.0)
    whole = search(image, threshold_type=kind, max_area=500)
    small = search(image, threshold_type=kind, max_area=9)
    assert whole.level.tolist() == [1]
    assert len(small) == 1
    assert small.area[0] <= 9 < whole.area[0]
    assert small.level[0] > 1
    assert small.thresholds[0] > whole.thresholds[0] == whole.first_threshold == 1
    assert small.levels.max() == small.level[0]
    assert np.count_nonzero(small.levels) == whole.area[0]


@KINDS
def test_number_of_passes_is_limited(kind):
    image = star((21, 21), 10, 10, 100, width=2.0)
    found = search(image, threshold_type=kind, max_area=1, max_level=2)
    assert found.level.tolist() == [2]
    assert found.area[0] > 1


@KINDS
def test_a_flat_top_is_kept(kind):
    image = np.zeros((20, 20))
    image[5:12, 5:12] = 50.0
    found = search(image, threshold_type=kind, max_area=10)
    assert len(found) == 1
    assert (found.x[0], found.y[0]) == pytest.approx((8, 8))


# Blends


@KINDS
def test_two_peaks_are_one_blend(kind):
    image = star((60, 70), *TWO_CLOSE[0]) + star((60, 70), *TWO_CLOSE[1])
    found = search(image, threshold_type=kind, max_area=5)
    assert len(found) == 2
    assert found.blend_id.tolist() == [1, 1]
    assert found.blend_size.tolist() == [2, 2]
    assert found.flux[0] > found.flux[1]
    for i, (x, y, _) in enumerate(TWO_CLOSE):
        assert (found.x[i], found.y[i]) == pytest.approx((x, y), abs=0.25)


@KINDS
def test_separate_stars_are_separate_blends(kind):
    image = star((60, 70), 15, 20, 100) + star((60, 70), 50, 30, 80)
    found = search(image, threshold_type=kind)
    assert found.blend_id.tolist() == [1, 2]
    assert found.blend_size.tolist() == [1, 1]


def test_faint_source_on_the_slope_of_a_bright_one():
    # It sinks below the raised threshold, but it has a peak of its own.
    image = star((60, 70), 30, 30, 1000, width=1.5) + star((60, 70), 36, 30, 12)
    assert len(search(image, threshold_type="simple")) == 1
    for kind in ("peak", "combo"):
        found = search(image, threshold_type=kind)
        assert places(found) == [(30, 30), (36, 30)]
        assert found.blend_size.tolist() == [2, 2]


@KINDS
def test_sub_peaks_must_be_high_enough(kind):
    image = star((60, 70), 30, 30, 100, width=1.2) + star((60, 70), 35, 30, 30, width=1.2)
    assert len(search(image, threshold_type=kind, min_peak_fraction=0.9)) == 1
    assert len(search(image, threshold_type=kind, min_peak_sigma=80.0)) == 1
    if kind != "simple":
        assert len(search(image, threshold_type=kind, min_peak_fraction=0.1)) == 2
        assert len(search(image, threshold_type=kind, min_peak_sigma=10.0)) == 2


def test_peaks_are_the_highest_within_their_radius():
    image = star((60, 70), 30, 30, 100) + star((60, 70), 34, 30, 80)
    assert len(search(image, threshold_type="peak", peaks_radius=3)) == 2
    assert len(search(image, threshold_type="peak", peaks_radius=4)) == 1


# What is not searched


def test_extended_objects_are_not_listed():
    image = star((80, 80), 40, 40, 100, width=8.0) + star((80, 80), 8, 8, 100)
    assert len(search(image, threshold_type="combo")) == 2
    found = search(image, threshold_type="combo", extended_area=100)
    assert places(found) == [(8, 8)]
    assert not found.labels[30:50, 30:50].any()


def test_extended_objects_below_the_largest_area_are_not_listed():
    image = star((80, 80), 40, 40, 100, width=3.0)
    assert len(search(image, max_area=1000, extended_area=200)) == 1
    assert len(search(image, max_area=1000, extended_area=20)) == 0


def test_wings_do_not_make_a_star_extended():
    image = star((80, 80), 40, 40, 1e5)
    assert np.count_nonzero(image > 1) > 60
    assert len(search(image, threshold_type="combo", extended_area=30)) == 1


def test_a_threshold_may_be_a_whole_number():
    image = np.zeros((9, 9))
    image[3:5, 3:5] = 10
    for threshold in (5, 5.0):
        rules = DetectionParams(input_type="snr_input", threshold=threshold, min_area=1, max_area=9)
        assert len(detect(image, None, rules, noise=np.ones_like(image))) == 1


def test_edge():
    image = star((40, 50), 3, 20, 100) + star((40, 50), 25, 20, 100)
    assert places(search(image)) == [(3, 20), (25, 20)]
    found = search(image, n_edge=7)
    assert places(found) == [(25, 20)]
    assert not found.labels[:, :7].any()
    assert len(search(image, n_edge=30)) == 0


def test_coverage():
    image = star((40, 50), 10, 20, 100) + star((40, 50), 35, 20, 100)
    coverage = np.full(image.shape, 3.0)
    coverage[:, :25] = 1.5
    assert len(search(image, coverage=coverage)) == 2
    assert len(search(image, coverage=coverage, minimum_coverage=1.5)) == 2
    assert places(search(image, coverage=coverage, minimum_coverage=1.8)) == [(35, 20)]
    coverage[:, 25:] = np.nan
    assert len(search(image, coverage=coverage, minimum_coverage=1.8)) == 0


def test_bad_pixels_and_missing_data():
    image = star((40, 50), 10, 20, 100) + star((40, 50), 35, 20, 100)
    bad = np.zeros(image.shape, dtype=bool)
    bad[15:26, 5:16] = True
    image[5, 5], image[6, 40] = np.nan, np.inf
    assert places(search(image, bad)) == [(35, 20)]
    noise = np.ones(image.shape)
    noise[:, 20:] = np.nan
    assert places(search(image, noise=noise)) == [(10, 20)]
    noise[:, 20:] = 0.0
    assert places(search(image, noise=noise)) == [(10, 20)]


@pytest.mark.parametrize("input_type", ["image_input", "snr_input"])
def test_a_hole_in_a_star_is_no_obstacle(input_type):
    image = field([(30, 30, 300)])
    image[30, 30] = np.nan
    found = search(image, input_type=input_type, threshold=5.0, threshold_type="combo", min_peak_sigma=3.0)
    assert np.hypot(found.x - 30, found.y - 30).min() < 1.5


@pytest.mark.parametrize("input_type", ["image_input", "snr_input"])
def test_an_image_without_data(input_type):
    found = search(np.full((9, 9), np.nan), input_type=input_type)
    assert len(found) == 0
    assert found.labels.shape == (9, 9)
    assert not found.labels.any()
    assert np.isnan(found.first_threshold) == (input_type == "image_input")


# Injected sources


@pytest.mark.parametrize("input_type", ["image_input", "snr_input"])
@KINDS
def test_injected_sources_are_found_at_their_places(kind, input_type):
    rng = np.random.default_rng(5)
    grid = np.array([(x, y) for x in range(12, 190, 16) for y in range(12, 190, 16)])
    truth = grid + rng.uniform(-0.5, 0.5, grid.shape)
    image = field([(x, y, 60.0) for x, y in truth], shape=(200, 200), seed=6)
    rules = DetectionParams(input_type=input_type, threshold=5.0, threshold_type=kind)
    found = detect(image, None, rules, noise=np.ones(image.shape))
    assert len(found) == len(truth)
    distance = np.hypot(found.x[:, None] - truth[:, 0], found.y[:, None] - truth[:, 1])
    assert sorted(distance.argmin(axis=1)) == list(range(len(truth)))
    assert np.sqrt(np.mean(distance.min(axis=1) ** 2)) < 0.25  # pixel
    assert found.flux == pytest.approx(60, rel=0.35)


def test_noise_gives_next_to_no_detections():
    image = field([], shape=(200, 200))
    assert len(detect(image, None, DetectionParams(threshold=5.0))) == 0


def test_image_over_noise_is_the_same_as_the_ratio():
    rng = np.random.default_rng(7)
    noise = rng.uniform(1, 3, (60, 70))
    image = field(TWO_CLOSE) * noise
    one = search(image, noise=noise, threshold=5.0)
    two = search(image / noise, threshold=5.0, brightness=image)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(one.x, two.x)
    np.testing.assert_allclose(one.flux, two.flux)


def test_brightness_gives_fluxes_and_centroids():
    shape = (40, 40)
    probability = 1 - np.exp(-star(shape, 20, 20, 50.0))
    brightness = star(shape, 20.3, 19.8, 70.0)
    found = search(probability, threshold=0.5, max_area=50, brightness=brightness)
    assert found.flux[0] == pytest.approx(brightness.max())
    assert (found.x[0], found.y[0]) == pytest.approx((20.3, 19.8), abs=0.05)
    brightness[:] = np.nan
    found = search(probability, threshold=0.5, max_area=50, brightness=brightness)
    assert np.isnan(found.flux[0])
    assert (found.x[0], found.y[0]) == pytest.approx((20, 20), abs=0.1)


@KINDS
@pytest.mark.parametrize("corners", ["sides", "corners"])
def test_the_way_the_image_lies_does_not_matter(kind, corners):
    rng = np.random.default_rng(8)
    stars = [(*rng.uniform(5, 55, 2), 10 ** rng.uniform(1, 3)) for _ in range(40)]
    image = field(stars, shape=(60, 60), seed=9)
    rules = {
        "threshold": 4.0,
        "threshold_type": kind,
        "min_area": 2,
        "neighbor_type": corners,
        "min_peak_sigma": 3.0,
    }
    expected = search(image, **rules)
    for turned, back in (
        (image[::-1], lambda x, y: (x, 59 - y)),
        (image[:, ::-1], lambda x, y: (59 - x, y)),
        (image.T, lambda x, y: (y, x)),
    ):
        found = search(np.ascontiguousarray(turned), **rules)
        x, y = back(found.x, found.y)
        assert len(found) == len(expected) > 20
        one, two = np.lexsort((y, x)), np.lexsort((expected.y, expected.x))
        np.testing.assert_allclose(x[one], expected.x[two], rtol=1e-9)
        np.testing.assert_allclose(y[one], expected.y[two], rtol=1e-9)
        np.testing.assert_allclose(found.flux[one], expected.flux[two])
        np.testing.assert_array_equal(found.blend_size[one], expected.blend_size[two])


@KINDS
def test_lists_and_maps_agree(kind):
    rng = np.random.default_rng(10)
    stars = [(*rng.uniform(5, 75, 2), 10 ** rng.uniform(1, 3)) for _ in range(60)]
    image = field(stars, shape=(80, 80), seed=11)
    found = search(image, threshold=4.0, threshold_type=kind, min_area=2, max_area=6, min_peak_sigma=3.0)
    assert len(found) == found.labels.max()
    np.testing.assert_array_equal(np.bincount(found.labels.ravel())[1:], found.area)
    assert ((found.levels > 0) >= (found.labels > 0)).all()
    assert (image[found.levels > 0] > 4).all()
    for i in range(len(found)):
        inside = found.labels == i + 1
        assert found.flux[i] == image[inside].max()
        assert 2 <= found.area[i] <= 6 or (image[inside] == image[inside].max()).all()
        assert (found.levels[inside] == found.level[i]).all()
    for blend in range(1, found.blend_id.max() + 1):
        members = np.flatnonzero(found.blend_id == blend)
        assert (found.blend_size[members] == len(members)).all()
        assert (np.diff(members) == 1).all()
        assert (np.diff(found.flux[members]) <= 0).all()


def test_the_list_is_the_same_every_time():
    image = field(TWO_CLOSE)
    one, two = (search(image.copy(), threshold=4.0, threshold_type="combo") for _ in range(2))
    for name in ("x", "y", "flux", "area", "labels", "levels", "thresholds"):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))


def test_units_do_not_matter():
    image = field(TWO_CLOSE)
    rules = DetectionParams(threshold=5.0)
    one, two = detect(image, None, rules), detect(image * 1024, None, rules)
    np.testing.assert_array_equal(one.labels, two.labels)
    np.testing.assert_allclose(two.flux, one.flux * 1024)


def test_map_of_detections():
    image = field(TWO_CLOSE)
    rules = DetectionParams(threshold=5.0)
    found = detection_map(image, None, rules)
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, detect(image, None, rules).labels)
    assert found[30, 30] > 0


# Wrong input


@pytest.mark.parametrize(
    "rules,message",
    [
        ({"input_type": "picture"}, "input_type = 'picture' must be one of"),
        ({"threshold_type": "log"}, "simple, combo, peak"),
        ({"neighbor_type": "all"}, "sides, corners"),
        ({"threshold": 0.0}, "must be positive"),
        ({"threshold": np.nan}, "must be positive"),
        ({"min_area": 6, "max_area": 5}, "between 0 and max_area"),
        ({"min_area": -1}, "between 0 and max_area"),
        ({"min_area": 0, "max_area": 0}, "between 0 and max_area"),
        ({"min_peak_fraction": 1.1}, "between 0 and 1"),
        ({"peaks_radius": 0}, "at least 1"),
        ({"max_level": 0}, "at least 1"),
        ({"extended_area": -1}, "must not be negative"),
        ({"n_edge": -1}, "must not be negative"),
        ({"min_peak_sigma": -1.0}, "must not be negative"),
    ],
)
def test_wrong_rules_are_refused(rules, message):
    with pytest.raises(ValueError, match=message):
        DetectionParams(**rules)


def test_wrong_images_are_refused():
    image, small = np.zeros((6, 6)), np.zeros((5, 6))
    ratio = DetectionParams(input_type="snr_input")
    with pytest.raises(ValueError, match="needs a noise image"):
        detect(image, None, ratio)
    with pytest.raises(ValueError, match="noise has shape"):
        detect(image, None, ratio, noise=small)
    with pytest.raises(ValueError, match="coverage has shape"):
        detect(image, None, DetectionParams(minimum_coverage=1.0), coverage=small)
    with pytest.raises(ValueError, match="brightness has shape"):
        detect(image, None, DetectionParams(), brightness=small)
    with pytest.raises(ValueError, match="bad has shape"):
        detect(image, small > 0, DetectionParams())
    with pytest.raises(ValueError, match="2-D and not empty"):
        detect(np.zeros(6), None, DetectionParams())


def test_single_precision_gives_what_the_same_numbers_in_double_precision_give():
    rng = np.random.default_rng(12)
    image = rng.normal(size=(150, 160)).astype("f4")
    y, x = np.mgrid[:150, :160]
    for _ in range(60):
        height, x0, y0 = 4 + 20 * rng.pareto(1), rng.uniform(0, 160), rng.uniform(0, 150)
        image += (height * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 6)).astype("f4")
    noise = np.full(image.shape, 0.5, "f4")  # of which the ratio is exact
    for kind, given in (("snr_input", noise), ("image_input", None)):
        how = DetectionParams(kind, 5.0, "combo", 3, 12, 0.02)
        one = detect(image, None, how, noise=given)
        two = detect(image.astype("f8"), None, how, noise=given)
        assert len(one) > 30
        for name in ("x", "y", "flux", "blend_id", "level", "labels", "levels"):
            np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=name)


def test_a_threshold_between_two_single_numbers_parts_them():
    low = np.float32(5.1)
    high = np.nextafter(low, np.float32(9))
    values = np.array([low, high, np.nan, -np.inf, low, high], "f4")
    assert detection._above(values, 0.5 * (float(low) + float(high))).tolist() == [1, 5]
    assert detection._above(values, float(low)).tolist() == [1, 5]
    assert detection._above(values, np.nan).tolist() == []
