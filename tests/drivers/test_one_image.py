"""APEX and APEX QA on one image: the mosaic of the field with its own PRF, and single frames."""

import contextlib
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.kit.ipac import read_table
from pymopex.units import ujy_per_mjysr

BRIGHT = 150  # uJy
APART = 6.0  # arcsec, to the next star of the truth: no blends
FLUX_BIAS = (
    0.02  # relative, of a handful of stars; the kernel of the mosaic holds the flux within 12.2 arcsec
)
FLUX_SCATTER = (
    0.03  # relative; noise of neighbouring pixels is correlated, and undersampled frames were put together
)
POSITION = 0.05  # arcsec, median distance, a twelfth of a pixel of the mosaic
RESIDUAL = 0.18  # of the peak of a bright star, largest left in its core, median: few frames, undersampled


@pytest.fixture(scope="module")
def stars(field):
    """True stars that at least four frames hold, unsaturated, bright, and alone."""
    table = read_table(str(field.sim / "truth" / "sources.tbl"))
    ra, dec = table.column("ra"), table.column("dec")
    east = np.subtract.outer(ra, ra) * np.cos(np.radians(dec.mean()))
    alone = (np.hypot(east, np.subtract.outer(dec, dec)) * 3600 < APART).sum(axis=0) == 1
    good = alone & (table.column("n_frames") >= 4) & (table.column("saturated") == 0)
    good &= table.column("flux") > BRIGHT
    assert good.sum() >= 15
    return {name: table.column(name)[good] for name in ("ra", "dec", "flux")}


def match(table, stars, reach=1.0):
    """Rows of a table and of the stars within some arcseconds, and their distance."""
    across = np.cos(np.radians(np.mean(stars["dec"])))
    rows, which, distance = [], [], []
    for i, (ra, dec) in enumerate(zip(stars["ra"], stars["dec"], strict=True)):
        apart = 3600 * np.hypot((table.column("RA") - ra) * across, table.column("Dec") - dec)
        if len(apart) and apart.min() < reach:
            rows.append(int(apart.argmin()))
            which.append(i)
            distance.append(apart.min())
    return np.array(rows, int), np.array(which, int), np.array(distance)


def mosaic(field, part=""):
    return field.out / "Combine-mosaic" / f"mosaic{part}.fits"


def words(field):
    image = ["-i", mosaic(field), "-s", mosaic(field, "_unc"), f"COVERAGE_MAP={mosaic(field, '_cov')}"]
    return [*image, "-p", field.work / "prf" / "IRAC1_mosaic_detect_kernel.fits", "-O", "one"]


@pytest.fixture(scope="module")
def one(field, mopex, tmp_path_factory):
    """The folder in which APEX ran on the mosaic, all modules switched on."""
    folder = tmp_path_factory.mktemp("one")
    on = ("run_extract_medfilter=1", "run_fit_radius=1", "run_select_detect=1", "Minimum_Coverage=1.8")
    with contextlib.chdir(folder):
        assert mopex("new", "apex_1frame")[0] == 0
        status, log = mopex("drive", "apex_1frame", "-n", "apex_1frame_I1.nl", *words(field), *on)
    assert status == 0, log
    assert log.splitlines()[-1] == "apex_1frame terminated normally"
    return folder


def test_products_of_one_image_have_their_legacy_names(one):
    names = [
        *("minus_median_detect.fits", "noise.fits", "Filtered.fits", "detect.tbl", "detect_raw.tbl"),
        *("minus_median_extract.fits", "extract_raw.tbl", "extract.tbl"),
    ]
    assert [name for name in names if not (one / "one" / f"mosaic_{name}").is_file()] == []
    assert (one / "one" / "PRF_Map.tbl").is_file()
    assert not [path for path in (one / "one").iterdir() if path.is_dir()]


