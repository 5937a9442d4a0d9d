"""Every module rerun alone on the products of the flow, and the pipelines rerun from the namelists they left."""

import contextlib
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tables
from astropy.io import fits
from pymopex.kit.driver import pipeline_tasks
from pymopex.kit.ipac import read_table
from pymopex.kit.sheets import FLOW
from pymopex.kit.stages import CHANGES

OFF = {"psp_gaussnoise", "mosaic_pointsourceimage", "photcorr"}  # in the field
MODULES = [
    (pipeline, task) for pipeline in FLOW for task in pipeline_tasks(pipeline) if task not in {*CHANGES, *OFF}
]
GROWS = {"detect.tbl", "detect_raw.tbl", "extract_raw.tbl", "header_list.tbl"}  # later modules change them
UNLIKE = {  # tell of the run itself
    *("provenance.json", *(name for one in FLOW for name in (f"{one}_I1.nl", f"progress_{one}.jsonl"))),
}


def stamps(folder):
    """What tells that a file was written: its inode, since products are renamed into their places."""
    return {
        str(path.relative_to(folder)): os.stat(path).st_ino for path in folder.rglob("*") if path.is_file()
    }


def content(path):
    """The bytes of a file, without what tells when it was written: a line of fiducial frames, times in an HDF5 file."""
    if path.suffix == ".h5":
        with tables.open_file(path) as file:
            return b"".join(
                node._v_pathname.encode() + node.read().tobytes() for node in file.walk_nodes("/", "Table")
            )
    data = path.read_bytes()
    return re.sub(rb"(?m)^\\char Date-Time = .*$", b"", data) if path.suffix == ".tbl" else data


def assert_same(name, new, old):
    """Same bytes, or, for tables that later modules change, the same values in all columns there are."""
    if content(new) == content(old):
        return
    assert name in GROWS, f"{name} differs"
    mine, other = read_table(str(new)), read_table(str(old))
    assert set(mine.columns) <= set(other.columns)
    for column, values in mine.columns.items():
        if name == "header_list.tbl" and column == "file":
            continue  # Mosaic lists the corrected frames in place of the frames
        np.testing.assert_array_equal(values, other.columns[column], err_msg=f"{name}: {column}")


@pytest.fixture(scope="module")
def copy(field, tmp_path_factory):
    """A copy of the products, in which one module after another runs again."""
    return field.copy(tmp_path_factory.mktemp("rerun") / "work")


def mosaicking(pipeline, task):
    """Tell whether Mosaic made the product in place of this module of APEX."""
    return pipeline == "apex" and (task.startswith("mosaic_") or task == "fiducial_image_frame")


@pytest.mark.parametrize(("pipeline", "task"), [module for module in MODULES if not mosaicking(*module)])
def test_a_module_alone_makes_the_same_again(field, copy, mopex, pipeline, task):
    before = stamps(copy)
    with contextlib.chdir(copy):
        status, log = mopex(task, f"out/{pipeline}_I1.nl", "do_multiprocess=off")
    assert status == 0, log
    assert log.splitlines()[-1] == f"{task} terminated normally"
    after = stamps(copy)
    assert set(after) == set(before)
    written = {name for name in after if after[name] != before[name]} - {"out/provenance.json"}
    record = json.loads((copy / "out" / "provenance.json").read_text())["tasks"][-1]
    assert record["task"] == task
    assert {f"out/{name}" for name in record["products"]} == written
    assert written
    for name in sorted(written):
        assert_same(os.path.basename(name), copy / name, field.work / name)


def test_a_module_alone_says_nothing_it_did_not_say_in_the_flow(field, copy, mopex):
    with contextlib.chdir(copy):
        _, log = mopex("mosaic_rmask", "out/mosaic_I1.nl")
    told = [line for line in log.splitlines() if "rejected pixels" in line]
    assert told == [line for line in field.log.splitlines() if "rejected pixels" in line]


