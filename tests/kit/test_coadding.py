"""Weights and parts of the co-addition, as namelists ask for them."""

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import namelist
from pymopex.kit.coadding import MOSAICS, exposures, header_number, parts, time_key
from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles
from pymopex.kit.layers import Layer
from pymopex.kit.parameters import Settings
from pymopex.kit.products import PRODUCTS
from pymopex.kit.task import Run


def run(*lines, block=()):
    inside = "".join(f" {line},\n" for line in block)
    text = "".join(f"{line}\n" for line in lines) + f"&MOSAICCOADDIN\n{inside}&END\n"
    return Run(Settings(namelist.parse(text, "mosaic.nl"), "mosaic"))


@pytest.mark.parametrize(
    ("block", "key"),
    [
        ([], ""),
        (["INTEG_TIME_KWD = 'FRAMTIME'"], "FRAMTIME"),  # an old namelist
        (["INTEG_TIME_KWD = 'FRAMTIME'", "USE_INT_TIME_KWD = 0"], ""),
        (["INTEG_TIME_KWD = 'FRAMTIME'", "USE_INT_TIME_KWD = 1"], "FRAMTIME"),
        (["USE_INT_TIME_KWD = 1"], "EXPTIME"),
        (["INTEG_TIME_KWD ="], ""),
    ],
)
def test_when_exposure_times_weight(block, key):
    assert time_key(run(block=block).params_of("mosaic_coadder")) == key


def test_parts_that_are_asked_for():
    assert parts(run()) == ["image", "cov", "unc", "std"]
    few = ("create_unc_mosaic = 0", "create_std_mosaic = 0", "run_median_mosaic = 1")
    assert parts(run(*few)) == ["image", "cov", "median", "median_unc"]
    none = ("IMAGE_STACK_FILE_NAME = a.txt", "run_median_mosaic = 1", "create_var_mosaic = 1")
    assert parts(run(*none)) == ["image", "cov", "std", "median"]  # there are no uncertainties
    assert parts(run("create_median_mosaic = 1", "create_std_mosaic = 0"))[-2:] == ["median", "median_unc"]
    every = [
        f"{key} = 1" for key in ("create_var_mosaic", "run_median_mosaic", "run_absolute_minimum_mosaic")
    ]
    every.append("run_trimmed_mosaic = 1")
    assert parts(run(*every, block=["USE_INT_TIME_KWD = 1", "Epoch_Gap = 10"])) == list(MOSAICS)


def test_every_part_has_a_tile_and_a_mosaic():
    for part, mosaic in MOSAICS.items():
        assert PRODUCTS[f"coadd_{part}"][0] == "mosaic_coadder"
        assert PRODUCTS[mosaic][0] == "mosaic_combiner"


def test_exposure_times_of_headers(tmp_path):
    layers = []
    for i, value in enumerate((12.0, 0.4, 0.0)):
        path = str(tmp_path / f"{i}.fits")
        fits.writeto(path, np.zeros((2, 2)), fits.Header({"EXPTIME": value, "OBJECT": "M 17"}))
        layers.append(Layer(FrameFiles(i, path), None, "", "", ""))
    assert exposures(tuple(layers[:2]), "EXPTIME").tolist() == [12.0, 0.4]
    with pytest.raises(InputError, match="EXPTIME = 0 is no exposure time"):
        exposures(tuple(layers), "EXPTIME")
    with pytest.raises(InputError, match=r"no MJD_OBS in the header \(Epoch_Gap\)"):
        header_number(layers[0].files.image, "MJD_OBS", "Epoch_Gap")
    with pytest.raises(InputError, match=r"OBJECT = M 17 is no number"):
        header_number(layers[0].files.image, "OBJECT", "x")
