"""Saturated stars: fitted by their wings, marked, and not surrounded by sources that are none."""

from types import SimpleNamespace

import numpy as np
import pytest
from pymopex.comparison import match
from pymopex.kit import fit_rows, prfs
from pymopex.kit.ipac import read_table
from pymopex.prf import PRF, prf_table
from pymopex.tasks.sourcestimate import _drop_in_wings, _Sources

FLUX_TOLERANCE = 0.03  # relative, of a saturated star
MATCH = 1.5  # arcsec


def compared(sim, table):
    """Saturated stars in two frames or more that were fitted: rows of the truth and of the table."""
    stars = read_table(str(sim / "truth/sources.tbl"))
    full = np.flatnonzero((stars.column("saturated") == 1) & (stars.column("n_frames") > 1))
    place = stars.column("ra")[full], stars.column("dec")[full]
    source, star = match(table.column("RA"), table.column("Dec"), *place, MATCH)
    return stars, full, full[star], source


@pytest.fixture
def work(field, tmp_path, monkeypatch):
    monkeypatch.chdir(field.copy(tmp_path / "copy"))
    return field


def test_saturated_stars_are_fitted_by_their_wings(work, mopex):
    before = read_table("out/extract_raw.tbl")
    status, log = mopex("sourcestimate", "out/apex_I1.nl", "Bright_Fitting_Area=19", "Bright_Hole=1")
    assert status == 0, log
    table = read_table("out/extract_raw.tbl")
    stars, full, star, source = compared(work.sim, table)
    marked = np.array(["S" in letters for letters in table.column("deblend")])
    assert len(full) >= 3
    error = table.column("flux")[source] / stars.column("flux")[star] - 1
    assert np.abs(error[marked[source]]).max() < FLUX_TOLERANCE
    assert marked[source].sum() >= 2
    assert set(table.column("FitX")[marked]) == {19}
    assert set(table.column("FitX")[~marked]) == {7}
    assert marked.sum() <= len(full) + 1
    plain = before.column("FitX")
    assert set(plain) == {7}


def test_level_of_saturation_masks_pixels(work, mopex):
    """Without their mask bit, pixels cut at saturation spoil the flux; the level leaves them out."""
    without = ("DCE_Status_Mask_Fatal_BitPattern=0", "Robust_Fit=0", "RMASK_LIST=")
    level = _level(work.sim)
    worst = []
    for more in ((), (f"Saturation_Level={0.999 * level}",)):
        status, log = mopex("sourcestimate", "out/apex_I1.nl", *without, *more)
        assert status == 0, log
        table = read_table("out/extract_raw.tbl")
        stars, _, star, source = compared(work.sim, table)
        good = stars.column("flux")[star] < 3e5
        error = table.column("flux")[source] / stars.column("flux")[star] - 1
        worst.append(np.abs(error[good]).max())
    assert worst[0] > 0.1
    assert worst[1] < FLUX_TOLERANCE


def _level(sim):
    from pymopex.kit.images import read_image

    found = []
    for name in (sim / "images.txt").read_text().split():
        data = read_image(name)[0]
        mask = read_image(name.replace("_cbcd.fits", "_bimsk.fits"))[0].astype(int)
        found.append(data[mask & (1 << 13) > 0])
    return float(np.concatenate(found).min())


def test_source_in_the_wing_of_a_bright_one_is_dropped(monkeypatch):
    at = np.arange(-80, 81) / 10
    profile = np.exp(-0.5 * (at / 0.8) ** 2)
    profile /= profile.sum() / 10
    table = prf_table([PRF(np.outer(profile, profile), 10, 10)])
    monkeypatch.setattr(prfs, "load_table", lambda path: (table, None, None))
    monkeypatch.setattr(fit_rows, "frame_pixel", lambda run: 1.2)
    # a star, sources of 1 % and 5 % of its wing at 1 pixel, one as faint beyond the wing, one fitted at nothing
    wing = 1000 * np.exp(-0.5 / 0.8**2)
    flux = np.array([1000.0, 0.01 * wing, 0.05 * wing, 0.01 * wing, 0.0])
    dec = np.array([0.0, 1.2, -1.2, 6.0, 0.1]) / 3600
    notes = []
    run = SimpleNamespace(params=SimpleNamespace(Wing_Tolerance=0.02), note=notes.append)
    sources = _Sources(
        np.arange(5), np.full(5, 10.0), *[dec.copy() for _ in range(3)], flux, *[np.arange(5)] * 3
    )
    _drop_in_wings(run, sources, "")
    assert sources.detid.tolist() == [0, 2, 3, 4]
    assert notes == ["1 detections in the wings of brighter ones were dropped (Wing_Tolerance)"]
    run.params.Wing_Tolerance = 0
    _drop_in_wings(run, sources, "")
    assert len(sources.flux) == 4
