"""APEX at the positions of a list, in all frames and on one image."""

import contextlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from pymopex.fit_results import Deblend
from pymopex.kit.ipac import read_table

BRIGHT = 150  # uJy
FLUX_BIAS, FLUX_SCATTER = 0.005, 0.012  # of the flux of bright stars in at least four frames
ONE_FRAME = 0.03  # of the flux of bright stars in one frame, rms
POSITION = 0.02  # arcsec, rms of each coordinate
SAMPLING = ("PRF_ResampleX_Factor=20", "PRF_ResampleY_Factor=20", "Normalization_Radius=200")
FIT = [f"SOURCESTIMATE.{key}" for key in SAMPLING]


@pytest.fixture(scope="module")
def truth(field):
    table = read_table(str(field.sim / "truth" / "sources.tbl"))
    return {name: table.column(name) for name in ("ra", "dec", "flux", "saturated", "n_frames")}


def write_list(path, rows=2, **columns):
    """Write an IPAC table with 2 to 4 header rows."""
    heads = [columns, ["double"] * len(columns), ["deg"] * len(columns), ["null"] * len(columns)][:rows]
    lines = ["|" + "|".join(f"{text:20s}" for text in head) + "|" for head in heads]
    for row in zip(*columns.values(), strict=True):
        lines.append(" " + " ".join(f"{value:20.10f}" for value in row))
    Path(path).write_text("\n".join(lines) + "\n")


def off_the_field(truth):
    """The true positions, and three a degree off."""
    extra = truth["dec"][:3] + 1
    return {"ra": np.append(truth["ra"], truth["ra"][:3]), "dec": np.append(truth["dec"], extra)}


@pytest.fixture(scope="module")
def listed(field, truth, mopex, tmp_path_factory):
    """The folder in which all frames were fitted at the true positions, with the products of Mosaic; and the log."""
    folder = tmp_path_factory.mktemp("listed")
    shutil.copytree(field.work / "prf", folder / "prf")
    for name in ("Combine-mosaic", "Coadd-mosaic"):
        shutil.copytree(field.out / name, folder / "out" / name)
    for name in ("mosaic_fif.tbl", "FIF.tbl"):
        shutil.copy(field.out / name, folder / "out")
    lists = {"images": "Overlap_corr/correct_images", "rmasks": "Rmask-mosaic/rmask_correct_images"}
    for name, source in lists.items():
        paths = [field.work / line for line in (field.out / f"{source}.txt").read_text().split()]
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in paths))
    with contextlib.chdir(folder):
        assert mopex("new", "apex_user_list")[0] == 0
        write_list("list.tbl", rows=4, **off_the_field(truth))
        status, log = mopex("drive", "apex_user_list", *words(field), "-u", "list.tbl")
    assert status == 0, log
    return folder, log


def words(field):
    off = ("fiducial_image_frame", "mosaic_interp", "mosaic_coadder", "mosaic_combiner")
    frames = ("-I", "images.txt", "-R", "rmasks.txt")
    inputs = (*field.flags[2:], *frames, "-m", "prf/prfmap.tbl", "-O", "out", "FIF_FILE_NAME=out/FIF.tbl")
    places = ("COADDER_DIR=Coadd-mosaic", "COMBINER_DIR=Combine-mosaic")
    return ["-n", "apex_user_list_I1.nl", *inputs, *places, *FIT, *(f"run_{task}=0" for task in off)]


def good(truth, table):
    """Rows of bright, unsaturated stars in at least four frames, and their true values."""
    star = table.column("detid") - 1
    use = (truth["flux"][star] > BRIGHT) & (truth["saturated"][star] == 0) & (truth["n_frames"][star] >= 4)
    return np.flatnonzero(use), star[use]


def test_fluxes_at_the_positions_of_the_list(listed, truth):
    folder, log = listed
    table = read_table(str(folder / "out" / "extract.tbl"))
    row, star = good(truth, table)
    assert len(row) >= 15
    ratio = table.column("flux")[row] / truth["flux"][star]
    assert abs(np.median(ratio) - 1) < FLUX_BIAS
    assert 1.4826 * np.median(np.abs(ratio - np.median(ratio))) < FLUX_SCATTER
    north = 3600 * (table.column("Dec")[row] - truth["dec"][star])
    assert np.sqrt(np.mean(north**2)) < POSITION
    assert "aperture1" in table.columns
    assert log.splitlines()[-1] == "apex_user_list terminated normally"


