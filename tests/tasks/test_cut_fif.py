"""A grid cut into tiles, and the mosaic made of tiles by jobs."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table

SCRIPT = Path(__file__).parents[2] / "scripts" / "batch_tiles.sh"
LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "do_multiprocess=off")


def batch(*words):
    return subprocess.run([str(SCRIPT), *words], capture_output=True, text=True, check=False)


@pytest.fixture
def grid(few, mopex):
    """The folder of four frames, with the grid that holds them."""
    status, log = mopex(
        "fiducial_image_frame", "mosaic_I1.nl", "IMAGE_STACK_FILE_NAME=images.txt", "OUTPUT_DIR=."
    )
    assert status == 0, log
    return few


def test_tiles_lie_on_the_pixels_of_the_grid(grid, mopex):
    size = ("MOSAIC_PIXEL_SIZE_X=-2e-4", "MOSAIC_PIXEL_SIZE_Y=2e-4")
    status, log = mopex(
        "cut_fif", "FIF_FILE_NAME=FIF.tbl", "OUTPUT_DIR=W", "Tile_Size=150", "Tile_Margin=9", *size
    )
    assert status == 0, log
    whole, index = read_fif("W/grid.tbl"), read_table("W/tiles.tbl")
    seen = np.zeros(whole.shape, int)
    for number, (x0, y0) in enumerate(
        zip(index.column("offset_x"), index.column("offset_y"), strict=True), 1
    ):
        core, job = read_fif(f"W/core_{number}.tbl"), read_fif(f"W/job_{number}.tbl")
        assert (core.crpix1, core.crpix2) == (whole.crpix1 - x0, whole.crpix2 - y0)
        assert job.naxis1 - core.naxis1 in (9, 18)
        assert job.cdelt1 == core.cdelt1 == whole.cdelt1 == -2e-4
        seen[y0 : y0 + core.naxis2, x0 : x0 + core.naxis1] += 1
    assert (seen == 1).all()


def test_without_a_grid(grid, mopex):
    status, log = mopex("cut_fif", "OUTPUT_DIR=W")
    assert status == 2
    assert "FIF_FILE_NAME: no fiducial image frame is given" in log


def test_jobs_make_the_mosaic_of_one_run(grid, mopex):
    status, log = mopex(
        "drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, "-F", "FIF.tbl", "-O", "out", "create_report=0"
    )
    assert status == 0, log
    whole = fits.getdata("out/Combine-mosaic/mosaic.fits")
    cut = batch("cut", "W", str(whole.shape[1] * 2 // 3), "FIF.tbl", "mosaic_I1.nl", *LISTS)
    assert cut.returncode == 0, cut.stdout + cut.stderr
    assert batch("combine", "W").returncode == 2  # nothing is made yet
    made = batch("local", "W", "2")
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-2000:]
    assert len(Path("W/jobs.txt").read_text().split()) > 1
    tiled, noise = fits.getdata("W/mosaic.fits"), fits.getdata("W/mosaic_unc.fits")
    assert (np.isnan(tiled) == np.isnan(whole)).mean() > 0.999
    known = np.isfinite(tiled) & np.isfinite(whole)
    assert (np.abs(tiled - whole)[known] < 1e-3 * noise[known]).mean() > 0.97
    again = batch("job", "W", "1")
    assert again.returncode == 0
    assert "is there" in again.stdout
