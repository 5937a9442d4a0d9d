import pytest
from pymopex.kit import sheets


@pytest.mark.parametrize(
    ("note", "unit", "meaning"),
    [
        ("# [arcsec] border", "arcsec", "border"),
        ("#[MJy/sr/deg]  slope of the sky", "MJy/sr/deg", "slope of the sky"),
        ("# no unit", "", "no unit"),
        ("", "", ""),
        ("# rows [kept]", "", "rows [kept]"),
    ],
)
def test_unit_and_meaning(note, unit, meaning):
    assert sheets._unit(note) == (unit, meaning)


def own(task, name):
    return next(p for p in sheets.sheet(task).own if p.name == name)


def test_a_declared_parameter():
    parameter = own("fiducial_image_frame", "Edge_Padding")
    assert (parameter.unit, parameter.kind, parameter.default) == ("arcsec", "integer", "10")
    assert parameter.full_name == "FIDUCIALIMAGEFRAMEIN.Edge_Padding"
    assert parameter.meaning == "border on all four sides"


def test_defaults_by_pipeline():
    area = own("detect_outlier", "Detection_Max_Area")
    assert [area.default_in(name) for name in ("overlap", "mosaic")] == ["90000", "100"]
    folder = sheets.common().parameters_by_name["interp_dir"]
    assert folder.default_in("apex") == "Interp-apex"
    assert folder.default_in("apex_qa") == "Residual/mosaic/Interp"


@pytest.mark.parametrize(
    ("check", "default", "allowed"),
    [
        ("integer(min=1, max=9)", "1", "an integer from 1 to 9"),
        ("float(min=0)", "None", "a number of at least 0 or empty"),
        ("float(max=0)", "-1", "a number of at most 0"),
        ("float()", "None", "a number or empty"),
        ("choice('on', 'off')", "on", "one of on, off"),
        ("switch()", "1", "0 or 1"),
        ("path()", "", "a file"),
        ("directory()", ".", "a directory"),
        ("auto_angle()", "A", "A, or a number of degrees from -360 to 360"),
        ("text()", "", "text"),
    ],
)
def test_allowed_values_in_words(check, default, allowed):
    assert sheets.Parameter("x", "B", check, default, "", "").allowed == allowed


def test_a_default_may_hold_a_comma():
    assert sheets._arguments("text(default='a, b')") == {"default": "a, b"}
    assert sheets._words("choice('a', 'b c', default='a')") == ["a", "b c"]
    assert sheets._without_default("choice('a', 'b', default='a')") == "choice('a', 'b')"


def test_unknown_task():
    with pytest.raises(KeyError):
        sheets.sheet("common")


def test_tasks_use_declared_globals_and_need_tasks():
    declared = sheets.common().parameters_by_name
    for task in sheets.tasks():
        sheet = sheets.sheet(task)
        assert {name.casefold() for name in sheet.uses} <= set(declared), task
        assert set(sheet.needs) <= set(sheets.tasks()), task
        assert len({p.name.casefold() for p in sheet.own}) == len(sheet.own), task


def test_every_global_is_used():
    used = {name for task in sheets.tasks() for name in sheets.sheet(task).uses}
    told_to_drivers = {"delete_intermediate_files", "keep_coadded_tiles", "create_report"}
    left = {p.name for p in sheets.common().own} - used
    assert left <= told_to_drivers


def test_aliases_lead_to_declared_keys():
    for alias, name in sheets.common().aliases.items():
        assert name.casefold() in sheets.common().parameters_by_name, alias
    for task in sheets.tasks():
        names = {p.name for p in sheets.sheet(task).own}
        assert set(sheets.sheet(task).aliases.values()) <= names, task


def test_tasks_that_share_a_block_and_a_key_agree_on_its_type():
    kinds = {}
    for task in sheets.tasks():
        for parameter in sheets.sheet(task).own:
            kind = kinds.setdefault(parameter.full_name, parameter.kind)
            assert kind == parameter.kind, parameter.full_name


def test_legacy_keys_are_not_ours():
    keys, blocks = sheets.legacy()
    ours = set(sheets.common().parameters_by_name) | set(sheets.common().aliases)
    assert not ours & set(keys)
    assert not {sheets.sheet(task).block.casefold() for task in sheets.tasks()} & set(blocks)
