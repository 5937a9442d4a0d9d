"""Runs that are cut at any place and go on with ``--resume``: their products are those of a run without a break."""

import contextlib
import errno
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import run_products
from pymopex.kit import cli, driver, lock, resume
from pymopex.kit.files import unfinished_prefix

FLOW = ("overlap_I1.nl", "mosaic_I1.nl")
GIVEN = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out", "create_report=0")
ONE, TWO = ("do_multiprocess=off",), ("do_multiprocess=manual", "ncpu_multiprocess=2")
OWN = re.compile(r"provenance\.json|progress_\w+\.jsonl|\w+\.nl")  # tell of the run itself

# Ends a run by a signal: at the beginning or the end of a module, or inside, at a file that is written but has not its
# name yet. The signal goes to the main process, or to a worker that writes into a folder.
CUT = """
import os, sys
from pymopex.kit import cli, task
from pymopex.tasks import mosaic_combiner
where, module, pipeline, count, number, whom = sys.argv[1:7]
main, at, replace, execute = os.getpid(), [""], os.replace, task.Run.execute
def end():
    os.kill(main if whom == "main" else os.getpid(), int(number))
def execute_to(run, name):
    at[0] = where if (name, run.pipeline) == (module, pipeline) else ""
    if at[0] == "begin":
        end()
    execute(run, name)
    if at[0] == "end":
        end()
left = [int(count)]
def replace_to(source, target):
    if whom == "worker":
        at[0] = "inside" if os.getpid() != main and module in target else ""
    if at[0] == "inside":
        left[0] -= 1
        if not left[0]:
            end()
    replace(source, target)
task.Run.execute, os.replace = execute_to, replace_to
raise SystemExit(cli.main(sys.argv[7:]))
"""


def cut(place, how, words, whom="main"):
    """Run a command that ends by a signal at a place; gives its status and its log."""
    where, module, pipeline, *count = place.split()
    how = [where, module, pipeline, *(count or ["1"]), str(int(how)), whom]
    command = [sys.executable, "-c", CUT, *how, *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return done.returncode, done.stdout


def products(folder):
    return run_products.products(folder, OWN)


def unlike(folder, wanted):
    """Names of products that are not as they are wanted, that are missing, or too many."""
    found = products(folder)
    return sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))


def halves():
    return [path for path in Path().rglob(".*") if path.is_file()]


@pytest.fixture(scope="module")
def finished(tiny, tmp_path_factory, mopex):
    """The folder of a run of Overlap and Mosaic without a break."""
    folder = tmp_path_factory.mktemp("faults") / "work"
    shutil.copytree(tiny, folder)
    with contextlib.chdir(folder):
        status, log = mopex("flow", *GIVEN, *ONE, *FLOW)
    assert status == 0, log
    return folder


@pytest.fixture(scope="module")
def wanted(finished):
    return products(finished / "out")


@pytest.fixture
def fresh(tiny, tmp_path, monkeypatch):
    """The folder of a run that has not begun: the working directory."""
    shutil.copytree(tiny, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def done(finished, tmp_path, monkeypatch):
    """A copy of the run without a break: the working directory."""
    shutil.copytree(finished, tmp_path / "work")
    monkeypatch.chdir(tmp_path / "work")


@pytest.mark.parametrize(
    ("place", "how", "mode"),
    [
        ("begin mosaic_interp mosaic", signal.SIGKILL, ONE),
        ("inside mosaic_interp mosaic 3", signal.SIGTERM, ONE),
        ("inside mosaic_rmask mosaic 2", signal.SIGINT, ONE),
        ("end mosaic_coadder mosaic", signal.SIGKILL, ONE),
        ("inside fiducial_image_frame mosaic 2", signal.SIGKILL, ONE),  # FIF.tbl of Overlap is replaced
        ("inside compute_overlap_correction overlap 2", signal.SIGKILL, TWO),
        ("inside mosaic_outlier mosaic 1", signal.SIGTERM, TWO),
    ],
)
def test_a_run_that_is_cut_goes_on_and_makes_the_same(fresh, wanted, mopex, place, how, mode):
    words = ("flow", *GIVEN, *mode, *FLOW)
    status, log = cut(place, how, words)
    expected = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how]
    assert status == expected, log
    if how != signal.SIGKILL:
        assert halves() == []
        assert not Path("out/run.lock").exists()
        text = {signal.SIGTERM: "terminated", signal.SIGINT: "interrupted"}[how]
        assert log.splitlines()[-2] == f"Error: {text}"
        assert log.splitlines()[-1].startswith("To go on: flow.sh -I images.txt ")
        assert log.splitlines()[-1].endswith(" --resume")
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    module, pipeline = place.split()[1:3]
    assert f"{pipeline}: begins with {module}: {module} was cut in the middle" in log
    assert log.endswith("flow terminated normally\n")
    assert unlike("out", wanted) == []
    assert halves() == []
    assert not Path("out/run.lock").exists()


