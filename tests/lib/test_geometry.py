"""Boxes, fiducial frames, pixel maps and frames on the mosaic."""

import math
from dataclasses import replace

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.geometry import (
    Box,
    FiducialFrame,
    FrameMap,
    PixelMap,
    fiducial_frame,
    frame_wcs,
    pixel_solid_angle,
)
from pymopex.projection import _value, exact_map, pixel_to_sky, sky_system, sky_to_pixel, unit_vectors
from pymopex.units import MJY_SR_TO_UJY_ARCSEC2, ujy_per_mjysr

ARCSEC = 1 / 3600
SHAPE = (256, 256)

# Distortion of the size of IRAC channel 1: up to 1.4 pixel in the corners.
SIP = {
    "A_ORDER": 3,
    "B_ORDER": 3,
    "A_2_0": -1.8e-5,
    "A_1_1": 2.1e-5,
    "A_0_2": 3.1e-6,
    "A_3_0": -2.1e-7,
    "A_1_2": -2.1e-7,
    "B_2_0": -2.0e-6,
    "B_1_1": -2.3e-5,
    "B_0_2": 2.4e-5,
    "B_2_1": -1.9e-7,
    "B_0_3": -1.7e-7,
}


def frame_header(ra=150.0, dec=2.0, pa=0.0, scale=1.22, shape=SHAPE, sip=True, flip=-1):
    """Header of a frame; `pa` is the position angle of +y, east of north [deg], `scale` in arcsec."""
    header = fits.Header({"NAXIS": 2, "NAXIS1": shape[1], "NAXIS2": shape[0]})
    suffix = "-SIP" if sip else ""
    header.update({"CTYPE1": "RA---TAN" + suffix, "CTYPE2": "DEC--TAN" + suffix, "RADESYS": "ICRS"})
    header.update({"CRVAL1": ra, "CRVAL2": dec, "CRPIX1": shape[1] / 2, "CRPIX2": shape[0] / 2})
    c, s, d = math.cos(math.radians(pa)), math.sin(math.radians(pa)), scale * ARCSEC
    header.update({"CD1_1": flip * d * c, "CD1_2": d * s, "CD2_1": -flip * d * s, "CD2_2": d * c})
    if sip:
        header.update(SIP)
    return header


def made_frame(**keys):
    return frame_wcs(frame_header(**keys))


# ---------------------------------------------------------------- Box


def test_box_by_hand():
    box = Box(3, 5, 4, 2)
    assert (box.shape, box.x1, box.y1) == ((2, 4), 7, 7)
    image = np.arange(100).reshape(10, 10)
    assert image[box.slices].tolist() == [[53, 54, 55, 56], [63, 64, 65, 66]]
    assert box.intersect(Box(0, 0, 5, 6)) == Box(3, 5, 2, 1)
    assert box.intersect(Box(7, 5, 3, 3)) is None
    outer = Box(2, 2, 8, 8)
    assert np.array_equal(image[outer.slices][box.within(outer)], image[box.slices])


def test_box_outside_is_refused():
    with pytest.raises(ValueError, match="not inside"):
        Box(0, 0, 4, 4).within(Box(1, 0, 4, 4))


# ---------------------------------------------------------------- units


def test_units():
    assert pytest.approx(23.50443, abs=1e-5) == MJY_SR_TO_UJY_ARCSEC2
    pixel = (0.6 * u.arcsec**2 * 0.6).to_value(u.sr)
    assert ujy_per_mjysr(pixel) == pytest.approx(8.4616, abs=1e-4)
    assert np.allclose(ujy_per_mjysr(np.array([pixel, 2 * pixel])) / 8.4616, [1, 2], rtol=1e-5)


