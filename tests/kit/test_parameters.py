import pytest
from pymopex.kit import driver, namelist, sheets, templates
from pymopex.kit.parameters import Settings, convert


def settings(text, pipeline="mosaic", overrides=None, task=""):
    return Settings(namelist.parse(text, "a.nl"), pipeline, overrides, task)


def test_defaults_values_and_origins():
    p = settings("&MEDFILTER\n window_x = 31.0,\n&END\n").params("medfilter")
    assert (p.Window_X, p.origin("Window_X")) == (31, "a.nl:2")
    assert (p.Window_Y, p.origin("Window_Y")) == (45, "default")
    assert p.MEDFILTER_DIR == "Medfilter-mosaic"


def test_command_line_wins_and_bare_key_means_the_task():
    found = settings("&MEDFILTER\n Window_X = 31,\n&END\n", overrides={"Window_X": "21"}, task="medfilter")
    assert found.params("medfilter").Window_X == 21
    assert found.params("medfilter").origin("Window_X") == "command line"


def test_ambiguous_key_asks_for_the_block():
    found = settings("", overrides={"Window_X": "21"})
    assert "DETECT_MEDFILTER.Window_X" in found.problems[0]


def test_all_problems_at_once():
    text = "OUTPUT_DRI = x\nncpu_multiprocess = -1\n&MEDFILTER\n Windw_X = 3,\n Window_Y = two,\n&END\n&LEVLE\n&END\n"
    found = settings(text)
    found.globals()
    found.params("medfilter")
    text = "\n".join(found.problems)
    assert "a.nl:1: OUTPUT_DRI = x: unknown key (did you mean OUTPUT_DIR?)" in text
    assert "a.nl:2: ncpu_multiprocess = -1: too small; allowed: an integer from 1 to 4096" in text
    assert "a.nl:4: MEDFILTER.Windw_X = 3: unknown key in &MEDFILTER (did you mean Window_X?)" in text
    assert "a.nl:5: MEDFILTER.Window_Y = two: not a number; allowed: an integer from 3 to 9999" in text


def test_unknown_block():
    found = settings("&LEVLE\n x = 1,\n&END\n")
    assert found.problems == ["a.nl:2: &LEVLE: unknown block (did you mean LEVEL?)"]


def test_keys_of_other_pipelines_and_of_legacy_are_harmless():
    found = settings(
        "run_crop_stack = 0\nPRFMAP_FILE_NAME = x\n&FIX_COVERAGE\n Min_Single_Coverage = 0.95,\n&END\n"
    )
    assert found.problems == []


def test_aliases():
    found = settings(
        "use_refined_pointing = 1\nrun_mosaic_int = 1\n&SOURCESTIMATE\n ANGULAR_DIST = 6,\n&END\n", "apex"
    )
    assert found.globals().USE_REFINED_POINTING is True
    assert found.params("sourcestimate").Angular_Distance == 6
    assert found.triggered("mosaic_interp")
    assert not found.triggered("detect")


def test_positive_pixel_size_in_x_is_refused():
    found = settings("MOSAIC_PIXEL_SIZE_X = 1.6667E-4\n")
    found.globals()
    assert "too large" in found.problems[0]


@pytest.mark.parametrize(("text", "value"), [("A", None), ("a", None), ("0.0", 0.0), ("-119.5", -119.5)])
def test_crota2(text, value):
    parameter = next(p for p in sheets.sheet("fiducial_image_frame").own if p.name == "CROTA2")
    assert convert(parameter, text) == value


TEMPLATES = [names for names in templates.every() if names[0] in sheets.PIPELINES]


@pytest.mark.parametrize(("pipeline", "instrument"), TEMPLATES)
def test_shipped_templates_are_the_generated_ones_and_valid(pipeline, instrument):
    from importlib import resources

    name = templates.file_name(pipeline, instrument)
    text = resources.files("pymopex.par").joinpath(name).read_text()
    assert text == templates.make(pipeline, instrument), "run: python -m pymopex.kit.templates par"
    found = Settings(namelist.parse(text, name), pipeline)
    found.globals()
    for task in driver.pipeline_tasks(pipeline):
        if not (instrument[0] == "M" and task.startswith("make_array_corr")):
            found.params(task)
    assert found.problems == []
    assert found.warnings == []
    assert driver.pipeline_of(found.namelist) == pipeline


def test_every_namelist_of_the_folder_is_a_template():
    from importlib import resources

    shipped = {entry.name for entry in resources.files("pymopex.par").iterdir() if entry.name.endswith(".nl")}
    assert shipped == {templates.file_name(*names) for names in templates.every()}
    assert {instrument for _, instrument in templates.every()} == {"I1", "I2", "I3", "I4", "M1", "M2", "M3"}


