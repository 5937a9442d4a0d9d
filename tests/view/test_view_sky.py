"""Positions under the pointer, the direction of north, and the outlines of frames on a mosaic."""

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from pymopex.kit.ipac import read_table
from pymopex.kit.lists import read_list
from pymopex.view.actions import GETS, Session
from pymopex.view.sky import Sky, footprints, sexagesimal
from pymopex.view.tiles import picture


def header(turn, system="J2000"):
    found = fits.Header()
    found["NAXIS"], found["NAXIS1"], found["NAXIS2"] = 2, 100, 80
    axes = ("RA---TAN", "DEC--TAN") if system == "J2000" else ("GLON-TAN", "GLAT-TAN")
    found["CTYPE1"], found["CTYPE2"] = axes
    found["CRVAL1"], found["CRVAL2"], found["CRPIX1"], found["CRPIX2"] = 210.0, 35.0, 50.5, 40.5
    angle, scale = np.radians(turn), 0.6 / 3600
    found["CD1_1"], found["CD1_2"] = -scale * np.cos(angle), scale * np.sin(angle)
    found["CD2_1"], found["CD2_2"] = scale * np.sin(angle), scale * np.cos(angle)
    return found


@pytest.mark.parametrize("turn", [0, 30, 200])
def test_north_is_where_declination_grows(turn):
    sky = Sky(header(turn))
    ra, dec = sky.to_sky(49.5, 39.5)
    x, y = sky.to_pixels([ra], [dec + 1 / 3600])
    angle = np.degrees(np.arctan2(-(x[0] - 49.5), y[0] - 39.5))
    assert (sky.north - angle + 180) % 360 - 180 == pytest.approx(0, abs=1e-3)
    assert sky.scale == pytest.approx(0.6)


def test_positions_of_an_image_in_galactic_coordinates_are_right_ascensions():
    sky = Sky(header(0, "GALACTIC"))
    ra, dec = sky.to_sky(49.5, 39.5)
    known = SkyCoord(l=210, b=35, unit="deg", frame="galactic").icrs
    assert (float(ra), float(dec)) == pytest.approx((known.ra.deg, known.dec.deg), abs=1e-9)
    x, y = sky.to_pixels([ra, np.nan], [dec, 1])
    assert (x[0], y[0]) == pytest.approx((49.5, 39.5), abs=1e-6)
    assert np.isnan(x[1])


def test_an_image_without_coordinates():
    sky = Sky(fits.Header())
    assert (sky.known, sky.north, np.isnan(sky.scale)) == (False, 0.0, True)


def test_hours_and_degrees():
    assert sexagesimal(15.0, -1.5) == "01:00:00.000 -01:30:00.000"


def test_outlines_lie_where_the_frames_were_interpolated_to(field):
    paths = [entry.path for entry in read_list(f"{field.sim}/images.txt")]
    found = footprints(
        [*paths, "no such file"], picture(str(field.out / "Combine-mosaic" / "mosaic.fits")).sky
    )
    assert [one["file"] for one in found] == paths
    table = read_table(str(next((field.out / "Interp-mosaic").glob("interp_*.tbl"))))
    for axis in "xy":
        low = np.array([min(one[axis]) for one in found])
        high = np.array([max(one[axis]) for one in found])
        begin = table.column(f"offset_{axis}") + 1
        np.testing.assert_allclose(low, begin, atol=3)
        np.testing.assert_allclose(high, begin + table.column(f"n{axis}"), atol=3)


def test_the_page_gets_the_outlines_and_the_intermediate_files_of_the_run(field, monkeypatch):
    monkeypatch.chdir(field.work)
    session = Session("out")
    told = GETS["footprints"](session, {"image": "Combine-mosaic/mosaic.fits"})
    assert len(told["frames"]) == 12
    assert "/" not in told["frames"][0]["file"]
    listed = {one["name"]: one for one in GETS["intermediate"](session, {})}
    assert len(listed["mosaic_I1.nl"]["files"]) > 12
    assert all((field.out / name).is_file() for one in listed.values() for name in one["files"])
    assert listed["mosaic_I1.nl"]["bytes"] > 1e5
