"""The modules against artifacts, through their command lines and their driver."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import sheets
from pymopex.kit.ipac import read_table
from pymopex.readout import trail_shape

LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out", "do_multiprocess=off")
NOISE = 0.05
"""Noise of the frames [MJy/sr]."""
OFF = ("run_fix_pulldown=0", "run_flag_latents=0")


@pytest.fixture
def eight(tmp_path, monkeypatch, mopex):
    """Eight dithered frames of a flat sky with one bright star each, 64 pixels, in a working directory."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bcd").mkdir()
    assert mopex("new", "artifacts", "I1")[0] == 0
    y, x = np.mgrid[:64, :64]
    for i in range(8):
        rng = np.random.default_rng(i)
        data = 0.1 * (i % 3) + rng.normal(0, NOISE, (64, 64))
        x0, y0 = place(i)
        data += 2000 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 2 / 0.8**2)
        write(i, data)
    return tmp_path


def place(i):
    return 10 + 6 * i, 30 + (5 * i) % 7


def write(i, data, mask=None):
    header = fits.Header({"INSTRUME": "IRAC", "CHNLNUM": 1, "FLUXCONV": 0.1257, "EXPTIME": 93.6, "AORKEY": 7})
    header.update({"EXPID": i, "SCLK_OBS": 1e9 + 100.0 * i, "MJD_OBS": 56000.0 + i / 864, "BUNIT": "MJy/sr"})
    header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRPIX1": 32.0, "CRPIX2": 32.0})
    header.update({"CRVAL1": 150.0, "CRVAL2": 2.0 + i / 300, "CD1_1": -3.4e-4, "CD2_2": 3.4e-4})
    names = {
        "images": f"bcd/f{i}_cbcd.fits",
        "sigmas": f"bcd/f{i}_cbunc.fits",
        "masks": f"bcd/f{i}_bimsk.fits",
    }
    fits.writeto(names["images"], np.asarray(data, "f4"), header, overwrite=True)
    fits.writeto(names["sigmas"], np.full(data.shape, NOISE, "f4"), header, overwrite=True)
    mask = np.zeros(data.shape, np.int16) if mask is None else mask
    fits.writeto(names["masks"], mask, header, overwrite=True)
    for kind in names:
        known = [str(p) for p in sorted(Path("bcd").glob(f"*_{Path(names[kind]).stem.split('_')[1]}.fits"))]
        Path(f"{kind}.txt").write_text("".join(f"{name}\n" for name in known))


def data_of(name):
    return fits.getdata(name).astype("f8")


def change(i, action):
    path = f"bcd/f{i}_cbcd.fits"
    before = data_of(path)
    write(i, action(before.copy()))
    return before


def run(mopex, task, *words, status=0):
    found, log = mopex(task, "artifacts_I1.nl", *LISTS, *OFF, *words)
    assert found == status, log
    return log


def check_products(product, count=8):
    table = read_table(f"out/Artifacts/{product}.tbl")
    assert len(table) == count
    listed = Path(f"out/Artifacts/{product}_images.txt").read_text().split()
    assert len(listed) == count
    assert all(Path(name).exists() for name in listed)
    return table, listed


def test_pulldown(eight, mopex):
    def pull(data):
        x, y = place(3)
        data[y + 3 :, x - 1 : x + 2] -= 0.5
        return data

    clean = change(3, pull)
    run(mopex, "fix_pulldown", "Clear_Radius=8")
    table, listed = check_products("pulldown")
    left = data_of(listed[3]) - clean
    x, y = place(3)
    assert abs(np.median(left[y + 4 :, x])) < 4 * 1.25 * NOISE / np.sqrt(20)
    assert table.column("corrected")[3] >= 3
    assert table.column("largest")[3] == pytest.approx(0.5, abs=0.1)
    for i in range(8):
        difference = data_of(listed[i]) - (clean if i == 3 else data_of(f"bcd/f{i}_cbcd.fits"))
        assert np.abs(difference).mean() < 0.1 * NOISE
    header = fits.getheader(listed[3])
    assert any("fix_pulldown" in str(card) for card in header["HISTORY"])
    assert header["EXPID"] == 3


