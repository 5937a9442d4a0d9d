"""Interpolation on the mosaic grid, labels, and the way back."""

import math

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.geometry import Box, FrameMap, PixelMap, fiducial_frame, frame_wcs
from pymopex.interpolation import Interpolation, back_project, interpolate, project_labels

ARCSEC = 1 / 3600
OVERLAP, DRIZZLE, GRID, CUBIC = (Interpolation(method) for method in (1, 2, 3, 4))
ALL = [OVERLAP, DRIZZLE, Interpolation(2, driz_fac=0.7), GRID, CUBIC, Interpolation(1, fineres=2)]


def affine(frame_shape, mosaic_shape, matrix=((1, 0), (0, 1)), offset=(0, 0)):
    """Place a frame by an affine map: frame pixel = matrix @ mosaic pixel + offset."""
    m, o = np.array(matrix, dtype=float), np.array(offset, dtype=float)
    inverse = np.linalg.inv(m)

    def to_frame(x, y):
        return m[0, 0] * x + m[0, 1] * y + o[0], m[1, 0] * x + m[1, 1] * y + o[1]

    def to_mosaic(x, y):
        x, y = x - o[0], y - o[1]
        return inverse[0, 0] * x + inverse[0, 1] * y, inverse[1, 0] * x + inverse[1, 1] * y

    def mapped(plane_map, shape):
        return PixelMap.of(plane_map, (-0.5, shape[1] - 0.5), (-0.5, shape[0] - 0.5))

    box = Box(0, 0, mosaic_shape[1], mosaic_shape[0])
    return FrameMap(frame_shape, box, mapped(to_frame, mosaic_shape), mapped(to_mosaic, frame_shape))


