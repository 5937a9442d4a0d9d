"""Processes that need the same compiled code: one compiles it, the others load it."""

import subprocess
import sys

KERNEL = """
import os, time
import numba

@numba.njit(cache=True)
def inner(x):
    return x + 1

@numba.njit(cache=True)
def kernel(x):
    return inner(x) * 2
"""
WORKER = """
import os, sys, time
if sys.argv[1] == "turns":
    from pymopex.kit.turns import take_turns
    take_turns()
import kernel_of_test as code
from numba.core import event

class Said(event.Listener):
    def on_start(self, e):
        if e.data["dispatcher"] in (code.kernel, code.inner):
            print("compiles", flush=True)
        time.sleep(0.3)
    def on_end(self, e):
        pass

with event.install_listener("numba:compile", Said()):
    print("ready", flush=True)
    sys.stdin.readline()
    assert code.kernel(1) == 4
"""


def _compiled(tmp_path, how, count=3):
    (tmp_path / "kernel_of_test.py").write_text(KERNEL)
    environment = {"NUMBA_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(tmp_path), "PATH": ""}
    workers = [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, how],
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(count)
    ]
    for worker in workers:
        assert worker.stdout.readline() == "ready\n"
    for worker in workers:
        worker.stdin.write("\n")
        worker.stdin.flush()
    said = [worker.communicate()[0] for worker in workers]
    assert all(worker.returncode == 0 for worker in workers)
    return sum(text.count("compiles") for text in said)


def test_one_process_compiles(tmp_path):
    assert _compiled(tmp_path, "turns") == 2


def test_without_turns_all_do(tmp_path):
    assert _compiled(tmp_path, "none") > 2