def test_muxbleed(eight, mopex):
    """Trails of one row: its 16 readouts."""
    n = np.arange(1, 17)
    x0, y0 = place(2)
    seq = y0 * 16 + (x0 + 1) // 4 + n
    y, x = seq // 16, 4 * (seq % 16) + (x0 + 1) % 4

    def bleed(data):
        data[y, x] += 5 * trail_shape(n)
        return data

    clean = change(2, bleed)
    run(mopex, "fix_muxbleed", "Length=16")
    table, listed = check_products("muxbleed")
    assert table.column("corrected")[2] >= 1
    left = (data_of(listed[2]) - clean)[y[6:], x[6:]]
    assert np.sqrt(np.mean(left**2)) < 2 * NOISE
    assert np.mean(5 * trail_shape(n[6:])) > 4 * np.abs(np.mean(left))
    assert (table.column("corrected") > 0).sum() == 1


def test_jailbars(eight, mopex):
    pattern = np.resize([0.03, -0.02, 0.01, -0.02], 64)
    clean = change(4, lambda data: data + pattern)
    run(mopex, "fix_jailbars", "Sections=1")
    table, listed = check_products("jailbars")
    left = data_of(listed[4]) - clean
    np.testing.assert_allclose(left, 0, atol=5 * NOISE / np.sqrt(64 * 12))
    assert table.column("corrected")[4] >= 3
    assert (table.column("corrected") > 0).sum() == 1


def test_banding_is_for_channels_3_and_4(eight, mopex):
    log = run(mopex, "fix_banding", status=2)
    assert "f0_cbcd.fits: CHNLNUM = 1: fix_banding is for IRAC 3 and IRAC 4; switch it off" in log
    for i in range(8):
        with fits.open(f"bcd/f{i}_cbcd.fits", mode="update") as hdus:
            hdus[0].header["CHNLNUM"] = 4
            hdus[0].header["FLUXCONV"] = 0.2021
            if i == 5:
                x, y = place(5)
                clean = hdus[0].data.astype("f8")
                hdus[0].data[y - 1 : y + 2, : x - 3] += 0.6
                hdus[0].data[y - 1 : y + 2, x + 4 :] += 0.6
    run(mopex, "fix_banding", "Clear_Radius=6", "Trigger_Level=40")
    table, listed = check_products("banding")
    left = data_of(listed[5]) - clean
    x, y = place(5)
    assert abs(np.median(left[y, : x - 4])) < 0.1
    assert table.column("largest")[5] == pytest.approx(-0.6, abs=0.1)


def test_residual_background(eight, mopex):
    x = np.mgrid[:64, :64][1]
    true = 0.3 * ((x - 32) / 64) ** 2
    true[12, 50] += 0.6
    before = [change(i, lambda data: data + true) for i in range(8)]
    log = run(mopex, "fix_background")
    assert "8 frames of 93.6 s: pattern of rms" in log
    _, listed = check_products("background")
    for i in range(8):
        left = data_of(listed[i]) - before[i]
        left -= np.median(left)
        assert np.sqrt(np.mean(left[8:-8, 8:-8] ** 2)) < 0.3 * NOISE
        assert abs(left[12, 50]) < 0.15
    assert not list(Path("out/Artifacts/background").glob("masked_*"))


def test_first_frames_lose_a_surface(eight, mopex):
    y = np.mgrid[:64, :64][0]
    clean = change(0, lambda data: data + 0.5 * (y / 64 - 0.5))
    run(mopex, "fix_background", "First_Frames=1", "Surface_Order=1")
    _, listed = check_products("background")
    left = data_of(listed[0]) - clean
    left -= np.median(left)
    assert np.sqrt(np.mean(left**2)) < 0.5 * NOISE
    assert np.abs(data_of(listed[3]) - data_of("bcd/f3_cbcd.fits")).mean() < 0.2 * NOISE


def test_a_sky_that_does_not_move_is_warned_of(eight, mopex):
    y, x = np.mgrid[:64, :64]
    for i in range(8):
        change(i, lambda data: data + 0.5 * np.exp(-np.hypot(x - 30, y - 30) / 20))
    assert "Warning: the pattern is strong against the noise of a pixel" in run(mopex, "fix_background")


def test_few_frames_are_left_as_they_are(eight, mopex):
    log = run(mopex, "fix_background", "Min_Frames=9")
    assert "Warning: 8 frames are in groups of less than 9" in log
    _, listed = check_products("background")
    np.testing.assert_array_equal(fits.getdata(listed[2]), fits.getdata("bcd/f2_cbcd.fits"))


