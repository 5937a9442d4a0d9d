import pytest
from hypothesis import given
from hypothesis import strategies as st
from pymopex.kit import namelist
from pymopex.kit.errors import InputError, InputErrors

TEXT = """\
###### Modules ######
###-Meta-Data-###:Flow=edu.caltech.ipac.sirtf.mopexUI.modules.overlap.OverlapFlow
run_medfilter = 1
RMASK_LIST =
do_multiprocess = 'on'   # as many as there are
MOSAIC_PIXEL_SIZE_X = -1.6667E-4,
&MEDFILTER
 Window_X = 45,
 X_Column_Name = x ,
 names = "a, b" ,
&END
&MOSAICPROJIN
&END
#END
"""


def test_values_know_their_line():
    found = namelist.parse(TEXT, "a.nl")
    entry = found.get("window_x", "medfilter")
    assert (entry.value, entry.line, entry.origin) == ("45", 8, "a.nl:8")
    assert found.get("RMASK_LIST").value == ""
    assert found.get("do_multiprocess").value == "on"
    assert found.get("MOSAIC_PIXEL_SIZE_X").value == "-1.6667E-4"
    assert found.get("x_column_name", "MEDFILTER").value == "x"
    assert found.get("names", "MEDFILTER").value == "a, b"
    assert found.get("Window_X") is None
    assert found.has_block("mosaicprojin")
    assert found.metadata["Flow"].endswith("OverlapFlow")


def test_unchanged_round_trip():
    assert namelist.parse(TEXT).text() == TEXT
    windows = TEXT.replace("\n", "\r\n")
    assert namelist.parse(windows).text() == windows
    assert namelist.parse(windows).get("Window_X", "MEDFILTER").value == "45"


def test_set_keeps_everything_else():
    found = namelist.parse(TEXT)
    found.set("Window_X", "31", "MEDFILTER")
    found.set("RMASK_LIST", "rmasks.txt")
    expected = TEXT.replace("Window_X = 45,", "Window_X = 31,").replace(
        "RMASK_LIST =", "RMASK_LIST = rmasks.txt"
    )
    assert found.text() == expected
    assert found.get("Window_X", "MEDFILTER").value == "31"


def test_set_adds_globals_and_blocks():
    found = namelist.parse(TEXT)
    found.set("OUTPUT_DIR", "out")
    found.set("Threshold_Ratio", "0.4", "LEVEL")
    again = namelist.parse(found.text())
    assert again.get("OUTPUT_DIR").value == "out"
    assert again.get("Threshold_Ratio", "LEVEL").value == "0.4"
    assert again.get("Window_X", "MEDFILTER").value == "45"


def test_all_syntax_problems_together():
    with pytest.raises(InputErrors) as raised:
        namelist.parse("nonsense here\n&A\n&B\nx = 1\n", "a.nl")
    text = str(raised.value)
    assert "a.nl:1: 'nonsense here'" in text
    assert "a.nl:3: &B opens before &END of &A" in text
    assert "a.nl:3: &B has no &END" in text


def test_end_without_block():
    with pytest.raises(InputError, match=r"a\.nl:1: &END without a block"):
        namelist.parse("&END\n", "a.nl")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match="cannot read the namelist"):
        namelist.read(str(tmp_path / "none.nl"))


def test_found_in_cdf(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIRTF_CDF", raising=False)
    (tmp_path / "cdf").mkdir()
    (tmp_path / "cdf" / "a.nl").write_text("x = 1\n")
    assert namelist.find("a.nl") == "cdf/a.nl"
    with pytest.raises(InputError, match="no such namelist"):
        namelist.find("b.nl")


@given(st.text(max_size=300))
def test_any_text_is_read_or_refused(text):
    try:
        found = namelist.parse(text)
    except InputError:
        return
    assert found.text() == text


@given(st.text(alphabet="abcXYZ019 ._/-", max_size=20).map(str.strip), st.sampled_from(["", "LEVEL"]))
def test_set_value_comes_back(value, block):
    found = namelist.parse(TEXT)
    found.set("RMASK_LIST", value, block)
    assert namelist.parse(found.text()).get("RMASK_LIST", block).value == value
