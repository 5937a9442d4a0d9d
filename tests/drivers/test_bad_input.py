"""Wrong namelists, lists and frames: refused before work, all problems together, and nothing is written."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.ipac import read_table
from pymopex.kit.namelist import parse

KINDS = {"images": "cbcd", "sigmas": "cbunc", "masks": "bimsk"}


class Data:
    """Four frames of the field with their lists and namelists, in a folder of its own, to spoil."""

    def __init__(self, folder, simulated, mopex):
        self.folder, self._mopex = folder, mopex
        self.paths = {}
        (folder / "bcd").mkdir()
        for kind in KINDS:
            names = (simulated / f"{kind}.txt").read_text().split()[:4]
            self.paths[kind] = [
                Path("bcd", shutil.copy(name, folder / "bcd").rsplit("/", 1)[1]) for name in names
            ]
            self.write(kind, self.paths[kind])
        assert mopex("new", "flow", "I1")[0] == 0

    def write(self, kind, paths):
        """Write a list."""
        (self.folder / f"{kind}.txt").write_text("".join(f"{path}\n" for path in paths))

    def set(self, namelist, key, text):
        """Change the line that begins with a key, or with &BLOCK; gives the number of the line."""
        lines = (self.folder / namelist).read_text().splitlines()
        numbers = [i for i, line in enumerate(lines) if re.match(rf" *{key}\b", line)]
        assert len(numbers) == 1, key
        lines[numbers[0]] = text
        (self.folder / namelist).write_text("\n".join(lines) + "\n")
        return numbers[0] + 1

    def run(self, *words, pipeline="mosaic"):
        """Run a pipeline; gives the status and the log."""
        lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt")
        return self._mopex("drive", pipeline, "-n", f"{pipeline}_I1.nl", *lists, "-O", "out", *words)

    def problems(self, *words, pipeline="mosaic"):
        """Run what must be refused; gives the problems."""
        status, log = self.run(*words, pipeline=pipeline)
        assert status == 2, log
        lines = [line for line in log.splitlines() if not line.startswith("Warning: ")]
        assert all(line.startswith("Error: ") for line in lines), log
        assert not (self.folder / "out").exists()
        assert "Traceback" not in log
        return [line.removeprefix("Error: ") for line in lines]


@pytest.fixture
def data(tmp_path, simulated, mopex, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return Data(tmp_path, simulated, mopex)


def spoil(path, **cards):
    """Change cards of a header; None removes."""
    with fits.open(path, mode="update") as hdus:
        for key, value in cards.items():
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value


# ---- the namelist


def test_unknown_key(data):
    line = data.set("mosaic_I1.nl", "USE_OUTLIER_FOR_RMASK", "USE_OUTLIER_FOR_RMSAK = 1")
    known = "unknown key (did you mean USE_OUTLIER_FOR_RMASK?)"
    assert data.problems() == [f"mosaic_I1.nl:{line}: USE_OUTLIER_FOR_RMSAK = 1: {known}"]


def test_unknown_key_in_a_block(data):
    line = data.set("mosaic_I1.nl", "RM_THRESH", " RM_TRESH = 0.5,")
    known = "unknown key in &MOSAICRMASKIN (did you mean RM_THRESH?)"
    assert data.problems() == [f"mosaic_I1.nl:{line}: MOSAICRMASKIN.RM_TRESH = 0.5: {known}"]


@pytest.mark.parametrize(
    ("value", "reason"),
    [("-1", "too small"), ("1.5", "too large"), ("half", "not a number"), ("nan", "not a finite number")],
)
def test_value_out_of_range(data, value, reason):
    line = data.set("mosaic_I1.nl", "RM_THRESH", f" RM_THRESH = {value},")
    allowed = "allowed: a number from 0 to 1"
    assert data.problems() == [f"mosaic_I1.nl:{line}: MOSAICRMASKIN.RM_THRESH = {value}: {reason}; {allowed}"]


def test_unknown_block(data):
    line = data.set("mosaic_I1.nl", "&MOSAICRMASKIN", "&MOSAICRMASK")
    told = f"mosaic_I1.nl:{line + 1}: &MOSAICRMASK: unknown block (did you mean MOSAICRMASKIN?)"
    assert data.problems() == [told]


def test_syntax_errors_are_named_together(data):
    first = data.set("mosaic_I1.nl", "USE_REFINED_POINTING", "USE_REFINED_POINTING 0  ")
    second = data.set("mosaic_I1.nl", "&LEVEL", "LEVEL")
    problems = data.problems()
    assert problems[0].startswith(f"mosaic_I1.nl:{first}: 'USE_REFINED_POINTING 0")
    assert problems[0].endswith("is neither KEY = value, &BLOCK, &END nor a # comment")
    assert problems[1].startswith(f"mosaic_I1.nl:{second}: 'LEVEL' is neither KEY = value")
    assert any(line.endswith("&END without a block") for line in problems[2:])


def test_namelist_that_does_not_tell_its_pipeline(data, mopex):
    (data.folder / "x.nl").write_text("run_medfilter = 1\n")
    status, log = mopex("medfilter", "x.nl", "-O", "out")
    assert status == 2
    assert "Error: x.nl: cannot tell the pipeline from the name or a Flow meta-data line" in log


def test_no_module_is_switched_on(data):
    text = (data.folder / "mosaic_I1.nl").read_text()
    lines = [line for line in text.splitlines(keepends=True) if not line.startswith(("run_", "make_"))]
    (data.folder / "mosaic_I1.nl").write_text("".join(lines))
    assert data.problems() == ["mosaic_I1.nl: no module of mosaic is switched on"]


def test_pixel_sizes_that_contradict_each_other(data):
    problems = data.problems("MOSAIC_PIXEL_RATIO_X=2", "MOSAIC_PIXEL_RATIO_Y=2")
    both = "MOSAIC_PIXEL_SIZE_X/Y and MOSAIC_PIXEL_RATIO_X/Y are both given; give one of them"
    assert problems == [f"command line: {both}"]


def test_missing_prfs_of_apex(data):
    problems = "\n".join(data.problems(pipeline="apex"))
    assert "no PRF is given: PRFMAP_FILE_NAME (-m) or PRF_file_name (-p)" in problems
    assert "no PRF of the mosaic is given; make_prf writes one" in problems
    problems = data.problems("-m", "none.tbl", "-P", "none.fits", pipeline="apex")
    assert [line.split(":")[0] for line in problems] == ["command line"] * len(problems)
    assert "PRFMAP_FILE_NAME = none.tbl: no such file" in "\n".join(problems)
    assert "MOSAIC_PRF_file_name = none.fits: no such file" in "\n".join(problems)


def test_condition_that_cannot_be_read(data, field):
    prfs = ("-m", f"{field.work}/prf/prfmap.tbl", "-P", f"{field.work}/prf/IRAC1_mosaic_detect_kernel.fits")
    sampling = [f"SOURCESTIMATE.PRF_Resample{axis}_Factor=20" for axis in "XY"]
    problems = data.problems(*prfs, *sampling, "select_conditions=SNR >> 3", pipeline="apex")
    assert len(problems) == 1
    assert problems[0].startswith("command line: select_conditions = SNR >> 3: ")


# ---- the lists


def test_missing_list(data):
    (data.folder / "sigmas.txt").unlink()
    assert data.problems() == ["command line: SIGMALIST_FILE_NAME = sigmas.txt: no such file"]


def test_list_named_in_the_namelist(data, mopex):
    line = data.set("mosaic_I1.nl", "IMAGE_STACK_FILE_NAME", "IMAGE_STACK_FILE_NAME = none.txt")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", "-O", "out")
    assert status == 2
    assert f"Error: mosaic_I1.nl:{line}: IMAGE_STACK_FILE_NAME = none.txt: no such file" in log


def test_lists_of_different_length(data):
    data.write("sigmas", data.paths["sigmas"][:3])
    data.write("masks", data.paths["masks"][:2])
    rule = "images.txt has 4 (one line per frame in each list)"
    assert data.problems() == [f"sigmas.txt: has 3 entries; {rule}", f"masks.txt: has 2 entries; {rule}"]


def test_empty_list(data):
    data.write("images", ["# no frame"])
    assert data.problems() == ["images.txt: the list of frames is empty"]


def test_frame_listed_twice(data):
    for kind, paths in data.paths.items():
        data.write(kind, [*paths, paths[1]])
    assert data.problems() == [f"{data.paths['images'][1]}: is in the list of frames more than once"]


def test_frames_of_one_name_in_two_folders(data):
    (data.folder / "more").mkdir()
    copy = Path(shutil.copy(data.paths["images"][0], "more"))
    data.write("images", [*data.paths["images"][:3], copy])
    told = f"{copy}: has the same file name as {data.paths['images'][0]}; products are named after frames"
    assert data.problems() == [told]


def test_list_that_is_an_image(data):
    status, log = data.run("-I", str(data.paths["images"][0]))
    assert status == 2
    assert f"{data.paths['images'][0]}:1: is a FITS file; a list of paths, one a line, is needed" in log


# ---- the frames


def test_frame_without_world_coordinates(data):
    spoil(data.paths["images"][2], CRVAL1=None, CTYPE2=None)
    assert data.problems() == [f"{data.paths['images'][2]}: no world coordinates: CTYPE2, CRVAL1 missing"]


def test_mask_of_another_size(data):
    fits.writeto(data.paths["masks"][1], np.zeros((96, 64), "i2"), overwrite=True)
    assert data.problems() == [f"{data.paths['masks'][1]}: is 64 x 96 pixels; the frame is 96 x 96"]


def test_truncated_image(data):
    path = data.paths["images"][3]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    problems = data.problems()
    assert len(problems) == 1
    assert problems[0].startswith(f"{path}: cannot be read as FITS: the file has {len(content) // 2} bytes")


@pytest.mark.parametrize("content", [b"", b"SIMPLE  =", b"a text, not an image"])
def test_file_that_is_no_image(data, content):
    data.paths["images"][0].write_bytes(content)
    problems = data.problems()
    assert len(problems) == 1
    assert problems[0].startswith(f"{data.paths['images'][0]}: cannot be read as FITS: ")


def test_missing_frame_and_companion(data):
    data.paths["images"][0].unlink()
    data.paths["sigmas"][1].unlink()
    told = [f"{path}: no such file" for path in (data.paths["images"][0], data.paths["sigmas"][1])]
    assert data.problems() == told


def test_cube(data):
    image, header = fits.getdata(data.paths["images"][1], header=True)
    fits.writeto(data.paths["images"][1], np.stack([image, image]), header, overwrite=True)
    told = f"{data.paths['images'][1]}: has 3 axes; a two-dimensional image is needed"
    assert data.problems() == [told]


def test_frame_without_data(data):
    image, header = fits.getdata(data.paths["images"][1], header=True)
    fits.writeto(data.paths["images"][1], np.full_like(image, np.nan), header, overwrite=True)
    assert data.problems() == [f"{data.paths['images'][1]}: holds no finite pixel"]


def test_masks_without_fatal_bits(data):
    data.set("mosaic_I1.nl", "DCE_Status_Mask_Fatal_BitPattern", "")
    line = "command line: DCE_STATUS_MASK_LIST is given without DCE_Status_Mask_Fatal_BitPattern; "
    assert data.problems() == [f"{line}for IRAC write DCE_Status_Mask_Fatal_BitPattern = 32520"]


def test_missing_refined_pointing(data):
    spoil(data.paths["images"][0], RARFND=None) if "RARFND" in fits.getheader(
        data.paths["images"][0]
    ) else None
    problems = data.problems("USE_REFINED_POINTING=1")
    assert problems
    assert all("RARFND" in line for line in problems[:1])


# ---- together


def test_all_that_is_wrong_in_namelist_and_lists_is_told_in_one_go(data):
    key = data.set("mosaic_I1.nl", "USE_OUTLIER_FOR_RMASK", "USE_OUTLIER_FOR_RMSAK = 1")
    value = data.set("mosaic_I1.nl", "MIN_COVERAGE", " MIN_COVERAGE = four,")
    block = data.set("mosaic_I1.nl", "&LEVEL", "&LEVLE")
    data.write("sigmas", data.paths["sigmas"][:3])
    problems = data.problems("-M", "none.fits", "-R", "none.txt", "run_make_array=1")
    rule = "images.txt has 4 (one line per frame in each list)"
    wanted = [
        f"mosaic_I1.nl:{key}: USE_OUTLIER_FOR_RMSAK = 1: unknown key",
        f"mosaic_I1.nl:{value}: MOSAICRMASKIN.MIN_COVERAGE = four: not a number; allowed: a",
        f"mosaic_I1.nl:{block + 1}: &LEVLE: unknown block (did you mean LEVEL?)",
        "command line: run_make_array = 1: unknown key",
        f"sigmas.txt: has 3 entries; {rule}",
        "command line: RMASK_LIST = none.txt: no such file",
        "command line: PMASK_FILE_NAME = none.fits: no such file, neither here nor in cal/",
    ]
    for text in wanted:
        assert sum(line.startswith(text) for line in problems) == 1, text
    assert len(problems) == len(wanted)


def test_all_that_is_wrong_in_frames_and_for_modules_is_told_in_one_go(data):
    data.set("mosaic_I1.nl", "DCE_Status_Mask_Fatal_BitPattern", "")
    spoil(data.paths["images"][0], CRVAL1=None)
    fits.writeto(data.paths["masks"][1], np.zeros((96, 64), "i2"), overwrite=True)
    data.paths["images"][2].write_bytes(b"")
    data.paths["sigmas"][3].unlink()
    problems = data.problems("MOSAIC_PIXEL_RATIO_X=2", "MOSAIC_PIXEL_RATIO_Y=2", "make_array_corr_files=1")
    wanted = [
        "command line: DCE_STATUS_MASK_LIST is given without DCE_Status_Mask_Fatal_BitPattern",
        f"{data.paths['images'][0]}: no world coordinates: CRVAL1 missing",
        f"{data.paths['masks'][1]}: is 64 x 96 pixels; the frame is 96 x 96",
        f"{data.paths['images'][2]}: cannot be read as FITS",
        f"{data.paths['sigmas'][3]}: no such file",
        "command line: MOSAIC_PIXEL_SIZE_X/Y and MOSAIC_PIXEL_RATIO_X/Y are both given",
        "mosaic_I1.nl: ARRAY_CORR_IMAGE: no array-location correction image is given",
    ]
    for text in wanted:
        assert sum(line.startswith(text) for line in problems) == 1, text
    assert len(problems) == len(wanted)


def test_a_flow_tells_the_problems_of_all_namelists_before_it_starts(data, mopex):
    lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
    words = ("flow", *lists, "overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl")
    data.paths["sigmas"][3].unlink()
    first = data.set("overlap_I1.nl", "mask_bright", "mask_bright = perhaps")
    second = data.set("mosaic_I1.nl", "RM_THRESH", " RM_THRESH = 2,")
    status, log = mopex(*words)
    assert status == 2
    assert f"Error: {data.paths['sigmas'][3]}: no such file" in log
    assert "Error: apex_I1.nl: no PRF is given" in log
    assert f"Error: overlap_I1.nl:{first}: mask_bright = perhaps: neither on nor off; allowed: 0 or 1" in log
    assert f"Error: mosaic_I1.nl:{second}: MOSAICRMASKIN.RM_THRESH = 2: too large" in log
    assert not (data.folder / "out").exists()


# ---- what is wrong and yet runs


def test_bad_frames_are_left_out_on_request(data):
    image, header = fits.getdata(data.paths["images"][1], header=True)
    fits.writeto(data.paths["images"][1], np.full_like(image, np.nan), header, overwrite=True)
    spoil(data.paths["images"][3], CRVAL1=None)
    status, log = data.run("--skip-bad-frames", pipeline="overlap")
    assert status == 0, log
    assert f"  left out: {data.paths['images'][1]}: holds no finite pixel" in log.splitlines()
    assert f"  left out: {data.paths['images'][3]}: no world coordinates: CRVAL1 missing" in log.splitlines()
    table = read_table("out/Overlap_corr/offsets.tbl")
    kept = [str(path) for path in data.paths["images"][::2]]
    assert list(table.column("file")) == kept
    corrected = Path("out/Overlap_corr/correct_images.txt").read_text().split()
    assert [Path(name).name for name in corrected] == [f"correct_{Path(name).name}" for name in kept]


def test_no_frame_is_left(data):
    for path in data.paths["images"]:
        path.write_bytes(b"")
    status, log = data.run("--skip-bad-frames")
    assert status == 2
    assert log.splitlines()[-1] == "Error: images.txt: no frame of the list can be used"
    assert not (data.folder / "out").exists()


LEGACY = """\
###-Meta-Data-###:Flow=edu.caltech.ipac.sirtf.mopexUI.modules.overlap.OverlapFlow
###-Meta-Data-###:InstrumentType=IRAC
###-Meta-Data-###:Author=
compute_uncertainties_internally = 0,
run_fiducial_image_frame = 1
run_medfilter=1
run_detect_outlier =1
run_mosaic_int = 1
compute_overlap_correction= 1
run_crop_stack = 0
run_mosaic_geom = 1
do_multiprocess = off

