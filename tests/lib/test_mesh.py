import numpy as np
from pymopex.mesh import mesh_background


def test_missing_panels_cut_panels_and_crowded_ones_are_as_in_photutils():
    from photutils.background import Background2D, SExtractorBackground

    rng = np.random.default_rng(1)
    image = rng.normal(20, 1, (233, 310)) + 0.05 * np.arange(310)
    image[rng.uniform(size=image.shape) < 0.05] += rng.exponential(200)
    image[100:140, 200:260] += rng.exponential(3, (40, 60))
    good = rng.uniform(size=image.shape) < 0.9
    good[60:90, 40:100] = False
    good[:30, :50] = False
    expected = Background2D(
        image,
        (15, 20),
        mask=~good,
        exclude_percentile=100,
        filter_size=3,
        bkg_estimator=SExtractorBackground(),
    ).background
    np.testing.assert_allclose(mesh_background(image, good, (15, 20), 1, 3), expected, rtol=1e-6)


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
