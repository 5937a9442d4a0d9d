"""Fix Coverage, and the co-addition with its maps."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.coverage import fixed_coverage


def made(folder, base):
    return fits.getdata(folder / f"Interp-mosaic/fixed_covg_{base}.fits")


@pytest.fixture(scope="module")
def copy(field, tmp_path_factory):
    return field.copy(tmp_path_factory.mktemp("covg") / "work")


@pytest.fixture(scope="module")
def bases(copy):
    return [path.stem for path in sorted((copy / "out/Overlap_corr").glob("correct_*.fits"))]


def test_maps_of_the_second_interpolation(copy, bases):
    out = copy / "out"
    for base in bases:
        before = fits.getdata(out / f"Reinterp-mosaic/interp_{base}_covg.fits")
        np.testing.assert_array_equal(made(out, base), fixed_coverage(before, 0.95, 0.83))
        assert 0 < np.count_nonzero(made(out, base)) < np.count_nonzero(before)


def test_maps_of_the_only_interpolation(copy, bases, mopex):
    words = ("run_mosaic_reinterp=0", "Min_Single_Coverage=0.5", "Min_Block_Coverage=0")
    with contextlib.chdir(copy):
        status, log = mopex("fix_coverage", "out/mosaic_I1.nl", *words)
        assert status == 0, log
        before = fits.getdata(f"out/Interp-mosaic/interp_{bases[0]}_covg.fits")
        np.testing.assert_array_equal(made(Path("out"), bases[0]), np.where(before < 0.5, 0, before))
        assert mopex("fix_coverage", "out/mosaic_I1.nl")[0] == 0


def test_co_addition_uses_them_on_request_only(copy, field, mopex):
    with contextlib.chdir(copy):
        status, log = mopex("mosaic_coadder", "out/mosaic_I1.nl", "use_fixed_coverage=1", "COADDER_DIR=fixed")
        assert status == 0, log
        cov = fits.getdata("out/fixed/coadd_Tile_1_Cov.fits")
        image = fits.getdata("out/fixed/coadd_Tile_1_Image.fits")
    plain = fits.getdata(field.out / "Coadd-mosaic/coadd_Tile_1_Cov.fits")
    total = np.zeros_like(plain)
    from pymopex.kit.ipac import read_table

    table = read_table(str(copy / "out/Reinterp-mosaic/interp_correct_images.txt.tbl"))
    columns = [table.column(key) for key in ("name", "offset_x", "offset_y", "nx", "ny")]
    for name, x, y, nx, ny in zip(*columns, strict=True):
        base = str(name).removeprefix("interp_").removesuffix(".fits")
        total[y : y + ny, x : x + nx] += made(copy / "out", base)
    np.testing.assert_allclose(cov, total, atol=1e-4)
    assert cov.sum() < plain.sum()
    assert np.isnan(image[cov == 0]).all()


def test_asking_for_maps_that_nothing_makes(few, mopex):
    lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *lists, "use_fixed_coverage=1")
    assert status == 2
    told = "command line: use_fixed_coverage = 1, and Fix Coverage (run_fix_coverage) is off"
    assert f"Error: {told}" in log
    assert not Path("out").exists()


def test_wrong_value(few, mopex):
    status, log = mopex("fix_coverage", "mosaic_I1.nl", "Min_Block_Coverage=-1")
    assert status == 2
    assert "FIX_COVERAGE.Min_Block_Coverage = -1: too small; allowed: a number from 0 to 1000" in log
