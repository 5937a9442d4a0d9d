"""Bias of the fluxes of fits with free positions: many realisations, beside fits of the same pixels at the true places.

A fit of the fluxes alone at the true places is linear, and has no bias. Its errors are nearly those of the free fit, so
that the difference of both tells the bias with few realisations.
"""

import math

import numpy as np
import pytest
from pymopex.batches import alone
from pymopex.fit_bias import flux_bias
from pymopex.fit_data import FramePixels, join_frames
from pymopex.fit_equations import accumulate_pixels
from pymopex.fit_models import model_values
from pymopex.fitting import FitSettings, FitStatus, cramer_rao, fit_group
from pymopex.prf import PRF, prf_table

PIXEL = 1.22  # arcsec
SIGMA = 0.75  # pixel, of the Gaussian PRF: undersampled as IRAC
FWHM = 2.3548 * SIGMA
SAMPLING = 10
BOX = 7
FRAMES = 4
COUNT = 400  # realisations
LEFT = 0.1  # sigma, bias that may be left

FREE = FitSettings(background=True, bias_noise=1.0)
FIXED = FitSettings(background=True, fixed_positions=True, bias_noise=1.0)


def profile(offset):
    return np.exp(-0.5 * (offset / SIGMA) ** 2) / (SIGMA * math.sqrt(2 * math.pi))


@pytest.fixture(scope="module")
def table():
    at = profile(np.arange(-10 * SAMPLING, 10 * SAMPLING + 1) / SAMPLING)
    return prf_table([PRF(np.outer(at, at), SAMPLING, SAMPLING)])


def frames(rng, east, north):
    """Empty pixels round sources at offsets [pixel], in dithered frames of unit noise, and their places there."""
    x, y = (10 + rng.uniform(-0.5, 0.5, (FRAMES, 1)) + offset for offset in (east, north))
    left, low = (np.floor(at.min(axis=1) - BOX / 2 + 0.5).astype(int) for at in (x, y))
    right, high = (np.floor(at.max(axis=1) + BOX / 2 + 0.5).astype(int) for at in (x, y))
    pixels = []
    for a, b, c, d in zip(left, right, low, high, strict=True):
        py, px = (k.ravel().astype(np.int32) for k in np.mgrid[c:d, a:b])
        pixels.append(FramePixels(np.zeros(px.size), np.ones(px.size), px, py))
    jacobian = np.broadcast_to(np.eye(2) / PIXEL, (*x.shape, 2, 2))
    return join_frames(pixels, x, y, jacobian, np.ones(x.shape), np.zeros(x.shape, int), (BOX, BOX))


def trials(table, snr, apart, settings=FREE, count=COUNT, noise=1.0):
    """Fit sources in a row: errors as fitted, with the bias taken off, and at the true places, over the bound."""
    rng = np.random.default_rng(8)
    snr = np.asarray(snr, float)
    nothing, found = np.zeros(snr.size), []
    for _ in range(count):
        turn = rng.uniform(0, 2 * math.pi)
        group = frames(
            rng, *(apart * np.arange(snr.size) * axis for axis in (math.cos(turn), math.sin(turn)))
        )
        unit = cramer_rao(group.take([0]), table, [0.0], [0.0], [1.0], FIXED)[0, 2, 2]
        flux = snr * math.sqrt(unit)
        true = np.append(np.column_stack([nothing, nothing, flux]).ravel(), 0.0)
        value = model_values(alone(group), table, true) + noise * rng.standard_normal(group.value.size)
        fit, known = (fit_group(group._replace(value=value), table, s) for s in (settings, FIXED))
        bound = cramer_rao(group, table, nothing, nothing, flux, FREE)[:, 2, 2]
        if any(source.status is not FitStatus.SUCCESS for source in fit.sources):
            continue
        assert all(source.flux_bias == 0 for source in known.sources)
        columns = [
            [s.flux - k.flux, s.flux - s.flux_bias - k.flux, s.flux - f]
            for s, k, f in zip(fit.sources, known.sources, flux, strict=True)
        ]
        found.append(np.array(columns) / np.sqrt(bound)[:, None])
    assert len(found) > 0.9 * count
    return np.array(found)


@pytest.mark.parametrize("snr", [5, 10, 20])
def test_a_source_alone(table, snr):
    found = trials(table, [snr], 0.0)[:, 0]
    raw, left, _ = found.mean(axis=0)
    error = found[:, 0].std() / math.sqrt(len(found))
    assert raw == pytest.approx(1 / snr, abs=0.1 / snr + 3 * error)
    assert abs(left) < 0.15 / snr + 3 * error < LEFT
    assert raw > abs(left) + 5 * error