# ---------------------------------------------------------------- WCS of frames


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"EQUINOX": 2000.0, "WCSAXES": 2},
        {"CUNIT1": "deg", "CUNIT2": "deg"},
        {"LONPOLE": 170.0},
        {"RADESYS": "FK5", "CRVAL1": 150},
        {"CTYPE1": "GLON-TAN-SIP", "CTYPE2": "GLAT-TAN-SIP"},
        {"CTYPE1": "DEC--TAN-SIP", "CTYPE2": "RA---TAN-SIP", "CRVAL1": 2.0, "CRVAL2": 150.0},
    ],
)
def test_frame_wcs_equals_astropy(more):
    """Both read numbers as a file has them, to 20 characters."""
    header = frame_header(pa=-76.0)
    header.update(more)
    header = fits.Header.fromstring(header.tostring())
    x, y = np.random.default_rng(1).uniform(-0.5, 255.5, (2, 100))
    ours, theirs = frame_wcs(header), WCS(header)
    assert np.array_equal(ours.all_pix2world(x, y, 0), theirs.all_pix2world(x, y, 0))
    theirs.wcs.set()
    assert sky_system(ours) == sky_system(theirs)
    assert ours.wcs.radesys == theirs.wcs.radesys
    lon, lat = pixel_to_sky(ours, x, y)
    found = sky_to_pixel(ours, lon, lat)
    world = (lon, lat) if theirs.wcs.lng == 0 else (lat, lon)
    known = theirs.all_world2pix(*world, 0, tolerance=1e-9, maxiter=50)
    assert np.allclose(found, known, rtol=0, atol=2e-9)
    assert np.allclose(found, (x, y), rtol=0, atol=2e-9)


def test_far_from_the_frame_the_inverse_of_the_distortion_stays_finite():
    """The polynomials run off there; places beside the frame come out as ever."""
    wcs = made_frame(pa=20.0)
    x = np.array([10.0, 300.0, 9e3, -2e4, 100.0])
    y = np.array([20.0, -40.0, 9e3, 2e4, 1e5])
    found = np.array(sky_to_pixel(wcs, *wcs.wcs_pix2world(x, y, 0)))
    assert np.isfinite(found).all()
    again = np.array(wcs.pix2foc(*found, 0))
    assert np.allclose(again[:, :2], [x[:2], y[:2]], rtol=0, atol=1e-8)
    other = np.array(sky_to_pixel(wcs, *wcs.wcs_pix2world(x[:2], y[:2], 0)))
    assert np.array_equal(other, found[:, :2])  # whatever is asked for besides


def test_what_lies_far_from_a_frame_is_not_placed_on_it():
    header = frame_header(pa=20.0)
    header.update({"A_ORDER": 5, "A_4_0": -3.6e-10, "A_5_0": 3.5e-12, "A_3_2": 1.8e-12, "A_1_4": 1.5e-12})
    header.update({"B_ORDER": 5, "B_4_0": 2.3e-10, "B_5_0": -2.8e-12, "B_2_3": 2.3e-12})
    wcs, side = frame_wcs(header), np.linspace(-20, 20, 401) * SHAPE[0]
    x, y = (part.ravel() for part in np.meshgrid(side, side))
    found = np.array(sky_to_pixel(wcs, *wcs.wcs_pix2world(x, y, 0)))
    on_frame = ((found > -0.5) & (found < np.array(SHAPE[::-1])[:, None] - 0.5)).all(axis=0)
    assert on_frame.sum() > 50
    assert np.allclose(wcs.pix2foc(*found[:, on_frame], 0), (x[on_frame], y[on_frame]), rtol=0, atol=1e-6)


def test_places_alone_do_not_depend_on_each_other():
    wcs = made_frame(pa=20.0)
    x, y = np.random.default_rng(1).uniform(-10, 266, (2, 300))
    lon, lat = wcs.wcs_pix2world(x, y, 0)
    together = np.array(sky_to_pixel(wcs, lon, lat, alone=True))
    one_by_one = [sky_to_pixel(wcs, lon[k : k + 1], lat[k : k + 1], alone=True) for k in range(x.size)]
    assert np.array_equal(together, np.squeeze(one_by_one).T)
    assert np.allclose(wcs.pix2foc(*together, 0), (x, y), rtol=0, atol=1e-8)


