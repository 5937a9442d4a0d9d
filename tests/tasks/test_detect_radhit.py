"""Detect Radhit: the bit in new masks, in the input masks, and in the modules behind."""

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

IMAGES = ("-I", "images.txt", "-S", "sigmas.txt", "-O", "out")
LISTS = (*IMAGES, "-d", "masks.txt")
HIT = (slice(60, 61), slice(30, 32))  # two pixels far from any star, see `frames`


def names(kind="images"):
    return Path(f"{kind}.txt").read_text().split()


def update(path, change):
    with fits.open(path, mode="update") as hdus:
        change(hdus[0])


@pytest.fixture
def hit(few):
    """A hit in the second frame, on empty sky."""

    def change(hdu):
        data = hdu.data.copy()
        data[50:70, 20:40] = np.nanmedian(data)
        data[HIT] += 3.0
        hdu.data = data

    update(names()[1], change)
    return few


def found(mopex, *words):
    """Run MedFilter and Detect Radhit; gives the log."""
    for task in ("medfilter", "detect_radhit"):
        status, log = mopex(task, "mosaic_I1.nl", *words)
        assert status == 0, log
    return log


def test_hits_come_on_top_of_the_input_masks(hit, mopex):
    log = found(mopex, *LISTS)
    assert "4 frames, " in log
    listed = Path("out/Dmask-mosaic/dmask_images.txt").read_text().split()
    assert listed == [f"out/Dmask-mosaic/{Path(name).stem}_dmask.fits" for name in names()]
    for old, new in zip(names("masks"), listed, strict=True):
        before, after = fits.getdata(old).astype(int), fits.getdata(new).astype(int)
        assert np.array_equal(before | 512, after | 512)
    assert (fits.getdata(listed[1])[HIT] & 512 > 0).all()
    near = fits.getdata(listed[1])[50:70, 20:40].astype(int) & ~fits.getdata(names("masks")[1])[50:70, 20:40]
    assert np.count_nonzero(near & 512) == 2
    assert not (fits.getdata(names("masks")[1])[HIT] & 512).any()
    history = "\n".join(fits.getheader(listed[1])["HISTORY"])
    assert "detect_radhit" in history
    assert "Radhit_Threshold = 10" in history


def test_another_bit_and_no_input_masks(hit, mopex):
    found(mopex, *IMAGES, "DCE_Status_Mask_Radhit_Bit=4", "DCE_Status_Mask_Fatal_BitPattern=16")
    mask = fits.getdata(f"out/Dmask-mosaic/{Path(names()[1]).stem}_dmask.fits")
    assert set(np.unique(mask)) == {0, 16}
    assert (mask[HIT] == 16).all()


def test_thresholds(hit, mopex):
    found(mopex, *LISTS, "DETECT_RADHIT.Detection_Max_Area=1")
    path = f"out/Dmask-mosaic/{Path(names()[1]).stem}_dmask.fits"
    assert not (fits.getdata(path)[HIT] & 512).any()
    found(mopex, *LISTS, "Radhit_Threshold=1000")
    assert not (fits.getdata(path)[HIT] & 512).any()


def test_noise_is_measured_without_uncertainties(hit, mopex):
    found(mopex, *LISTS[:2], "-d", "masks.txt", "-O", "out")
    assert (fits.getdata(f"out/Dmask-mosaic/{Path(names()[1]).stem}_dmask.fits")[HIT] & 512 > 0).all()


