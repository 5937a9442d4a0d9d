"""The mosaics besides the ordinary one, the two passes of drizzle, given masks and grids, tiles, and cleaning up."""

import contextlib
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.coadd import coadd
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table
from pymopex.rank_coadd import median_variance
from pymopex.variance import coadd_variance

ALL = (
    *("run_median_mosaic=1", "run_absolute_minimum_mosaic=1", "run_trimmed_mosaic=1", "create_var_mosaic=1"),
    *("create_rmask_mosaic=1", "create_outlier_mosaic=1", "create_dual_outlier_mosaic=1"),
)
COARSE = ("MOSAIC_PIXEL_SIZE_X=-3.39E-4", "MOSAIC_PIXEL_SIZE_Y=3.39E-4")
MOSAICS = (
    *("mosaic", "mosaic_cov", "mosaic_unc", "mosaic_std", "mosaic_var", "median_mosaic", "median_mosaic_unc"),
    *("absolute_minimum_mosaic", "absolute_minimum_mosaic_unc", "trimmed_mosaic", "trimmed_mosaic_unc"),
    *("mosaic_outlier", "mosaic_dual_outlier"),
)


QUICK = [f"run_{name}=0" for name in (
    *("medfilter", "detect_outlier", "mosaic_proj", "mosaic_covg", "mosaic_dual_outlier", "level"),
    *("mosaic_outlier", "mosaic_box_outlier", "mosaic_rmask", "mosaic_reinterp"),
)]  # fmt: skip


class Work:
    """A folder with the frames, namelists and products of runs of Mosaic."""

    def __init__(self, folder, mopex):
        self.folder, self._mopex = folder, mopex
        self.images = Path(folder, "images.txt").read_text().split()

    def drive(self, *words, out="out", pipeline="mosaic", namelist="mosaic_I1.nl", status=0):
        """Run a pipeline; gives the log."""
        lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-M", "pmask.fits", "-O", out)
        with contextlib.chdir(self.folder):
            done, log = self._mopex(
                "drive", pipeline, "-n", namelist, *lists, *COARSE, "do_multiprocess=off", *words
            )
        assert done == status, log
        return log

    def task(self, name, *words, out="out", namelist="mosaic_I1.nl"):
        """Run a module on the namelist that a run left; gives the log."""
        with contextlib.chdir(self.folder):
            status, log = self._mopex(name, f"{out}/{namelist}", "do_multiprocess=off", *words)
        assert status == 0, log
        return log

    def data(self, name, out="out"):
        """Read a mosaic, or another product if the name has a folder."""
        path = name if "/" in name else f"Combine-mosaic/{name}.fits"
        return fits.getdata(Path(self.folder, out, path))

    def header(self, name, out="out"):
        path = name if "/" in name else f"Combine-mosaic/{name}.fits"
        return fits.getheader(Path(self.folder, out, path))

    def stack(self, out="out", errors="unc", folder="Reinterp-mosaic"):
        """Read interpolated frames onto the whole mosaic; errors: unc or var."""
        from pymopex.geometry import Box
        from pymopex.stack import Stack

        place = Path(self.folder, out, folder)
        grid = read_fif(str(Path(self.folder, out, "mosaic_fif.tbl")))
        boxes, parts = [], []
        for image in self.images:
            base = Path(image).stem
            sigma = f"interp_var_{base}" if errors == "var" else f"interp_unc_{base.replace('cbcd', 'cbunc')}"
            header = fits.getheader(place / f"interp_{base}.fits")
            boxes.append(Box(header["MINTOFFX"], header["MINTOFFY"], header["NAXIS1"], header["NAXIS2"]))
            names = (f"interp_{base}", f"interp_{base}_covg", sigma)
            parts.append([fits.getdata(place / f"{name}.fits") for name in names])
        return Stack.build(Box(0, 0, grid.naxis1, grid.naxis2), boxes, *zip(*parts, strict=True))


