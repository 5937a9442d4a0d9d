"""The search of residuals: fluxes by hand, companions found, hits and errors of the PRF left alone."""

import numpy as np
import pytest
from pymopex.prf import PRF, prf_table
from pymopex.residual_search import (
    Nodes,
    Scores,
    SearchRules,
    add_frame,
    find_peaks,
    searched_frame,
    smooth_background,
    stamps,
)
from pymopex.residuals import render
from scipy import ndimage

SIGMA = 0.1  # image unit
SIDE = 64  # pixels of a frame
STEP = 0.5  # pixels between points of the grid
EVERY = 16  # points between nodes
FLUX_TOLERANCE = 0.02  # of the flux: places in the pixel are tabled to a tenth of it
PLACE_TOLERANCE = 1.0  # points of the grid


@pytest.fixture(scope="module")
def table():
    """A Gaussian PRF of 1.7 pixels full width, 10 samples a pixel."""
    y, x = np.mgrid[-80:81, -80:81] / 10
    return prf_table([PRF(np.exp(-4 * np.log(2) * (x**2 + y**2) / 1.7**2), 10, 10).normalised()])


def draw(table, x, y, flux, width=1.0):
    index = np.zeros(len(np.atleast_1d(x)), int)
    return render(width * np.atleast_1d(x), np.atleast_1d(y), np.atleast_1d(flux), index, table, (SIDE, SIDE))


def nodes(shift=(0.0, 0.0)):
    """A grid on a frame that is shifted by some pixels."""
    count = int(SIDE / STEP) // EVERY + 2
    row, column = np.mgrid[:count, :count] * EVERY * STEP
    return Nodes(column + shift[0], row + shift[1], np.zeros((count, count), np.int64), EVERY)


def search(table, images, model=None, bad=None, shifts=None):
    scores = Scores.empty((int(SIDE / STEP), int(SIDE / STEP)))
    for number, image in enumerate(images):
        frame = searched_frame(
            image.astype("f4"),
            np.full(image.shape, SIGMA, "f4"),
            np.zeros(image.shape, bool) if bad is None else bad,
            image if model is None else image - model,
        )
        add_frame(scores, frame, nodes(shifts[number] if shifts else (0.0, 0.0)), 1.0, stamps(table))
    return scores


def test_flux_and_significance_of_one_star_by_hand(table):
    x, y, flux = 20.0, 30.5, 5.0
    scores = search(table, [draw(table, x, y, flux)] * 3)
    at = round(y / STEP), round(x / STEP)
    assert scores.count[at] == 3
    assert scores.top[at] / scores.norm[at] == pytest.approx(flux, rel=FLUX_TOLERANCE)
    core = draw(table, x, y, 1.0)[29:34, 18:23]  # 5 x 5 round pixel (20, 31), which holds y = 30.5
    expected = flux * np.sqrt(3 * (core**2).sum()) / SIGMA
    assert scores.significance[at] == pytest.approx(expected, rel=FLUX_TOLERANCE)


@pytest.mark.parametrize(("distance", "ratio"), [(2.1, 1.0), (2.1, 5.0), (3.0, 8.0)])
def test_companion_of_a_star_that_is_taken_off_is_found(table, distance, ratio):
    rng = np.random.default_rng(3)
    shifts = [(0.0, 0.0), (0.3, -0.4), (-0.2, 0.45), (0.5, 0.1)]
    images, models = [], []
    for dx, dy in shifts:
        star = draw(table, 30 + dx, 31 + dy, 50.0)
        both = star + draw(table, 30 + dx, 31 + distance + dy, 50.0 / ratio)
        images.append(both + rng.normal(0, SIGMA, star.shape))
        models.append(star)
    scores = Scores.empty((int(SIDE / STEP), int(SIDE / STEP)))
    for image, model, shift in zip(images, models, shifts, strict=True):
        sigma, bad = np.full(image.shape, SIGMA, "f4"), np.zeros(image.shape, bool)
        frame = searched_frame(image.astype("f4"), sigma, bad, image - model)
        add_frame(scores, frame, nodes(shift), 1.0, stamps(table))
    row, column = find_peaks(scores, SearchRules())
    assert len(row) == 1
    assert np.hypot(row[0] - (31 + distance) / STEP, column[0] - 30 / STEP) <= PLACE_TOLERANCE


def test_a_hit_of_one_frame_is_no_source_and_a_single_frame_cannot_tell(table):
    hit = np.zeros((SIDE, SIDE))
    hit[40, 40] = 60 * SIGMA
    rng = np.random.default_rng(4)
    images = [rng.normal(0, SIGMA, hit.shape) + (hit if number == 1 else 0) for number in range(4)]
    scores = search(table, images)
    assert scores.significance.max() > 10
    assert len(find_peaks(scores, SearchRules())[0]) == 0
    alone = search(table, images[1:2])
    assert len(find_peaks(alone, SearchRules())[0]) == 0
    row, column = find_peaks(alone, SearchRules(least_frames=1))
    assert np.hypot(row[0] - 40 / STEP, column[0] - 40 / STEP) <= 2 * PLACE_TOLERANCE


