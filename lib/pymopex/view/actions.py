"""What the page asks for and does: each action by the last part of its address."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from pymopex import __version__
from pymopex.kit import cleaning, driver
from pymopex.kit.errors import InputError
from pymopex.kit.files import remembered
from pymopex.kit.parallel import Pool
from pymopex.kit.task import Run
from pymopex.view import tables, tiles
from pymopex.view.flow import Flow
from pymopex.view.places import Refused, RunFolder, kind_of
from pymopex.view.runner import Runner
from pymopex.view.sky import footprints, rounded, sexagesimal

_FILES = {"page": "text/html", "picture": "image/png", "text": "text/plain", "table": "text/plain"}
_MOST = 50_000_000  # bytes of a file that is shown as text
_FRAMES = 5000  # outlines at most
MAPS = ("gray", "gray_r", "viridis", "inferno", "cividis", "coolwarm")
"""Colour maps offered."""


class Session:
    """A run directory that is looked at, with its flow and the command at work.

    Parameters
    ----------
    name : str
        The run directory, as the user gave it.
    """

    def __init__(self, name: str):
        self.folder = RunFolder.of(name)
        self.flow = Flow(self.folder)
        self.runner = Runner()

    def picture(self, name: str) -> tiles.Picture:
        """Open an image of the run."""
        return tiles.picture(self.folder.file(name))

    def file(self, name: str) -> tuple[str, bytes]:
        """Give the kind and the content of a file of the run that a browser can show.

        Raises
        ------
        Refused
            It is of another kind, or too large.
        """
        path = self.folder.file(name)
        kind = {**_FILES, "namelist": "text/plain"}.get(kind_of(name))
        if kind is None or os.path.getsize(path) > _MOST:
            raise Refused(f"{name}: is not shown as text")
        with open(path, "rb") as file:
            return (kind if kind == "image/png" else f"{kind}; charset=utf-8"), file.read()


def _state(session: Session, given: dict[str, Any]) -> Any:
    return {**session.runner.state(int(given.get("since", 0))), "version": __version__}


def _flow(session: Session, _: dict[str, Any]) -> Any:
    return session.flow.state()


def _products(session: Session, _: dict[str, Any]) -> Any:
    return session.folder.products()


def _form(session: Session, given: dict[str, Any]) -> Any:
    return session.flow.form(given["name"], given["task"])


def _namelist(session: Session, given: dict[str, Any]) -> Any:
    return {"name": given["name"], "text": session.flow.text(given["name"])}


def _command(session: Session, given: dict[str, Any]) -> Any:
    import shlex

    return {
        "command": shlex.join(
            session.flow.command(given["what"], given.get("name", ""), given.get("task", ""))
        )
    }


def _image(session: Session, given: dict[str, Any]) -> Any:
    """Tell what the page must know of an image before it draws it."""
    picture = session.picture(given["name"])
    header, sky = picture.header, picture.sky
    return {
        "name": given["name"],
        "width": picture.shape[1],
        "height": picture.shape[0],
        "levels": picture.levels,
        "side": tiles.SIDE,
        "grid": picture.grid,
        "unit": str(header.get("BUNIT", "")),
        "facts": picture.facts,
        "sky": sky.known,
        "scale": sky.scale,
        "north": sky.north,
        "header": header.tostring(sep="\n", padding=False),
    }


def _tile(session: Session, given: dict[str, Any]) -> bytes:
    picture = session.picture(given["name"])
    tile = picture.tile(*(int(given[key]) for key in ("level", "column", "line")))
    return tile.astype("<f4").tobytes()


def _point(session: Session, given: dict[str, Any]) -> Any:
    """Tell the value of a pixel and its place on the sky; `x` and `y` count from 1."""
    picture = session.picture(given["name"])
    x, y = float(given["x"]) - 1, float(given["y"]) - 1
    found: dict[str, Any] = {"value": picture.value(round(x), round(y)), "ra": None, "dec": None, "text": ""}
    if picture.sky.known:
        ra, dec = (float(value) for value in picture.sky.to_sky(x, y))
        if ra == ra and dec == dec:
            found.update(ra=ra, dec=dec, text=sexagesimal(ra, dec))
    return found


def _pixel(session: Session, given: dict[str, Any]) -> Any:
    """Tell where on an image a position of the sky is."""
    sky = session.picture(given["name"]).sky
    if not sky.known:
        raise InputError(f"{given['name']}: has no sky coordinates")
    x, y = sky.to_pixels([float(given["ra"])], [float(given["dec"])])
    return {"x": rounded(x + 1)[0], "y": rounded(y + 1)[0], "scale": sky.scale}


def _table(session: Session, given: dict[str, Any]) -> Any:
    path, at = session.folder.file(given["name"]), given.get("at", "")
    found = tables.page(
        path,
        given.get("where", ""),
        given.get("sort", ""),
        given.get("down") == "1",
        int(given.get("start", 0)),
        int(at) if at else None,
    )
    return {
        **found,
        "name": given["name"],
        "page": tables.PAGE,
        "places": tables.has_places(tables.table(path)),
    }


def _places(session: Session, given: dict[str, Any]) -> Any:
    sky = session.picture(given["image"]).sky
    return tables.places(session.folder.file(given["name"]), given.get("where", ""), sky)


def _source(session: Session, given: dict[str, Any]) -> Any:
    return tables.source(session.folder.file(given["name"]), int(given["row"]))


def _footprints(session: Session, given: dict[str, Any]) -> Any:
    from pymopex.kit.lists import read_list

    sky = session.picture(given["image"]).sky
    if not sky.known:
        raise InputError(f"{given['image']}: has no sky coordinates")
    path = _frame_list(session)
    frames = footprints([entry.path for entry in read_list(path)[:_FRAMES]], sky)
    return {"list": path, "frames": [{**one, "file": os.path.basename(one["file"])} for one in frames]}


def _frame_list(session: Session) -> str:
    """Find the list of frames of the last run, else that of the flow."""
    known = [
        one["parameters"].get("IMAGE_STACK_FILE_NAME", {}).get("value")
        for one in reversed(session.folder.records())
    ]
    for path in [*known, session.flow.inputs.get("I")]:
        if path and os.path.isfile(path):
            return str(path)
    raise InputError("no list of frames of this run is there (IMAGE_STACK_FILE_NAME)")


def _colours(_: Session, given: dict[str, Any]) -> Any:
    """Give the colour maps, 256 colours of red, green and blue each."""
    return _made_colours()


@remembered(maxsize=1)
def _made_colours() -> dict[str, list[int]]:
    import numpy as np
    from matplotlib import colormaps

    steps = np.arange(256)
    return {name: (colormaps[name](steps)[:, :3] * 255).round().astype(int).ravel().tolist() for name in MAPS}


def _intermediate(session: Session, _: dict[str, Any]) -> Any:
    """List the intermediate files of the pipelines of the flow: what would be deleted."""
    found = []
    for name in session.flow.names:
        run_name = os.path.basename(name)  # the namelist that the run left, with all values of the run
        if not os.path.isfile(os.path.join(session.folder.root, run_name)):
            continue
        overrides = {"OUTPUT_DIR": session.folder.name}
        settings = driver.open_settings(session.folder.shown(run_name), overrides)
        paths = cleaning.listed(Run(settings, Pool(1)))
        if any(not session.folder.holds(path) for path in paths):
            raise InputError(f"{run_name}: names intermediate files outside the run directory")
        sizes = [os.path.getsize(path) for path in paths]
        own = [session.folder.within(os.path.realpath(path)) for path in paths]
        found.append({"name": run_name, "files": own, "bytes": sum(sizes)})
    return found


def _run(session: Session, given: dict[str, Any]) -> Any:
    session.runner.start(session.flow.command(given["what"], given.get("name", ""), given.get("task", "")))
    return _state(session, given)


def _stop(session: Session, given: dict[str, Any]) -> Any:
    session.runner.stop()
    return _state(session, given)


def _add(session: Session, given: dict[str, Any]) -> Any:
    session.flow.add(given["pipeline"], given["instrument"])
    return session.flow.state()


def _open(session: Session, given: dict[str, Any]) -> Any:
    session.flow.open(given["name"])
    return session.flow.state()


def _remove(session: Session, given: dict[str, Any]) -> Any:
    session.flow.remove(given["name"])
    return session.flow.state()


def _move(session: Session, given: dict[str, Any]) -> Any:
    session.flow.move(given["name"], int(given["by"]))
    return session.flow.state()


def _inputs(session: Session, given: dict[str, Any]) -> Any:
    session.flow.set_inputs(
        {str(key): str(value) for key, value in given["inputs"].items()}, str(given["more"])
    )
    return session.flow.state()


def _switch(session: Session, given: dict[str, Any]) -> Any:
    session.flow.switch(given["name"], given["task"], bool(given["on"]))
    return session.flow.state()


def _set(session: Session, given: dict[str, Any]) -> Any:
    words = (str(given[key]) for key in ("name", "task", "block", "key", "value"))
    return session.flow.set_value(*words)


def _save(session: Session, given: dict[str, Any]) -> Any:
    return {"problems": session.flow.save_text(str(given["name"]), str(given["text"]))}


def _save_user_list(session: Session, given: dict[str, Any]) -> Any:
    name = str(given["name"])
    if not name.endswith(".tbl"):
        raise InputError(f"{name}: the name of a table ends with .tbl")
    path = session.folder.path(name)
    tables.write_user_list(path, [(float(ra), float(dec)) for ra, dec in given["positions"]])
    return {"name": name, "shown": session.folder.shown(name)}


def _clean(session: Session, given: dict[str, Any]) -> Any:
    names = [str(name) for name in given["names"]]
    for name in names:
        session.folder.file(name)
    words = [*map(session.folder.shown, names), f"OUTPUT_DIR={session.folder.name}"]
    session.runner.start(["mopex", "clean", *words])
    return _state(session, given)


def _send(session: Session, given: dict[str, Any]) -> Any:
    name = str(given["name"])
    session.folder.file(name)
    session.runner.start(["mopex", "send", session.folder.shown(name)])
    return _state(session, given)


GETS: dict[str, Callable[[Session, dict[str, Any]], Any]] = {
    "state": _state,
    "flow": _flow,
    "products": _products,
    "form": _form,
    "namelist": _namelist,
    "command": _command,
    "image": _image,
    "tile": _tile,
    "point": _point,
    "pixel": _pixel,
    "table": _table,
    "places": _places,
    "source": _source,
    "footprints": _footprints,
    "colours": _colours,
    "intermediate": _intermediate,
}
POSTS: dict[str, Callable[[Session, dict[str, Any]], Any]] = {
    "run": _run,
    "stop": _stop,
    "add": _add,
    "open": _open,
    "remove": _remove,
    "move": _move,
    "inputs": _inputs,
    "switch": _switch,
    "set": _set,
    "save": _save,
    "user_list": _save_user_list,
    "clean": _clean,
    "send": _send,
}
