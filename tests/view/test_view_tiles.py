"""Tiles hold the pixels of the image, or their means."""

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.errors import InputError
from pymopex.view import tiles


def put_together(picture, level):
    """Make the image of a level from its tiles."""
    ny, nx = (-(-side >> level) for side in picture.shape)
    found = np.full((ny, nx), -99, "f4")
    side = tiles.SIDE
    for line in range(-(-ny // side)):
        for column in range(-(-nx // side)):
            tile = picture.tile(level, column, line)
            part = found[line * side : (line + 1) * side, column * side : (column + 1) * side]
            assert tile.shape == part.shape
            part[...] = tile
    return found


@pytest.fixture
def image():
    values = np.random.default_rng(3).normal(5, 2, (1301, 2603)).astype("f4")
    values[100:220, 900:1700] = np.nan
    values[7, 9] = np.nan
    return values


def test_tiles_of_full_size_are_the_image(tmp_path, image):
    fits.writeto(tmp_path / "a.fits", image)
    picture = tiles.picture(str(tmp_path / "a.fits"))
    assert picture.levels == 5
    np.testing.assert_array_equal(put_together(picture, 0), image)


@pytest.mark.parametrize("level", [1, 2, 3, 4])
def test_pixels_of_a_reduced_level_are_means_of_those_with_data(tmp_path, image, level):
    fits.writeto(tmp_path / "a.fits", image)
    picture = tiles.picture(str(tmp_path / "a.fits"))
    reduced, step = put_together(picture, level), 2**level
    for y, x in [(0, 0), (110 >> level, 1000 >> level), (219 >> level, 900 >> level)]:
        block = image[y * step : (y + 1) * step, x * step : (x + 1) * step]
        if np.isnan(block).all():
            assert np.isnan(reduced[y, x])
        elif level <= 3:  # higher levels are means of means
            assert reduced[y, x] == pytest.approx(np.nanmean(block), rel=1e-5)
    assert np.nanmean(reduced) == pytest.approx(np.nanmean(image), rel=1e-3)
    last = image[(reduced.shape[0] - 1) * step :, (reduced.shape[1] - 1) * step :]
    if level <= 3:
        assert reduced[-1, -1] == pytest.approx(np.nanmean(last), rel=1e-5)


def test_integers_with_a_scale_and_a_blank(tmp_path):
    hdu = fits.PrimaryHDU(np.arange(12, dtype="i2").reshape(3, 4))
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.5, 10, 5
    hdu.writeto(tmp_path / "a.fits")
    found = tiles.picture(str(tmp_path / "a.fits")).tile(0, 0, 0)
    wanted = 10 + 0.5 * np.arange(12.0).reshape(3, 4)
    wanted[1, 1] = np.nan
    np.testing.assert_array_equal(found, wanted)


@pytest.mark.parametrize("kind", ["u1", "i2", "i4", "i8", "f4", "f8", "u2"])
def test_every_type_of_pixels(tmp_path, kind):
    values = np.arange(20, dtype=kind).reshape(4, 5)
    fits.writeto(tmp_path / "a.fits", values)
    np.testing.assert_array_equal(tiles.picture(str(tmp_path / "a.fits")).tile(0, 0, 0), values)


def test_compressed_files_and_extensions(tmp_path):
    values = np.arange(20, dtype="f4").reshape(4, 5)
    fits.writeto(tmp_path / "a.fits.gz", values)
    packed = fits.CompImageHDU(values.astype("i4"))
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(tmp_path / "b.fits.fz")
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values)]).writeto(tmp_path / "c.fits")
    for name in ("a.fits.gz", "b.fits.fz", "c.fits"):
        np.testing.assert_array_equal(tiles.picture(str(tmp_path / name)).tile(0, 0, 0), values, name)


def test_what_is_no_image_is_told(tmp_path):
    fits.writeto(tmp_path / "cube.fits", np.zeros((2, 3, 4), "f4"))
    (tmp_path / "text.fits").write_text("text")
    for name, text in (
        ("cube.fits", "two-dimensional"),
        ("text.fits", "cannot be read"),
        ("no.fits", "no such"),
    ):
        with pytest.raises(InputError, match=text):
            tiles.picture(str(tmp_path / name))


def test_a_file_made_anew_is_read_anew(tmp_path):
    path = str(tmp_path / "a.fits")
    fits.writeto(path, np.ones((3, 3), "f4"))
    assert tiles.picture(path) is tiles.picture(path)
    fits.writeto(path, np.full((3, 3), 2, "f4"), overwrite=True)
    assert tiles.picture(path).value(1, 1) == 2


@pytest.mark.parametrize("place", [(5, 0, 0), (0, 11, 0), (0, 0, 6), (-1, 0, 0), (0, -1, 0)])
def test_no_tile_beyond_the_image(tmp_path, image, place):
    fits.writeto(tmp_path / "a.fits", image)
    with pytest.raises(IndexError):
        tiles.picture(str(tmp_path / "a.fits")).tile(*place)


def test_limits_of_a_large_image_come_from_a_sample(tmp_path, image):
    fits.writeto(tmp_path / "a.fits", image)
    facts = tiles.picture(str(tmp_path / "a.fits")).facts
    assert facts["low"] == pytest.approx(5 - 3 * 2, abs=0.1)
    assert facts["high"] == pytest.approx(5 + 15 * 2, abs=0.3)
    fits.writeto(tmp_path / "b.fits", np.full((3, 3), np.nan, "f4"))
    assert tiles.picture(str(tmp_path / "b.fits")).facts["high"] == 1
