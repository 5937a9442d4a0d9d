"""Fiducial Image Frame: where it writes its table, and that it never writes over a user's."""

from pathlib import Path

import pytest
from pymopex.kit.fif import is_own, read_fif

LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
TASK = ("fiducial_image_frame", "mosaic_I1.nl", *LISTS)


def edit(path, middle=150.05):
    """Change a value by hand, as users do."""
    lines = Path(path).read_text().splitlines()
    lines = [rf"\real CRVAL1 = {middle}" if " CRVAL1 = " in line else line for line in lines]
    Path(path).write_text("\n".join(lines) + "\n")


def test_the_named_table_is_made_and_made_again(few, mopex):
    assert mopex(*TASK, "-F", "FIF.tbl")[0] == 0
    first = read_fif("FIF.tbl")
    assert not Path("out/FIF.tbl").exists()
    status, log = mopex(*TASK, "-F", "FIF.tbl", "Edge_Padding=60")
    assert status == 0
    assert "Warning" not in log
    assert read_fif("FIF.tbl").naxis1 > first.naxis1
    assert not Path("out/FIF.tbl").exists()


@pytest.mark.parametrize("origin", ["edited", "by hand", "legacy"])
def test_a_users_table_is_not_written_over(few, mopex, origin):
    assert mopex(*TASK)[0] == 0
    text = Path("out/FIF.tbl").read_text()
    Path("mine.tbl").write_text(text)
    assert is_own("mine.tbl")
    if origin == "edited":
        edit("mine.tbl")
    else:
        comment = "Output from Fiducial_Image_Frame" if origin == "legacy" else "my field"
        Path("mine.tbl").write_text("\n".join([rf"\char comment = {comment}", *text.splitlines()[1:], ""]))
    mine = Path("mine.tbl").read_bytes()
    Path("two.nl").write_text("run_fiducial_image_frame = 1\nrun_mosaic_interp = 1\n")
    fatal = "DCE_Status_Mask_Fatal_BitPattern=32520"
    status, log = mopex("drive", "mosaic", "-n", "two.nl", *LISTS, "-F", "mine.tbl", fatal)
    assert status == 0, log
    assert Path("mine.tbl").read_bytes() == mine
    assert (
        "Warning: mine.tbl was made or edited by hand and stays as it is; the new frame is out/FIF.tbl" in log
    )
    mosaic, made = read_fif("out/mosaic_fif.tbl"), read_fif("out/FIF.tbl")
    assert (mosaic.crval1, mosaic.crval2) == (made.crval1, made.crval2)
    # a module alone uses the same one
    Path("out/FIF.tbl").rename("aside.tbl")
    status, log = mopex("mosaic_interp", "mosaic_I1.nl", *LISTS, "-F", "mine.tbl")
    assert status == 2
    assert "out/FIF.tbl: missing, and mosaic_interp needs it; run fiducial_image_frame first" in log


def test_with_the_module_off_a_users_table_is_used(few, mopex):
    assert mopex(*TASK, "-F", "mine.tbl")[0] == 0
    edit("mine.tbl", read_fif("mine.tbl").crval1 + 0.001)
    words = ("-F", "mine.tbl", "run_fiducial_image_frame=0")
    status, log = mopex("mosaic_interp", "mosaic_I1.nl", *LISTS, *words)
    assert status == 0, log
    assert read_fif("out/mosaic_fif.tbl").crval1 == read_fif("mine.tbl").crval1
    assert "Warning" not in log


@pytest.mark.parametrize("given", [(), ("-F", "out/FIF.tbl"), ("-F", "./out/FIF.tbl")])
def test_a_table_of_the_output_directory_that_was_edited(few, mopex, given):
    """There is no other place to write to: the user decides."""
    assert mopex(*TASK)[0] == 0
    edit("out/FIF.tbl")
    before = Path("out/FIF.tbl").read_bytes()
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *given)
    assert status == 2
    assert (
        "Error: out/FIF.tbl: was made or edited by hand, and is not written over; to use it, give it" in log
    )
    assert Path("out/FIF.tbl").read_bytes() == before


def test_the_frame_of_an_earlier_mosaic_is_no_place_to_write_to(few, mopex):
    assert mopex(*TASK)[0] == 0
    assert mopex("mosaic_interp", "mosaic_I1.nl", *LISTS)[0] == 0
    Path("out/mosaic_fif.tbl").rename("earlier.tbl")
    before = Path("earlier.tbl").read_bytes()
    status, log = mopex(*TASK, "-F", "earlier.tbl")
    assert status == 0
    assert "earlier.tbl was made or edited by hand" in log
    assert Path("earlier.tbl").read_bytes() == before


def test_time_and_blank_lines_do_not_matter(few, mopex):
    assert mopex(*TASK)[0] == 0
    path = Path("out/FIF.tbl")
    lines = [
        line if "Date-Time" not in line else r"\char Date-Time = then"
        for line in path.read_text().splitlines()
    ]
    path.write_text("".join(line.rstrip("\n") + "\n" for line in lines) + "\n")
    assert is_own(str(path))
    assert is_own("none.tbl")
    Path("text.tbl").write_text("")
    assert not is_own("text.tbl")
    Path("data.tbl").write_bytes(b"\0\1")
    assert not is_own("data.tbl")