@pytest.mark.parametrize(("how", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_that_python_wraps_in_another_exception(mopex, monkeypatch, how, status):
    """As while a class is made: RuntimeError, "Error calling __set_name__"."""

    def wrap(words):
        try:
            signal.raise_signal(how)
        except KeyboardInterrupt as problem:
            raise RuntimeError("Error calling __set_name__") from problem

    monkeypatch.setattr(cli, "_dispatch", wrap)
    found, log = mopex("flow", *FLOW)
    assert found == status
    assert "Traceback" not in log
    assert log.splitlines()[-1].startswith("To go on: flow.sh ")


# Ends a run while its processes are started: behind the first, before the executor knows it.
START = """
import os, sys
from multiprocessing import process
from pymopex.kit import cli
start = process.BaseProcess.start
def start_and_end(self):
    start(self)
    process.BaseProcess.start = start
    os.kill(os.getpid(), int(sys.argv[1]))
process.BaseProcess.start = start_and_end
raise SystemExit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("how", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_processes_are_started(fresh, wanted, mopex, how, status):
    words = ("flow", *GIVEN, *TWO, *FLOW)
    command = [sys.executable, "-c", START, str(int(how)), *words]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    assert done.returncode == status, done.stdout
    assert "Traceback" not in done.stdout
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert unlike("out", wanted) == []


def test_a_run_that_is_cut_again_and_again(fresh, wanted, mopex):
    words = ("flow", *GIVEN, *ONE, *FLOW)
    for place in (
        "inside medfilter overlap 2",
        "begin mosaic_covg mosaic",
        "inside mosaic_combiner mosaic 2",
    ):
        status, log = cut(place, signal.SIGKILL, (*words, *(["--resume"] if Path("out").exists() else [])))
        assert status == -9, log
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "overlap: all 5 modules are done" in log
    assert unlike("out", wanted) == []


def test_modules_that_change_products_of_others(field, tmp_path, monkeypatch, mopex):
    """Aperture adds columns to the table of Source Estimate, Select a table to its HDF5 file."""
    monkeypatch.chdir(field.copy(tmp_path / "work"))
    wanted = products(field.out)
    words = ("drive", "apex", "-n", "out/apex_I1.nl", "create_report=0", *ONE)
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "apex: all " in log
    Path("out/extract_raw.tbl").unlink()
    for place in ("end aperture apex", "inside select apex"):
        status, log = cut(place, signal.SIGKILL, (*words, "--resume"))
        assert status == -9, log
        assert "apex: begins with sourcestimate: out/extract_raw.tbl" in log
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "apex: begins with select: select was cut in the middle" in log
    assert unlike("out", wanted) == []


def stamps():
    return {str(path): os.stat(path).st_ino for path in Path("out").rglob("*") if path.is_file()}


def test_resuming_a_finished_run_does_nothing(done, mopex):
    before = stamps()
    status, log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")
    assert status == 0, log
    assert "overlap: all 5 modules are done, and nothing they depend on has changed" in log
    assert "mosaic: all " in log
    assert "/mopex " not in log
    assert stamps() == before
    status, log = mopex("flow", *GIVEN, *TWO, *FLOW, "--resume")  # processes change nothing
    assert (status, stamps()) == (0, before), log


def touch():
    frame = Path("images.txt").read_text().split()[1]
    os.utime(frame, ns=(1, 1))
    return frame


@pytest.mark.parametrize(
    ("change", "begin", "why"),
    [
        (lambda: Path("out/covg_map.fits").unlink(), "mosaic_covg", "out/covg_map.fits is missing"),
        (lambda: os.utime("out/Combine-mosaic/mosaic.fits"), "mosaic_combiner", "mosaic.fits has changed"),
        (touch, "fiducial_image_frame", "_cbcd.fits has changed"),
        (lambda: Path("out/progress_overlap.jsonl").write_text("{"), "fiducial_image_frame", "no record"),
    ],
)
def test_what_has_changed_is_made_again(done, wanted, mopex, change, begin, why):
    change()
    status, log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")
    assert status == 0, log
    assert re.search(rf": begins with {begin}: .*{re.escape(why)}", log), log
    assert unlike("out", wanted) == []


def test_another_parameter_runs_the_modules_that_depend_on_it(done, mopex):
    words = ("flow", *GIVEN, *ONE, *FLOW, "RM_THRESH=0.3", "--resume")
    status, log = mopex(*words)
    assert status == 0, log
    assert re.search(r"mosaic: begins with mosaic_rmask: MOSAICRMASKIN.RM_THRESH was .*, and is 0.3", log), (
        log
    )
    assert "/mopex mosaic_interp" not in log
    assert "all" in mopex(*words)[1]


def test_pipelines_behind_one_that_ran_again_run_again(done, mopex):
    assert mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, *ONE)[0] == 0
    status, log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")
    assert status == 0, log
    assert "overlap: all 5 modules are done" in log
    assert (
        "mosaic: begins with fiducial_image_frame: no record of it is left, or what comes before it ran"
        in log
    )


def test_a_module_alone_takes_back_what_stands_behind_it(done, mopex, wanted):
    assert mopex("mosaic_rmask", "out/mosaic_I1.nl", "RM_THRESH=0.3", *ONE)[0] == 0
    status, log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")
    assert status == 0, log
    assert "mosaic: begins with mosaic_rmask" in log
    assert unlike("out", wanted) == []


def test_another_version(done, mopex, monkeypatch):
    monkeypatch.setattr(resume, "__version__", "99.0")
    status, log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")
    assert status == 0, log
    assert re.search(r"overlap: begins with fiducial_image_frame: .* pymopex [\d.]+, and this is 99.0", log)


def test_from_a_module_on_can_be_resumed(done, mopex, wanted):
    words = ("drive", "mosaic", "-n", "out/mosaic_I1.nl", *ONE, "create_report=0")
    status, log = cut("inside mosaic_coadder mosaic", signal.SIGKILL, (*words, "--from", "mosaic_rmask"))
    assert status == -9, log
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "mosaic: begins with mosaic_coadder: mosaic_coadder was cut in the middle" in log
    assert unlike("out", wanted) == []


def test_cut_while_intermediate_files_are_deleted(fresh, mopex):
    """What is gone already is not made again, and the others go."""
    words = ("flow", *GIVEN, *ONE, *FLOW, "delete_intermediate_files=1")
    script = CUT.replace("raise SystemExit", "unlink = os.unlink\nos.unlink = gone\nraise SystemExit")
    script = script.replace(
        "left = [",
        "def gone(path, *more, **kept):\n"
        "    unlink(path, *more, **kept)\n"
        "    if 'Interp-mosaic' in str(path) and '.fits' in str(path) and '/.' not in str(path):\n"
        "        os.kill(main, 9)\n"
        "left = [",
    )
    command = [sys.executable, "-c", script, *("begin", "none", "none", "1", "9", "main"), *words]
    assert subprocess.run(command, stdout=subprocess.DEVNULL, timeout=60).returncode == -9
    left = len(list(Path("out/Interp-mosaic").glob("*.fits")))
    assert left > 2
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "/mopex " not in log
    assert not list(Path("out/Interp-mosaic").glob("*.fits"))
    assert "nothing they depend on has changed" in mopex(*words, "--resume")[1]
    log = mopex(*words, "RM_THRESH=0.3", "--resume")[1]  # what it needs is gone
    assert "mosaic: begins with fiducial_image_frame" in log


def test_resume_behind_clean(done, mopex):
    assert mopex("clean", "out/mosaic_I1.nl")[0] == 0
    log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")[1]
    assert "/mopex " not in log


@pytest.mark.parametrize("place", ["inside detect_radhit mosaic 2", "end detect_radhit mosaic"])
def test_masks_that_are_written_in_their_place(tiny, tmp_path, monkeypatch, mopex, place):
    """Medfilter ran on the masks before; it is not run again on those that hold the hits."""
    found = {}
    for name in ("whole", "cut"):
        shutil.copytree(tiny, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        words = ("drive", "mosaic", "-n", "mosaic_I1.nl", *GIVEN, *ONE)
        words = (*words, "run_detect_radhit=1", "overwrite_dmask=1", "Radhit_Threshold=3")
        if name == "cut":
            for again in ((), ("--resume",)):
                status, log = cut(place, signal.SIGKILL, (*words, *again))
                assert status == -9, log
            words = (*words, "--resume")
        status, log = mopex(*words)
        assert status == 0, log
        found[name] = products("out") | products("bcd")
    assert "mosaic: begins with detect_radhit: detect_radhit was cut in the middle" in log
    assert [name for name in found["whole"] if found["cut"].get(name) != found["whole"][name]] == []
    assert halves() == []
    log = mopex(*words)[1]
    assert "/mopex " not in log


def test_headers_that_are_written_in_their_place(tiny, tmp_path, monkeypatch, mopex):
    """Where the refinement starts from what it writes, half of it cannot be told from the other half."""
    found = {}
    for name in ("whole", "cut", "again"):
        shutil.copytree(tiny, tmp_path / name)
        monkeypatch.chdir(tmp_path / name)
        assert mopex("new", "pointingrefine", "I1")[0] == 0
        words = ("drive", "pointingrefine", "-n", "pointingrefine_I1.nl", *GIVEN, *ONE)
        words = (*words, "USE_REFINED_POINTING=1") if name == "again" else words
        if name != "whole":
            status, log = cut("inside pointingrefine pointingrefine 3", signal.SIGKILL, words)
            assert status == -9, log
            words = (*words, "--resume")
        status, log = mopex(*words)
        found[name] = products("bcd")
        assert status == (2 if name == "again" else 0), log
    assert "its refined pointing was being refined again when the run was cut, which cannot be resumed" in log
    assert found["cut"] == found["whole"]


def test_an_input_that_changes_during_the_run(fresh, mopex, monkeypatch):
    import pymopex.tasks.medfilter as module

    original, frames = module.run, []

    def run(run):
        original(run)
        frames.append(touch())

    monkeypatch.setattr(module, "run", run)
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, *ONE)
    assert status == 1
    assert f"Error: {frames[0]}: has changed during the run" in log
    assert (
        "Error: the products of overlap in out are of mixed inputs and not to be trusted; run it again" in log
    )
    monkeypatch.setattr(module, "run", original)
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, *ONE, "--resume")
    assert status == 0
    assert "overlap: begins with fiducial_image_frame" in log


def test_an_input_that_changes_behind_the_check(fresh, mopex, monkeypatch):
    """What was checked is not what is read: as any change during the run."""
    original, frames = driver.check, []

    def check(*words, **more):
        original(*words, **more)
        frames.append(touch())

    monkeypatch.setattr(driver, "check", check)
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, *ONE)
    assert status == 1
    assert f"Error: {frames[0]}: has changed during the run" in log


def test_a_namelist_that_changes_during_the_run(fresh, mopex, monkeypatch):
    import pymopex.tasks.medfilter as module

    original = module.run

    def run(run):
        original(run)
        Path("overlap_I1.nl").write_text(Path("overlap_I1.nl").read_text() + "#\n")

    monkeypatch.setattr(module, "run", run)
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, *ONE)
    assert status == 1
    assert (
        "Error: overlap_I1.nl: has changed during the run, and the products are those of its values before"
        in log
    )
    monkeypatch.setattr(module, "run", original)
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, *ONE, "--resume")
    assert status == 0, log
    assert "/mopex " not in log  # but for a comment it is the same


def test_a_killed_worker(fresh, mopex, wanted):
    words = ("flow", *GIVEN, *TWO, *FLOW)
    status, log = cut("inside Interp-mosaic mosaic", signal.SIGKILL, words, whom="worker")
    assert status == 1
    assert "Error: a process was killed while it worked on frames, perhaps for lack of memory" in log
    assert log.splitlines()[-1].startswith("To go on: flow.sh")
    status, log = mopex(*words, "--resume")
    assert status == 0, log
    assert "mosaic: begins with mosaic_interp: mosaic_interp was cut" in log
    assert unlike("out", wanted) == []
    assert halves() == []


def test_two_runs_into_one_directory(done, mopex):
    script = (
        "import sys\nfrom pymopex.kit import lock\nwith lock.hold('out'):\n print(1, flush=True)\n input()"
    )
    command = [sys.executable, "-c", script, "a word"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        other.stdout.readline()
        for words in (
            ("flow", *GIVEN, *ONE, *FLOW),
            ("drive", "mosaic", "-n", "mosaic_I1.nl", *GIVEN, *ONE),
            ("mosaic_rmask", "out/mosaic_I1.nl", *ONE),
            ("clean", "out/mosaic_I1.nl"),
            ("report", "out"),
        ):
            before = stamps()
            status, log = mopex(*words)
            assert status == 2, log
            assert "Error: out: another run is at work there since 2" in log
            assert f": process {other.pid} on " in log
            assert "wait for its end, or give another OUTPUT_DIR" in log
            assert stamps() == before
        assert mopex("clean", "out/mosaic_I1.nl", "--list")[0] == 0  # looks alone
        other.kill()
    host = unfinished_prefix().rsplit("-", 2)[0]
    Path(f"out/Interp-mosaic/{host}-99999999-a.fits").touch()
    Path(f"out/{host}-99999998-").mkdir()
    others = (
        "out/.git",
        "out/.20260101.notes",
        "out/Interp-mosaic/.99999999.a.fits",
        f"out/{host}x-99999999-a.fits",
    )
    for name in others:  # not made by this machine's processes
        Path(name).touch()
    status, log = mopex("mosaic_rmask", "out/mosaic_I1.nl", *ONE)
    assert status == 0, log
    assert "2 half-written files of a run that was cut are removed" in log
    assert sorted(map(str, halves())) == sorted(others)


def test_what_is_left_behind_is_removed_later_too(done, mopex):
    """By the first run that begins, whatever is refused or only looked at before."""
    Path("out/run.lock").write_text(json.dumps({"pid": 99999999}))
    host = unfinished_prefix().rsplit("-", 2)[0]
    Path(f"out/{host}-99999999-a.fits").touch()
    assert mopex("report", "out")[0] == 0
    assert mopex("flow", *GIVEN, *ONE, *FLOW, "RM_THRESH=-1")[0] == 2
    assert mopex("mosaic_rmask", "out/mosaic_I1.nl", "RM_THRESH=-1")[0] == 2
    assert len(halves()) == 1
    status, log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")
    assert status == 0, log
    assert "1 half-written files of a run that was cut are removed" in log
    assert halves() == []
    assert not Path("out/run.lock").exists()


def test_a_lock_of_another_user(done, mopex, monkeypatch):
    """Its file may be read, but not written: root may do both, so the system is asked in its place."""
    opened, refused = os.open, [os.O_RDWR]

    def refuse(path, flags, *more, **kept):
        if str(path) == "out/run.lock" and flags & os.O_ACCMODE in refused:
            raise PermissionError(13, "Permission denied", path)
        return opened(path, flags, *more, **kept)

    with open("out/run.lock", "w+") as file:
        monkeypatch.setattr(os, "open", refuse)
        fcntl.flock(file, fcntl.LOCK_EX)
        for words in (("report", "out"), ("drive", "overlap", "-n", "overlap_I1.nl", *GIVEN, *ONE)):
            status, log = mopex(*words)
            assert status == 2, log
            assert "Error: out: another run is at work there; wait for its end" in log
        fcntl.flock(file, fcntl.LOCK_UN)
        assert mopex("report", "out")[0] == 0
        refused.append(os.O_RDONLY)
        status, log = mopex("report", "out")
        assert status == 1
        text = "whether another run is at work there is not known: no permission"
        assert f"Error: out/run.lock: cannot be read, and {text}" in log


def test_a_file_system_without_locks(done, mopex, monkeypatch):
    def refuse(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setattr(lock, "_warned", set())
    status, log = mopex("flow", *GIVEN, *ONE, *FLOW, "--resume")
    assert status == 0, log
    assert log.count("Warning: out: its file system has no locks; start no second run there") == 1
    assert not Path("out/run.lock").exists()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (
            ("flow", "--resume", "--from", "medfilter", *FLOW),
            "--resume: finds the module to begin with itself",
        ),
        (("medfilter", "mosaic_I1.nl", "--resume"), "medfilter: --resume is for pipelines, such as flow.sh"),
    ],
)
def test_flags_that_do_not_go_together(fresh, mopex, words, text):
    status, log = mopex(*words)
    assert status == 2
    assert text in log


def test_progress_tells_what_was_made(done):
    events = [json.loads(line) for line in Path("out/progress_mosaic.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events][:2] == ["start", "begin"]
    assert events[-1] == {"event": "finish"}
    made = {event["task"]: event["products"] for event in events if event["event"] == "done"}
    found = os.stat("out/covg_map.fits")
    assert made["mosaic_covg"]["covg_map.fits"] == [found.st_size, found.st_mtime_ns]