def test_sources_off_the_frames_are_left_out_and_counted(listed, truth):
    folder, log = listed
    table = read_table(str(folder / "out" / "extract_raw.tbl"))
    n = len(truth["ra"])
    assert table.column("detid").max() <= n
    left_out = n + 3 - len(np.unique(table.column("detid")))
    assert left_out >= 3
    assert f"{left_out} sources left out: off the frames, at their edge, or without good pixels" in log


def test_detection_map_tells_the_frames_of_each_source(listed, field, truth):
    folder, _ = listed
    table = read_table(str(folder / "out" / "detection_map.tbl"))
    counts = np.bincount(table.column("srcid"), minlength=len(truth["ra"]) + 4)[1:]
    assert (counts[-3:] == 0).all()
    assert (counts[:-3] <= truth["n_frames"]).all()  # those at an edge do not count
    assert counts.sum() > 0.8 * truth["n_frames"].sum()
    frames = (field.out / "Overlap_corr" / "correct_images.txt").read_text().split()
    for column in ("x_frame", "y_frame"):
        assert table.column(column).min() >= 5
        assert table.column(column).max() <= 92
    first = table.column("frame")[0]
    assert Path(frames[first - 1]).stem == table.column("file")[0]


def again(listed, field, mopex, folder, *more):
    """Run the fit and what stands behind it in a copy of the folder; gives its log."""
    shutil.copytree(listed[0], folder)
    with contextlib.chdir(folder):
        status, log = mopex("drive", "apex_user_list", *words(field), "run_detection_map=0", *more)
    assert status == 0, log
    return log


def test_fixed_positions_stay(listed, field, truth, mopex, tmp_path):
    again(listed, field, mopex, tmp_path / "a", "-u", "list.tbl", "Fixed_Positions=1", "run_aperture=0")
    table = read_table(str(tmp_path / "a" / "out" / "extract_raw.tbl"))
    star = table.column("detid") - 1
    np.testing.assert_allclose(table.column("RA"), truth["ra"][star], atol=2e-9)
    np.testing.assert_allclose(table.column("Dec"), truth["dec"][star], atol=2e-9)
    assert (table.column("delta_RA")[table.column("status") == 1] == 0).all()
    row, star = good(truth, table)
    assert abs(np.median(table.column("flux")[row] / truth["flux"][star]) - 1) < FLUX_BIAS
    free = read_table(str(listed[0] / "out" / "extract_raw.tbl"))
    assert np.median(table.column("delta_flux")) < np.median(free.column("delta_flux"))


def test_pixels_and_an_edited_detection_table(listed, field, mopex, tmp_path):
    """Positions by x and y of the mosaic are those by RA and Dec."""
    source = read_table(str(listed[0] / "out" / "extract_raw.tbl"))
    names = ("x", "y")
    some = source.column("flux") > BRIGHT
    (tmp_path / "a").mkdir()
    write_list(tmp_path / "xy.tbl", **{name: source.column(name)[some] for name in names})
    keys = ("use_input_list_type=0", "run_aperture=0", "Fixed_Positions=1")
    again(listed, field, mopex, tmp_path / "b", "-u", tmp_path / "xy.tbl", *keys)
    table = read_table(str(tmp_path / "b" / "out" / "extract_raw.tbl"))
    np.testing.assert_allclose(table.column("RA"), source.column("RA")[some], atol=1e-8)
    shutil.copy(field.out / "detect.tbl", tmp_path / "detect.tbl")
    log = again(listed, field, mopex, tmp_path / "c", "-u", tmp_path / "detect.tbl", "run_aperture=0")
    assert "the positions are taken from x and y" in log
    detected = read_table(str(tmp_path / "detect.tbl"))
    found = read_table(str(tmp_path / "c" / "out" / "extract_raw.tbl"))
    assert 0.9 * len(detected) < len(found) <= len(detected)
    assert set(found.column("detid")) <= set(detected.column("srcid"))


