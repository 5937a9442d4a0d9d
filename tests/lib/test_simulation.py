"""Simulated frames against their truth."""

import numpy as np
import pytest
from pymopex import optics
from pymopex.frame_headers import frame_header, inverse_sip
from pymopex.geometry import frame_wcs, pixel_solid_angle
from pymopex.instruments import INSTRUMENTS
from pymopex.prf_making import fine_prf
from pymopex.projection import pixel_to_sky, sky_to_pixel
from pymopex.simulation import (
    noise,
    permanent_mask,
    pointings,
    prf_places,
    prfs,
    simulate_frame,
    simulation,
    stars,
)
from pymopex.survey import power_law

SMALL = {"array_size": 64, "n_frames": 6}
KEYWORDS = [
    "TELESCOP",
    "INSTRUME",
    "CHNLNUM",
    "AORKEY",
    "EXPID",
    "DCENUM",
    "DCEID",
    "OBJECT",
    "DATE_OBS",
    "MJD_OBS",
    "EXPTIME",
    "FRAMTIME",
    "GAIN",
    "RONOISE",
    "FLUXCONV",
    "BUNIT",
    "CRVAL1",
    "CRPIX2",
    "CTYPE1",
    "CD1_1",
    "A_ORDER",
    "B_2_0",
    "AP_ORDER",
    "BP_0_1",
    "RARFND",
    "DECRFND",
    "CT2RFND",
    "PA",
    "ZODY_EST",
    "SKYDRKZB",
    "HDRMODE",
]
CLEAN = {**SMALL, "hits_per_second": 0, "bad_fraction": 0, "offset_rms": 0}


@pytest.mark.parametrize("key", list(INSTRUMENTS))
def test_width_of_the_prf_is_the_published_one(key):
    camera = INSTRUMENTS[key]
    arcsec = optics.fwhm(optics.prf(camera)) * np.sqrt(np.prod(camera.pixel))
    assert arcsec == pytest.approx(camera.band.fwhm, rel=0.1)


def test_prf_is_normalised_within_ten_pixels_wherever_the_source_lies():
    one = optics.prf(INSTRUMENTS["I1"])
    assert one.central_sum(10 * one.factor_x) == pytest.approx(1, abs=1e-12)
    # all samples of the circle, a source at each of 20 x 20 places of a pixel: the mean over the places
    y, x = np.indices(one.samples.shape) - one.samples.shape[0] // 2
    inside = np.hypot(x, y) <= 10 * one.factor_x
    assert one.samples[inside].sum() / one.factor_x**2 == pytest.approx(1, abs=3e-4)


def test_prf_without_aberrations_is_symmetric():
    samples = optics.prf(INSTRUMENTS["I2"]).samples
    np.testing.assert_allclose(samples, samples[::-1], atol=1e-12)
    np.testing.assert_allclose(samples, samples.T, atol=1e-12)


def test_aberrations_change_the_shape_but_not_the_place():
    camera = INSTRUMENTS["I1"]
    plain, corner = optics.prf(camera), optics.prf(camera, optics.field_aberrations(0.9, 0.9))
    assert np.abs(plain.samples - corner.samples).max() > 0.03 * plain.samples.max()
    assert corner.central_sum(200) == pytest.approx(1)
    half = (corner.samples.shape[0] - 1) // 2
    y, x = np.indices(corner.samples.shape) - half
    inner = (np.abs(x) <= 206) & (np.abs(y) <= 206)
    shift = [(corner.samples * at)[inner].sum() / corner.samples[inner].sum() / 20 for at in (x, y)]
    assert np.abs(shift).max() < 3e-3  # pixel


def test_coarse_prf_comes_back_finely_sampled():
    one = optics.prf(INSTRUMENTS["I1"])
    fine = fine_prf(optics.sampled(one, 5, 128), 5, 20, method="spline").samples
    middle = fine.shape[0] // 2
    got = fine[middle - 500 : middle + 501 : 5, middle - 500 : middle + 501 : 5]
    want = one.samples[260 - 100 : 361, 260 - 100 : 361]
    assert np.abs(got - want).max() < 1e-3 * one.samples.max()


def test_bad_samplings_are_refused():
    camera = INSTRUMENTS["I1"]
    with pytest.raises(ValueError, match="even"):
        optics.prf(camera, sampling=5)
    with pytest.raises(ValueError, match="farther than 10"):
        optics.prf(camera, reach=9)
    with pytest.raises(ValueError, match="no form of 3"):
        optics.sampled(optics.prf(camera), 3, 64)
    with pytest.raises(ValueError, match="too small"):
        optics.sampled(optics.prf(camera), 5, 200)


def test_settings_that_exclude_each_other_are_refused():
    with pytest.raises(ValueError, match="no camera 'I5'"):
        simulation("I5")
    with pytest.raises(ValueError, match="below Faintest_Flux"):
        simulation("I1", faintest_flux=10, brightest_flux=5)
    with pytest.raises(ValueError, match="has no colour"):
        simulation("I1", colour=3)


