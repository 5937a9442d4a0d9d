"""Detection on many small tiles is that on one: no source twice, none lost, no blend torn."""

import contextlib

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.ipac import read_table
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

TILE = "TILEMAX_X=120", "TILEMAX_Y=150"
MODULES = ("detect_medfilter", "gaussnoise", "pointsourceprob", "detect")
MEDIAN = ("DETECT_MEDFILTER.Use_Sbkg_for_Med=0",)  # the mesh of the other background begins at each tile anew
THRESHOLD = ("Input_Type=image_input", "use_psp_to_detect=2", "Detection_Threshold=6")


@pytest.fixture(scope="module")
def folders(field, mopex, tmp_path_factory):
    """A copy of the products with the tiles of the mosaic, one and many, and detections on both."""
    work = field.copy(tmp_path_factory.mktemp("tiles") / "work")
    keys = (*MEDIAN, *THRESHOLD, "Output_Type=centroids_and_pixels_output")
    with contextlib.chdir(work):
        status, log = mopex("mosaic_coadder", "out/mosaic_I1.nl", "COADDER_DIR=Coadd-small", *TILE)
        assert status == 0, log
        for folder in ("mosaic", "small"):
            for task in MODULES:
                status, log = mopex(task, "out/apex_I1.nl", f"COADDER_DIR=Coadd-{folder}", *keys)
                assert status == 0, log
            for name in ("detect", "completeout"):
                (work / "out" / f"{name}.tbl").rename(work / "out" / f"{name}_{folder}.tbl")
    return work / "out"


def points(table):
    return np.column_stack([table.column("x"), table.column("y")])


def test_many_tiles_find_what_one_finds(folders):
    one, many = (read_table(str(folders / f"detect_{name}.tbl")) for name in ("mosaic", "small"))
    assert len(read_table(str(folders / "Coadd-small" / "coadd_tiles.tbl"))) > 8
    assert len(one) > 60
    apart, _ = cKDTree(points(many)).query(points(one))
    assert np.mean(apart < 0.3) > 0.95  # thresholds differ from tile to tile
    assert abs(len(many) - len(one)) < 0.06 * len(one)
    assert not cKDTree(points(many)).query_pairs(0.5)  # none twice
    close = [len(cKDTree(points(table)).query_pairs(1.5)) for table in (many, one)]
    assert abs(close[0] - close[1]) <= 2


def test_sources_and_blends_on_the_borders_are_whole(folders):
    """Within eight pixels of a border as many sources as on one tile, with as many pixels, in blends as large."""
    one, many = (read_table(str(folders / f"detect_{name}.tbl")) for name in ("mosaic", "small"))
    tiles = read_table(str(folders / "Coadd-small" / "coadd_tiles.tbl"))
    edges = [{int(v) for v in tiles.column(name) if v} for name in ("offset_x", "offset_y")]
    near = np.zeros(len(one), bool)
    for axis, values in enumerate(edges):
        for edge in values:
            near |= np.abs(points(one)[:, axis] - 0.5 - edge) < 8
    assert near.sum() >= 5
    apart, partner = cKDTree(points(many)).query(points(one)[near])
    assert np.mean(apart < 0.3) > 0.9
    same = apart < 0.3
    sizes = one.column("BlendSize")[near][same], many.column("BlendSize")[partner[same]]
    assert np.mean(sizes[0] == sizes[1]) > 0.8
    counts = [
        np.bincount(read_table(str(folders / f"completeout_{name}.tbl")).column("srcid"))
        for name in ("mosaic", "small")
    ]
    mine, other = counts[0][1:][near][same], counts[1][1:][partner[same]]
    assert np.median(np.abs(mine - other)) <= 1