@pytest.fixture(scope="module")
def work(simulated, tmp_path_factory, mopex):
    """Twelve frames, the last six 400 days after the first six, each with a time of its own, and all mosaics."""
    folder = tmp_path_factory.mktemp("mosaics") / "work"
    folder.mkdir()
    for name in ("sigmas.txt", "masks.txt", "pmask.fits"):
        shutil.copy(simulated / name, folder / name)
    (folder / "bcd").mkdir()
    paths = []
    for i, image in enumerate((simulated / "images.txt").read_text().split()):
        paths.append(f"bcd/{Path(image).name}")
        data, header = fits.getdata(image, header=True)
        header["MJD_OBS"] += 400 * (i >= 6)
        header["MYTIME"] = 10.0 + i
        fits.writeto(folder / paths[-1], data, header)
    (folder / "images.txt").write_text("\n".join(paths) + "\n")
    with contextlib.chdir(folder):
        assert mopex("new", "flow", "I1")[0] == 0
    made = Work(folder, mopex)
    made.drive(*ALL)
    return made


def test_all_mosaics_are_made(work):
    shapes = {name: work.data(name).shape for name in MOSAICS}
    assert len(set(shapes.values())) == 1
    seen = work.data("mosaic_cov") > 0
    for name in MOSAICS:
        if name not in ("mosaic_std", "mosaic_cov"):
            assert np.array_equal(np.isfinite(work.data(name)), seen) or "outlier" in name, name


def test_median_and_minimum_are_those_of_the_frames(work):
    stack = work.stack()
    middle, nearest, error = (np.full(stack.shape, np.nan) for _ in range(3))
    for p in range(middle.size):
        values = stack.value[stack.first[p] : stack.first[p + 1]]
        if values.size:
            middle.flat[p] = np.median(values.astype(float))
            best = np.argmin(np.abs(values))
            nearest.flat[p] = values[best]
            k = stack.first[p] + best
            error.flat[p] = stack.sigma[k] / np.sqrt(stack.coverage[k])
    np.testing.assert_allclose(work.data("median_mosaic"), middle, rtol=1e-6)
    np.testing.assert_array_equal(work.data("absolute_minimum_mosaic"), nearest.astype("f4"))
    np.testing.assert_allclose(work.data("absolute_minimum_mosaic_unc"), error, rtol=1e-6)


def test_uncertainty_of_the_median_against_that_of_the_mean(work):
    count = np.diff(work.stack().first).reshape(work.data("mosaic").shape)
    ratio = work.data("median_mosaic_unc") / work.data("mosaic_unc")
    for n in (1, 3, 5):
        assert np.median(ratio[count == n]) == pytest.approx(np.sqrt(median_variance(n)), rel=0.02)


def test_trimmed_mean_lies_between(work):
    count = np.diff(work.stack().first).reshape(work.data("mosaic").shape)
    mean, middle, trimmed = (work.data(name) for name in ("mosaic", "median_mosaic", "trimmed_mosaic"))
    # three values: the middle one
    np.testing.assert_allclose(trimmed[count == 3], middle[count == 3], rtol=1e-5)
    few = (count == 1) | (count == 2)
    np.testing.assert_array_equal(trimmed[few], mean[few])
    assert (trimmed[count == 4] != mean[count == 4]).mean() > 0.9


def test_tables_of_median_tiles(work):
    folder = work.folder / "out" / "Coadd-mosaic"
    table = read_table(str(folder / "coadd_median_tiles.tbl"))
    assert list(table.column("name")) == ["coadd_median_Tile_1_Image.fits"]
    assert (folder / "coadd_median_tile_bcd.txt").read_text() == (folder / "coadd_tile_bcd.txt").read_text()