def test_power_law_by_hand():
    random = np.random.default_rng(1)
    # N(> S) of dN/dS ~ S^-2 from 1 to 100 is (1/S - 1/100) / (1 - 1/100)
    drawn = power_law(random, 20000, 1.0, 100.0, -2.0)
    assert drawn.min() >= 1
    assert drawn.max() <= 100
    assert np.mean(drawn > 10) == pytest.approx(0.0909, abs=0.008)
    assert np.mean(power_law(random, 20000, 1.0, 100.0, -1.0) > 10) == pytest.approx(0.5, abs=0.015)


def test_coverage_rolls_and_dithers():
    sim = simulation("I1", n_frames=100, star_density=1000, roll_2=40)
    where = pointings(sim)
    assert [p.half for p in where] == [0] * 50 + [1] * 50
    assert {p.roll for p in where} == {15, 40}
    assert len({(p.ra, p.dec) for p in where}) == 100
    sky = stars(sim)
    middle = np.hypot((sky.ra - 150) * np.cos(np.radians(2)), sky.dec - 2) < 0.1
    seen = np.zeros(middle.sum())
    for pointing in where:
        x, y = sky_to_pixel(frame_wcs(frame_header(sim, pointing)), sky.ra[middle], sky.dec[middle])
        seen += (np.abs(x - 127.5) < 128) & (np.abs(y - 127.5) < 128)
    assert seen.mean() == pytest.approx(5, abs=0.6)
    assert seen.min() >= 1


def test_one_roll_angle_and_given_grid():
    sim = simulation(
        "I1", n_frames=4, roll_1=0, roll_2=0, n_dithers=1, dither_size=0, step_arcsec=100, centre_dec=0
    )
    ra, dec = np.array([p[:2] for p in pointings(sim)]).T
    np.testing.assert_allclose((ra - 150) * 3600, [50, -50, 50, -50], atol=1e-4)  # x grows to the west
    np.testing.assert_allclose(dec * 3600, [-50, -50, 50, 50], atol=1e-4)


def test_stars_keep_their_distance():
    sky = stars(simulation("I1", **SMALL, n_stars=60, min_separation=20))
    x, y = (sky.ra - 150) * np.cos(np.radians(2)) * 3600, (sky.dec - 2) * 3600
    apart = np.hypot(x[:, None] - x, y[:, None] - y)[~np.eye(x.size, dtype=bool)]
    assert x.size > 30
    assert apart.min() > 19.99


def test_distortion_and_its_inverse():
    sim = simulation("I1")
    header = frame_header(sim, pointings(sim)[0])
    wcs = frame_wcs(header)
    x, y = np.random.default_rng(2).uniform(0, 255, (2, 200))
    back = sky_to_pixel(wcs, *pixel_to_sky(wcs, x, y))
    np.testing.assert_allclose(back, [x, y], atol=1e-8)
    corners = pixel_solid_angle(wcs, np.array([0, 255, 0, 255]), np.array([0, 0, 255, 255]))
    middle = pixel_solid_angle(wcs, 127.0, 127.0)
    assert 0.005 < np.ptp(corners) / middle < 0.05
    assert middle * (180 / np.pi * 3600) ** 2 == pytest.approx(1.221**2, rel=1e-3)
    flat = wcs.sip_pix2foc(np.stack([x, y], 1), 0)
    np.testing.assert_allclose(wcs.sip_foc2pix(flat, 0), np.stack([x, y], 1), atol=1e-3)
    np.testing.assert_array_equal(inverse_sip(type(sim.camera.distortion)((0.0,) * 7, (0.0,) * 7), 64), 0)


def test_header_has_the_keywords_of_the_archive():
    sim = simulation("I4", **SMALL)
    header = frame_header(sim, pointings(sim)[4])
    assert [key for key in KEYWORDS if key not in header] == []
    assert header["PA"] == header["CT2RFND"] == 50
    plain, refined = frame_wcs(header), frame_wcs(header, refined=True)
    np.testing.assert_allclose(plain.pixel_scale_matrix, refined.pixel_scale_matrix, atol=1e-12)


def test_flux_of_an_isolated_star():
    sim = simulation(
        "I1",
        **CLEAN,
        n_stars=9,
        min_separation=50,
        faintest_flux=500,
        brightest_flux=500,
        background=0,
        dither_size=20,
    )
    y, x = np.indices((64, 64))
    checked = 0
    for index in range(6):
        frame = simulate_frame(sim, index)
        wcs = frame_wcs(frame.header)
        at = np.array(sky_to_pixel(wcs, stars(sim).ra, stars(sim).dec))
        area = pixel_solid_angle(wcs, x, y)
        for sx, sy in at[:, frame.inside].T:
            if min(sx, sy) > 11 and max(sx, sy) < 52:
                inside = np.hypot(x - sx, y - sy) <= 10
                assert (frame.model * area * 1e12)[inside].sum() == pytest.approx(500, rel=1e-3)
                checked += 1
    assert checked >= 2