def test_an_error_of_the_prf_is_no_source_and_a_brighter_residual_is_one(table):
    """What is left of a star is 4, then 30 per cent of it; both are hundreds of sigma."""
    model = draw(table, 30, 30, 1000.0)
    weak, strong = (search(table, [model + draw(table, 30, 30, part)] * 4, model) for part in (40.0, 300.0))
    assert weak.significance.max() > 100
    assert len(find_peaks(weak, SearchRules())[0]) == 0
    assert len(find_peaks(strong, SearchRules())[0]) == 1


def knots(scores):
    """Number of peaks above the threshold, whatever is round them."""
    found = scores.significance
    return np.count_nonzero((found == ndimage.maximum_filter(found, 3)) & (found > SearchRules().threshold))


def test_what_a_bright_star_leaves_is_no_source_and_one_that_stands_out_of_it_is(table):
    """A rough halo on half of the frame, several sigma, of which no model knows; a star in it, and one beside it."""
    rng = np.random.default_rng(8)
    rough = ndimage.gaussian_filter(rng.normal(0, 1, (SIDE, SIDE)), 1.0)
    halo = np.where(np.arange(SIDE) > 33, 4 * SIGMA / rough.std(), 0.0)[:, None] * rough
    frames = [halo + rng.normal(0, SIGMA, halo.shape) for _ in range(4)]
    bare = search(table, frames)
    assert knots(bare) > 20
    assert len(find_peaks(bare, SearchRules())[0]) <= 3
    stars = draw(table, 30, 50, 25.0) + draw(table, 30, 15, 2.0)
    row, column = find_peaks(search(table, [frame + stars for frame in frames]), SearchRules())
    for x, y in ((30, 50), (30, 15)):
        assert np.hypot(row - y / STEP, column - x / STEP).min() <= 2 * PLACE_TOLERANCE


@pytest.mark.parametrize("angle", [0.0, 0.4, 1.1, 1.571, 2.5])
def test_spikes_are_no_sources_and_stars_on_and_beside_them_are(table, angle):
    """A line of light through the frame, as bright as stars of 30 sigma; one star on it is brighter."""
    rng = np.random.default_rng(9)
    along = np.linspace(-60, 60, 1201)
    x, y = 31.5 + along * np.cos(angle), 31.5 + along * np.sin(angle)
    inside = (np.abs(x - 31.5) < 32) & (np.abs(y - 31.5) < 32)
    spike = draw(table, x[inside], y[inside], np.full(inside.sum(), 0.12))
    frames = [spike + rng.normal(0, SIGMA, spike.shape) for _ in range(4)]
    bare = search(table, frames)
    assert knots(bare) > 20
    assert len(find_peaks(bare, SearchRules())[0]) <= knots(bare) / 8  # at the rims, where the line ends
    beside = 31.5 - 14 * np.sin(angle), 31.5 + 14 * np.cos(angle)
    stars = draw(table, 31.5, 31.5, 16.0) + draw(table, *beside, 2.0)
    row, column = find_peaks(search(table, [frame + stars for frame in frames]), SearchRules())
    for at_x, at_y in ((31.5, 31.5), beside):
        assert np.hypot(row - at_y / STEP, column - at_x / STEP).min() <= 2 * PLACE_TOLERANCE


def test_noise_alone_gives_nothing(table):
    rng = np.random.default_rng(5)
    scores = search(table, [rng.normal(0.7, SIGMA, (SIDE, SIDE)) for _ in range(5)])
    inner = scores.significance[8:-8, 8:-8]
    assert inner.std() == pytest.approx(1, abs=0.15)
    assert len(find_peaks(scores, SearchRules())[0]) == 0


def test_places_on_bad_pixels_and_off_the_frame_get_nothing(table):
    bad = np.zeros((SIDE, SIDE), bool)
    bad[30, 20] = True
    star = draw(table, 20, 30, 5.0)
    scores = search(table, [star] * 2, bad=bad)
    assert scores.count[60, 40] == 0
    assert scores.count[60, 43] == 2
    shifted = search(table, [star], shifts=[(-10.0, 0.0)])
    assert shifted.count[60, 19] == 0
    assert shifted.count[60, 20] == 1


def test_background_of_residuals_by_hand():
    y, x = np.mgrid[:96, :96]
    plane = 1 + 0.01 * x - 0.02 * y
    found = smooth_background(plane, np.ones(plane.shape, bool))
    assert found[48, 48] == pytest.approx(plane[48, 48], abs=0.02)
    spoiled = plane.copy()
    spoiled[10:13, 10:13] = 1e6
    assert np.allclose(smooth_background(spoiled, np.ones(plane.shape, bool)), found, atol=0.02)
    assert (smooth_background(plane, np.zeros(plane.shape, bool)) == 0).all()
