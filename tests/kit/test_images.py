import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex import __version__
from pymopex.kit import plain_fits
from pymopex.kit.errors import InputError
from pymopex.kit.images import (
    FatalBits,
    FrameFiles,
    Stamp,
    read_frame,
    read_header,
    read_image,
    read_section,
    write_image,
)

STAMP = Stamp("medfilter", ("Window_X = 45",))


def save(path, data, **cards):
    header = fits.Header()
    header.update(cards)
    fits.PrimaryHDU(data, header).writeto(path)
    return str(path)


@pytest.fixture
def ramp(tmp_path):
    return save(tmp_path / "ramp.fits", np.arange(12, dtype="f4").reshape(3, 4), BUNIT="MJy/sr")


def test_pixels_come_in_native_byte_order(ramp):
    data, header = read_image(ramp)
    assert data.dtype == np.dtype("f4")
    assert data.dtype.isnative
    assert data.flags.c_contiguous
    assert header["BUNIT"] == "MJy/sr"
    np.testing.assert_array_equal(data, np.arange(12).reshape(3, 4))


def test_type_of_pixels_on_request(ramp):
    assert read_image(ramp, dtype="f8")[0].dtype == np.float64


def test_integers_with_an_offset_are_scaled(tmp_path):
    path = save(tmp_path / "u2.fits", np.array([[0, 40000]], dtype="u2"))
    data, _ = read_image(path)
    np.testing.assert_array_equal(data, [[0, 40000]])


def test_image_in_the_first_extension(tmp_path):
    path = tmp_path / "ext.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.ones((2, 3)))]).writeto(path)
    assert read_image(str(path))[0].shape == (2, 3)
    assert read_header(str(path))["NAXIS1"] == 3
    np.testing.assert_array_equal(read_section(str(path), slice(0, 1), slice(0, 2)), [[1, 1]])


@pytest.mark.parametrize("ending", [".fits.gz", ".fits"])
def test_compressed_images(tmp_path, ending):
    path, data = tmp_path / f"a{ending}", np.arange(10000, dtype="i2").reshape(100, 100) % 7
    hdu = fits.PrimaryHDU(data) if ending == ".fits.gz" else fits.CompImageHDU(data)
    hdu.writeto(path)
    np.testing.assert_array_equal(read_image(str(path))[0], data)
    assert read_header(str(path))["NAXIS2"] == 100


def part(path):
    return read_section(path, slice(90, 100), slice(0, 100))


@pytest.mark.parametrize("read", [read_image, read_header, part])
def test_missing_file(tmp_path, read):
    with pytest.raises(InputError, match=r"none\.fits: no such file"):
        read(str(tmp_path / "none.fits"))


@pytest.mark.parametrize("content", [b"", b"no FITS at all\n" * 300, b"SIMPLE  =                    T"])
@pytest.mark.parametrize("read", [read_image, read_header, part])
def test_file_that_is_not_fits(tmp_path, content, read):
    path = tmp_path / "text.fits"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"text\.fits: cannot be read as FITS"):
        read(str(path))


@pytest.mark.parametrize("read", [read_image, read_header, part])
def test_truncated_pixels(tmp_path, read):
    path = tmp_path / "half.fits"
    save(path, np.ones((100, 100)))
    path.write_bytes(path.read_bytes()[: 2880 + 40000])
    message = r"half\.fits: cannot be read as FITS: the file has 42880 bytes, its header tells of 82880"
    with pytest.raises(InputError, match=message):
        read(str(path))


def test_missing_padding_behind_the_pixels_does_not_matter(tmp_path):
    path = tmp_path / "short.fits"
    save(path, np.ones((100, 100)))
    path.write_bytes(path.read_bytes()[: 2880 + 80000])
    assert read_image(str(path))[0].sum() == 10000


