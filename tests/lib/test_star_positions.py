import numpy as np
import pytest
from pymopex.star_positions import StarParams, find_stars

BIAS = 0.01  # pixel, mean error of the positions
EXCESS = 1.3  # largest scatter over the stated error


def field(n=60, seed=1, width=0.75):
    """Pixel-integrated Gaussians on a noisy sky, with hits."""
    from scipy.special import erf

    rng = np.random.default_rng(seed)
    place = 12 + 26 * np.stack(np.divmod(np.arange(n), 8), axis=1)[:, ::-1]
    place = place + rng.uniform(-0.5, 0.5, place.shape)
    image = rng.normal(5.0, 1.0, (230, 230))
    at = np.arange(230)
    for x, y in place:
        fx, fy = (0.5 * np.diff(erf((np.append(at, 230) - 0.5 - c) / (width * 2**0.5))) for c in (x, y))
        image += 400 * fy[:, None] * fx
    for y, x in rng.integers(10, 220, (10, 2)):
        image[y, x] += 300
    return image, place


def test_positions_and_their_errors():
    image, place = field()
    stars = find_stars(image, np.ones(image.shape), np.zeros(image.shape, bool), StarParams(fwhm=1.75))
    apart = np.hypot(stars.x[:, None] - place[:, 0], stars.y[:, None] - place[:, 1])
    nearest = apart.argmin(axis=1)
    real = apart.min(axis=1) < 0.5
    assert len(set(nearest[real])) > 0.9 * len(place)
    assert np.count_nonzero(~real) <= 3  # single pixels are narrower than a star
    off = np.stack([stars.x, stars.y], axis=1)[real] - place[nearest[real]]
    assert np.abs(off.mean(axis=0)).max() < BIAS
    assert np.sqrt(np.mean(off**2)) < EXCESS * np.sqrt(np.mean(stars.error[real] ** 2))
    assert np.all(np.diff(stars.snr) <= 0)


def test_bad_pixels_next_to_a_peak_and_missing_uncertainties():
    image, place = field()
    bad = np.zeros(image.shape, bool)
    x, y = np.rint(place[0]).astype(int)
    bad[y, x + 1] = True
    image[0, 0] = np.nan
    stars = find_stars(image, None, bad, StarParams(fwhm=1.75))
    assert np.hypot(stars.x - place[0, 0], stars.y - place[0, 1]).min() > 2
    assert len(stars) > 50


def test_empty_sky():
    sky = np.random.default_rng(1).normal(0, 1, (64, 64))
    assert len(find_stars(sky, None, np.zeros(sky.shape, bool), StarParams())) == 0


@pytest.mark.parametrize("given", [{"fwhm": 0}, {"half": 0}, {"width_range": (2.0, 1.0)}])
def test_settings_are_checked(given):
    with pytest.raises(ValueError, match=r"must be positive|is no range"):
        StarParams(**given)
