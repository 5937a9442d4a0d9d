"""Readers of text given valid files that were cut, spliced and filled with bytes: a value or an InputError, at once."""

import os
import time
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pymopex.kit import namelist
from pymopex.kit.errors import InputError
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table
from pymopex.kit.lists import read_list
from pymopex.kit.prfmap import read_prf_map

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "150"))  # benchmarks/fuzz.py asks for more
LONGEST = 5.0  # seconds of a case; a sound one takes a thousandth

VALID = {
    "namelist": b"""###-Meta-Data-###: Flow = Mosaic
IMAGE_STACK_FILE_NAME = images.txt
OUTPUT_DIR = "out"  # where
run_mosaic_interp = 1
&MOSAICINTIN
 INTERP_METHOD = 1,
 FINERES = 0.0,
&END
#END
""",
    "list": "# frames\n/a/b c.fits\r\nb\u00e9.fits\n\n~/c.fits\n".encode(),
    "fif": b"""\\char comment = Output from Mosaic_INT
\\char PROJTYPE = 'TAN'
\\real  CRVAL1 = 10.5
\\real  CRVAL2 = -3.25
\\real  CRPIX1 = 100.5
\\real  CRPIX2 = 100.5
\\real  CROTA2 = 0.0
\\int   NAXIS1 = 200
\\int   NAXIS2 = 200
\\real  CDELT1 = -0.000166670
\\real  CDELT2 = 0.000166670
\\char CTYPE1 = "RA---TAN"
\\char CTYPE2 = "DEC--TAN"
""",
    "prfmap": b"""\\char comment = PRF map
\\int Number_of_PRFs = 1
\\int PRF_Xsize = 511
\\int PRF_Ysize = 511
\\char PRF_Filename_1 = a.fits
|PRFNum|NAXIS1|NAXIS2|PRFPos1|PRFPos2|
|int   |int   |int   |int    |int    |
|      |pixel |pixel |pixel  |pixel  |
|null  |null  |null  |null   |null   |
      1    256    256       1       1
""",
    "ipac": b"""\\char comment = sources
\\real Conversion = 8.46
|srcid|RA        |chi2/dof|Status|
|int  |double    |double  |char  |
|     |deg       |        |      |
|null |null      |null    |null  |
     1  10.684793     0.97 Y
     2  10.684800     null N
""",
}
READERS = {
    "namelist": namelist.read,
    "list": read_list,
    "fif": read_fif,
    "prfmap": read_prf_map,
    "ipac": read_table,
}
_PIECES = [
    b"\0",
    b"\t",
    b"\r",
    b"\n",
    b"\x0b",
    b"\x0c",
    b"\x1b[31m",
    b"\x85",
    b"\xa0",
    b"\xff\xfe",
    b"\xef\xbb\xbf",
]
_PIECES += [
    b"\xe2\x80\xa8",
    b"\xed\xa0\x80",
    b"|",
    b"\\",
    b"=",
    b"&",
    b"#",
    b"&END",
    b"'",
    b'"',
    b"nan",
    b"-inf",
]
_PIECES += [
    b"1e999",
    b"9" * 5000,
    b" " * 20_000,
    b"x" * 20_000,
    b"null",
    b"-0",
    "\u0663".encode(),
    b"1_0",
    b"%s%n{0}",
]


@st.composite
def spoiled(draw, valid: bytes) -> bytes:
    """A valid text after one to five cuts, copies of its own parts, or insertions."""
    text = valid
    for _ in range(draw(st.integers(1, 5))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 40)))
        kind = draw(st.sampled_from(("cut", "copy", "piece", "bytes")))
        if kind == "cut":
            text = text[:at] + text[end:]
        elif kind == "copy":
            to = draw(st.integers(0, len(text)))
            text = text[:to] + text[at:end] + text[to:]
        else:
            new = draw(st.sampled_from(_PIECES) if kind == "piece" else st.binary(max_size=12))
            text = text[:at] + new + text[end if draw(st.booleans()) else at :]
    return text


def again(found):
    """Give the entries of a namelist as they are read from its own text, which has no file."""
    return [replace(entry, source="namelist") for entry in found.entries]


@pytest.mark.parametrize("kind", READERS)
def test_the_valid_text_is_read(tmp_path, kind):
    path = tmp_path / "valid"
    path.write_bytes(VALID[kind])
    assert READERS[kind](str(path))


_BLANKS = b" " * 60_000
FOUND = [
    ("fif", _BLANKS + b"\\char comment = three times 20,000 blanks\n", b""),
    ("fif", b"CTYPE1 = |" + _BLANKS, b"CTYPE1 = "),
    ("fif", b"PROJTYPE = " + b"x" * 20_000, b"PROJTYPE = "),
    ("prfmap", b"\\int PRF_Xsize = " + b"9" * 5000, b"\\int PRF_Xsize = "),
    ("prfmap", b"PRF_Filename_" + b"9" * 5000, b"PRF_Filename_1"),
    ("namelist", b" INTERP_METHOD = 1" + _BLANKS + b",", b" INTERP_METHOD = 1,"),
    ("ipac", b"\\real" + _BLANKS + b"Conversion", b"\\real Conversion"),
]


@pytest.mark.parametrize(("kind", "new", "old"), FOUND)
def test_cases_that_were_found(tmp_path, kind, new, old):
    """Each took seconds, the square of its blanks, or ended in another error than InputError."""
    path = tmp_path / "found"
    path.write_bytes(VALID[kind].replace(old, new, 1))
    begin = time.process_time()
    with suppress(InputError):
        READERS[kind](str(path))
    assert time.process_time() - begin < 1


@pytest.mark.parametrize("kind", READERS)
def test_spoiled_text_is_read_or_refused(tmp_path, kind):
    path = tmp_path / "spoiled"

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(spoiled(VALID[kind]))
    def check(content):
        path.write_bytes(content)
        begin = time.process_time()
        with suppress(InputError):
            found = READERS[kind](str(path))
            assert kind != "namelist" or namelist.parse(found.text()).entries == again(found)
        assert time.process_time() - begin < LONGEST

    check()
