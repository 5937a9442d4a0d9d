"""With a limit of the memory tiles are smaller, and the mosaic is the same."""

from pathlib import Path

import numpy as np
from astropy.io import fits
from pymopex.kit import layers

LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "do_multiprocess=off", "create_report=0")


def test_smaller_tiles_make_the_same_mosaic(few, mopex, monkeypatch):
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, "-O", "out")
    assert status == 0, log
    assert "GB that are free" in log
    monkeypatch.setattr(layers, "_LEAST_ROOM", 1e6)
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, "-O", "tight", "--memory", "200MB")
    assert status == 0, log
    for part in ("mosaic", "mosaic_unc", "mosaic_cov", "mosaic_std"):
        plain, tight = (fits.getdata(f"{out}/Combine-mosaic/{part}.fits") for out in ("out", "tight"))
        np.testing.assert_array_equal(plain, tight)
    count = [len(list(Path(out).glob("Coadd-mosaic/coadd_Tile_*_Image.fits"))) for out in ("out", "tight")]
    assert count[0] < count[1]


def test_memory_that_is_no_size(few, mopex):
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, "--memory", "much")
    assert status == 2
    assert "Memory" in log