def test_variance_is_that_of_the_mean(work):
    stack = work.stack(errors="var")
    expected = coadd_variance(stack, stack.sigma)
    np.testing.assert_allclose(work.data("mosaic_var"), expected, rtol=1e-6)
    header = work.header("mosaic_var")
    assert header["BUNIT"] == "(MJy/sr)**2"
    assert 1.3 < header["NOISECOR"] < 1.7  # 1.5 for pixels of the size of the frames', aligned
    assert 1 < header["NCOR_R01"] < header["NCOR_R10"] < header["NOISECOR"]
    assert not list(
        (work.folder / "out" / "Interp-mosaic").glob("interp_var_*")
    )  # of the pass that is co-added
    seen = work.data("mosaic_cov") > 3
    assert np.median(work.data("mosaic_var")[seen] / work.data("mosaic_unc")[seen] ** 2) < 0.8


def test_uncertainties_scaled_to_the_scatter(work, tmp_path, mopex):
    """The ratio is told; with the key, uncertainties and variance get it, image and scatter stay."""
    other = copied(work, tmp_path, mopex)
    log = other.task("mosaic_combiner")
    told = float(re.search(r"scatter of the frames over their uncertainty, in the sky: (\d\.\d+)", log)[1])
    assert 2 < told < 4  # offsets of 20e-3 MJy/sr rms are left in the frames, whose noise is 8e-3
    plain = {name: other.data(name) for name in MOSAICS[:7]}
    log = other.task("mosaic_combiner", "MOSAICCOMBINER.Scale_Uncertainties=1")
    assert "by which the uncertainties are multiplied" in log
    for name in ("mosaic", "mosaic_cov", "mosaic_std", "median_mosaic"):
        assert np.array_equal(other.data(name), plain[name], equal_nan=True)
        assert "UNCSCALE" not in other.header(name)
    for name in ("mosaic_unc", "median_mosaic_unc"):
        np.testing.assert_allclose(other.data(name), told * plain[name], rtol=1e-3)
        assert other.header(name)["UNCSCALE"] == pytest.approx(told, abs=5e-4)
    factor = other.header("mosaic_var")["UNCSCALE"]
    np.testing.assert_allclose(other.data("mosaic_var"), factor * plain["mosaic_var"], rtol=1e-5)
    assert factor > told**2  # the true variance is smaller than the uncertainty of the legacy rule
    assert "NOISECOR" in other.header("mosaic_var")


def test_outlier_mosaics(work):
    out = work.folder / "out"
    sums, weights = np.zeros(work.data("mosaic").shape), np.zeros(work.data("mosaic").shape)
    signs = sums.copy()
    for image in work.images:
        base = Path(image).stem
        path = out / "Interp-mosaic" / f"interp_{base}.fits"
        header, cov = fits.getheader(path), fits.getdata(str(path).replace(".fits", "_covg.fits"))
        rows = slice(header["MINTOFFY"], header["MINTOFFY"] + header["NAXIS2"])
        place = rows, slice(header["MINTOFFX"], header["MINTOFFX"] + header["NAXIS1"])
        values = fits.getdata(out / "Outlier-mosaic" / f"interp_{base}_outlier.fits")
        labels = fits.getdata(out / "DualOutlier-mosaic" / f"proj_{base}_detmap_dual_outlier.fits")
        good = np.isfinite(values) & (cov > 0)
        sums[place] += np.where(good, cov * values, 0)
        weights[place] += np.where(good, cov, 0)
        signs[place] += np.where(cov > 0, cov * np.sign(labels), 0)
    seen = weights > 0
    np.testing.assert_allclose(
        work.data("mosaic_outlier")[seen], sums[seen] / weights[seen], rtol=1e-4, atol=1e-4
    )
    np.testing.assert_allclose(work.data("mosaic_dual_outlier")[seen], signs[seen] / weights[seen], atol=1e-5)
    assert signs.min() < 0 < signs.max()
    for folder, tile in (("Outlier-mosaic", "outlier"), ("DualOutlier-mosaic", "dual_outlier")):
        assert list(read_table(str(out / folder / "tiles.tbl")).column("name")) == [
            f"{tile}_Tile_1_Image.fits"
        ]
        assert (out / folder / "tile_bcd.txt").read_text().startswith("1 12 0 1 2")


