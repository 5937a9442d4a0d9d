"""Tables of the fiducial image frame (``FIF.tbl``, ``mosaic_fif.tbl``): keyword lines without columns."""

from __future__ import annotations

import hashlib
import math
import os
import re
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.files import read_bytes, remembered

if TYPE_CHECKING:
    from pymopex.fiducial import FiducialFrame

_LINE = re.compile(r"(?:\\\s*)?(?:[A-Za-z]+\s+)?([\w-]+)\s*=(.*)$")
_NUMBERS = ("CRVAL1", "CRVAL2", "CRPIX1", "CRPIX2", "CROTA2", "NAXIS1", "NAXIS2", "CDELT1", "CDELT2")
_WORDS = ("PROJTYPE", "CTYPE1", "CTYPE2")
_SEAL = ", checksum "
_HUGE = 10_000_000  # pixels; no mosaic is as wide


def write_fif(path: str, frame: FiducialFrame, comment: str, *, sealed: bool = False) -> None:
    """Write a fiducial image frame in the legacy layout.

    Parameters
    ----------
    path : str
        The table.
    frame : FiducialFrame
        Its content; numbers are written so that the same frame is read back.
    comment : str
        The first line, such as ``Output from Mosaic_INT``.
    sealed : bool
        Add a checksum to the first line, by which `is_own` knows the table again as long as nobody edits it.

    References
    ----------
    MOPEX User's Guide, Fiducial Image Frame.
    """
    lines = [
        f"\\char Date-Time = {time.ctime()}",
        f"\\char PROJTYPE = '{frame.projtype}'",
        f"\\real  CRVAL1 = {_real(frame.crval1, 6)}",
        f"\\real  CRVAL2 = {_real(frame.crval2, 6)}",
        f"\\real  CRPIX1 = {_real(frame.crpix1, 1)}",
        f"\\real  CRPIX2 = {_real(frame.crpix2, 1)}",
        f"\\real  CROTA2 = {_real(frame.crota2, 6)}",
        f"\\int   NAXIS1 = {int(frame.naxis1)}",
        f"\\int   NAXIS2 = {int(frame.naxis2)}",
        f"\\real  CDELT1 = {_real(frame.cdelt1, 9)}",
        f"\\real  CDELT2 = {_real(frame.cdelt2, 9)}",
        f'\\char CTYPE1 = "{frame.ctype1}"',
        f'\\char CTYPE2 = "{frame.ctype2}"',
    ]
    comment = " ".join(comment.split())
    if sealed:
        comment = f"{comment}{_SEAL}{_checksum(lines)}"
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.write("\n".join([f"\\char comment = {comment}", *lines]) + "\n")


def is_own(path: str) -> bool:
    """Tell whether a table may be written over: it does not exist, or was written here, sealed, and not edited since.

    Parameters
    ----------
    path : str
        The table.
    """
    if not os.path.exists(path):
        return True
    try:
        first, *lines = [line for line in _lines(path) if line.strip()] or [""]
    except InputError:
        return False
    return first.startswith("\\char comment =") and first.endswith(f"{_SEAL}{_checksum(lines)}")


def _checksum(lines: list[str]) -> str:
    """Sum up the lines of a table, but for the one that tells when it was written."""
    kept = "\n".join(line for line in lines if "Date-Time" not in line)
    return hashlib.sha256(kept.encode("utf-8")).hexdigest()[:12]


def _real(value: float, decimals: int) -> str:
    """Write a number with some decimals, or with as many as it needs."""
    value = float(value)
    short = f"{value:.{decimals}f}"
    return short if float(short) == value else repr(value)


