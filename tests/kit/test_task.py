import json
import os
import sys
import types

import pytest
from pymopex.kit import namelist
from pymopex.kit.errors import InputError
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run


def new_run(text="", pipeline="mosaic", pool=None):
    return Run(Settings(namelist.parse(text, "a.nl"), pipeline), pool or Pool(1))


@pytest.fixture
def fake_task(monkeypatch):
    """A module that stands in for Level."""

    def install(run):
        module = types.ModuleType("pymopex.tasks.level")
        module.run = run
        monkeypatch.setitem(sys.modules, "pymopex.tasks.level", module)

    return install


def test_paths_follow_output_directory_and_keys():
    run = new_run("OUTPUT_DIR = out/x\nINTERP_DIR = In\nIMAGE_STACK_FILE_NAME = lists/ch1.txt\n")
    assert run.path("interp", base="f1") == "out/x/In/interp_f1.fits"
    assert run.path("interp_list") == "out/x/In/interp_ch1.txt"
    assert run.path("provenance") == "out/x/provenance.json"


def test_absolute_directories_stay_as_they_are():
    run = new_run("OUTPUT_DIR = out\nCOADDER_DIR = /data/tiles\n")
    assert run.path("coadd_image", tile=2) == "/data/tiles/coadd_Tile_2_Image.fits"


def test_places_of_the_residual_mosaic():
    run = new_run("OUTPUT_DIR = out\n", "apex_qa")
    run.task = "pointsourceimage"
    assert run.top == "out"
    run.task = "mosaic_interp"
    assert run.top == "out/Residual/mosaic"
    assert run.path("residual", base="f1") == "out/Residual/residual_f1.fits"


def test_frames_behind_point_source_image_are_the_residual_ones(tmp_path):
    (tmp_path / "images.txt").write_text("/a/f1.fits\n/a/f2.fits\n")
    run = new_run(f"OUTPUT_DIR = out\nIMAGE_STACK_FILE_NAME = {tmp_path}/images.txt\n", "apex_qa")
    run.task = "pointsourceimage"
    assert [files.image for files in run.frames()] == ["/a/f1.fits", "/a/f2.fits"]
    run.task = "mosaic_interp"
    assert [files.image for files in run.frames()] == [
        "out/Residual/residual_f1.fits",
        "out/Residual/residual_f2.fits",
    ]


def test_pool_from_the_namelist():
    settings = Settings(namelist.parse("do_multiprocess = manual\nncpu_multiprocess = 3\n"), "mosaic")
    assert Run(settings).pool.count == 3
    pool = Pool(2)
    assert Run(settings, pool).pool is pool


def test_fatal_bits():
    bits = new_run("DCE_Status_Mask_Fatal_BitPattern = 32520\nRMask_Fatal_BitPattern = 7\n").bits
    assert (bits.dmask, bits.pmask, bits.rmask) == (32520, 0, 7)


def test_fiducial_frame_that_is_given(tmp_path):
    path = tmp_path / "FIF.tbl"
    run = new_run(f"FIF_FILE_NAME = {path}\nOUTPUT_DIR = {tmp_path}\n")
    with pytest.raises(InputError, match=r"FIF\.tbl: no such fiducial image frame \(FIF_FILE_NAME\)"):
        run.fiducial_path()
    path.write_text("")
    assert run.fiducial_path() == str(path)


def test_fiducial_frame_that_is_yet_to_be_made(tmp_path):
    run = new_run(
        f"OUTPUT_DIR = {tmp_path}\nFIF_FILE_NAME = {tmp_path}/FIF.tbl\nrun_fiducial_image_frame = 1\n"
    )
    assert run.fiducial_path() == f"{tmp_path}/FIF.tbl"


def test_fiducial_frame_that_was_made_here(tmp_path):
    run = new_run(f"OUTPUT_DIR = {tmp_path}\n")
    run.task = "mosaic_interp"
    with pytest.raises(
        InputError, match="missing, and mosaic_interp needs it; run fiducial_image_frame first"
    ):
        run.fiducial_path()
    (tmp_path / "FIF.tbl").write_text("")
    assert run.fiducial_path() == f"{tmp_path}/FIF.tbl"


def test_residual_mosaic_takes_the_grid_of_the_mosaic(tmp_path):
    run = new_run(f"OUTPUT_DIR = {tmp_path}\n", "apex_qa")
    (tmp_path / "FIF.tbl").write_text("")
    assert run.fiducial_path() == f"{tmp_path}/FIF.tbl"
    (tmp_path / "mosaic_fif.tbl").write_text("")
    assert run.fiducial_path() == f"{tmp_path}/mosaic_fif.tbl"


def test_missing_calibration_file_tells_its_line():
    run = new_run("OUTPUT_DIR = out\nPRF_file_name = none.fits\n")
    with pytest.raises(InputError, match=r"^a\.nl:2: PRF_file_name = none\.fits: no such file"):
        run.calibration("PRF_file_name")


def test_stamp_holds_the_block_and_not_the_places():
    run = new_run("&LEVEL\n Threshold_Ratio = 0.4,\n&END\n")
    run.task = "level"
    stamp = run.stamp()
    assert stamp.task == "level"
    assert "Threshold_Ratio = 0.4" in stamp.parameters
    assert not any("DIR" in card for card in stamp.parameters)


def test_a_task_leaves_its_record(tmp_path, fake_task, capsys):
    out = tmp_path / "out"
    run = new_run(f"OUTPUT_DIR = {out}\n&LEVEL\n Threshold_Ratio = 0.4,\n&END\n")
    fake_task(lambda run: run.keep(run.path("level", base="f1")))
    run.execute("level")
    run.execute("level")
    first, second = json.loads((out / "provenance.json").read_text())["tasks"]
    assert first["task"] == second["task"] == "level"
    assert first["pipeline"] == "mosaic"
    assert first["namelist"] == "a.nl"
    assert first["products"] == ["DualOutlier-mosaic/proj_f1_detmap_dual_outlier_level.fits"]
    assert first["parameters"]["LEVEL.Threshold_Ratio"] == {"value": 0.4, "origin": "a.nl:3"}
    assert first["seconds"] >= 0
    assert "  made 1 files in " in capsys.readouterr().out


def test_a_task_that_fails_leaves_no_record(tmp_path, fake_task):
    def fail(run):
        raise InputError("a problem")

    run = new_run(f"OUTPUT_DIR = {tmp_path}\n")
    fake_task(fail)
    with pytest.raises(InputError, match="a problem"):
        run.execute("level")
    assert not os.path.exists(run.path("provenance"))
