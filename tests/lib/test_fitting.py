"""PRF fit on skies whose truth is known: recovery, scatter against the Cramer-Rao bound, blends, failures."""

import math
from dataclasses import dataclass, replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS
from pymopex.batches import alone
from pymopex.fit_data import (
    FrameImage,
    FramePixels,
    GroupData,
    fit_box,
    gather_frame,
    join_frames,
    offset_sky,
    place_sources,
)
from pymopex.fit_models import model_values
from pymopex.fitting import (
    Deblend,
    FitSettings,
    FitStatus,
    GroupFit,
    LightCurve,
    cramer_rao,
    fit_group,
    light_curve,
)
from pymopex.prf import PRF, PRFTable, prf_table
from pymopex.residuals import render
from pymopex.units import ujy_per_mjysr
from scipy.optimize import least_squares

PIXEL = 1.22  # arcsec
SIGMA = 0.9  # pixel, of the Gaussian PRF
FWHM = 2.3548 * SIGMA  # pixel
SAMPLING = 10  # samples per pixel
SHAPE = (40, 40)  # pixels of a frame
FIT = (11, 11)  # pixels of the fit box
NOISE = 0.05  # MJy/sr
RA, DEC = 150.0, 2.0  # deg, of the middle of the field
SCALE = 1 / ujy_per_mjysr((PIXEL * math.pi / 648000) ** 2)  # MJy/sr per microjansky

FLUX_TOLERANCE = 1e-6  # relative, of a fit without noise
PLACE_TOLERANCE = 1e-5  # pixel, of a fit without noise
SHIFT_TOLERANCE = 2e-4  # pixel, of one step towards a place 0.02 pixel off
SCATTER_TOLERANCE = 0.08  # relative, measured scatter against the Cramer-Rao bound
PULL_TOLERANCE = 0.10  # of the unit width of the pulls
BIAS_TOLERANCE = 3.0  # standard errors of a mean
GROUPS = 60  # random groups, beside a general least-squares program
CHI2_DEPTH = 0.05  # chi2 above the minimum that the general program finds from there
MISSED = 0.05  # of the groups may be worse, or fail: sources that merge have no minimum
AGREEMENT = 0.1  # sigma, between two fitting programs

# Distortion of the size of IRAC channel 1 at the corners of its array.
SIP = ("A_2_0", -1.8e-5), ("A_1_1", 2.1e-5), ("B_1_1", -2.3e-5), ("B_0_2", 2.4e-5)


# ------------------------------------------------------------------------------------------ the sky


