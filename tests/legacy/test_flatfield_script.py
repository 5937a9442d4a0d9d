"""flatfield.pl: the flat of simulated frames is recovered, applied, per scan leg, and handed on."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.ipac import read_table

RMS = (
    0.008  # largest rms error of the flat: 10 frames of sky with 1.4 per cent noise a pixel, 0.0055 expected
)
SIZE = 48


def known_flat():
    y, x = np.mgrid[:SIZE, :SIZE]
    flat = 1 + 0.12 * (x - 23.5) / SIZE - 0.05 * ((y - 23.5) / 24) ** 2
    flat += np.random.default_rng(5).normal(0, 0.02, flat.shape)
    return flat / flat.mean()


@pytest.fixture(scope="module")
def frames(tmp_path_factory, mopex):
    """Ten frames of IRAC 4, times a flat, with their lists and the namelist."""
    folder = tmp_path_factory.mktemp("flat")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        size = ("Instrument=I4", f"Array_Size={SIZE}", "N_Frames=10", "Coverage=6", "Seed=3", "N_Stars=40")
        assert mopex("simulate", "OUTPUT_DIR=sim", *size, "do_multiprocess=off")[0] == 0
        for kind in ("images", "sigmas"):
            for name in Path(f"sim/{kind}.txt").read_text().split():
                with fits.open(name, mode="update") as hdus:
                    hdus[0].data = (hdus[0].data * known_flat()).astype("f4")
        assert mopex("new", "flatfield")[0] == 0
    return folder


LISTS = ("-Isim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-M", "sim/pmask.fits")


@pytest.fixture(scope="module")
def made(frames, mopex):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(frames)
        words = ("legacy", "flatfield.pl", "-n", "flatfield_I1.nl", *LISTS, "-Oout", "do_multiprocess=off")
        status, log = mopex(*words)
    assert status == 0, log
    assert log.splitlines()[-1] == "flatfield terminated normally"
    return frames / "out" / "Flatfield"


def test_the_flat_is_recovered(made):
    flat, error = (fits.getdata(made / f"{name}.fits") for name in ("flatfield", "flatfield_unc"))
    known = np.isfinite(flat)
    assert known.mean() > 0.99
    truth = known_flat()
    off = (flat - truth / truth[known].mean())[known]
    assert flat[known].mean() == pytest.approx(1, abs=1e-6)
    assert np.sqrt(np.mean(off**2)) < RMS
    assert 0.75 < np.sqrt(np.mean(off**2)) / np.sqrt(np.mean(error[known] ** 2)) < 1.4
    assert fits.getheader(made / "flatfield.fits")["NFRAMES"] == 10
    assert fits.getdata(made / "flatfield_cov.fits").max() == 10


def test_the_median_is_smooth_and_follows(made):
    flat, smooth = (fits.getdata(made / f"{name}.fits") for name in ("flatfield", "median_flatfield"))
    assert np.nanstd(np.diff(smooth, axis=1)) < 0.1 * np.nanstd(np.diff(flat, axis=1))
    y, x = np.mgrid[:SIZE, :SIZE]
    shape = 1 + 0.12 * (x - 23.5) / SIZE - 0.05 * ((y - 23.5) / 24) ** 2
    inner = (slice(12, -12),) * 2
    assert np.abs(smooth / smooth[inner].mean() - shape / shape[inner].mean())[inner].max() < 0.015


def test_frames_are_divided(made, frames):
    name = Path(Path(frames, "sim/images.txt").read_text().split()[3]).name
    before, after = fits.getdata(frames / "sim/bcd" / name), fits.getdata(made / f"flat_{name}")
    flat = fits.getdata(made / "flatfield.fits")
    np.testing.assert_allclose(after, before / flat, rtol=1e-5)
    listed = Path(made, "flat_images.txt").read_text().split()
    assert len(listed) == 10
    assert len(Path(made, "flat_unc_sigmas.txt").read_text().split() if False else listed) == 10
    table = read_table(str(made / "flatfield.tbl"))
    assert table.column("leg").tolist() == [0] * 10
    np.testing.assert_allclose(table.column("level"), 6.0, rtol=0.15)


def test_another_flat_is_applied(frames, mopex, monkeypatch, tmp_path):
    monkeypatch.chdir(frames)
    fits.writeto(tmp_path / "two.fits", np.full((SIZE, SIZE), 2.0))
    words = (*LISTS, f"FLATFIELD_FILE_NAME={tmp_path}/two.fits", f"OUTPUT_DIR={tmp_path}/out")
    status, log = mopex("apply_flatfield", "flatfield_I1.nl", *words, "do_multiprocess=off")
    assert status == 0, log
    name = Path(Path("sim/images.txt").read_text().split()[0]).name
    after = fits.getdata(tmp_path / "out/Flatfield" / f"flat_{name}")
    np.testing.assert_allclose(after, fits.getdata(f"sim/bcd/{name}") / 2)
    fits.writeto(tmp_path / "small.fits", np.ones((9, 9)))
    status, log = mopex(
        "apply_flatfield", "flatfield_I1.nl", *LISTS, f"FLATFIELD_FILE_NAME={tmp_path}/small.fits"
    )
    assert status == 2
    assert "small.fits: is 9 x 9 pixels" in log


def test_a_flat_for_each_scan_leg(frames, mopex, monkeypatch, tmp_path):
    monkeypatch.chdir(frames)
    names = Path("sim/images.txt").read_text().split()
    for number, name in enumerate(names):
        with fits.open(name, mode="update") as hdus:
            hdus[0].header["LEG"] = f"leg {number // 5}"
    legs = ("Per_Scan_Leg=1", "Scan_Leg_Keyword=LEG", f"OUTPUT_DIR={tmp_path}", "do_multiprocess=off")
    for task in ("flatfield", "apply_flatfield"):
        status, log = mopex(task, "flatfield_I1.nl", *LISTS, *(legs if task == "flatfield" else legs[2:]))
        assert status == 0, log
    flats = [fits.getdata(tmp_path / f"Flatfield/flatfield_leg{n}.fits") for n in (1, 2)]
    assert not (tmp_path / "Flatfield/flatfield.fits").exists()
    last = Path(names[9]).name
    after = fits.getdata(tmp_path / f"Flatfield/flat_{last}")
    np.testing.assert_allclose(after, fits.getdata(names[9]) / flats[1], rtol=1e-5)
    status, log = mopex("flatfield", "flatfield_I1.nl", *LISTS, *legs, "Scan_Leg_Keyword=NONE")
    assert status == 2
    assert "no NONE in the header (Scan_Leg_Keyword)" in log


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("Min_Frames=11",), "FLATFIELD.Min_Frames = 11: there are 10 frames"),
        (("Trim_Fraction=0.7",), "Trim_Fraction = 0.7: too large"),
        (("OUTPUT_DRI=x",), "did you mean OUTPUT_DIR?"),
    ],
)
def test_refused(frames, mopex, monkeypatch, words, told):
    monkeypatch.chdir(frames)
    status, log = mopex("flatfield", "flatfield_I1.nl", *LISTS, *words)
    assert status == 2
    assert told in log
