"""A namelist writes and removes files in OUTPUT_DIR alone; the command line may say otherwise."""

import os
from pathlib import Path

import pytest

LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out", "do_multiprocess=off")


def listing():
    return sorted(str(path) for path in Path().rglob("*"))


def with_key(pipeline, line):
    """Give a namelist with one more key at its top."""
    text = Path(f"{pipeline}_I1.nl").read_text()
    key = line.split("=")[0].strip()
    kept = [old for old in text.splitlines() if old.split("=")[0].strip() != key]
    Path(f"{pipeline}.nl").write_text("\n".join([f"###-Meta-Data-###: Flow=pymopex.{pipeline}", line, *kept]))
    return f"{pipeline}.nl"


@pytest.mark.parametrize(
    ("pipeline", "key", "value"),
    [
        ("mosaic", "INTERP_DIR", "../else"),
        ("mosaic", "COADDER_DIR", "{here}/else"),
        ("mosaic", "MEDFILTER_DIR", "a/../../else"),
        ("overlap", "OVERLAP_CORR_FILE_NAME", "../../offsets.tbl"),
        ("overlap", "OVERLAP_CORR_DIR", ".."),
    ],
)
def test_places_outside_are_refused(few, mopex, pipeline, key, value):
    value = value.format(here=few)
    before = listing()
    status, log = mopex("drive", pipeline, "-n", with_key(pipeline, f"{key} = {value}"), *LISTS)
    assert status == 2, log
    assert f"{pipeline}.nl:2: {key} = {value}: leads out of OUTPUT_DIR (out)" in log
    assert "command line" in log
    assert listing() == sorted([*before, f"{pipeline}.nl"])


def test_the_fiducial_frame_of_a_legacy_namelist_stays_inside(few, mopex):
    """Legacy scripts made it in the working folder; runs go on, and a table that is there stays as it is."""
    Path("FIF.tbl").write_bytes(b"another")
    name = with_key("overlap", "FIF_FILE_NAME = new/FIF.tbl")
    status, log = mopex("drive", "overlap", "-n", name, *LISTS)
    assert status == 0, log
    assert "new/FIF.tbl (FIF_FILE_NAME) leads out of OUTPUT_DIR" in log
    assert Path("out/FIF.tbl").exists()
    assert not Path("new").exists()
    assert Path("FIF.tbl").read_bytes() == b"another"


def test_a_link_does_not_hide_the_way_up(few, mopex):
    Path("far/below").mkdir(parents=True)
    Path("out").mkdir()
    os.symlink("../far/below", "out/link")
    status, log = mopex("drive", "overlap", "-n", with_key("overlap", "INTERP_DIR = link/../x"), *LISTS)
    assert status == 2
    assert "INTERP_DIR = link/../x: leads out of OUTPUT_DIR" in log


def test_places_below_and_those_of_the_command_line_are_used(few, mopex):
    """A link that the user made to another disk, a detour that stays below, and a word of the command line."""
    Path("scratch").mkdir()
    Path("out").mkdir()
    os.symlink("../scratch", "out/disk")
    name = with_key("overlap", "INTERP_DIR = disk/interp")
    Path(name).write_text(Path(name).read_text() + f"\nMEDFILTER_DIR = {few}/out/a/../med\n")
    status, log = mopex("drive", "overlap", "-n", name, *LISTS, "DETECT_DIR=../det", "FIF_FILE_NAME=FIF.tbl")
    assert status == 0, log
    for place in ("scratch/interp/*.fits", "out/med/*.fits", "det/*.fits", "FIF.tbl"):
        assert list(Path().glob(place)), place


def test_a_block_names_no_file_outside(few, mopex):
    Path("combine.nl").write_text("&MOSAIC_COMBINE\nCombined_Image = ../m.fits\n&END\n")
    status, log = mopex("mosaic_combine", "combine.nl", "OUTPUT_DIR=out")
    assert status == 2
    assert "combine.nl:2: MOSAIC_COMBINE.Combined_Image = ../m.fits: leads out of OUTPUT_DIR (out)" in log


def test_clean_removes_nothing_outside(few, mopex):
    Path("med").mkdir()
    mine = [
        Path("med") / f"{Path(line).stem}_minback.fits" for line in Path("images.txt").read_text().split()
    ]
    for path in mine:
        path.write_text("mine")
    status, log = mopex("clean", with_key("overlap", "MEDFILTER_DIR = ../med"), *LISTS)
    assert status == 2
    assert "MEDFILTER_DIR = ../med: leads out of OUTPUT_DIR (out)" in log
    assert all(path.exists() for path in mine)
