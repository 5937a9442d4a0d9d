"""Plain FITS images: what is read and written without astropy is what astropy reads and writes."""

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import plain_fits
from pymopex.kit.images import read_header, read_image, read_pixels, read_section

KINDS = ("u1", "i2", "i4", "f4", "f8")


def image(kind, shape=(7, 5)):
    values = np.arange(np.prod(shape)).reshape(shape).astype(kind)
    if kind[0] == "f":
        values[0, 0] = np.nan
    return values


def header(*cards):
    return fits.Header([("BUNIT", "MJy/sr", "unit"), ("OBJECT", "x" * 100), *cards])


@pytest.mark.parametrize("kind", KINDS)
def test_written_like_astropy(tmp_path, kind):
    data, ours, theirs = image(kind), str(tmp_path / "a.fits"), str(tmp_path / "b.fits")
    plain_fits.write(ours, data, header(("EXTEND", True), ("BLANK", 3)), ["made", "y" * 100])
    expected = header()
    for text in ("made", "y" * 100):
        expected.add_history(text)
    fits.PrimaryHDU(data, expected).writeto(theirs)
    with open(ours, "rb") as a, open(theirs, "rb") as b:
        assert a.read() == b.read()


@pytest.mark.parametrize("kind", KINDS)
def test_read_like_astropy(tmp_path, kind):
    path = str(tmp_path / "a.fits")
    fits.PrimaryHDU(image(kind), header()).writeto(path)
    assert plain_fits.find(path) is not None
    data, head = read_image(path)
    np.testing.assert_array_equal(data, image(kind))
    np.testing.assert_array_equal(read_pixels(path), data)
    assert data.dtype.isnative
    assert repr(head) == repr(fits.getheader(path)) == repr(read_header(path))


@pytest.mark.parametrize("width", [3, 40])  # whole rows are read, or parts of a map
def test_sections(tmp_path, width):
    path, cube = str(tmp_path / "a.fits"), np.arange(2 * 6 * width, dtype="f4").reshape(2, 6, width)
    fits.writeto(path, cube)
    part = read_section(path, slice(2, 5), slice(1, 3), 1)
    np.testing.assert_array_equal(part, cube[1, 2:5, 1:3])


def test_what_is_not_plain_is_for_astropy(tmp_path):
    scaled, longer, blank = (str(tmp_path / name) for name in ("s.fits", "l.fits", "b.fits"))
    fits.writeto(scaled, np.array([[1, 40000]], "u2"))
    fits.HDUList([fits.PrimaryHDU(image("f4")), fits.ImageHDU(image("f4"))]).writeto(longer)
    fits.writeto(blank, image("i2"), fits.Header([("BLANK", 3)]))
    assert [plain_fits.find(path) for path in (scaled, longer, blank)] == [None, None, None]
    np.testing.assert_array_equal(read_image(scaled)[0], [[1, 40000]])
    assert np.isnan(read_image(blank)[0][0, 3])


def test_invalid_cards_are_mended(tmp_path):
    path = str(tmp_path / "a.fits")
    raw = fits.Header.fromstring("lower   = 1".ljust(80) + "GOOD    =                    1".ljust(80))
    plain_fits.write(path, image("f4"), raw, [])
    assert fits.getheader(path)["GOOD"] == 1


def test_rows_in_parts(tmp_path):
    whole, parts, cards = str(tmp_path / "a.fits"), str(tmp_path / "b.fits"), header()
    data = image("f4")
    plain_fits.write(whole, data, cards, ["made"])
    plain_fits.write_rows(parts, data.shape, "f4", cards, ["made"], (data[k : k + 2] for k in range(0, 7, 2)))
    with open(whole, "rb") as a, open(parts, "rb") as b:
        assert a.read() == b.read()