def test_rmask_mosaic_shows_the_masks(work):
    found = work.data("RmaskMosaic-mosaic/mosaic.fits")
    assert sorted(path.name for path in (work.folder / "out" / "RmaskMosaic-mosaic").iterdir()) == [
        "mosaic.fits"
    ]
    masks = [work.data(f"Rmask-mosaic/{Path(image).stem}_rmask.fits") for image in work.images]
    mean = np.mean([mask.mean() for mask in masks])
    assert mean > 0.01
    assert np.nanmean(found) == pytest.approx(mean, rel=0.2)
    assert np.nanmax(found) > 1


def copied(work, tmp_path, mopex):
    """A copy of the folder, to change products."""
    return Work(shutil.copytree(work.folder, tmp_path / "work"), mopex)


def namelist_without(work, key):
    text = (work.folder / "out" / "mosaic_I1.nl").read_text()
    kept = re.sub(rf"(?m)^ *{key} *=.*\n", "", text)
    assert kept != text
    (work.folder / "out" / "mosaic_I1.nl").write_text(kept)


@pytest.mark.parametrize("old", [False, True])
def test_exposure_weights_and_their_map(work, tmp_path, mopex, old):
    """USE_INT_TIME_KWD = 1, or, in an old namelist without this key, INTEG_TIME_KWD alone."""
    other = copied(work, tmp_path, mopex)
    if old:
        namelist_without(other, "USE_INT_TIME_KWD")
    words = ["MOSAICCOADDIN.INTEG_TIME_KWD=MYTIME", *([] if old else ["MOSAICCOADDIN.USE_INT_TIME_KWD=1"])]
    other.task("mosaic_coadder", *words)
    other.task("mosaic_combiner", *words)
    expected = coadd(other.stack(), weights=10.0 + np.arange(12))
    np.testing.assert_allclose(other.data("mosaic"), expected.image, rtol=1e-6)
    np.testing.assert_allclose(other.data("mosaic_exp"), expected.exposure, rtol=1e-6)
    assert other.header("mosaic_exp")["BUNIT"] == "s"
    assert not np.array_equal(other.data("mosaic"), work.data("mosaic"), equal_nan=True)


def test_a_keyword_alone_is_not_a_switch_if_there_is_one(work, tmp_path, mopex):
    other = copied(work, tmp_path, mopex)
    other.task("mosaic_coadder", "MOSAICCOADDIN.INTEG_TIME_KWD=MYTIME")
    assert not (other.folder / "out" / "Coadd-mosaic" / "coadd_Tile_1_Exp_Cov.fits").exists()


def test_inverse_variance_weights(work, tmp_path, mopex):
    other = copied(work, tmp_path, mopex)
    other.task("mosaic_coadder", "sigma_weighted_coadd=1")
    expected = coadd(other.stack(), sigma_weighted=True)
    image = other.data("Coadd-mosaic/coadd_Tile_1_Image.fits")
    np.testing.assert_allclose(image, expected.image, rtol=1e-6)
    assert not np.array_equal(image, work.data("mosaic"), equal_nan=True)


def test_weights_and_variance_need_uncertainties(work):
    log = work.drive(
        "have_uncertainties=0", "sigma_weighted_coadd=1", "create_var_mosaic=1", out="no", status=2
    )
    assert "sigma_weighted_coadd = 1: no uncertainties are given" in log
    assert "create_var_mosaic = 1: no uncertainties are given" in log


