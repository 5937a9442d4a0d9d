"""The layers point one way: library, then kit, then tasks."""

import ast
from pathlib import Path

import pymopex
import pymopex.tasks

LIBRARY = Path(pymopex.__file__).parent
TASKS = Path(pymopex.tasks.__file__).parent


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        yield from imports_of(node)


def imports_of(node):
    if isinstance(node, ast.Import):
        yield from (name.name for name in node.names)
    elif isinstance(node, ast.ImportFrom):
        yield node.module or ""


def test_the_library_knows_neither_kit_nor_tasks():
    for path in LIBRARY.glob("*.py"):
        upward = [name for name in imports(path) if name.startswith(("pymopex.kit", "pymopex.tasks"))]
        assert upward == [], path.name


def test_the_kit_knows_no_task():
    for path in (LIBRARY / "kit").glob("*.py"):
        assert [name for name in imports(path) if name.startswith("pymopex.tasks")] == [], path.name


def test_nobody_but_the_command_line_knows_the_viewer():
    for path in [*LIBRARY.glob("*.py"), *(LIBRARY / "kit").glob("*.py"), *TASKS.glob("*.py")]:
        upward = [name for name in imports(path) if name.startswith("pymopex.view")]
        assert upward == (["pymopex.view"] if path.name == "cli.py" else []), path.name
        at_start = {name for node in ast.parse(path.read_text()).body for name in imports_of(node)}
        assert not any(name.startswith("pymopex.view") for name in at_start), path.name


def test_the_viewer_knows_no_task():
    for path in (LIBRARY / "view").glob("*.py"):
        assert [name for name in imports(path) if name.startswith("pymopex.tasks")] == [], path.name


def test_every_task_has_its_sheet_and_every_sheet_its_task():
    from pymopex.kit import sheets

    modules = {path.stem for path in TASKS.glob("*.py")} - {"__init__"}
    assert modules == set(sheets.tasks())


def test_every_task_of_a_driver_exists():
    from pymopex.kit import driver, sheets

    for pipeline in sheets.PIPELINES:
        assert set(driver.pipeline_tasks(pipeline)) <= set(sheets.tasks())
