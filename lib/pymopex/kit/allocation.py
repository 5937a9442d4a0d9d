"""How this process gets its memory."""

from __future__ import annotations

import ctypes
from contextlib import suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # of mallopt in malloc.h
_KEPT = 256 << 20  # bytes that stay with the process when they are freed
_MAPPED = 64 << 20  # bytes of an array that is mapped all the same


def reuse_memory() -> None:
    """Keep freed memory for the next image, where the C library can (glibc).

    Images of a megabyte or two are made and freed thousands of times. By default each is mapped anew from the system,
    which clears its pages.
    """
    with suppress(OSError, AttributeError, TypeError):  # another system
        mallopt = ctypes.CDLL(None).mallopt
        mallopt(_MMAP_THRESHOLD, _MAPPED)
        mallopt(_TRIM_THRESHOLD, _KEPT)