def test_first_and_last_epoch(work, tmp_path, mopex):
    other = copied(work, tmp_path, mopex)
    log = other.task("mosaic_coadder", "MOSAICCOADDIN.Epoch_Gap=100")
    assert "2 epochs; 6 frames in the first, 6 in the last" in log
    other.task("mosaic_combiner", "MOSAICCOADDIN.Epoch_Gap=100")
    covered = [other.data(f"mosaic_epoch{n}_cov") for n in (1, 2)]
    np.testing.assert_allclose(covered[0] + covered[1], other.data("mosaic_cov"), rtol=1e-5, atol=1e-6)
    means = [np.nan_to_num(other.data(f"mosaic_epoch{n}").astype(float)) for n in (1, 2)]
    both = (means[0] * covered[0] + means[1] * covered[1])[other.data("mosaic_cov") > 0]
    whole = (other.data("mosaic") * other.data("mosaic_cov"))[other.data("mosaic_cov") > 0]
    np.testing.assert_allclose(both, whole, rtol=1e-4, atol=1e-4)
    assert (covered[0] > 0).sum() > 1000
    assert (covered[1] > 0).sum() > 1000


def test_one_epoch_gives_no_mosaics_of_epochs(work, tmp_path, mopex):
    other = copied(work, tmp_path, mopex)
    log = other.task("mosaic_coadder", "MOSAICCOADDIN.Epoch_Gap=500")
    assert "no two frames in a row are more than 500 days apart" in log
    other.task("mosaic_combiner", "MOSAICCOADDIN.Epoch_Gap=500")
    assert not (other.folder / "out" / "Combine-mosaic" / "mosaic_epoch1.fits").exists()


def test_drizzle_takes_two_passes(work):
    """Outliers are found on frames interpolated by area overlap; the frames are then drizzled without them."""
    drizzle = ("MOSAICINTIN.INTERP_METHOD=2", "MOSAICINTIN.DRIZ_FAC=0.7")
    log = work.drive(*drizzle, "create_var_mosaic=1", out="drizzled", pipeline="mosaic")
    assert log.count("run_mosaic_reinterp = 1 is not needed with drizzle or grid") == 1
    assert log.count("bin/mopex mosaic_reinterp") == 1
    base = Path(work.images[0]).stem
    first, second = (
        fits.getheader(work.folder / "drizzled" / folder / f"interp_{base}.fits")
        for folder in ("Interp-mosaic", "Reinterp-mosaic")
    )
    assert (first["INTERP_M"], second["INTERP_M"], second["DRIZ_FAC"]) == (1, 2, 0.7)
    for image in work.images:
        name = f"Rmask-mosaic/{Path(image).stem}_rmask.fits"
        assert np.array_equal(work.data(name), work.data(name, "drizzled"))  # found on the same first pass
    assert work.header("mosaic", "drizzled")["DRIZ_FAC"] == 0.7
    ratio = (
        work.data("mosaic_cov", "drizzled")[20:-20, 20:-20].sum()
        / work.data("mosaic_cov")[20:-20, 20:-20].sum()
    )
    assert ratio == pytest.approx(0.49, abs=0.02)
    assert work.header("mosaic_var", "drizzled")["NOISECOR"] < work.header("mosaic_var")["NOISECOR"]

    # the switch of Mosaic Reinterpolate does not matter
    log = work.drive(*drizzle, "run_mosaic_reinterp=0", out="again")
    assert "not needed" not in log
    assert np.array_equal(work.data("mosaic", "again"), work.data("mosaic", "drizzled"), equal_nan=True)

    # the masks given: one pass, the same mosaic
    off = (
        "mosaic_outlier",
        "mosaic_box_outlier",
        "mosaic_dual_outlier",
        "level",
        "mosaic_rmask",
        "mosaic_reinterp",
    )
    switches = [f"run_{name}=0" for name in off]
    work.drive(*drizzle, *switches, "-R", "drizzled/Rmask-mosaic/rmask_images.txt", out="given")
    assert not (work.folder / "given" / "Reinterp-mosaic").exists()
    assert np.array_equal(work.data("mosaic", "given"), work.data("mosaic", "drizzled"), equal_nan=True)