def test_table_of_pixels_holds_all_pixels_of_the_listed_sources(folders):
    table = read_table(str(folders / "detect_small.tbl"))
    pixels = read_table(str(folders / "completeout_small.tbl"))
    assert set(pixels.column("srcid")) == set(table.column("srcid"))
    assert (np.diff(pixels.column("srcid")) >= 0).all()
    places = list(zip(pixels.column("x"), pixels.column("y"), strict=True))
    assert len(places) > len(set(places)) * 0.99
    mosaic = fits.getdata(folders / "Combine-mosaic" / "mosaic.fits")
    assert pixels.column("x").max() <= mosaic.shape[1]
    for number in (1, len(table)):
        own = pixels.column("srcid") == number
        i = number - 1
        assert pixels.column("value")[own].max() == pytest.approx(table.column("flux")[i], rel=1e-5)
        assert abs(np.mean(pixels.column("x")[own]) - table.column("x")[i]) < 3


def test_noise_of_the_filtered_image(field, mopex, tmp_path):
    """With its block, PSP Gaussnoise runs, and Detect divides by its maps: as many sigmas, fewer or more sources."""
    with contextlib.chdir(field.copy(tmp_path / "work")):
        keys = ("PSP_GAUSSNOISE.Window_X=45", "PSP_GAUSSNOISE.Window_Y=45", "run_psp_gaussnoise=1")
        for task in ("psp_gaussnoise", "detect"):
            status, log = mopex(task, "out/apex_I1.nl", *keys)
            assert status == 0, log
        noise = fits.getdata("out/Coadd-mosaic/coadd_Tile_1_Image_PSP_noise.fits")
        image = fits.getdata("out/Coadd-mosaic/coadd_Tile_1_Image_Filtered.fits")
        table = read_table("out/detect.tbl")
    assert np.isfinite(noise[np.isfinite(image)]).all()
    column, row = (np.rint(table.column(name)).astype(int) - 1 for name in ("x", "y"))
    ratio = image[row, column] / noise[row, column]
    assert np.nanmin(ratio) > 2  # the centre of a source of 5 sigma is near its peak
    assert len(table) != len(read_table(str(field.out / "detect_raw.tbl")))


def test_edges_and_thin_coverage_are_left_out(field, mopex, tmp_path):
    with contextlib.chdir(field.copy(tmp_path / "work")):
        status, log = mopex("detect", "out/apex_I1.nl", "DETECT.N_Edge=100", "Minimum_Coverage=5")
        assert status == 0, log
        table = read_table("out/detect.tbl")
    coverage = fits.getdata(field.out / "Combine-mosaic" / "mosaic_cov.fits")
    x, y = table.column("x"), table.column("y")
    assert len(table) > 5
    assert min(x.min(), y.min()) > 100
    assert x.max() < coverage.shape[1] - 99
    assert y.max() < coverage.shape[0] - 99
    widest = maximum_filter(np.nan_to_num(coverage), 3)
    column, row = np.rint(x).astype(int) - 1, np.rint(y).astype(int) - 1
    assert (widest[row, column] >= 5).all()
    everything = read_table(str(field.out / "detect_raw.tbl"))
    x, y = (np.rint(everything.column(name)).astype(int) - 1 for name in ("x", "y"))
    assert (widest[y, x] < 5).sum() > 10


def test_images_of_what_was_detected(field, mopex, tmp_path):
    with contextlib.chdir(field.copy(tmp_path / "work")):
        status, log = mopex("detect", "out/apex_I1.nl", "Detection_Images=1")
        assert status == 0, log
        start = "out/Coadd-mosaic/coadd_Tile_1_Image_"
        names = ("detmap", "detected", "levels", "peaks", "minback")
        labels, detected, levels, peaks, light = (fits.getdata(f"{start}{name}.fits") for name in names)
        table = read_table("out/detect_raw.tbl")
    inside = labels > 0
    np.testing.assert_array_equal(detected, np.where(inside, light, 0))
    assert (levels[inside] >= 1).all()
    assert levels.max() > 1  # blends were divided at higher levels
    assert set(np.unique(peaks[peaks != 0])) <= set(np.unique(light))
    assert (peaks != 0).sum() == len(np.unique(labels[inside]))
    np.testing.assert_allclose(np.sort(peaks[peaks != 0]), np.sort(table.column("flux")), rtol=1e-5)
    assert not (field.out / "Coadd-mosaic" / "coadd_Tile_1_Image_peaks.fits").exists()