def test_sip_is_used_without_the_suffix():
    header = frame_header()
    with_suffix = frame_wcs(header).all_pix2world(250.0, 250.0, 0)
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    assert np.array_equal(frame_wcs(header).all_pix2world(250.0, 250.0, 0), with_suffix)


def test_refined_pointing_shifts_and_turns():
    header = frame_header(ra=120.0, dec=-9.0, pa=-76.75)
    header.update({"RARFND": 120.001, "DECRFND": -9.0005, "CT2RFND": -76.70})
    expected = frame_wcs(frame_header(ra=120.001, dec=-9.0005, pa=-76.70))
    x, y = np.array([0.0, 128.0, 255.0]), np.array([255.0, 10.0, 3.0])
    got = frame_wcs(header, refined=True).all_pix2world(x, y, 0)
    assert np.allclose(got, expected.all_pix2world(x, y, 0), atol=1e-10, rtol=0)


def test_refined_pointing_with_cdelt_header():
    header = fits.Header({"NAXIS": 2, "NAXIS1": 64, "NAXIS2": 64, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN"})
    header.update({"CRVAL1": 10.0, "CRVAL2": 20.0, "CRPIX1": 32.5, "CRPIX2": 32.5})
    header.update({"CDELT1": -1e-4, "CDELT2": 1e-4, "CROTA2": 30.0})  # +y at position angle -30
    header.update({"RARFND": 10.0, "DECRFND": 20.0, "CT2RFND": -30.0})
    x, y = np.array([0.0, 60.0]), np.array([60.0, 5.0])
    plain = frame_wcs(header).all_pix2world(x, y, 0)
    assert np.allclose(frame_wcs(header, refined=True).all_pix2world(x, y, 0), plain, atol=1e-11, rtol=0)


def test_refined_pointing_missing():
    with pytest.raises(ValueError, match="RARFND, DECRFND, CT2RFND"):
        frame_wcs(frame_header(), refined=True)


def test_header_without_sky():
    with pytest.raises(ValueError, match="no celestial WCS"):
        frame_wcs(fits.Header({"NAXIS": 2, "NAXIS1": 4, "NAXIS2": 4}))


def test_old_equinox_is_refused():
    header = frame_header(sip=False)
    header["RADESYS"], header["EQUINOX"] = "FK4", 1950.0
    with pytest.raises(ValueError, match="only J2000"):
        fiducial_frame([frame_wcs(header)], [SHAPE])


def test_solid_angle_of_small_flat_pixels():
    wcs = made_frame(sip=False, scale=0.6)
    area = pixel_solid_angle(wcs, np.array([127.0, 128.0]), np.array([127.0, 128.0]))
    assert np.allclose(area, (0.6 * ARCSEC * math.pi / 180) ** 2, rtol=1e-8)


def test_solid_angles_add_up_to_the_frame():
    wcs = made_frame(dec=60.0)
    x, y = np.meshgrid(np.arange(256), np.arange(256))
    corners = unit_vectors(
        *wcs.all_pix2world(*(np.ravel(v) for v in np.meshgrid([-0.5, 255.5], [-0.5, 255.5])), 0)
    )
    edge = np.linspace(-0.5, 255.5, 513)
    sides = [
        (edge, 0 * edge - 0.5),
        (0 * edge + 255.5, edge),
        (edge[::-1], 0 * edge + 255.5),
        (0 * edge - 0.5, edge[::-1]),
    ]
    flat = made_frame(dec=60.0, sip=False)
    outline = [exact_map(wcs, flat)(*side) for side in sides]
    px, py = (np.concatenate([side[k] for side in outline]) for k in (0, 1))
    polygon = 0.5 * abs(np.sum(px * np.roll(py, -1) - py * np.roll(px, -1)))  # in undistorted pixels
    expected = polygon * pixel_solid_angle(flat, np.array(127.0), np.array(127.0))
    assert corners.shape == (3, 4)
    assert pixel_solid_angle(wcs, x, y).sum() == pytest.approx(
        float(expected), rel=3e-6
    )  # TAN against sphere


# ---------------------------------------------------------------- pixel maps

MAP_CASES = {
    "plain": {"ra": 150.0, "dec": 2.0, "pa": -76.75},
    "ra zero": {"ra": 359.999, "dec": 10.0, "pa": 45.0},
    "pole": {"ra": 37.0, "dec": 89.9, "pa": 20.0},
    "pole inside": {"ra": 37.0, "dec": 89.99, "pa": 20.0},
    "mirrored": {"ra": 0.001, "dec": -45.0, "pa": 130.0, "flip": 1},
}


@pytest.mark.parametrize("case", MAP_CASES)
@pytest.mark.parametrize("system", ["J2000", "Galactic", "Ecliptic"])
def test_map_error_against_astropy(case, system):
    wcs = made_frame(**MAP_CASES[case])
    frame = fiducial_frame([wcs], [SHAPE], system=system, crota2=30.0).rescaled(-0.6 * ARCSEC, 0.6 * ARCSEC)
    mosaic = frame.wcs()
    placed = FrameMap.make(wcs, SHAPE, mosaic, frame.shape)
    rng = np.random.default_rng(5)
    x, y = rng.uniform(-0.5, 255.5, (2, 500))
    sky = SkyCoord(*wcs.all_pix2world(x, y, 0), unit="deg", frame="icrs")
    name = {"J2000": "icrs", "Galactic": "galactic", "Ecliptic": "barycentricmeanecliptic"}[system]
    there = sky.transform_to(name).represent_as("unitspherical")
    exact = mosaic.all_world2pix(there.lon.deg, there.lat.deg, 0)
    X, Y = placed.to_mosaic.points(x, y)
    assert np.hypot(X - exact[0], Y - exact[1]).max() < 1e-5  # pixel
    back = placed.to_frame.points(X, Y)
    assert np.hypot(back[0] - x, back[1] - y).max() < 1e-5


def test_grid_and_points_agree_and_ranges_hold():
    wcs, other = made_frame(), made_frame(pa=30.0)
    mapped = PixelMap.between(wcs, other, (0.0, 50.0), (10.0, 30.0))
    x, y = np.linspace(0, 50, 7), np.linspace(10, 30, 5)
    X, Y = mapped.grid(x, y)
    px, py = mapped.points(*np.meshgrid(x, y))
    assert X.shape == (5, 7)
    assert np.abs(X - px).max() < 1e-11
    assert np.abs(Y - py).max() < 1e-11
    assert np.isnan(mapped.points(np.array([51.0, -1.0]), np.array([20.0, 20.0]))).all()
    with pytest.raises(ValueError, match="outside the map's range"):
        mapped.grid(np.array([51.0]), y)


def test_part_of_a_grid_is_bit_identical():
    mapped = PixelMap.between(made_frame(), made_frame(pa=30.0), (0.0, 50.0), (0.0, 50.0))
    x = np.arange(51.0)
    whole, part = mapped.grid(x, x), mapped.grid(x[3:20], x[7:9])
    assert np.array_equal(whole[0][7:9, 3:20], part[0])
    assert np.array_equal(whole[1][7:9, 3:20], part[1])


@pytest.mark.parametrize(("pa", "scale"), [(0.0, 1.0), (30.0, 0.7), (45.0, 2.5)])
def test_no_pixel_touches_more_cells_than_told(pa, scale):
    mapped = PixelMap.between(made_frame(), made_frame(pa=pa, scale=scale), (-0.5, 99.5), (-0.5, 99.5))
    edges = np.arange(-0.5, 100.0)
    for told, corners in zip(mapped.touched(1.0), mapped.grid(edges, edges), strict=True):
        four = np.stack([corners[:-1, :-1], corners[1:, :-1], corners[:-1, 1:], corners[1:, 1:]]) + 0.5
        touched = np.floor(four.max(axis=0)) - np.floor(four.min(axis=0)) + 1
        assert touched.max() <= told <= touched.max() + 1


def test_jacobian_by_differences():
    mapped = PixelMap.between(made_frame(), made_frame(pa=30.0, scale=0.7), (0.0, 255.0), (0.0, 255.0))
    x, y, h = np.array([5.0, 100.0, 250.0]), np.array([200.0, 30.0, 250.0]), 1e-3
    right, left = mapped.points(x + h, y), mapped.points(x - h, y)
    up, down = mapped.points(x, y + h), mapped.points(x, y - h)
    expected = [
        (a - b) / (2 * h)
        for a, b in ((right[0], left[0]), (up[0], down[0]), (right[1], left[1]), (up[1], down[1]))
    ]
    assert np.allclose(mapped.jacobian(x, y), expected, atol=1e-8)


def test_rough_map_is_refused():
    def steps(x, y):
        return np.floor(x), y

    with pytest.raises(ValueError, match="not smooth"):
        PixelMap.of(steps, (0.0, 10.0), (0.0, 10.0))
    with pytest.raises(ValueError, match="empty range"):
        PixelMap.of(steps, (10.0, 0.0), (0.0, 10.0))


def test_opposite_sky_is_refused_or_none():
    near, far = made_frame(dec=10.0), made_frame(ra=330.0, dec=-10.0)
    with pytest.raises(ValueError, match="hemisphere"):
        PixelMap.between(far, near, (0.0, 10.0), (0.0, 10.0))
    assert FrameMap.make(far, SHAPE, near, SHAPE) is None


# ---------------------------------------------------------------- fiducial frame


def contains_all(frame, wcss, border):
    """Whether all frames are at least `border` arcsec inside the mosaic."""
    mosaic = frame.wcs()
    t = np.linspace(-0.5, 255.5, 9)
    x, y = (
        np.concatenate([t, t, 0 * t - 0.5, 0 * t + 255.5]),
        np.concatenate([0 * t - 0.5, 0 * t + 255.5, t, t]),
    )
    for wcs in wcss:
        X, Y = exact_map(wcs, mosaic)(x, y)
        inside = min(X.min() + 0.5, frame.naxis1 - 0.5 - X.max(), Y.min() + 0.5, frame.naxis2 - 0.5 - Y.max())
        if inside * frame.cdelt2 * 3600 < border - 1e-3:
            return False
    return True


def test_one_plain_frame_gives_itself():
    wcs = made_frame(sip=False, pa=25.0)
    frame = fiducial_frame([wcs], [SHAPE], padding=0.0)
    assert frame.shape == SHAPE
    assert (frame.crpix1, frame.crpix2) == (128.5, 128.5)
    assert frame.crota2 == pytest.approx(-25.0, abs=1e-3)
    assert frame.cdelt2 == pytest.approx(1.22 * ARCSEC, rel=1e-6)
    assert frame.cdelt1 == -frame.cdelt2
    x, y = exact_map(wcs, frame.wcs())(np.array([0.0, 255.0]), np.array([0.0, 255.0]))
    assert np.allclose([x, y], [[0, 255], [0, 255]], atol=0.01)  # the pixel size is a mean over the TAN plane


@pytest.mark.parametrize("case", MAP_CASES)
@pytest.mark.parametrize("crota2", [None, 0.0, 30.0])
def test_frames_lie_inside_with_the_padding(case, crota2):
    keys = MAP_CASES[case]
    wcss = [made_frame(**keys), made_frame(**{**keys, "dec": keys["dec"] - 0.1})]
    frame = fiducial_frame(wcss, [SHAPE] * 2, padding=10.0, crota2=crota2)
    assert contains_all(frame, wcss, 10.0)
    assert (frame.crpix1, frame.crpix2) == ((frame.naxis1 + 1) / 2, (frame.naxis2 + 1) / 2)
    tight = replace(frame, naxis1=frame.naxis1 - 2, crpix1=frame.crpix1 - 1)
    assert not contains_all(tight, wcss, 10.0)  # no wider than needed
    if crota2 is not None:
        assert frame.crota2 == crota2


def test_north_is_up_and_east_left():
    mosaic = fiducial_frame([made_frame(pa=50.0)], [SHAPE], crota2=0.0).wcs()
    sky = np.array(mosaic.all_pix2world([100.0, 101.0, 100.0], [100.0, 100.0, 101.0], 0))
    east, north = sky[0] - sky[0, 0], sky[1] - sky[1, 0]
    assert east[1] < 0  # +x is west
    assert north[2] > 0
    assert abs(north[1]) < 1e-3 * abs(east[1])


def test_average_orientation():
    def crota2(*angles):
        wcss = [made_frame(pa=pa, sip=False) for pa in angles]
        return fiducial_frame(wcss, [SHAPE] * len(wcss)).crota2

    assert crota2(10.0, 20.0) == pytest.approx(-15.0, abs=1e-3)
    assert abs(crota2(175.0, -175.0)) == pytest.approx(180.0, abs=1e-3)
    half_a_year = crota2(40.0, 221.0)  # modulo 90 degrees
    assert (half_a_year + 40.5 + 45) % 90 - 45 == pytest.approx(0.0, abs=1e-3)


def test_projections_and_systems():
    wcs = made_frame()
    sine = fiducial_frame([wcs], [SHAPE], projection="SIN", system="galactic")
    assert (sine.ctype1, sine.ctype2) == ("GLON-SIN", "GLAT-SIN")
    ecliptic = fiducial_frame([wcs], [SHAPE], system="Ecliptic")
    assert (ecliptic.ctype1, ecliptic.ctype2) == ("ELON-TAN", "ELAT-TAN")
    centre = SkyCoord(*wcs.all_pix2world(127.5, 127.5, 0), unit="deg").galactic
    assert centre.separation(SkyCoord(sine.crval1, sine.crval2, unit="deg", frame="galactic")) < 2 * u.arcsec


def test_margin_is_in_pixels():
    wcs = made_frame()
    frames = [fiducial_frame([wcs], [SHAPE], margin=margin) for margin in (0, 5, -5)]
    assert [f.naxis1 - frames[0].naxis1 for f in frames] == [0, 10, -10]
    with pytest.raises(ValueError, match="leaves nothing"):
        fiducial_frame([wcs], [SHAPE], margin=-200)


def test_bad_fiducial_input():
    wcs = made_frame()
    with pytest.raises(ValueError, match="at least one frame"):
        fiducial_frame([], [])
    with pytest.raises(ValueError, match="one shape each"):
        fiducial_frame([wcs], [SHAPE, SHAPE])
    with pytest.raises(ValueError, match="coordinate system 'B1950'"):
        fiducial_frame([wcs], [SHAPE], system="B1950")
    with pytest.raises(ValueError, match="projection XYZ cannot be used"):
        fiducial_frame([wcs], [SHAPE], projection="XYZ")
    with pytest.raises(ValueError, match="hemisphere"):
        fiducial_frame([wcs, made_frame(ra=329.0, dec=-2.5)], [SHAPE, SHAPE])
    with pytest.raises(ValueError, match="empty"):
        replace(fiducial_frame([wcs], [SHAPE]), naxis1=0)
    with pytest.raises(ValueError, match="pixel size of zero"):
        replace(fiducial_frame([wcs], [SHAPE]), cdelt1=0.0)


def test_header_round_trip():
    frame = FiducialFrame("TAN", 10.0, -20.0, 50.5, 40.5, 33.0, -2e-4, 2e-4, 100, 80, "RA---TAN", "DEC--TAN")
    header = frame.header()
    assert {k: header[k] for k in ("CDELT1", "CROTA2", "NAXIS1", "CRPIX2")} == {
        "CDELT1": -2e-4,
        "CROTA2": 33.0,
        "NAXIS1": 100,
        "CRPIX2": 40.5,
    }
    assert "CD1_1" not in header
    assert np.allclose(frame.wcs().all_world2pix(10.0, -20.0, 1), [50.5, 40.5])
    assert frame.wcs().pixel_shape == (100, 80)


@given(naxis=st.integers(3, 5000), ratio=st.floats(0.2, 5.0), reference=st.floats(-100.0, 3000.0))
@settings(max_examples=50, deadline=None)
def test_rescaled_keeps_the_sky_area(naxis, ratio, reference):
    frame = FiducialFrame(
        "TAN", 0, 0, (naxis + 1) / 2, reference, 0, -3e-4, 3e-4, naxis, naxis, "RA---TAN", "DEC--TAN"
    )
    new = frame.rescaled(-3e-4 / ratio, 3e-4 / ratio)
    assert new.crpix1 == pytest.approx((new.naxis1 + 1) / 2)
    assert 0 <= new.naxis1 * new.cdelt2 - naxis * 3e-4 + 1e-4 * new.cdelt2 <= new.cdelt2 * (1 + 1e-3)
    for old_edge, new_edge in ((0.5, 0.5), (naxis + 0.5, new.naxis2 + 0.5)):
        off = (old_edge - frame.crpix2) * frame.cdelt2 - (new_edge - new.crpix2) * new.cdelt2
        assert abs(off) <= new.cdelt2 / 2 + 1e-9  # half of the pixel gained on each side


def test_rescaled_signs():
    frame = fiducial_frame([made_frame()], [SHAPE])
    with pytest.raises(ValueError, match="negative in x"):
        frame.rescaled(1e-4, 1e-4)


# ---------------------------------------------------------------- frames on the mosaic


def test_box_is_the_bounding_rectangle():
    wcs = made_frame(pa=30.0)
    frame = fiducial_frame([wcs], [SHAPE], padding=20.0, crota2=0.0)
    placed = FrameMap.make(wcs, SHAPE, frame.wcs(), frame.shape)
    edge = np.linspace(-0.5, 255.5, 1000)
    X, _ = exact_map(wcs, frame.wcs())(
        np.concatenate([edge, edge * 0 - 0.5]), np.concatenate([edge * 0 - 0.5, edge])
    )
    assert placed.box.x0 <= X.min() + 0.5 < placed.box.x0 + 1
    assert placed.box.intersect(Box(0, 0, frame.naxis1, frame.naxis2)) == placed.box


def test_box_is_clipped_to_the_mosaic():
    wcs = made_frame(sip=False)
    grid = made_frame(sip=False)
    assert FrameMap.make(wcs, SHAPE, grid, (100, 120)).box == Box(0, 0, 120, 100)
    shifted = frame_header(sip=False)
    shifted["CRPIX1"] -= 250
    shifted["CRPIX2"] += 2.5
    assert FrameMap.make(wcs, SHAPE, frame_wcs(shifted), SHAPE).box == Box(0, 2, 6, 254)
    shifted["CRPIX1"] -= 10
    assert FrameMap.make(wcs, SHAPE, frame_wcs(shifted), SHAPE) is None


def test_low_degree_is_enough_for_a_distorted_frame():
    wcs = made_frame(pa=30.0)
    frame = fiducial_frame([wcs], [SHAPE])
    placed = FrameMap.make(wcs, SHAPE, frame.wcs(), frame.shape)
    assert placed.to_frame.error < 1e-5
    assert placed.to_frame.coefficients.shape[1] <= 14  # what makes a map cheap


@pytest.mark.parametrize(
    "text",
    [
        "1.5E-05 / x",
        "3",
        "-3.",
        "1.0D-5",
        ".5",
        "3E5",
        "+12 / y",
        "(1, 2)",
        "'12'",
        "T",
        "1.5E-05comment / x",
    ],
)
def test_numbers_of_cards_are_those_of_astropy(text):
    one, two = (fits.Card.fromstring(f"A_0_2   = {text:>20s}".ljust(80)) for _ in range(2))
    try:
        expected = two.value
    except fits.VerifyError:
        with pytest.raises(fits.VerifyError):
            _value(one)
        return
    assert (type(_value(one)), _value(one)) == (type(expected), expected)