@pytest.mark.parametrize(
    ("instrument", "block", "key", "value"),
    [
        ("I3", "SOURCESTIMATE", "Normalization_Radius", 1000),
        ("M1", "SOURCESTIMATE", "Normalization_Radius", None),
        ("M1", "SOURCESTIMATE", "PRF_ResampleX_Factor", 4),
        ("M1", "APERTURE", "Aperture_Radius_1", 1.43),  # 3.5 arcsec of 2.45 a pixel
        ("M2", "DETECT", "Peaks_Radius", 2),
        ("M3", "", "MOSAIC_PIXEL_SIZE_X", -2.2222e-3),
        ("M2", "", "PMask_Fatal_BitPattern", 16640),
        ("I4", "", "DCE_Status_Mask_Fatal_BitPattern", 32520),
    ],
)
def test_values_of_instruments(instrument, block, key, value):
    found = Settings(namelist.parse(templates.make("apex", instrument), "apex.nl"), "apex")
    task = {"SOURCESTIMATE": "sourcestimate", "APERTURE": "aperture", "DETECT": "detect"}.get(block)
    params = found.params(task) if task else found.globals()
    assert getattr(params, key) == value


def test_template_of_the_residual_of_one_image():
    from importlib import resources

    name = templates.file_name("apex_qa_1frame")
    text = resources.files("pymopex.par").joinpath(name).read_text()
    assert text == templates.make("apex_qa_1frame")
    found = Settings(namelist.parse(text, name), driver.pipeline_of(namelist.parse(text, name)))
    on = [task for task in driver.pipeline_tasks("apex_qa") if found.triggered(task)]
    assert on == ["mosaic_pointsourceimage"]
    found.params("mosaic_pointsourceimage")
    assert (found.problems, found.warnings) == ([], [])


def test_a_block_switches_its_module_on():
    assert settings("&PSP_GAUSSNOISE\n Window_X = 45,\n&END\n", "apex").triggered("psp_gaussnoise")
    assert not settings("run_gaussnoise = 1\n", "apex").triggered("psp_gaussnoise")
    off = "run_psp_gaussnoise = 0\n&PSP_GAUSSNOISE\n&END\n"
    assert not settings(off, "apex").triggered("psp_gaussnoise")


def test_every_default_passes_its_own_check():
    for task in sheets.tasks():
        for pipeline in sheets.PIPELINES:
            found = settings("", pipeline)
            found.params(task)
            assert found.problems == [], task


def test_every_parameter_says_what_it_means():
    for task in sheets.tasks():
        sheet = sheets.sheet(task)
        assert sheet.purpose
        for parameter in sheet.parameters:
            assert parameter.meaning, parameter.full_name


DRIZZLE = "run_mosaic_rmask = 1\n&MOSAICINTIN\nINTERP_METHOD = {},\n&END\n"


@pytest.mark.parametrize(("method", "twice"), [(1, False), (2, True), (3, True), (4, False)])
def test_drizzle_and_grid_take_two_passes(method, twice):
    found = settings(DRIZZLE.format(method), "mosaic")
    assert found.two_passes == twice
    assert found.triggered("mosaic_reinterp") == twice
    assert found.warnings == []


def test_two_passes_need_mosaic_and_its_masks():
    assert not settings(DRIZZLE.format(2), "overlap").two_passes
    assert not settings(DRIZZLE.format(2).replace("rmask = 1", "rmask = 0"), "mosaic").two_passes
    assert not settings("run_mosaic_rmask = 1\n", "mosaic").two_passes
    assert settings(DRIZZLE.format(1), "mosaic", {"INTERP_METHOD": "2"}).two_passes


def test_reinterpolation_asked_for_with_drizzle_is_said_once():
    found = settings("run_mosaic_reinterp = 1\n" + DRIZZLE.format(2), "mosaic")
    for _ in range(3):
        assert found.triggered("mosaic_reinterp")
    assert len(found.warnings) == 1
    assert "run_mosaic_reinterp = 1 is not needed with drizzle or grid" in found.warnings[0]


def test_a_key_of_a_tool_and_of_a_module_is_that_of_the_module():
    """Unless the tool itself runs: COMPLETE and S/N Estimator both have a Gain."""
    text = namelist.parse("", "a.nl")
    settings = Settings(text, "mosaic", {"Gain": "3"})
    assert settings.problems == []
    assert settings.params("sn_estimator").Gain == 3
    assert settings.params("complete").Gain == 0
    own = Settings(text, "apex", {"Gain": "3"}, "complete")
    assert own.params("complete").Gain == 3
