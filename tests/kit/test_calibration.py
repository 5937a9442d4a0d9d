"""`mopex cal`: calibration files recognised, indexed, and found for frames."""

import shutil
import tarfile
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.array_location import rayleigh_jeans_correction
from pymopex.kit import calfind, calibration
from pymopex.kit.calfind import Frame, choose
from pymopex.kit.calibration import Entry
from pymopex.kit.errors import InputError

SHARED = Path(__file__).parents[3] / "shared" / "data"
MASKS = [
    Entry("pmask", "I1", start="2003-08-01", end="2004-05-02", file="mar04_ch1_bcd_pmask.fits"),
    Entry("pmask", "I1", start="2004-05-03", end="2005-01-15", file="jan05_ch1_bcd_pmask.fits"),
    Entry("pmask", "I1", start="2004-01-01", end="2004-02-01", file="special_ch1_pmask.fits"),
    Entry("pmask", "I1", start="2009-08-01", end="2010-01-01", file="warm_ch1_pmask.fits"),
    Entry("pmask", "I2", start="2003-08-01", end="2010-01-01", file="ch2_pmask.fits"),
    Entry("pmask", "M1", file="mips24_pmask.fits"),
]


def write(path, data, **cards):
    path.parent.mkdir(exist_ok=True, parents=True)
    fits.writeto(path, data, fits.Header(list(cards.items())))
    return path


def mask(path, shape=(256, 256), start="2003-08-01", end="2004-05-02"):
    return write(path, np.zeros(shape, "i2"), STRTDATE=start, ENDDATE=end)


@pytest.mark.parametrize(
    ("camera", "day", "file", "why"),
    [
        ("I1", "2003-12-06", "mar04_ch1_bcd_pmask.fits", "2003-12-06 is in 2003-08-01 to 2004-05-02"),
        ("I1", "2004-05-02", "mar04_ch1_bcd_pmask.fits", "is in"),
        ("I1", "2004-01-20", "special_ch1_pmask.fits", "is in 2004-01-01 to 2004-02-01"),
        ("I1", "2006-01-15", "jan05_ch1_bcd_pmask.fits", "none holds 2006-01-15; the nearest, 365 days off"),
        ("I1", "2009-07-01", "warm_ch1_pmask.fits", "the nearest, 31 days off"),
        ("I3", "2004-01-20", "", "no permanent mask of I3 for the cryogenic mission"),
        ("I1", "-", "", "no DATE_OBS"),
        ("M1", "2005-01-01", "mips24_pmask.fits", "has no dates"),
        ("M1", "-", "mips24_pmask.fits", "has no dates"),
    ],
)
def test_mask_by_date(camera, day, file, why):
    found = choose("pmask", Frame(camera, day), MASKS)
    assert Path(found.path).name == file
    assert why in found.why


def test_parts_of_the_mission():
    cryo = Entry("photcorr", "I1", "cryogenic", file="ch1_photcorr_rj.fits")
    warm = Entry("photcorr", "I1", "warm", file="ch1_photcorr_ap_5.fits")
    any_time = Entry("photcorr", "I1", file="ch1_photcorr_x.fits")
    made = Entry("photcorr", "I1", "cryogenic", origin="computed", file="standin.fits")

    def name(day, *entries, **how):
        return Path(choose("photcorr", Frame("I1", day), entries, **how).path).name

    assert name("2004-01-01", cryo, warm, any_time) == cryo.file
    assert name("2012-01-01", cryo, warm, any_time) == warm.file
    assert name("2012-01-01", cryo, any_time) == any_time.file
    assert name("2012-01-01", cryo) == ""
    assert name("-", cryo, warm) == ""
    assert name("2004-01-01", made) == ""
    assert name("2004-01-01", made, computed=True) == made.file
    assert name("2004-01-01", made, cryo, computed=True) == cryo.file


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("2003-08-01", "2003-08-01"),
        ("2003-08-01T12:30:00.5", "2003-08-01"),
        ("2003/08/01", "2003-08-01"),
        ("Aug. 1, 2003", "2003-08-01"),
        ("1 August 2003", "2003-08-01"),
        ("08/01/2003", "2003-08-01"),
        ("", "-"),
    ],
)
def test_dates_of_headers(tmp_path, text, day):
    path = mask(tmp_path / "mar04_ch1_bcd_pmask.fits", start=text)
    assert calibration.recognise(str(path)).start == day


@pytest.mark.parametrize(
    ("name", "kind", "camera", "sampling"),
    [
        ("IRAC3_col025_row129.fits", "prf", "I3", 5),
        ("apex_sh_IRAC1_col129_row129_x100.fits", "prf", "I1", 100),
        ("IRAC.2.EXTPRF.5X.070704.fits", "prf", "I2", 5),
        ("IRAC1_06_mosaic_4x_detect_kernel.fits", "mosaic_prf", "I1", 5),
        ("mips24_prf_mosaic_2.45_4x.fits", "mosaic_prf", "M1", 4),
        ("ch4_ppcorr_cryo_final.fits", "pixelphase", "I4", 0),
    ],
)
def test_files_by_their_names(tmp_path, name, kind, camera, sampling):
    path = write(tmp_path / name, np.full((9, 9), 0.9, "f4"), PRFXRSMP=5)
    entry = calibration.recognise(str(path))
    assert (entry.kind, entry.camera, entry.sampling) == (kind, camera, sampling)


