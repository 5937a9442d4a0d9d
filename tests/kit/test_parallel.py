import contextlib
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from pymopex.kit import signals
from pymopex.kit.errors import InputError, InputErrors, TaskFailed, Terminated
from pymopex.kit.files import whole
from pymopex.kit.parallel import Pool, processes, processors


@pytest.fixture(params=[1, 2, 3])
def pool(request):
    pool = Pool(request.param)
    yield pool
    pool.close()


@pytest.fixture
def two():
    pool = Pool(2)
    yield pool
    pool.close()


def roughly(number):
    time.sleep(0.01 * (number % 3))  # later jobs end before earlier ones
    return sum(1 / (k + 1) for k in range(number))


def fail(number):
    if number == 3:
        raise InputError(f"frame{number}.fits: cannot be read")
    return number


def fail_twice(number):
    raise InputErrors([f"frame{number}.fits: one", f"frame{number}.fits: two"])


def die(number):
    if number == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def test_results_do_not_depend_on_the_number_of_processes(pool):
    assert pool.map(roughly, list(range(40))) == [roughly(n) for n in range(40)]


def test_no_work(pool):
    assert pool.map(roughly, []) == []


def test_what_a_job_raises_is_raised(pool):
    with pytest.raises(InputError, match=r"^frame3\.fits: cannot be read$"):
        pool.map(fail, list(range(6)))
    assert pool.map(roughly, [1, 2]) == [1, 1.5]  # and the pool still works


def test_several_problems_of_a_job_come_back_as_they_were(pool):
    with pytest.raises(InputErrors) as raised:
        pool.map(fail_twice, [1, 2])
    assert raised.value.problems == ["frame1.fits: one", "frame1.fits: two"]
    assert str(raised.value) == "frame1.fits: one\nframe1.fits: two"


def test_errors_survive_pickling():
    error = pickle.loads(pickle.dumps(InputErrors(["a", "b", "a"])))
    assert (error.problems, str(error)) == (["a", "b"], "a\nb")


def test_killed_process(two):
    with pytest.raises(
        TaskFailed, match="a process was killed while it worked on tiles, perhaps for lack of memory"
    ):
        two.map(die, list(range(8)), "tiles")
    assert two.map(roughly, [1, 2]) == [1, 1.5]  # new processes


def test_process_that_was_killed_between_two_modules(two):
    [victim, *_] = two.map(pid, list(range(4)))
    os.kill(victim, signal.SIGKILL)
    time.sleep(0.3)
    with pytest.raises(TaskFailed, match="a process was killed"):
        two.map(roughly, [1, 2])


def test_closing_twice():
    pool = Pool(2)
    pool.map(roughly, [1, 2])
    pool.close()
    pool.close()


def test_processes_are_kept(two):
    first, second = (set(two.map(pid, list(range(30)))) for _ in range(2))
    assert first | second == first


def pid(_):
    time.sleep(0.005)
    return os.getpid()


def test_number_of_processes():
    assert processes("on", 1) == processors() >= 1
    assert processes("off", 4) == processes("manual", None) == processes("manual", 0) == 1
    assert processes("manual", 4) == 4


INTERRUPTED = """
import sys, time
from pymopex.kit import cli, files
from pymopex.kit.parallel import Pool

def slow(number):
    with files.whole(f"{sys.argv[1]}/{number}.txt") as name:
        open(name, "w").close()
        time.sleep(60)

def work(words):
    pool = Pool(3)
    try:
        pool.map(slow, list(range(20)))
    finally:
        pool.close()

cli._dispatch = work
raise SystemExit(cli.main([]))
"""


def test_interrupt_ends_all_processes_without_traceback_or_half_files(tmp_path):
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTED, tmp_path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    for _ in range(600):
        if len(os.listdir(tmp_path)) == 3:
            break
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGINT)  # what Ctrl-C does
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out, err) == (130, "Error: interrupted\n", "")
    assert os.listdir(tmp_path) == []


ORPHANS = """
import os, sys, time
from pymopex.kit.parallel import Pool

def slow(number):
    os.write(1, b"%d\\n" % os.getpid())  # whole lines, whoever writes besides
    time.sleep(60)

Pool(3).map(slow, list(range(20)))
"""


def alive(pid):
    try:
        os.kill(pid, 0)
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split(")")[1][:3]
    except (ProcessLookupError, FileNotFoundError):
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_workers_end_with_a_process_that_is_killed():
    with subprocess.Popen([sys.executable, "-c", ORPHANS], stdout=subprocess.PIPE, text=True) as process:
        numbers = (line for line in process.stdout if line.strip().isdigit())  # the log may stand between
        workers = [int(next(numbers)) for _ in range(3)]
        process.kill()
    for _ in range(100):
        if not any(map(alive, workers)):
            break
        time.sleep(0.05)
    assert not any(map(alive, workers))


def test_stopping_ends_jobs_and_removes_what_they_have_half_written(tmp_path):
    pool = Pool(2)
    with pytest.raises(KeyboardInterrupt):
        pool.map(linger, [str(tmp_path / name) for name in "abcdef"])
    started = time.monotonic()
    pool.stop()
    pool.stop()
    assert time.monotonic() - started < 40  # of the 60 s that they linger
    assert os.listdir(tmp_path) == []


def linger(path):
    with whole(path) as name:
        Path(name).touch()
        if path.endswith("b"):
            os.kill(os.getppid(), signal.SIGINT)
        time.sleep(60)


def test_interrupts_wait_for_the_compiler():
    """An exception in a callback of the compiler would end the process."""
    told = []
    handler = signals.outside_compilers(told.append)
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        scope = {"__name__": "llvmlite.binding", "signal": signal, "time": time, "told": told, "early": []}
        exec("signal.raise_signal(signal.SIGUSR1); early.extend(told)", scope)
        assert scope["early"] == []
        time.sleep(0.3)
        assert told == [signal.SIGUSR1]
        signal.raise_signal(signal.SIGUSR1)
        assert told == [signal.SIGUSR1] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_an_interrupt_that_got_lost_is_raised_later():
    with signals.caught():
        with contextlib.suppress(KeyboardInterrupt):  # as a callback of a library does
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated):
            signals.check()
    with signals.caught():
        signals.check()
