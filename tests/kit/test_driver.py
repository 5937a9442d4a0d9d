import os
import stat
from pathlib import Path

import pytest
from pymopex.kit import driver, files, namelist, products, sheets, templates
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.images import FrameFiles
from pymopex.kit.parallel import Pool, processes
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run


def test_flags_apart_glued_and_overrides():
    command = driver.parse_command(["-n", "a.nl", "-F/path/FIF.tbl", "-I", "list", "MEDFILTER.Window_X=31"])
    assert command.namelists == ["a.nl"]
    assert command.overrides == {
        "FIF_FILE_NAME": "/path/FIF.tbl",
        "IMAGE_STACK_FILE_NAME": "list",
        "MEDFILTER.Window_X": "31",
    }


def test_all_wrong_flags_together():
    with pytest.raises(InputErrors) as raised:
        driver.parse_command(["-z", "x", "-I"])
    assert len(raised.value.problems) == 2
    assert "-I: needs a value (list of data frames)" in str(raised.value)


@pytest.mark.parametrize(
    ("name", "flow", "pipeline"),
    [
        ("overlap_I1.nl", "", "overlap"),
        ("x.nl", "edu.caltech.ipac.sirtf.mopexUI.modules.mosaic.MosaicFlow", "mosaic"),
        ("apex_I1.nl", "", "apex"),
        ("apex_qa_I1.nl", "", "apex_qa"),
        ("apex_qa_1frame_I1.nl", "", "apex_qa"),
        ("apex_1frame_I1.nl", "", "apex_1frame"),
        ("apex_user_list_I1.nl", "", "apex_user_list"),
        ("apex_user_list_1frame_I1.nl", "", "apex_user_list_1frame"),
        ("x.nl", "edu.caltech.ipac.sirtf.mopexUI.modules.apex.ApexSingleFrameFlow", "apex_1frame"),
        ("mosaic_1frame.nl", "", "mosaic"),
        ("x.nl", "edu.caltech.ipac.sirtf.mopexUI.modules.apexqa.ApexQAFlow", "apex_qa"),
        ("x.nl", "", None),
    ],
)
def test_pipeline_of_a_namelist(name, flow, pipeline):
    text = f"###-Meta-Data-###:Flow={flow}\n" if flow else ""
    assert driver.pipeline_of(namelist.parse(text, name)) == pipeline


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "sub" / "a.txt"
    files.write_text(str(target), "old")
    with pytest.raises(ZeroDivisionError), files.whole(str(target)) as temporary:
        Path(temporary).write_text("half" * (1 // 0))
    assert target.read_text() == "old"
    assert os.listdir(target.parent) == ["a.txt"]


def test_calibration_files_are_looked_for_in_cal(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cal").mkdir()
    (tmp_path / "cal" / "prf.fits").write_text("")
    assert files.calibration_file("prf.fits") == os.path.join("cal", "prf.fits")
    with pytest.raises(InputError, match="neither here nor in cal/"):
        files.calibration_file("none.fits")


def square(number):
    return number * number, os.getpid()


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_pool_keeps_the_order(count):
    pool = Pool(count)
    try:
        results = pool.map(square, list(range(20)))
    finally:
        pool.close()
    assert [value for value, _ in results] == [n * n for n in range(20)]
    assert (len({pid for _, pid in results}) == 1) == (count == 1)


def test_number_of_processes():
    assert processes("off", 8) == 1
    assert processes("manual", 3) == 3
    assert processes("on", 1) >= 1


def test_names_of_products(tmp_path):
    run = Run(Settings(namelist.parse("IMAGE_STACK_FILE_NAME = a/images.txt\nOUTPUT_DIR = out\n"), "mosaic"))
    assert run.path("interp", base="x") == "out/Interp-mosaic/interp_x.fits"
    assert run.path("interp_table") == "out/Interp-mosaic/interp_images.txt.tbl"
    assert run.path("coadd_image", tile=3) == "out/Coadd-mosaic/coadd_Tile_3_Image.fits"
    assert run.path("mosaic") == "out/Combine-mosaic/mosaic.fits"
    qa = Run(Settings(namelist.parse("OUTPUT_DIR = out\n"), "apex_qa"))
    assert qa.path("mosaic_fif") == "out/Residual/mosaic/mosaic_fif.tbl"
    assert qa.path("mosaic") == "out/Residual/mosaic/Combine/mosaic.fits"


def test_names_of_products_of_one_image():
    text = "INPUT_FILE_NAME = a/mosaic.fits\nOUTPUT_DIR = out\n"
    one = Run(Settings(namelist.parse(text), "apex_1frame"))
    assert one.path("detect") == "out/mosaic_detect.tbl"
    assert one.path("tile_minback", tile=1) == "out/mosaic_minus_median_detect.fits"
    assert one.path("minus_median_extract", base="x") == "out/x_minus_median_extract.fits"
    assert one.path("prf_map") == "out/PRF_Map.tbl"
    assert set(products.SINGLE) <= set(products.PRODUCTS)
    assert "<base>_detect.tbl" in products.made_by("detect")


def test_flags_mean_what_the_pipeline_has(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    given = ["-n", "a.nl", "-d", "m", "-u", "l"]
    many = driver.parse_command(given, "mosaic")
    assert many.overrides == {"DCE_STATUS_MASK_LIST": "m"}
    assert many.mosaic_namelist == "l"
    listed = driver.parse_command(given, "apex_user_list")
    assert listed.overrides == {"DCE_STATUS_MASK_LIST": "m", "INPUT_USER_LIST": "l"}
    words = [*given, "-i", "x.fits", "-sx_unc.fits", "-R", "r"]
    one = driver.parse_command(words, "apex_user_list_1frame")
    names = {"INPUT_FILE_NAME": "x.fits", "SIGMA_FILE_NAME": "x_unc.fits", "RMASK_FILE_NAME": "r"}
    assert one.overrides == {"DCE_STATUS_MASK": "m", "INPUT_USER_LIST": "l", **names}
    (tmp_path / "apex_user_list_1frame_I1.nl").write_text(templates.make("apex_user_list_1frame"))
    alone = driver.parse_command(["apex_user_list_1frame_I1.nl", *words[2:]])  # a module alone
    assert alone.overrides == one.overrides
    with pytest.raises(InputError, match="-I: unknown flag"):
        driver.parse_command(["-I", "list"], "apex_1frame")


def test_every_directory_of_a_product_is_a_declared_key():
    import re

    keys = {p.name for p in sheets.common().own}
    for _, template in products.PRODUCTS.values():
        for name in re.findall(r"{(\w+_DIR)}", template):
            assert name in keys


def test_a_missing_product_names_its_module(tmp_path):
    run = Run(Settings(namelist.parse(f"OUTPUT_DIR = {tmp_path}\n"), "mosaic"))
    run.task = "mosaic_combiner"
    with pytest.raises(InputError, match="run mosaic_coadder first"):
        run.existing("coadd_tiles")


def test_frame_names():
    frame = FrameFiles(0, "/a/SPITZER_I1_1_0000_0000_1_cbcd.fits", "/a/SPITZER_I1_1_0000_0000_1_cbunc.fits")
    assert frame.base == "SPITZER_I1_1_0000_0000_1_cbcd"
    assert frame.sigma_base == "SPITZER_I1_1_0000_0000_1_cbunc"


def test_as_run_namelist_holds_the_overrides(tmp_path):
    (tmp_path / "mosaic_I1.nl").write_text(templates.make("mosaic"))
    overrides = {"OUTPUT_DIR": str(tmp_path / "out"), "DETECT.Detection_Threshold": "3.5"}
    settings = driver.open_settings(str(tmp_path / "mosaic_I1.nl"), overrides)
    driver.save_as_run(Run(settings))
    again = driver.open_settings(str(tmp_path / "out" / "mosaic_I1.nl"), {})
    assert again.params("detect_outlier").Detection_Threshold == 3.5
    assert str(tmp_path / "out") == again.globals().OUTPUT_DIR


def test_new_writes_templates_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert templates.write(["flow", "I1"]) == ["overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl", "apex_qa_I1.nl"]
    with pytest.raises(InputError, match="already here"):
        templates.write(["mosaic"])
    with pytest.raises(InputError, match=r"mosaik: no such pipeline \(did you mean mosaic\?\)"):
        templates.write(["mosaik"])


def test_new_by_the_title(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert templates.write(["Mosaic, IRAC ch1"]) == ["mosaic_I1.nl"]
    assert templates.write(["APEX QA, MIPS 24"]) == ["apex_qa_M1.nl"]
    assert templates.write(["apex multiframe, mips 160 micron"]) == ["apex_M3.nl"]
    assert templates.write(["APEX 1frame, IRAC ch4"]) == ["apex_1frame_I4.nl"]
    assert (tmp_path / "apex_M3.nl").read_text() == templates.make("apex", "M3")
    for words, text in (
        (["Mosaic, IRAC ch7"], "IRAC ch7: no such instrument"),
        (["Mosaics, IRAC ch1"], "Mosaics: no such pipeline"),
        (["mosaic", "I7"], "I7: no such instrument; known are I1, I2"),
        (["artifacts", "M1"], "artifacts: not for MIPS 24; for I1, I2, I3, I4"),
    ):
        with pytest.raises(InputError, match=text):
            templates.write(words)
    assert "  M2                      MIPS 70" in templates.listing()


def test_drivers_are_executable_scripts():
    import pymopex.scripts

    folder = os.path.dirname(pymopex.scripts.__file__)
    for name in (*sheets.PIPELINES, "flow"):
        assert os.stat(os.path.join(folder, f"{name}.sh")).st_mode & stat.S_IXUSR


def test_every_maker_of_a_product_is_a_task():
    makers = {maker for maker, _ in products.PRODUCTS.values()} - {""}
    assert makers <= set(sheets.tasks())


@pytest.mark.parametrize("words", [["--like", "a.fits"], ["--like=a.fits"]])
def test_flag_for_the_grid_of_an_image(words):
    assert driver.parse_command(words).overrides == {"FIDUCIALIMAGEFRAMEIN.Like_Image": "a.fits"}
    with pytest.raises(InputErrors, match="--like: needs a value"):
        driver.parse_command(["--like"])