def test_groups_and_the_letter_of_a_source_that_moved(listed, field, truth, mopex, tmp_path):
    """Two listed positions an arcsecond apart are fitted together; one two pixels off the star moves back."""
    bright = np.argsort(np.where(truth["saturated"] == 0, truth["flux"], 0) * (truth["n_frames"] >= 4))[-6:]
    ra, dec = truth["ra"][bright].copy(), truth["dec"][bright].copy()
    dec[0] += 2.0 / 3600
    near = dec[1] + 2.5 / 3600
    write_list(tmp_path / "l.tbl", RA=np.append(ra, ra[1]), Dec=np.append(dec, near))
    keys = ("MaxShift_X=1", "MaxShift_Y=1", "run_aperture=0")
    again(listed, field, mopex, tmp_path / "a", "-u", tmp_path / "l.tbl", *keys)
    table = read_table(str(tmp_path / "a" / "out" / "extract_raw.tbl"))
    letters = dict(zip(table.column("detid"), table.column("deblend"), strict=True))
    assert letters[1] == Deblend.OUTSIDE
    assert Deblend.PASSIVE in letters[2]
    assert Deblend.PASSIVE in letters[7]
    assert all(Deblend.OUTSIDE not in letters[i] for i in (3, 4, 5, 6))
    moved = table.column("flux")[table.column("detid") == 1]
    assert moved[0] == pytest.approx(truth["flux"][bright[0]], rel=0.05)


def test_an_empty_list_makes_empty_tables(listed, field, mopex, tmp_path):
    write_list(tmp_path / "l.tbl", ra=[], dec=[])
    again(listed, field, mopex, tmp_path / "a", "-u", tmp_path / "l.tbl", "run_detection_map=1")
    for name in ("extract_raw", "extract", "detection_map"):
        table = read_table(str(tmp_path / "a" / "out" / f"{name}.tbl"))
        assert len(table) == 0
        assert len(table.columns) > 4
    assert "aperture1" in read_table(str(tmp_path / "a" / "out" / "extract.tbl")).columns


def test_apertures_alone(listed, field, truth, mopex, tmp_path):
    log = again(listed, field, mopex, tmp_path / "a", "-u", "list.tbl", "aponly_fixed=1")
    assert "run_sourcestimate is ignored: aponly_fixed = 1" in log
    assert "mopex sourcestimate" not in log
    assert int(re.search(r"(\d+) lie off the image", log)[1]) >= 3
    table = read_table(str(tmp_path / "a" / "out" / "aperture.tbl"))
    assert len(table) == len(truth["ra"]) + 3
    np.testing.assert_allclose(table.column("RA")[:-3], truth["ra"], atol=1e-9)
    bright = (truth["flux"] > BRIGHT) & (truth["saturated"] == 0) & (truth["n_frames"] >= 4)
    ratio = table.column("aperture3")[:-3][bright] / truth["flux"][bright]
    assert np.nanmedian(ratio) == pytest.approx(0.9, abs=0.1)  # within 6 arcsec; neighbours and wings
    assert np.isnan(table.column("aperture1")[-3:]).all()


@pytest.mark.parametrize(
    ("flags", "error"),
    [
        ((), "INPUT_USER_LIST: no list of positions is given (-u)"),
        (("-u", "none.tbl"), "command line: INPUT_USER_LIST = none.tbl: no such file"),
        (("-u", "odd.tbl"), "has neither RA and Dec nor x and y; its columns are glon, glat"),
    ],
)
def test_a_list_that_cannot_be_used_is_named(listed, field, mopex, monkeypatch, flags, error):
    monkeypatch.chdir(listed[0])
    write_list("odd.tbl", glon=[1.0], glat=[2.0])
    status, log = mopex("drive", "apex_user_list", *words(field), *flags)
    assert status == 2
    assert error in log


