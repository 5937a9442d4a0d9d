"""HDR_Split.pl, copy_HDR_keywords.pl and hdr_mask.pl on frames of two exposure times."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

TIMES = {"short": 0.4, "long": 93.6}
SHARED = Path(__file__).parents[3] / "shared" / "data" / "irac1_grb120119a"


@pytest.fixture(scope="module")
def data(tmp_path_factory, mopex):
    """Three fields with a short and a long frame each, stars that saturate in the long ones, and one list of all."""
    folder = tmp_path_factory.mktemp("hdr")
    sky = ("N_Stars=60", "Min_Separation=8", "Faintest_Flux=3e4", "Brightest_Flux=4e6", "Slope=-1.2")
    size = ("Array_Size=64", "N_Frames=3", "Coverage=2", "Seed=2", "Roll_2=15", "Hits_Per_Second=0")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for kind, exposure in TIMES.items():
            words = (f"OUTPUT_DIR={kind}", f"Exposure={exposure}", *sky, *size, "do_multiprocess=off")
            assert mopex("simulate", *words)[0] == 0
        (folder / "bcd").mkdir()
        for what in ("images", "sigmas", "masks"):
            rows = [Path(f"{kind}/{what}.txt").read_text().split() for kind in TIMES]
            pairs = [zip(pair, TIMES, strict=True) for pair in zip(*rows, strict=True)]
            lines = [_renamed(path, kind) for pair in pairs for path, kind in pair]
            Path(f"{what}.txt").write_text("\n".join(lines) + "\n")
        assert mopex("new", "hdr_mask")[0] == 0
    return folder


def _renamed(path, kind):
    """Copy a file under the number of its exposure, frames with their HDR keywords; gives the new path."""
    new = Path("bcd", Path(path).name.replace("_0000_1_", f"_000{list(TIMES).index(kind)}_1_"))
    shutil.copy(path, new)
    if "cbcd" in new.name:
        with fits.open(new, mode="update") as hdus:
            hdus[0].header["HDRMODE"] = True
            hdus[0].header["HDRFRAME"] = f"{kind:>8s}"
    return str(new)


def test_lists_are_split(data, mopex, monkeypatch, tmp_path):
    monkeypatch.chdir(data)
    status, log = mopex("legacy", "HDR_Split.pl", "images.txt")
    assert status == 0, log
    assert log.splitlines()[-1] == "hdr_split terminated normally"
    all_frames = Path("images.txt").read_text().split()
    assert Path("Short_images.txt").read_text().split() == all_frames[::2]
    assert Path("Long_images.txt").read_text().split() == all_frames[1::2]
    assert not Path("Medium_images.txt").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ((), "HDR_Split.pl: image_list is missing"),
        (("none.txt",), "none.txt: no such file"),
        (("images.txt", "more.txt"), "more.txt: one word too many"),
        (("-I", "images.txt"), "-I: unknown flag"),
    ],
)
def test_split_refuses(data, mopex, monkeypatch, words, told):
    monkeypatch.chdir(data)
    status, log = mopex("legacy", "HDR_Split.pl", *words)
    assert status == 2
    assert f"Error: {told}" in log or f"Error: HDR_Split.pl: {told}" in log


def test_help_of_the_legacy_names(mopex):
    status, text = mopex("legacy", "copy_HDR_keywords.pl", "--help")
    assert status == 0
    assert text.startswith("copy_hdr_keywords: Copy HDR Keywords")
    assert "       copy_HDR_keywords.pl IMAGE_LIST MASK_LIST [KEY=VALUE ...]" in text.splitlines()


def test_keywords_are_copied(data, mopex, monkeypatch, tmp_path):
    shutil.copytree(data / "bcd", tmp_path / "bcd")
    for name in ("images.txt", "masks.txt"):
        shutil.copy(data / name, tmp_path)
    monkeypatch.chdir(tmp_path)
    masks = Path("masks.txt").read_text().split()
    before = [fits.getdata(mask) for mask in masks]
    status, log = mopex("legacy", "copy_HDR_keywords.pl", "images.txt", "masks.txt")
    assert status == 0, log
    for image, mask, pixels in zip(Path("images.txt").read_text().split(), masks, before, strict=True):
        header, copied = fits.getheader(image), fits.getheader(mask)
        for key in ("HDRMODE", "HDRFRAME", "EXPTIME", "FRAMTIME"):
            assert copied[key] == header[key]
        assert "HDRCYCLE" not in copied
        np.testing.assert_array_equal(fits.getdata(mask), pixels)
        assert fits.getdata(mask).dtype == pixels.dtype
    Path("masks.txt").write_text(masks[0] + "\n")
    status, log = mopex("legacy", "copy_HDR_keywords.pl", "images.txt", "masks.txt")
    assert status == 2
    assert "masks.txt: has 1 entries; images.txt has 6" in log


def lists(*names):
    return [word for flag, name in zip("ISd", names, strict=False) for word in (f"-{flag}", name)]


def found(folder, name):
    return fits.getdata(folder / "HDR_Mask" / f"{Path(name).stem}_hdrmask.fits").astype(bool)


def test_saturated_pixels_are_marked_and_replaced(data, mopex, monkeypatch, tmp_path):
    monkeypatch.chdir(data)
    words = (*lists("images.txt", "sigmas.txt", "masks.txt"), "-O", str(tmp_path), "Replace_Saturated=1")
    status, log = mopex("legacy", "hdr_mask.pl", "-nhdr_mask_I1.nl", *words, "do_multiprocess=off")
    assert status == 0, log
    names, masks = (Path(f"{what}.txt").read_text().split() for what in ("images", "masks"))
    saturated = wrong = 0
    for short, long, mask in zip(names[::2], names[1::2], masks[1::2], strict=True):
        truth = fits.getdata(mask).astype(int) & 8192 > 0
        level = fits.getdata(long)[truth].max() if truth.any() else np.inf
        seen, marked = fits.getdata(short), found(tmp_path, long)
        sure = truth & (seen > 1.7 * level)  # what is less is lost in the noise of the short frame
        saturated += np.count_nonzero(sure)
        assert marked[sure].all()
        wrong += np.count_nonzero(marked & ~truth)
        after = fits.getdata(tmp_path / "HDR_Mask" / f"hdr_{Path(long).name}")
        good = marked & (fits.getdata(masks[names.index(short)]) == 0)
        np.testing.assert_allclose(after[good], seen[good], rtol=0.02)
        np.testing.assert_array_equal(after[~marked], fits.getdata(long)[~marked])
    assert saturated > 30
    assert wrong < 0.05 * saturated
    listed = (tmp_path / "HDR_Mask" / "hdrmask_images.txt").read_text().split()
    assert [Path(name).name for name in listed] == [f"{Path(name).stem}_hdrmask.fits" for name in names[1::2]]


def test_lists_of_long_and_short_frames_and_copies_of_the_masks(data, mopex, monkeypatch, tmp_path):
    monkeypatch.chdir(data)
    for what in ("images", "sigmas", "masks"):
        rows = Path(f"{what}.txt").read_text().split()
        for kind, part in (("short", rows[::2]), ("long", rows[1::2])):
            (tmp_path / f"{kind}_{what}.txt").write_text("\n".join(part) + "\n")
    blank = []
    for name in (tmp_path / "long_masks.txt").read_text().split():
        blank.append(str(tmp_path / Path(name).name))
        fits.writeto(blank[-1], np.zeros((64, 64), np.int16))
    (tmp_path / "long_masks.txt").write_text("\n".join(blank) + "\n")
    names = [f"{tmp_path}/long_{what}.txt" for what in ("images", "sigmas", "masks")]
    short = (f"-s{tmp_path}/short_images.txt", f"SHORT_SIGMALIST_FILE_NAME={tmp_path}/short_sigmas.txt")
    words = (*lists(*names), *short, "-O", str(tmp_path / "out"), "do_multiprocess=off")
    status, log = mopex("drive", "hdr_mask", "-n", "hdr_mask_I1.nl", *words)
    assert status == 0, log
    for image, mask in zip(Path(names[0]).read_text().split(), blank, strict=True):
        copy = fits.getdata(tmp_path / "out/HDR_Mask" / f"{Path(mask).stem}_hdr.fits")
        np.testing.assert_array_equal(copy == 8192, found(tmp_path / "out", image))
        assert set(np.unique(copy)) <= {0, 8192}
    assert not (tmp_path / "out/HDR_Mask/hdr_long_images.txt").exists()


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("HDR_MASK.Use_Frames=medium",), "images.txt: holds no medium frames; give lists of both"),
        (("-s", "none.txt"), "none.txt: no such file"),
        (("HDR_MASK.Min_Excess=2",), "Min_Excess = 2: too large"),
    ],
)
def test_refused(data, mopex, monkeypatch, words, told):
    monkeypatch.chdir(data)
    status, log = mopex("drive", "hdr_mask", "-n", "hdr_mask_I1.nl", "-I", "images.txt", "-O", "no", *words)
    assert status == 2
    assert told in log
    assert not Path("no").exists()


@pytest.mark.shared
@pytest.mark.skipif(not SHARED.is_dir(), reason="the real frames are not here")
def test_a_real_set_of_three_exposures(mopex, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for what, kind in (("images", "cbcd"), ("sigmas", "cbunc"), ("masks", "bimsk")):
        names = sorted(SHARED.glob(f"*_000[0-2]_0000_*_{kind}.fits"))
        assert len(names) == 3
        Path(f"{what}.txt").write_text("".join(f"{name}\n" for name in names))
    assert mopex("legacy", "HDR_Split.pl", "images.txt")[0] == 0
    for number, kind in enumerate(("Short", "Medium", "Long")):
        assert f"_000{number}_0000_" in Path(f"{kind}_images.txt").read_text()
    assert mopex("new", "hdr_mask")[0] == 0
    words = (*lists("images.txt", "sigmas.txt", "masks.txt"), "-O", "out", "do_multiprocess=off")
    status, log = mopex("drive", "hdr_mask", "-n", "hdr_mask_I1.nl", *words)
    assert status == 0, log
    long = Path("Long_images.txt").read_text().strip()
    known = fits.getdata(long.replace("cbcd", "bimsk")).astype(int) & 8192 > 0
    marked = found(Path("out"), long)
    # what the medium frame shows far above the long one is marked, and known to the archive's mask, too
    medium = fits.getdata(Path("Medium_images.txt").read_text().strip())
    clear = known & (medium > 1.2 * fits.getdata(long)) & (fits.getdata(long) > 30)
    assert np.count_nonzero(clear) > 2
    assert marked[clear].all()
    assert np.count_nonzero(marked) < 30
