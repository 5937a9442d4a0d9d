"""Files that appear whole, and results that are kept while the files are unchanged."""

import os
from dataclasses import dataclass
from pathlib import Path

from pymopex.kit.files import remembered


@dataclass(frozen=True)
class Names:
    index: int
    image: str


def test_results_are_kept_while_files_are_unchanged(tmp_path, monkeypatch):
    read = []

    @remembered(maxsize=8)
    def content(names, path):
        read.append((names, path))
        return Path(names.image).read_text() + Path(path).read_text()

    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_text(folder)
        (tmp_path / folder / "y").write_text(folder)
    for folder in ("a", "b", "a"):  # the same names in another folder
        monkeypatch.chdir(tmp_path / folder)
        assert content(Names(0, "x"), "y") == 2 * folder
    assert len(read) == 2
    Path("y").write_text("new")
    assert content(Names(0, "x"), "y") == "anew"
    os.utime("x", ns=(1, 1))  # as long, but written at another time
    content(Names(0, "x"), "y")
    assert len(read) == 4