def sip_frame(pa=-76.0, pixel=0.6, crota2=10.0):
    """Place a frame with the distortion of IRAC channel 1 on a mosaic of `pixel` arcsec."""
    n = 256
    header = fits.Header({"NAXIS": 2, "NAXIS1": n, "NAXIS2": n, "CRPIX1": 128.0, "CRPIX2": 128.0})
    header.update({"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 0.01, "CRVAL2": 60.0})
    c, s, d = math.cos(math.radians(pa)), math.sin(math.radians(pa)), 1.22 * ARCSEC
    header.update({"CD1_1": -d * c, "CD1_2": d * s, "CD2_1": d * s, "CD2_2": d * c})
    header.update({"A_ORDER": 3, "A_2_0": -1.8e-5, "A_1_1": 2.1e-5, "A_0_2": 3.1e-6, "A_3_0": -2.1e-7})
    header.update({"B_ORDER": 3, "B_2_0": -2e-6, "B_1_1": -2.3e-5, "B_0_2": 2.4e-5, "B_0_3": -1.7e-7})
    wcs = frame_wcs(header)
    frame = fiducial_frame([wcs], [(n, n)], crota2=crota2).rescaled(-pixel * ARCSEC, pixel * ARCSEC)
    mosaic = frame.wcs()
    return wcs, mosaic, FrameMap.make(wcs, (n, n), mosaic, frame.shape)


@pytest.fixture(scope="module")
def noise():
    return np.random.default_rng(3).normal(10.0, 3.0, (40, 50)).astype(np.float32)


# ---------------------------------------------------------------- by hand


@pytest.mark.parametrize("how", [OVERLAP, DRIZZLE, GRID, CUBIC])
def test_identity(how, noise):
    out = interpolate(noise, 0.1 * noise, None, affine(noise.shape, noise.shape), how)
    assert out.data.dtype == out.sigma.dtype == out.coverage.dtype == np.float32
    assert np.allclose(out.data, noise, rtol=1e-7, atol=0)
    assert np.allclose(out.sigma, 0.1 * noise, rtol=2e-7, atol=0)
    assert np.allclose(out.coverage, 1, rtol=1e-7)
    assert out.box == Box(0, 0, 50, 40)


@pytest.mark.parametrize("how", [OVERLAP, DRIZZLE])
def test_half_pixel_shift(how):
    data = np.array([[1.0, 3.0, 7.0], [2.0, 4.0, 6.0]])
    out = interpolate(data, data / 10, None, affine((2, 3), (2, 4), offset=(-0.5, 0)), how)
    expected = [[1, 2, 5, 7], [2, 3, 5, 6]]
    assert np.allclose(out.data, expected)
    assert np.allclose(out.sigma, np.array(expected) / 10)  # linear weights, not in quadrature
    assert np.allclose(out.coverage, [[0.5, 1, 1, 0.5]] * 2)


@pytest.mark.parametrize("how", [OVERLAP, DRIZZLE, GRID])
def test_finer_grid(how):
    data = np.array([[1.0, 3.0], [2.0, 4.0]])
    finer = affine((2, 2), (4, 4), ((0.5, 0), (0, 0.5)), (-0.25, -0.25))
    out = interpolate(data, None, None, finer, how)
    assert np.allclose(out.data, np.kron(data, np.ones((2, 2))))
    assert np.allclose(out.coverage, 1)
    assert out.sigma is None
    counts = interpolate(data, data, None, finer, how, surface_brightness=False)
    assert np.allclose(counts.data, np.kron(data, np.ones((2, 2))) / 4)
    assert np.allclose(counts.sigma, counts.data)


@pytest.mark.parametrize("how", [OVERLAP, DRIZZLE, GRID])
def test_coarser_grid_and_bad_pixels(how):
    data = np.arange(16.0).reshape(4, 4)
    bad = np.zeros((4, 4), bool)
    bad[0, 1] = True  # in output pixel (0, 0)
    bad[2:, 2:] = True  # all of output pixel (1, 1)
    data[0, 1] = 1e30
    data[3, 0] = np.nan  # in output pixel (1, 0)
    sigma = np.ones((4, 4))
    sigma[1, 3] = np.inf  # in output pixel (0, 1)
    coarser = affine((4, 4), (2, 2), ((2, 0), (0, 2)), (0.5, 0.5))
    out = interpolate(data, sigma, bad, coarser, how)
    assert np.allclose(out.coverage, [[0.75, 0.75], [0.75, 0]])
    assert np.allclose(
        out.data, [[(0 + 4 + 5) / 3, (2 + 3 + 6) / 3], [(8 + 9 + 13) / 3, np.nan]], equal_nan=True
    )
    assert np.allclose(out.sigma, [[1, 1], [1, np.nan]], equal_nan=True)
    counts = interpolate(data, sigma, bad, coarser, how, surface_brightness=False)
    assert np.nansum(counts.data * counts.coverage) == pytest.approx(0 + 4 + 5 + 2 + 3 + 6 + 8 + 9 + 13)


def test_drizzle_shrinks_the_pixel():
    data = np.array([[1.0, 3.0]])
    half = interpolate(data, None, None, affine((1, 2), (1, 2)), Interpolation(2, driz_fac=0.5))
    assert np.allclose(half.coverage, 0.25)
    assert np.allclose(half.data, data)
    # shifted by half a pixel the small pixels straddle the output pixels: half of each side
    shifted = affine((1, 2), (1, 3), offset=(-0.5, 0))
    out = interpolate(data, None, None, shifted, Interpolation(2, driz_fac=0.5))
    assert np.allclose(out.coverage, [[0.125, 0.25, 0.125]])
    assert np.allclose(out.data, [[1, 2, 3]])


def test_nearest_neighbour_is_the_coarsest_grid(noise):
    shifted = affine(noise.shape, noise.shape, offset=(0.3, -0.4))
    out = interpolate(noise, None, None, shifted, Interpolation(3, grid_ratio=1))
    assert np.array_equal(out.data, noise)


def test_fine_grid_approaches_area_overlap(noise):
    c, s = math.cos(0.4), math.sin(0.4)
    turned = affine(noise.shape, noise.shape, ((c, -s), (s, c)), (10, -5))
    exact = interpolate(noise, None, None, turned, OVERLAP)
    full = exact.coverage == 1
    errors = []
    for ratio in (2, 8, 32):
        points = interpolate(noise, None, None, turned, Interpolation(3, grid_ratio=ratio))
        errors.append(np.abs(points.data - exact.data)[full].std())
    assert errors[2] < 0.5 * errors[1] < 0.25 * errors[0]
    assert errors[2] < 0.02  # noise of 3


def test_subpixels_by_hand():
    data = np.zeros((5, 5))
    data[2, 2] = 1.0
    out = interpolate(data, data, None, affine((5, 5), (5, 5)), Interpolation(1, fineres=2))
    row = np.array([0, 1, 6, 1, 0]) / 8  # quarter-pixel shifts of a pixel-wide box
    assert np.allclose(out.data, np.outer(row, row))
    assert np.allclose(out.sigma, out.data)
    off = interpolate(data, None, None, affine((5, 5), (5, 5)), Interpolation(1, fineres=1))
    assert np.allclose(off.data, data)


def test_cubic_kernel_by_hand():
    data = np.zeros((7, 7))
    data[3, 3] = 1.0
    sigma = np.ones((7, 7))
    out = interpolate(data, sigma, None, affine((7, 7), (7, 7), offset=(0.25, 0)), CUBIC)
    a = -0.5
    near = [(a + 2) * d**3 - (a + 3) * d**2 + 1 for d in (0.25, 0.75)]
    far = [a * (d**3 - 5 * d**2 + 8 * d - 4) for d in (1.25, 1.75)]
    assert np.allclose(out.data[3], [0, far[1], near[1], near[0], far[0], 0, 0])
    assert np.allclose(np.delete(out.data, 3, axis=0), 0)
    assert np.allclose(out.sigma, 1)


def test_cubic_keeps_a_parabola():
    y, x = np.mgrid[:12, :12].astype(float)
    parabola = affine((12, 12), (12, 12), offset=(0.3, -0.2))
    out = interpolate(x**2 - x * y + y, None, None, parabola, CUBIC)
    u, v = x + 0.3, y - 0.2
    assert np.allclose((out.data - (u**2 - u * v + v))[3:-3, 3:-3], 0, atol=1e-5)


def test_cubic_at_bad_pixels():
    _, x = np.mgrid[:9, :9].astype(float)
    bad = np.zeros((9, 9), bool)
    bad[4, 4] = True
    out = interpolate(x, x, bad, affine((9, 9), (9, 9), offset=(0.3, 0)), CUBIC)
    assert np.isnan(out.data[4, 4])
    assert np.isnan(out.sigma[4, 4])
    assert out.coverage[4, 4] == 0
    weight = 1 - 2.5 * 0.7**2 + 1.5 * 0.7**3  # of the bad pixel, replaced by its neighbour
    assert out.data[4, 3] == pytest.approx(3.3 - weight)
    assert out.data[4, 1] == pytest.approx(1.3)
    assert out.coverage[4, 3] == pytest.approx(0.7)


# ---------------------------------------------------------------- areas against polygon clipping


def clipped_area(polygon, x0, y0):
    """Area of a polygon within the unit square at x0, y0 (Sutherland and Hodgman)."""
    for axis, value, keep in ((0, x0, 1), (0, x0 + 1, -1), (1, y0, 1), (1, y0 + 1, -1)):
        result = []
        for k, p in enumerate(polygon):
            q = polygon[(k + 1) % len(polygon)]
            inside_p, inside_q = keep * (p[axis] - value) >= 0, keep * (q[axis] - value) >= 0
            if inside_p:
                result.append(p)
            if inside_p != inside_q:
                t = (value - p[axis]) / (q[axis] - p[axis])
                result.append((p[0] + t * (q[0] - p[0]), p[1] + t * (q[1] - p[1])))
        polygon = result
    x, y = (np.array([p[k] for p in polygon]) for k in (0, 1))
    return 0.5 * abs(np.sum(x * np.roll(y, -1) - y * np.roll(x, -1))) if polygon else 0.0


@given(
    angle=st.floats(-4, 4),
    scale=st.floats(0.2, 4.0),
    shear=st.floats(-0.5, 0.5),
    mirror=st.sampled_from([-1, 1]),
    x0=st.floats(0, 5),
    y0=st.floats(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_areas_of_any_quadrilateral(angle, scale, shear, mirror, x0, y0):
    c, s = scale * math.cos(angle), scale * math.sin(angle)
    matrix = np.array([[c, -s], [s, c]]) @ [[1, shear], [0, mirror]]
    placed = affine((6, 6), (2, 3), matrix, (x0, y0))
    flags = np.zeros((2, 3))
    flags[1, 2] = 1.0
    corners = [matrix @ p + (x0, y0) for p in ((1.5, 0.5), (2.5, 0.5), (2.5, 1.5), (1.5, 1.5))]
    expected = [[clipped_area(corners, i - 0.5, j - 0.5) for i in range(6)] for j in range(6)]
    assert np.allclose(back_project(flags, placed), expected, atol=1e-6)
    coverage = interpolate(np.ones((6, 6)), None, None, placed, OVERLAP).coverage
    assert coverage[1, 2] == pytest.approx(np.sum(expected) / scale**2, rel=2e-6, abs=2e-6 / min(1, scale**2))


# ---------------------------------------------------------------- flux


@pytest.mark.parametrize("how", [OVERLAP, DRIZZLE, Interpolation(2, driz_fac=0.5)])
def test_flux_rotated_by_45_degrees(how):
    data = np.zeros((40, 40))
    data[8:32, 8:32] = np.random.default_rng(1).uniform(0, 5, (24, 24))
    h = math.sqrt(0.5) * 0.6
    out = interpolate(data, None, None, affine((40, 40), (100, 100), ((h, -h), (h, h)), (20, -40)), how)
    flux = np.nansum(out.data.astype(float) * out.coverage) * 0.36
    assert flux == pytest.approx(data.sum() * how.driz_fac**2, rel=1e-6)


@pytest.mark.parametrize("pixel", [0.4, 0.6, 1.22, 3.0])
def test_flux_on_a_distorted_frame(pixel):
    data = np.random.default_rng(2).uniform(1, 2, (256, 256))
    _, _, placed = sip_frame(pixel=pixel)
    for how in (OVERLAP, DRIZZLE):
        out = interpolate(data, None, None, placed, how, surface_brightness=False)
        assert np.nansum(out.data.astype(float) * out.coverage) == pytest.approx(data.sum(), rel=2e-6)


@pytest.mark.parametrize("how", ALL)
def test_constant_stays_constant(how):
    _, _, placed = sip_frame()
    bad = np.random.default_rng(8).random((256, 256)) < 0.1
    out = interpolate(np.full((256, 256), 3.0), np.full((256, 256), 0.5), bad, placed, how)
    seen = out.coverage > 0
    assert np.allclose(out.data[seen], 3.0, rtol=1e-6)
    assert np.allclose(out.sigma[seen], 0.5, rtol=1e-6)
    assert np.isnan(out.data[~seen]).all()
    assert out.coverage.max() <= 1
    if how.method != 3:  # the inner part of the box is covered
        inner = (slice(250, 350), slice(250, 350))
        lost = {1: 0.1, 2: 0.1, 4: 0.12}[how.method]  # 4: no value where the nearest pixel is bad
        assert out.coverage[inner].mean() == pytest.approx((1 - lost) * how.driz_fac**2, abs=0.04)


def test_drizzle_of_whole_pixels_is_area_overlap():
    data = np.random.default_rng(4).normal(5, 1, (256, 256))
    _, _, placed = sip_frame()
    overlap, drizzle = (interpolate(data, None, None, placed, how) for how in (OVERLAP, DRIZZLE))
    inner = overlap.coverage == 1
    ratio = drizzle.data[inner] / overlap.data[inner] - 1
    # edges are straight on different sides of the map: they differ by the curvature of the distortion
    assert np.median(np.abs(ratio)) < 1e-6
    assert np.abs(ratio).max() < 1e-4
    assert np.abs(drizzle.coverage - overlap.coverage).max() < 1e-4


@pytest.mark.parametrize("how", ALL)
def test_star_stays_where_it_is(how):
    wcs, mosaic, placed = sip_frame()
    y, x = np.mgrid[:256, :256]
    for x0, y0 in ((40.3, 200.8), (230.6, 30.1)):
        star = np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / (2 * 1.5**2))
        out = interpolate(star, None, None, placed, how)
        weight = np.nan_to_num(out.data) * out.coverage
        Y, X = np.mgrid[placed.box.slices]
        xc, yc = (weight * X).sum() / weight.sum(), (weight * Y).sum() / weight.sum()
        exact = mosaic.all_world2pix(*wcs.all_pix2world(x0, y0, 0), 0)
        assert math.hypot(xc - exact[0], yc - exact[1]) * 0.6 < 0.01  # arcsec


# ---------------------------------------------------------------- more bad pixels, and masks back


@pytest.mark.parametrize("how", ALL)
def test_more_bad_pixels_change_only_what_they_touch(how):
    rng = np.random.default_rng(6)
    data = rng.normal(1000.0, 100.0, (256, 256))
    bad, more = rng.random((2, 256, 256)) < np.array([0.02, 0.001])[:, None, None]
    _, _, placed = sip_frame()
    before = interpolate(data, data, bad, placed, how)
    after = interpolate(data, data, bad | more, placed, how)
    reach = {1: 1 + int(how.fineres > 1), 2: 1, 3: 1, 4: 3}[how.method]
    box = placed.box
    X, Y = placed.to_frame.grid(box.x0 + np.arange(box.nx), box.y0 + np.arange(box.ny))
    touched = np.zeros(box.shape, bool)
    for j, i in np.argwhere(more & ~bad):
        touched |= (np.abs(X - i) < reach) & (np.abs(Y - j) < reach)
    for name in ("data", "sigma", "coverage"):
        one, two = getattr(before, name), getattr(after, name)
        assert np.array_equal(one[~touched], two[~touched], equal_nan=True)
    assert not np.array_equal(before.coverage, after.coverage)


def test_clipped_box_gives_the_same_pixels():
    wcs, mosaic, placed = sip_frame()
    data = np.random.default_rng(7).uniform(1, 2, (256, 256))
    whole = interpolate(data, None, None, placed, OVERLAP)
    part = interpolate(data, None, None, FrameMap.make(wcs, (256, 256), mosaic, (300, 250)), OVERLAP)
    cut = part.box.within(whole.box)
    assert part.box.x1 == 250
    assert part.box.y1 == 300
    assert np.allclose(part.coverage, whole.coverage[cut], atol=1e-5)
    assert np.allclose(part.data, whole.data[cut], atol=1e-5, equal_nan=True)


def test_back_projection_of_everything_is_one():
    _, _, placed = sip_frame()
    assert np.allclose(back_project(np.ones(placed.box.shape, bool), placed), 1, atol=1e-5)
    assert not back_project(np.zeros(placed.box.shape), placed).any()


def test_back_projection_by_hand():
    finer = affine((2, 2), (4, 4), ((0.5, 0), (0, 0.5)), (-0.25, -0.25))
    flags = np.zeros((4, 4), bool)
    flags[0, 1] = flags[0, 2] = flags[3, 2] = flags[3, 3] = True
    assert np.allclose(back_project(flags, finer), [[0.25, 0.25], [0, 0.5]])
    shifted = affine((2, 2), (2, 2), offset=(0.5, 0))
    assert np.allclose(back_project([[1, 0], [0, 1]], shifted), [[0.5, 0.5], [0, 0.5]])


def test_back_projection_keeps_the_area():
    _, _, placed = sip_frame()
    flags = np.zeros(placed.box.shape, bool)
    flags[300:310, 280:300] = True
    areas = interpolate(np.ones((256, 256)), None, None, placed, OVERLAP, surface_brightness=False).data
    assert back_project(flags, placed).sum() == pytest.approx(areas[flags].sum(), rel=1e-6)


# ---------------------------------------------------------------- labels


def test_labels_by_hand():
    labels = np.array([[0, 2, 2, 0], [0, 0, 7, -3]])
    assert np.array_equal(project_labels(labels, affine((2, 4), (2, 4))), [[0, 2, 2, 0], [0, 0, 7, 0]])
    shifted = project_labels(labels, affine((2, 4), (2, 4), offset=(0.4, 0)))
    assert np.array_equal(shifted, [[0, 2, 2, 0], [0, 0, 7, 0]])
    shifted = project_labels(labels, affine((2, 4), (2, 4), offset=(0.6, 0)))
    assert np.array_equal(shifted, [[2, 2, 0, 0], [0, 7, 0, 0]])
    coarser = project_labels(labels, affine((2, 4), (1, 2), ((2, 0), (0, 2)), (0.5, 0.5)))
    assert np.array_equal(coarser, [[0, 2]])  # one quarter is not enough; of equal ones the smallest
    assert coarser.dtype == np.int32


def test_labels_need_half_of_the_pixel():
    labels = np.array([[0, 5, 0]])
    assert project_labels(labels, affine((1, 3), (1, 2), offset=(0.5, 0))).tolist() == [[5, 5]]
    assert project_labels(labels, affine((1, 3), (1, 2), offset=(0.49, 0))).tolist() == [[0, 5]]
    # half off the frame: the half on it is labelled
    assert project_labels(np.array([[5, 0]]), affine((1, 2), (1, 2), offset=(-0.6, 0))).tolist() == [[5, 5]]


def test_labels_keep_the_area_of_clusters():
    _, _, placed = sip_frame()
    y, x = np.mgrid[:256, :256]
    labels = np.where((x - 100) ** 2 + (y - 90) ** 2 < 100, 4, 0) + np.where((x > 150) & (y > 180), 9, 0)
    out = project_labels(labels, placed)
    assert set(np.unique(out)) == {0, 4, 9}
    for label in (4, 9):
        assert (out == label).sum() * 0.36 == pytest.approx((labels == label).sum() * 1.22**2, rel=0.02)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"method": 5}, "method 5 is not"),
        ({"fineres": 1.5}, "fineres 1.5 is not a whole"),
        ({"driz_fac": 0.0}, "driz_fac 0.0 is not above 0"),
        ({"driz_fac": 1.2}, "driz_fac 1.2"),
        ({"grid_ratio": 0}, "grid_ratio 0"),
        ({"alpha": math.nan}, "alpha nan"),
    ],
)
def test_parameters_are_checked(keys, message):
    with pytest.raises(ValueError, match=message):
        Interpolation(**keys)


def test_shapes_are_checked():
    placed = affine((4, 5), (6, 7))
    good, wrong = np.zeros((4, 5)), np.zeros((5, 4))
    for data, sigma, bad, name in (
        (wrong, None, None, "data"),
        (good, wrong, None, "sigma"),
        (good, good, wrong, "bad"),
    ):
        with pytest.raises(ValueError, match=rf"{name} of shape \(5, 4\), expected \(4, 5\)"):
            interpolate(data, sigma, bad, placed, OVERLAP)
    with pytest.raises(ValueError, match="labels of shape"):
        project_labels(np.zeros((5, 4), int), placed)
    with pytest.raises(ValueError, match="flags of shape"):
        back_project(good, placed)
    with pytest.raises(ValueError, match="not finite"):
        back_project(np.full((6, 7), np.nan), placed)


def test_all_bad_gives_nothing():
    out = interpolate(np.full((4, 4), np.nan), None, None, affine((4, 4), (4, 4)), OVERLAP)
    assert np.isnan(out.data).all()
    assert not out.coverage.any()
