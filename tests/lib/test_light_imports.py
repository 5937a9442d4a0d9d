"""Boxes, tiles and PRFs do without sky coordinates and scipy, whose import each module that runs alone would pay."""

import json
import subprocess
import sys

import pytest

PROBE = """
import importlib, json, sys
importlib.import_module(sys.argv[1])
print(json.dumps([name for name in sys.argv[2:] if name in sys.modules]))
"""


@pytest.mark.parametrize("module", ["geometry", "fiducial", "tile_merge"])
def test_places_need_no_sky_coordinates(module):
    heavy = ["astropy.wcs", "astropy.coordinates", "scipy.sparse", "scipy.spatial"]
    assert loaded(f"pymopex.{module}", heavy) == []


def test_prf_needs_no_filters():
    assert loaded("pymopex.prf", ["scipy.ndimage", "astropy.wcs"]) == []


def loaded(module, heavy):
    command = [sys.executable, "-c", PROBE, module, *heavy]
    return json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
