"""What scripts round MOPEX do: run directories, lists, tables and logs as they make, edit and read them."""

import contextlib
import glob
import os
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table

OLD_OVERLAP = """\
#---- background matching, as an older release writes it ----
run_fiducial_image_frame = 1
run_medfilter = 1
run_detect = 1
run_mosaic_int = 1
compute_overlap_correction = 1
apply_overlap_correction = 1
mask_bright = 1
have_uncertainties = 1
USE_REFINED_POINTING = 0
DCE_Status_Mask_Fatal_BitPattern = 32520
PMask_Fatal_BitPattern = 32767
RMask_Fatal_BitPattern = 15
MOSAIC_PIXEL_SIZE_X = -3.4E-4
MOSAIC_PIXEL_SIZE_Y = 3.4E-4
MEDFILTER_DIR = Medfilter
INTERP_DIR = Interp
DETECT_DIR = Detect
SIGMA_DIR = Sigma
OVERLAP_CORR_DIR = Overlap_Corr
COADDER_DIR = Coadd
PMASK_FILE_NAME = ./cal/chan1_ormask_bcd.fits
delete_intermediate_files = 0
do_multiprocess = 'manual'
ncpu_multiprocess = 1

&FIDUCIALIMAGEFRAMEIN
Edge_Padding = 10,
Projection_Type = 'TAN',
Coordinate_System = 'J2000',
CROTA2 = A,
&END

&MEDFILTER
Window_X = 25,
Window_Y = 25,
N_Outliers_Per_Window = 50,
Use_Sbkg_for_Med = 1,
Sbkg_Filt_Size_for_Med = 3,
&END

&DETECT
Detection_Max_Area = 90000,
Detection_Min_Area = 0,
Detection_Threshold = 3.0,
Threshold_Type = 'simple',
&END

&MOSAICINTIN
INTERP_METHOD = 1,
FINERES = 0.0,
DRIZ_FAC = 0.8,
GRID_RATIO = 4,
ALPHA = -0.5,
&END

&COMPUTEOVRLAPCORRIN
TOP_THRESHOLD = 5.0,
BOTTOM_THRESHOLD = 5.0,
MIN_IMG_NUM = 1,
&END
#END
"""

OLD_MOSAIC = """\
run_fiducial_image_frame = 1
run_mosaic_int = 1
run_mosaic_covg = 1
run_mosaic_outlier = 1
run_mosaic_rmask = 1
run_mosaic_reint = 1
run_mosaic_coadder = 1
run_mosaic_combiner = 1
have_uncertainties = 1
create_unc_mosaic = 1
create_std_mosaic = 1
USE_OUTLIER_FOR_RMASK = 1
IMask_Fatal_BitPattern = 32767
DCE_Status_Mask_Fatal_BitPattern = 32520
PMask_Fatal_BitPattern = 32767
RMask_Fatal_BitPattern = 15
DCE_Status_Mask_Radhit_Bit = 9
MOSAIC_PIXEL_SIZE_X = -3.4E-4
MOSAIC_PIXEL_SIZE_Y = 3.4E-4
PMASK_FILE_NAME = chan1_ormask_bcd.fits
FIF_FILE_NAME = FIF.tbl
RMASK_LIST =
INTERP_DIR = Interp/
OUTLIER_DIR = Outlier/
RMASK_DIR = Rmask/
REINTERP_DIR = ReInterp/
COADDER_DIR = Coadd/
COMBINER_DIR = Combine/
do_multiprocess = 'off'

&FIDUCIALIMAGEFRAMEIN
Edge_Padding = 10,
CROTA2 = 0.0,
&END
&MOSAICINTIN
INTERP_METHOD = 1,
&END
&MOSAICCOVGIN
TILEMAX_X = 500,
TILEMAX_Y = 500,
&END
&MOSAICOUTLIERIN
THRESH_OPTION = 1,
BOTTOM_THRESHOLD = 3.0,
TOP_THRESHOLD = 3.0,
MIN_PIX_NUM = 3,
TILE_XSIZ = 500,
TILE_YSIZ = 500,
&END
&MOSAICRMASKIN
RM_THRESH = 0.5,
BOTTOM_THRESHOLD = 5.0,
TOP_THRESHOLD = 5.0,
MIN_COVERAGE = 3,
MAX_COVERAGE = 100,
&END
&MOSAICREINTIN
&END
&MOSAICCOADDIN
TILEMAX_X = 40,
TILEMAX_Y = 40,
&END
&MOSAICCOMBINER
&END
#END
"""


