"""Frames that cannot be used in a flow, masks and corrections of counts, quick looks with given offsets."""

import contextlib
import os
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.ipac import read_table

LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
COARSE = ("MOSAIC_PIXEL_SIZE_X=-3.39E-4", "MOSAIC_PIXEL_SIZE_Y=3.39E-4", "do_multiprocess=off")
RATIO = 3.39e-4 * 3600 / 1.22  # of the sides of the pixels
RATIO_TOLERANCE = 0.02  # of a mean over a mosaic whose rim is ragged
LOOK_TOLERANCE = 2e-5  # MJy/sr, rounding of the images


def names(kind="images"):
    return [Path(name) for name in Path(f"{kind}.txt").read_text().split()]


def offsets_table(values):
    """Write a table of offsets of the frames as a user does."""
    lines = [
        "|file                                    |offset      |",
        "|char                                    |double      |",
    ]
    lines += [f" {name.name:40s} {value:12.8f} " for name, value in zip(names(), values, strict=True)]
    Path("mine.tbl").write_text("\n".join(lines) + "\n")


def test_a_flow_goes_on_without_a_frame_that_cannot_be_used(few, mopex):
    """The lists of uncertainties and masks stay as long as they are: what belongs to a frame is found all the same."""
    names()[1].write_text("no image")
    words = (*LISTS, *COARSE, "Skip_Bad_Frames=1", "overlap_I1.nl", "mosaic_I1.nl")
    status, log = mopex("flow", *words)
    assert status == 0, log
    assert f"left out: {names()[1]}" in log
    kept = [name for i, name in enumerate(names()) if i != 1]
    masks = [Path(name).name for name in Path("out/Rmask-mosaic").glob("*_rmask.fits")]
    assert sorted(masks) == [f"correct_{name.stem}_rmask.fits" for name in kept]
    assert 2 < np.nanmax(fits.getdata("out/Combine-mosaic/mosaic_cov.fits")) < 3.01
    # each interpolated uncertainty is that of its own frame, masked by its own mask
    sigmas, dmasks = names("sigmas"), names("masks")
    for i in (0, 2, 3):
        data = fits.getdata(f"out/Interp-mosaic/interp_unc_{sigmas[i].stem}.fits")
        usable = (fits.getdata(dmasks[i]) & 32520) == 0
        assert np.nanmedian(data) == pytest.approx(np.nanmedian(fits.getdata(sigmas[i])[usable]), rel=0.01)


def test_masks_and_corrections_of_counts_are_averaged_not_summed(few, mopex):
    fits.writeto("corr.fits", np.full((96, 96), 1.05, "f4"))
    fits.writeto("area.fits", np.ones((96, 96), "f4"))
    for name in names():
        with fits.open(name, mode="update") as hdus:
            hdus[0].header["BUNIT"] = "DN"
    extra = ("create_rmask_mosaic=1", "make_array_corr_files=1", "make_array_corr_mosaic=1")
    images = ("ARRAY_CORR_IMAGE=corr.fits", "ARRAY_PIXAREA_IMAGE=area.fits")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *COARSE, *extra, *images)
    assert status == 0, log
    correction = fits.getdata("out/Combine-mosaic/mosaic_arraycorr.fits")
    assert np.nanmin(correction) == pytest.approx(1.05, abs=1e-4)
    assert np.nanmax(correction) == pytest.approx(1.05, abs=1e-4)
    seen = fits.getdata("out/RmaskMosaic-mosaic/mosaic.fits")
    masks = [fits.getdata(f"out/Rmask-mosaic/{name.stem}_rmask.fits").astype(float) for name in names()]
    depth = fits.getdata("out/covg_map.fits")
    total = np.nansum(seen * np.nan_to_num(depth))
    assert total == pytest.approx(sum(mask.sum() for mask in masks) / RATIO**2, rel=0.1)
    # the comparison on the frames, whose pixels hold more counts than those of the mosaic, takes hits alone
    assert 0.0005 < np.mean([mask > 0 for mask in masks]) < 0.03


def test_the_log_tells_what_rejection_takes_from_bright_cores(few, mopex):
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *COARSE)
    assert status == 0, log
    line = re.search(
        r"at the \d+ brightest peaks ([\d.]+) % of the core pixels are rejected, elsewhere ([\d.]+) %", log
    )
    assert float(line[1]) < 2 * float(line[2]) + 5
    assert "Warning: rejection takes" not in log
    harsh = ("FRAME_GRADIENT_TOLERANCE=0", "FRAME_THRESHOLD=4", "do_multiprocess=off")
    status, log = mopex("mosaic_rmask", "out/mosaic_I1.nl", *harsh)
    assert status == 0, log
    assert "Warning: rejection takes" in log
    status, log = mopex("mosaic_rmask", "out/mosaic_I1.nl", "Core_Peaks=0", "do_multiprocess=off")
    assert "brightest peaks" not in log
    # tiles of another size do not fit
    status, log = mopex(
        "mosaic_rmask", "out/mosaic_I1.nl", "MOSAICOUTLIERIN.TILE_XSIZ=50", "do_multiprocess=off"
    )
    assert status == 2
    assert "run mosaic_outlier" in log


def test_a_quick_look_with_given_offsets(few, mopex):
    """The frames get the constants of the table, and the mosaic is their average."""
    looks = []
    for values in ((0.0, 0.0, 0.0, 0.0), (0.25, 0.25, 0.25, 0.25)):
        offsets_table(values)
        words = ("mosaic_corrected_images=1", "OFFSETS_TABLE_IN=mine.tbl", "MOSAIC_IMG_FILE_NAME=look.fits")
        status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *LISTS, *COARSE, *words)
        assert status == 0, log
        looks.append(fits.getdata("out/look.fits").astype(float))
    added = (looks[1] - looks[0])[np.isfinite(looks[0])]
    assert np.abs(added - 0.25).max() < LOOK_TOLERANCE
    # one frame alone: where it lies, its constant comes in by its share
    offsets_table((0.4, 0.0, 0.0, 0.0))
    status, log = mopex(
        "mosaic_corrected_images", "out/overlap_I1.nl", "OFFSETS_TABLE_IN=mine.tbl", "do_multiprocess=off"
    )
    assert status == 0, log
    added = (fits.getdata("out/look.fits") - looks[0])[np.isfinite(looks[0])]
    assert added.max() == pytest.approx(0.4, abs=LOOK_TOLERANCE)  # seen by it alone
    assert added.min() == pytest.approx(0.0, abs=LOOK_TOLERANCE)
    table = read_table("mine.tbl")
    assert [os.path.basename(str(name)) for name in table.column("file")] == [name.name for name in names()]


def test_a_quick_look_needs_all_frames_in_the_table(few, mopex):
    offsets_table((0.0, 0.0, 0.0, 0.0))
    lines = Path("mine.tbl").read_text().splitlines()
    Path("mine.tbl").write_text("\n".join(lines[:-1]) + "\n")
    words = ("mosaic_corrected_images=1", "OFFSETS_TABLE_IN=mine.tbl")
    with contextlib.suppress(FileNotFoundError):
        status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *LISTS, *COARSE, *words)
    assert status == 2
    assert "mine.tbl" in log
    assert names()[3].name in log
