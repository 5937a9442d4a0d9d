"""How numerical code of the PRF fit is compiled.

A function that calls another holds a copy of its code, and of all that this one calls: what lies deep is compiled as
often as there are levels above it. So there are few levels: loops over many groups that Python calls one behind the
other, with arrays between them, and short functions that only these call. A number that stands in a call as it is makes
a copy for that number alone; ``np.int64(0)`` does not.
"""

from __future__ import annotations

from typing import Any

import numba

_OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}

entry = numba.njit(**_OPTIONS)
"""Compile a function that Python calls."""

inner = numba.njit(**{**_OPTIONS, "no_cpython_wrapper": True})
"""Compile a function that only compiled code may call: the way in from Python, which costs as much, is left out."""

leaf = numba.njit(**{**_OPTIONS, "no_cpython_wrapper": True, "_nrt": False})
"""Compile a function that only compiled code may call, and that makes no arrays, nor calls one that does.

Elsewhere numba counts who holds an array, with operations that wait for the memory, one for each array of a tuple: a
call for each source in each frame would wait longer than it works.
"""

once = numba.njit(error_model="numpy", inline="always")
"""Put a function into the only one that calls it."""