def test_given_masks_stay_in_the_new_ones(work, tmp_path):
    """RMASK_LIST with the outlier modules on: what it rejects is left out of both passes."""
    masks = []
    for image in work.images:
        mask = np.zeros((96, 96), "i2")
        mask[30:40, 30:40] = 2
        masks.append(tmp_path / f"{Path(image).stem}_given.fits")
        fits.writeto(masks[-1], mask)
    (tmp_path / "masks.txt").write_text("".join(f"{path}\n" for path in masks))
    work.drive("-R", tmp_path / "masks.txt", out="masked")
    base = Path(work.images[3]).stem
    new = work.data(f"Rmask-mosaic/{base}_rmask.fits", "masked")
    assert (new[30:40, 30:40] & 2 == 2).all()
    for folder in ("Interp-mosaic", "Reinterp-mosaic"):
        less, more = (
            fits.getdata(work.folder / out / folder / f"interp_{base}_covg.fits").sum()
            for out in ("masked", "out")
        )
        assert more - less > 60  # of 100 pixels, some were rejected anyway


def test_tiles_of_any_size_give_the_same_mosaics(work):
    small = [f"{block}.TILEMAX_{axis}=64" for block in ("MOSAICCOADDIN", "MOSAICCOVGIN") for axis in "XY"]
    blocks = ("MOSAICOUTLIERIN", "MOSAICDUALOUTLIERIN", "MOSAICBOXOUTLIERIN")
    small += [f"{block}.TILE_{axis}SIZ=64" for block in blocks for axis in "XY"]
    work.drive(*ALL, *small, out="small")
    assert len(list((work.folder / "small" / "Coadd-mosaic").glob("coadd_Tile_*_Image.fits"))) > 8
    for name in MOSAICS:
        assert np.array_equal(work.data(name, "small"), work.data(name), equal_nan=True), name
    for image in work.images:
        name = f"Rmask-mosaic/{Path(image).stem}_rmask.fits"
        assert np.array_equal(work.data(name, "small"), work.data(name)), name


def test_tiles_of_any_size_with_weights_and_epochs(work, tmp_path, mopex):
    """One tile and many, of which some see no frame, bit for bit."""
    other, made = copied(work, tmp_path, mopex), {}
    keys = ("USE_INT_TIME_KWD=1", "INTEG_TIME_KWD=MYTIME", "Epoch_Gap=100", "Trim_Fraction=0.3")
    words = [f"MOSAICCOADDIN.{key}" for key in keys] + ["sigma_weighted_coadd=1"]
    for size in (2000, 24):
        shutil.rmtree(other.folder / "out" / "Combine-mosaic")
        tiles = [f"MOSAICCOADDIN.TILEMAX_{axis}={size}" for axis in "XY"]
        for task in ("mosaic_coadder", "mosaic_combiner"):
            other.task(task, *words, *tiles)
        names = {path.stem for path in (other.folder / "out" / "Combine-mosaic").glob("*.fits")}
        made[size] = {name: other.data(name) for name in names}
    assert {"mosaic_exp", "mosaic_epoch1", "mosaic_epoch2_cov", "trimmed_mosaic"} <= set(made[24])
    assert set(made[24]) == set(made[2000])
    assert not made[24]["mosaic_cov"][:20, :20].any()  # a tile without frames
    for name, image in made[2000].items():
        assert np.array_equal(image, made[24][name], equal_nan=True), name


