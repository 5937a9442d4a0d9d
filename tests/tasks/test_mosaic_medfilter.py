"""Mosaic MedFilter by its command line."""

import contextlib

import numpy as np
from astropy.io import fits
from pymopex.background import MedianWindow, background

HOW = ("Use_Sbkg_for_Med=0", "Window_X=21", "Window_Y=21", "N_Outliers_Per_Window=40")


def test_mosaic_minus_its_background(field, mopex, tmp_path):
    mosaic, header = fits.getdata(field.out / "Combine-mosaic/mosaic.fits", header=True)
    made, made_header = fits.getdata(field.out / "Combine-mosaic/mosaic_minback.fits", header=True)
    assert np.array_equal(np.isnan(made), np.isnan(mosaic))
    assert abs(np.nanmedian(made)) < 0.1 * abs(np.nanmedian(mosaic))
    assert made_header["CRPIX1"] == header["CRPIX1"]
    work = field.copy(tmp_path / "work")
    with contextlib.chdir(work):
        words = [f"MOSAIC_MEDFILTER.{word}" for word in HOW]
        status, log = mopex("mosaic_medfilter", "out/mosaic_I1.nl", *words)
        assert status == 0, log
        again = fits.getdata("out/Combine-mosaic/mosaic_minback.fits")
    how = MedianWindow(21, 21, 40)
    np.testing.assert_allclose(again, mosaic - background(mosaic, np.isnan(mosaic), how), atol=1e-6)


def test_a_window_that_contradicts_itself(few, mopex):
    words = [f"MOSAIC_MEDFILTER.{word}" for word in ("Window_X=5", "Window_Y=5", "Use_Sbkg_for_Med=0")]
    status, log = mopex("mosaic_medfilter", "mosaic_I1.nl", *words)
    assert status == 2
    assert "MOSAIC_MEDFILTER: N_Outliers_Per_Window = 500 must be at least 0 and below the 25 pixels" in log


def test_without_a_mosaic(few, mopex):
    status, log = mopex("mosaic_medfilter", "mosaic_I1.nl", "-O", "out")
    assert status == 2
    assert "mosaic.fits: missing, and mosaic_medfilter needs it; run mosaic_combiner first" in log