def test_files_that_cannot_be_right(tmp_path):
    wrong = {
        "a_ch1_pmask.fits": (np.zeros((128, 128), "i2"), "128 x 128 pixels; I1 has 256 x 256"),
        "b_ch1_pmask.fits": (np.full((256, 256), 0.5, "f4"), "a mask has bits"),
        "ch2_photcorr_rj.fits": (np.full((256, 256), np.nan, "f4"), "65536 pixels are not finite"),
        "ch3_photcorr_rj.fits": (np.full((256, 256), 7, "f4"), "a correction is near 1"),
        "IRAC1_col025_row025.fits": (np.zeros((9, 9), "f4"), "positive sum"),
    }
    for name, (data, reason) in wrong.items():
        with pytest.raises(InputError, match=reason):
            calibration.recognise(str(write(tmp_path / name, data)))
    with pytest.raises(InputError, match="STRTDATE = soon: not a date"):
        calibration.recognise(str(mask(tmp_path / "c_ch1_pmask.fits", start="soon")))
    with pytest.raises(InputError, match="is behind ENDDATE"):
        calibration.recognise(str(mask(tmp_path / "d_ch1_pmask.fits", start="2005-01-01")))
    (tmp_path / "notes.txt").touch()
    assert calibration.recognise(str(tmp_path / "notes.txt")) is None


@pytest.fixture
def cal(mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MOPEX_CAL", raising=False)
    return lambda *words: mopex("cal", *words)


@pytest.fixture
def frame(tmp_path):
    """An image of IRAC 1 with its list, taken on 2003-12-06."""
    cards = {"INSTRUME": "IRAC", "CHNLNUM": 1, "DATE_OBS": "2003-12-06T10:00:00"}
    path = write(tmp_path / "SPITZER_I1_4960000_0001_0000_8_cbcd.fits", np.zeros((4, 4), "f4"), **cards)
    (tmp_path / "images.txt").write_text(f"{path}\n")
    return path


def test_add_a_tarball_then_find(cal, frame, tmp_path):
    mask(tmp_path / "src" / "mar04" / "mar04_ch1_bcd_pmask.fits")
    write(tmp_path / "src" / "ch1_photcorr_rj.fits", np.ones((256, 256)), COMMENT="IRAC CRYOGENIC MISSION")
    (tmp_path / "src" / "README").touch()
    with tarfile.open("pmasks.tar.gz", "w:gz") as tar:
        tar.add("src", "src")
    status, log = cal("add", "pmasks.tar.gz")
    assert status == 0, log
    assert "1 other files" in log
    assert sorted(path.name for path in Path("cal").iterdir()) == [
        "ch1_photcorr_rj.fits",
        "index.tbl",
        "mar04_ch1_bcd_pmask.fits",
    ]
    for what in (frame, "images.txt"):
        status, log = cal("find", what)
        assert status == 0
        assert "PMASK_FILE_NAME = cal/mar04_ch1_bcd_pmask.fits" in log
        assert "# 2003-12-06 is in 2003-08-01 to 2004-05-02" in log
        assert "ARRAY_CORR_IMAGE = cal/ch1_photcorr_rj.fits" in log
    status, log = cal("list")
    assert "pmask      I1  2003-08-01 to 2004-05-02  mar04_ch1_bcd_pmask.fits" in log
    assert cal("add", "src")[0] == 0  # the same once more
    fits.writeto("src/ch1_photcorr_rj.fits", np.full((256, 256), 1.1), overwrite=True)
    status, log = cal("add", "src")
    assert status == 2
    assert "has the same name and other content" in log


def test_frames_that_need_different_masks(cal, frame, tmp_path):
    mask(tmp_path / "src" / "mar04_ch1_pmask.fits")
    mask(tmp_path / "src" / "warm_ch1_pmask.fits", start="2009-08-01", end="2010-01-01")
    assert cal("add", "src")[0] == 0
    late = {"INSTRUME": "IRAC", "CHNLNUM": 1, "DATE_OBS": "2009-12-06T10:00:00"}
    other = write(tmp_path / "SPITZER_I1_1_0001_0000_8_cbcd.fits", np.zeros((4, 4), "f4"), **late)
    Path("images.txt").write_text(f"{frame}\n{other}\n")
    status, log = cal("find", "images.txt")
    assert status == 0
    assert "PMASK_FILE_NAME: the frames need different files; make a list for each" in log
    assert "I1 2009-12-06, 1 frames: cal/warm_ch1_pmask.fits" in log


def test_folder_of_the_user(cal, frame, tmp_path, monkeypatch):
    monkeypatch.setenv("MOPEX_CAL", str(tmp_path / "mine"))
    mask(tmp_path / "src" / "mar04_ch1_pmask.fits")
    assert cal("add", "src")[0] == 0
    assert (tmp_path / "mine" / "index.tbl").exists()
    assert f"PMASK_FILE_NAME = {tmp_path}/mine/mar04_ch1_pmask.fits" in cal("find", "images.txt")[1]
    from pymopex.kit.files import calibration_file

    assert calibration_file("mar04_ch1_pmask.fits") == str(tmp_path / "mine" / "mar04_ch1_pmask.fits")


def test_stand_ins_only_when_asked_for(cal, frame, monkeypatch):
    monkeypatch.setattr(calfind, "_FACTOR", {"I": 10, "M": 4})  # the same, and quick
    status, log = cal("find", frame)
    assert status == 0
    assert not Path("cal").exists()
    status, log = cal("find", frame, "--stand-in")
    assert status == 0, log
    assert "ARRAY_CORR_IMAGE = cal/standin_ch1_photcorr_rj.fits" in log
    assert "computed stand-in, for the cryogenic mission" in log
    assert "PRF_file_name = cal/standin_I1_prf_x10.fits" in log
    image, header = fits.getdata("cal/standin_ch1_photcorr_rj.fits", header=True)
    assert header["STANDIN"] is True
    assert np.array_equal(image, rayleigh_jeans_correction(1).astype("f4"))
    prf, header = fits.getdata("cal/standin_I1_prf_x10.fits", header=True)
    assert (header["STANDIN"], header["PRFXRSMP"]) == (True, 10)
    y, x = (np.arange(n) - n // 2 for n in prf.shape)
    inside = np.hypot(x, y[:, None]) <= 100
    assert prf[inside].sum() / 10**2 == pytest.approx(1, abs=0.01)
    assert "computed" in cal("list")[1]
    assert "standin" not in cal("find", frame)[1]


def test_polynomial_of_the_archive():
    found = rayleigh_jeans_correction(2)
    assert found.mean() == pytest.approx(1, abs=1e-12)
    assert (found.min(), found.max()) == (pytest.approx(0.9169, abs=1e-4), pytest.approx(1.0272, abs=1e-4))
    with pytest.raises(ValueError, match="no channel 5"):
        rayleigh_jeans_correction(5)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["ad", "x"], "not understood"),
        (["find"], "not understood"),
        (["add", "none"], "none: no such file or folder"),
        (["add", "images.txt"], "no calibration file of a known kind"),
        (["find", "none.txt"], "none.txt: No such file"),
    ],
)
def test_bad_commands(cal, frame, words, text):
    status, log = cal(*words)
    assert status == 2
    assert text in log


