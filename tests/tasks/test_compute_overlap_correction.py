"""`mopex compute_overlap_correction`: a table that is given, slopes, and frames that do not connect."""

import contextlib
import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.comparison import offset_residuals
from pymopex.kit.ipac import read_table

OFFSET_TOLERANCE = 0.0005  # MJy/sr
SLOPE_LEFT = 0.5  # of the true rms of slopes that small frames leave

TABLES = ("out/Overlap_corr/offsets.tbl", "sim/truth/offsets.tbl")


@pytest.fixture
def copy(field, tmp_path):
    return field.copy(tmp_path / "work")


def correct(mopex, folder, *words, namelist="out/overlap_I1.nl"):
    with contextlib.chdir(folder):
        return mopex("compute_overlap_correction", namelist, "do_multiprocess=off", *words)


def edited(path, change, target):
    """Write a small table of offsets: name and offset, each passed through `change`."""
    table = read_table(str(path))
    rows = [(os.path.basename(str(name)), offset) for name, offset in
            zip(table.column("file"), table.column("offset"), strict=True)]  # fmt: skip
    lines = ["|file                                    |offset      |", "|char|double|"]
    lines[1] = "|char                                    |double      |"
    lines += [f" {name:40s} {offset:12.8f} " for name, offset in change(rows)]
    Path(target).write_text("\n".join(lines) + "\n")


def corrections(folder):
    """Corrected minus original frames, by their names."""
    names = (folder / "out/Overlap_corr/correct_images.txt").read_text().split()
    return {Path(name).name.removeprefix("correct_"): fits.getdata(folder / name) for name in names}


def test_an_edited_table_is_applied(field, copy, mopex):
    """In another order, with one offset changed: found by the names; nothing is solved."""
    change = lambda rows: [(name, 1.25 if i == 3 else offset) for i, (name, offset) in enumerate(rows)][::-1]  # noqa: E731
    edited(copy / "out/Overlap_corr/offsets.tbl", change, copy / "mine.tbl")
    status, log = correct(mopex, copy, "OFFSETS_TABLE_IN=mine.tbl", "INTERP_DIR=nowhere")
    assert status == 0, log
    assert "12 offsets of mine.tbl, applied as they are" in log
    before = read_table(str(field.out / "Overlap_corr/offsets.tbl"))
    wanted = dict(zip(map(os.path.basename, before.column("file")), before.column("offset"), strict=True))
    wanted[os.path.basename(before.column("file")[3])] = 1.25
    for name, data in corrections(copy).items():
        added = data - fits.getdata(field.sim / "bcd" / name)
        assert np.nanmax(np.abs(added - wanted[name])) < 1e-5 * np.nanmax(np.abs(data)), name
    applied = read_table(str(copy / "out/Overlap_corr/offsets.tbl"))
    assert applied.column("offset")[3] == 1.25
    assert np.isnan(applied.column("delta_offset")).all()


def test_a_table_edited_in_its_place_is_not_written_over(copy, mopex):
    table = copy / "out/Overlap_corr/offsets.tbl"
    edited(table, lambda rows: rows, table)
    text = table.read_text()
    status, log = correct(mopex, copy, f"OFFSETS_TABLE_IN={table}")
    assert status == 0, log
    assert table.read_text() == text


def test_tables_that_do_not_fit_are_refused(field, copy, mopex):
    table = field.out / "Overlap_corr/offsets.tbl"
    before = (copy / "out/Overlap_corr/offsets.tbl").stat().st_ino
    names = [os.path.basename(str(name)) for name in read_table(str(table)).column("file")]
    edited(table, lambda rows: rows[2:], copy / "short.tbl")
    edited(table, lambda rows: [(name, np.nan) for name, _ in rows], copy / "nan.tbl")
    (copy / "other.tbl").write_text("|file |flux   |\n|char |double |\n a     1.0     \n")
    for name, reason in (
        ("short.tbl", f"has no row for 2 of 12 frames: {names[0]}, {names[1]}"),
        ("nan.tbl", f"is not a number for {names[0]}"),
        ("other.tbl", "has no column offset"),
        ("none.tbl", "no such file"),
    ):
        status, log = correct(mopex, copy, f"OFFSETS_TABLE_IN={name}")
        assert status == 2, log
        assert f"OFFSETS_TABLE_IN = {name}" in log
        assert reason in log
    assert (copy / "out/Overlap_corr/offsets.tbl").stat().st_ino == before


@pytest.fixture(scope="module")
def tilted(mopex, tmp_path_factory):
    """Overlap with slopes on frames that have them, without stars and hits."""
    folder = tmp_path_factory.mktemp("tilted")
    with contextlib.chdir(folder):
        _simulate(mopex, "Frame_Gradient_Rms=0.02", "N_Frames=12", "Coverage=6")
        status, log = _overlap(mopex, "COMPUTEOVRLAPCORRIN.Fit_Slopes=1")
    assert status == 0, log
    return folder, log


