"""A folder like that of an installation of MOPEX, for scripts that copy from it: bin, cal, cdf and the environment."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from importlib import metadata, resources

from pymopex.kit import files, templates
from pymopex.kit.errors import InputError

_WITHOUT_FRAME = ("overlap", "mosaic")  # templates that are there also for a fiducial frame that is given
_CSH = """\
# source mopex-script-env.csh: the commands of pymopex on the path.
setenv PATH "{bin}:$PATH"
if (! $?SIRTF_CDF) setenv SIRTF_CDF cdf
"""
_SH = """\
# . mopex-script-env.sh: the commands of pymopex on the path.
PATH="{bin}:$PATH"
SIRTF_CDF="${{SIRTF_CDF:-cdf}}"
export PATH SIRTF_CDF
"""


def write(folder: str) -> list[str]:
    """Make the folder; gives the paths.

    Parameters
    ----------
    folder : str
        Must not exist, or be empty.

    Returns
    -------
    list of str
        What was written: in ``cdf`` the namelists of all pipelines and instruments, and forms of Overlap and
        Mosaic for a fiducial frame that is given (``_nofid``); in ``cal`` the calibration files of the package; in
        ``bin`` links to the commands; ``mopex-script-env.csh`` and ``.sh``.

    Raises
    ------
    InputError
        The folder holds something already.
    """
    if os.path.isdir(folder) and os.listdir(folder):
        raise InputError(f"{folder}: is not empty; name a new folder")
    if os.path.exists(folder) and not os.path.isdir(folder):
        raise InputError(f"{folder}: is no folder")
    written = [*_namelists(folder), *_calibration(folder), *_commands(folder)]
    place = os.path.abspath(os.path.join(folder, "bin"))
    for name, text in (("mopex-script-env.csh", _CSH), ("mopex-script-env.sh", _SH)):
        path = os.path.join(folder, name)
        files.write_text(path, text.format(bin=place))
        written.append(path)
    return written


def _namelists(folder: str) -> Iterator[str]:
    for name, text in templates.texts().items():
        variants = {name: text}
        if name.split("_")[0] in _WITHOUT_FRAME:
            off = re.sub(r"(run_fiducial_image_frame = )1", r"\g<1>0", text)
            variants[name.replace(".nl", "_nofid.nl")] = off
        for variant, content in variants.items():
            path = os.path.join(folder, "cdf", variant)
            files.write_text(path, content)
            yield path


def _calibration(folder: str) -> Iterator[str]:
    os.makedirs(os.path.join(folder, "cal"), exist_ok=True)
    for entry in resources.files("pymopex.cal").iterdir():
        if entry.is_file() and not entry.name.endswith((".py", ".pyc")):
            path = os.path.join(folder, "cal", entry.name)
            with files.whole(path) as temporary, open(temporary, "wb") as file:
                file.write(entry.read_bytes())
            yield path


def _commands(folder: str) -> Iterator[str]:
    """Link the commands that are installed."""
    os.makedirs(os.path.join(folder, "bin"), exist_ok=True)
    home = os.path.dirname(sys.executable)
    for name in command_names():
        source = os.path.join(home, name)
        if os.path.exists(source):
            path = os.path.join(folder, "bin", name)
            os.symlink(source, path)
            yield path


def command_names() -> list[str]:
    """Give the names of all commands: entry points, and the shell drivers."""
    points = metadata.entry_points(group="console_scripts")
    found = {point.name for point in points if point.value.startswith("pymopex.")}
    drivers = (entry.name for entry in resources.files("pymopex.scripts").iterdir())
    return sorted(found | {name for name in drivers if name.endswith(".sh")})