@pytest.fixture(scope="module")
def frame(field, truth, mopex, tmp_path_factory):
    """The folder in which one frame was fitted at the true positions; its inputs; and the log."""
    folder = tmp_path_factory.mktemp("frame")
    shutil.copytree(field.work / "prf", folder / "prf")
    with contextlib.chdir(folder):
        assert mopex("new", "apex_user_list_1frame")[0] == 0
        write_list("list.tbl", RA=truth["ra"], Dec=truth["dec"])
        status, log = mopex("drive", "apex_user_list_1frame", *inputs(field), *FIT)
    assert status == 0, log
    return folder, log


def inputs(field, number=5):
    image, sigma, mask = (
        (field.sim / f"{name}.txt").read_text().split()[number] for name in ("images", "sigmas", "masks")
    )
    masks = ("-d", mask, "-M", field.sim / "pmask.fits")
    prf = ("-m", "prf/prfmap.tbl")
    return [
        "-n",
        "apex_user_list_1frame_I1.nl",
        "-i",
        image,
        "-s",
        sigma,
        *masks,
        *prf,
        "-u",
        "list.tbl",
        "-O",
        "out",
    ]


def base(field, number=5):
    return Path((field.sim / "images.txt").read_text().split()[number]).stem


def test_stars_of_one_frame_have_their_fluxes(frame, field, truth):
    folder, log = frame
    assert log.splitlines()[-1] == "apex_user_list_1frame terminated normally"
    table = read_table(str(folder / "out" / f"{base(field)}_extract_raw.tbl"))
    star = table.column("detid") - 1
    use = (truth["flux"][star] > BRIGHT) & (truth["saturated"][star] == 0)
    assert use.sum() >= 5
    ratio = table.column("flux")[use] / truth["flux"][star[use]]
    assert np.sqrt(np.mean((ratio - 1) ** 2)) < ONE_FRAME
    assert (table.column("n_frames") == 1).all()
    north = 3600 * (table.column("Dec")[use] - truth["dec"][star[use]])
    assert np.median(np.abs(north)) < 2 * POSITION


def test_a_negative_border_takes_in_stars_outside(frame, field, mopex, tmp_path):
    """With a large box a star off the frame is fitted by its wing."""
    shutil.copytree(frame[0], tmp_path / "a")
    keys = ("SOURCESTIMATE.N_Edge=-6", "Fitting_Area_X=21", "Fitting_Area_Y=21")
    with contextlib.chdir(tmp_path / "a"):
        status, log = mopex("sourcestimate", *inputs(field)[1:], *FIT, *keys)
    assert status == 0, log
    plain, wide = (
        read_table(str(path / "out" / f"{base(field)}_extract_raw.tbl"))
        for path in (frame[0], tmp_path / "a")
    )
    assert len(wide) > len(plain)
    assert (
        wide.column("x").min() < 0.5
        or wide.column("x").max() > 96.5
        or wide.column("y").max() > 96.5
        or wide.column("y").min() < 0.5
    )


def test_apertures_alone_on_one_image(frame, field, mopex, tmp_path):
    shutil.copytree(frame[0], tmp_path / "a")
    with contextlib.chdir(tmp_path / "a"):
        status, log = mopex(
            "drive", "apex_user_list_1frame", *inputs(field), *FIT, "aponly_fixed=1", "run_aperture=1"
        )
        assert status == 0, log
        table = read_table(f"out/{base(field)}_aperture.tbl")
    assert {"RA", "Dec", "x", "y", "aperture1", "bad_pix1", "ap_unc1"} <= set(table.columns)
    assert np.isfinite(table.column("aperture1")).sum() > 10


def test_uncertainties_computed_here(frame, field, mopex, tmp_path):
    """S/N Estimator makes the uncertainty of the one image, which the fit takes."""
    shutil.copytree(frame[0], tmp_path / "a")
    with contextlib.chdir(tmp_path / "a"):
        words = inputs(field)
        del words[words.index("-s") : words.index("-s") + 2]
        keys = ("have_uncertainties=0", "compute_uncertainties_internally=1", "Gain=100", "Read_Noise=9")
        status, log = mopex("drive", "apex_user_list_1frame", *words, *FIT, *keys)
        assert status == 0, log
        assert Path(f"out/{base(field)}_sigma.fits").is_file()
    assert "no uncertainties are given" not in log
