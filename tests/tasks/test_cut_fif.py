"""A grid cut into tiles, and the mosaic made of tiles by jobs."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.geometry import Box
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table
from pymopex.kit.layers import placed_on

SCRIPT = Path(__file__).parents[2] / "scripts" / "batch_tiles.sh"
LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "do_multiprocess=off")
FEW = ("create_unc_mosaic=0", "create_std_mosaic=0")


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


@pytest.fixture
def strip(tiny, tmp_path, monkeypatch, mopex):
    """Ten frames in a row, each half on the next; the working directory. Stars stand in one frame: outliers."""
    monkeypatch.chdir(tmp_path)
    lists = {kind: (tiny / f"{kind}.txt").read_text().split() for kind in ("images", "sigmas", "masks")}
    for kind, names in lists.items():
        made = [f"{kind}_{i}.fits" for i in range(10)]
        for i, name in enumerate(made):
            data, header = fits.getdata(tiny / names[i % 4], header=True)
            header.update(
                CRVAL1=150 + i * 24 * 3.39e-4, CRVAL2=0.0, CD1_1=-3.39e-4, CD1_2=0, CD2_1=0, CD2_2=3.39e-4
            )
            fits.writeto(name, data, header)
        Path(f"{kind}.txt").write_text("\n".join(made) + "\n")
    shutil.copy(tiny / "mosaic_I1.nl", ".")
    words = ("IMAGE_STACK_FILE_NAME=images.txt", "OUTPUT_DIR=.")
    status, log = mopex("fiducial_image_frame", "mosaic_I1.nl", *words)
    assert status == 0, log


def test_jobs_make_the_mosaic_of_one_run(strip, mopex):
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *FEW, "-F", "FIF.tbl", "-O", "out")
    assert status == 0, log
    whole = fits.getdata("out/Combine-mosaic/mosaic.fits")
    cut = batch("cut", "W", str(whole.shape[1] // 2), "FIF.tbl", "mosaic_I1.nl", *LISTS, *FEW)
    assert cut.returncode == 0, cut.stdout + cut.stderr
    assert batch("combine", "W").returncode == 2  # nothing is made yet
    made = batch("local", "W", "2")
    assert made.returncode == 0, made.stdout[-3000:] + made.stderr[-2000:]
    assert len(Path("W/jobs.txt").read_text().split()) > 1
    assert len(Path("W/job_1_images.txt").read_text().split()) in (6, 7, 8)
    for name in ("mosaic", "mosaic_cov"):
        tiled, one = fits.getdata(f"W/{name}.fits"), fits.getdata(f"out/Combine-mosaic/{name}.fits")
        np.testing.assert_allclose(tiled, one, rtol=1e-5, atol=1e-7, err_msg=name)
        assert (tiled == one)[np.isfinite(one)].mean() > 0.999
    again = batch("job", "W", "1")
    assert again.returncode == 0
    assert "is there" in again.stdout


def test_a_job_has_whole_frames_and_all_that_overlap_them(strip, mopex):
    """On the grid of the mosaic, from the frames' places: lists, and the frame of the job."""
    words = ("IMAGE_STACK_FILE_NAME=images.txt", "FIF_FILE_NAME=FIF.tbl", "Tile_Size=40", "Tile_Margin=0")
    for folder, whole in (("W", 1), ("V", 0)):
        status, log = mopex(
            "cut_fif", "mosaic_I1.nl", *words, f"OUTPUT_DIR={folder}", f"Whole_Frames={whole}"
        )
        assert status == 0, log
    grid = read_fif("W/grid.tbl")
    names = Path("images.txt").read_text().split()
    boxes = [placed_on(grid, name, False).box for name in names]
    for number in range(1, len(read_table("W/tiles.tbl")) + 1):
        core, job = (_box(read_fif(f"W/{kind}_{number}.tbl"), grid) for kind in ("core", "job"))
        on = [box for box in boxes if box.intersect(core)]
        assert all(box.intersect(job) == box for box in on)
        members = [name for name, box in zip(names, boxes, strict=True) if any(box.intersect(o) for o in on)]
        assert set(members) <= set(Path(f"W/job_{number}_images.txt").read_text().split())
        few = [name for name, box in zip(names, boxes, strict=True) if box.intersect(core)]
        assert Path(f"V/job_{number}_images.txt").read_text().split() == few
        assert read_fif(f"V/job_{number}.tbl") == read_fif(f"W/core_{number}.tbl")


def _box(frame, grid):
    return Box(
        round(grid.crpix1 - frame.crpix1), round(grid.crpix2 - frame.crpix2), frame.naxis1, frame.naxis2
    )


def test_frames_that_cannot_be_used(strip, mopex):
    words = ("IMAGE_STACK_FILE_NAME=images.txt", "FIF_FILE_NAME=FIF.tbl", "OUTPUT_DIR=W", "Tile_Size=40")
    names = Path("images.txt").read_text().split()
    Path(names[3]).write_text("no image")
    status, log = mopex("cut_fif", "mosaic_I1.nl", *words)
    assert status == 2
    assert f"{names[3]}: cannot be read as FITS" in log
    assert mopex("cut_fif", "mosaic_I1.nl", *words, "Skip_Bad_Frames=1")[0] == 0
    assert not any(names[3] in path.read_text() for path in Path("W").glob("job_*_images.txt"))
