import os
from pathlib import Path

import pytest
from pymopex import columns
from pymopex.fit_results import Deblend, FitStatus
from pymopex.kit import driver, legacy, manual, namelist, pages, products, sheets
from pymopex.kit.parameters import Settings
from pymopex.masks import KINDS

DOCS = Path(__file__).parents[2] / "docs" / "manual"


@pytest.mark.parametrize("task", sheets.tasks())
def test_page_of_a_task_has_all_parameters_and_products(task):
    page = pages.task_page(task)
    for parameter in sheets.sheet(task).parameters:
        assert f"| `{parameter.name}` |" in page
        assert pages._cell(parameter.meaning) in page
    for name in products.made_by(task):
        assert f"- `{name}`" in page
    assert "## What it does" in page


@pytest.mark.parametrize("task", sheets.tasks())
def test_help_and_template_have_all_parameters(task):
    for parameter in sheets.sheet(task).own:
        assert f"  {parameter.name}" in manual.task_help(task)
        assert f" {parameter.name} =" in manual.template(task)


def test_template_is_read_as_it_stands():
    found = Settings(namelist.parse(manual.template("sourcestimate"), "a.nl"), "apex")
    assert found.params("sourcestimate").Fitting_Area_X is None
    assert found.problems == []
    assert "# Fitting_Area_X =  " in manual.template("sourcestimate")


def test_notes_come_from_the_docstring():
    summary, notes = pages.docstring("fit_radius")
    assert summary.startswith("Add the columns FitX and FitY, in pixels of the frames, to `detect.tbl`")
    assert notes.startswith("The width is measured on the tiles")
    assert "## Notes\n\nThe width is measured" in pages.task_page("fit_radius")


def test_sections_of_a_docstring():
    text = """Give ``a``.

    More
    lines.

    Notes
    -----
    First.

    Second.

    References
    ----------
    A book.
    """
    head, parts = pages.sections(text)
    assert head == "Give `a`.\n\nMore\nlines."
    assert parts == {"Notes": "First.\n\nSecond.", "References": "A book."}
    assert pages.sections("") == ("", {})


def test_tables_have_all_columns():
    page = pages.tables_page()
    for declared in columns.declared().values():
        for column in declared:
            assert f"| `{column.name}` | {column.type} | {column.unit} |" in page


def test_masks_have_all_bits():
    page = pages.masks_page()
    for kind in KINDS.values():
        assert f"fatal pattern: {kind.recommended}." in page
        for bit, meaning in kind.bits.items():
            fatal = "fatal" if kind.recommended & 2**bit else ""
            assert f"| {bit} | {2**bit} | {fatal} | {meaning} |" in page


def test_codes_have_all_meanings():
    page = pages.codes_page()
    assert all(code.meaning in page for code in FitStatus)
    assert all(f"| `{letter.value}` | {letter.meaning} |" in page for letter in Deblend)


def test_pipelines_have_all_flags_and_modules():
    page = pages.pipelines_page()
    assert all(f"| `-{flag}` |" in page for flag in driver.FLAGS)
    for name in sheets.PIPELINES:
        assert all(f"[{task}]({task}.md)" in page for task in driver.pipeline_tasks(name))


def test_legacy_keys_have_their_reasons():
    keys, blocks = sheets.legacy()
    page = pages.legacy_page()
    assert all(f"| `{name}` | {reason} |" in page for name, reason in keys.items())
    assert all(f"| `&{name.upper()}` |" in page for name in blocks)


def test_every_legacy_key_is_accounted_for():
    page = pages.coming_page()
    for block, names in sheets.legacy_keys().items():
        assert names
        for name in names:
            assert pages._what_became(block, name)
            assert f"| `{name}` | " in page
    with pytest.raises(KeyError, match=r"MEDFILTER\.No_Such_Key"):
        pages._what_became("MEDFILTER", "No_Such_Key")


def test_every_legacy_command_flag_and_module_is_told():
    page = pages.coming_page()
    new = sheets.without_legacy("pipelines")
    for name in (*(f"{p}.pl" for p in sheets.PIPELINES if p not in new), *legacy.TOOLS, *legacy.SAME):
        assert f"| `{name}` | " in page
    for flag in (*driver.FLAGS, "o", "f", "g", "i", "s"):
        assert f"| `-{flag}` | " in page
    for task in set(sheets.tasks()) - set(sheets.without_legacy("modules")):
        assert f"({task}.md)" in page
        for name in products.made_by(task):
            assert pages._cell(f"`{name}`") in page
    assert "another spelling of `Detect_Min_Peak_Fraction`" in page


def test_signs_of_markdown_are_kept():
    assert pages._cell("a < b | c") == r"a \< b \| c"


def test_index_leads_to_every_page_and_every_link_to_a_page(tmp_path):
    import re

    written = {os.path.basename(path) for path in pages.write(str(tmp_path))}
    assert written == set(os.listdir(tmp_path))
    for path in tmp_path.iterdir():
        links = set(re.findall(r"\]\(([^)]*)\)", path.read_text()))
        assert links <= written, path.name
        if path.name == "README.md":
            assert links == written - {"README.md"}


def test_shipped_manual_is_the_generated_one(tmp_path):
    if not DOCS.is_dir():
        pytest.skip("the manual is not part of this copy")
    pages.write(str(tmp_path))
    shipped, made = (
        {path.name: path.read_text() for path in folder.iterdir()} for folder in (DOCS, tmp_path)
    )
    changed = sorted(name for name in shipped.keys() | made.keys() if shipped.get(name) != made.get(name))
    assert changed == [], "run: mopex manual docs/manual"
