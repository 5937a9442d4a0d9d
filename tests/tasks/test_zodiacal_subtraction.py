"""Zodiacal Subtraction: the frames of Overlap without zodiacal light, and what becomes of them."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.ipac import read_table

LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
ON = "apply_zodiacal_subtraction=on"


def frames():
    return [Path(name) for name in Path("images.txt").read_text().split()]


def set_zodi(estimate=1.5, dark=0.25):
    """Give each frame zodiacal light of its own."""
    for i, name in enumerate(frames()):
        with fits.open(name, mode="update") as hdus:
            hdus[0].header["ZODY_EST"] = estimate + i
            if dark is None:
                del hdus[0].header["SKYDRKZB"]
            else:
                hdus[0].header["SKYDRKZB"] = dark


@pytest.mark.parametrize("dark", [0.25, None])
def test_the_level_of_the_header_is_subtracted(few, mopex, dark):
    set_zodi(dark=dark)
    status, log = mopex("zodiacal_subtraction", "overlap_I1.nl", *LISTS, ON)
    assert status == 0, log
    for i, name in enumerate(frames()):
        level = 1.5 + i - (dark or 0)
        data, header = fits.getdata(few / "out/Zod_Sub" / name.name, header=True)
        assert header["ZODISUB"] == level
        np.testing.assert_allclose(data, fits.getdata(name) - level, atol=1e-6)
    listed = (few / "out/Zod_Sub/zodsub_images.txt").read_text().split()
    assert listed == [f"out/Zod_Sub/{name.name}" for name in frames()]


def test_overlap_works_on_the_subtracted_frames(few, mopex):
    set_zodi()
    words = (ON, "save_zodiacal_subtracted_images=1", "delete_intermediate_files=1")
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *LISTS, *words)
    assert status == 0, log
    modules = [line.split()[1] for line in log.splitlines() if "bin/mopex" in line]
    assert modules[0] == "zodiacal_subtraction"
    offsets = read_table("out/Overlap_corr/offsets.tbl").column("offset")
    assert np.ptp(offsets) == pytest.approx(3, abs=0.2)  # the subtracted levels, 1.25 to 4.25, are made good
    for i, (name, offset) in enumerate(zip(frames(), offsets, strict=True)):
        subtracted = fits.getdata(few / "out/Zod_Sub" / name.name)
        corrected = fits.getdata(few / "out/Overlap_corr" / f"correct_{name.name}")
        np.testing.assert_allclose(corrected, subtracted + offset, atol=1e-5)
        np.testing.assert_allclose(subtracted, fits.getdata(name) - (1.25 + i), atol=1e-5)


def test_the_subtracted_frames_go_unless_they_are_to_be_saved(few, mopex):
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *LISTS, ON)
    assert status == 0, log
    assert "deleted 4 frames without zodiacal light" in log
    assert list((few / "out/Zod_Sub").iterdir()) == []
    assert len(list((few / "out/Overlap_corr").glob("correct_*.fits"))) == 4
    status, log = mopex("medfilter", "out/overlap_I1.nl")
    assert status == 2
    assert "missing, and medfilter needs it; run zodiacal_subtraction first" in log


def test_a_module_alone_takes_them(few, mopex):
    set_zodi()
    for task in ("zodiacal_subtraction", "medfilter"):
        status, log = mopex(task, "overlap_I1.nl", *LISTS, ON)
        assert status == 0, log
    header = fits.getheader(few / "out/Medfilter-overlap" / f"{frames()[1].stem}_minback.fits")
    assert header["ZODISUB"] == 2.25


def test_photon_noise_comes_from_the_frames_as_they_were(few, mopex):
    set_zodi()
    words = (ON, "have_uncertainties=0", "compute_uncertainties_internally=1", "run_medfilter=0")
    words = (*words, "run_detect_outlier=0", "run_mosaic_interp=0", "compute_overlap_correction=0")
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *LISTS, *words)
    assert status == 0, log
    made = fits.getdata(few / "out/Sigma-overlap" / f"{frames()[3].stem}_sigma.fits")
    assert mopex("sn_estimator", "overlap_I1.nl", *LISTS, ON, "SIGMA_DIR=again")[0] == 0
    np.testing.assert_array_equal(made, fits.getdata(few / "out/again" / f"{frames()[3].stem}_sigma.fits"))
    assert np.nanmin(made) > 0


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("ZODY_EST", None, "no ZODY_EST in the header; it is needed for apply_zodiacal_subtraction = 1"),
        ("SKYDRKZB", "none", "SKYDRKZB = none in the header is no number"),
        ("BUNIT", "DN", "BUNIT = DN: the zodiacal light can be subtracted from MJy/sr only"),
        ("BUNIT", None, "BUNIT = missing: "),
        ("BUNIT", "microJy/arcsec^2", "BUNIT = microJy/arcsec^2: the zodiacal light"),
    ],
)
def test_a_frame_that_does_not_tell_is_named_before_work_starts(few, mopex, key, value, error):
    name = frames()[2]
    with fits.open(name, mode="update") as hdus:
        if value is None:
            del hdus[0].header[key]
        else:
            hdus[0].header[key] = value
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *LISTS, ON)
    assert status == 2
    assert log.startswith(f"Error: {name}: {error}")
    assert not (few / "out").exists()


def test_the_switch_takes_the_words_of_old_namelists(few, mopex):
    for word, count in (("1", 1), ("off", 0), ("0", 0)):
        with contextlib.suppress(FileNotFoundError):
            Path("out/provenance.json").unlink()
        words = (f"apply_zodiacal_subtraction={word}", "run_medfilter=0", "run_detect_outlier=0")
        words = (*words, "run_mosaic_interp=0", "compute_overlap_correction=0")
        status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *LISTS, *words)
        assert status == 0, log
        assert log.count("mopex zodiacal_subtraction") == count
