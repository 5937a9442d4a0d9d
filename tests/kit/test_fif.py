import re
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.fiducial import FiducialFrame
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.fif import read_fif, write_fif

FRAME = FiducialFrame(
    projtype="TAN",
    crval1=150.123,
    crval2=2.3450000001234,
    crpix1=1100.5,
    crpix2=1100.5,
    crota2=-119.07183012345678,
    cdelt1=-0.00016667,
    cdelt2=0.00016667,
    naxis1=2200,
    naxis2=2200,
    ctype1="RA---TAN",
    ctype2="DEC--TAN",
)
HAND = """\\char comment = by hand
\\real CRVAL1 = 150.5
\\real  CRVAL2 =  2.5
\\real CRPIX1 = 50.5
\\real CRPIX2 = 50.5
\\int NAXIS1 = 100.0
\\int NAXIS2 = 100
\\real CDELT1 = -0.0003
\\real CDELT2 = 3.0e-4
\\char PROJTYPE = TAN
"""


def read(tmp_path, text):
    path = tmp_path / "FIF.tbl"
    path.write_text(text)
    return read_fif(str(path))


def problems(tmp_path, text):
    with pytest.raises(InputErrors) as caught:
        read(tmp_path, text)
    return [problem.replace(f"{tmp_path}/", "") for problem in caught.value.problems]


def test_layout(tmp_path):
    path = tmp_path / "FIF.tbl"
    write_fif(str(path), replace(FRAME, crval2=2.345, crota2=0.0), "Output from Mosaic_INT")
    lines = path.read_text().splitlines()
    assert lines[0] == "\\char comment = Output from Mosaic_INT"
    assert re.fullmatch(r"\\char Date-Time = \w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", lines[1])
    assert lines[2:] == [
        "\\char PROJTYPE = 'TAN'",
        "\\real  CRVAL1 = 150.123000",
        "\\real  CRVAL2 = 2.345000",
        "\\real  CRPIX1 = 1100.5",
        "\\real  CRPIX2 = 1100.5",
        "\\real  CROTA2 = 0.000000",
        "\\int   NAXIS1 = 2200",
        "\\int   NAXIS2 = 2200",
        "\\real  CDELT1 = -0.000166670",
        "\\real  CDELT2 = 0.000166670",
        '\\char CTYPE1 = "RA---TAN"',
        '\\char CTYPE2 = "DEC--TAN"',
    ]
    assert all(line.split()[2] == "=" for line in lines)


def test_round_trip(tmp_path):
    path = str(tmp_path / "FIF.tbl")
    write_fif(path, FRAME, "x")
    assert read_fif(path) == FRAME


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0, 360),
    st.floats(-90, 90),
    st.floats(-180, 180),
    st.floats(1e-6, 1e-2),
    st.floats(-1e4, 1e4),
    st.integers(1, 9999),
)
def test_any_frame_round_trips(tmp_path_factory, lon, lat, turn, size, pixel, naxis):
    path = str(tmp_path_factory.getbasetemp() / "FIF.tbl")
    numbers = {
        "crval1": lon,
        "crval2": lat,
        "crota2": turn,
        "cdelt1": -size,
        "crpix1": pixel,
        "naxis2": naxis,
    }
    frame = replace(FRAME, **numbers)
    write_fif(path, frame, "x")
    assert read_fif(path) == frame


def test_table_by_hand(tmp_path):
    frame = read(tmp_path, HAND)
    assert (frame.crval1, frame.naxis1, frame.cdelt2, frame.crota2) == (150.5, 100, 3e-4, 0.0)
    assert (frame.projtype, frame.ctype1, frame.ctype2) == ("TAN", "RA---TAN", "DEC--TAN")


@pytest.mark.parametrize("quotes", ["'{}'", '"{}"', "{}", " ' {} '"])
def test_quotes_and_case(tmp_path, quotes):
    text = HAND.lower().replace("projtype = tan", f"ctype1 = {quotes.format('RA---SIN')}")
    assert (read(tmp_path, text).projtype, read(tmp_path, text).ctype2) == ("SIN", "DEC--SIN")


def test_galactic_frame(tmp_path):
    frame = read(tmp_path, HAND + "\\char CTYPE2 = GLAT-TAN\n")
    assert (frame.ctype1, frame.ctype2) == ("GLON-TAN", "GLAT-TAN")


def test_windows_file(tmp_path):
    path = tmp_path / "FIF.tbl"
    path.write_bytes(b"\xef\xbb\xbf" + HAND.replace("\n", "\r\n").replace(" = ", "=").encode())
    assert read_fif(str(path)).naxis2 == 100


def test_all_problems_at_once(tmp_path):
    text = HAND.replace("150.5", "RA_GOES_HERE").replace("100.0", "100.5").replace("-0.0003", "0")
    text = (
        text.replace("\\real CRPIX2 = 50.5\n", "")
        .replace("2.5", "95")
        .replace("TAN", "TAN\n\\int NAXIS2 = 7")
    )
    assert problems(tmp_path, text) == [
        "FIF.tbl:10: NAXIS2 is given twice (line 6)",
        "FIF.tbl:2: CRVAL1 = RA_GOES_HERE: not a number",
        "FIF.tbl: CRPIX2 is missing",
        "FIF.tbl:5: NAXIS1 = 100.5: not a positive whole number",
        "FIF.tbl:7: CDELT1 = 0: a pixel size of zero",
        "FIF.tbl:3: CRVAL2 = 95: not between -90 and 90 degrees",
    ]


def test_missing_projection_and_contradiction(tmp_path):
    assert problems(tmp_path, HAND.replace("PROJTYPE", "OTHER")) == [
        "FIF.tbl: PROJTYPE is missing, and so are CTYPE1 and CTYPE2"
    ]
    assert problems(tmp_path, HAND + "\\char CTYPE1 = RA---SIN\n") == [
        "FIF.tbl:11: CTYPE1 = RA---SIN: not of the projection TAN"
    ]


def test_cd_matrix_does_not_stand_in(tmp_path):
    text = HAND.replace("CDELT1", "CD1_1").replace("CDELT2", "CD2_2")
    assert problems(tmp_path, text)[0] == "FIF.tbl: CDELT1 is missing; a CD matrix does not stand in for it"


def test_unknown_projection_and_missing_file(tmp_path):
    with pytest.raises(InputError, match="projection QQQ cannot be used"):
        read(tmp_path, HAND.replace("TAN", "QQQ"))
    with pytest.raises(InputError, match=r"none\.tbl: no such file"):
        read_fif(str(tmp_path / "none.tbl"))
    (tmp_path / "a.fits").write_bytes(b"SIMPLE  =  T")
    with pytest.raises(InputError, match="is no text"):
        read_fif(str(tmp_path / "a.fits"))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_reader_gives_a_frame_or_an_input_error(tmp_path_factory, data):
    path = tmp_path_factory.getbasetemp() / "fuzz.tbl"
    lines = HAND.splitlines()
    number = data.draw(st.integers(0, len(lines) - 1))
    words = st.sampled_from(
        ["nan", "inf", "1e999", "-1", "0", "'", "", "x" * 20, "1.5", "\u0663", "TAN", "=", "1_0"]
    )
    lines[number] = lines[number].partition("=")[0] + "= " + data.draw(st.one_of(words, st.text(max_size=12)))
    path.write_text("\n".join(lines), encoding="utf-8", errors="replace")
    with suppress(InputError):
        assert isinstance(read_fif(str(path)), FiducialFrame)
