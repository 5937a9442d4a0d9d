"""Jobs on a dask cluster: a scheduler and workers of their own processes, one of which is killed at work."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.cluster import Cluster
from pymopex.kit.errors import InputError, TaskFailed

pytest.importorskip("distributed")
pytestmark = [
    # what the library says while it closes connections is no concern of ours
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def start(*words, folder):
    return subprocess.Popen(
        [sys.executable, "-m", "distributed.cli." + words[0], *words[1:]],
        cwd=folder,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
    )


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    """Start a scheduler and two workers; gives the scheduler file and the processes of the workers."""
    folder = tmp_path_factory.mktemp("dask")
    file = folder / "scheduler.json"
    words = ("--host", "127.0.0.1", "--no-dashboard", "--port", "0", "--scheduler-file", str(file))
    scheduler = start("dask_scheduler", *words, folder=folder)
    quiet = ("--nthreads", "1", "--no-dashboard", "--scheduler-file", str(file), "--death-timeout", "60")
    started = [start("dask_worker", *quiet, "--no-nanny", folder=folder) for _ in range(3)]
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.05)
    yield str(file), started
    for process in (*started, scheduler):
        process.kill()
        process.wait()


@pytest.fixture
def cluster(workers):
    cluster = Cluster(scheduler=workers[0])
    yield cluster
    cluster.close()


def square(number):
    return number * number


def where(_):
    return os.getcwd(), os.getpid()


def bad(number):
    raise InputError(f"frame{number}.fits: cannot be read")


def die_once(name):
    """Kill the worker, but not the one that begins the job again."""
    if not os.path.exists(name):
        Path(name).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return name


def test_results_are_in_order_and_in_the_folder_of_the_run(cluster, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert cluster.map(square, list(range(50))) == [n * n for n in range(50)]
    assert cluster.map(square, []) == []
    assert {folder for folder, _ in cluster.map(where, range(6))} == {str(tmp_path)}
    assert cluster.count >= 2
    with pytest.raises(InputError, match=r"^frame0\.fits: cannot be read$"):
        cluster.map(bad, list(range(3)))


def test_worker_killed_at_work(cluster, tmp_path):
    """Its job is begun again on another; the others are done once."""
    before = cluster.count
    marks = [str(tmp_path / f"mark{n}") for n in range(8)]
    for mark in marks[:3] + marks[4:]:
        Path(mark).touch()
    assert cluster.map(die_once, marks) == marks
    assert cluster.count == before - 1


def test_no_scheduler():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    cluster = Cluster(scheduler=address, wait=1)
    with pytest.raises(InputError, match=rf"DASK_SCHEDULER = {address}: no scheduler with a worker answers"):
        cluster.map(square, [1, 2])
    with pytest.raises(InputError, match="wanted: an address such as tcp://host:8786, or the path of"):
        Cluster(scheduler="nowhere.json", wait=1).map(square, [1])


def always_die(_):
    os.kill(os.getpid(), signal.SIGKILL)


def test_workers_on_this_machine(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cluster = Cluster(2, scheduler="")
    try:
        assert cluster.map(square, [1, 2, 3]) == [1, 4, 9]
        assert cluster.count == 2
        with pytest.raises(TaskFailed, match="workers were lost one after another while they worked on the"):
            cluster.map(always_die, [1], "tiles")
    finally:
        cluster.close()


def run_mosaic(mode, during=lambda process: None):
    """Run the pipeline in a process of its own; gives its images."""
    shutil.rmtree("out", ignore_errors=True)
    lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
    words = ("drive", "mosaic", "-n", "mosaic_I1.nl", *lists, f"do_multiprocess={mode}")
    process = subprocess.Popen(
        [sys.executable, "-m", "pymopex.kit.cli", *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    during(process)
    log, _ = process.communicate()
    assert process.returncode == 0, log.decode()
    made = [path for path in sorted(Path("out").rglob("*.fits")) if not path.name.startswith(".")]
    return {str(path.relative_to("out")): fits.getdata(path) for path in made}


def test_mosaic_is_the_same_bit_for_bit(few_frames, tmp_path, workers, monkeypatch):
    """The whole pipeline on the cluster, a worker killed in mid-run, against one process."""
    monkeypatch.chdir(few_frames(tmp_path / "few"))
    monkeypatch.setenv("DASK_SCHEDULER", workers[0])
    victim = next(worker for worker in workers[1] if worker.poll() is None)

    def kill_one(process):
        while not list(Path(".").glob("out/Interp-mosaic/*")) and process.poll() is None:
            time.sleep(0.01)
        victim.kill()

    alone, together = run_mosaic("off"), run_mosaic("dask", kill_one)
    assert len(alone) > 20
    assert alone.keys() == together.keys()
    for name, image in alone.items():
        np.testing.assert_array_equal(image, together[name], err_msg=name)
