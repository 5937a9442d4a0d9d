"""Cached code runs without what numba needs to compile, and code that is not cached is compiled all the same."""

import json
import subprocess
import sys

import pytest
from pymopex.kit import cached_code

MODULE = """
import numba
import numpy as np

@numba.njit(cache=True)
def ordered(values):
    found = np.sort(values)
    if len(found) == 0:
        raise ValueError("nothing to sort")
    return [found[0], found[-1]], (values > 0) & True
"""
PROBE = """
import json, sys
from pymopex.kit import cached_code
{before}
cached_code.load_without_compiler()
import numpy as np
import kernel
found = [kernel.ordered(np.array([3.0, -1.0, 2.0]))[0]]
compiler = "numba.np.linalg" in sys.modules
found.append(kernel.ordered(np.array([3, 1], dtype="i2"))[0])  # of another type: compiled now
try:
    kernel.ordered(np.zeros(0))
except ValueError as problem:
    found.append(str(problem))
import numba.core.caching
ours = numba.core.caching.Cache.load_overload is cached_code._load
hits = sum(kernel.ordered.stats.cache_hits.values())
print(json.dumps([found, compiler, ours, hits, len(sys.meta_path)]))
"""


@pytest.mark.parametrize("before", ["", "import numba"])
def test_cached_code_runs_without_the_compiler(before, tmp_path, monkeypatch):
    (tmp_path / "kernel.py").write_text(MODULE)
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    values = [[-1.0, 3.0], [1, 3], "nothing to sort"]
    first, second = (run(PROBE.format(before=before)) for _ in range(2))
    assert first[:4] == [values, True, True, 0]
    assert second[:4] == [values, False, True, 2]
    assert first[4] == second[4]


def run(code):
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_another_function_of_numba_is_left_as_it_is():
    class Caching:
        class Cache:
            def load_overload(self, sig, target_context):
                return self.look_elsewhere(sig)

    before = Caching.Cache.load_overload
    cached_code._change(Caching)
    assert Caching.Cache.load_overload is before
