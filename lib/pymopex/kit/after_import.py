"""Changes to a library that are made when it is imported, so that no program waits for a library it does not need."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib.abc import MetaPathFinder
from importlib.util import find_spec
from types import ModuleType
from typing import Any


def change(name: str, act: Callable[[ModuleType], None]) -> None:
    """Change a module, now or behind its import; the same change is made once.

    Parameters
    ----------
    name : str
        Full name of the module.
    act : callable
        Gets the module.
    """
    if name in sys.modules:
        act(sys.modules[name])
    elif not any(isinstance(finder, _Finder) and finder.does(name, act) for finder in sys.meta_path):
        sys.meta_path.insert(0, _Finder(name, act))


class _Finder(MetaPathFinder):
    """Finds one module as the other finders do, and changes it behind its import."""

    def __init__(self, name: str, act: Callable[[ModuleType], None]):
        self._name, self._act = name, act

    def does(self, name: str, act: Callable[[ModuleType], None]) -> bool:
        """Tell whether this is the finder of a change."""
        return (self._name, self._act) == (name, act)

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        """Find the module; None for all others."""
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def run_and_change(module: ModuleType) -> None:
                run(module)
                self._act(module)

            spec.loader.exec_module = run_and_change  # type: ignore[method-assign]
        return spec