def test_latents(eight, mopex):
    x, y = place(2)
    yy, xx = np.mgrid[:64, :64]
    ghost = np.hypot(xx - x, yy - y) < 3
    for i in (3, 4):
        change(i, lambda data: data + 4 * NOISE * ghost)
    mask = np.zeros((64, 64), np.int16)
    mask[1, 1] = 4
    write(4, data_of("bcd/f4_cbcd.fits"), mask)
    run(mopex, "flag_latents")
    table, _ = check_products("latents")
    for i in range(8):
        flags = fits.getdata(f"out/Artifacts/latents/f{i}_cbcd_latents.fits")
        assert flags.dtype == np.dtype(">i2")
        wanted = flags[y, x] & 1 << 10
        assert bool(wanted) == (i in (3, 4)), i
        assert ((flags & 1 << 10) > 0).sum() == table.column("corrected")[i]
        assert ((flags & 1 << 10) > 0).mean() < 0.03
    assert fits.getdata("out/Artifacts/latents/f4_cbcd_latents.fits")[1, 1] == 4


def test_latents_end(eight, mopex):
    run(mopex, "flag_latents", "Min_Excess=0", "Duration=150")
    for i in range(8):
        flags = fits.getdata(f"out/Artifacts/latents/f{i}_cbcd_latents.fits") & 1 << 10
        for j in range(8):
            x, y = place(j)
            assert bool(flags[y, x]) == (j == i - 1), (i, j)


@pytest.mark.parametrize("keep", [0, 1])
def test_array_location(eight, mopex, keep):
    x = np.mgrid[:64, :64][1]
    factor = 1 + 0.001 * (x - 32)
    fits.writeto("corr.fits", factor.astype("f4"))
    fits.writeto("area.fits", np.full((64, 64), 1.01, "f4"))
    words = ("ARRAY_CORR_IMAGE=corr.fits", "ARRAY_PIXAREA_IMAGE=area.fits", f"Keep_Background={keep}")
    run(mopex, "fix_array_location", *words)
    _, listed = check_products("arraylocation")
    before = data_of("bcd/f6_cbcd.fits")
    level = np.median(before) if keep else 0
    np.testing.assert_allclose(
        data_of(listed[6]), level + (before - level) * factor * 1.01, rtol=1e-5, atol=1e-5
    )
    sigmas = Path("out/Artifacts/arraylocation_sigmas_images.txt").read_text().split()
    np.testing.assert_allclose(data_of(sigmas[6]), NOISE * factor * 1.01, rtol=1e-5)
    assert fits.getheader(listed[6])["ARRAYLOC"] is True


def test_the_driver_chains_what_is_switched_on(eight, mopex):
    fits.writeto("corr.fits", np.full((64, 64), 2.0, "f4"))
    fits.writeto("area.fits", np.ones((64, 64), "f4"))
    words = ("run_fix_jailbars=1", "run_fix_background=1", "run_fix_array_location=1", "run_fix_muxbleed=1")
    words = (*words, "ARRAY_CORR_IMAGE=corr.fits", "ARRAY_PIXAREA_IMAGE=area.fits")
    status, log = mopex("drive", "artifacts", "-n", "artifacts_I1.nl", *LISTS, *words)
    assert status == 0, log
    modules = [line.split()[1] for line in log.splitlines() if "bin/mopex" in line]
    assert modules == [
        *(
            "fix_muxbleed",
            "fix_pulldown",
            "fix_jailbars",
            "flag_latents",
            "fix_background",
            "fix_array_location",
        )
    ]
    last = Path("out/Artifacts/arraylocation_images.txt").read_text().split()
    before = data_of("out/Artifacts/background/f5_cbcd.fits")
    np.testing.assert_allclose(data_of(last[5]), 2 * before, rtol=1e-6)
    history = " ".join(str(card) for card in fits.getheader(last[5])["HISTORY"])
    assert all(name in history for name in ("fix_pulldown", "fix_jailbars", "fix_background"))
    assert log.rstrip().endswith("artifacts terminated normally")


def test_a_module_alone_takes_the_frames_of_those_before_it(eight, mopex):
    log = run(mopex, "fix_jailbars", "run_fix_pulldown=1", status=2)
    assert "missing, and fix_jailbars needs it; run fix_pulldown first" in log


