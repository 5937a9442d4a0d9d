"""`mopex prepare`: lists of frames from a download of the archive."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

SHARED = Path(__file__).parents[3] / "shared" / "data"
AOR = 4960000
KINDS = ("bcd", "cbcd", "bunc", "cbunc", "bimsk")


def put(home, camera="I1", expid=0, version=8, kinds=KINDS, **cards):
    """Write one frame as the archive does, of headers alone."""
    home.mkdir(parents=True, exist_ok=True)
    known = {
        **{"AORKEY": AOR, "EXPTIME": 10.4, "DATE_OBS": "2003-12-06T10:00:00.000", "CAMPAIGN": "IRAC001400"},
        **{"CRVAL1": 150.0 + 0.01 * expid, "CRVAL2": 2.0, "CREATOR": "S18.18.0", "OBJECT": "GFLS"},
        **cards,
    }
    for kind in kinds:
        hdu = fits.PrimaryHDU(np.zeros((2, 2), "f4"), fits.Header(list(known.items())))
        hdu.writeto(home / f"SPITZER_{camera}_{known['AORKEY']}_{expid:04d}_0000_{version}_{kind}.fits")


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """r<aor>/ch<n>/bcd, 6 exposures in two channels, even ones short; a second request; a post-BCD mosaic."""
    top = tmp_path_factory.mktemp("tree")
    for camera in ("I1", "I2"):
        home = top / f"r{AOR}" / f"ch{camera[1]}" / "bcd"
        for expid in range(6):
            short = expid % 2 == 0
            hdr = {"HDRMODE": True, "HDRFRAME": "   short" if short else "    long"}
            put(home, camera, expid, EXPTIME=0.4 if short else 10.4, **hdr)
    other = top / "r4960256" / "ch1" / "bcd"
    late = {
        "AORKEY": 4960256,
        "DATE_OBS": "2009-12-01T00:00:00.000",
        "CAMPAIGN": "IRAC022600",
        "CRVAL1": 200.0,
    }
    put(other, "I1", 0, **late)
    pbcd = top / f"r{AOR}" / "ch1" / "pbcd"
    pbcd.mkdir()
    (pbcd / f"SPITZER_I1_{AOR}_0000_8_E8349797_maic.fits").touch()
    return top


@pytest.fixture
def prepare(mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return lambda *words: mopex("prepare", *words, "do_multiprocess=off")


def exposures(path):
    return [(Path(line).name.split("_")[1], int(Path(line).name.split("_")[3])) for line in lines(path)]


def lines(path):
    return Path(path).read_text().splitlines()


def test_long_frames_of_each_camera_in_one_order(prepare, tree):
    status, log = prepare(tree, f"AOR={AOR}")
    assert status == 0, log
    for camera in ("I1", "I2"):
        assert exposures(f"images_{camera}.txt") == [(camera, 1), (camera, 3), (camera, 5)]
        for image, sigma, mask in zip(
            *(lines(f"{kind}_{camera}.txt") for kind in ("images", "sigmas", "masks")), strict=True
        ):
            assert image.endswith("_cbcd.fits")
            assert Path(image).is_absolute()
            assert sigma == image.replace("cbcd", "cbunc")
            assert mask == image.replace("cbcd", "bimsk")
    assert "flow.sh -I images_I2.txt -S sigmas_I2.txt -d masks_I2.txt" in log
    assert [line.split() for line in log.splitlines() if line.startswith("  * ")] == [
        [
            "*",
            str(AOR),
            c,
            "10.40",
            "long",
            "3",
            "3",
            "2003-12-06,",
            "150.0300",
            "+2.0000,",
            "cbcd",
            "S18.18.0,",
            "GFLS",
        ]
        for c in ("I1", "I2")
    ]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["HDR=short", f"AOR={AOR}"], [0, 2, 4]),
        (["Exposure=0.41", f"AOR={AOR}"], [0, 2, 4]),
        (["Skip_First=2", f"AOR={AOR}"], [3, 5]),
        (["Skip_First=4", "HDR=short", f"AOR={AOR}"], [4]),
        (["Date_To=2003-12-06"], [1, 3, 5]),
        (["Date_From=2009-01-01"], [0]),
        (["Campaign=IRAC0226"], [0]),
        (["Cone_RA=150.02", "Cone_Dec=2", "Cone_Radius=0.0101"], [1, 3]),
        (["Cone_RA=200", "Cone_Dec=2", "Cone_Radius=0.1"], [0]),
    ],
)
def test_selection(prepare, tree, words, found):
    status, log = prepare(tree, "Camera=1", *words)
    assert status == 0, log
    assert [number for _, number in exposures("images.txt")] == found


def test_products_asked_for(prepare, tree):
    assert prepare(tree, "Camera=I1", "Product=bcd", "Mask=bimsk")[0] == 0
    assert all(line.endswith("_bcd.fits") for line in lines("images.txt"))
    assert prepare(tree, "Camera=I1", "Uncertainty=bunc", "Overwrite=1")[0] == 0
    assert all(line.endswith("_cbcd.fits") for line in lines("images.txt"))
    assert all(line.endswith("_bunc.fits") for line in lines("sigmas.txt"))


def test_lists_are_not_written_over(prepare, tree):
    assert prepare(tree, "Camera=I1")[0] == 0
    before = lines("images.txt")
    assert prepare(tree, "Camera=I1")[0] == 0  # the same once more
    status, log = prepare(tree, "Camera=I1", "HDR=short")
    assert status == 2
    assert "images.txt, sigmas.txt, masks.txt: already here, with other frames; Overwrite=1" in log
    assert lines("images.txt") == before
    assert prepare(tree, "Camera=I1", "HDR=short", "Overwrite=1")[0] == 0
    assert lines("images.txt") != before


def test_missing_companions(prepare, tmp_path):
    flat = tmp_path / "flat"
    put(flat, expid=0)
    put(flat, expid=1, kinds=("cbcd", "cbunc"))
    status, log = prepare(flat)
    assert status == 2
    assert f"SPITZER_I1_{AOR}_0001_0000_8_cbcd.fits: has no status mask, others have" in log
    assert not Path("images.txt").exists()
    assert prepare(flat, "Skip_Incomplete=1")[0] == 0
    assert exposures("images.txt") == [("I1", 0)]


def test_no_frame_has_a_mask(prepare, tmp_path):
    put(tmp_path / "flat", kinds=("cbcd", "cbunc"))
    status, log = prepare(tmp_path / "flat")
    assert status == 0
    assert "no masks.txt: no frame has such a companion" in log
    assert not Path("masks.txt").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "no such folder; write mopex prepare FOLDER"),
        (["nothing"], "Input_Dir = nothing: no such folder"),
        (["{tree}", "Camera=I7"], "Camera = I7: no such camera; known are I1, I2, I3, I4, M1, M2, M3"),
        (["{tree}", "AOR=r4960000"], "AOR = r4960000: not a number"),
        (["{tree}", "Date_To=Dec 6"], "Date_To = Dec 6: not a date"),
        (["{tree}", "Cone_RA=1"], "all three or none must be given"),
        (["{tree}", "Product=ebcd"], "of the kinds bcd, bimsk, bunc, cbcd, cbunc name one as Product"),
        (["{tree}", "Date_From=2015-01-01"], "none of its 13 frames is left by these settings"),
    ],
)
def test_bad_input(prepare, tree, words, text):
    status, log = prepare(*(word.format(tree=tree) for word in words))
    assert status == 2
    assert text in log
    assert not Path("images.txt").exists()


def test_without_uncertainties_the_next_command_computes_them(prepare, tmp_path):
    put(tmp_path / "bare", kinds=("cbcd", "bimsk"))
    status, log = prepare(tmp_path / "bare")
    assert status == 0, log
    assert "-d masks.txt have_uncertainties=0 compute_uncertainties_internally=1 -M" in log


def test_a_broken_header_is_named(prepare, tree, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(tree / "r4960256", copy)
    image = next(copy.rglob("*_cbcd.fits"))
    image.write_bytes(image.read_bytes()[:400])
    status, log = prepare(copy)
    assert status == 2
    assert f"{image}: cannot be read: its header has no END" in log


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real frames (../shared/data) are not here")
def test_real_frames(prepare):
    status, log = prepare(SHARED, "Camera=I1", "AOR=46291456")
    assert status == 0, log
    assert [len(lines(f"{name}.txt")) for name in ("images", "sigmas", "masks")] == [108, 108, 108]
    assert exposures("images.txt")[0] == ("I1", 2)
    assert "GRB120119A" in log
    status, log = prepare(SHARED / "irac1_cryo_17577216", "OUTPUT_DIR=cryo")
    assert status == 0, log
    assert len(lines("cryo/images.txt")) == 10
