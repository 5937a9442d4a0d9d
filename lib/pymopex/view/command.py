"""The command ``mopex view``."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from pymopex.kit import log
from pymopex.kit.errors import InputError

USAGE = """usage: mopex view OUTPUT_DIR [--port NUMBER] [--no-open]

The run in OUTPUT_DIR, or a new one, in a browser on this machine: build the flow, set parameters, run and stop it,
look at images, tables, sources and their light curves. The address, with a token that is new every time, is printed;
with a display the browser opens it, unless --no-open is given. It answers on 127.0.0.1 alone. For a run on another
machine: ssh -L NUMBER:127.0.0.1:NUMBER, and --port NUMBER. Ctrl-C ends it, and a command at work.
"""


def run(words: list[str]) -> None:
    """Run ``mopex view`` with the words behind it, until it is interrupted.

    Raises
    ------
    InputError
        The words make no command, or the directory or the port cannot be used.
    """
    if any(word in ("-h", "--help") for word in words):
        print(USAGE, end="")
        return
    name, port, open_browser = _parsed(words)
    try:
        os.makedirs(name, exist_ok=True)
    except OSError as problem:
        raise InputError(f"{name}: cannot be the output directory of a run: {problem.strerror}") from None
    from pymopex.view.actions import Session
    from pymopex.view.server import Server

    try:
        server = Server(Session(name), port)
    except OSError as problem:
        raise InputError(f"--port {port}: cannot be used: {problem.strerror}") from None
    _serve(server, open_browser)


def _parsed(words: list[str]) -> tuple[str, int, bool]:
    rest, names, port = list(words), [], "0"
    open_browser = sys.platform == "darwin" or any(os.environ.get(k) for k in ("DISPLAY", "WAYLAND_DISPLAY"))
    while rest:
        word = rest.pop(0)
        if word == "--no-open":
            open_browser = False
        elif word == "--port" or word.startswith("--port="):
            port = word[7:] or (rest.pop(0) if rest else "")
        elif word.startswith("-"):
            raise InputError(f"view: {word}: unknown option; known are --port --no-open")
        else:
            names.append(word)
    if len(names) != 1:
        raise InputError("view: one output directory is needed: mopex view OUTPUT_DIR")
    if not port.isdigit() or int(port) > 65535:
        raise InputError(f"view: --port {port}: a number from 1 to 65535 is needed")
    return names[0], int(port), open_browser


def _serve(server: Any, open_browser: bool) -> None:
    """Say where, and serve until an interrupt or the end of the terminal; then stop the command at work."""
    try:
        signal.signal(
            signal.SIGINT, signal.default_int_handler
        )  # also where a shell started this in the background
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        log.say(f"{server.session.folder.name}: {server.address}")
        log.say("Ctrl-C ends the viewer")
        if open_browser:
            import webbrowser

            webbrowser.open(server.address)
        server.serve_forever(poll_interval=0.2)
    except KeyboardInterrupt:
        log.say("viewer ended")
    finally:
        server.session.runner.close()
        server.server_close()