@dataclass(frozen=True)
class Sky:
    """True sources: positions [deg] and fluxes [microjansky]."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray


def make_wcs(roll=0.0, dx=0.0, dy=0.0, sip=False, ra=RA, dec=DEC):
    """Frame of the field, its reference pixel dithered by dx, dy [pixel] and +y turned by `roll` [deg]."""
    suffix = "-SIP" if sip else ""
    c, s, d = math.cos(math.radians(roll)), math.sin(math.radians(roll)), PIXEL / 3600
    cards = {"CTYPE1": "RA---TAN" + suffix, "CTYPE2": "DEC--TAN" + suffix, "RADESYS": "ICRS"}
    cards |= {"CRVAL1": ra, "CRVAL2": dec, "CRPIX1": 20.5 + dx, "CRPIX2": 20.5 + dy}
    cards |= {"CD1_1": -d * c, "CD1_2": d * s, "CD2_1": d * s, "CD2_2": d * c}
    if sip:
        cards |= {"A_ORDER": 2, "B_ORDER": 2} | dict(SIP)
    return WCS(cards)


def frames(count, sip=False, ra=RA, dec=DEC):
    """Give frames of several rolls and dithers."""
    rng = np.random.default_rng(3)
    return [make_wcs(37.0 * k, *rng.uniform(-3, 3, 2), sip=sip, ra=ra, dec=dec) for k in range(count)]


def sky_at(x, y, flux, wcs=None):
    """Sources at pixels of a frame without roll and dither, or of `wcs`."""
    ra, dec = (wcs or make_wcs()).all_pix2world(np.atleast_1d(x), np.atleast_1d(y), 0)
    return Sky(ra, dec, np.atleast_1d(np.asarray(flux, dtype=float)))


def profile(offset, sigma=SIGMA):
    return np.exp(-0.5 * (offset / sigma) ** 2) / (sigma * math.sqrt(2 * math.pi))


def picture(x, y, flux, sigma=SIGMA):
    """Surface brightness [MJy/sr] of sources at pixels x, y."""
    columns = profile(np.arange(SHAPE[1]) - np.asarray(x)[:, None], sigma)
    rows = profile(np.arange(SHAPE[0]) - np.asarray(y)[:, None], sigma)
    return np.einsum("n,ny,nx->yx", np.asarray(flux) * SCALE, rows, columns)


def expose(wcs, sky, rng=None, background=0.0, sigma=SIGMA):
    """Frame of the sky; without noise if there is no `rng`."""
    x, y, _ = place_sources(wcs, sky.ra, sky.dec)
    data = picture(x, y, sky.flux, sigma) + background
    if rng is not None:
        data = data + NOISE * rng.standard_normal(SHAPE)
    return FrameImage(data.astype(np.float32), np.full(SHAPE, NOISE, np.float32), np.zeros(SHAPE, bool))


def collect(images, wcss, ra, dec, size=FIT, prf=0):
    """Group of the sources that start at ra, dec."""
    places = [place_sources(wcs, ra, dec) for wcs in wcss]
    x, y, jacobian = (np.array(column) for column in zip(*places, strict=True))
    pixels = [gather_frame(image, *place[:2], *size) for image, place in zip(images, places, strict=True)]
    index = np.broadcast_to(prf, x.T.shape).T
    return join_frames(pixels, x, y, jacobian, np.full(x.shape, SCALE), index, size)


def observe(wcss, sky, start=None, rng=None, background=0.0, **keys):
    start = start or sky
    images = [expose(wcs, sky, rng, background) for wcs in wcss]
    return collect(images, wcss, start.ra, start.dec, **keys)


def shifted(sky, east, north):
    """The same sources moved by pixels."""
    ra, dec = offset_sky(sky.ra, sky.dec, PIXEL * np.asarray(east), PIXEL * np.asarray(north))
    return replace(sky, ra=ra, dec=dec)


def gaussian_prf(sigma=SIGMA, half=12):
    at = profile(np.arange(-half * SAMPLING, half * SAMPLING + 1) / SAMPLING, sigma)
    return PRF(np.outer(at, at), SAMPLING, SAMPLING)


@pytest.fixture(scope="module")
def table() -> PRFTable:
    return prf_table([gaussian_prf()])


def errors(fit: GroupFit, start: Sky, sky: Sky):
    """Fitted minus true: relative flux, and distance [pixel]."""
    found = fit.sources[: len(sky.flux)]
    ra, dec = offset_sky(start.ra, start.dec, [s.u for s in found], [s.v for s in found])
    away = SkyCoord(ra, dec, unit="deg").separation(SkyCoord(sky.ra, sky.dec, unit="deg")).arcsec / PIXEL
    return np.array([s.flux for s in found]) / sky.flux - 1, away


def good(fit: GroupFit) -> bool:
    return all(s.status is FitStatus.SUCCESS for s in fit.sources)


# ---------------------------------------------------------------------------- without noise


@pytest.mark.parametrize("sip", [False, True])
@pytest.mark.parametrize("dec", [2.0, 89.99])
def test_noiseless_source_is_recovered(table, sip, dec):
    wcss = frames(5, sip, ra=0.001, dec=dec)
    sky = sky_at(22.3, 17.8, 800.0, make_wcs(ra=0.001, dec=dec))
    start = shifted(sky, 0.35, -0.25)
    fit = fit_group(observe(wcss, sky, start), table)
    flux, away = errors(fit, start, sky)
    assert good(fit)
    assert abs(flux[0]) < FLUX_TOLERANCE
    assert away[0] < PLACE_TOLERANCE
    source = fit.sources[0]
    assert (source.n_frames, source.parent, source.added, fit.n_ps) == (5, 0, False, 1)
    assert source.n_pixels == 5 * FIT[0] * FIT[1] == fit.dof + 3


def test_one_frame_is_enough(table):
    sky = sky_at(19.6, 21.2, 100.0)
    fit = fit_group(observe(frames(1), sky), table)
    assert good(fit)
    assert abs(errors(fit, sky, sky)[0][0]) < FLUX_TOLERANCE


def test_blend_is_taken_apart(table):
    sky = sky_at([20.0, 20.0 + 1.5 * FWHM], [20.0, 20.4], [1000.0, 200.0])
    start = shifted(sky, [0.2, -0.3], [-0.2, 0.2])
    fit = fit_group(observe(frames(4), sky, start), table)
    flux, away = errors(fit, start, sky)
    assert good(fit)
    assert np.abs(flux).max() < 10 * FLUX_TOLERANCE
    assert away.max() < 3 * PLACE_TOLERANCE
    assert fit.n_ps == 2


def test_background_is_fitted(table):
    sky = sky_at(20.3, 19.4, 500.0)
    group = observe(frames(3), sky, background=0.7)
    fit = fit_group(group, table, FitSettings(background=True))
    assert fit.background == pytest.approx(0.7, rel=1e-5)
    assert abs(errors(fit, sky, sky)[0][0]) < 10 * FLUX_TOLERANCE
    assert fit.dof == group.value.size - 4
    assert fit.background_variance > NOISE**2 / group.value.size
    without = fit_group(group, table, FitSettings(chi_threshold=1e9))
    assert (without.background, without.background_variance) == (0.0, 0.0)
    assert without.sources[0].flux > 1.05 * sky.flux[0]


def test_fixed_positions_give_the_weighted_mean(table):
    rng = np.random.default_rng(8)
    sky = sky_at(20.3, 19.4, 50.0)
    group = observe(frames(3), sky, rng=rng)
    fit = fit_group(group, table, FitSettings(fixed_positions=True))
    frame = np.repeat(np.arange(3), np.diff(group.first))
    q = SCALE * profile(group.px - group.rx[frame, 0]) * profile(group.py - group.ry[frame, 0])
    source = fit.sources[0]
    assert source.flux == pytest.approx((group.value @ q) / (q @ q), rel=1e-6)
    assert source.covariance[2, 2] == pytest.approx(NOISE**2 / (q @ q), rel=1e-6)
    assert (source.u, source.v) == (0.0, 0.0)
    assert not source.covariance[:2].any()
    assert fit.dof == group.value.size - 1


def test_start_is_used_and_checked(table):
    sky = sky_at(20.0, 20.0, 500.0)
    start = shifted(sky, 4.0, 0.0)
    group = observe(frames(3), sky, start, size=(15, 15))
    fit = fit_group(group, table, start=[[-3.8 * PIXEL, 0.1]])
    assert good(fit)
    assert errors(fit, start, sky)[1][0] < 1e-3
    with pytest.raises(ValueError, match="start must have shape"):
        fit_group(group, table, start=[0.0, 0.0])


def test_masked_and_nan_pixels_are_ignored(table):
    sky = sky_at(20.3, 19.4, 500.0)
    wcs = make_wcs()
    image = expose(wcs, sky)
    image.data[20, 21], image.bad[20, 21] = 1e4, True
    image.data[18, 19] = np.nan
    image.sigma[17, 20], image.data[17, 20] = 0.0, -500.0
    image.sigma[22, 22], image.data[22, 22] = np.inf, -500.0
    fit = fit_group(collect([image], [wcs], sky.ra, sky.dec), table)
    assert good(fit)
    assert abs(errors(fit, sky, sky)[0][0]) < FLUX_TOLERANCE
    assert fit.sources[0].n_pixels == FIT[0] * FIT[1] - 4


@pytest.mark.parametrize("x", [0.3, -0.9])
def test_source_at_the_edge(table, x):
    sky = sky_at(x, 20.4, 500.0)
    fit = fit_group(observe([make_wcs()], sky), table)
    flux, away = errors(fit, sky, sky)
    assert good(fit)
    assert abs(flux[0]) < 10 * FLUX_TOLERANCE
    assert away[0] < 10 * PLACE_TOLERANCE
    assert fit.sources[0].n_pixels == FIT[1] * (FIT[0] // 2 + 1 + round(x))


def test_frame_without_the_source_adds_nothing(table):
    sky = sky_at(20.3, 19.4, 500.0)
    wcss = [make_wcs(), make_wcs(dx=500.0), make_wcs(ra=RA + 180, dec=-DEC)]
    group = observe(wcss, sky)
    fit, alone = fit_group(group, table), fit_group(observe(wcss[:1], sky), table)
    assert np.isnan(group.rx[2]).all()
    assert fit.sources[0].n_frames == 1
    assert fit.sources[0].flux == pytest.approx(alone.sources[0].flux, rel=1e-12)


def test_order_of_frames_does_not_matter(table):
    sky = sky_at([20.0, 23.0], [20.0, 20.4], [100.0, 60.0])
    rng = np.random.default_rng(12)
    wcss = frames(6)
    images = [expose(wcs, sky, rng) for wcs in wcss]
    order = [3, 1, 5, 0, 4, 2]
    one = fit_group(collect(images, wcss, sky.ra, sky.dec), table)
    two = fit_group(collect([images[k] for k in order], [wcss[k] for k in order], sky.ra, sky.dec), table)
    for a, b in zip(one.sources, two.sources, strict=True):
        assert b.flux == pytest.approx(a.flux, rel=1e-10)
        assert np.allclose([b.u, b.v], [a.u, a.v], rtol=0, atol=1e-10)
        assert np.allclose(a.covariance, b.covariance, rtol=1e-9, atol=1e-14)


def test_prf_of_each_place_is_used():
    prfs = prf_table([gaussian_prf(), gaussian_prf(1.3)])
    sky = sky_at(20.3, 19.4, 500.0)
    wcss = frames(4)
    index = np.array([0, 1, 1, 0])
    images = [expose(wcs, sky, sigma=(SIGMA, 1.3)[k]) for wcs, k in zip(wcss, index, strict=True)]
    fit = fit_group(collect(images, wcss, sky.ra, sky.dec, size=(15, 15), prf=index), prfs)
    assert abs(errors(fit, sky, sky)[0][0]) < FLUX_TOLERANCE
    wrong = collect(images, wcss, sky.ra, sky.dec, prf=2)
    for call in (
        lambda: fit_group(wrong, prfs),
        lambda: cramer_rao(wrong, prfs, [0.0], [0.0], [1.0], FitSettings()),
        lambda: light_curve(wrong, prfs, [0.0], [0.0]),
    ):
        with pytest.raises(ValueError, match="names PRFs 2 to 2 of 2"):
            call()


# ---------------------------------------------------------------------------- with noise


@dataclass(frozen=True)
class Trials:
    """Fitted minus true, bound, and quality of many fits; columns u, v [arcsec], flux [microjansky]."""

    error: np.ndarray
    bound: np.ndarray
    own: np.ndarray
    chi2_dof: np.ndarray


def monte_carlo(table, count, settings, background=0.0, flux=60.0):
    """Fit `count` isolated sources at all places in a pixel, each in four frames."""
    rng = np.random.default_rng(20)
    wcss = frames(4, sip=True)
    sky = sky_at(20 + rng.uniform(-0.5, 0.5, count), 20 + rng.uniform(-0.5, 0.5, count), np.full(count, flux))
    miss = rng.uniform(-0.3, 0.3, (2, count)) * PIXEL
    start = replace(sky, ra=(at := offset_sky(sky.ra, sky.dec, *miss))[0], dec=at[1])
    true = [place_sources(wcs, sky.ra, sky.dec) for wcs in wcss]
    begun = [place_sources(wcs, start.ra, start.dec) for wcs in wcss]
    error, bound, own, chi2 = [], [], [], []
    for n in range(count):
        images = []
        for x, y, _ in true:
            data = picture(x[n : n + 1], y[n : n + 1], [flux]) + background
            data = data + NOISE * rng.standard_normal(SHAPE)
            images.append(FrameImage(*(a.astype(np.float32) for a in (data, NOISE + 0 * data)), data != data))
        x, y, jacobian = (np.array([place[k][n : n + 1] for place in begun]) for k in range(3))
        pixels = [gather_frame(image, x[j], y[j], *FIT) for j, image in enumerate(images)]
        group = join_frames(pixels, x, y, jacobian, SCALE + 0 * x, np.zeros(x.shape, int), FIT)
        fit = fit_group(group, table, settings)
        source = fit.sources[0]
        truth = (0.0, 0.0) if settings.fixed_positions else -miss[:, n]
        error.append([source.u - truth[0], source.v - truth[1], source.flux - flux])
        bound.append(np.diag(cramer_rao(group, table, -miss[:1, n], -miss[1:, n], [flux], settings)[0]))
        own.append(np.diag(source.covariance))
        chi2.append(fit.chi2_dof)
        assert source.status is FitStatus.SUCCESS
    return Trials(*(np.array(a) for a in (error, bound, own, chi2)))


@pytest.mark.parametrize("settings, background", [(FitSettings(), 0.0), (FitSettings(background=True), 0.4)])
def test_fit_is_unbiased_and_reaches_the_bound(table, settings, background):
    count = 600
    trials = monte_carlo(table, count, settings, background)
    bound = np.sqrt(trials.bound.mean(axis=0))
    scatter = np.sqrt((trials.error**2).mean(axis=0))
    assert (np.abs(trials.error.mean(axis=0)) < BIAS_TOLERANCE * bound / math.sqrt(count)).all()
    assert (np.abs(scatter / bound - 1) < SCATTER_TOLERANCE).all()
    pull = trials.error / np.sqrt(trials.own)
    assert (np.abs(pull.std(axis=0) - 1) < PULL_TOLERANCE).all()
    dof = 4 * FIT[0] * FIT[1] - 3 - settings.background
    assert abs(trials.chi2_dof.mean() - 1) < BIAS_TOLERANCE * math.sqrt(2 / dof / count)
    assert trials.chi2_dof.std() == pytest.approx(math.sqrt(2 / dof), rel=SCATTER_TOLERANCE)


def test_bound_is_the_inverse_of_the_fisher_matrix(table):
    sky = sky_at([20.0, 22.5], [20.0, 20.4], [100.0, 60.0])
    group = observe(frames(3, sip=True), sky)
    settings = FitSettings(background=True)
    truth = np.array([0.0, 0.0, 100.0, 0.0, 0.0, 60.0, 0.0])

    def model(p):
        total = np.full(group.value.size, p[6])
        frame = np.repeat(np.arange(3), np.diff(group.first))
        for n in (0, 1):
            x, y = (
                at[:, n] + group.jacobian[:, n, k] @ p[3 * n : 3 * n + 2]
                for k, at in enumerate((group.rx, group.ry))
            )
            total += p[3 * n + 2] * SCALE * profile(group.px - x[frame]) * profile(group.py - y[frame])
        return total

    step = np.array([1e-3, 1e-3, 0.1, 1e-3, 1e-3, 0.1, 0.01])
    slope = np.array([(model(truth + h) - model(truth - h)) / (2 * h.sum()) for h in np.diag(step)])
    exact = np.linalg.inv(slope @ slope.T / NOISE**2)
    bound = cramer_rao(group, table, [0.0, 0.0], [0.0, 0.0], [100.0, 60.0], settings)
    for n in (0, 1):
        part = exact[3 * n : 3 * n + 3, 3 * n : 3 * n + 3]
        assert np.allclose(bound[n], part, rtol=1e-3, atol=1e-3 * np.abs(part).min())


def test_ps_chi2_is_that_of_the_own_box(table):
    sky = sky_at([12.0, 28.0], [20.0, 20.0], [100.0, 60.0])
    rng = np.random.default_rng(5)
    wcs = make_wcs()
    image = expose(wcs, sky, rng)
    image.data[22, 30] += 30 * NOISE
    fit = fit_group(collect([image], [wcs], sky.ra, sky.dec), table, FitSettings(chi_threshold=50.0))
    first, second = (source.ps_chi2_dof for source in fit.sources)
    pixels = FIT[0] * FIT[1]
    assert first == pytest.approx(1, abs=4 * math.sqrt(2 / pixels))
    assert second > 4
    assert fit.chi2 == pytest.approx((first + second) * (pixels - 3), rel=1e-9)


def test_agrees_with_photutils(table):
    photutils_psf = pytest.importorskip("photutils.psf")
    rng = np.random.default_rng(31)
    x, y = (a.ravel() for a in np.meshgrid([8.2, 20.4, 31.7], [7.9, 19.6, 32.3]))
    x, y = x + rng.uniform(-0.4, 0.4, 9), y + rng.uniform(-0.4, 0.4, 9)
    flux = np.linspace(60.0, 600.0, 9)
    wcs = make_wcs()
    sky = sky_at(x, y, flux)
    image = expose(wcs, sky, rng)
    samples = gaussian_prf().samples
    psf = photutils_psf.ImagePSF(samples, oversampling=SAMPLING)
    found = photutils_psf.PSFPhotometry(psf, FIT, aperture_radius=3)(
        image.data.astype(float), error=image.sigma.astype(float), init_params=Table({"x": x, "y": y})
    )
    for n in range(9):
        group = collect([image], [wcs], sky.ra[n : n + 1], sky.dec[n : n + 1])
        source = fit_group(group, table).sources[0]
        place = group.rx[0, 0] + group.jacobian[0, 0, 0] @ [source.u, source.v]
        sigma = math.sqrt(source.covariance[2, 2])
        assert abs(source.flux - found["flux_fit"][n] / SCALE) < AGREEMENT * sigma
        assert abs(place - found["x_fit"][n]) < AGREEMENT * math.sqrt(source.covariance[0, 0]) / PIXEL


def test_crowded_and_faint_groups_reach_the_minimum(table):
    """Up to five sources, some below the noise beside bright ones: as deep as a general program, and converged."""
    rng = np.random.default_rng(5)
    wcss = frames(3)
    shallow = failed = 0
    for _ in range(GROUPS):
        n = rng.integers(1, 6)
        sky = sky_at(20 + rng.uniform(-4, 4, n), 20 + rng.uniform(-4, 4, n), 10 ** rng.uniform(0.3, 3.5, n))
        group = observe(wcss, sky, shifted(sky, *rng.uniform(-0.6, 0.6, (2, n))), rng=rng)
        fit = fit_group(group, table)

        def residual(p, group=group):
            return np.sqrt(group.weight) * (
                group.value - model_values(alone(group), table, np.append(p, 0.0))
            )

        start = np.array([(s.u, s.v, s.flux) for s in fit.sources]).ravel()
        deeper = least_squares(residual, start, x_scale=np.tile([0.1, 0.1, 10.0], n), max_nfev=60)
        at_bound = any(s.status is FitStatus.AT_BOUND for s in fit.sources)
        shallow += not at_bound and fit.chi2 - 2 * deeper.cost > CHI2_DEPTH
        failed += any(s.status in (FitStatus.NOT_CONVERGED, FitStatus.SINGULAR) for s in fit.sources)
    assert shallow <= MISSED * GROUPS
    assert failed <= MISSED * GROUPS


# ---------------------------------------------------------------------------- status


def test_too_few_pixels_leaves_the_others(table):
    sky = sky_at([20.0, 30.0], [20.0, 20.0], [100.0, 60.0])
    wcs = make_wcs()
    image = expose(wcs, sky)
    image.bad[:, 25:] = True
    image.bad[20, 30:32] = False  # two pixels are left of the second source
    fit = fit_group(collect([image], [wcs], sky.ra, sky.dec, size=(7, 7)), table)
    first, second = fit.sources
    assert first.status is FitStatus.SUCCESS
    assert first.flux == pytest.approx(100.0, rel=1e-4)
    assert second.status is FitStatus.TOO_FEW_PIXELS
    assert math.isnan(second.flux)
    assert (second.parent, second.n_pixels, fit.n_ps) == (1, 0, 1)


def test_nothing_to_fit(table):
    sky = sky_at(20.0, 20.0, 100.0)
    wcs = make_wcs()
    image = expose(wcs, sky)
    image.bad[:] = True
    fit = fit_group(collect([image], [wcs], sky.ra, sky.dec), table)
    assert fit.sources[0].status is FitStatus.TOO_FEW_PIXELS
    assert math.isnan(fit.chi2_dof)
    assert fit.n_ps == 0


def test_fewer_pixels_than_parameters(table):
    sky = sky_at(20.0, 20.0, 100.0)
    wcs = make_wcs()
    image = expose(wcs, sky)
    image.bad[:] = True
    image.bad[20, 19:22] = False
    group = collect([image], [wcs], sky.ra, sky.dec)
    assert group.value.size == 3
    fit = fit_group(group, table, FitSettings(background=True))
    assert fit.sources[0].status is FitStatus.TOO_FEW_PIXELS


@pytest.mark.parametrize("fixed", [False, True])
def test_two_sources_at_one_place_are_singular(table, fixed):
    sky = sky_at([20.0, 20.0], [20.0, 20.0], [100.0, 60.0])
    fit = fit_group(observe(frames(2), sky), table, FitSettings(fixed_positions=fixed))
    assert {source.status for source in fit.sources} == {FitStatus.SINGULAR}
    assert all(np.isnan(source.covariance[2, 2]) for source in fit.sources)


def test_position_stops_at_its_bound(table):
    sky = sky_at(20.0, 20.0, 500.0)
    start = shifted(sky, 3.0, 0.0)
    group = observe(frames(3), sky, start)
    fit = fit_group(group, table, FitSettings(max_shift=1.0, chi_threshold=1e9))
    source = fit.sources[0]
    assert source.status is FitStatus.AT_BOUND
    assert math.hypot(source.u, source.v) == pytest.approx(PIXEL, rel=1e-3)
    assert source.u == pytest.approx(-PIXEL, rel=1e-3)
    free = fit_group(group, table, FitSettings(chi_threshold=1e9))
    assert free.sources[0].status is FitStatus.SUCCESS
    assert free.sources[0].u == pytest.approx(-3 * PIXEL, rel=1e-4)


def test_other_ends(table):
    sky = sky_at(20.0, 20.0, 500.0)
    start = shifted(sky, 1.2, 0.5)
    group = observe(frames(2), sky, start)
    ended = fit_group(group, table, FitSettings(max_iterations=1)).sources[0]
    assert ended.status is FitStatus.NOT_CONVERGED
    hole = group._replace(value=-group.value)
    assert fit_group(hole, table).sources[0].status is FitStatus.FLUX_NOT_POSITIVE
    fixed = fit_group(hole, table, FitSettings(fixed_positions=True, chi_threshold=1e9)).sources[0]
    assert fixed.status is FitStatus.SUCCESS
    assert fixed.flux < 0
    above = fit_group(group, table, FitSettings(fixed_positions=True)).sources[0]
    assert above.status is FitStatus.CHI2_ABOVE_THRESHOLD


def test_statuses_and_letters_have_a_meaning():
    assert all(status.meaning for status in FitStatus)
    assert all(letter.meaning for letter in Deblend)
    assert [status.legacy for status in FitStatus] == [1, 2, 0, 0, 0, 0, 0]


@pytest.mark.parametrize(
    "keys", [{"max_n_ps": 0}, {"max_iterations": 0}, {"ftol": 0.0}, {"max_shift": -1.0}, {"max_step": 0.0}]
)
def test_settings_are_checked(keys):
    with pytest.raises(ValueError, match=next(iter(keys))):
        FitSettings(**keys)


# ---------------------------------------------------------------------------- active deblending


def test_active_deblending_finds_the_companion(table):
    sky = sky_at([20.0, 20.0 + 1.4 * FWHM], [20.0, 21.0], [1000.0, 300.0])
    start = Sky(sky.ra[:1], sky.dec[:1], sky.flux[:1])
    group = observe(frames(4), sky, start)
    alone = fit_group(group, table)
    assert alone.sources[0].status is FitStatus.CHI2_ABOVE_THRESHOLD
    assert (alone.n_ps, alone.capped) == (1, False)
    fit = fit_group(group, table, FitSettings(max_n_ps=3))
    assert good(fit)
    assert (fit.n_ps, fit.capped) == (2, False)
    assert [(s.parent, s.added) for s in fit.sources] == [(0, False), (0, True)]
    both = Sky(np.repeat(start.ra, 2), np.repeat(start.dec, 2), start.flux)
    flux, away = errors(fit, both, sky)
    assert np.abs(flux).max() < 1e-4
    assert away.max() < 1e-3


def test_active_deblending_is_capped(table):
    sky = sky_at([20.0, 23.2, 17.0], [20.0, 21.0, 22.5], [1000.0, 500.0, 400.0])
    group = observe(frames(4), sky, Sky(sky.ra[:1], sky.dec[:1], sky.flux[:1]))
    fit = fit_group(group, table, FitSettings(max_n_ps=2))
    assert (fit.n_ps, fit.capped) == (2, True)
    assert {source.status for source in fit.sources} == {FitStatus.CHI2_ABOVE_THRESHOLD}


def test_companion_must_improve_the_fit(table):
    sky = sky_at(20.0, 20.0, 100.0)
    group = observe(frames(3), sky, rng=np.random.default_rng(2))
    settings = FitSettings(max_n_ps=4, chi_threshold=0.5, chi2_improvement=0.2)
    fit = fit_group(group, table, settings)
    assert (fit.n_ps, fit.capped) == (1, False)


def test_shift_is_counted_from_the_first_start(table):
    """Adding a source must not give the others a new place to count their shift from."""
    sky = sky_at([20.0, 24.5], [20.0, 20.0], [500.0, 400.0])
    start = shifted(Sky(sky.ra[:1], sky.dec[:1], sky.flux[:1]), 1.5, 0.0)
    group = observe(frames(3), sky, start, size=(15, 15))
    settings = FitSettings(max_n_ps=2, max_shift=1.0, chi2_improvement=1e-3)
    fit = fit_group(group, table, settings)
    assert fit.n_ps == 2
    assert math.hypot(fit.sources[0].u, fit.sources[0].v) < PIXEL * (1 + 1e-6)


# ---------------------------------------------------------------------------- light curves


def test_light_curve_of_each_frame(table):
    wcss = frames(5)
    sky = sky_at([20.0, 22.5], [20.0, 20.4], [100.0, 60.0])
    change = np.array([1.0, 1.5, 0.2, 1.0, 3.0])
    images = [
        expose(wcs, replace(sky, flux=sky.flux * [c, 1]), background=0.3)
        for wcs, c in zip(wcss, change, strict=True)
    ]
    images[3].bad[:] = True
    group = collect(images, wcss, sky.ra, sky.dec)
    curve = light_curve(group, table, [0.0, 0.0], [0.0, 0.0], background=True)
    expected = np.column_stack([100 * change, np.full(5, 60.0)])
    expected[3] = np.nan
    assert isinstance(curve, LightCurve)
    assert np.allclose(curve.flux, expected, rtol=2e-5, equal_nan=True)
    assert curve.n_pixels.tolist() == np.diff(group.first).tolist()
    assert curve.n_pixels[3] == 0
    assert np.isnan(curve.variance[3]).all()
    assert math.isnan(curve.chi2[3])
    assert np.nanmax(curve.chi2) < 0.1


def test_light_curve_averages_to_the_fit(table):
    rng = np.random.default_rng(6)
    sky = sky_at(20.0, 20.0, 100.0)
    group = observe(frames(6), sky, rng=rng)
    fit = fit_group(group, table, FitSettings(fixed_positions=True))
    curve = light_curve(group, table, [0.0], [0.0])
    weight = 1 / curve.variance[:, 0]
    assert weight @ curve.flux[:, 0] / weight.sum() == pytest.approx(fit.sources[0].flux, rel=1e-9)
    assert 1 / weight.sum() == pytest.approx(fit.sources[0].covariance[2, 2], rel=1e-9)
    assert curve.chi2.sum() < fit.chi2


def test_prf_between_four_is_their_mixture():
    widths = (0.8, 0.9, 1.0, 1.1)
    prfs = prf_table([gaussian_prf(width) for width in widths])
    mix = np.array([0.1, 0.4, 0.2, 0.3])
    sky, wcss = sky_at([20.3, 24.1], [19.4, 21.2], [500.0, 200.0]), frames(4)
    places = [place_sources(wcs, sky.ra, sky.dec) for wcs in wcss]
    images = []
    for x, y, _ in places:
        data = sum(m * picture(x, y, sky.flux, width) for m, width in zip(mix, widths, strict=True))
        images.append(
            FrameImage(data.astype(np.float32), np.full(SHAPE, NOISE, np.float32), np.zeros(SHAPE, bool))
        )
    pixels = [gather_frame(image, *place[:2], 15, 15) for image, place in zip(images, places, strict=True)]
    x, y, jacobian = (np.array(column) for column in zip(*places, strict=True))
    shape = (*x.shape, 4)
    which, weights = np.broadcast_to(np.arange(4), shape), np.broadcast_to(mix, shape)
    one = np.full(x.shape, SCALE), which, (15, 15)
    group = join_frames(pixels, x, y, jacobian, *one, weights)
    fit = fit_group(group, prfs)
    assert np.abs(errors(fit, sky, sky)[0]).max() < FLUX_TOLERANCE
    assert np.abs(errors(fit, sky, sky)[1]).max() < PLACE_TOLERANCE
    p = np.array([0, 0, 500.0, 0, 0, 200.0, 0])
    assert np.allclose(model_values(alone(group), prfs, p), group.value, atol=1e-5)
    drawn = render(x[0], y[0], sky.flux * SCALE, which[0], prfs, SHAPE, mix=weights[0])
    assert np.allclose(drawn, images[0].data, atol=1e-5)
    nearest = join_frames(pixels, x, y, jacobian, np.full(x.shape, SCALE), which[..., 1], (15, 15))
    assert np.abs(errors(fit_group(nearest, prfs), sky, sky)[0]).max() > 0.01
    with pytest.raises(ValueError, match="prf must have shape"):
        join_frames(pixels, x, y, jacobian, one[0], which[..., :2], (15, 15), weights[..., :2])
    with pytest.raises(ValueError, match="weights differ"):
        render(x[0], y[0], sky.flux, which[0], prfs, SHAPE, mix=weights[0, :, :2])


def test_shifts_in_single_frames(table):
    """A frame whose pointing is off by a little shows it; the others do not."""
    off = np.array([0.0, 0.01, 0.0, -0.02, 0.0])
    sky, wcss = sky_at([12.0, 28.0], [20.0, 19.0], [500.0, 300.0]), frames(5)
    places = [place_sources(wcs, sky.ra, sky.dec) for wcs in wcss]
    images = [
        FrameImage(
            (picture(x + d, y - d, sky.flux) + 0.1).astype("f4"),
            np.full(SHAPE, NOISE, "f4"),
            np.zeros(SHAPE, bool),
        )
        for (x, y, _), d in zip(places, off, strict=True)
    ]
    group = collect(images, wcss, sky.ra, sky.dec)
    curve = light_curve(group, table, [0.0, 0.0], [0.0, 0.0], flux=sky.flux, background=True)
    assert np.allclose(curve.shift[..., 0], off[:, None], atol=SHIFT_TOLERANCE)
    assert np.allclose(curve.shift[..., 1], -off[:, None], atol=SHIFT_TOLERANCE)
    assert np.isnan(light_curve(group, table, [0.0, 0.0], [0.0, 0.0]).shift).all()


def test_shifts_scatter_as_their_variances_say(table):
    rng, sky, wcss = np.random.default_rng(8), sky_at(20.0, 20.0, 100.0), frames(200)
    curve = light_curve(observe(wcss, sky, rng=rng), table, [0.0], [0.0], flux=sky.flux, background=True)
    pulls = curve.shift / np.sqrt(curve.shift_variance)
    assert pulls.std() == pytest.approx(1, abs=PULL_TOLERANCE)
    assert abs(pulls.mean()) < BIAS_TOLERANCE / math.sqrt(pulls.size)


# ---------------------------------------------------------------------------- pixels


def test_fit_box_by_hand():
    x = np.array([5.0, 5.4, 5.6, np.nan, np.inf])
    odd, even = fit_box(x, 3), fit_box(x, 4)
    assert odd[:3].tolist() == [4, 4, 5]
    assert even[:3].tolist() == [4, 4, 4]
    assert fit_box(np.array([4.6]), 4)[0] == 3
    assert (odd[3:] < -(10**8)).all()


def test_gather_frame_by_hand():
    data = np.arange(30, dtype=np.float32).reshape(5, 6)
    sigma = np.full((5, 6), 2, np.float32)
    bad = np.zeros((5, 6), bool)
    bad[1, 1] = True
    data[0, 0] = np.nan
    sigma[2, 2] = 0
    image = FrameImage(data, sigma, bad)
    got = gather_frame(image, np.array([0.2, 2.0, np.nan]), np.array([0.9, 2.1, 3.0]), 3, 3)
    # boxes of columns -1..1, rows 0..2 and of columns 1..3, rows 1..3; pixels of both count once
    places = [(1, 0), (0, 1), (2, 1), (3, 1), (0, 2), (1, 2), (3, 2), (1, 3), (2, 3), (3, 3)]
    assert list(zip(got.px.tolist(), got.py.tolist(), strict=True)) == places
    assert got.value.tolist() == [x + 6 * y for x, y in places]
    assert (got.weight == 0.25).all()


def test_gather_frame_outside():
    blank = np.zeros((4, 4), np.float32)
    image = FrameImage(blank, blank + 1, blank > 0)
    assert gather_frame(image, np.array([50.0]), np.array([-40.0]), 3, 3).value.size == 0
    assert gather_frame(image, np.array([-2.0]), np.array([1.0]), 5, 3).px.tolist() == [0, 0, 0]
    assert gather_frame(image, np.array([1.0]), np.array([1.0]), 99, 99).value.size == 16


def test_join_frames_by_hand():
    def piece(*values):
        column = np.array(values, float)
        return FramePixels(column, column + 0.5, column.astype(np.int32), column.astype(np.int32) + 1)

    x, y = np.array([[1.0], [2.0], [3.0]]), np.array([[4.0], [np.nan], [6.0]])
    jacobian, ones, prf = np.zeros((3, 1, 2, 2)), np.ones((3, 1)), np.zeros((3, 1), int)
    group = join_frames([piece(1, 2), piece(), piece(7)], x, y, jacobian, ones, prf, (3, 5))
    assert isinstance(group, GroupData)
    assert group.value.tolist() == [1, 2, 7]
    assert group.weight.tolist() == [1.5, 2.5, 7.5]
    assert group.first.tolist() == [0, 2, 2, 3]
    assert np.array_equal(group.rx[:, 0], [1, np.nan, 3], equal_nan=True)
    assert (group.n_frames, group.n_sources, group.fit_x, group.fit_y) == (3, 1, 3, 5)
    assert (group.box_x[0, 0], group.box_y[0, 0]) == (0, 2)
    twice = group.take([0, 0])
    assert twice.n_sources == 2
    assert np.array_equal(twice.jacobian.shape, (3, 2, 2, 2))
    with pytest.raises(ValueError, match="needs frames and sources"):
        join_frames([], np.zeros((0, 1)), np.zeros((0, 1)), jacobian, ones, prf, (3, 3))
    with pytest.raises(ValueError, match="jacobian must have shape"):
        join_frames([piece()] * 3, x, y, jacobian[:2], ones, prf, (3, 3))
    with pytest.raises(ValueError, match="scale must have shape"):
        join_frames([piece()] * 3, x, y, jacobian, ones[:2], prf, (3, 3))


def test_frame_image_is_checked():
    data, bad = np.zeros((3, 4), np.float32), np.zeros((3, 4), bool)
    with pytest.raises(ValueError, match="one shape"):
        FrameImage(data, data[:2], bad)
    with pytest.raises(ValueError, match="native float32"):
        FrameImage(data.astype(float), data, bad)
    with pytest.raises(ValueError, match="native float32"):
        FrameImage(data.astype(">f4"), data, bad)
    with pytest.raises(ValueError, match="bad must be bool"):
        FrameImage(data, data, bad.astype(int))


# ---------------------------------------------------------------------------- places


@pytest.mark.parametrize("ra, dec", [(150.0, 2.0), (0.0, -45.0), (359.99999, 10.0), (30.0, 89.9999)])
def test_offset_sky_is_the_tangent_plane(ra, dec):
    rng = np.random.default_rng(4)
    east, north = rng.uniform(-30, 30, (2, 20))  # arcsec
    plane = WCS({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": ra, "CRVAL2": dec})
    plane.wcs.cdelt = 1 / 3600, 1 / 3600  # intermediate coordinates run to the east and to the north
    got = SkyCoord(*offset_sky(np.full(20, ra), np.full(20, dec), east, north), unit="deg")
    exact = SkyCoord(*plane.wcs_pix2world(east, north, 1), unit="deg")
    assert got.separation(exact).arcsec.max() < 1e-8
    lon, lat = SkyCoord(ra, dec, unit="deg").spherical_offsets_to(got)
    assert np.allclose([lon.arcsec, lat.arcsec], [east, north], rtol=0, atol=1e-5)  # sphere against plane
    assert ((got.ra.deg >= 0) & (got.ra.deg < 360)).all()


@pytest.mark.parametrize("dec", [2.0, 89.995])
def test_jacobian_is_the_derivative_of_the_place(dec):
    wcs = make_wcs(33.0, sip=True, ra=0.0, dec=dec)
    sky = sky_at([3.0, 20.0, 38.0], [35.0, 20.0, 1.0], [1.0, 1.0, 1.0], wcs)
    x, y, jacobian = place_sources(wcs, sky.ra, sky.dec)
    assert np.allclose(x, [3, 20, 38], rtol=0, atol=1e-8)
    assert np.allclose(y, [35, 20, 1], rtol=0, atol=1e-8)
    for axis, (east, north) in enumerate([(0.1, 0.0), (0.0, 0.1)]):
        moved = place_sources(wcs, *offset_sky(sky.ra, sky.dec, 3 * [east], 3 * [north]))
        back = place_sources(wcs, *offset_sky(sky.ra, sky.dec, 3 * [-east], 3 * [-north]))
        assert np.allclose((moved[0] - back[0]) / 0.2, jacobian[:, 0, axis], rtol=0, atol=1e-6)
        assert np.allclose((moved[1] - back[1]) / 0.2, jacobian[:, 1, axis], rtol=0, atol=1e-6)


def test_jacobian_by_hand():
    c, s = math.cos(math.radians(33.0)), math.sin(math.radians(33.0))
    _, _, jacobian = place_sources(make_wcs(33.0), np.array([RA]), np.array([DEC]))
    assert np.allclose(
        PIXEL * jacobian[0], [[-c, s], [s, c]], rtol=0, atol=1e-7
    )  # +y at 33 deg, east to the left


def test_places_in_a_galactic_image():
    wcs = WCS({"CTYPE1": "GLON-TAN", "CTYPE2": "GLAT-TAN", "CRVAL1": 30.0, "CRVAL2": 40.0})
    wcs.wcs.cdelt, wcs.wcs.crpix = (-PIXEL / 3600, PIXEL / 3600), (20.5, 20.5)
    here = SkyCoord(*wcs.all_pix2world([12.0], [27.0], 0), unit="deg", frame="galactic").icrs
    x, y, jacobian = place_sources(wcs, here.ra.deg, here.dec.deg)
    assert np.allclose([x[0], y[0]], [12, 27], rtol=0, atol=1e-6)
    north = here.directional_offset_by(0 * u.deg, 1 * u.arcsec).galactic
    moved = wcs.all_world2pix(north.l.deg, north.b.deg, 0)
    assert np.allclose([moved[0] - 12, moved[1] - 27], jacobian[0, :, 1:], rtol=0, atol=1e-6)


def test_source_behind_the_plane_has_no_place():
    x, y, _ = place_sources(make_wcs(), np.array([RA + 180]), np.array([-DEC]))
    assert np.isnan([x[0], y[0]]).all()
