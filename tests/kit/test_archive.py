"""Frames of the archive: names, headers, companions."""

import gzip
import math

import pytest
from astropy.io import fits
from pymopex.kit import archive
from pymopex.kit.errors import InputError

NAME = "SPITZER_I1_4960000_0007_0000_8_cbcd.fits"
PAIRS = {kind: (8, f"f_{kind}.fits") for kind in ("bcd", "cbcd", "cbunc", "bunc", "bimsk", "bdmsk")}


@pytest.mark.parametrize("ending", ["", ".gz"])
def test_cards_are_those_of_astropy(tmp_path, ending):
    header = fits.Header(
        [(f"K{i}", i) for i in range(80)]  # END is not in the first block
        + [("EXPTIME", 93.6), ("HDRMODE", True), ("OBJECT", "O'Neill / 2"), ("COMMENT", "EXPTIME = 1")]
    )
    plain, path = tmp_path / NAME, tmp_path / f"{NAME}{ending}"
    fits.PrimaryHDU(header=header).writeto(plain)
    if ending:
        path.write_bytes(gzip.compress(plain.read_bytes()))
    keys = ("EXPTIME", "HDRMODE", "OBJECT", "K79", "NOT")
    found = archive.read_cards(str(path), keys)
    assert found == {key: header[key] for key in keys if key in header}


def test_what_is_no_fits(tmp_path):
    bad = tmp_path / NAME
    bad.write_text("no image")
    with pytest.raises(ValueError, match="is not FITS"):
        archive.read_cards(str(bad), ("EXPTIME",))
    bad.write_bytes(b"SIMPLE  =                    T".ljust(80) + b" " * 2800)
    with pytest.raises(ValueError, match="no END"):
        archive.read_cards(str(bad), ("EXPTIME",))
    assert "cannot be read: its header has no END" in archive.describe((str(bad), "", ""))


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        (NAME, ("I1", "4960000", "0007", "0000", "8", "cbcd")),
        ("SPITZER_M3_12345678_0001_0012_10_bmask.fits.gz", ("M3", "12345678", "0001", "0012", "10", "bmask")),
        ("SPITZER_I1_4960000_0000_8_E8349797_maic.fits", None),
        ("interp_SPITZER_I1_4960000_0007_0000_8_cbcd.fits", None),
    ],
)
def test_names(name, parts):
    match = archive.NAME.fullmatch(name)
    assert (match.groups() if match else None) == parts


def test_best_product_and_its_companions():
    assert archive.product_of(PAIRS) == "cbcd"
    assert archive.product_of(PAIRS, "bcd") == "bcd"
    assert archive.product_of(PAIRS, "ebcd") == ""
    assert archive.product_of(["clean", "bunc", "bimsk"]) == "clean"
    assert archive.product_of(["clean", "median"]) == ""
    assert archive.companions(PAIRS, "cbcd") == ("f_cbunc.fits", "f_bimsk.fits")
    assert archive.companions(PAIRS, "bcd") == ("f_bunc.fits", "f_bimsk.fits")
    assert archive.companions(PAIRS, "cbcd", "bunc", "bdmsk") == ("f_bunc.fits", "f_bdmsk.fits")
    assert archive.companions({"bcd": (1, "f")}, "bcd") == ("", "")


def test_last_version_of_a_frame(tmp_path):
    for version in (8, 10, 9):
        (tmp_path / f"SPITZER_I1_4960000_0007_0000_{version}_bcd.fits").touch()
    found = archive.find_files(str(tmp_path))
    assert found == {
        ("I1", 4960000, 7, 0): {"bcd": (10, str(tmp_path / "SPITZER_I1_4960000_0007_0000_10_bcd.fits"))}
    }
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no frames"):
        archive.find_files(str(tmp_path / "empty"))


def frame(ra, dec):
    return archive.ArchiveFrame("", "I1", 1, (0, 0), 1, "bcd", 1.0, "", "", ra, dec, "", "", "")


def test_centre_and_separation():
    ra, dec = archive.centre([frame(359.9, 10.0), frame(0.3, 10.0)])
    assert ra == pytest.approx(0.1, abs=1e-9)
    assert dec == pytest.approx(10.0, abs=1e-4)
    assert archive.separation(frame(10, 60), 10, 61.5) == pytest.approx(1.5, abs=1e-9)
    assert archive.separation(frame(10, 60), 10.002, 60) == pytest.approx(
        0.002 * math.cos(math.pi / 3), rel=1e-6
    )
    assert archive.separation(frame(0, 90), 180, -90) == pytest.approx(180)
