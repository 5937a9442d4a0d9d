"""The images that are searched, the pixels of the tables, and the positions of a list."""

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from pymopex.fiducial import FiducialFrame
from pymopex.kit import namelist
from pymopex.kit.errors import InputError
from pymopex.kit.fif import write_fif
from pymopex.kit.parallel import Pool
from pymopex.kit.parameters import Settings
from pymopex.kit.searched import area_of, pixel_grid, searched
from pymopex.kit.task import Run
from pymopex.kit.user_list import positions


def new_run(text, pipeline="apex_user_list"):
    return Run(Settings(namelist.parse(text, "a.nl"), pipeline), Pool(1))


@pytest.fixture
def galactic(tmp_path):
    """A run with a mosaic in galactic coordinates."""
    frame = FiducialFrame(
        "TAN", 120.0, 35.0, 50.5, 40.5, 20.0, -0.0002, 0.0002, 100, 80, "GLON-TAN", "GLAT-TAN"
    )
    write_fif(str(tmp_path / "mosaic_fif.tbl"), frame, "Output")
    return new_run(f"OUTPUT_DIR = {tmp_path}\nINPUT_USER_LIST = {tmp_path}/list.tbl\n")


def test_tables_of_a_galactic_mosaic_have_right_ascension_and_declination(galactic):
    grid = pixel_grid(galactic)
    assert (grid.shape, grid.side) == ((80, 100), pytest.approx(0.0002))
    ra, dec = grid.to_sky(np.array([50.5, 60.0]), np.array([40.5, 3.0]))
    place = SkyCoord(120 * u.deg, 35 * u.deg, frame="galactic").icrs
    assert ra[0] == pytest.approx(place.ra.deg, abs=1e-9)
    assert dec[0] == pytest.approx(place.dec.deg, abs=1e-9)
    x, y = grid.to_pixels(ra, dec)
    np.testing.assert_allclose((x, y), ([50.5, 60], [40.5, 3]), atol=1e-6)


@pytest.mark.parametrize("kind", ["1", "2", "3"])
@pytest.mark.usefixtures("galactic")
def test_right_ascension_counts_in_a_list_with_both(tmp_path, kind):
    text = f"OUTPUT_DIR = {tmp_path}\nINPUT_USER_LIST = {tmp_path}/list.tbl\n"
    run = new_run(f"{text}use_input_list_type = {kind}\n")
    place = SkyCoord(120 * u.deg, 35 * u.deg, frame="galactic").icrs
    text = f"|x |y |ra |dec |id |\n|int|int|double|double|int|\n 7 8 {place.ra.deg:.10f} {place.dec.deg:.10f} 5\n"
    (tmp_path / "list.tbl").write_text(text)
    at = positions(run, pixel_grid(run))
    assert at.detid.tolist() == [1]
    np.testing.assert_allclose((at.x[0], at.y[0]), (50.5, 40.5), atol=1e-5)


def test_a_list_without_positions_is_refused(galactic, tmp_path):
    (tmp_path / "list.tbl").write_text("|ra |flux |\n|double|double|\n 1.0 2.0\n")
    with pytest.raises(InputError, match="has neither RA and Dec nor x and y; its columns are ra, flux"):
        positions(galactic, pixel_grid(galactic))


def test_one_image_is_one_tile(tmp_path):
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 10.0, "CRVAL2": 20.0})
    header.update({"CRPIX1": 15.0, "CRPIX2": 10.0, "CDELT1": -1e-4, "CDELT2": 1e-4, "CROTA2": 30.0})
    image = np.arange(600, dtype="f4").reshape(20, 30)
    fits.writeto(tmp_path / "m.fits", image, header)
    text = f"INPUT_FILE_NAME = {tmp_path}/m.fits\nSIGMA_FILE_NAME = s.fits\nCOVERAGE_MAP = c.fits\n"
    run = new_run(text + "use_unc_to_detect = 1\n", "apex_1frame")
    (tile,) = searched(run)
    assert (tile.box.shape, tile.noise, tile.coverage) == ((20, 30), "s.fits", "c.fits")
    assert tile.files.image == f"{tmp_path}/m.fits"
    area = area_of(tile, [tile], 50)
    np.testing.assert_array_equal(area.cut(area.read(area.paths(lambda t: t.files.image))), image)
    grid = pixel_grid(run)
    ra, dec = grid.to_sky(np.array([15.0]), np.array([10.0]))
    np.testing.assert_allclose((ra[0], dec[0]), (10, 20), atol=1e-12)
    assert grid.side == pytest.approx(1e-4)
    off = new_run(text + "use_unc_to_detect = 0\nhave_uncertainties = 1\n", "apex_1frame")
    assert searched(off)[0].noise == ""