@pytest.mark.parametrize("snr, apart", [((10, 10), 1.5 * FWHM), ((100, 10), 0.8 * FWHM)])
def test_a_blend(table, snr, apart):
    """Near a bright star a faint one is found too bright, at its cost."""
    found = trials(table, snr, apart)
    error = found[:, :, 0].std(axis=0) / math.sqrt(len(found))
    raw, left = found[:, :, 0].mean(axis=0), found[:, :, 1].mean(axis=0)
    assert (np.abs(left) < np.abs(raw) / 2 + 3 * error).all()
    assert (np.abs(left) < LEFT + 3 * error).all()


def test_it_follows_the_noise(table):
    """Sigmas of a wrong scale: chi2/dof tells of those that are too large, and of all if it is asked to."""
    for noise, more in (
        (2.0, {"bias_noise": 4.0}),
        (2.0, {"bias_noise": 1.0, "bias_scaled": True}),
        (0.5, {"bias_noise": 1.0}),
    ):
        snr = 8 * noise  # by the stated sigma
        settings = FitSettings(background=True, chi_threshold=9.0, **more)
        found = trials(table, [snr], 0.0, settings, noise=noise)[:, 0] / noise
        raw, left, _ = found.mean(axis=0)
        assert raw == pytest.approx(1 / 8, abs=0.04)
        assert abs(left) < 0.03


def test_an_error_of_the_prf_is_no_noise(table):
    """A chi2/dof above 1 changes nothing unless it is asked to."""
    found = [
        trials(
            table,
            [16],
            0.0,
            FitSettings(background=True, chi_threshold=99.0, bias_noise=1.0, **more),
            40,
            2.0,
        )
        for more in ({}, {"bias_scaled": True})
    ]
    plain, scaled = (one[:, 0, 0].mean() - one[:, 0, 1].mean() for one in found)
    assert scaled / plain == pytest.approx(4, rel=0.15)


def source(table, flux, settings=FREE):
    """Fit a source with noise."""
    group = frames(np.random.default_rng(2), np.zeros(1), np.zeros(1))
    value = model_values(alone(group), table, np.array([0.1, 0.1, flux, 0.0]))
    value = value + np.random.default_rng(3).standard_normal(value.size)
    return fit_group(group._replace(value=value), table, settings).sources[0]


def unbiased(table, flux):
    """Give a flux with its bias taken off, and its sigma."""
    group = frames(np.random.default_rng(2), np.zeros(1), np.zeros(1))
    p = np.array([0.0, 0.0, flux, 0.0])
    matrix, vector = np.empty((4, 4)), np.empty(4)
    accumulate_pixels(alone(group), table, p, 0, FRAMES, matrix, vector)
    covariance = np.linalg.inv(matrix)
    return flux - flux_bias(group, table, p, covariance)[0], math.sqrt(covariance[2, 2])


def test_faint_fluxes_stay_positive_and_in_order(table):
    _, sigma = unbiased(table, 100.0)
    fluxes = sigma * np.geomspace(0.05, 300, 60)
    corrected = np.array([unbiased(table, flux)[0] for flux in fluxes])
    assert (corrected > 0).all()
    assert (np.diff(corrected) > 0).all()
    strong = fluxes > 5 * sigma
    expected = fluxes - sigma**2 / fluxes
    assert corrected[strong] == pytest.approx(expected[strong], abs=0.02 * sigma)
    assert corrected[-1] == pytest.approx(fluxes[-1], rel=1e-4)


def test_none_without_a_free_position(table):
    assert source(table, 20.0).flux_bias > 0
    assert source(table, 20.0, FIXED).flux_bias == 0
    assert source(table, 20.0, FitSettings(background=True)).flux_bias == 0
    at_bound = source(table, 20.0, FitSettings(max_shift=0.05, bias_noise=1.0))
    assert (at_bound.status, at_bound.flux_bias) == (FitStatus.AT_BOUND, 0)
    assert source(table, -5.0).flux_bias == 0


def test_a_fit_that_ran_out_has_none(table):
    ended = source(table, 20.0, FitSettings(max_iterations=1, bias_noise=1.0))
    assert (ended.status, ended.flux_bias) == (FitStatus.NOT_CONVERGED, 0)


def test_a_neighbour_at_its_bound_counts_as_fixed(table):
    group = frames(np.random.default_rng(2), np.array([0.0, 2.0]), np.zeros(2))
    p = np.array([0.0, 0.0, 40.0, 0.0, 0.0, 30.0, 0.0])
    covariance = np.zeros((7, 7))
    free = np.array([0, 1, 2, 5, 6])
    covariance[np.ix_(free, free)] = np.diag([0.01, 0.01, 16.0, 16.0, 0.01])
    bias = flux_bias(group, table, p, covariance)
    assert bias[0] > 0
    assert bias[1] == 0
