"""Microjansky of a pixel of 1 MJy/sr."""

import numpy as np
import pytest
from astropy import units as u
from pymopex.units import ARCSEC2_PER_SR, MJY_SR_TO_UJY_ARCSEC2, ujy_per_mjysr

# pixel [arcsec]: factor of the APEX documentation, to its last digit
FACTORS = {0.6: (8.4616, 1e-4), 1.2: (33.846, 1e-3), 1.22: (34.984, 1e-3), 2.45: (141.085, 1e-3)}
FACTORS |= {4.0: (376.07, 1e-2), 8.0: (1504.28, 1e-2)}


@pytest.mark.parametrize("pixel", FACTORS)
def test_factor_of_a_pixel(pixel):
    expected, digit = FACTORS[pixel]
    assert ujy_per_mjysr(pixel**2 / ARCSEC2_PER_SR) == pytest.approx(expected, abs=digit)


def test_constants_agree_with_astropy():
    assert pytest.approx(u.sr.to(u.arcsec**2), rel=1e-12) == ARCSEC2_PER_SR
    assert pytest.approx(u.Unit("MJy/sr").to("uJy/arcsec2"), rel=1e-12) == MJY_SR_TO_UJY_ARCSEC2


def test_arrays_keep_their_shape():
    angle = np.array([[1e-11, 2e-11]])
    assert np.allclose(ujy_per_mjysr(angle), [[10.0, 20.0]])
