"""PRF Estimate as a pipeline: stamps and PRFs of simulated frames, APEX with them, and what is refused."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex import optics
from pymopex.instruments import INSTRUMENTS
from pymopex.kit.ipac import read_table
from pymopex.kit.prfmap import read_prf_map
from pymopex.prf import PRF

FIELD = (
    *("Array_Size=80", "N_Frames=9", "Coverage=8", "N_Stars=50", "Min_Separation=24", "Slope=-1"),
    *("Faintest_Flux=1000", "Brightest_Flux=4000", "Offset_Rms=0.02", "Seed=3", "Bad_Fraction=0.0005"),
)
SHAPE = (
    0.025  # of the peak, largest difference of the PRF from the truth within 3 pixels; some tens of stamps
)
FLUX = 0.02  # relative, median error of fluxes measured with the PRF of some tens of stamps
BLUR = 0.02  # the same with the PRF of the average, at least
CONDITIONS = "Source_Conditions=saturated == 0 and n_frames > 1"


@pytest.fixture(scope="module")
def sky(mopex, tmp_path_factory):
    """Frames with stars that are alone, and the templates."""
    folder = tmp_path_factory.mktemp("stars")
    with contextlib.chdir(folder):
        assert mopex("simulate", "OUTPUT_DIR=sim", *FIELD)[0] == 0
        for name in ("prf_estimate", "apex_user_list"):
            assert mopex("new", name)[0] == 0
    return folder


@pytest.fixture(scope="module")
def made(sky, mopex):
    """The folder with the products of the pipeline, as the template has it."""
    with contextlib.chdir(sky):
        status, log = mopex(
            "drive",
            "prf_estimate",
            "-n",
            "prf_estimate_I1.nl",
            *frames(sky),
            "-O",
            "prf",
            CONDITIONS,
        )
    assert status == 0, log
    assert log.splitlines()[-1] == "prf_estimate terminated normally"
    return sky


def frames(sky):
    lists = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-M", "sim/pmask.fits")
    return (*lists, "-E", "sim/truth/sources.tbl", "do_multiprocess=off")


@pytest.fixture
def copy(made, tmp_path, monkeypatch):
    """A copy of the products, which is the working directory."""
    shutil.copytree(made / "prf", tmp_path / "prf")
    (tmp_path / "sim").symlink_to(made / "sim")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def largest_difference(path):
    """Largest difference from the true PRF within 3 pixels, in peaks; both normalised within 10 pixels."""
    samples, header = fits.getdata(path).astype(float), fits.getheader(path)
    factor = header["PRFXRSMP"]
    true = optics.prf(INSTRUMENTS["I1"])
    step, half = true.factor_x // factor, samples.shape[0] // 2
    middle = true.samples.shape[0] // 2
    cut = slice(middle - half * step, middle + half * step + 1, step)
    mine, same = (
        PRF(s, factor, factor).normalised(10 * factor).samples for s in (samples, true.samples[cut, cut])
    )
    core = slice(half - 3 * factor, half + 3 * factor + 1)
    return np.abs(mine - same)[core, core].max() / same.max()


def test_products_and_their_headers(made):
    folder = made / "prf"
    for name in ("PRF.fits", "PRF_unc.fits", "PRF_cov.fits", "prfmap.tbl", "FitStat.tbl", "provenance.json"):
        assert (folder / name).is_file(), name
    header = fits.getheader(folder / "PRF.fits")
    assert (header["PRFXRSMP"], header["PRFYRSMP"], header["NAXIS1"]) == (5, 5, 125)
    assert 0 < header["NORMERR"] < 0.03
    table = read_prf_map(str(folder / "prfmap.tbl"))
    assert (table.files, table.regions, table.size) == (["PRF.fits"], [(1, 1, 80, 80)], (125, 125))
    stamps = (folder / "Crop_Stack" / "stamps.txt").read_text().split()
    assert all((made / name).is_file() for name in stamps)
    statistics = read_table(str(folder / "FitStat.tbl"))
    assert len(statistics) == len(stamps)
    assert header["NSTAMPS"] == statistics.column("used").sum() > 20


def test_the_prf_is_the_true_one(made):
    assert largest_difference(made / "prf" / "PRF.fits") < SHAPE


def test_stamps_are_cut_round_the_stars(made):
    table = read_table(str(made / "prf" / "Crop_Stack" / "stamps.tbl"))
    true = read_table(str(made / "sim" / "truth" / "sources.tbl"))
    name = str(table.column("file")[0])
    with fits.open(made / "prf" / "Crop_Stack" / name) as hdus:
        data, sigma, header = hdus[0].data, hdus["UNC"].data, hdus[0].header
    assert data.shape == sigma.shape == (25, 25)
    assert abs(header["XSTAR"] - 13) <= 0.5
    assert abs(header["YSTAR"] - 13) <= 0.5
    row = int(np.flatnonzero(true.column("id") == header["SRCID"])[0])
    ra, dec = WCS(header).all_pix2world(header["XSTAR"], header["YSTAR"], 1)
    assert abs(ra - true.column("ra")[row]) * 3600 < 0.01
    assert abs(dec - true.column("dec")[row]) * 3600 < 0.01


def test_apex_measures_true_fluxes_with_it_and_wrong_ones_with_the_average(made, mopex, monkeypatch):
    monkeypatch.chdir(made)
    words = ("run_medfilter=1", "PRF_Method=average", "Max_Number_Outliers=999", "Reject_NaNs=20", CONDITIONS)
    flags = ("-n", "prf_estimate_I1.nl", *frames(made), "-O", "average")
    status, log = mopex("drive", "prf_estimate", *flags, *words, "PRF_ESTIMATE.Outlier_Threshold=8")
    assert status == 0, log
    true = read_table("sim/truth/sources.tbl")
    rows = zip(*(true.column(name) for name in ("id", "ra", "dec")), strict=True)
    lines = "".join(f" {number} {ra:.9f} {dec:.9f}\n" for number, ra, dec in rows)
    Path("user.tbl").write_text(f"|srcid|RA|Dec|\n|int|double|double|\n{lines}")
    assert abs(np.median(errors(mopex, true, "prf"))) < FLUX
    assert abs(np.median(errors(mopex, true, "average"))) > BLUR


def errors(mopex, true, folder):
    """Relative errors of fluxes of a fit with the PRF map of the estimate."""
    block = [
        f"SOURCESTIMATE.{key}"
        for key in ("PRF_ResampleX_Factor=5", "PRF_ResampleY_Factor=5", "Normalization_Radius=50")
    ]
    off = ("run_mosaic_interp=0", "run_mosaic_coadder=0", "run_mosaic_combiner=0", "run_aperture=0")
    lists = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-M", "sim/pmask.fits")
    words = (
        *lists,
        "-u",
        "user.tbl",
        "-m",
        f"{folder}/prfmap.tbl",
        "-O",
        f"fit_{folder}",
        *block,
        *off,
        "do_multiprocess=off",
    )
    status, log = mopex("drive", "apex_user_list", "-n", "apex_user_list_I1.nl", *words)
    assert status == 0, log
    found = read_table(f"fit_{folder}/extract_raw.tbl")
    row = np.searchsorted(true.column("id"), found.column("detid"))
    good = (
        (found.column("status") > 0)
        & (true.column("n_frames")[row] > 2)
        & (true.column("saturated")[row] == 0)
    )
    assert good.sum() > 8
    return (found.column("flux") / true.column("flux")[row] - 1)[good]


def test_zones_give_a_map_that_apex_reads(copy, mopex):
    status, log = mopex(
        "prf_estimate",
        "prf/prf_estimate_I1.nl",
        "PRF_Zones_X=2",
        "PRF_Zones_Y=1",
        "Min_Stamps_Per_Zone=20",
        "Max_N_Iteration=4",
        "Zero_Edge=3",
    )
    assert status == 0, log
    table = read_prf_map("prf/prfmap.tbl")
    assert table.files == ["PRF_col021_row041.fits", "PRF_col061_row041.fits"]
    assert table.regions == [(1, 1, 40, 80), (41, 1, 40, 80)]
    header = fits.getheader("prf/PRF_col061_row041.fits")
    assert (header["PRFCOL"], header["PRFROW"], header["PRFXRSMP"]) == ("061", "041", 5)
    samples = fits.getdata("prf/PRF_col021_row041.fits")
    assert (samples[:3] == 0).all()
    assert (samples[:, -3:] == 0).all()
    assert set(read_table("prf/FitStat.tbl").column("zone")) == {1, 2}


def test_one_image_with_pixel_positions(made, mopex, tmp_path, monkeypatch):
    """PlaneToPlane on one frame, with its mask by the key of a list."""
    monkeypatch.chdir(tmp_path)
    image, mask, sigma = (
        (made / "sim" / f"{kind}.txt").read_text().split()[0] for kind in ("images", "masks", "sigmas")
    )
    table = read_table(str(made / "prf" / "Crop_Stack" / "stamps.tbl"))
    rows = np.flatnonzero(table.column("frame") == 1)
    lines = "".join(f" {table.column('x')[i]:.5f} {table.column('y')[i]:.5f}\n" for i in rows)
    Path("stars.tbl").write_text(f"| x | y |\n| double | double |\n{lines}")
    assert mopex("new", "prf_estimate")[0] == 0
    words = (
        *(
            "TransformationType=PlaneToPlane",
            "Source_Conditions=",
            "CROP_STACK.Min_Separation=0",
            "PRF_Method=average",
        ),
        *(
            "PRF_ESTIMATE.Flux_Column_Name=",
            "Max_Number_Outliers=999",
            "PRF_ESTIMATE.PRF_ResampleX_Factor=4",
            "PRF_ESTIMATE.PRF_ResampleY_Factor=4",
        ),
        *("PRF_ESTIMATE.Normalization_Radius=", "MinNumber_Replacement_Pixels=4"),
    )
    flags = ("-n", "prf_estimate_I1.nl", "-i", image, "-s", sigma, "-d", mask, "-E", "stars.tbl", "-O", "out")
    status, log = mopex("drive", "prf_estimate", *flags, *words)
    assert status == 0, log
    assert fits.getheader("out/PRF.fits")["NAXIS1"] == 99
    base = Path(image).stem
    assert Path(f"out/Crop_Stack/{base}_1.fits").is_file()
    moved = read_table("out/Crop_Stack/stamps.tbl").column("x")
    np.testing.assert_allclose(moved, table.column("x")[rows], atol=1e-3)
    status, log = mopex("crop_stack", "out/prf_estimate_I1.nl", "delete_intermediate_files=1")
    assert status == 0, log


def test_intermediate_files_are_deleted_on_request(copy, mopex):
    words = ("delete_intermediate_files=1", "PRF_ESTIMATE.Max_N_Iteration=2")
    status, log = mopex("drive", "prf_estimate", "-n", "prf/prf_estimate_I1.nl", *words)
    assert status == 0, log
    assert not list(Path("prf/Crop_Stack").glob("*.fits"))
    assert Path("prf/Crop_Stack/stamps.tbl").is_file()


@pytest.mark.parametrize(
    ("task", "words", "error"),
    [
        ("crop_stack", ["PostStamp_Xsize=20"], "CROP_STACK.PostStamp_Xsize = 20: is even"),
        ("crop_stack", ["POINT_SOURCE_LIST="], "POINT_SOURCE_LIST: no list of stars is given (-E)"),
        ("crop_stack", ["POINT_SOURCE_LIST=none.tbl"], "none.tbl: no such file"),
        ("crop_stack", ["X_Column_Name=alpha"], "no column alpha"),
        ("crop_stack", ["X_Column_Name=words"], "no column words"),
        (
            "crop_stack",
            ["Source_Conditions=flux > 1e9"],
            "none of its 49 stars is left: 0 fulfil Source_Conditions",
        ),
        ("crop_stack", ["Source_Conditions=flux >"], "Source_Conditions = flux >:"),
        ("crop_stack", ["Source_Conditions=SNR > 5"], "SNR"),
        ("crop_stack", ["Min_Separation=3000", "Neighbour_Fraction=0"], "0 are alone by Min_Separation"),
        (
            "crop_stack",
            ["TransformationType=PlaneToPlane", "X_Column_Name=ra", "Y_Column_Name=dec"],
            "FIF_FILE_NAME (-F)",
        ),
        ("crop_stack", ["INPUT_FILE_NAME=x.fits"], "a list of frames is given, too"),
        ("crop_stack", ["IMAGE_STACK_FILE_NAME="], "and no list of frames (IMAGE_STACK_FILE_NAME, -I)"),
        (
            "prf_estimate",
            ["PRF_ESTIMATE.Flux_Column_Name=snr"],
            "PRF_ESTIMATE.Flux_Column_Name: no column snr",
        ),
        ("prf_estimate", ["Fit_Y=0"], "PRF_ESTIMATE.Fit_X is given without Fit_Y"),
        ("prf_estimate", ["Center_Box_X=0"], "PRF_ESTIMATE.Center_Box_Y is given without Center_Box_X"),
        ("prf_estimate", ["CROP_STACK_DIR=nowhere"], "run crop_stack first"),
        ("prf_estimate", ["Zero_Edge=62"], "Zero_Edge = 62: leaves nothing"),
        (
            "prf_estimate",
            ["Max_Ratio_Outliers=0", "PRF_ESTIMATE.Outlier_Threshold=0.5"],
            "stamps can be used (",
        ),
        ("prf_estimate", ["PRF_Zones_X=64", "PRF_Zones_Y=64", "PRF_Method=averge"], "not a choice"),
    ],
)
def test_bad_input_is_refused(task, words, error, copy, mopex):
    before = sorted(Path("prf").iterdir())
    status, log = mopex(task, "prf/prf_estimate_I1.nl", *words)
    assert status == 2, log
    assert error in log
    assert sorted(Path("prf").iterdir()) == before


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ("| RA | Dec |\n| double | double |\n", "holds no stars"),
        ("| RA | Dec |\n| double | double |\n 10.0 -60.0\n", "none of its 1 stars lies on a frame"),
        ("| RA | Dec |\n| double | double |\n null null\n", "none of its 1 stars is left"),
        ("| RA | Dec |\n| char | char |\n abc def\n", "holds text"),
    ],
)
def test_lists_of_stars_that_cannot_be_used(content, error, copy, mopex):
    Path("stars.tbl").write_text(content)
    words = ("POINT_SOURCE_LIST=stars.tbl", "Source_Conditions=")
    status, log = mopex("crop_stack", "prf/prf_estimate_I1.nl", *words)
    assert status == 2, log
    assert error in log


def test_stamps_that_changed_since_are_told(copy, mopex):
    table = read_table("prf/Crop_Stack/stamps.tbl")
    first = Path("prf/Crop_Stack") / str(table.column("file")[3])
    first.rename("away.fits")
    status, log = mopex("prf_estimate", "prf/prf_estimate_I1.nl")
    assert status == 2
    assert "no such stamp: run crop_stack again" in log
    fits.writeto(first, np.zeros((9, 9), "f4"))
    status, log = mopex("prf_estimate", "prf/prf_estimate_I1.nl")
    assert status == 2
    assert "is 9 x 9 pixels" in log
    Path("few.tbl").write_text(
        "| srcid | RA | Dec | flux |\n| int | double | double | double |\n 9999 1 1 1\n"
    )
    status, log = mopex("prf_estimate", "prf/prf_estimate_I1.nl", "POINT_SOURCE_LIST=few.tbl")
    assert status == 2
    assert "has no star" in log
