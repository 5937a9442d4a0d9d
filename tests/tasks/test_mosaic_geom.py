"""Mosaic Geometry: which frames are kept, and what becomes of the modules behind."""

import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.kit.ipac import read_table

LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
NONE = ("run_fiducial_image_frame=0",)
APEX = (
    *(f"run_{name}=0" for name in ("detect_medfilter", "gaussnoise", "pointsourceprob", "detect")),
    *(f"run_{name}=0" for name in ("sourcestimate", "aperture", "select")),
    "run_extract_medfilter=1",
)


def frames():
    return Path("images.txt").read_text().split()


def make_fif(name, x, y, size=12):
    """A frame of the mosaic of some pixels round a pixel (from 0) of a frame."""
    ra, dec = WCS(fits.getheader(name)).all_pix2world(x, y, 0)
    middle = (size + 1) / 2
    cards = [f"CRVAL1 = {ra}", f"CRVAL2 = {dec}", f"CRPIX1 = {middle}", f"CRPIX2 = {middle}", "CROTA2 = 0"]
    cards += [f"NAXIS1 = {size}.0", f"NAXIS2 = {size}", "CDELT1 = -0.00033889", "CDELT2 = 0.00033889"]
    lines = [r"\char comment = by hand", *(rf"\real {card}" for card in cards)]
    lines += [r"\char PROJTYPE = 'TAN'", r"\char CTYPE1 = 'RA---TAN'", r"\char CTYPE2 = 'DEC--TAN'"]
    Path("mine.tbl").write_text("\n".join(lines) + "\n")


def holding():
    """Frames that hold the middle of mine.tbl, by their WCS."""
    values = dict(re.findall(r"(CRVAL\d) = (\S+)", Path("mine.tbl").read_text()))
    inside = []
    for name in frames():
        header = fits.getheader(name)
        sky = float(values["CRVAL1"]), float(values["CRVAL2"])
        x, y = WCS(header).all_world2pix(*sky, 0, quiet=True)
        if -0.5 < x < header["NAXIS1"] - 0.5 and -0.5 < y < header["NAXIS2"] - 0.5:
            inside.append(name)
    return inside


@pytest.fixture
def wide(simulated, tmp_path, monkeypatch, mopex):
    """All frames of the field, which do not all overlap; the working directory is a folder of their own."""
    monkeypatch.chdir(tmp_path)
    for kind in ("images", "sigmas", "masks"):
        (tmp_path / f"{kind}.txt").write_text((simulated / f"{kind}.txt").read_text())
    for pipeline in ("mosaic", "apex"):
        assert mopex("new", pipeline, "I1")[0] == 0
    return tmp_path


def geom(mopex, *words):
    return mopex("mosaic_geom", "mosaic_I1.nl", *LISTS, "-F", "mine.tbl", *NONE, *words)


def test_frames_that_overlap_are_kept(wide, mopex):
    make_fif(frames()[0], 20, 20)
    kept = holding()
    assert 0 < len(kept) < len(frames())
    status, log = geom(mopex)
    assert status == 0, log
    listed = Path("out/geom_images.txt").read_text().split()
    assert set(kept) <= set(listed)
    assert len(listed) < len(frames())
    assert listed == [name for name in frames() if name in listed]  # order
    for kind, ending in (("sigmas", "cbunc"), ("masks", "bimsk")):
        companions = Path(f"out/geom_{kind}.txt").read_text().split()
        assert companions == [name.replace("cbcd", ending) for name in listed]
    assert f"{len(listed)} of {len(frames())} frames overlap mine.tbl" in log


def test_geometry_tables(wide, mopex):
    make_fif(frames()[0], 20, 20)
    size = ("MOSAIC_PIXEL_SIZE_X=-1.6667E-4", "MOSAIC_PIXEL_SIZE_Y=1.6667E-4")
    assert geom(mopex, *size, "MOSAICCOADDIN.TILEMAX_X=16", "MOSAICCOADDIN.TILEMAX_Y=16")[0] == 0
    tiles, boxes = read_table("out/geom_Tile.tbl"), read_table("out/geom_Int_Img.tbl")
    assert len(tiles.column("name")) == 4
    assert (tiles.column("nx")[:2].sum(), tiles.column("ny")[::2].sum()) == (
        25,
        25,
    )  # 12 pixels of 1.22 arcsec
    listed = Path("out/geom_images.txt").read_text().split()
    assert [str(name) for name in boxes.column("name")] == [f"interp_{Path(p).stem}.fits" for p in listed]
    assert (boxes.column("nx") > 0).all()
    assert "CRPIX1 = 6.5" in Path("out/geom_fif.tbl").read_text()


