import importlib
import sys

import pytest
from pymopex.kit import after_import


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "changed_behind_import.py").write_text("value = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield "changed_behind_import"
    sys.modules.pop("changed_behind_import", None)


def add(module):
    module.value += 10


def double(module):
    module.value *= 2


def test_changes_are_made_once_behind_the_import(module):
    for act in (add, double, add):
        after_import.change(module, act)
    assert module not in sys.modules
    assert importlib.import_module(module).value in (12, 22)  # in either order
    assert not any(isinstance(finder, after_import._Finder) for finder in sys.meta_path)


def test_a_module_that_is_there_is_changed_at_once(module):
    loaded = importlib.import_module(module)
    after_import.change(module, add)
    assert loaded.value == 11


def test_a_module_that_does_not_exist_stays_away():
    before = list(sys.meta_path)
    after_import.change("no_such_module_anywhere", add)
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("no_such_module_anywhere")
    assert sys.meta_path == before