@pytest.mark.parametrize("keep", [0, 1])
def test_tiles_and_correction_images_are_deleted_if_asked(work, keep):
    """Intermediate images go in both cases; tiles and array-location correction images by their own keys."""
    fits.writeto(work.folder / "corr.fits", np.ones((96, 96), "f4"), overwrite=True)
    correction = ("make_array_corr_files=1", "make_array_corr_mosaic=1", "ARRAY_CORR_IMAGE=corr.fits")
    keys = (f"keep_coadded_tiles={keep}", f"delete_intermediate_files_array_corr={1 - keep}")
    out = f"keep{keep}"
    more = ("delete_intermediate_files=1", "run_median_mosaic=1", "MOSAICCOADDIN.TILEMAX_X=100")
    log = work.drive(*more, *keys, *correction, *QUICK, out=out)
    folder = work.folder / out
    tiles = list((folder / "Coadd-mosaic").glob("*Tile_*.fits"))
    assert len(tiles) == (12 if keep else 0), tiles
    assert ("deleted 12 co-added tiles" in log) == (not keep)
    assert not list((folder / "Interp-mosaic").glob("*.fits"))
    images = list((folder / "ArrayCorr-mosaic").glob("arraycorr_SPITZER*.fits"))
    assert len(images) == (12 if keep else 0)
    assert np.nanmedian(work.data("mosaic_arraycorr", out)) == pytest.approx(1, abs=0.01)
    assert np.isfinite(work.data("median_mosaic", out)).any()


def test_flow_keeps_the_tiles_for_apex():
    """APEX detects on the tiles: behind Mosaic they stay, whatever the key says."""
    from pymopex.kit import flow

    told = []
    original = flow.drive, flow._check_flow, flow._links
    try:
        flow.drive = lambda name, tasks, command, reports: told.append((name, command.overrides)) or True
        flow._check_flow = lambda command: [(f"{name}.nl", name) for name in command.namelists]
        flow._links = lambda *_: {}
        flow.flow(flow.Command(["mosaic", "apex"], {"keep_coadded_tiles": "0"}))
        flow.flow(flow.Command(["mosaic"], {"keep_coadded_tiles": "0"}))
    finally:
        flow.drive, flow._check_flow, flow._links = original
    assert [overrides["keep_coadded_tiles"] for name, overrides in told if name == "mosaic"] == ["1", "0"]


@pytest.mark.parametrize("flag", ["--like", "--like="])
def test_grid_like_an_image(work, flag):
    """A turned image of other pixels, with a CD matrix: the mosaic has its pixels, whatever the namelist says."""
    like, centre = work.folder / "like.fits", WCS(work.header("mosaic")).wcs.crval
    c, s = np.cos(np.radians(40)) / 3600, np.sin(np.radians(40)) / 3600
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 41.0, "CRPIX2": 20.0})
    header.update({"CRVAL1": centre[0], "CRVAL2": centre[1]})
    header.update({"CD1_1": -c, "CD1_2": -1.5 * s, "CD2_1": -s, "CD2_2": 1.5 * c})
    fits.writeto(like, np.zeros((50, 90), "f4"), header, overwrite=True)
    words = [flag + "like.fits"] if flag.endswith("=") else [flag, "like.fits"]
    work.drive(*words, *QUICK, out="like")
    assert work.data("mosaic", "like").shape == (50, 90)
    x, y = np.array([0.0, 89.0, 30.0]), np.array([0.0, 10.0, 49.0])
    there, here = (
        WCS(head).pixel_to_world(x, y) for head in (fits.getheader(like), work.header("mosaic", "like"))
    )
    assert there.separation(here).arcsec.max() < 1e-3
    assert np.isfinite(work.data("mosaic", "like")).mean() > 0.5


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("--like", "none.fits"), "none.fits: no such file"),
        (("--like", "bcd_skew.fits"), r"bcd_skew.fits \(Like_Image\): its coordinates cannot be told"),
        (("FIDUCIALIMAGEFRAMEIN.Centre_RA=10",), "Centre_RA and Centre_Dec must be given together"),
        (("--like", "pmask.fits", "Size_X=10", "Size_Y=10"), "Size_X and Like_Image are both given"),
    ],
)
def test_grids_that_cannot_be_had_are_refused(work, words, reason):
    header = fits.getheader(work.folder / work.images[0])  # with distortion
    fits.writeto(work.folder / "bcd_skew.fits", np.zeros((96, 96)), header, overwrite=True)
    assert re.search(reason, work.drive(*words, *QUICK, out="refused", status=2))
    assert not (work.folder / "refused").exists()