def test_margin(wide, mopex):
    make_fif(frames()[0], -9, 48)
    counts = []
    for margin in (-5, 0, 40):
        assert geom(mopex, f"MARGIN={margin}")[0] == 0
        counts.append(len(Path("out/geom_images.txt").read_text().split()))
    assert frames()[0] in Path("out/geom_images.txt").read_text().split()
    assert counts[0] <= counts[1] < counts[2]
    status, log = geom(mopex, "MARGIN=-6")
    assert status == 2
    assert "a margin of -6 leaves nothing of 12 x 12 pixels" in log


def test_later_modules_use_the_kept_frames(wide, mopex):
    make_fif(frames()[0], 20, 20, 30)
    words = (*LISTS, "-F", "mine.tbl", *NONE, "run_mosaic_geom=1")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *words)
    assert status == 0, log
    listed = Path("out/geom_images.txt").read_text().split()
    assert 0 < len(listed) < len(frames())
    assert f"{len(listed)} of {len(listed)} frames on a mosaic" in log
    masks = [path.name for path in Path("out/Rmask-mosaic").glob("*_rmask.fits")]
    assert sorted(masks) == sorted(f"{Path(name).stem}_rmask.fits" for name in listed)
    tile = Path("out/Coadd-mosaic/coadd_tile_bcd.txt").read_text().split()
    assert tile == ["1", str(len(listed)), *(str(i) for i in range(len(listed)))]
    # one of them alone, with the namelist of the run
    status, log = mopex("mosaic_interp", "out/mosaic_I1.nl")
    assert status == 0, log
    assert f"{len(listed)} of {len(listed)} frames on a mosaic" in log


def test_pipelines_behind_take_the_reduced_lists(wide, mopex):
    make_fif(frames()[0], 20, 20, 30)
    words = (*LISTS, "-F", "mine.tbl", *NONE, "run_mosaic_geom=1", "do_multiprocess=off")
    status, log = mopex("flow", *words, *APEX, "mosaic_I1.nl", "apex_I1.nl")
    assert status == 0, log
    made = list(Path("out/Medfilter-apex").glob("*_minus_median_extract.fits"))
    assert len(made) == len(Path("out/geom_images.txt").read_text().split()) < len(frames())
    assert "IMAGE_STACK_FILE_NAME = out/geom_images.txt" in Path("out/apex_I1.nl").read_text()


def test_no_frame_is_left(wide, mopex):
    """The lists are there and empty; the modules behind are left out; the run ends well."""
    make_fif(frames()[0], 5000, 20)
    status, log = geom(mopex)
    assert status == 0, log
    assert log.splitlines()[-1] == "mosaic_geom terminated normally"
    for kind in ("images", "sigmas", "masks"):
        assert Path(f"out/geom_{kind}.txt").read_bytes() == b""
    words = (*LISTS, "-F", "mine.tbl", *NONE, "run_mosaic_geom=1", "delete_intermediate_files=1", *APEX)
    status, log = mopex("flow", *words, "mosaic_I1.nl", "apex_I1.nl")
    assert status == 0, log
    warning = next(line for line in log.splitlines() if line.startswith("Warning"))
    assert warning.startswith("Warning: none of the frames overlaps mine.tbl; left out: medfilter, ")
    assert "Error" not in log
    assert log.splitlines()[-1] == "flow terminated normally"
    assert "== apex" not in log
    assert not Path("out/mosaic_fif.tbl").exists()


def test_a_later_module_alone_says_that_no_frame_is_left(wide, mopex):
    make_fif(frames()[0], 5000, 20)
    assert geom(mopex)[0] == 0
    status, log = mopex("medfilter", "mosaic_I1.nl", *LISTS, "-F", "mine.tbl", *NONE, "run_mosaic_geom=1")
    assert status == 2
    assert "geom_images.txt: holds no frame: none overlaps the fiducial image frame" in log


def test_lists_of_one_name(wide, mopex):
    make_fif(frames()[0], 20, 20)
    (wide / "s").mkdir()
    (wide / "s/images.txt").write_text((wide / "sigmas.txt").read_text())
    status, log = geom(mopex, "SIGMALIST_FILE_NAME=s/images.txt")
    assert status == 2
    told = "SIGMALIST_FILE_NAME and IMAGE_STACK_FILE_NAME both have the file name images.txt; geom_images.txt"
    assert told in log


def test_without_a_fiducial_frame(wide, mopex):
    status, log = mopex("mosaic_geom", "mosaic_I1.nl", *LISTS, "-F", "none.tbl", *NONE)
    assert status == 2
    assert "none.tbl: no such fiducial image frame (FIF_FILE_NAME)" in log


def test_outlier_masks_are_listed_too(wide, mopex):
    make_fif(frames()[0], 20, 20)
    (wide / "rmask_images.txt").write_text((wide / "masks.txt").read_text())
    assert geom(mopex, "-R", "rmask_images.txt")[0] == 0
    listed = Path("out/geom_rmask_images.txt").read_text().split()
    assert listed == Path("out/geom_masks.txt").read_text().split()
    assert np.all([Path(name).is_file() for name in listed])
