"""A flow is built from templates, edited in forms or as text, and becomes one command of the shell."""

import json

import pytest
from pymopex.kit.errors import InputError
from pymopex.view.flow import Flow
from pymopex.view.places import Refused, RunFolder
from pymopex.view.tables import chosen, page, places, source, table, write_user_list


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "out").mkdir()
    return RunFolder.of("out")


@pytest.fixture
def recipe(folder):
    flow = Flow(folder)
    flow.add("flow", "I1")
    return flow


def names(flow):
    return [step["pipeline"] for step in flow.state()["steps"]]


def modules(flow, name):
    return {
        m["task"]: m["on"] for step in flow.state()["steps"] if step["name"] == name for m in step["modules"]
    }


def test_the_recipe_from_its_templates(recipe):
    assert names(recipe) == ["overlap", "mosaic", "apex", "apex_qa"]
    state = recipe.state()
    assert state["command"] == (
        "flow.sh -O out out/flow/overlap_I1.nl out/flow/mosaic_I1.nl out/flow/apex_I1.nl out/flow/apex_qa_I1.nl"
    )
    assert all(step["problems"] == [] for step in state["steps"])


def test_pipelines_are_put_in_taken_out_and_moved(recipe):
    recipe.remove("flow/mosaic_I1.nl")
    assert names(recipe) == ["overlap", "apex", "apex_qa"]
    recipe.add("mosaic", "I1")
    assert names(recipe) == ["overlap", "mosaic", "apex", "apex_qa"]
    recipe.move("flow/mosaic_I1.nl", 1)
    assert names(recipe) == ["overlap", "apex", "mosaic", "apex_qa"]
    recipe.move("flow/overlap_I1.nl", -1)
    assert names(recipe) == ["overlap", "apex", "mosaic", "apex_qa"]
    recipe.add("artifacts", "I1")
    assert names(recipe)[0] == "artifacts"
    with pytest.raises(InputError, match="in the flow already"):
        recipe.add("artifacts", "I1")
    with pytest.raises(InputError, match="not in the flow"):
        recipe.remove("flow/other.nl")


def test_a_flow_is_there_again_when_it_is_opened_again(recipe, folder):
    recipe.set_inputs({"I": " images.txt ", "S": ""}, "do_multiprocess=off 'MEDFILTER.Window_X=31'")
    again = Flow(folder)
    assert names(again) == names(recipe)
    assert again.command("flow")[:7] == [
        *("flow.sh", "-I", "images.txt", "do_multiprocess=off", "MEDFILTER.Window_X=31", "-O", "out")
    ]


def test_a_run_made_in_a_shell_is_a_flow(folder, mopex, tmp_path):
    import contextlib

    opened = Flow(folder)
    assert names(opened) == []
    with contextlib.chdir("out"):
        assert mopex("new", "flow", "I1")[0] == 0
    assert len(names(opened)) == 4
    assert names(Flow(folder)) == ["overlap", "mosaic", "apex", "apex_qa"]
    (tmp_path / "out" / "flow").mkdir()
    (tmp_path / "out" / "flow" / "flow.json").write_text("[broken")
    assert len(Flow(folder).names) == 4
    state = {"namelists": ["../secret.nl", "mosaic_I1.nl", "mosaic_I1.txt"], "inputs": {"x": "1", "I": "a"}}
    (tmp_path / "out" / "flow" / "flow.json").write_text(json.dumps(state))
    assert (Flow(folder).names, Flow(folder).inputs) == (["mosaic_I1.nl"], {"I": "a"})


def test_modules_are_switched_on_and_off(recipe, tmp_path):
    assert not modules(recipe, "flow/mosaic_I1.nl")["mosaic_medfilter"]
    recipe.switch("flow/mosaic_I1.nl", "mosaic_medfilter", True)
    recipe.switch("flow/mosaic_I1.nl", "mosaic_dual_outlier", False)
    found = modules(recipe, "flow/mosaic_I1.nl")
    assert (found["mosaic_medfilter"], found["mosaic_dual_outlier"]) == (True, False)
    assert "run_mosaic_medfilter = 1" in (tmp_path / "out/flow/mosaic_I1.nl").read_text()


def test_a_form_holds_what_the_sheet_tells(recipe):
    form = recipe.form("flow/mosaic_I1.nl", "mosaic_rmask")
    assert form["title"]
    assert form["block"] == "MOSAICRMASKIN"
    field = next(field for field in form["own"] if field["key"] == "RM_THRESH")
    assert (field["value"], field["kind"], field["problem"]) == ("0.5", "float", "")
    assert field["meaning"]
    assert field["allowed"].startswith("a number from 0")
    assert any(field["key"] == "OUTPUT_DIR" for field in form["shared"])
    interp = recipe.form("flow/mosaic_I1.nl", "mosaic_interp")["own"]
    assert next(f for f in interp if f["key"] == "INTERP_METHOD")["choices"]


