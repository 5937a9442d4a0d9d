"""PRFs from stamps of a known PRF: the legacy average, the effective PRF, and zones of the array."""

from functools import lru_cache

import numpy as np
import pytest
from pymopex import optics
from pymopex.instruments import INSTRUMENTS
from pymopex.prf import PRF, prf_table
from pymopex.prf_average import Grid, StampRules, average, centroid_in, trimmed
from pymopex.prf_effective import EffectiveRules, effective
from pymopex.prf_zones import estimate, zone_regions
from pymopex.residuals import render
from pymopex.stamps import Stamps

FACTOR, SIZE = 5, 21
PEAK = 0.008  # of the peak, largest difference of an effective PRF from the truth
KEYS = 0.005  # of the peak, error of the cubic convolution of a Gaussian of sigma 2 pixels
BLUR = 0.1  # of the peak, that the average loses at least
WAVE = 0.008  # relative, what is left of a flux that changed with the place in the pixel
STAR = 0.004  # pixel, rms of the places of bright stars; twice what their noise tells
RULES = StampRules(max_nans=20, threshold=5, fit_box=(5, 5), centre_box=(7, 7))


@lru_cache
def true_prf(focus=0.0):
    return optics.prf(INSTRUMENTS["I1"], optics.Aberrations(focus), sampling=20)


def make(n_stars=16, n_frames=8, *, seed=1, background=0.0, displaced=0.0, prfs=None, zone=None):
    """Stamps of bright stars with the noise of their photons, and the truth: places and fluxes."""
    random = np.random.default_rng(seed)
    source, frame = (a.ravel() for a in np.indices((n_stars, n_frames)))
    n = source.size
    x, y = SIZE // 2 + random.uniform(-0.5, 0.5, (2, n))
    flux = random.uniform(50, 200, n_stars)[source]
    table = prf_table(prfs or [true_prf()])
    which = np.zeros(n, int) if zone is None else zone
    data = np.array(
        [render(*(a[k : k + 1] for a in (x, y, flux, which)), table, (SIZE, SIZE)) for k in range(n)]
    )
    sigma = np.sqrt(0.02**2 + data / 500)
    data = data + random.normal(size=data.shape) * sigma
    data += background * random.uniform(0.5, 1.5, n)[:, None, None]
    turn = random.uniform(0, 6, n_frames)[frame]
    jacobian = 0.82 * np.stack([[-np.cos(turn), np.sin(turn)], [np.sin(turn), np.cos(turn)]]).transpose(
        2, 0, 1
    )
    sky, jitter = random.normal(0, displaced, (n_stars, 2)), random.normal(0, displaced, (n_frames, 2))
    wrong = np.einsum("nij,nj->ni", jacobian, sky[source]) + jitter[frame]
    wrong_flux = flux * (1 + displaced * random.normal(0, 0.5, n_stars)[source])
    stamps = Stamps(data, x + wrong[:, 0], y + wrong[:, 1], wrong_flux, sigma, source, frame, jacobian)
    return stamps, x, y, flux