class Workplace:
    """A run directory as scripts make it: cal/ and cdf/ copied in, lists of mixed paths, logs redirected."""

    def __init__(self, folder, mopex):
        self.folder, self.mopex = folder, mopex

    def script(self, *words, log="log.txt", status=0):
        """Call a legacy script in the run directory; gives the lines of its log."""
        with contextlib.chdir(self.folder):
            done, text = self.mopex("legacy", *(str(word) for word in words))
            Path(log).write_text(text)
        assert done == status, text
        return text.splitlines()

    def copy(self, folder):
        shutil.copytree(self.folder, folder, symlinks=True)
        return Workplace(folder, self.mopex)

    def names(self, pattern):
        return sorted(glob.glob(str(self.folder / pattern)))


@pytest.fixture(scope="module")
def run_directory(few_frames, simulated, tmp_path_factory, mopex):
    """overlap.pl and mosaic.pl on four frames, with namelists of an older release."""
    folder = tmp_path_factory.mktemp("legacy") / "wd"
    few_frames(folder)
    for name in ("overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl"):
        (folder / name).unlink()
    for name, text in (("overlap_I1.nl", OLD_OVERLAP), ("mosaic_I1.nl", OLD_MOSAIC)):
        (folder / "cdf").mkdir(exist_ok=True)
        (folder / "cdf" / name).write_text(text)
    (folder / "cal").mkdir()
    shutil.copy(simulated / "pmask.fits", folder / "cal" / "chan1_ormask_bcd.fits")
    for old, new in (("images", "images.list"), ("sigmas", "sigma.list"), ("masks", "mask.list")):
        lines = (folder / f"{old}.txt").read_text().splitlines()
        mixed = [
            "# made by a script",
            "",
            lines[0],
            str(folder / lines[1]),
            f"./{lines[2]}",
            "   ",
            f" {lines[3]} ",
        ]
        (folder / new).write_text("\n".join(mixed) + "\n\n")
    place = Workplace(folder, mopex)
    lists = ("-I", "images.list", "-S", "sigma.list", "-d", "mask.list")
    place.script("overlap.pl", "-n", "overlap_I1.nl", *lists, "-O", "./", log="log1.txt")
    place.script(
        "mosaic.pl", "-nmosaic_I1.nl", "-Iimages.list", "-Ssigma.list", "-dmask.list", "-O./", log="log2.txt"
    )
    return place


def test_products_stand_where_older_releases_put_them(run_directory):
    counts = {
        "Overlap_Corr/correct_*.fits": 4,
        "Medfilter/*_minback.fits": 4,
        "Detect/*_detmap.fits": 4,
        "Rmask/*_rmask.fits": 4,
        "Outlier/*_outlier.fits": 4,
        "Combine/mosaic*.fits": 4,
        "FIF.tbl": 1,
        "mosaic_fif.tbl": 1,
        "header_list.tbl": 1,
        "*.nl": 2,
    }
    found = {pattern: len(run_directory.names(pattern)) for pattern in counts}
    assert found == counts
    assert len(run_directory.names("ReInterp/interp_*_covg.fits")) == 4
    tiles = run_directory.names("Coadd/coadd_Tile_*_Image.fits")
    assert len(tiles) > 1
    assert len(tiles) == len(read_table(str(run_directory.folder / "Coadd/coadd_tiles.tbl")))