def test_a_value_is_set_in_its_line(recipe, tmp_path):
    path = tmp_path / "out/flow/mosaic_I1.nl"
    before = path.read_text().splitlines()
    field = recipe.set_value("flow/mosaic_I1.nl", "mosaic_rmask", "MOSAICRMASKIN", "RM_THRESH", "0.25")
    assert field["value"] == "0.25"
    after = path.read_text().splitlines()
    changed = [(a, b) for a, b in zip(before, after, strict=True) if a != b]
    assert len(changed) == 1
    assert changed[0][1].split("#")[0].split() == ["RM_THRESH", "=", "0.25,"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("IMAGE_STACK_FILE_NAME", "a #1, b.txt"), ("IMAGE_STACK_FILE_NAME", "it's.txt"), ("OUTPUT_DIR", 'a"b')],
)
def test_odd_texts_come_back_as_they_are(recipe, key, value):
    assert recipe.set_value("flow/mosaic_I1.nl", "mosaic_interp", "", key, value)["value"] == value


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("RM_THRESH", "two", "RM_THRESH = two: not a number; allowed: a number from 0"),
        ("RM_THRESH", "1\nrun_mosaic_interp = 0", "one line"),
        ("RM_THRESHOLD", "1", "no parameter RM_THRESHOLD"),
    ],
)
def test_a_wrong_value_changes_nothing(recipe, tmp_path, key, value, text):
    path = tmp_path / "out/flow/mosaic_I1.nl"
    before = path.read_text()
    with pytest.raises(InputError, match=text):
        recipe.set_value("flow/mosaic_I1.nl", "mosaic_rmask", "MOSAICRMASKIN", key, value)
    assert path.read_text() == before


def test_problems_of_a_namelist_are_shown_with_its_pipeline(recipe):
    text = recipe.text("flow/mosaic_I1.nl").replace("RM_THRESH = 0.5", "RM_THRESH = often")
    assert "RM_THRESH = often: not a number" in recipe.save_text("flow/mosaic_I1.nl", text)[0]
    step = next(step for step in recipe.state()["steps"] if step["pipeline"] == "mosaic")
    assert "RM_THRESH = often: not a number" in step["problems"][0]


def test_commands_of_a_part_of_the_flow(recipe):
    recipe.set_inputs({"u": "stars.tbl"}, "")
    assert recipe.command("from", "flow/mosaic_I1.nl", "mosaic_rmask")[:6] == [
        *("flow.sh", "INPUT_USER_LIST=stars.tbl", "-O", "out", "--from", "mosaic.mosaic_rmask")
    ]
    assert recipe.command("only", "flow/apex_I1.nl", "detect")[4:6] == ["--only", "apex.detect"]
    assert recipe.command("resume")[3:6] == ["out", "--resume", "out/flow/overlap_I1.nl"]


@pytest.mark.parametrize("more", ["-O elsewhere", "word", "A='b", "A=1\nB=2"])
def test_only_keys_and_values_go_into_the_command_besides(recipe, more):
    with pytest.raises(InputError):
        recipe.set_inputs({}, more)
    assert recipe.more == ""


def test_every_template_can_be_put_in(folder):
    from pymopex.kit import templates

    for pipeline in templates.titles()["pipelines"]:
        flow = Flow(folder)
        flow.add(pipeline, "I1")
    state = flow.state()
    assert len(state["steps"]) == len(templates.titles()["pipelines"])
    assert [step["problems"] for step in state["steps"] if step["problems"]] == []


def test_an_empty_flow_has_no_command(folder):
    assert Flow(folder).state()["command"] == ""
    with pytest.raises(InputError, match="the flow is empty"):
        Flow(folder).command("flow")


def test_paths_stay_in_the_run_directory(folder):
    for name in ("", "/etc/passwd", "../a", "a/../../b", "a\0b", ".a"):
        with pytest.raises(Refused):
            folder.path(name)


def test_pages_of_a_table(field):
    path = str(field.out / "extract.tbl")
    whole = table(path)
    found = page(path, "", "flux", True, 0)
    assert found["total"] == found["matched"] == len(whole)
    flux = [column["name"] for column in found["columns"]].index("flux")
    values = [float(row[flux]) for row in found["rows"]]
    assert values == sorted(values, reverse=True)
    assert found["columns"][flux]["unit"] == "uJy"
    assert found["columns"][flux]["meaning"] == "fitted flux"
    faint = chosen(path, "flux < 100 and status = 1")
    assert (whole.column("flux")[faint] < 100).all()
    assert 0 < len(faint) < len(whole)
    with pytest.raises(InputError, match="flox"):
        chosen(path, "flox < 100")
    last = page(path, "", "", False, 0, at=len(whole) - 1)
    assert len(whole) - 1 in last["index"]


def test_places_are_those_of_the_mosaic(field):
    import numpy as np
    from pymopex.view.tiles import picture

    path = str(field.out / "extract.tbl")
    found = places(path, "", picture(str(field.out / "Combine-mosaic" / "mosaic.fits")).sky)
    for name in "xy":
        np.testing.assert_allclose(found[name], table(path).column(name), atol=2e-3)


def test_a_source_has_its_facts_and_its_light_curve(field):
    import numpy as np
    from pymopex.kit.catalogues import read_light_curve

    path, row = str(field.out / "extract.tbl"), 2
    found = source(path, row)
    facts = {fact["name"]: fact for fact in found["facts"]}
    assert float(facts["RA"]["text"]) == pytest.approx(found["ra"], abs=1e-9)
    curve = read_light_curve(str(field.out / "extract.h5"), int(table(path).column("srcid")[row]))
    np.testing.assert_array_equal(found["curve"]["flux"], curve["flux"])
    assert source(str(field.out / "detect.tbl"), 0)["curve"] is None
    with pytest.raises(InputError, match="no row"):
        source(path, 10**6)


def test_a_user_list_serves_the_user_list_pipelines(tmp_path):
    path = str(tmp_path / "list.tbl")
    write_user_list(path, [(10.5, -3.25), (-0.5, 80)])
    found = table(path)
    assert found.column("RA").tolist() == [10.5, 359.5]
    assert found.column("Dec").tolist() == [-3.25, 80]
    assert found.column("srcid").tolist() == [1, 2]
    with pytest.raises(InputError):
        write_user_list(path, [(1, 91)])
    assert len(table(path)) == 2