def test_noise_is_that_of_the_uncertainty_image():
    sim = simulation("I1", **CLEAN, background=2.0, uncertainty_scale=2.0)
    pulls = []
    for index in range(6):
        frame = simulate_frame(sim, index)
        good = frame.mask == 0
        pulls.append(((frame.data - frame.model) / frame.sigma)[good] * 2)
    pulls = np.concatenate(pulls)
    assert pulls.std() == pytest.approx(1, abs=0.015)  # 24000 pixels: 0.005
    assert pulls.mean() == pytest.approx(0, abs=0.02)
    # by hand: 2 MJy/sr at 93.6 x 3.7 / 0.1257 = 2755.1 electrons, read noise 21 electrons
    expected = np.sqrt(2 * 2755.131 + 441) / 2755.131
    assert noise(sim, np.array([2.0]))[0] == pytest.approx(expected, rel=1e-5)


def test_gradient_of_the_sky_points_north():
    sim = simulation("I1", **CLEAN, n_stars=0, background=1.0, gradient=10.0, roll_1=0, roll_2=0)
    frame = simulate_frame(sim, 0)
    rise = frame.model[60, 32] - frame.model[4, 32]
    assert rise == pytest.approx(10 * 56 * 1.221 / 3600, rel=0.01)
    assert np.ptp(frame.model[32]) < 0.02 * rise


def test_hits_are_in_the_data_and_flagged_on_request():
    sim = simulation("I1", **{**CLEAN, "hits_per_second": 3}, n_stars=0, flag_hits=1.0)
    frame = simulate_frame(sim, 0)
    rest = (frame.data - frame.hits - frame.model) / frame.sigma
    hit = (frame.hits > 0) & (frame.data < sim.saturation)
    assert 10 < hit.sum() < 300
    assert np.abs(rest[hit]).max() < 6
    strong = frame.hits > frame.sigma
    assert (frame.mask[strong] & 512 != 0).all()
    unknown = simulate_frame(simulation("I1", **{**CLEAN, "hits_per_second": 3}, n_stars=0), 0)
    assert (unknown.mask & 512 == 0).all()


def test_bad_and_saturated_pixels():
    sim = simulation(
        "I1", **{**CLEAN, "bad_fraction": 0.02}, n_stars=20, faintest_flux=5e5, brightest_flux=5e5
    )
    mask = permanent_mask(sim)
    assert mask.dtype == np.int16
    assert np.mean(mask == 1 << 14) == pytest.approx(0.02, abs=0.01)
    frames = [simulate_frame(sim, index) for index in range(6)]
    for frame in frames:
        np.testing.assert_array_equal(frame.mask & 1 << 14, mask)
        full = frame.mask & 1 << 13 != 0
        assert (frame.data[full] == np.float32(sim.saturation)).all()
        np.testing.assert_array_equal(np.isnan(frame.data), np.isnan(frame.sigma))
        assert np.isnan(frame.data[mask != 0]).any()
        assert set(frame.saturated) <= set(frame.inside)
    assert sum(frame.saturated.size for frame in frames) > 0


def test_frames_do_not_depend_on_the_order_of_work():
    sim = simulation("I1", **SMALL)
    last = simulate_frame(sim, 5)
    simulate_frame(sim, 0)
    again = simulate_frame(simulation("I1", **SMALL), 5)
    np.testing.assert_array_equal(last.data, again.data)
    assert last.offset == again.offset
    assert not np.array_equal(last.data, simulate_frame(simulation("I1", **SMALL, seed=2), 5).data)


def test_variable_prf_serves_the_cells_of_the_array():
    assert prf_places(simulation("I1"))[:6] == [(25, 25), (25, 77), (25, 129), (25, 181), (25, 233), (77, 25)]
    varied = prfs(simulation("I1", variable_prf=True))
    assert varied[0].central_value < 0.95 * varied[12].central_value
    assert len({id(one) for one in prfs(simulation("I1"))}) == 1
    assert prf_places(simulation("M1")) == [(64, 64)]


def test_slopes_are_added_to_frames():
    """They change nothing else: same noise, hits and offset; their rms over the array is that asked for."""
    flat, tilted = (
        simulation("I1", n_frames=40, array_size=32, n_stars=0, **keys)
        for keys in ({}, {"frame_gradient_rms": 0.01})
    )
    plain, frame = simulate_frame(flat, 3), simulate_frame(tilted, 3)
    assert plain.slopes == (0, 0)
    y, x = np.indices((32, 32)) - 15.5
    added = frame.data.astype(float) - plain.data
    free = np.isfinite(added) & (frame.mask == 0)
    plane = frame.slopes[0] * x + frame.slopes[1] * y
    assert np.abs(added - plane)[free].max() < 1e-3 * np.nanmax(plain.data)
    assert np.abs(np.median((added - plane)[free])) < 1e-6
    assert frame.offset == plain.offset
    rms = np.std([simulate_frame(tilted, i).slopes for i in range(40)]) * 32
    assert rms == pytest.approx(0.01, rel=0.25)
