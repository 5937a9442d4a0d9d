import json

import pytest
from pymopex import __version__
from pymopex.kit import namelist, provenance
from pymopex.kit.parameters import Settings


@pytest.fixture
def params():
    return Settings(namelist.parse("&LEVEL\n Threshold_Ratio = 0.4,\n&END\n", "a.nl"), "mosaic").params(
        "level"
    )


def test_records_are_added(tmp_path, params):
    path = str(tmp_path / "provenance.json")
    provenance.record(path, "level", params, [str(tmp_path / "a" / "b.fits")], seconds=1.5)
    provenance.record(path, "level", params, [], seconds=2)
    first, second = provenance.read(path)
    assert (first["version"], first["seconds"], first["products"]) == (__version__, 1.5, ["a/b.fits"])
    assert first["parameters"]["LEVEL.Threshold_Ratio"] == {"value": 0.4, "origin": "a.nl:2"}
    assert first["parameters"]["OUTPUT_DIR"] == {"value": ".", "origin": "default"}
    assert second["products"] == []
    assert json.loads((tmp_path / "provenance.json").read_text())["format"] == 1


@pytest.mark.parametrize("form", [{"indent": 1}, {}, {"indent": 4}])
def test_the_text_is_that_of_all_records_written_at_once(tmp_path, params, form):
    path = tmp_path / "provenance.json"
    for k in range(3):
        provenance.record(
            str(path), "level", params, [str(tmp_path / "a.fits")], seconds=k, log=["a", 'b "c" ]']
        )
        whole = json.loads(path.read_text())
        assert [each["seconds"] for each in whole["tasks"]] == list(range(k + 1))
        assert path.read_text() == json.dumps(whole, indent=1) + "\n"
        path.write_text(json.dumps(whole, **form) + "\n")  # as others may have written it


@pytest.mark.parametrize(("count", "named"), [(100, True), (101, False)])
def test_many_products_are_counted(tmp_path, params, count, named):
    path = str(tmp_path / "provenance.json")
    made = [str(tmp_path / "Interp" / f"{n}.fits") for n in range(count - 1)] + [str(tmp_path / "a.tbl")]
    provenance.record(path, "level", params, made)
    found = provenance.read(path)[0]["products"]
    assert found == (["Interp/" + f"{n}.fits" for n in range(count - 1)] + ["a.tbl"] if named
                     else {"Interp": count - 1, "": 1})  # fmt: skip


@pytest.mark.parametrize("text", [None, "", "{", "[1, 2]", '{"tasks": 3}', '{"other": []}', "\xff"])
def test_what_cannot_be_read_has_no_records(tmp_path, text):
    path = tmp_path / "provenance.json"
    if text is not None:
        path.write_text(text, encoding="latin-1")
    assert provenance.read(str(path)) == []


def test_a_damaged_file_is_kept_aside_and_named(tmp_path, params, capsys):
    path = tmp_path / "provenance.json"
    path.write_text("{half")
    provenance.record(str(path), "level", params, [])
    assert len(provenance.read(str(path))) == 1
    assert (tmp_path / "provenance_damaged.json").read_text() == "{half"
    assert (
        f"Warning: {path}: cannot be read, and is {tmp_path}/provenance_damaged.json"
        in capsys.readouterr().out
    )
