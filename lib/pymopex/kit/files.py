"""Files that appear whole or not at all, and where calibration files are looked for."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources

from pymopex.kit.errors import InputError


@contextmanager
def whole(path: str) -> Iterator[str]:
    """Give a temporary name in the folder of `path`; on leaving without a failure it becomes `path`."""
    folder, name = os.path.split(path)
    os.makedirs(folder or ".", exist_ok=True)
    temporary = os.path.join(folder, f".{os.getpid()}.{name}")
    try:
        yield temporary
        os.replace(temporary, path)
    except BaseException:
        if os.path.exists(temporary):
            os.unlink(temporary)
        raise


def write_text(path: str, text: str) -> None:
    """Write a text file, whole or not at all."""
    with whole(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.write(text)


def calibration_file(name: str, *, relative_to: str = "") -> str:
    """Find a calibration file: as given, beside the file that names it, in ``cal/``, then in the package.

    Raises
    ------
    InputError
        If it is nowhere; the message says where it was looked for.
    """
    places = [name, os.path.join("cal", name)]
    if relative_to:
        places.insert(1, os.path.join(os.path.dirname(relative_to), name))
    places.append(str(resources.files("pymopex.cal").joinpath(name)))
    for place in places:
        if os.path.isfile(place):
            return place
    raise InputError(f"{name}: no such file, neither here nor in cal/ nor in the package's cal/")
