"""Two stars 1.5 full widths apart, both above 100 sigma: found by the flow, and measured without bias."""

import contextlib

import numpy as np
import pytest
from pymopex.artificial import draw_places
from pymopex.comparison import match
from pymopex.fit_data import place_sources
from pymopex.kit.artificial import put_stars, rerun, star_job
from pymopex.kit.driver import open_settings
from pymopex.kit.fit_frames import inside_frame
from pymopex.kit.images import frame_geometry, read_image
from pymopex.kit.ipac import read_table
from pymopex.kit.searched import pixel_grid
from pymopex.kit.task import Run
from scipy.spatial import cKDTree

APART = 1.5 * 1.66  # arcsec
FAINT = 250.0  # uJy, above 100 sigma in four frames
RATIOS = (1.0, 1.5, 2.0, 3.0, 4.0, 5.0)
BIAS = 0.02  # of the flux, median of all stars
EACH = 0.05  # of the flux, of any star: four times its noise
RADIUS = 0.3  # arcsec, of a match


@pytest.fixture(scope="module")
def blends(field, tmp_path_factory):
    """The flow once more on the frames of the field with pairs in them; its folder, and places and fluxes."""
    work = field.copy(tmp_path_factory.mktemp("blends") / "work")
    with contextlib.chdir(work):
        run = Run(open_settings("out/apex_I1.nl", {}, task="complete"))
        run.task = "complete"
        grid, known = pixel_grid(run), read_table("out/extract_raw.tbl")
        coverage = read_image(run.path("mosaic_cov"))[0]
        avoid = np.column_stack([known.column("x") - 1, known.column("y") - 1])
        random, pixel = np.random.default_rng(7), grid.side * 3600
        free = coverage >= 4
        x, y = draw_places(random, 3 * len(RATIOS), free, 12 / pixel, avoid, 7 / pixel).T
        angle = random.uniform(0, 2 * np.pi, x.size)
        x = np.stack([x, x + APART / pixel * np.cos(angle)])
        y = np.stack([y, y + APART / pixel * np.sin(angle)])
        held = np.array([frames_that_hold(run, grid, *pair) for pair in zip(x.T, y.T, strict=True)])
        well = np.flatnonzero(held >= 4)[: len(RATIOS)]
        assert well.size == len(RATIOS)
        x, y = x[:, well].ravel(), y[:, well].ravel()
        flux = FAINT * np.concatenate([np.array(RATIOS), np.ones(len(RATIOS))])
        ra, dec = grid.to_sky(x + 1, y + 1)
        (work / "pairs").mkdir()
        stars = star_job(run, ra, dec, flux, "out/prf_table.npz")
        lists = put_stars(run, str(work / "pairs"), stars, (1,), 0.0)
        rerun(run, str(work / "pairs"), ["out/mosaic_I1.nl", "out/apex_I1.nl"], lists)
        run.pool.close()
    return work, ra, dec, flux


def frames_that_hold(run, grid, x, y):
    """Number of frames that hold both stars of a pair, away from their edges."""
    ra, dec = grid.to_sky(x + 1, y + 1)
    count = 0
    for files in run.frames():
        wcs, shape = frame_geometry(files.image, False)
        count += inside_frame(*place_sources(wcs, ra, dec)[:2], shape, 6).all()
    return count


def errors(path, ra, dec, flux):
    """Relative errors of the fluxes of the stars, and whether each was found."""
    table = read_table(str(path))
    source, star = match(*(np.asarray(table.column(c), float) for c in ("RA", "Dec")), ra, dec, RADIUS)
    found = np.full(len(ra), np.nan)
    found[star] = np.asarray(table.column("flux"), float)[source] / flux[star] - 1
    return found


def test_both_stars_of_a_pair_come_through_the_flow(blends):
    work, *stars = blends
    found = errors(work / "pairs/out/extract.tbl", *stars)
    assert np.isfinite(found).all()
    assert abs(np.median(found)) < BIAS
    assert np.abs(found).max() < EACH


def test_pairs_whose_places_are_given_are_measured_as_well(blends, mopex):
    work, ra, dec, flux = blends
    with contextlib.chdir(work):
        _write_detections(ra, dec)
        status, log = mopex("sourcestimate", "pairs/out/apex_I1.nl", "Detect_Residual=0")
    assert status == 0, log
    found = errors(work / "pairs/out/extract_raw.tbl", ra, dec, flux)
    assert np.isfinite(found).all()
    assert abs(np.median(found)) < BIAS
    assert np.abs(found).max() < EACH


def test_the_search_of_residuals_needs_a_pass_behind_it(blends, mopex):
    work, *_ = blends
    with contextlib.chdir(work):
        status, log = mopex("sourcestimate", "out/apex_I1.nl", "Fit_Passes=1")
    assert status == 2
    assert "Detect_Residual = 1 needs Fit_Passes of 2 or more" in log


def _write_detections(ra, dec):
    """Put both stars of each pair, half a pixel off, in the place of what was detected near them."""
    from pymopex.columns import DETECT
    from pymopex.kit.ipac import write_table

    run = Run(open_settings("pairs/out/apex_I1.nl", {"OUTPUT_DIR": "pairs/out"}, task="sourcestimate"))
    run.task = "sourcestimate"
    old, (x, y) = read_table("pairs/out/detect.tbl"), pixel_grid(run).to_pixels(ra, dec)
    run.pool.close()
    near = cKDTree(np.column_stack([x, y])).query(np.column_stack([old.column("x"), old.column("y")]))[0] < 6
    n = len(x)
    rows = {
        "x": np.concatenate([old.column("x")[~near], x + 0.3]),
        "y": np.concatenate([old.column("y")[~near], y - 0.3]),
    }
    rows["srcid"] = np.arange(1, len(rows["x"]) + 1)
    rows["flux"] = np.concatenate([old.column("flux")[~near], np.ones(n)])
    rows["BlendId"], rows["BlendSize"] = rows["srcid"], np.ones(len(rows["x"]), int)
    write_table("pairs/out/detect.tbl", DETECT, rows)