@remembered(maxsize=8)
def read_fif(path: str) -> FiducialFrame:
    """Read a fiducial image frame, also one written by hand.

    Parameters
    ----------
    path : str
        The table. Keys may have any case and the values any quotes; NAXIS may be written as a float; CROTA2 is 0 if
        missing, and of PROJTYPE and CTYPE each follows from the other.

    Raises
    ------
    InputError
        The file cannot be read.
    InputErrors
        With all problems: file, line, key, value and reason.

    References
    ----------
    MOPEX User's Guide, Fiducial Image Frame.
    """
    from pymopex.fiducial import FiducialFrame

    found = _Found(path)
    for number, line in enumerate(_lines(path), 1):
        found.take(number, line)
    numbers = {key: found.number(key) for key in _NUMBERS}
    for key in ("NAXIS1", "NAXIS2"):
        found.check(key, 1 <= numbers[key] <= _HUGE and numbers[key] % 1 == 0, "not a positive whole number")
    for key in ("CDELT1", "CDELT2"):
        found.check(key, numbers[key] != 0, "a pixel size of zero")
        found.check(key, abs(numbers[key]) <= 10, "a pixel size above 10 degrees")
    found.check("CRVAL1", abs(numbers["CRVAL1"]) <= 360, "not between -360 and 360 degrees")
    found.check("CRVAL2", abs(numbers["CRVAL2"]) <= 90, "not between -90 and 90 degrees")
    projection, ctype1, ctype2 = found.projection()
    if found.problems:
        raise InputErrors(found.problems)
    values = {key.lower(): value for key, value in numbers.items()}
    values.update(naxis1=round(numbers["NAXIS1"]), naxis2=round(numbers["NAXIS2"]))
    frame = FiducialFrame(projection, ctype1=ctype1, ctype2=ctype2, **values)  # type: ignore[arg-type]
    try:
        frame.wcs()
    except ValueError as problem:
        raise InputError(f"{path}: {problem}") from None
    return frame


def _lines(path: str) -> list[str]:
    content = read_bytes(path)
    if b"\0" in content or content.startswith(b"SIMPLE  ="):
        raise InputError(f"{path}: is no text; a table of the fiducial image frame is needed")
    text = content.decode("utf-8-sig", "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


@dataclass
class _Found:
    """Values of a table by key, with their lines, and what is wrong with them."""

    path: str
    values: dict[str, tuple[str, int]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def take(self, number: int, line: str) -> None:
        """Take the key of a line, if it holds one that counts."""
        match = _LINE.match(line.strip())
        if match is None:
            return
        key = match[1].upper()
        if key not in (*_NUMBERS, *_WORDS):
            return
        if key in self.values:
            self.problems.append(f"{self.path}:{number}: {key} is given twice (line {self.values[key][1]})")
        else:
            self.values[key] = (match[2].strip().strip("'\"").strip(), number)

    def number(self, key: str) -> float:
        """Give a number; NaN with a problem noted if it is none."""
        if key not in self.values:
            if key != "CROTA2":
                hint = "; a CD matrix does not stand in for it" if key.startswith("CDELT") else ""
                self.problems.append(f"{self.path}: {key} is missing{hint}")
            return 0.0 if key == "CROTA2" else math.nan
        text = self.values[key][0].split("/")[0].strip()
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        self.check(key, math.isfinite(value), "not a number", value=0.0)
        return value

    def check(self, key: str, right: bool, reason: str, value: float | None = None) -> None:
        """Note a problem of a value, unless one of the same value is noted."""
        if right or key not in self.values:
            return
        text, number = self.values[key]
        line = f"{self.path}:{number}: {key} = {text if len(text) < 80 else text[:77] + '...'}: "
        if not any(problem.startswith(line) for problem in self.problems):
            self.problems.append(line + reason)

    def projection(self) -> tuple[str, str, str]:
        """Give the projection and both coordinate types; what is missing follows from the others."""
        projection, *types = (self.values.get(key, ("", 0))[0].upper() for key in _WORDS)
        code = projection or next((t.rpartition("-")[2] for t in types if t), "")
        if not code:
            self.problems.append(f"{self.path}: PROJTYPE is missing, and so are CTYPE1 and CTYPE2")
            return "", "", ""
        if not re.fullmatch("[A-Z]{3}", code):
            given = next(key for key in _WORDS if self.values.get(key, ("", 0))[0])
            self.check(
                given,
                False,
                "not a projection, such as TAN" if projection else "not a type, such as RA---TAN",
            )
            return "", "", ""
        axes = _axes(types)
        for i, axis in enumerate(axes):
            types[i] = types[i] or f"{axis:-<4}-{code}"
            known = re.fullmatch(rf"[A-Z]{{2,4}}-{{1,3}}{re.escape(code)}", types[i])
            self.check(f"CTYPE{i + 1}", known is not None, f"not of the projection {code}")
        return code, types[0], types[1]


def _axes(types: list[str]) -> tuple[str, str]:
    """Give the names of the axes: those of the system that one of the types names, else equatorial."""
    for axes in (("GLON", "GLAT"), ("ELON", "ELAT")):
        if any(given[:4] in axes for given in types):
            return axes
    return "RA", "DEC"
