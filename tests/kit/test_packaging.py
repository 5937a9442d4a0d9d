"""What `setup.cfg` installs is what there is."""

import configparser
import fnmatch
import os
from importlib import import_module
from pathlib import Path

import pytest
from pymopex.kit.sheets import PIPELINES

ROOT = Path(__file__).parents[2]
SETUP = configparser.ConfigParser()
SETUP.read(ROOT / "setup.cfg")

pytestmark = pytest.mark.skipif(not SETUP.sections(), reason="setup.cfg is not part of this copy")


def words(section, key):
    return SETUP[section][key].split()


def folder_of(package):
    places = dict(
        line.split(" = ") for line in SETUP["options"]["package_dir"].strip().splitlines() if " = " in line
    )
    return ROOT / places.get(package, f"lib/{package.replace('.', '/')}")


def installed_data(package):
    patterns = [p.strip() for p in SETUP["options.package_data"][package].split(",")]
    return lambda name: name.endswith(".py") or any(fnmatch.fnmatch(name, pattern) for pattern in patterns)


@pytest.mark.parametrize("package", ["pymopex.par", "pymopex.cal", "pymopex.scripts", "pymopex.view"])
def test_every_file_of_a_data_folder_is_installed(package):
    home = folder_of(package)
    files = [path for path in home.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    names = [path.relative_to(home).as_posix() for path in files]
    assert names
    kept = installed_data(package)
    assert [name for name in names if not kept(name)] == []


def test_every_package_is_listed():
    sources = {path.parent.relative_to(ROOT / "lib") for path in (ROOT / "lib").rglob("*.py")}
    found = {".".join(folder.parts) for folder in sources} | {
        f"pymopex.{path.parent.name}" for path in ROOT.glob("*/__init__.py")
    }
    assert set(words("options", "packages")) == found


@pytest.mark.parametrize(
    "line", SETUP["options.entry_points"]["console_scripts"].strip().splitlines() if SETUP.sections() else []
)
def test_entry_points_lead_to_functions(line):
    _, _, target = line.partition("=")
    module, _, name = target.strip().partition(":")
    assert callable(getattr(import_module(module), name))


def test_every_driver_is_installed_and_has_its_legacy_name():
    drivers = {path.stem for path in (ROOT / "scripts").glob("*.sh")}
    assert {Path(name).stem for name in words("options", "scripts")} == drivers
    legacy = {
        line.split("=")[0].strip() for line in SETUP["options.entry_points"]["console_scripts"].splitlines()
    }
    assert {f"{name}.pl" for name in PIPELINES} <= legacy


@pytest.mark.parametrize("name", words("options", "scripts") if SETUP.sections() else [])
def test_scripts_can_be_run(name):
    path = ROOT / name
    assert os.access(path, os.X_OK)
    assert path.read_text().startswith("#!/")


def test_every_import_is_a_dependency():
    import ast
    import sys

    known = {"pymopex", *sys.stdlib_module_names}
    needed, extra = SETUP["options"]["install_requires"], SETUP["options.extras_require"]["dask"]
    known |= {line.split(">")[0].strip() for line in f"{needed}\n{extra}".strip().splitlines()}
    for path in [*(ROOT / "lib").rglob("*.py"), *(ROOT / "tasks").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.split(".")[0] for name in names} <= known, path.name
