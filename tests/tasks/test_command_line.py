"""The command line of every task: its help, its template, and what it refuses."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pymopex.tasks
import pytest
from pymopex import __version__
from pymopex.kit import cli, driver, namelist, products, sheets
from pymopex.kit.errors import TaskFailed
from pymopex.kit.parameters import Settings

TASKS = sheets.tasks()


def test_tasks_of_the_pipelines_and_the_tools_are_there():
    files = {path.stem for path in Path(pymopex.tasks.__file__).parent.glob("*.py")} - {"__init__"}
    assert set(TASKS) == files
    switched = {task for pipeline in sheets.PIPELINES for task in driver.pipeline_tasks(pipeline)}
    assert set(TASKS) - switched == {
        *("simulate", "make_prf", "compare", "complete", "prepare"),
        *("hdr_split", "copy_hdr_keywords", "mosaic_combine", "cut_fif"),
    }


@pytest.mark.parametrize("task", TASKS)
def test_help_names_every_parameter_and_product(task, mopex):
    status, text = mopex(task, "--help")
    assert status == 0
    assert text.startswith(f"{task}: {sheets.sheet(task).title}\n")
    assert f"usage: mopex {task} " in text
    words = set(re.findall(r"^  (\w+)", text, re.MULTILINE))
    for parameter in sheets.sheet(task).parameters:
        assert parameter.name in words, parameter.full_name
    for product in products.made_by(task):
        assert product in text


@pytest.mark.parametrize("task", TASKS)
def test_template_is_a_block_with_the_defaults(task, mopex):
    status, text = mopex(task, "--template")
    assert status == 0
    found = Settings(namelist.parse(text, "template"), "mosaic")
    given, defaults = found.params(task), Settings(namelist.parse(""), "mosaic").params(task)
    assert (found.problems, found.warnings) == ([], [])
    sheet = sheets.sheet(task)
    assert found.namelist.has_block(sheet.block) == bool(sheet.block)
    for parameter in sheet.own:
        assert getattr(given, parameter.name) == getattr(defaults, parameter.name)
    shown = [parameter for parameter in sheet.own if parameter.default != "None"]
    assert {entry.key for entry in found.namelist.entries} == {parameter.name for parameter in shown}


def test_list_names_all_tasks_with_their_purpose(mopex):
    status, text = mopex("list")
    assert status == 0
    assert [line.split()[0] for line in text.splitlines()] == list(TASKS)
    for line, task in zip(text.splitlines(), TASKS, strict=True):
        assert line.endswith(sheets.sheet(task).purpose)


def test_version_and_usage(mopex):
    assert mopex("--version") == (0, f"pymopex {__version__}\n")
    for words in ([], ["--help"], ["-h"], ["help"]):
        status, text = mopex(*words)
        assert status == 0
        assert text.startswith("usage: mopex TASK NAMELIST")


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (
            ["mosaic_intrep", "a.nl"],
            r"mosaic_intrep: no such task \(did you mean mosaic_interp\?\); 'mopex list'",
        ),
        (["zzz"], r"zzz: no such task; 'mopex list' names all"),
        (["medfilter"], r"medfilter: one namelist is needed: mopex medfilter NAMELIST \[KEY=VALUE ...\]"),
        (["medfilter", "mosaic_I1.nl", "apex_I1.nl"], "medfilter: one namelist is needed"),
        (["medfilter", "none.nl"], "none.nl: no such namelist, neither here nor in cdf/"),
        (["medfilter", "-z", "mosaic_I1.nl"], "-z: unknown flag; known are -n -I"),
        (["drive", "mosaic"], r"mosaic: one namelist is needed \(-n namelist\); got 0"),
        (["flow", "-O", "out"], "flow: no namelist is given"),
        (["new", "mosaic", "I9"], "I9: no such instrument"),
        (["make_prf"], "Input_Dir"),
        (["make_prf", "Input_Dir=none"], "command line: Input_Dir = none: no such folder"),
    ],
)
def test_a_wrong_command_is_refused(words, error, mopex, field, monkeypatch):
    monkeypatch.chdir(field.work)
    before = sorted(os.listdir())
    status, log = mopex(*words)
    assert status == 2
    assert all(line.startswith("Error: ") for line in log.splitlines())
    assert re.search(error, log)
    assert sorted(os.listdir()) == before


@pytest.mark.parametrize("task", TASKS)
def test_unknown_and_wrong_values_of_the_command_line_are_refused(task, mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pipeline = next((p for p in sheets.PIPELINES if task in driver.pipeline_tasks(p)), "mosaic")
    assert mopex("new", pipeline)[0] == 0
    status, log = mopex(task, f"{pipeline}_I1.nl", "OUTPUT_DIR=out", "OUTPUT_DRI=x", "do_multiprocess=maybe")
    assert status == 2
    assert "Error: command line: OUTPUT_DRI = x: unknown key (did you mean OUTPUT_DIR?)" in log
    assert (
        "Error: command line: do_multiprocess = maybe: not a choice; allowed: one of on, off, manual" in log
    )
    assert "terminated normally" not in log
    assert not Path("out").exists()


def test_a_key_of_the_command_line_that_many_blocks_have(mopex, field, monkeypatch):
    monkeypatch.chdir(field.work)
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", "Window_X=31")
    assert status == 2
    assert "Window_X: several blocks have it; write one of DETECT_MEDFILTER.Window_X, " in log


class Broken:
    """A module in place of a task."""

    def __init__(self, failure):
        self.failure = failure

    def run(self, run):
        raise self.failure


@pytest.mark.parametrize(
    ("failure", "status", "error"),
    [
        (TaskFailed("the frames do not overlap"), 1, "Error: the frames do not overlap"),
        (ZeroDivisionError("x"), 1, "Error: internal failure, please report it: ZeroDivisionError: x"),
        (KeyboardInterrupt(), 130, "Error: interrupted"),
    ],
)
def test_status_and_log_of_a_failure(failure, status, error, mopex, field, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(field.work)
    monkeypatch.setitem(sys.modules, "pymopex.tasks.mosaic_combiner", Broken(failure))
    got, log = mopex("mosaic_combiner", "out/mosaic_I1.nl", f"OUTPUT_DIR={tmp_path}")
    assert got == status
    lines = log.splitlines()
    assert lines[-2:] == ["System Exit 1", error]
    assert "terminated normally" not in log
    assert ("Traceback" in capsys.readouterr().err) == isinstance(failure, ZeroDivisionError)


def test_legacy_names_of_the_drivers(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/apex_qa.pl", "--help"])
    assert cli.legacy() == 0
    assert "usage: apex_qa.sh -n NAMELIST [FLAGS]" in capsys.readouterr().out


def test_the_command_as_a_program(tmp_path):
    words = [sys.executable, "-m", "pymopex.kit.cli", "mosaic_intrep"]
    done = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert done.stdout.startswith("Error: mosaic_intrep: no such task")
    assert done.stderr == ""
