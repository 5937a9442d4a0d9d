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


DETECTION = """
import json, sys
import numpy as np
from pymopex.background import MedianWindow, background
from pymopex.detection import DetectionParams, detect
from pymopex.noise import faint_side_noise, gaussian_noise
from pymopex.photometry import aperture_photometry
image = np.random.default_rng(1).normal(size=(200, 210)).astype("f4")
image[:90, :100] = np.nan
image[150:153, 150:153] += 100
minus = image - background(image, None, MedianWindow(30, 30, use_sbkg=True, sbkg_filter=3))
gaussian_noise(minus, None, MedianWindow())
noise = faint_side_noise(minus, None, 31, 15)
found = detect(minus, None, DetectionParams("snr_input", min_area=3), noise=noise)
aperture_photometry(image, None, None, found.x, found.y, [3.0], annulus=(8.0, 12.0))
print(json.dumps([len(found), [name for name in sys.argv[1:] if name in sys.modules]]))
"""


def test_detection_and_apertures_need_neither_scipy_nor_astropy():
    heavy = ["astropy", "scipy.spatial", "scipy.ndimage", "scipy.special", "scipy.sparse"]
    done = subprocess.run(
        [sys.executable, "-c", DETECTION, *heavy], capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout) == [1, []]
