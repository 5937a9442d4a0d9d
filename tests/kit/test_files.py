"""Files that appear whole, and results that are kept while the files are unchanged."""

import errno
import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from pymopex.kit.errors import TaskFailed
from pymopex.kit.files import remembered, whole


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


def hidden(number):
    """A cause as astropy hides it: a failure without a number, raised where the other was handled."""
    try:
        raise OSError(number, os.strerror(number))
    except OSError as problem:
        raise OSError("Not enough space on disk: requested 100, available 0.") from problem


@pytest.mark.parametrize(
    ("fail", "reason"),
    [
        (lambda name: os.write(os.open("/dev/full", os.O_WRONLY), b"x"), "no space left on the disk"),
        (lambda name: hidden(errno.ENOSPC), "no space left on the disk"),
        (lambda name: raised(OSError("1000 requested and 0 written")), "no space left on the disk"),
        (lambda name: raised(OSError(errno.EDQUOT, "x")), "the quota of the disk is used up"),
        (lambda name: raised(OSError(errno.EROFS, "x", name)), "the file system is read-only"),
        (lambda name: raised(OSError(errno.EACCES, "x", name)), "no permission"),
        (lambda name: raised(OSError(errno.EMFILE, "x", name)), r"too many open files \(ulimit -n\)"),
        (lambda name: raised(type("HDF5ExtError", (RuntimeError,), {})("x")), "HDF5 fails, perhaps for lack"),
    ],
)
def test_what_cannot_be_written_is_said_in_a_line(tmp_path, fail, reason):
    target = tmp_path / "a" / "b.fits"
    with pytest.raises(TaskFailed, match=f"^{target}: cannot be written: {reason}"):
        write(str(target), fail)
    assert list((tmp_path / "a").iterdir()) == []


def write(target, fail):
    with whole(target) as name:
        Path(name).write_bytes(b"half")
        fail(name)


def raised(problem):
    raise problem


def test_other_failures_stay_what_they_are(tmp_path):
    """A file that cannot be read is not one that cannot be written."""
    with pytest.raises(PermissionError), whole(str(tmp_path / "a")):
        raise PermissionError(errno.EACCES, "Permission denied", "other.fits")
    with pytest.raises(TaskFailed, match="/proc/1/x/a: cannot be written: "), whole("/proc/1/x/a"):
        pass
