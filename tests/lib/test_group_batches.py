"""Many groups at once, against the fit of one group at a time."""

import sys

import numpy as np
import pytest
from pymopex.fit_data import FrameImage
from pymopex.fit_solving import rules_of
from pymopex.fitting import FitSettings, group_fits, light_curve
from pymopex.gathering import batch_of_frames, gather_groups_of_frame, groups_of_frames
from pymopex.group_batches import How, fit_batch
from pymopex.prf import PRF, prf_table
from pymopex.residuals import render
from pymopex.robust import fit_without_hits

SIZES = np.array([1, 2, 1, 3])
BOX = np.array([[7, 7], [7, 9], [5, 5], [7, 7]])
PLACES = np.array([[15, 15], [40, 14], [42.5, 16], [16, 44], [44, 44], [46.2, 45], [44.5, 46.5]], float)
FLUX = np.array([60.0, 80.0, 40.0, 90.0, 70.0, 60.0, 50.0])
FRAMES, SIDE, NOISE, SIGMA = 5, 60, 0.3, 4.5
SETTINGS = FitSettings(background=True, bias_noise=1.0)


@pytest.fixture(scope="module")
def table():
    y, x = np.mgrid[-60:61, -60:61] / 10
    narrow, wide = (PRF(np.exp(-0.5 * (x**2 + y**2) / s**2), 10, 10).normalised() for s in (0.75, 0.9))
    return prf_table([narrow, wide])


@pytest.fixture(scope="module")
def pieces(table):
    """Dithered frames with noise, a hit beside the first source, and one frame that lacks the last group."""
    rng = np.random.default_rng(2)
    out = []
    for frame in range(FRAMES):
        x, y = (PLACES + rng.uniform(-1, 1, 2)).T
        prf = np.full(x.size, frame % 2)
        data = render(x, y, FLUX, prf, table, (SIDE, SIDE)) + rng.normal(0, NOISE, (SIDE, SIDE))
        if frame == 1:
            data[round(y[0]) + 2, round(x[0]) + 1] += 100 * NOISE
        image = FrameImage(
            data.astype("f4"), np.full(data.shape, NOISE, "f4"), rng.uniform(size=data.shape) < 0.03
        )
        shown = np.arange(3 if frame == 3 else 4)
        n = SIZES[shown].sum()
        start = x[:n] + 0.1, y[:n] - 0.1
        jacobian = np.tile(np.eye(2) / 1.2, (n, 1, 1))
        places = (*start, jacobian, np.ones(n), prf[:n, None], np.ones((n, 1)))
        out.append(gather_groups_of_frame(image, (0, 0), frame, shown, SIZES[shown], BOX[shown], places))
    return out


@pytest.fixture(scope="module")
def fitted(pieces, table):
    numbers, batch = batch_of_frames(pieces, BOX)
    assert numbers.tolist() == [0, 1, 2, 3]
    nothing, none = np.zeros(SIZES.sum()), np.zeros(SIZES.sum(), bool)
    how = How(SIGMA, 0.0, 3, True)
    return fit_batch(batch, table, np.array([0.3, 0.2]), nothing, none, rules_of(SETTINGS), how)


def test_each_group_is_fitted_as_it_is_alone(pieces, table, fitted):
    rows, whole, extras, dropped, _ = fitted
    assert dropped[0] > 0  # the hit
    for number, (group, got) in enumerate(
        zip(groups_of_frames(pieces, BOX), group_fits(rows, whole), strict=True)
    ):
        fit, _, lost = fit_without_hits(group.group, table, SETTINGS, SIGMA)
        assert lost == dropped[number]
        assert (fit.chi2, fit.dof, fit.n_ps) == (got.chi2, got.dof, got.n_ps)
        for one, other in zip(fit.sources, got.sources, strict=True):
            assert (one.u, one.v, one.flux, one.flux_bias) == (other.u, other.v, other.flux, other.flux_bias)
            assert (one.status, one.n_pixels, one.n_frames) == (other.status, other.n_pixels, other.n_frames)
            np.testing.assert_array_equal(one.covariance, other.covariance)
    flux = np.concatenate([[s.flux for s in fit.sources] for fit in group_fits(rows, whole)])
    assert flux == pytest.approx(FLUX, rel=0.1)
    assert (extras.hole == 0).all()
    assert ((extras.central > 0.2) & (extras.central < 0.3)).all()


def test_single_frames_are_those_of_the_light_curve(pieces, table, fitted):
    rows, whole, _, _, curves = fitted
    groups = list(groups_of_frames(pieces, BOX))
    fit = group_fits(rows, whole)[3]
    own = curves.group == 3
    assert sorted(set(curves.frame[own])) == [0, 1, 2, 4]
    used = fit_without_hits(groups[3].group, table, SETTINGS, SIGMA)[1]
    u, v, flux = (np.array([getattr(s, name) for s in fit.sources]) for name in ("u", "v", "flux"))
    curve = light_curve(used, table, u, v, flux=flux, background=True)
    for number in range(3):
        some = own & (curves.number == number)
        np.testing.assert_array_equal(curves.values[some, 0], curve.flux[:, number])
        np.testing.assert_array_equal(curves.values[some, 5:7], curve.shift_variance[:, number])


def test_known_fluxes_are_given_back(pieces, table, fitted):
    """Frames from which the sources were taken off with fluxes that are too high, at the places of the start."""
    _, batch = batch_of_frames(pieces, BOX)
    known = FLUX[: SIZES.sum()]
    none, how = np.zeros(known.size, bool), How(0.0, 0.0, 3, False)
    nothing = np.zeros(known.size)
    rows = [
        fit_batch(batch, table, np.array([0.3, 0.2]), flux, none, rules_of(FitSettings()), how)[0]
        for flux in (nothing, known)
    ]
    assert (rows[1].flux > 1.5 * rows[0].flux).all()


def test_holes_of_bright_sources_hold_no_pixel(pieces, table):
    _, batch = batch_of_frames(pieces, BOX)
    bright = np.array([True, *[False] * 6])
    rows = [
        fit_batch(
            batch,
            table,
            np.array([0.3, 0.2]),
            np.zeros(7),
            some,
            rules_of(FitSettings()),
            How(0.0, 1.5, 3, False),
        )[0]
        for some in (np.zeros(7, bool), bright)
    ]
    assert (rows[0].n_pixels - rows[1].n_pixels)[0] >= 7 * FRAMES - 5  # within 1.5 pixels, but for bad ones
    assert (rows[0].n_pixels == rows[1].n_pixels)[1:].all()


def test_no_piece_gives_no_batch():
    assert batch_of_frames([], BOX) is None


def test_nothing_is_compiled_twice(fitted):
    """A literal number in a call, or arrays of two layouts, would make copies of all that lies below."""
    from numba.core.dispatcher import Dispatcher

    modules = [module for name, module in sys.modules.items() if name.startswith("pymopex.")]
    functions = {
        f"{module.__name__}.{name}": function
        for module in modules
        for name, function in vars(module).items()
        if isinstance(function, Dispatcher) and function.py_func.__module__ in PARTS
    }
    assert len(functions) > 20
    assert {
        name: len(function.overloads) for name, function in functions.items() if len(function.overloads) > 1
    } == {}


PARTS = [
    f"pymopex.{name}"
    for name in (
        *(
            "batches",
            "pixel_blocks",
            "fit_models",
            "fit_equations",
            "fit_minimum",
            "fit_solving",
            "fit_finish",
        ),
        *("fit_bias", "frame_fits", "group_batches", "group_kernels", "hit_kernels", "normal_equations"),
    )
]