def test_the_flow_hands_frames_and_masks_on(few, mopex):
    assert mopex("new", "artifacts", "I1")[0] == 0
    shutil.copy("overlap_I1.nl", "o.nl")
    words = ("run_medfilter=0", "run_detect_outlier=0", "mask_bright=0", "Skip_Bad_Frames=0")
    status, log = mopex("flow", *LISTS, *words, "artifacts_I1.nl", "overlap_I1.nl")
    assert status == 0, log
    header = fits.getheader(next(Path("out/Overlap_corr").glob("correct_*.fits")))
    assert any("fix_pulldown" in str(card) for card in header["HISTORY"])
    left = Path("out/overlap_I1.nl").read_text()
    assert "out/Artifacts/pulldown_images.txt" in left
    assert "out/Artifacts/latents_images.txt" in left


@pytest.mark.parametrize(
    ("task", "key", "value", "error"),
    [
        ("fix_pulldown", "FLUXCONV", None, "f2_cbcd.fits: FLUXCONV or EXPTIME is missing or not positive"),
        ("fix_jailbars", "INSTRUME", "MIPS", "f2_cbcd.fits: INSTRUME = MIPS: fix_jailbars is for IRAC"),
        ("fix_muxbleed", "CHNLNUM", 3, "CHNLNUM = 3: fix_muxbleed is for IRAC 1 and IRAC 2; switch it off"),
    ],
)
def test_frames_that_do_not_fit_are_named(eight, mopex, task, key, value, error):
    with fits.open("bcd/f2_cbcd.fits", mode="update") as hdus:
        if value is None:
            del hdus[0].header[key]
        else:
            hdus[0].header[key] = value
    log = run(mopex, task, status=2)
    assert error in log
    assert "Traceback" not in log


def test_latents_need_a_time(eight, mopex):
    with fits.open("bcd/f2_cbcd.fits", mode="update") as hdus:
        for key in ("SCLK_OBS", "MJD_OBS"):
            del hdus[0].header[key]
    log = run(mopex, "flag_latents", status=2)
    assert "f2_cbcd.fits: none of SCLK_OBS, UTCS_OBS, MJD_OBS tells the time" in log


def test_array_location_needs_its_image(eight, mopex):
    log = run(mopex, "fix_array_location", status=2)
    assert "ARRAY_CORR_IMAGE: no array-location correction image is given" in log
    fits.writeto("corr.fits", np.ones((32, 32), "f4"))
    log = run(mopex, "fix_array_location", "ARRAY_CORR_IMAGE=corr.fits", status=2)
    assert "is not of the size of the correction image" in log


def test_corrected_frames_make_the_mosaic_that_the_correction_mosaic_tells(few, mopex):
    """Frames times the correction, then mosaicked, against the mosaic times the mosaic of corrections."""
    y, x = np.mgrid[:96, :96]
    fits.writeto("corr.fits", (1 + 0.001 * (x - 48) - 0.0005 * (y - 48)).astype("f4"))
    on = {"run_fiducial_image_frame", "run_mosaic_interp", "run_mosaic_coadder", "run_mosaic_combiner"}
    on |= {"make_array_corr_files", "make_array_corr_mosaic"}
    every = [sheets.sheet(task).triggers[0] for task in sheets.pipeline_tasks("mosaic")]
    mosaic = (*(f"{name}={int(name in on)}" for name in every), "ARRAY_CORR_IMAGE=corr.fits")
    assert mopex("new", "artifacts", "I1")[0] == 0
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *mosaic)
    assert status == 0, log
    words = ("run_fix_array_location=1", *OFF, "ARRAY_CORR_IMAGE=corr.fits")
    status, log = mopex("drive", "artifacts", "-n", "artifacts_I1.nl", *LISTS, *words)
    assert status == 0, log
    lists = (
        "-I",
        "out/Artifacts/arraylocation_images.txt",
        "-S",
        "out/Artifacts/arraylocation_sigmas_images.txt",
    )
    words = (*lists, "-d", "masks.txt", "-O", "exact", "-F", "out/FIF.tbl", "do_multiprocess=off", *mosaic)
    words = (*words, "make_array_corr_files=0", "make_array_corr_mosaic=0", "run_fiducial_image_frame=0")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *words)
    assert status == 0, log
    plain, exact = (data_of(f"{folder}/Combine-mosaic/mosaic.fits") for folder in ("out", "exact"))
    factor = data_of("out/Combine-mosaic/mosaic_arraycorr.fits")
    covered = np.isfinite(plain) & np.isfinite(factor) & np.isfinite(exact) & (plain > 1)
    assert covered.sum() > 100
    ratio = exact[covered] / plain[covered]
    assert np.std(factor[covered]) > 0.01
    assert np.median(np.abs(ratio / factor[covered] - 1)) < 0.005