def difference(found, grid, true=None):
    """PRF minus truth, in peaks of the truth; both normalised within 10 pixels."""
    true = true or true_prf()
    step = true.factor_x // grid.factor_x
    cut = [
        slice(n // 2 - h // 2 * step, n // 2 + h // 2 * step + 1, step)
        for n, h in zip(true.samples.shape, (grid.ny, grid.nx), strict=True)
    ]
    same = PRF(true.samples[tuple(cut)], grid.factor_x, grid.factor_y).normalised(10 * grid.factor_x).samples
    mine = PRF(found.samples, grid.factor_x, grid.factor_y).normalised(10 * grid.factor_x).samples
    inside = np.hypot(grid.y[:, None], grid.x) <= 9.5  # some stamps only reach the corners
    return np.where(inside, mine - same, 0.0) / same.max()


@pytest.fixture(scope="module")
def plain():
    return make()


@pytest.fixture(scope="module")
def fitted(plain, grid):
    return effective(plain[0], grid, RULES, EffectiveRules())[0]


@pytest.fixture(scope="module")
def grid(plain):
    return Grid.of(plain[0], FACTOR, FACTOR)


def test_samples_are_odd_in_number_and_counted_from_the_middle():
    stamps, *_ = make(1, 1)
    assert Grid.of(stamps, 4, 5) == Grid(83, 105, 4, 5)
    one = Grid.of(stamps, 4, 5)
    assert one.x[41] == one.y[52] == 0
    assert one.x[-1] == 41 / 4


def test_trimmed_mean_and_sigma():
    values = np.concatenate([np.arange(1.0, 20.0), [1e9]])
    mean, sigma = trimmed(values)
    assert mean == np.mean(np.arange(3, 19))
    assert 4 < sigma < 9
    random = np.random.default_rng(1).normal(5, 2, (4000, 3))
    mean, sigma = trimmed(random)
    np.testing.assert_allclose(mean, 5, atol=0.1)
    np.testing.assert_allclose(sigma, 2, rtol=0.04)  # scaled to the sigma of a normal distribution


def test_few_values_have_no_outliers():
    values = np.array([[1.0, 1.0], [1.0, np.nan], [500.0, 2.0], [np.nan, np.nan]])
    assert np.isinf(trimmed(values)[1]).all()


def test_the_average_of_well_sampled_stars_is_the_prf():
    """Gaussians of sigma 2 pixels: the interpolation does not matter much."""
    random = np.random.default_rng(2)
    n = 30
    x, y = SIZE // 2 + random.uniform(-0.5, 0.5, (2, n))
    at = np.arange(SIZE)
    data = np.exp(-((at - x[:, None])[:, None, :] ** 2 + (at - y[:, None])[:, :, None] ** 2) / 8) / (
        8 * np.pi
    )
    number = np.arange(n)
    stamps = Stamps(3 * data, x, y, np.full(n, 3.0), None, number, number, np.tile(np.eye(2), (n, 1, 1)))
    grid = Grid.of(stamps, 4, 4)
    found = average(stamps, grid, StampRules(threshold=50, centre_box=(9, 9)))
    expected = np.exp(-(grid.x**2 + grid.y[:, None] ** 2) / 8) / (8 * np.pi)
    inner = np.ix_(np.abs(grid.y) < 9, np.abs(grid.x) < 9)
    np.testing.assert_allclose(found.samples[inner], expected[inner], atol=KEYS * expected.max())
    assert found.coverage[grid.ny // 2, grid.nx // 2] == n
    assert found.coverage[0, 0] < n


def test_the_average_blurs_undersampled_stars_and_the_effective_prf_does_not(plain, grid, fitted):
    stamps, x, *_ = plain
    blurred = average(stamps, grid, StampRules(threshold=50))
    middle = grid.ny // 2, grid.nx // 2
    assert difference(blurred, grid)[middle] < -BLUR
    found = fitted
    assert np.abs(difference(found, grid)).max() < PEAK
    assert found.used.all()
    assert np.std(found.x - x) < STAR
    assert 0.85 < np.nanmedian(found.chi2) < 1.1


def test_the_uncertainty_is_that_of_the_samples(grid, fitted):
    core = np.ix_(np.abs(grid.y) < 2, np.abs(grid.x) < 2)
    true = true_prf().samples
    error = difference(fitted, grid)[core] * true.max()
    pulls = error / fitted.error[core]
    assert 0.6 < np.std(pulls) < 1.6


def flux_error(found, grid):
    """Relative error of fluxes that are fitted with a PRF and a background in 7 x 7 pixels."""
    true = true_prf()
    step, h = true.factor_x // FACTOR, int(3.5 * FACTOR)
    core = [
        PRF(s, f, f)
        .normalised(10 * f)
        .samples[n // 2 - h * k : n // 2 + h * k + 1 : k, :][:, n // 2 - h * k : n // 2 + h * k + 1 : k]
        for s, f, k in ((found.samples, FACTOR, 1), (true.samples, true.factor_x, step))
        for n in s.shape[:1]
    ]
    mine, same = (one - one.mean() for one in core)
    return (same * same).sum() / (mine * same).sum() - 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_normalisation_is_as_good_as_told(grid, seed):
    """12 stars in 5 frames, with a constant under each stamp."""
    (found,) = effective(make(12, 5, seed=seed, background=0.3)[0], grid, RULES, EffectiveRules())
    within = np.hypot(grid.y[::FACTOR, None], grid.x[::FACTOR]) <= 10
    told = np.hypot(found.level_error * within.sum() / found.samples.sum() * FACTOR**2, found.sum_error)
    assert 0.0003 < told < 0.003
    assert abs(flux_error(found, grid)) < 2.5 * told


def test_places_fluxes_offsets_and_backgrounds_are_refined(grid):
    """Stars 0.1 pixel off in the list, frames displaced by as much, fluxes 5 % off, and unknown backgrounds."""
    stamps, x, y, flux = make(seed=3, background=0.5, displaced=0.1)
    (found,) = effective(stamps, grid, RULES, EffectiveRules())
    assert np.std(stamps.x - x) > 0.1
    assert np.std(found.x - x) < STAR
    assert np.std(found.y - y) < STAR
    ratio = found.flux / flux
    assert np.std(ratio / ratio.mean()) < 0.003
    assert np.abs(difference(found, grid)).max() < 1.5 * PEAK


def test_hits_are_found_and_left_out(grid):
    stamps, *_ = make(seed=4)
    random = np.random.default_rng(5)
    hit = random.choice(len(stamps), 40, replace=False), *random.integers(4, SIZE - 4, (2, 40))
    stamps.data[hit] += random.uniform(2, 40, 40)
    (found,) = effective(stamps, grid, RULES, EffectiveRules())
    assert np.abs(difference(found, grid)).max() < 1.5 * PEAK
    assert (found.n_outliers[hit[0]] >= 1).mean() > 0.95
    assert found.n_outliers.sum() < 55
    many = StampRules(max_nans=20, threshold=5, fit_box=(5, 5), centre_box=(7, 7), max_ratio=0.001)
    (fewer,) = effective(stamps, grid, many, EffectiveRules(iterations=5))
    assert set(np.flatnonzero(fewer.reason == "outliers")) >= set(np.flatnonzero(found.n_outliers))


def test_the_average_replaces_outliers_or_rejects_their_stamps(grid):
    """Stars of one brightness: a pixel hit in one stamp shows in the stack."""
    stamps, x, y, flux = make(20, 2, seed=6)
    stamps = Stamps(
        stamps.data / flux[:, None, None],
        x,
        y,
        flux / flux,
        None,
        stamps.source,
        stamps.frame,
        stamps.jacobian,
    )
    clean = average(stamps, grid, StampRules(threshold=8, max_number=1000))
    stamps.data[3, 15, 16] += 5.0
    found = average(stamps, grid, StampRules(threshold=8, max_number=1000))
    assert found.n_outliers[3] >= 1
    assert np.abs(found.samples - clean.samples).max() < 0.01 * clean.samples.max()
    rejected = average(stamps, grid, StampRules(threshold=8, max_ratio=0.0, max_number=0))
    assert rejected.reason[3] == "outliers"
    kept = average(stamps, grid, StampRules(threshold=1e6))
    assert kept.samples.max() > 0
    assert np.abs(kept.samples - clean.samples).max() > 0.05 * clean.samples.max()


def test_missing_pixels_reject_stamps(grid):
    stamps, *_ = make(6, 2, seed=7)
    stamps.data[0, 3, 3] = np.nan
    stamps.data[1, 3, 3:6] = np.nan
    stamps.flux[2] = np.nan
    found = average(stamps, grid, StampRules(max_nans=2, threshold=100, max_number=1e6))
    assert found.reason[:4].tolist() == ["", "missing pixels", "no flux", ""]
    assert found.n_nans[:3].tolist() == [1, 3, 0]
    strict = average(stamps, grid, StampRules(max_nans=0, threshold=100, max_number=1e6))
    assert strict.reason[0] == "missing pixels"
    stamps.data[0, 0, 0] = np.nan  # a corner has three neighbours
    assert average(stamps, grid, StampRules(max_nans=2, threshold=100)).reason[0] == "missing pixels"


@pytest.mark.parametrize("method", [average, lambda s, g, r: effective(s, g, r, EffectiveRules())])
def test_no_stamp_left_is_told(method, grid):
    stamps, *_ = make(2, 2, seed=8)
    stamps.flux[:] = 0
    with pytest.raises(ValueError, match=r"none of the 4 stamps can be used \(no flux: 4\)"):
        method(stamps, grid, RULES)


def test_one_image_with_known_places(grid):
    """Every star is seen once: places and fluxes of the list, and no fit."""
    stamps, *_ = make(100, 1, seed=9)
    rules = StampRules(max_nans=20, threshold=5)
    (found,) = effective(stamps, grid, rules, EffectiveRules())
    assert np.abs(difference(found, grid)).max() < 2 * PEAK


def test_one_image_with_fitted_fluxes_has_the_same_sum_at_all_places(grid):
    """Fluxes of the list that change by 4 % with the place in the pixel would put as much into the PRF."""
    stamps, x, y, flux = make(100, 1, seed=10)
    stamps = stamps.moved(x, y, flux * (1 + 0.04 * np.cos(2 * np.pi * x)))
    (found,) = effective(stamps, grid, RULES, EffectiveRules())
    error = found.flux / flux
    wave = np.cos(2 * np.pi * x)
    assert abs(np.polyfit(wave, error / error.mean(), 1)[0]) < WAVE
    (left,) = effective(stamps, grid, StampRules(max_nans=20, threshold=20), EffectiveRules())
    sums = [
        [one.samples[b::FACTOR, a::FACTOR].sum() for a in range(FACTOR) for b in range(FACTOR)]
        for one in (found, left)
    ]
    assert np.std(sums[0]) < 0.4 * np.std(sums[1])


def test_results_do_not_depend_on_the_order_of_the_stamps(plain, grid, fitted):
    order = np.random.default_rng(1).permutation(len(plain[0]))
    (other,) = effective(plain[0].take(order), grid, RULES, EffectiveRules())
    np.testing.assert_allclose(fitted.samples, other.samples, atol=2e-5 * fitted.samples.max())


def test_the_centroid_of_the_box_lies_in_the_middle(plain, grid):
    stamps = plain[0].moved(plain[0].x + 0.3, plain[0].y - 0.2, plain[0].flux)
    for found in (
        effective(stamps, grid, RULES, EffectiveRules())[0],
        average(stamps, grid, StampRules(threshold=50, centre_box=(7, 7))),
    ):
        np.testing.assert_allclose(centroid_in(found.samples, grid, (7, 7)), 0, atol=1e-3)
    still = average(stamps, grid, StampRules(threshold=50))
    np.testing.assert_allclose(centroid_in(still.samples, grid, (7, 7)), [-0.3, 0.2], atol=0.05)


def test_zones_have_their_own_prfs(grid):
    """Left and right half of the array one of them out of focus; one zone has no stars."""
    prfs = [true_prf(), true_prf(focus=0.3)]
    zone = np.tile([0, 1], 16 * 4)
    stamps, *_ = make(seed=11, prfs=prfs, zone=zone)
    place = np.where(zone == 0, 20.0, 80.0), np.full(zone.size, 30.0)
    found = estimate(stamps, grid, RULES, EffectiveRules(), place, (100, 60), (2, 2))
    assert found.regions == [(1, 1, 50, 30), (51, 1, 50, 30), (1, 31, 50, 30), (51, 31, 50, 30)]
    assert found.names[1] == "_col076_row016"
    for own, prf in zip(found.estimates[:2], prfs, strict=True):
        assert np.abs(difference(own, grid, prf)).max() < 2 * PEAK
    apart = difference(found.estimates[0], grid, prfs[1])
    assert np.abs(apart).max() > 5 * PEAK
    assert found.estimates[2] is found.whole
    assert "zone col026 row046 has 0 stamps" in " ".join(found.notes)
    assert found.zone.tolist() == zone.tolist()
    assert found.final.used.all()


def test_zones_of_the_average(grid):
    stamps, *_ = make(12, 4, seed=12)
    place = np.tile([20.0, 80.0], 24), np.full(48, 30.0)
    found = estimate(stamps, grid, StampRules(threshold=50), None, place, (100, 60), (2, 1))
    left = average(stamps.take(place[0] < 50), grid, StampRules(threshold=50))
    np.testing.assert_array_equal(found.estimates[0].samples, left.samples)


def test_zones_cover_the_array():
    covered = np.zeros((31, 17), int)
    for x0, y0, nx, ny in zone_regions((17, 31), (3, 4)):
        covered[y0 - 1 : y0 - 1 + ny, x0 - 1 : x0 - 1 + nx] += 1
    assert (covered == 1).all()
    with pytest.raises(ValueError, match="PRF_Zones_X"):
        zone_regions((4, 4), (5, 1))
