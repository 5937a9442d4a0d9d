"""The search of residuals in Source Estimate: its blocks cover the sky, and new sources join the others."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.residual_search import _blocks, _cut, _near, append, regroup
from pymopex.projection import frame_wcs, sky_to_pixel
from pymopex.residual_search import Nodes, SearchRules

PIXEL = 1.22  # arcsec


@pytest.mark.parametrize("dec", [2.0, 60.0, -75.0])
def test_blocks_cover_all_sources_across_the_origin_of_right_ascension(dec):
    random = np.random.default_rng(1)
    ra = (359.9 + random.uniform(0, 0.6 / np.cos(np.radians(dec)), 2000)) % 360
    north = dec + random.uniform(0, 0.6, 2000)
    held = np.zeros(2000, bool)
    for block in _blocks(SimpleNamespace(ra=ra, dec=north), PIXEL, SearchRules()):
        half = (min(block.shape) / 2 - 2) * block.step / 3600
        east = ((ra - block.ra + 180) % 360 - 180) * np.cos(np.radians(north))
        held |= (np.abs(east) < half) & (np.abs(north - block.dec) < half)
    assert held.all()


def test_no_known_place_gives_no_block():
    nowhere = SimpleNamespace(ra=np.array([np.nan]), dec=np.array([np.nan]))
    assert _blocks(nowhere, PIXEL, SearchRules()) == []


def test_of_a_large_image_the_part_with_the_grid_is_taken():
    x, y = np.meshgrid([1000.0, 1100.0], [50.0, 150.0])
    (rows, columns), nodes = _cut((3000, 4000), Nodes(x, y, np.zeros((2, 2), int), 50))
    assert (rows.start, columns.start) == (34, 984)
    assert (rows.stop, columns.stop) == (166, 1116)
    np.testing.assert_array_equal(nodes.x + columns.start, x)
    assert _cut((256, 256), nodes)[0] == (slice(0, 256), slice(0, 256))


# Distortion of IRAC channel 1, from the header of a frame.
SIP_A = "0_2 3.0882e-06 0_3 6.54e-09 0_4 3.4787e-11 0_5 -1.1354e-13 1_1 2.0844e-05 1_2 -2.1434e-07 1_3 -3.1804e-11 "
SIP_A += "1_4 1.535e-12 2_0 -1.8056e-05 2_1 1.3568e-08 2_2 -4.4371e-11 2_3 -3.5879e-13 3_0 -2.0787e-07 3_1 8.3137e-11 "
SIP_A += "3_2 1.7807e-12 4_0 -3.594e-10 4_1 -1.1255e-12 5_0 3.5288e-12"
SIP_B = "0_2 2.4494e-05 0_3 -1.6723e-07 0_4 -7.9325e-11 0_5 -3.9338e-13 1_1 -2.306e-05 1_2 -6.8347e-10 1_3 -5.5814e-11 "
SIP_B += "1_4 -9.3255e-14 2_0 -1.9548e-06 2_1 -1.8908e-07 2_2 -3.5398e-11 2_3 2.2959e-12 3_0 2.9749e-08 "
SIP_B += "3_1 -3.9458e-11 3_2 -2.3376e-13 4_0 2.2713e-10 4_1 -3.0168e-13 5_0 -2.7808e-12"


def distorted_frame():
    header = fits.Header(
        {"NAXIS": 2, "NAXIS1": 256, "NAXIS2": 256, "CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP"}
    )
    header.update({"CRVAL1": 10.0, "CRVAL2": 0.0, "CRPIX1": 128.0, "CRPIX2": 128.0})
    header.update({"CD1_1": -7.754e-5, "CD1_2": -3.307e-4, "CD2_1": -3.309e-4, "CD2_2": 7.786e-5})
    for name, text in (("A", SIP_A), ("B", SIP_B)):
        words = text.split()
        header[f"{name}_ORDER"] = 5
        header.update(
            {f"{name}_{key}": float(value) for key, value in zip(words[::2], words[1::2], strict=True)}
        )
    return frame_wcs(header)


def test_a_place_far_off_a_frame_is_not_in_it_whatever_the_inverse_of_the_distortion_says():
    wcs, side = distorted_frame(), 256
    x, y = np.meshgrid(np.arange(-1000, 1200, 25.0), np.arange(-1000, 1200, 25.0))
    lon, lat = (a.reshape(x.shape) for a in wcs.wcs_pix2world(x.ravel(), y.ravel(), 0))
    found_x, found_y = (a.reshape(x.shape) for a in sky_to_pixel(wcs, lon.ravel(), lat.ravel()))
    said = (found_x >= 0) & (found_x < side) & (found_y >= 0) & (found_y < side)
    far = np.maximum(np.abs(x - side / 2), np.abs(y - side / 2)) > side
    assert (said & ~far).any()
    near = _near(wcs, (side, side), lon, lat)
    assert not (near & far).any()
    assert near[said & ~far].all()


@dataclass
class Sources:
    detid: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    start_ra: np.ndarray
    start_dec: np.ndarray
    flux: np.ndarray
    group: np.ndarray
    fit_size: np.ndarray
    bright: np.ndarray
    added: np.ndarray


@pytest.fixture
def sources():
    """Two sources that are 20 arcsec apart, and a new one 2 arcsec to the north of the second."""
    ra, dec = np.array([10.0, 10.0]), np.array([0.0, 20 / 3600])
    no = np.zeros(2, bool)
    at = (ra, dec, ra.copy(), dec.copy())
    found = Sources(np.array([4, 9]), *at, np.ones(2), np.array([0, 1]), np.full((2, 2), 7), no, no.copy())
    append(found, np.array([10.0]), np.array([22 / 3600]))
    return found


def test_new_sources_are_numbered_behind_the_others(sources):
    assert sources.detid.tolist() == [4, 9, 10]
    assert sources.added.tolist() == [False, False, True]
    assert sources.fit_size.tolist() == [[7, 7]] * 3
    assert sources.start_dec[2] == sources.dec[2]


@pytest.mark.parametrize("distance", [3.0, None])
def test_a_new_source_joins_the_group_of_its_neighbour(sources, distance):
    run = SimpleNamespace(params=SimpleNamespace(Angular_Distance=distance, Max_Group_Size=12))
    regroup(run, sources, PIXEL)
    assert sources.group[2] == sources.group[1] != sources.group[0]


def test_a_new_source_alone_is_a_group(sources):
    sources.dec[2] += 30 / 3600
    for distance in (3.0, None):
        run = SimpleNamespace(params=SimpleNamespace(Angular_Distance=distance, Max_Group_Size=12))
        regroup(run, sources, PIXEL)
        assert len(set(sources.group)) == 3
