"""Saturated stars: fitted by their wings, marked, and not surrounded by sources that are none."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from pymopex.comparison import match
from pymopex.kit import bright_stars
from pymopex.kit.ipac import read_table
from pymopex.prf import PRF, prf_table
from pymopex.tasks.sourcestimate import _Sources

FLUX_TOLERANCE = 0.03  # relative, of a saturated star
MATCH = 1.5  # arcsec
RING = 3.0  # arcsec, round a saturated star


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
    assert (table.column("SNR")[marked] > 50).all()
    # one source each: no detection on the ring round a masked core is left
    for number in full:
        offset = np.hypot(
            (table.column("RA") - stars.column("ra")[number])
            * np.cos(np.radians(stars.column("dec")[number])),
            table.column("Dec") - stars.column("dec")[number],
        )
        assert (offset * 3600 < RING).sum() <= 1
    plain = np.array(["S" not in letters for letters in before.column("deblend")])
    assert set(before.column("FitX")[plain]) == {7}


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
    monkeypatch.setattr(bright_stars, "load_table", lambda path: (table, None, None))
    # a star, sources of 1 % and 5 % of its wing at 1 pixel, one as faint beyond the wing, one fitted at nothing
    wing = 1000 * np.exp(-0.5 / 0.8**2)
    flux = np.array([1000.0, 0.01 * wing, 0.05 * wing, 0.01 * wing, 0.0])
    dec = np.array([0.0, 1.2, -1.2, 6.0, 0.1]) / 3600
    notes = []
    run = SimpleNamespace(params=SimpleNamespace(Wing_Tolerance=0.02), note=notes.append)
    sources = _Sources(
        np.arange(5), np.full(5, 10.0), *[dec.copy() for _ in range(3)], flux, *[np.arange(5)] * 4
    )
    bright_stars.drop_in_wings(run, sources, "", 1.2)
    assert sources.detid.tolist() == [0, 2, 3, 4]
    assert notes == ["1 detections in the wings of brighter ones were dropped (Wing_Tolerance)"]
    run.params.Wing_Tolerance = 0
    bright_stars.drop_in_wings(run, sources, "", 1.2)
    assert len(sources.flux) == 4


def test_detections_on_the_ring_of_a_masked_core_are_one():
    at = np.array([[0.0, 0.0], [2.4, 0.0], [1.2, 2.4], [8.0, 0.0], [30.0, 0.0]])  # arcsec
    ra, dec = 10 + at[:, 0] / 3600, at[:, 1] / 3600
    group = np.array([0, 0, 0, 0, 1])
    size, nothing = np.full((5, 2), 7), np.zeros(5)
    sources = _Sources(np.arange(5), ra, dec, ra.copy(), dec.copy(), nothing, group, size, *[nothing > 0] * 2)
    fits = [
        SimpleFit(np.array([0, 1, 2, 3]), np.array([1.7, 0.0, 0.0, 0.0])),
        SimpleFit(np.array([4]), np.array([1.7])),
    ]
    notes = []
    found, again = bright_stars.merge_rings(SimpleNamespace(note=notes.append), sources, fits, 1.2)
    assert sources.detid.tolist() == [0, 3, 4]
    assert again.tolist() == [True, True, False]
    assert [fit.members.tolist() for fit in found] == [[2]]
    middle = (sources.ra[0] - 10) * 3600, sources.dec[0] * 3600
    assert middle == pytest.approx((1.2, 0.8), abs=1e-3)
    assert sources.fit_size.tolist() == [[11, 11], [7, 7], [7, 7]]
    assert notes == ["2 detections on the rings of masked cores were joined with others"]
    same, again = bright_stars.merge_rings(SimpleNamespace(note=notes.append), sources, [], 1.2)
    assert (same, again.any()) == ([], False)


@dataclass(frozen=True)
class SimpleFit:
    members: np.ndarray
    hole: np.ndarray