@pytest.mark.parametrize(
    "task", ["fiducial_image_frame", "mosaic_interp", "mosaic_coadder", "mosaic_combiner"]
)
def test_mosaicking_of_apex(field, copy, mopex, task):
    """APEX can make the mosaic itself: with the frame of Mosaic and its outlier masks, the same one."""
    folders = ("INTERP_DIR=Interp-own", "COADDER_DIR=Coadd-own", "COMBINER_DIR=Combine-own")
    with contextlib.chdir(copy):
        status, log = mopex(
            task, "out/apex_I1.nl", *folders, "FIF_FILE_NAME=out/FIF.tbl", "do_multiprocess=off"
        )
    assert status == 0, log
    pairs = {
        "fiducial_image_frame": ("FIF.tbl", "FIF.tbl"),
        "mosaic_interp": ("mosaic_fif.tbl", "mosaic_fif.tbl"),
        "mosaic_coadder": ("Coadd-own/coadd_Tile_1_Image.fits", "Coadd-mosaic/coadd_Tile_1_Image.fits"),
        "mosaic_combiner": ("Combine-own/mosaic.fits", "Combine-mosaic/mosaic.fits"),
    }
    new, old = pairs[task]
    if new.endswith(".tbl"):
        assert content(copy / "out" / new) == content(field.out / old)
    else:
        np.testing.assert_array_equal(fits.getdata(copy / "out" / new), fits.getdata(field.out / old))


def test_another_parameter_makes_another_product(field, copy, mopex):
    with contextlib.chdir(copy):
        status, log = mopex("mosaic_rmask", "out/mosaic_I1.nl", "RM_THRESH=0.05", "RMASK_DIR=Rmask-wide")
        assert status == 0, log
        status, log = mopex("select", "out/apex_I1.nl", "select_conditions=flux > 200 and status == 1")
        assert status == 0, log
    wide, plain = (
        read_table(str(copy / "out" / folder / "rejected.tbl")).column("rejected")
        for folder in ("Rmask-wide", "Rmask-mosaic")
    )
    assert (wide > 1.2 * plain).all()
    chosen = read_table(str(copy / "out" / "extract.tbl")).column("flux")
    everything = read_table(str(field.out / "extract.tbl")).column("flux")
    assert chosen.min() > 200
    assert 0 < len(chosen) == np.count_nonzero(everything > 200) < len(everything)


def test_pipelines_from_their_as_run_namelists_make_the_same(field, mopex, tmp_path):
    """With one process in place of two, from nothing but the namelists that the flow left, and its inputs."""
    for name in ("overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl", "apex_qa_I1.nl"):
        (tmp_path / name).write_bytes((field.out / name).read_bytes())
    for name in ("prf", "corr.fits"):
        (tmp_path / name).symlink_to(field.work / name)
    with contextlib.chdir(tmp_path):
        for pipeline in FLOW:
            status, log = mopex("drive", pipeline, "-n", f"{pipeline}_I1.nl", "do_multiprocess=off")
            assert status == 0, log
            assert log.splitlines()[-1] == f"{pipeline} terminated normally"
    files = {path.relative_to(field.out) for path in field.out.rglob("*") if path.is_file()}
    files.discard(Path("report.html"))  # the reruns write none
    made = {path.relative_to(tmp_path / "out") for path in (tmp_path / "out").rglob("*") if path.is_file()}
    assert made == files
    unequal = [
        str(name)
        for name in files
        if str(name) not in UNLIKE and content(field.out / name) != content(tmp_path / "out" / name)
    ]
    assert unequal == []


@pytest.mark.parametrize(
    ("task", "namelist", "product", "maker"),
    [
        ("mosaic_outlier", "mosaic_I1.nl", "Interp-mosaic/interp_correct_images.txt.tbl", "mosaic_interp"),
        ("mosaic_rmask", "mosaic_I1.nl", "covg_map.fits", "mosaic_covg"),
        ("mosaic_combiner", "mosaic_I1.nl", "Coadd-mosaic/coadd_tiles.tbl", "mosaic_coadder"),
        ("sourcestimate", "apex_I1.nl", "detect.tbl", "detect"),
        ("select", "apex_I1.nl", "extract_raw.tbl", "sourcestimate"),
    ],
)
def test_a_module_without_its_input_names_the_module_that_makes_it(
    copy, mopex, task, namelist, product, maker
):
    os.rename(copy / "out" / product, copy / "aside")
    try:
        with contextlib.chdir(copy):
            status, log = mopex(task, f"out/{namelist}", "do_multiprocess=off")
    finally:
        os.rename(copy / "aside", copy / "out" / product)
    assert status == 2
    error = f"Error: out/{product}: missing, and {task} needs it; run {maker} first"
    assert log.splitlines()[-2:] == ["System Exit 2", error]


def test_files_are_listed_by_paths_that_exist(field):
    """Lists of products can be given to other programs from the folder the flow ran in."""
    lists = [path for path in field.out.rglob("*") if path.name.endswith(("images.txt", "_List"))]
    assert len(lists) >= 12
    for path in lists:
        names = path.read_text().split()
        assert names, path
        assert [name for name in names if not (Path(field.work) / name).is_file()] == [], path
