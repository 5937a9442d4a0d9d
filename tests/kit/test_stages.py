import pytest
from pymopex.kit import namelist, stages
from pymopex.kit.errors import InputError
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.task import Run


@pytest.fixture
def new_run(tmp_path):
    (tmp_path / "images.txt").write_text("/a/f1.fits\n/a/f2.fits\n/a/f3.fits\n")
    (tmp_path / "sigmas.txt").write_text("/a/s1.fits\n/a/s2.fits\n/a/s3.fits\n")

    def make(*lines, pipeline="mosaic", task="mosaic_interp"):
        top = (f"OUTPUT_DIR = {tmp_path}/out", f"IMAGE_STACK_FILE_NAME = {tmp_path}/images.txt")
        run = Run(Settings(namelist.parse("\n".join((*top, *lines)) + "\n", "a.nl"), pipeline), Pool(1))
        run.task = task
        return run

    return make


def put(path, text=""):
    import os

    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as file:
        file.write(text)


def test_modules_before_the_task_that_are_on(new_run):
    lines = ("run_detect_radhit = 1", "run_mosaic_geom = 1", "compute_uncertainties_internally = 1")
    before = {
        "sn_estimator": (),
        "mosaic_geom": ("sn_estimator",),
        "medfilter": ("sn_estimator", "mosaic_geom"),
        "detect_radhit": ("sn_estimator", "mosaic_geom"),
        "mosaic_interp": ("sn_estimator", "mosaic_geom", "detect_radhit"),
        "compare": ("sn_estimator", "mosaic_geom", "detect_radhit"),
    }
    for task, wanted in before.items():
        assert stages.stages_before(new_run(*lines, task=task)) == wanted
    assert stages.stages_before(new_run("run_detect_radhit = 0")) == ()
    assert stages.stages_before(new_run("apply_zodiacal_subtraction = 1")) == ()  # not in Mosaic


def test_what_is_still_to_be_made_does_not_count(new_run):
    run = new_run("run_detect_radhit = 1")
    run.pending = {"detect_radhit", "mosaic_interp"}
    assert [files.dmask for files in run.frames()] == [""] * 3
    run.pending = {"mosaic_interp"}
    with pytest.raises(
        InputError, match=r"f1_dmask\.fits: missing, and mosaic_interp needs it; run detect_radhit"
    ):
        run.frames()


def test_new_masks(new_run):
    run = new_run("run_detect_radhit = 1")
    paths = [run.path("dmask", base=f"f{i}") for i in (1, 2, 3)]
    for path in paths:
        put(path)
    assert [files.dmask for files in run.frames()] == paths
    run.task = "medfilter"
    assert [files.dmask for files in run.frames()] == [""] * 3


def test_masks_made_from_nothing_have_their_bit_fatal(new_run):
    assert new_run("run_detect_radhit = 1").bits.dmask == 512
    assert new_run("run_detect_radhit = 1", "DCE_Status_Mask_Radhit_Bit = 3").bits.dmask == 8
    assert new_run("run_detect_radhit = 1", "DCE_Status_Mask_Fatal_BitPattern = 256").bits.dmask == 256
    assert new_run().bits.dmask == 0


def test_chosen_frames_are_counted_anew(new_run):
    run = new_run("run_mosaic_geom = 1")
    put(run.path("geom_list"), "/a/f1.fits\n/a/f3.fits\n")
    assert [(files.index, files.base) for files in run.frames()] == [(0, "f1"), (1, "f3")]
    put(run.path("geom_list"))
    run.pending.clear()
    run._changed.clear()
    with pytest.raises(InputError, match=r"geom_images\.txt: holds no frame"):
        run.frames()


def test_links_to_later_pipelines(new_run, tmp_path):
    out = f"{tmp_path}/out"
    assert stages.links(new_run()) == {}
    assert stages.links(new_run("compute_uncertainties_internally = 1", pipeline="overlap")) == {
        "SIGMALIST_FILE_NAME": f"{out}/Sigma-overlap/SigmaList.txt",
        "have_uncertainties": "1",
        "compute_uncertainties_internally": "0",
    }
    given = f"SIGMALIST_FILE_NAME = {tmp_path}/sigmas.txt"
    assert stages.links(new_run("run_mosaic_geom = 1", given)) == {
        "IMAGE_STACK_FILE_NAME": f"{out}/geom_images.txt",
        "SIGMALIST_FILE_NAME": f"{out}/geom_sigmas.txt",
    }
    assert stages.links(new_run("run_detect_radhit = 1", "DCE_Status_Mask_Fatal_BitPattern = 32520")) == {
        "DCE_STATUS_MASK_LIST": f"{out}/Dmask-mosaic/dmask_images.txt",
        "DCE_Status_Mask_Fatal_BitPattern": "32520",
    }
    assert stages.links(new_run("run_detect_radhit = 1", "overwrite_dmask = 1")) == {}


def test_uncertainties_are_known_to_come(new_run, tmp_path):
    given = f"SIGMALIST_FILE_NAME = {tmp_path}/sigmas.txt"
    assert new_run(given).has_uncertainties
    assert not new_run(given, "have_uncertainties = 0").has_uncertainties
    on = ("compute_uncertainties_internally = 1", "have_uncertainties = 0")
    assert new_run(given, *on).has_uncertainties
    assert not new_run(*on, pipeline="apex_qa").has_uncertainties


def test_names_of_compressed_frames(new_run, tmp_path):
    (tmp_path / "images.txt").write_text("/a/f1.fits.gz\n/a/f.2.fits\n/a/f3.fit\n")
    assert [files.base for files in new_run().frames()] == ["f1", "f.2", "f3"]
