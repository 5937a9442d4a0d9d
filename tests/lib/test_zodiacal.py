import pytest
from pymopex.zodiacal import zodiacal_level


def test_the_sky_dark_took_some_off_already():
    assert zodiacal_level({"ZODY_EST": 0.125, "SKYDRKZB": 0.03125}) == 0.09375


def test_without_a_sky_dark():
    assert zodiacal_level({"ZODY_EST": "0.5"}) == 0.5
    assert zodiacal_level({"ZODY_EST": 0.5, "SKYDRKZB": ""}) == 0.5


def test_a_zero_is_a_value():
    assert zodiacal_level({"ZODY_EST": 0, "SKYDRKZB": 0}) == 0


@pytest.mark.parametrize(
    ("header", "error"),
    [
        ({}, "no ZODY_EST in the header"),
        ({"SKYDRKZB": 1.0}, "no ZODY_EST in the header"),
        ({"ZODY_EST": "high"}, "ZODY_EST = high in the header is no number"),
        ({"ZODY_EST": 1.0, "SKYDRKZB": "?"}, r"SKYDRKZB = \? in the header is no number"),
        ({"ZODY_EST": float("nan")}, "ZODY_EST = nan in the header is no number"),
    ],
)
def test_what_is_missing_is_named(header, error):
    with pytest.raises(ValueError, match=error):
        zodiacal_level(header)
