"""The run directory: what is in it, and that nothing outside is reached."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from pymopex.kit import provenance

KINDS = {
    "image": (".fits", ".fit", ".fits.gz", ".fits.fz"),
    "table": (".tbl",),
    "page": (".html",),
    "picture": (".png",),
    "namelist": (".nl",),
    "text": (".txt", ".json", ".log", ".reg", ".ecsv", ".vot"),
}
"""Kinds of products by the ending of their names; lists of tiles have none and are texts."""


class Refused(Exception):
    """A request for something that the viewer does not give."""


@dataclass(frozen=True)
class RunFolder:
    """The output directory of a run.

    Attributes
    ----------
    name : str
        As the user gave it; commands are shown with it.
    root : str
        Absolute path without links.
    """

    name: str
    root: str

    @classmethod
    def of(cls, name: str) -> RunFolder:
        """Take a directory as the run directory."""
        return cls(os.path.normpath(name), os.path.realpath(name))

    def path(self, name: str) -> str:
        """Give the absolute path of a file or folder of the run.

        Raises
        ------
        Refused
            The name, or what a link of that name leads to, lies outside.
        """
        if not name or "\0" in name or os.path.isabs(name) or ".." in name.split("/"):
            raise Refused(f"{name!r}: no file of the run")
        full = os.path.realpath(os.path.join(self.root, name))
        if not self.holds(full) or any(part.startswith(".") for part in self.within(full).split("/")):
            raise Refused(f"{name}: outside the run directory")
        return full

    def file(self, name: str) -> str:
        """Give the absolute path of an existing file of the run.

        Raises
        ------
        Refused
            It lies outside.
        FileNotFoundError
            There is no such file.
        """
        full = self.path(name)
        if not os.path.isfile(full):
            raise FileNotFoundError(name)
        return full

    def holds(self, path: str) -> bool:
        """Tell whether a path, its links followed, lies in the run directory."""
        return os.path.realpath(path).startswith(self.root + os.sep)

    def within(self, path: str) -> str:
        """Give the name of a path relative to the run directory."""
        return os.path.relpath(path, self.root)

    def shown(self, name: str) -> str:
        """Give the name of a file of the run as a user of a shell would write it."""
        return os.path.normpath(os.path.join(self.name, name))

    def records(self) -> list[dict[str, Any]]:
        """Give what each task left in ``provenance.json``, in order of time."""
        return provenance.read(os.path.join(self.root, "provenance.json"))

    def products(self) -> list[dict[str, Any]]:
        """Give the files of the run: name, kind, size in bytes, time of change [s], and the task that made it."""
        makers = {
            product: one["task"]
            for one in self.records()
            if isinstance(one.get("products"), list)
            for product in one["products"]
        }
        found = []
        for folder, folders, names in os.walk(self.root):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(name for name in names if not name.startswith(".")):
                full = os.path.join(folder, name)
                if not self.holds(full) or not os.path.isfile(full):
                    continue
                known, about = self.within(full), os.stat(full)
                one = {"name": known, "kind": kind_of(name), "size": about.st_size, "time": about.st_mtime}
                found.append({**one, "task": makers.get(known, "")})
        return found


def kind_of(name: str) -> str:
    """Tell the kind of a product from the ending of its name; 'other' for one that cannot be shown."""
    for kind, endings in KINDS.items():
        if name.endswith(endings):
            return kind
    return "other" if "." in name else "text"