def test_later_modules_leave_the_hits_out(hit, mopex):
    words = ("run_detect_radhit=1", *(f"USE_{kind}OUTLIER_FOR_RMASK=0" for kind in ("", "DUAL_", "BOX_")))
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *words)
    assert status == 0, log
    base = Path(names()[1]).stem
    assert (fits.getdata(f"out/Rmask-mosaic/{base}_rmask.fits")[HIT] & 1 > 0).all()
    minback = fits.getdata(f"out/Medfilter-mosaic/{base}_minback.fits")
    assert np.isfinite(minback[HIT]).all()  # made before the hits were known
    holes = fits.getdata(f"out/Interp-mosaic/interp_{base}_covg.fits")
    status, log = mopex("mosaic_interp", "mosaic_I1.nl", *LISTS, "run_detect_radhit=0", "INTERP_DIR=plain")
    assert status == 0, log
    plain = fits.getdata(f"out/plain/interp_{base}_covg.fits")
    assert holes.sum() < plain.sum() - 4  # two pixels of the frame are eight of the mosaic
    status, log = mopex("medfilter", "mosaic_I1.nl", *LISTS, *words)
    assert status == 0, log
    np.testing.assert_array_equal(fits.getdata(f"out/Medfilter-mosaic/{base}_minback.fits"), minback)


def test_overwriting_the_input_masks(hit, mopex):
    mask = Path(names("masks")[1])
    with fits.open(mask) as hdus:
        extra = fits.ImageHDU(np.arange(6).reshape(2, 3), name="MORE")
        fits.HDUList([*hdus, extra]).writeto("two.fits")
    os.rename("two.fits", "behind.fits")
    mask.unlink()
    mask.symlink_to(Path("behind.fits").resolve())
    before = {name: fits.getdata(name).astype(int) for name in names("masks")}
    found(mopex, *LISTS, "overwrite_dmask=1")
    assert not Path("out/Dmask-mosaic").exists()
    for name, old in before.items():
        assert np.array_equal(old | 512, fits.getdata(name).astype(int) | 512)
    assert mask.is_symlink()
    assert (fits.getdata("behind.fits")[HIT] & 512 > 0).all()
    assert fits.getdata("behind.fits", "MORE").tolist() == [[0, 1, 2], [3, 4, 5]]
    words = ("overwrite_dmask=1", "run_detect_radhit=1")
    assert mopex("fiducial_image_frame", "mosaic_I1.nl", *LISTS, *words)[0] == 0
    status, log = mopex("mosaic_interp", "mosaic_I1.nl", *LISTS, *words)
    assert status == 0, log
    base = Path(names()[1]).stem
    history = fits.getheader(f"out/Interp-mosaic/interp_{base}.fits")["HISTORY"]
    assert f"  from {mask.name}" in list(history)
    assert [path for path in Path("bcd").iterdir() if path.name.startswith(".")] == []


def test_masks_that_cannot_be_overwritten_are_named_before_work(few, mopex, monkeypatch):
    locked = os.path.realpath(names("masks")[2])
    os.chmod(locked, stat.S_IRUSR)
    access = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: path != locked and access(path, mode)
    )  # root may write
    words = ("run_detect_radhit=1", "overwrite_dmask=1")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *words)
    assert status == 2
    assert log.splitlines() == [f"Error: {locked}: cannot be written, and overwrite_dmask = 1"]
    assert not Path("out").exists()


def test_overwriting_nothing(few, mopex):
    status, log = mopex("detect_radhit", "mosaic_I1.nl", *IMAGES, "overwrite_dmask=1")
    assert status == 2
    assert "Error: command line: overwrite_dmask = 1: no status masks are given" in log


def test_contradicting_thresholds(few, mopex):
    words = ("run_detect_radhit=1", "Segmentation_Threshold=5", "Radhit_Threshold=4")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *words)
    assert status == 2
    told = "DETECT_RADHIT: Radhit_Threshold = 4.0 must not be below Segmentation_Threshold = 5.0"
    assert f"Error: command line: {told}" in log


def test_a_bit_that_is_not_fatal_draws_a_warning(hit, mopex):
    log = found(mopex, *LISTS, "DCE_Status_Mask_Fatal_BitPattern=256")
    told = "DCE_Status_Mask_Fatal_BitPattern = 256 lacks bit 9 (512): the hits found are marked, but stay"
    assert f"Warning: command line: {told}" in log


def test_without_medfilter(few, mopex):
    status, log = mopex("detect_radhit", "mosaic_I1.nl", *LISTS)
    assert status == 2
    assert "minback.fits: missing, and detect_radhit needs it; run medfilter first" in log
