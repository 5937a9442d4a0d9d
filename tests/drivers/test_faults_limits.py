"""Runs that meet with a full disk, a folder that cannot be written, few open files and little memory."""

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pymopex.kit.errors import TaskFailed

MOPEX = [sys.executable, "-m", "pymopex.kit.cli"]
GIVEN = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "create_report=0", "do_multiprocess=off")


@pytest.fixture
def work(tiny, tmp_path, monkeypatch):
    shutil.copytree(tiny, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")


def limited(kind, size, *words):
    """Run the command with a limit of its own; gives its status and its log."""
    done = subprocess.run(
        [*MOPEX, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        preexec_fn=lambda: resource.setrlimit(kind, (size, size)),
    )
    return done.returncode, done.stdout


def halves():
    return [path for path in Path().rglob(".*") if path.is_file()]


@pytest.fixture
def mounted(work):
    """Mounts a small file system in memory at ``disk``, with options."""

    def mount(options):
        Path("disk").mkdir(exist_ok=True)
        if not shutil.which("mount") or os.geteuid():
            pytest.skip("mounting a file system is for root alone")
        command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", "disk"]
        if subprocess.run(command, check=False, capture_output=True).returncode:
            pytest.skip("no file system can be mounted here")

    yield mount
    subprocess.run(["umount", "disk"], check=False, capture_output=True)


def test_a_full_disk_and_one_that_is_read_only(mounted, mopex):
    mounted("size=100k")
    words = ("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, "-O", "disk/out")
    status, log = mopex(*words)
    assert status == 1
    *_, error, way = log.splitlines()
    assert error.startswith("Error: disk/out/")
    assert error.endswith(": cannot be written: no space left on the disk")
    assert way.startswith("To go on: overlap.sh -n overlap_I1.nl ")
    assert way.endswith(" --resume")
    assert halves() == []
    subprocess.run(["mount", "-o", "remount,size=10M", "disk"], check=True)
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "are done and skipped: fiducial_image_frame" in log
    subprocess.run(["mount", "-o", "remount,ro", "disk"], check=True)
    for command in (words, ("medfilter", "disk/out/overlap_I1.nl")):
        status, log = mopex(*command)
        assert status == 1
        assert "Error: disk/out/run.lock: cannot be written: the file system is read-only" in log


def test_files_that_may_not_grow(work, mopex):
    """The system ends no write in the middle: the limit comes as a failure."""
    words = ("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, "-O", "out")
    status, log = limited(resource.RLIMIT_FSIZE, 20_000, *words)
    assert status == 1
    assert ": cannot be written: files may not be that large here (ulimit -f)" in log
    assert "Traceback" not in log
    assert halves() == []
    status, log = mopex(*words, "--resume")
    assert status == 0, log


def test_a_folder_without_permission(work, mopex, monkeypatch):
    """Root may write everywhere: the system is asked in its place."""
    opened = os.open

    def refuse(path, flags, *more, **kept):
        if str(path).startswith("out/") and flags & os.O_CREAT:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *more, **kept)

    monkeypatch.setattr(os, "open", refuse)
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, "-O", "out")
    assert status == 1
    assert "Error: out/run.lock: cannot be written: no permission" in log


def test_more_frames_than_open_files(tmp_path, monkeypatch, mopex):
    monkeypatch.chdir(tmp_path)
    field = ("Array_Size=32", "N_Frames=36", "Coverage=6", "Seed=3", "N_Stars=20")
    assert mopex("simulate", "OUTPUT_DIR=sim", *field)[0] == 0
    assert mopex("new", "flow", "I1")[0] == 0
    lists = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-O", "out")
    mode = ("create_report=0", "do_multiprocess=off")
    status, log = limited(resource.RLIMIT_NOFILE, 32, "flow", *lists, *mode, "overlap_I1.nl", "mosaic_I1.nl")
    assert status == 0, log
    assert "36 of 36 frames on a mosaic" in log


def take(_):
    """Take more memory than the process may have."""
    size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize() + (100 << 20)
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size, before[1]))
    try:
        return np.ones((10_000, 10_000)).sum()
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("where", ["here", "in a worker"])
def test_little_memory(work, mopex, monkeypatch, where):
    words = ("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN[:-1], "-O", "out")
    words = (*words, "do_multiprocess=manual", "ncpu_multiprocess=2")
    with monkeypatch.context() as patch:
        task = take if where == "here" else lambda run: run.map(take, [1, 2, 3])
        patch.setitem(sys.modules, "pymopex.tasks.medfilter", SimpleNamespace(run=task))
        status, log = mopex(*words)
    assert status == 1
    *_, error, way = log.splitlines()
    assert error.startswith("Error: not enough memory (Unable to allocate 763. MiB for an array")
    assert error.endswith(
        "cut smaller tiles (--memory 1GB), or take fewer processes (do_multiprocess=manual ncpu_multiprocess=1)"
    )
    assert way.endswith(" --resume")
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "overlap: begins with medfilter: medfilter was cut in the middle" in log


def test_no_memory_to_begin_with(work):
    """Libraries would hang while they are loaded."""
    words = ("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, "-O", "out")
    status, log = limited(resource.RLIMIT_AS, 300 << 20, *words)
    assert status == 1
    assert "no more than 300 MB of address space here (ulimit -v): not enough memory; at least 500 MB" in log
    assert not Path("out").exists()


ALGEBRA = """
import resource, sys
from pymopex.kit import cli, working
def less(room):
    with open("/proc/self/statm") as file:
        size = int(file.read().split()[0]) * resource.getpagesize() + (room << 20)
    resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
import numpy, scipy.linalg
less(int(sys.argv[1]))
working._check_limits()
less(1)
scipy.linalg.cho_factor(numpy.eye(3)), numpy.linalg.cholesky(numpy.eye(3))
print("done")
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(("room", "done"), [(500, True), (60, False)])
def test_linear_algebra_does_not_wait_for_memory(room, done):
    """Its library asks again for ever, wherever the memory ends: it has what it needs before work begins."""
    command = [sys.executable, "-c", ALGEBRA, str(room)]
    found = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert (found.stdout == "done\n") == done, found.stderr
    assert ("not enough memory" in found.stderr) == (not done)


def test_a_failure_keeps_its_cause_when_it_comes_from_a_worker(work, mopex, monkeypatch):
    full = SimpleNamespace(run=lambda run: run.map(refuse, [1, 2, 3]))
    monkeypatch.setitem(sys.modules, "pymopex.tasks.medfilter", full)
    mode = ("do_multiprocess=manual", "ncpu_multiprocess=2")
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN[:-1], *mode, "-O", "out")
    assert status == 1
    assert "Error: out/a.fits: cannot be written: no space left on the disk" in log


def refuse(_):
    raise TaskFailed("out/a.fits: cannot be written: no space left on the disk")
