"""`mopex simulate`: a small data set, its files and its truth."""

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.cli import main
from pymopex.kit.ipac import read_table

SMALL = ["Array_Size=64", "N_Frames=6", "Star_Density=60000"]


def simulate(folder, *words):
    return main(["simulate", f"OUTPUT_DIR={folder}", *SMALL, *words])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sim")
    assert simulate(folder, "do_multiprocess=off") == 0
    return folder


def test_lists_name_frames_of_one_order(made):
    lists = [(made / f"{name}.txt").read_text().split() for name in ("images", "sigmas", "masks")]
    assert [len(names) for names in lists] == [6, 6, 6]
    for image, sigma, mask in zip(*lists, strict=True):
        assert os.path.isabs(image)
        assert sigma == image.replace("cbcd", "cbunc")
        assert mask == image.replace("cbcd", "bimsk")
        assert fits.getdata(mask).dtype == np.dtype(">i2")
        assert fits.getdata(image).shape == fits.getdata(sigma).shape == (64, 64)
    assert Path(lists[0][0]).name == "SPITZER_I1_90000001_0000_0000_1_cbcd.fits"
    assert fits.getdata(made / "pmask.fits").dtype == np.dtype(">i2")


def test_truth_belongs_to_the_frames(made):
    sources = read_table(str(made / "truth" / "sources.tbl"))
    assert {"id", "ra", "dec", "flux", "saturated", "n_frames"} == set(sources.columns)
    assert sources.column("n_frames").max() <= 6
    assert sources.column("n_frames").sum() > 20
    offsets = read_table(str(made / "truth" / "offsets.tbl"))
    images = (made / "images.txt").read_text().split()
    assert list(offsets.column("file")) == [os.path.basename(image) for image in images]
    for image, offset in zip(images, offsets.column("offset"), strict=True):
        data = fits.getdata(image)
        hits = fits.getdata(made / "truth" / "hits" / os.path.basename(image).replace(".fits", "_hits.fits"))
        assert hits.dtype == np.dtype(">f4")
        # the median of the sky is near its level, 0.12 MJy/sr, and the offset
        assert np.nanmedian(data - hits) == pytest.approx(0.12 + offset, abs=0.01)


def test_prfs_are_like_the_archives_set(made):
    names = sorted(path.name for path in (made / "prfs_x5").iterdir())
    assert len(names) == 25
    with fits.open(made / "prfs_x5" / "IRAC1_col032_row032.fits") as hdus:
        header, samples = hdus[0].header, hdus[0].data
    assert samples.shape == (128, 128)
    assert (header["PRFXRSMP"], header["CHAN"], header["PRFCOL"]) == (5, 1, "032")
    assert np.unravel_index(samples.argmax(), samples.shape) == (64, 64)


def test_number_of_processes_does_not_matter(made, tmp_path):
    assert simulate(tmp_path, "do_multiprocess=manual", "ncpu_multiprocess=2") == 0
    files = sorted(path.relative_to(made) for path in made.rglob("*.fits"))
    assert len(files) == 6 * 4 + 1 + 25
    for name in files:
        assert (made / name).read_bytes() == (tmp_path / name).read_bytes(), name
    assert (made / "truth" / "sources.tbl").read_text() == (tmp_path / "truth" / "sources.tbl").read_text()


def test_mips(tmp_path):
    assert simulate(tmp_path, "Instrument=M1", "N_Frames=2", "do_multiprocess=off") == 0
    image = (tmp_path / "images.txt").read_text().split()[0]
    assert image.endswith("SPITZER_M1_90000001_0000_0000_1_bcd.fits")
    assert fits.getheader(image)["INSTRUME"] == "MIPS"
    assert fits.getdata(tmp_path / "prfs_x5" / "MIPS24_prf_x5.fits").shape == (129, 129)
    prf = fits.getdata(tmp_path / "mips24_prf_mosaic_2.45_4x.fits")
    assert prf.sum() / 4**2 == pytest.approx(1, abs=1e-4)
    assert np.unravel_index(prf.argmax(), prf.shape) == (prf.shape[0] // 2, prf.shape[1] // 2)


@pytest.mark.parametrize(("camera", "shape", "kind"), [("M2", (32, 32), "70"), ("M3", (2, 20), "160")])
def test_far_infrared(tmp_path, camera, shape, kind):
    words = (f"OUTPUT_DIR={tmp_path}", f"Instrument={camera}", "N_Frames=4", "do_multiprocess=off")
    assert main(["simulate", *words]) == 0
    images, masks = ((tmp_path / f"{name}.txt").read_text().split() for name in ("images", "masks"))
    assert masks[0] == images[0].replace("_bcd", "_bmask")
    assert fits.getdata(images[0]).shape == fits.getdata(masks[0]).shape == shape
    header = fits.getheader(images[0])
    assert (header["CRPIX1"], header["CRPIX2"]) == (shape[1] / 2, shape[0] / 2)
    assert header["CHNLNUM"] == int(camera[1])
    assert (tmp_path / "prfs_x5" / f"MIPS{kind}_prf_x5.fits").exists()


def test_bad_values_are_named(tmp_path, capsys):
    assert simulate(tmp_path, "Brightest_Flux=1") == 2
    assert "Brightest_Flux = 1 is below Faintest_Flux = 5" in "".join(capsys.readouterr())
    assert simulate(tmp_path, "Instrument=I7") == 2
    assert not (tmp_path / "bcd").exists()
