"""The command ``mopex send``: products to DS9, TOPCAT and other programs by SAMP, and regions for DS9."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pymopex.kit import log
from pymopex.kit.errors import InputError, TaskFailed
from pymopex.kit.files import write_text

USAGE = """usage: mopex send FILE... [--to NAME]       images, tables and outlines of frames to DS9, TOPCAT (SAMP)
       mopex send FILE --regions FILE.reg   sources of a table, or outlines of the frames of a list, as DS9 regions

FILE: a FITS image; an IPAC table with RA and Dec, or x and y; or a list of FITS files, one a line. A table goes as a
VOTable to all programs that take one, and as regions to DS9; a list goes as outlines to DS9. --to sends to the programs
with NAME in theirs. A SAMP hub must run: TOPCAT and DS9 have one.
"""
_IMAGE, _TABLE, _REGIONS = "image.load.fits", "table.load.votable", "ds9.set"
_ENDINGS = (".fits", ".fit", ".fits.gz", ".fits.fz")


def run(words: list[str]) -> None:
    """Run ``mopex send`` with the words behind it.

    Raises
    ------
    InputError
        The words make no command, or a file cannot be used.
    TaskFailed
        There is no hub, or no program that takes what is sent.
    """
    if any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return
    paths, options = _parsed(words)
    if not paths:
        raise InputError("send: a file is needed: mopex send FILE... ('mopex send --help')")
    if "regions" in options:
        if len(paths) != 1:
            raise InputError("send: --regions takes one table or list")
        write_text(options["regions"], regions_of(paths[0]))
        log.say(options["regions"])
        return
    send(paths, options.get("to", ""))


def _parsed(words: list[str]) -> tuple[list[str], dict[str, str]]:
    rest, paths, options = list(words), [], {}
    while rest:
        word = rest.pop(0)
        name, given, value = word.removeprefix("--").partition("=")
        if word.startswith("--") and name in ("to", "regions"):
            options[name] = value if given else (rest.pop(0) if rest else "")
            if not options[name]:
                raise InputError(f"send: --{name}: needs a value")
        elif word.startswith("-"):
            raise InputError(f"send: {word}: unknown option; known are --to --regions")
        else:
            paths.append(word)
    return paths, options


def regions_of(path: str) -> str:
    """Give DS9 regions: circles at the sources of a table, or polygons round the frames of a list.

    Parameters
    ----------
    path : str
        IPAC table, list of FITS files, or one FITS file.

    Raises
    ------
    InputError
        The file cannot be read, or has no places.
    """
    if path.endswith(_ENDINGS):
        return outlines([path])
    if is_table(path):
        return _table_regions(path)
    from pymopex.kit.lists import read_list

    paths = [entry.path for entry in read_list(path)]
    if not paths:
        raise InputError(f"{path}: names no frame")
    return outlines(paths)


def is_table(path: str) -> bool:
    """Tell whether a file is an IPAC table: its header stands between bars.

    Raises
    ------
    InputError
        It cannot be read.
    """
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return any(line.startswith("|") for line, _ in zip(file, range(1000), strict=False))
    except OSError as problem:
        raise InputError(f"{path}: {problem.strerror}") from None


def _table_regions(path: str) -> str:
    """Give circles on the sky, or on the pixels of the image for a table without RA and Dec."""
    import numpy as np

    from pymopex.kit.catalogues import regions

    catalogue = _catalogue(path)
    values = {name.casefold(): column for name, column in catalogue.values.items()}
    if {"ra", "dec"} <= set(values):
        return regions(catalogue)
    if not {"x", "y"} <= set(values):
        raise InputError(f"{path}: has neither RA and Dec nor x and y")
    lines = ["# Region file format: DS9 version 4.1", "global color=green width=1", "image"]
    names = values.get("srcid", np.arange(1, len(values["x"]) + 1))
    for x, y, name in zip(values["x"], values["y"], names, strict=True):
        if np.isfinite([x, y]).all():
            lines.append(f"circle({x:.3f},{y:.3f},3) # text={{{name}}}")
    return "\n".join(lines) + "\n"


def outlines(paths: Iterable[str]) -> str:
    """Give polygons round frames, with their distortion, as regions of DS9.

    Parameters
    ----------
    paths : iterable of str
        FITS files.

    Raises
    ------
    InputError
        A file cannot be read, or has no usable WCS.
    """
    import numpy as np

    from pymopex.footprint import outline
    from pymopex.kit.images import frame_geometry
    from pymopex.projection import pixel_to_sky, rotate_sky, sky_system

    lines = ["# Region file format: DS9 version 4.1", "global color=cyan width=1", "fk5"]
    for path in paths:
        try:
            wcs, shape = frame_geometry(path, False)
            system = sky_system(wcs)
        except ValueError as problem:
            raise InputError(f"{path}: {problem}") from None
        lon, lat = pixel_to_sky(wcs, *outline(shape))
        corners = np.column_stack(rotate_sky(lon, lat, system, "J2000")).ravel()
        places = ",".join(f"{value:.7f}" for value in corners)
        lines.append(f"polygon({places}) # text={{{os.path.basename(path)}}}")
    return "\n".join(lines) + "\n"


def _catalogue(path: str) -> Any:
    from pymopex import columns
    from pymopex.kit.catalogues import Catalogue
    from pymopex.kit.ipac import read_table

    table = read_table(path)
    return Catalogue([columns.by_name(name, table) for name in table.columns], table.columns)


def _messages(path: str, folder: str) -> list[tuple[str, dict[str, str]]]:
    """Give the messages that load a file: their types and parameters; what is made for them goes into a folder."""
    from pymopex.kit.catalogues import write_catalogue
    from pymopex.kit.images import read_header

    name = os.path.basename(path)
    if path.endswith(_ENDINGS):
        read_header(path)
        return [(_IMAGE, {"url": _url(path), "name": name})]
    target = os.path.join(folder, name)
    found: list[tuple[str, dict[str, str]]] = []
    if is_table(path):
        write_catalogue(f"{target}.vot", "votable", _catalogue(path))
        found.append((_TABLE, {"url": _url(f"{target}.vot"), "name": name, "table-id": _url(path)}))
        try:
            text = regions_of(path)
        except InputError:  # a table without places
            return found
    else:
        text = regions_of(path)
    write_text(f"{target}.reg", text)
    return [*found, (_REGIONS, {"cmd": f"regions load {{{target}.reg}}"})]


def _url(path: str) -> str:
    return Path(path).resolve().as_uri()


def send(paths: list[str], to: str = "") -> None:
    """Send files to the programs of the running hub.

    Parameters
    ----------
    paths : list of str
        See `regions_of`; besides, FITS images.
    to : str
        Part of the name of the programs to send to; empty for all.

    Raises
    ------
    InputError
        A file cannot be used; none is sent then.
    TaskFailed
        There is no hub, or no program takes what is sent.

    Notes
    -----
    Programs load files when they please, so those made for them stay, in a folder of the temporary directory.
    """
    folder = tempfile.mkdtemp(prefix="mopex-send-")
    sent = False
    try:
        messages = [(path, _messages(path, tempfile.mkdtemp(dir=folder))) for path in paths]
        with _client() as client:
            sent = True
            for path, parts in messages:
                _send_one(client, path, parts, to)
    finally:
        if not sent:
            shutil.rmtree(folder)


@contextmanager
def _client() -> Iterator[Any]:
    """Give a client of the running hub."""
    samp = _samp()
    with samp.conf.set_temp("use_internet", False):  # the hub is on this machine
        client = samp.SAMPIntegratedClient(
            name="pymopex", description="products of Spitzer runs", callable=False
        )
        try:
            client.connect()
        except (samp.SAMPHubError, OSError, KeyError) as problem:
            raise TaskFailed(
                f"send: no SAMP hub is running: start TOPCAT or DS9 first, or write regions with --regions ({problem})"
            ) from None
        try:
            yield client
        finally:
            client.disconnect()


def _samp() -> Any:
    """Give ``astropy.samp``, without the word of astropy 8 that it will go one day."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from astropy import samp
        except ImportError:
            raise TaskFailed("send: this astropy has no SAMP; write regions with --regions") from None
    return samp


def _send_one(client: Any, path: str, messages: list[tuple[str, dict[str, str]]], to: str) -> None:
    reached = []
    for kind, parameters in messages:
        for program in client.get_subscribed_clients(kind):
            name = str(client.get_metadata(program).get("samp.name", program))
            if to.casefold() in name.casefold():
                client.notify(program, {"samp.mtype": kind, "samp.params": parameters})
                reached.append(f"{name} ({kind})")
    if not reached:
        which = f"with {to} in its name " if to else ""
        raise TaskFailed(f"{path}: no program {which}at the hub takes it")
    log.say(f"{path}: {', '.join(reached)}")
