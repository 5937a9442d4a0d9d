"""A flow from a module on, a module alone, and the removal of intermediate files by a command of its own."""

import json
from pathlib import Path

import pytest

FLOW = ("overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl")
ALSO = ("do_multiprocess=off", "create_report=0")


@pytest.fixture
def work(field, tmp_path, monkeypatch):
    """A copy of the whole run, and its command up to APEX."""
    monkeypatch.chdir(field.copy(tmp_path / "work"))
    prfs = ("-m", "prf/prfmap.tbl", "-P", "prf/IRAC1_mosaic_detect_kernel.fits")
    sampling = [f"SOURCESTIMATE.PRF_Resample{axis}_Factor=20" for axis in "XY"]
    return (*field.flags, *prfs, *sampling, "-O", "out", *ALSO, *FLOW)


def tasks_run(since):
    records = json.loads(Path("out/provenance.json").read_text())["tasks"]
    return [(one["pipeline"], one["task"]) for one in records[since:]]


def records():
    return len(json.loads(Path("out/provenance.json").read_text())["tasks"])


def test_a_module_alone_sees_what_the_flow_hands_on(work, mopex):
    before, count = Path("out/Combine-mosaic/mosaic.fits").read_bytes(), records()
    Path("out/Combine-mosaic/mosaic.fits").unlink()
    status, log = mopex("flow", *work, "--only", "mosaic.mosaic_combiner")
    assert status == 0, log
    assert tasks_run(count) == [("mosaic", "mosaic_combiner")]
    assert Path("out/Combine-mosaic/mosaic.fits").read_bytes() == before
    assert "Overlap_corr/correct_images.txt" in Path("out/mosaic_I1.nl").read_text()


def test_from_a_module_on_all_that_follows_is_run(work, mopex):
    before, count = Path("out/extract.tbl").stat().st_mtime_ns, records()
    status, log = mopex("flow", *work, "--from", "mosaic.mosaic_coadder", "delete_intermediate_files=1")
    assert status == 0, log
    done = tasks_run(count)
    assert done[:2] == [("mosaic", "mosaic_coadder"), ("mosaic", "mosaic_combiner")]
    assert done[2:] == [pair for pair in done[2:] if pair[0] == "apex"]
    assert done[-1][1] == "select"
    assert Path("out/extract.tbl").stat().st_mtime_ns > before
    assert not list(Path("out/Interp-mosaic").glob("interp_*.fits"))


def test_a_pipeline_alone_from_a_module_on(work, mopex):
    count = records()
    status, log = mopex("drive", "mosaic", "-n", "out/mosaic_I1.nl", *ALSO, "--from=mosaic_combiner")
    assert status == 0, log
    assert tasks_run(count)[0] == ("mosaic", "mosaic_combiner")


def test_a_module_alone_deletes_nothing(work, mopex):
    images = list(Path("out/Interp-mosaic").glob("interp_*.fits"))
    assert images
    words = ("--only", "mosaic_combiner", "delete_intermediate_files=1")
    assert mopex("drive", "mosaic", "-n", "out/mosaic_I1.nl", *ALSO, *words)[0] == 0
    assert all(path.exists() for path in images)


@pytest.mark.parametrize(
    ("word", "text"),
    [
        ("apex.mosaic_rmask", "apex.mosaic_rmask: no module of overlap, mosaic, apex"),
        ("mosaic_rmaks", "did you mean mosaic_rmask?"),
        ("", "--from: needs a value"),
    ],
)
def test_a_module_that_is_not_there(work, mopex, word, text):
    count = records()
    status, log = mopex("flow", *work, "--from", word) if word else mopex("flow", *work, "--from")
    assert (status, records()) == (2, count)
    assert text in log


def test_intermediate_files_are_listed_before_they_are_deleted(work, mopex):
    status, log = mopex("clean", "out/overlap_I1.nl", "out/mosaic_I1.nl", "--list")
    assert status == 0, log
    listed = [Path(line) for line in log.splitlines()]
    assert len(listed) == len(set(listed))
    assert all(path.is_file() for path in listed)
    assert {path.parent.name for path in listed} >= {"Interp-overlap", "Interp-mosaic", "Outlier-mosaic"}
    kept = [path for path in Path("out").rglob("*") if path.is_file() and path not in listed]
    status, log = mopex("clean", "out/overlap_I1.nl", "out/mosaic_I1.nl")
    assert status == 0, log
    assert f"deleted {sum('-overlap' in str(path) for path in listed)} intermediate images" in log
    assert not any(path.exists() for path in listed)
    assert all(path.exists() for path in kept)
    assert mopex("clean", "out/overlap_I1.nl", "--list") == (0, "")