def test_stars_on_the_mosaic_have_their_fluxes_and_positions(one, stars):
    table = read_table(str(one / "one" / "mosaic_extract.tbl"))
    row, star, apart = match(table, stars)
    assert len(row) > 0.9 * len(stars["ra"])
    ratio = table.column("flux")[row] / stars["flux"][star]
    assert abs(np.median(ratio) - 1) < FLUX_BIAS
    assert 1.4826 * np.median(np.abs(ratio - np.median(ratio))) < FLUX_SCATTER
    assert np.median(apart) < POSITION
    assert {"aperture1", "ap_unc1", "FitX"} <= set(table.columns)


def test_x_and_y_are_pixels_of_the_image(one, field):
    table = read_table(str(one / "one" / "mosaic_extract_raw.tbl"))
    wcs = WCS(fits.getheader(mosaic(field)))
    x, y = wcs.all_world2pix(table.column("RA"), table.column("Dec"), 1)
    np.testing.assert_allclose(table.column("x"), x, atol=0.01)
    np.testing.assert_allclose(table.column("y"), y, atol=0.01)


def test_detection_on_one_image_is_that_on_the_tile(one, field):
    """The mosaic is one tile of the multiframe run: both find the same, within the pixels of the masks."""
    found, tile = (
        read_table(str(path))
        for path in (one / "one" / "mosaic_detect_raw.tbl", field.out / "detect_raw.tbl")
    )
    np.testing.assert_allclose(found.column("x"), tile.column("x"), atol=1e-4)
    np.testing.assert_allclose(found.column("flux"), tile.column("flux"), rtol=1e-5)