def test_grid_round_a_position(work):
    centre = WCS(work.header("mosaic")).wcs.crval
    block = "FIDUCIALIMAGEFRAMEIN"
    at = (f"{block}.Centre_RA={centre[0]}", f"{block}.Centre_Dec={centre[1]}", "Size_X=60", "Size_Y=36.61")
    work.drive(*at, *QUICK, out="at")
    header = work.header("mosaic", "at")
    assert (header["NAXIS1"], header["NAXIS2"]) == (50, 31)  # of 1.2204 arcsec
    middle = WCS(header).wcs_pix2world([[(header["NAXIS1"] - 1) / 2, (header["NAXIS2"] - 1) / 2]], 0)[0]
    assert middle == pytest.approx(centre, abs=1e-7)


def test_one_grid_for_several_channels(work):
    """The frames of all channels in one list give the frame; each channel then runs on it."""
    (work.folder / "part1.txt").write_text("\n".join(work.images[:6]) + "\n")
    with contextlib.chdir(work.folder):
        words = ("IMAGE_STACK_FILE_NAME=images.txt", "SIGMALIST_FILE_NAME=", "DCE_STATUS_MASK_LIST=")
        status, log = work._mopex(
            "fiducial_image_frame", "mosaic_I1.nl", *words, "PMASK_FILE_NAME=", "OUTPUT_DIR=grid"
        )
    assert status == 0, log
    for part, chosen in (("a", work.images[:6]), ("b", work.images[6:])):
        (work.folder / f"{part}.txt").write_text("\n".join(chosen) + "\n")
        lists = (f"IMAGE_STACK_FILE_NAME={part}.txt", "have_uncertainties=0", "DCE_STATUS_MASK_LIST=")
        grid = ("FIF_FILE_NAME=grid/FIF.tbl", "run_fiducial_image_frame=0")
        work.drive(*lists, *grid, *QUICK, out=part)
    assert work.data("mosaic", "a").shape == work.data("mosaic", "b").shape == work.data("mosaic").shape
    keys = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CDELT1", "CROTA2")
    heads = [work.header("mosaic", out) for out in ("a", "b", "out")]
    assert len({tuple(head[key] for key in keys) for head in heads}) == 1


@pytest.mark.parametrize("slopes", [0, 1])
def test_quick_look_of_the_corrected_frames(work, slopes):
    """What the overlap correction adds to the frames is added to the interpolated ones: the same mosaic."""
    out, later = f"quick{slopes}", f"slow{slopes}"
    words = ["mosaic_corrected_images=1", "MOSAIC_IMG_FILE_NAME=quick.fits", "MOSAICCOADDIN.TILEMAX_X=100"]
    words += [f"Fit_Slopes={slopes}", "mask_bright=0"]
    work.drive(*words, out=out, pipeline="overlap", namelist="overlap_I1.nl")
    folder = work.folder / out
    names = {"coadd_tiles.tbl", "coadd_tile_bcd.txt", "coadd_Tile_2_Image.fits", "coadd_Tile_2_Cov.fits"}
    assert names <= {path.name for path in (folder / "Coadd-overlap").iterdir()}
    table = read_table(str(folder / "Overlap_corr" / "offsets.tbl"))
    assert ("slope_x" in table.columns) == bool(slopes)
    corrected = f"IMAGE_STACK_FILE_NAME={out}/Overlap_corr/correct_images.txt"
    work.drive(corrected, *QUICK, out=later)
    quick, slow = fits.getdata(folder / "quick.fits"), work.data("mosaic", later)
    inside = work.data("mosaic_cov", later) > 1
    assert np.array_equal(np.isnan(quick), np.isnan(slow))
    assert np.nanmax(np.abs(quick - slow)[inside]) < 2e-4
    assert np.nanmax(np.abs(quick - work.data("mosaic", later))) < 5e-3  # the edge of a frame with a slope
