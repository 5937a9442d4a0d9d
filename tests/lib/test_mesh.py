import numpy as np
from pymopex.mesh import mesh_background


def field(rng):
    """An image with a slope, stars and a crowded place, and where it is good."""
    image = rng.normal(20, 1, (233, 310)) + 0.05 * np.arange(310)
    image[rng.uniform(size=image.shape) < 0.05] += rng.exponential(200)
    image[100:140, 200:260] += rng.exponential(3, (40, 60))
    return image, rng.uniform(size=image.shape) < 0.9


def of_photutils(image, good):
    from photutils.background import Background2D, SExtractorBackground

    estimator = SExtractorBackground()
    kept = {"exclude_percentile": 100, "filter_size": 3, "bkg_estimator": estimator}
    return Background2D(image, (15, 20), mask=~good, **kept).background


def test_cut_panels_and_crowded_ones_are_as_in_photutils():
    image, good = field(np.random.default_rng(1))
    np.testing.assert_allclose(
        mesh_background(image, good, (15, 20), 1, 3), of_photutils(image, good), rtol=1e-6
    )


def test_missing_panels_are_as_in_photutils_but_for_equally_near_ones():
    image, good = field(np.random.default_rng(1))
    good[60:90, 40:100] = False
    good[:30, :50] = False
    off = mesh_background(image, good, (15, 20), 1, 3) - of_photutils(image, good)
    assert np.abs(off[160:]).max() < 1e-3  # far from them
    assert np.sqrt(np.mean(off**2)) < 0.1  # of noise of 1 and levels from 20 to 35


def test_missing_panels_of_a_mirrored_image_are_mirrored():
    image, good = field(np.random.default_rng(2))
    image, good = image[:225, :300], good[:225, :300].copy()
    good[60:90, 40:100] = False
    good[:45, :60] = False
    found = mesh_background(image, good, (15, 20), 1, 3)
    for turn in (np.s_[::-1], np.s_[:, ::-1]):
        turned = mesh_background(np.ascontiguousarray(image[turn]), good[turn], (15, 20), 1, 3)
        np.testing.assert_allclose(turned[turn], found, rtol=1e-5)


def test_panels_with_too_few_pixels_take_no_part():
    image, good = np.full((60, 60), 5.0, "f4"), np.ones((60, 60), bool)
    image[:20, :20] = 1000
    good[:20, :20] = False
    good[3, 3:7] = True
    np.testing.assert_allclose(mesh_background(image, good, (20, 20), 5, 1), 5)
    assert mesh_background(image, good, (20, 20), 4, 1)[0, 0] == 1000
    assert np.isnan(mesh_background(image, good, (20, 20), 500, 1)).all()


def test_one_panel_is_its_mode_everywhere():
    image = np.array([[1.0, 2.0, 3.0, 4.0, 5.5]])
    found = mesh_background(image, np.ones((1, 5), bool), (1, 5), 1, 1)
    np.testing.assert_allclose(found, 2.5 * 3 - 1.5 * 3.1)