@pytest.mark.parametrize(
    ("data", "found"),
    [(None, "no image"), (np.ones((2, 3, 4)), "an image of 3 axes"), (np.ones(5), "an image of 1 axes")],
)
def test_file_without_a_plane_image(tmp_path, data, found):
    path = save(tmp_path / "other.fits", data)
    with pytest.raises(InputError, match=f"holds {found}; a two-dimensional image is needed"):
        read_image(path)


def test_a_folder_is_no_image(tmp_path):
    with pytest.raises(InputError, match="cannot be read as FITS"):
        read_image(str(tmp_path))


def test_section(ramp):
    part = read_section(ramp, slice(1, 3), slice(2, 4))
    assert part.dtype.isnative
    np.testing.assert_array_equal(part, [[6, 7], [10, 11]])


def test_product_tells_its_making(tmp_path):
    path = str(tmp_path / "new" / "a.fits")
    header = fits.Header([("BUNIT", "MJy/sr"), ("BSCALE", 2.0), ("BZERO", 7.0), ("BLANK", -1)])
    assert write_image(path, np.ones((2, 2), "f4"), header, STAMP, ("/data/frame.fits",)) == path
    data, written = read_image(path)
    np.testing.assert_array_equal(data, np.ones((2, 2)))
    history = list(written["HISTORY"])
    assert history == [f"pymopex {__version__} medfilter", "  Window_X = 45", "  from frame.fits"]
    assert written["BUNIT"] == "MJy/sr"
    assert header["BSCALE"] == 2.0  # the caller's header is left alone


def test_product_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "a.fits"
    write_image(str(path), np.ones((2, 2)), fits.Header(), STAMP)
    before = path.read_bytes()

    def fail(name, *_):
        Path(name).write_bytes(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(plain_fits, "write", fail)
    with pytest.raises(OSError, match="no space left"):
        write_image(str(path), np.zeros((2, 2)), fits.Header(), STAMP)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["a.fits"]


def test_the_same_image_gives_the_same_bytes(tmp_path):
    for name in "ab":
        write_image(str(tmp_path / name), np.eye(3), fits.Header(), STAMP)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


@pytest.fixture
def frame(tmp_path):
    data, sigma = np.ones((3, 4), "f4"), np.full((3, 4), 0.1, "f4")
    data[0, 0] = np.nan
    sigma[0, 1], sigma[0, 2], sigma[0, 3] = 0, -1, np.inf
    masks = np.zeros((3, 3, 4), "i2")
    masks[0, 1, 0], masks[1, 1, 1], masks[2, 1, 2], masks[0, 1, 3] = 512, 16384, 2, 4
    names = ("image", "sigma", "dmask", "rmask", "pmask")
    images = dict(zip(names, (data, sigma, masks[0], masks[2], masks[1]), strict=True))
    paths = {name: save(tmp_path / f"{name}.fits", images[name]) for name in names}
    return FrameFiles(0, **paths)


def test_bad_pixels_of_a_frame(frame):
    found = read_frame(frame, FatalBits(dmask=512, pmask=16384, rmask=15))
    expected = np.zeros((3, 4), bool)
    expected[0] = True  # no value, and three uncertainties that are none
    expected[1, :3] = True  # a bit in each mask; bit 2 of the status mask is not fatal
    np.testing.assert_array_equal(found.bad, expected)
    assert found.data.dtype == found.sigma.dtype == np.float32


def test_frame_without_uncertainties_and_patterns(frame):
    found = read_frame(frame, FatalBits(), need_sigma=False)
    assert found.sigma is None
    assert found.bad.sum() == 1


@pytest.mark.parametrize("name", ["sigma", "dmask", "rmask", "pmask"])
def test_companion_of_another_size(frame, name):
    save(Path(getattr(frame, name)).with_name("other.fits"), np.ones((4, 4), "i2"))
    wrong = FrameFiles(**{**vars(frame), name: str(Path(frame.image).with_name("other.fits"))})
    with pytest.raises(InputError, match=r"other\.fits: is 4 x 4 pixels; the frame is 4 x 3"):
        read_frame(wrong, FatalBits(1, 1, 1))