def test_offsets_are_cut_by_the_number_of_their_column(run_directory):
    table = next(iter(run_directory.names("Overlap_Corr/*.tbl")))
    rows = [line.split() for line in Path(table).read_text().splitlines() if not re.search(r"[\\|]", line)]
    assert len(rows) == 4
    column = list(read_table(table).columns).index("offset")
    values = [float(row[column]) for row in rows]
    np.testing.assert_allclose(values, read_table(table).column("offset"))


@pytest.mark.parametrize("log", ["log1.txt", "log2.txt"])
def test_what_scripts_look_for_in_a_log(run_directory, log):
    lines = (run_directory.folder / log).read_text().splitlines()
    assert "terminated normally" in lines[-1]
    ends = [line for line in lines if line.startswith("System Exit")]
    assert [line.split()[2] for line in ends] == ["0"] * len(ends)
    modules = [line for line in lines if re.match(r"\S*/bin/\S+ ", line)]
    assert len(modules) == len(ends) > 4
    wrong = [line for line in lines if re.search("error|exception|malloc", line, re.IGNORECASE)]
    assert wrong == []


def test_outlier_masks_are_joined_over_tiles(run_directory):
    masks = run_directory.names("Rmask/*_rmask.fits")
    joined = np.zeros((96, 96), np.uint8)
    for mask in masks:
        with fits.open(mask) as hdus:
            assert hdus[0].header["DCEID"] > 0
            joined = joined | hdus[0].data
    assert joined.dtype == np.uint8
    image = Path(run_directory.folder, "images.txt").read_text().split()[0]
    assert fits.getheader(masks[0])["DCEID"] == fits.getheader(run_directory.folder / image)["DCEID"]