image_stack_file_name = images.txt
SIGMALIST_FILE_NAME=sigmas.txt
  DCE_STATUS_MASK_LIST = masks.txt,
PMASK_FILE_NAME = '' ,
DCE_STATUS_MASK_FATAL_BITPATTERN = 32520,
IMask_Fatal_BitPattern = 32520
PMask_Fatal_BitPattern = 32767
use_refined_pointing = 0
MOSAIC_PIXEL_SIZE_X = -1.6667E-4
MOSAIC_PIXEL_SIZE_Y = 1.6667D-4
OUTPUT_DIR = out

#DETECT_RADHIT
&DETECT_RADHIT
Segmentation_Threshold = 3.0,
&END

&SNESTIMATORIN
Gain = 3.7,
Read_Noise = 9.7,
Confusion_Sigma = 0.0,
&END

&FIDUCIALIMAGEFRAMEIN
Edge_Padding = 10,
Projection_Type = "TAN",
Coordinate_System = "J2000",
CROTA2 = A,
&END

&MEDFILTER
 WINDOW_X = 25,
 Window_Y = 25.0,
 N_Outliers_Per_Window = 50,
&END

&DETECT
 Detection_Max_Area = 100,
 Detection_Min_Area = 0,
 Detection_Threshold = 4,
 Threshold_Type = "simple",