def test_auto_in_a_namelist(cal, mopex, few, monkeypatch):
    monkeypatch.delenv("MOPEX_CAL", raising=False)
    words = ("overlap", "-n", "overlap_I1.nl", "-I", "images.txt", "-O", "out", "PMASK_FILE_NAME=auto")
    status, log = mopex("drive", *words)
    assert status == 2
    assert (
        "PMASK_FILE_NAME = auto: no permanent mask of I1 for the warm mission is in the index; see mopex cal add"
        in log
    )
    Path("cal").mkdir()
    calibration.write_index(
        [Entry("pmask", "I1", start="2012-01-01", end="2014-01-01", file="p_ch1_pmask.fits")]
    )
    fits.writeto("cal/p_ch1_pmask.fits", np.zeros((96, 96), "i2"))
    on = ("run_medfilter=1", "run_detect=0", "run_mosaic_interp=0", "compute_overlap_correction=0")
    status, log = mopex("drive", *words, *on, "run_fiducial_image_frame=0")
    assert status == 0, log
    assert "PMASK_FILE_NAME = cal/p_ch1_pmask.fits" in Path("out/overlap_I1.nl").read_text()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real files (../shared/data) are not here")
def test_real_files(cal):
    status, log = cal("add", SHARED / "cal", SHARED / "prf" / "ssc_5x_070312")
    assert status == 0, log
    assert "refused" not in log
    kinds = {(e.kind, e.camera, e.mission) for e in calibration.read_index()}
    assert {("photcorr", f"I{n}", "cryogenic") for n in range(1, 5)} < kinds
    assert {("photcorr", "I1", "warm"), ("photcorr", "I2", "warm"), ("pixelphase", "I1", "cryogenic")} < kinds
    for n in range(1, 5):
        image = fits.getdata(SHARED / "cal" / f"ch{n}_photcorr_rj.fits")
        assert np.abs(image - rayleigh_jeans_correction(n)).max() < 1e-8
    cryo = SHARED / "irac1_cryo_17577216" / "SPITZER_I1_17577216_0011_0000_6_clean.fits"
    warm = SHARED / "irac1_grb120119a" / "SPITZER_I1_46291456_0002_0000_2_cbcd.fits"
    assert calfind.find(str(cryo), print)["ARRAY_CORR_IMAGE"] == "cal/ch1_photcorr_rj.fits"
    assert calfind.find(str(warm), print)["ARRAY_CORR_IMAGE"] == "cal/ch1_photcorr_ap_5.fits"
    shutil.rmtree("cal")
