"""docs/recipe.md: its commands exist, and its pictures are small."""

import importlib.util
import re
import shlex
from pathlib import Path

import pytest
from pymopex.kit import sheets, templates

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "recipe.md"
OTHERS = {"cal", "new"}
LARGEST = 300_000  # bytes of a picture
pytestmark = pytest.mark.skipif(not PAGE.exists(), reason="the page is not part of this copy")


@pytest.fixture(scope="module")
def commands():
    spec = importlib.util.spec_from_file_location("recipe", ROOT / "benchmarks" / "recipe.py")
    recipe = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(recipe)
    blocks = recipe.BLOCK.findall(PAGE.read_text())
    return [command for block in blocks for command in recipe.commands(block)]


def test_commands_exist(commands):
    names = [command.split()[1] for command in commands if command.startswith("mopex ")]
    assert {"prepare", "cal", "make_prf", "new", "photcorr"} <= set(names)
    assert set(names) <= OTHERS | set(sheets.tasks())
    assert sum(command.startswith("flow.sh ") for command in commands) == 1


def test_keys_are_declared(commands):
    own = {p.name for task in sheets.tasks() for p in sheets.sheet(task).parameters}
    switches = {name for task in sheets.tasks() for name in sheets.sheet(task).triggers}
    words = [
        word
        for command in commands
        if command.startswith(("mopex ", "flow.sh "))
        for word in shlex.split(command)
        if re.match(r"[A-Za-z_]+=", word)
    ]
    assert words
    assert {word.split("=")[0] for word in words} <= own | switches


def test_namelists_are_those_of_the_flow(commands):
    flow = next(command for command in commands if command.startswith("flow.sh "))
    assert re.findall(r"\w+\.nl", flow) == [templates.file_name(name) for name in sheets.FLOW]


def test_every_command_shows_its_output():
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert all(any(not line.startswith(("$ ", "    ")) for line in block.splitlines()) for block in blocks)


def test_pictures_are_there_and_small():
    names = re.findall(r"!\[[^\]]*\]\(([^)]*)\)", PAGE.read_text())
    assert len(names) == 2
    for name in names:
        assert 1000 < (PAGE.parent / name).stat().st_size < LARGEST, name