&END

&MOSAICINTIN
 INTERP_METHOD = 1,
 FINERES = 0.0,
 DRIZ_FAC = 0.8,
&END

&COMPUTEOVRLAPCORRIN
 TOP_THRESHOLD = 3,
 BOTTOM_THRESHOLD = 3,
 MIN_IMG_NUM = 2,
&END
#END
"""


def test_a_legacy_namelist_runs(data, mopex):
    Path("old.nl").write_text(LEGACY)
    status, log = mopex("drive", "overlap", "-n", "old.nl")
    assert status == 0, log
    assert log.splitlines()[-1] == "overlap terminated normally"
    assert log.count("System Exit 0") == 5
    assert "25 x 25 pixels" in log
    assert len(read_table("out/Overlap_corr/offsets.tbl").column("offset")) == 4
    assert parse(Path("out/old.nl").read_text()).metadata["InstrumentType"] == "IRAC"


def test_a_legacy_module_that_is_not_there_draws_one_warning(data, mopex):
    Path("old.nl").write_text(LEGACY.replace("run_crop_stack = 0", "Reflux = 1"))
    status, log = mopex("fiducial_image_frame", "old.nl")
    assert status == 0, log
    warnings = [line for line in log.splitlines() if line.startswith("Warning:")]
    assert warnings == [
        "Warning: old.nl:10: Reflux is not acted on: fluxes of stamps are those of Flux_Column_Name, or of the fit in "
        "the box of Fit_X and Fit_Y"
    ]


def test_namelist_with_carriage_returns_and_a_byte_order_mark(data, mopex):
    Path("old.nl").write_bytes(b"\xef\xbb\xbf" + LEGACY.replace("\n", "\r\n").encode())
    status, log = mopex("fiducial_image_frame", "old.nl")
    assert status == 0, log
    assert Path("out/FIF.tbl").is_file()
