"""What interpolation must keep on a turned frame, distorted or not: flux, places and fluxes of stars, levels."""

import math

import numpy as np
import pytest
from astropy.io import fits
from pymopex.geometry import FrameMap, fiducial_frame, frame_wcs, pixel_solid_angle
from pymopex.interpolation import Interpolation, interpolate
from scipy.special import ndtr

SIDE, PIXEL, MOSAIC_PIXEL = 256, 1.22, 0.6  # pixels; arcsec
SIGMA = 0.65  # pixel, of the stars: as undersampled as IRAC 1
APERTURE = 12  # arcsec
FLUX_KEPT = 1e-6  # of the total flux
PLACE = 0.01  # arcsec, mean over the stars
STAR_FLUX = 1e-3  # mean over the stars
METHODS = {
    "area overlap": Interpolation(1),
    "drizzle 1": Interpolation(2),
    "drizzle 0.7": Interpolation(2, driz_fac=0.7),
    "grid": Interpolation(3, grid_ratio=8),
    "bicubic": Interpolation(4),
}


@pytest.fixture(scope="module", params=[(-76.0, True), (33.0, False)], ids=["distorted", "plain"])
def placed(request):
    """A turned frame, with the distortion of IRAC 1 or without, on a mosaic: both WCS and the map."""
    angle, distorted = request.param
    c, s = (PIXEL / 3600 * f(math.radians(angle)) for f in (math.cos, math.sin))
    header = fits.Header({"NAXIS": 2, "NAXIS1": SIDE, "NAXIS2": SIDE, "CRPIX1": 128.0, "CRPIX2": 128.0})
    ending = "-SIP" if distorted else ""
    header.update(
        {"CTYPE1": f"RA---TAN{ending}", "CTYPE2": f"DEC--TAN{ending}", "CRVAL1": 150.0, "CRVAL2": 40.0}
    )
    header.update({"CD1_1": -c, "CD1_2": s, "CD2_1": s, "CD2_2": c})
    if distorted:
        header.update({"A_ORDER": 3, "A_2_0": -1.8e-5, "A_1_1": 2.1e-5, "A_0_2": 3.1e-6, "A_3_0": -2.1e-7})
        header.update({"B_ORDER": 3, "B_2_0": -2e-6, "B_1_1": -2.3e-5, "B_0_2": 2.4e-5, "B_0_3": -1.7e-7})
    wcs = frame_wcs(header)
    grid = fiducial_frame([wcs], [(SIDE, SIDE)], crota2=0.0).rescaled(
        -MOSAIC_PIXEL / 3600, MOSAIC_PIXEL / 3600
    )
    return wcs, grid.wcs(), FrameMap.make(wcs, (SIDE, SIDE), grid.wcs(), grid.shape)


def areas(wcs, shape):
    y, x = np.indices(shape).astype(float)
    return pixel_solid_angle(wcs, x, y)


def star(x, y):
    """A Gaussian star of flux 1, integrated over pixels."""
    edges = np.arange(SIDE + 1) - 0.5
    return np.outer(np.diff(ndtr((edges - y) / SIGMA)), np.diff(ndtr((edges - x) / SIGMA)))


@pytest.mark.parametrize("name", ["area overlap", "drizzle 1", "drizzle 0.7"])
def test_flux_is_kept_where_coverage_is_full(placed, name):
    """The frame's flux, times pixel areas, is that of the mosaic; the image ends before the frame does."""
    _, _, frame_map = placed
    data = np.zeros((SIDE, SIDE))
    data[8:-8, 8:-8] = np.random.default_rng(1).uniform(0, 1, (SIDE - 16, SIDE - 16))
    how = METHODS[name]
    out = interpolate(data, None, None, frame_map, how)
    edges = np.arange(SIDE + 1) - 0.5
    X, Y = frame_map.to_mosaic.grid(edges, edges)
    rising = X[1:, 1:] - X[:-1, :-1], Y[1:, 1:] - Y[:-1, :-1]
    falling = X[1:, :-1] - X[:-1, 1:], Y[1:, :-1] - Y[:-1, 1:]
    area = 0.5 * np.abs(rising[0] * falling[1] - falling[0] * rising[1]) * how.driz_fac**2
    total = np.nansum(out.data.astype(float) * out.coverage)
    assert total == pytest.approx((data * area).sum(), rel=FLUX_KEPT)


@pytest.fixture(scope="module")
def stars(placed):
    """81 isolated stars anywhere in their pixels: frame, weights of the mosaic's pixels, places on the mosaic."""
    wcs, mosaic, frame_map = placed
    rng = np.random.default_rng(2)
    x, y = (at.ravel() + rng.uniform(-0.5, 0.5, 81) for at in np.meshgrid(*2 * [np.linspace(28, 228, 9)]))
    data = sum(star(*at) for at in zip(x, y, strict=True)) / areas(wcs, (SIDE, SIDE))
    solid = areas(mosaic, (frame_map.box.y1, frame_map.box.x1))[frame_map.box.slices]
    return data, solid, mosaic.all_world2pix(*wcs.all_pix2world(x, y, 0), 0)


@pytest.mark.parametrize("name", METHODS)
def test_stars_keep_place_and_flux(placed, stars, name):
    """Centroids and fluxes in a large aperture, means over the stars.

    Shrunken drops of one frame cover the mosaic unevenly: there values count with their coverage, as in a co-add.
    """
    data, weight, (X, Y) = stars
    out = interpolate(data, None, None, placed[2], METHODS[name])
    if METHODS[name].driz_fac < 1:
        weight = weight * out.coverage / METHODS[name].driz_fac ** 2
    flux, east, north = np.array([_measure(out, weight, *at) for at in zip(X, Y, strict=True)]).T
    assert flux.mean() == pytest.approx(1, abs=STAR_FLUX)
    assert abs(east.mean()) < PLACE
    assert abs(north.mean()) < PLACE


def _measure(out, weight, X, Y):
    """Flux in the aperture, and centroid minus true place [arcsec]."""
    reach = APERTURE / MOSAIC_PIXEL
    y, x = np.indices(out.data.shape)
    dx, dy = x + out.box.x0 - X, y + out.box.y0 - Y
    light = np.where(dx**2 + dy**2 <= reach**2, np.nan_to_num(out.data) * weight, 0)
    total = light.sum()
    return total, (light * dx).sum() / total * MOSAIC_PIXEL, (light * dy).sum() / total * MOSAIC_PIXEL


@pytest.fixture(scope="module")
def slope(placed):
    """A frame of a plane on the mosaic."""
    wcs, mosaic, _ = placed
    y, x = np.indices((SIDE, SIDE)).astype(float)
    X, Y = mosaic.all_world2pix(*wcs.all_pix2world(x, y, 0), 0)
    return 0.3 * X - 0.2 * Y


@pytest.mark.parametrize("name", METHODS)
def test_a_plane_on_the_sky_stays_where_it_is(placed, slope, name):
    """A smooth slope comes out at its place: no shift of half a pixel hides in a method."""
    out = interpolate(slope, None, None, placed[2], METHODS[name])
    Y, X = np.indices(out.data.shape)
    off = out.data - 0.3 * (X + out.box.x0) + 0.2 * (Y + out.box.y0)
    inside = np.isfinite(off) & (out.coverage > 0.4)
    inside[:8], inside[-8:], inside[:, :8], inside[:, -8:] = False, False, False, False
    assert abs(np.median(off[inside])) < 2e-3
    assert abs(off[inside].mean()) < 2e-3
