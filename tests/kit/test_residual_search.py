"""The search of residuals in Source Estimate: its blocks cover the sky, and new sources join the others."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest
from pymopex.kit.residual_search import _blocks, _cut, append, regroup
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