def _simulate(mopex, *words):
    sky = ("N_Stars=0", "Hits_Per_Second=0", "Offset_Rms=0.02", "Array_Size=96", "Bad_Fraction=0")
    status, log = mopex("simulate", "OUTPUT_DIR=sim", *sky, *words)
    assert status == 0, log


def _overlap(mopex, *words):
    status, log = mopex("new", "overlap", "I1")
    assert status == 0, log
    off = ("run_medfilter=0", "run_detect_outlier=0", "mask_bright=0", "do_multiprocess=off")
    lists = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-O", "out")
    return mopex("drive", "overlap", "-n", "overlap_I1.nl", *lists, *off, *words)


def test_slopes_come_back(tilted):
    folder, log = tilted
    found, true = (read_table(str(folder / name)) for name in TABLES)
    assert "slopes, rms" in log
    for axis in "xy":
        slopes, offset = found.column(f"slope_{axis}"), true.column(f"slope_{axis}")
        error = found.column(f"delta_slope_{axis}")
        assert offset.std() * 96 == pytest.approx(0.02, rel=0.6)
        left = slopes + offset
        for half in (slice(0, 6), slice(6, 12)):  # the tilt of the sky, which stays, is one per roll angle
            assert (left[half] - left[half].mean()).std() < 5 * error.mean()
        assert (left - left.mean()).std() < SLOPE_LEFT * offset.std()


def test_corrected_frames_are_the_planes(tilted):
    folder, _ = tilted
    table = read_table(str(folder / "out/Overlap_corr/offsets.tbl"))
    name = os.path.basename(str(table.column("file")[4]))
    path = folder / "out/Overlap_corr" / f"correct_{name}"
    added = fits.getdata(path).astype(float) - fits.getdata(folder / "sim/bcd" / name)
    y, x = np.indices(added.shape) - (np.array(added.shape) - 1)[:, None, None] / 2
    offset, slope_x, slope_y = (table.column(key)[4] for key in ("offset", "slope_x", "slope_y"))
    assert np.nanmax(np.abs(added - offset - slope_x * x - slope_y * y)) < 1e-6
    header = fits.getheader(path)
    assert (header["OVERLAPX"], header["OVERLAPY"]) == pytest.approx((slope_x, slope_y), rel=1e-7)


def test_slopes_of_a_table_are_applied(tilted, mopex):
    """The table of a run with slopes, given back, makes the same frames."""
    folder, _ = tilted
    name = os.path.basename((folder / "out/Overlap_corr/correct_images.txt").read_text().split()[2])
    words = ("OFFSETS_TABLE_IN=out/Overlap_corr/offsets.tbl", "OVERLAP_CORR_DIR=Again")
    status, log = correct(mopex, folder, *words)
    assert status == 0, log
    one, two = (fits.getdata(folder / "out" / part / name) for part in ("Overlap_corr", "Again"))
    np.testing.assert_allclose(two, one, atol=1e-8)
    assert "slope_x" in read_table(str(folder / "out/Again/offsets.tbl")).columns


def test_groups_that_do_not_connect_are_reported(mopex, tmp_path):
    """Three places far from each other, four frames at each."""
    with contextlib.chdir(tmp_path):
        layout = ("N_Frames=12", "N_Dithers=4", "N_Columns=3", "Step_Arcsec=200", "Roll_1=0", "Roll_2=0")
        _simulate(mopex, *layout)
        status, log = _overlap(mopex)
        assert status == 0, log
    found, true = (read_table(str(tmp_path / name)) for name in TABLES)
    assert "3 connected groups" in log
    assert "groups of 4, 4, 4 frames, each with a level of its own" in log
    group = found.column("group")
    assert group.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    for number in (1, 2, 3):
        assert found.column("offset")[group == number].mean() == pytest.approx(0, abs=1e-8)
    left = offset_residuals(found.column("offset"), true.column("offset"), group)
    assert left.std() < OFFSET_TOLERANCE


def test_the_error_of_an_offset_is_the_true_one(field):
    """The table's uncertainties are those of native pixels: no factor is left for the user to apply."""
    found = read_table(str(field.out / "Overlap_corr/offsets.tbl"))
    true = read_table(str(field.sim / "truth/offsets.tbl"))
    left = offset_residuals(found.column("offset"), true.column("offset"), found.column("group"))
    expected = np.sqrt(np.mean(found.column("delta_offset") ** 2))
    assert 0.5 * expected < left.std() < 1.6 * expected