def test_a_frame_table_rewritten_by_hand(run_directory, tmp_path):
    place = run_directory.copy(tmp_path / "wd")
    values, lines = {}, []
    for line in (place.folder / "mosaic_fif.tbl").read_text().splitlines():
        words = line.split()
        values[words[1]] = words[3] if len(words) > 3 else ""
        if words[1] in ("NAXIS1", "NAXIS2"):
            line = f"{words[0]} {words[1]} = {float(words[3]) / 2 // 1:.1f}"
        if words[1] == "CRPIX1":
            line = f"{words[0]} {words[1]} = {float(words[3]) / 2:.4f}"
        lines.append(line)
    (place.folder / "half.tbl").write_text("\n".join(lines) + "\n")
    assert float(values["CDELT1"]) == -3.4e-4
    place.script(
        *("mosaic.pl", "-n", "mosaic_I1.nl", "-I", "images.list", "-S", "sigma.list", "-d", "mask.list"),
        *("-Fhalf.tbl", "-O", "half/", "run_fiducial_image_frame=0"),
    )
    shape = fits.getdata(place.folder / "half/Combine/mosaic.fits").shape
    assert shape == (int(values["NAXIS2"]) // 2, int(values["NAXIS1"]) // 2)
    assert read_fif(str(place.folder / "half/mosaic_fif.tbl")).naxis1 == shape[1]


def test_early_modules_off_because_their_products_are_there(run_directory, tmp_path):
    place = run_directory.copy(tmp_path / "wd")
    before = fits.getdata(place.folder / "Combine/mosaic.fits")
    text = (place.folder / "cdf/mosaic_I1.nl").read_text()
    for name in ("fiducial_image_frame", "mosaic_int", "mosaic_covg", "mosaic_outlier", "mosaic_rmask"):
        text = text.replace(f"run_{name} = 1", f"run_{name} = 0")
    (place.folder / "cdf/late.nl").write_text(text)
    shutil.rmtree(place.folder / "Combine")
    place.script(
        *(
            "mosaic.pl",
            "-n",
            "late.nl",
            "-I",
            "images.list",
            "-S",
            "sigma.list",
            "-d",
            "mask.list",
            "-O",
            "./",
        ),
        *("-R", "Rmask/rmask_images.list", "-F", "FIF.tbl"),
    )
    np.testing.assert_array_equal(fits.getdata(place.folder / "Combine/mosaic.fits"), before)


def test_folder_of_the_namelists_by_the_environment(run_directory, tmp_path, monkeypatch):
    place = run_directory.copy(tmp_path / "wd")
    (place.folder / "cdf").rename(place.folder / "mycdf")
    words = ("mosaic.pl", "-n", "mosaic_I1.nl", "-I", "images.list", "-S", "sigma.list", "-d", "mask.list")
    (place.folder / "mosaic_I1.nl").unlink()
    log = place.script(*words, "-O", "new", status=2)
    assert log == ["Error: mosaic_I1.nl: no such namelist, neither here nor in cdf/"]
    monkeypatch.setenv("SIRTF_CDF", "mycdf")
    only = [f"run_{name}=0" for name in ("mosaic_int", "mosaic_covg", "mosaic_outlier", "mosaic_rmask")]
    only += [f"run_{name}=0" for name in ("mosaic_reint", "mosaic_coadder", "mosaic_combiner")]
    log = place.script(*words, "-O", "new", *only)
    assert "FIF.tbl (FIF_FILE_NAME) leads out of OUTPUT_DIR" in "\n".join(log)
    assert (place.folder / "new/FIF.tbl").exists()


def test_a_tile_without_frames(run_directory, tmp_path):
    place = run_directory.copy(tmp_path / "wd")
    text = re.sub(r"CRVAL2 = \S+", "CRVAL2 = 12.5", (place.folder / "mosaic_fif.tbl").read_text())
    (place.folder / "far.tbl").write_text(text)
    (place.folder / "cdf/geom_mosaic.nl").write_text(
        "run_mosaic_geom = 1\nhave_uncertainties = 0\n&MOSAICGEOM\n&END\n"
    )
    log = place.script("mosaic.pl", "-n", "geom_mosaic.nl", "-I", "images.list", "-Ffar.tbl", "-O", "tmpdir/")
    assert "terminated normally" in log[-1]
    assert (place.folder / "tmpdir/geom_images.list").read_text() == ""
    text = OLD_MOSAIC.replace(
        "run_fiducial_image_frame = 1", "run_fiducial_image_frame = 0\nrun_mosaic_geom = 1"
    )
    (place.folder / "cdf/tile_mosaic.nl").write_text(text + "&MOSAICGEOM\n&END\n")
    log = place.script(
        *("mosaic.pl", "-n", "tile_mosaic.nl", "-I", "images.list", "-S", "sigma.list", "-d", "mask.list"),
        *("-Ffar.tbl", "-O", "tile"),
    )
    assert "terminated normally" in log[-1]
    assert not (place.folder / "tile/Combine").exists()


def test_tiles_combined_by_hand(run_directory, tmp_path):
    place = run_directory.copy(tmp_path / "wd")
    names = run_directory.names("Coadd/coadd_Tile_*_Image.fits")
    tiles = [os.path.relpath(name, run_directory.folder) for name in names]
    (place.folder / "tiles.lst").write_text("\n".join(tiles) + "\n")
    place.script("mosaic_combine", "-o", "big.fits", "-f", "mosaic_fif.tbl", "-g", "tiles.lst")
    np.testing.assert_array_equal(
        fits.getdata(place.folder / "big.fits"), fits.getdata(place.folder / "Combine/mosaic.fits")
    )


TABLE = """\
\\char comment = positions
|srcid |RA        |Dec       |flux      |
|int   |double    |double    |double    |
 1      150.0001   2.0002     10.5
 2      150.0003   2.0004     20.5
"""


def test_tables_with_rewritten_types_and_more_header_rows(tmp_path):
    first = tmp_path / "a.tbl"
    first.write_text(TABLE)
    second = tmp_path / "b.tbl"
    second.write_text(TABLE.replace("double", " float"))
    third = tmp_path / "c.tbl"
    third.write_text(
        "|ra        |dec       |\n|double    |double    |\n|deg       |deg       |\n|null      |null      |\n"
        "  150.0001     2.0002 \n  150.0003     2.0004 \n"
    )
    expected = read_table(str(first))
    for path in (second, third):
        table = read_table(str(path))
        assert table.types[next(name for name in table.columns if name.lower() == "ra")] == "double"
        np.testing.assert_array_equal(table.column("RA"), expected.column("RA"))
        np.testing.assert_array_equal(table.column("Dec"), expected.column("Dec"))
    empty = tmp_path / "d.tbl"
    empty.write_text("".join(TABLE.splitlines(keepends=True)[:3]))
    assert len(read_table(str(empty))) == 0


@pytest.mark.parametrize("flag", ["-n", "-I", "-S", "-d", "-M", "-F", "-O", "-R"])
def test_values_glued_to_flags(flag):
    from pymopex.kit.driver import flags_of, parse_command
    from pymopex.kit.sheets import PIPELINES

    for pipeline in PIPELINES:
        if flag[1] not in flags_of(pipeline):
            assert flag not in ("-n", "-O"), pipeline
            continue
        apart, glued = parse_command([flag, "a/b.x"], pipeline), parse_command([f"{flag}a/b.x"], pipeline)
        assert apart == glued
        assert apart.namelists == ["a/b.x"] if flag == "-n" else list(apart.overrides.values()) == ["a/b.x"]


def test_one_frame_in_place_of_a_mosaic(run_directory, tmp_path, simulated):
    """A frame as the image of apex_user_list_1frame.pl, its positions in a list with four header rows."""
    place = run_directory.copy(tmp_path / "wd")
    lines = (place.folder / "images.txt").read_text().split()
    stars = read_table(str(simulated / "truth/sources.tbl"))
    bright = np.argsort(-stars.column("flux"))[5:30]
    head = ["|ra          |dec         |", "|double      |double      |", "|deg         |deg         |"]
    rows = [f" {stars.column('RA')[i]:12.7f} {stars.column('Dec')[i]:12.7f}" for i in bright]
    (place.folder / "list.tbl").write_text("\n".join([*head, "|null        |null        |", *rows]) + "\n")
    with contextlib.chdir(place.folder):
        assert place.mopex("new", "apex_user_list_1frame")[0] == 0
        shutil.move("apex_user_list_1frame_I1.nl", "cdf")
    prf = simulated / "prfs_x5"
    name = sorted(prf.glob("*.fits"))[0]
    data, header = fits.getdata(name, header=True)
    fits.writeto(place.folder / "cal/prf.fits", data[:-1, :-1], header)
    lists = (Path(place.folder, f"{kind}.txt") for kind in ("images", "sigmas", "masks"))
    image, sigma, mask = (path.read_text().split()[0] for path in lists)
    assert image == lines[0]
    place.script(
        *("apex_user_list_1frame.pl", "-napex_user_list_1frame_I1.nl", "-i", image, "-s", sigma, "-d", mask),
        *("-pprf.fits", "-u", "list.tbl", "-O", "one", "do_multiprocess=off"),
        *("SIGMALIST_FILE_NAME=SigmaList.txt", "IMAGELIST_FILE_NAME=ImageList.txt", "use_refined_pointing=0"),
        *(
            "SOURCESTIMATE.PRF_ResampleX_Factor=5",
            "SOURCESTIMATE.PRF_ResampleY_Factor=5",
            "SOURCESTIMATE.Normalization_Radius=50",
        ),
    )
    made = place.folder / "one" / f"{Path(image).stem}_extract_raw.tbl"
    assert {"RA", "Dec"} <= set(read_table(str(made)).columns)
    assert len(read_table(str(made))) > 0
