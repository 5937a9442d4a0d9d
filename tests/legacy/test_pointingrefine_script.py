"""pointingrefine.pl: known errors of the pointing are recovered, relative and absolute, and modules use the result."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.geometry import frame_wcs
from pymopex.kit.ipac import read_table

ABSOLUTE, RELATIVE = 0.03, 0.08  # arcsec, largest rms error of the refined pointing
TURN = 0.035  # deg, the same of the position angle
SHIFTS, TURNS = 0.8, 0.05  # arcsec, deg: errors that are put in


@pytest.fixture(scope="module")
def wrong(tmp_path_factory, mopex):
    """Nine frames whose headers are wrong by known shifts and turns; gives the folder and the errors."""
    folder = tmp_path_factory.mktemp("pointing")
    rng, errors = np.random.default_rng(7), []
    sky = ("N_Stars=260", "Min_Separation=6", "Faintest_Flux=60", "Brightest_Flux=20000", "Slope=-1.4")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        size = ("Array_Size=80", "N_Frames=9", "Coverage=6", "Seed=1", "do_multiprocess=off")
        assert mopex("simulate", "OUTPUT_DIR=sim", *size, *sky)[0] == 0
        for name in Path("sim/images.txt").read_text().split():
            shift, turn = rng.normal(0, SHIFTS, 2), rng.normal(0, TURNS)
            errors.append((*shift, turn))
            with fits.open(name, mode="update") as hdus:
                _spoil(hdus[0].header, *shift / 3600, np.radians(turn))
        assert mopex("new", "pointingrefine")[0] == 0
    return folder, np.array(errors)


def _spoil(header, east, north, turn):
    header["CRVAL1"] -= east / np.cos(np.radians(header["CRVAL2"]))
    header["CRVAL2"] -= north
    cd = np.array([[header[f"CD{i}_{j}"] for j in (1, 2)] for i in (1, 2)])
    cd = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ cd
    for i, j in np.ndindex(2, 2):
        header[f"CD{i + 1}_{j + 1}"] = cd[i, j]
    for key in ("RARFND", "DECRFND", "CT2RFND"):
        del header[key]


LISTS = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "do_multiprocess=off")


def refined(folder):
    table = read_table(str(folder / "pointingrefine.tbl"))
    return np.stack([table.column(name) for name in ("d_east", "d_north", "d_angle")], axis=1), table


def test_against_a_list(wrong, mopex, monkeypatch, tmp_path):
    folder, errors = wrong
    monkeypatch.chdir(folder)
    words = ("legacy", "pointingrefine.pl", "-npointingrefine_I1.nl", *LISTS, "-usim/truth/sources.tbl")
    status, log = mopex(*words, f"-O{tmp_path}", "Update_Headers=0")
    assert status == 0, log
    got, table = refined(tmp_path)
    off = got - errors
    assert np.sqrt(np.mean(off[:, :2] ** 2)) < ABSOLUTE
    assert np.sqrt(np.mean(off[:, 2] ** 2)) < TURN
    assert (np.abs(off[:, 0]) < 5 * table.column("delta_east")).all()
    assert table.column("n_matched").min() > 5
    # the copies show each star where it is, with the keywords in place of the ordinary pointing
    stars = read_table("sim/truth/sources.tbl")
    true = np.loadtxt(tmp_path / "Pointing/refined_images.txt", dtype=str)
    assert len(true) == 9
    header = fits.getheader(true[2])
    assert "RARFND" not in fits.getheader(Path("sim/images.txt").read_text().split()[2])
    clean = header.copy()
    _spoil(clean, *-errors[2, :2] / 3600, -np.radians(errors[2, 2]))
    where = [np.asarray(stars.column(name))[:20] for name in ("RA", "Dec")]
    x, y = frame_wcs(header, refined=True).all_world2pix(*where, 0, quiet=True)
    true_x, true_y = frame_wcs(clean).all_world2pix(*where, 0, quiet=True)
    near = (np.abs(true_x - 40) < 45) & (np.abs(true_y - 40) < 45)
    assert near.any()
    assert np.hypot(x - true_x, y - true_y)[near].max() * 1.22 < 3 * ABSOLUTE


def test_against_each_other_in_the_frames_themselves(wrong, mopex, monkeypatch, tmp_path):
    folder, errors = wrong
    shutil.copytree(folder / "sim/bcd", tmp_path / "bcd")
    names = [f"bcd/{Path(name).name}" for name in (folder / "sim/images.txt").read_text().split()]
    (tmp_path / "images.txt").write_text("\n".join(names) + "\n")
    shutil.copy(folder / "pointingrefine_I1.nl", tmp_path)
    monkeypatch.chdir(tmp_path)
    before = fits.getdata(names[0])
    status, log = mopex(
        "drive",
        "pointingrefine",
        "-n",
        "pointingrefine_I1.nl",
        "-I",
        "images.txt",
        "-O",
        "out",
        "do_multiprocess=off",
    )
    assert status == 0, log
    got, table = refined(tmp_path / "out")
    off = got - errors
    assert set(table.column("group")) == {1}
    off[:, :2] -= off[:, :2].mean(axis=0)
    assert np.sqrt(np.mean(off[:, :2] ** 2)) < RELATIVE
    assert np.std(off[:, 2]) < TURN
    np.testing.assert_array_equal(fits.getdata(names[0]), before)
    header = fits.getheader(names[0])
    assert header["CRVAL1"] == fits.getheader(folder / "sim" / names[0])["CRVAL1"]
    assert {"RARFND", "DECRFND", "CT2RFND", "ERARFND", "EDECRFND", "ECT2RFND", "CD11RFND"} <= set(header)
    assert header["ERARFND"] * 3600 == pytest.approx(table.column("delta_east")[0], rel=0.02, abs=1e-3)
    assert mopex("new", "mosaic")[0] == 0
    words = ("-I", "images.txt", "-O", "out", "USE_REFINED_POINTING=1", "do_multiprocess=off")
    status, log = mopex("fiducial_image_frame", "mosaic_I1.nl", *words)
    assert status == 0, log


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-u", "none.tbl"), "none.tbl: no such file"),
        (("-u", "short.tbl"), "no column RA"),
        (("POINTINGREFINE.Match_Radius=0",), "Match_Radius = 0: too small"),
    ],
)
def test_refused(wrong, mopex, monkeypatch, words, told):
    monkeypatch.chdir(wrong[0])
    Path("short.tbl").write_text("|x   |y   |\n 1.0  2.0\n")
    status, log = mopex("drive", "pointingrefine", "-n", "pointingrefine_I1.nl", *LISTS, "-O", "no", *words)
    assert status == 2
    assert told in log
    assert not Path("no").exists()