def test_ten_apertures(one, field, mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(one, "copy")
    keys = ("N_Apertures=10", *(f"Aperture_Radius_{k}={k}" for k in range(1, 11)))
    with contextlib.chdir("copy"):
        status, log = mopex("aperture", "apex_1frame_I1.nl", *words(field), *keys)
        assert status == 0, log
        table = read_table("one/mosaic_extract_raw.tbl")
    fluxes = np.array([table.column(f"aperture{k}") for k in range(1, 11)])
    errors = np.array([table.column(f"ap_unc{k}") for k in range(1, 11)])
    bright = np.isfinite(fluxes).all(axis=0) & (table.column("SNR") > 50)
    assert bright.any()
    assert (np.diff(fluxes[:4, bright], axis=0) > 0).all()
    assert (np.diff(errors[:, bright], axis=0) > 0).all()


def test_uncertainties_of_the_measured_noise(one, field, mopex, tmp_path, monkeypatch):
    """Scale_Errors brings chi2/dof to the uncertainties, Noise_Correlation what pixels of a mosaic share."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(one, "copy")
    tables = []
    with contextlib.chdir("copy"):
        for keys in ((), ("Scale_Errors=1", "Noise_Correlation=1.5")):
            keys = (*keys, "Unbiased_Flux=0")  # which follows the noise
            status, log = mopex("sourcestimate", "apex_1frame_I1.nl", *words(field), *keys)
            assert status == 0, log
            tables.append(read_table("one/mosaic_extract_raw.tbl"))
    plain, scaled = tables
    chi = plain.column("chi2/dof")
    np.testing.assert_allclose(scaled.column("chi2/dof"), chi)
    for name in ("delta_flux", "delta_RA", "delta_Dec", "delta_x", "delta_y"):
        wanted = 1.5 * np.sqrt(chi) * plain.column(name)
        np.testing.assert_allclose(scaled.column(name), wanted, rtol=2e-3, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(scaled.column("SNR"), plain.column("SNR") / 1.5, rtol=2e-3, atol=0.01)


@pytest.mark.parametrize("recipe", [0, 1, 2])
def test_signal_to_noise_with_the_measured_noise(one, field, mopex, tmp_path, monkeypatch, recipe):
    """Recipes 0 and 1 differ by what they take for the noise of a star, 2 adds that of its photons."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(one, "copy")
    keys = (f"Use_Photerr_for_SNR={recipe}", "Gain_for_SNR=1000", "use_data_unc_for_fitted_SNR=0")
    with contextlib.chdir("copy"):
        status, log = mopex("sourcestimate", "apex_1frame_I1.nl", *words(field), *keys)
        assert status == 0, log
        table = read_table("one/mosaic_extract_raw.tbl")
    noise = fits.getdata(one / "one" / "mosaic_noise.fits")
    coverage = fits.getdata(mosaic(field, "_cov"))
    header = fits.getheader(mosaic(field))
    kernel = fits.getdata(field.work / "prf" / "IRAC1_mosaic_detect_kernel.fits")
    column, row = (np.rint(table.column(name)).astype(int) - 1 for name in ("x", "y"))
    bright = np.flatnonzero((table.column("flux") > BRIGHT) & (coverage[row, column] > 0))
    column, row = column[bright], row[bright]
    omega = abs(header["CDELT1"] * header["CDELT2"]) * (np.pi / 180) ** 2
    flux, sigma = table.column("flux")[bright] / ujy_per_mjysr(omega), noise[row, column]
    middle = kernel.shape[0] // 2
    peak = kernel[middle, middle] / kernel[middle % 4 :: 4, middle % 4 :: 4].sum()
    expected = {
        0: flux * peak / sigma,
        1: flux / (3 * sigma),
        2: flux / np.sqrt(9 * sigma**2 + flux / 1000 / coverage[row, column]),
    }[recipe]
    np.testing.assert_allclose(table.column("SNR")[bright], expected, rtol=0.02)


def test_modules_that_are_off_leave_their_products_to_be_used(one, field, mopex, tmp_path, monkeypatch):
    """The image without sources is searched, the image itself is fitted: files of the one renamed for the other."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(one, "copy")
    with contextlib.chdir("copy"):
        path = Path("one/mosaic_detect.tbl")
        lines = path.read_text().splitlines()
        path.write_text("\n".join(lines[:-5]) + "\n")
        wanted = len(read_table(str(path)))
        off = [f"run_{task}=0" for task in ("detect_medfilter", "gaussnoise", "pointsourceprob", "detect")]
        plain = ("run_extract_medfilter=0", "use_background_subtracted_image_for_fitting=1")
        status, log = mopex("drive", "apex_1frame", "-n", "apex_1frame_I1.nl", *words(field), *off, *plain)
        assert status == 0, log
        assert f"{wanted} sources fitted" in log


def test_an_image_without_its_companions_is_named(field, mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert mopex("new", "apex_1frame")[0] == 0
    status, log = mopex(
        "drive", "apex_1frame", "-n", "apex_1frame_I1.nl", "-i", mosaic(field), "-s", "none.fits"
    )
    assert status == 2
    assert "Error: none.fits: no such file" in log
    assert "no PRF" in log
    status, log = mopex("drive", "apex_1frame", "-n", "apex_1frame_I1.nl")
    assert status == 2
    assert "INPUT_FILE_NAME: no image is given, neither in the namelist nor with -i" in log


QA = ("-P", "prf.fits", "-O", "out")


@pytest.fixture(scope="module")
def qa(one, field, mopex, tmp_path_factory):
    """The folder in which APEX QA takes the fitted sources off the mosaic."""
    folder = tmp_path_factory.mktemp("qa")
    shutil.copy(field.work / "prf" / "IRAC1_mosaic_detect_kernel.fits", folder / "prf.fits")
    shutil.copy(one / "one" / "mosaic_extract.tbl", folder / "extract.tbl")
    with contextlib.chdir(folder):
        assert mopex("new", "apex_qa_1frame")[0] == 0
        words = ("-T", mosaic(field), "-E", "extract.tbl", *QA, "create_pointsource_mosaic=1")
        status, log = mopex("drive", "apex_qa", "-n", "apex_qa_1frame_I1.nl", *words)
    assert status == 0, log
    assert log.splitlines()[-1] == "apex_qa terminated normally"
    return folder


def test_residual_of_the_mosaic_is_small(qa, field, stars):
    image, header = fits.getdata(mosaic(field), header=True)
    residual = fits.getdata(qa / "out" / "Mosaic" / "residual_mosaic.fits")
    model = fits.getdata(qa / "out" / "Mosaic" / "pointsource_mosaic.fits")
    assert np.array_equal(np.isnan(residual), np.isnan(image))
    np.testing.assert_allclose(
        (residual + model)[~np.isnan(image)], image[~np.isnan(image)], rtol=1e-4, atol=1e-4
    )
    x, y = WCS(header).all_world2pix(stars["ra"], stars["dec"], 0)
    left = []
    for column, row in zip(np.rint(x).astype(int), np.rint(y).astype(int), strict=True):
        near = slice(row - 2, row + 3), slice(column - 2, column + 3)
        sky = np.nanmedian(image[row - 15 : row + 16, column - 15 : column + 16])
        left.append(np.abs(residual[near] - sky).max() / (image[near].max() - sky))
    assert np.median(left) < RESIDUAL


def write_list(path, **columns):
    """Write an IPAC table with two header rows."""
    lines = [
        "|" + "|".join(f"{name:20s}" for name in columns) + "|",
        "|" + "double              |" * len(columns),
    ]
    for row in zip(*columns.values(), strict=True):
        lines.append(" " + " ".join(f"{value:20.10f}" for value in row))
    Path(path).write_text("\n".join(lines) + "\n")


def run_qa(mopex, image, table, *more):
    return mopex("drive", "apex_qa", "-n", "apex_qa_1frame_I1.nl", "-T", image, "-E", table, *QA, *more)


def test_an_empty_table_leaves_the_image(qa, field, mopex, monkeypatch):
    monkeypatch.chdir(qa)
    write_list("empty.tbl", ra=[], dec=[], flux=[])
    status, log = run_qa(mopex, mosaic(field), "empty.tbl", "MOSAIC_DIR=Empty")
    assert status == 0, log
    np.testing.assert_array_equal(fits.getdata("out/Empty/residual_mosaic.fits"), fits.getdata(mosaic(field)))


def test_hole_cut_and_sources_beyond_the_edge(qa, field, mopex, monkeypatch):
    """The wing of a star off the image is subtracted; a hole leaves the core, an outer radius the wings."""
    monkeypatch.chdir(qa)
    header = fits.getheader(mosaic(field))
    flat = fits.PrimaryHDU(np.full((header["NAXIS2"], header["NAXIS1"]), 5, "f4"), header)
    flat.writeto("flat.fits", overwrite=True)
    middle = header["NAXIS1"] // 2, header["NAXIS2"] // 2
    write_list("two.tbl", x=[middle[0] + 1, -3], y=[middle[1] + 1, 40], flux=[1e4, 1e4])
    pixels = ("X_Column_Name=x", "Y_Column_Name=y", "Input_RA_Dec=0")
    made = {}
    for name, radii in (("whole", ()), ("hole", ("Hole_Radius=12",)), ("cut", ("Outer_Radius=20",))):
        block = [f"MOSAIC_POINTSOURCEIMAGE.{key}" for key in (*pixels, *radii)]
        status, log = run_qa(mopex, "flat.fits", "two.tbl", f"MOSAIC_DIR={name}", *block)
        assert status == 0, log
        made[name] = 5 - fits.getdata(f"out/{name}/residual_flat.fits").astype("f8")
    rows, columns = np.indices(made["whole"].shape)
    far = np.hypot(columns - middle[0], rows - middle[1])
    assert made["whole"][39, 0] > 0.05  # four pixels from the star at (-3, 40)
    assert made["whole"].max() == made["whole"][middle[1], middle[0]]
    assert np.abs(made["hole"][far < 2.9]).max() < 1e-5
    np.testing.assert_allclose(made["hole"][(far > 3.1)], made["whole"][far > 3.1], atol=1e-5)
    np.testing.assert_allclose(made["cut"][far < 4.9], made["whole"][far < 4.9], atol=1e-5)
    assert np.abs(made["cut"][(far > 5.1) & (columns > 30)]).max() < 1e-5


def test_what_is_missing_for_the_residual_is_named(qa, mopex, monkeypatch):
    monkeypatch.chdir(qa)
    status, log = mopex("drive", "apex_qa", "-n", "apex_qa_1frame_I1.nl")
    assert status == 2
    for text in ("MOSAIC_FILE_NAME: no image is given (-T)", "EXTRACTION_TABLE: no table", "no PRF is given"):
        assert text in log


def test_crota2_and_detector_frames(field, stars, mopex, tmp_path, monkeypatch):
    """One frame, with its masks and distortion, and the PRFs of the detector: detected and fitted."""
    monkeypatch.chdir(tmp_path)
    assert mopex("new", "apex_1frame")[0] == 0
    frame, sigma, mask = (
        (field.sim / f"{name}.txt").read_text().split()[5] for name in ("images", "sigmas", "masks")
    )
    prf = field.work / "prf"
    inputs = ("-i", frame, "-s", sigma, "-d", mask, "-M", field.sim / "pmask.fits", "-m", prf / "prfmap.tbl")
    sampling = ("PRF_ResampleX_Factor=20", "PRF_ResampleY_Factor=20", "Normalization_Radius=200")
    keys = ["use_psp_to_detect=0", "run_pointsourceprob=0", "run_aperture=0", "Detection_Min_Area=2"]
    keys += [f"SOURCESTIMATE.{key}" for key in (*sampling, "Fitting_Area_X=7", "Fitting_Area_Y=7")]
    status, log = mopex("drive", "apex_1frame", "-n", "apex_1frame_I1.nl", *inputs, "-O", "out", *keys)
    assert status == 0, log
    base = Path(frame).stem
    filtered = fits.getdata(f"out/{base}_minus_median_detect.fits")
    status_mask, pmask = fits.getdata(mask), fits.getdata(field.sim / "pmask.fits")
    assert np.isnan(filtered[((status_mask & 32520) | (pmask & 32767)) > 0]).all()
    table = read_table(f"out/{base}_extract.tbl")
    row, star, apart = match(table, stars)
    assert len(row) >= 4
    np.testing.assert_allclose(table.column("flux")[row] / stars["flux"][star], 1, atol=0.05)
    assert np.median(apart) < POSITION


def test_large_images_are_worked_on_in_parts(one, field, mopex, tmp_path, monkeypatch):
    """The fit of the part of an image that a block of sources needs is that of the whole."""
    monkeypatch.setattr("pymopex.kit.fit_frames.LARGE", 50)
    monkeypatch.setattr("pymopex.tasks.sourcestimate._BLOCK", 20)
    shutil.copytree(one, tmp_path / "copy")
    with contextlib.chdir(tmp_path / "copy"):
        status, log = mopex("sourcestimate", "apex_1frame_I1.nl", *words(field), "do_multiprocess=off")
        assert status == 0, log
        parts, whole = (
            read_table("one/mosaic_extract_raw.tbl"),
            read_table(f"{one}/one/mosaic_extract_raw.tbl"),
        )
    for name in ("RA", "flux", "chi2/dof", "n_frames"):
        np.testing.assert_allclose(parts.column(name), whole.column(name), rtol=1e-5)


def test_a_flow_hands_the_mosaic_and_the_table_on(few, field, mopex):
    """Mosaic, APEX on its mosaic, and the residual of that, with one command; intermediate images are gone."""
    for name in ("apex_1frame", "apex_qa_1frame"):
        assert mopex("new", name)[0] == 0
    kernel = field.work / "prf" / "IRAC1_mosaic_detect_kernel.fits"
    lists = (
        "-I",
        "images.txt",
        "-S",
        "sigmas.txt",
        "-d",
        "masks.txt",
        "-p",
        kernel,
        "-P",
        kernel,
        "-O",
        "out",
    )
    names = ("mosaic_I1.nl", "apex_1frame_I1.nl", "apex_qa_1frame_I1.nl")
    status, log = mopex("flow", *lists, "delete_intermediate_files=1", *names)
    assert status == 0, log
    assert Path("out/Mosaic/residual_mosaic.fits").is_file()
    assert not Path("out/mosaic_Filtered.fits").exists()
    found = read_table("out/mosaic_extract.tbl")
    assert len(found) > 5
    text = Path("out/apex_qa_1frame_I1.nl").read_text()
    assert "MOSAIC_FILE_NAME = out/Combine-mosaic/mosaic.fits" in text
    assert "EXTRACTION_TABLE = out/mosaic_extract.tbl" in text
