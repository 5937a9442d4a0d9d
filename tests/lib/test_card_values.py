import numpy as np
import pytest
from astropy.io import fits
from pymopex.card_values import value_of

CARDS = [
    fits.Card("CTYPE1", "RA---TAN", "axis"),
    fits.Card("EMPTY", ""),
    fits.Card("PADDED", "a  "),
    fits.Card("SLASH", "MJy/sr", "unit / of pixels"),
    fits.Card("QUOTED", "O'Neil"),
    fits.Card("WHOLE", -17),
    fits.Card("REAL", 1.5, "a comment"),
    fits.Card("SMALL", -1.25e-12),
    fits.Card("LARGE", 3e30),
    fits.Card("TRUE", True),
    fits.Card("FALSE", False, "x"),
    fits.Card("NONE", None),
    fits.Card("COMPLEX", 1 + 2j),
    fits.Card("HIERARCH some key", 3),
]


@pytest.mark.parametrize("card", CARDS, ids=lambda card: card.keyword)
def test_values_are_those_that_astropy_reads(card):
    text = str(card)
    expected, found = fits.Card.fromstring(text).value, value_of(text)
    assert type(found) is type(expected)
    assert found == expected


TEXTS = ["X       =                   1.", "X       = 1.0D3", "X       = +5", "X       = 1E5 / c"]


@pytest.mark.parametrize("text", TEXTS)
def test_odd_numbers_too(text):
    expected, found = fits.Card.fromstring(text.ljust(80)).value, value_of(text.ljust(80))
    assert (type(found), found) == (type(expected), expected)


def test_random_numbers_are_read_to_the_last_digit():
    for value in np.random.default_rng(1).normal(size=50) * 10.0 ** np.arange(-25, 25):
        card = str(fits.Card("KEY", float(value)))
        assert value_of(card) == fits.Card.fromstring(card).value
