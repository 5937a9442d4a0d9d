"""The server of the viewer: the page, its data and its actions, for one browser on the same machine.

Every address begins with a token that only the user who started the viewer was told. Requests that name another host
than the loopback address, or that another site's page sends, are refused; so is all that lies outside the run
directory. What changes anything is a POST of JSON.
"""

from __future__ import annotations

import hmac
import json
import math
import secrets
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from pymopex.kit.errors import InputError
from pymopex.view.actions import GETS, POSTS, Session
from pymopex.view.places import Refused

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
_MOST = 4_000_000  # bytes of a request
_TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_PAGE_POLICY = (
    "default-src 'self'; img-src 'self' blob: data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'; "
    "base-uri 'none'; form-action 'none'; object-src 'none'"
)
_FILE_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'"


class Server(ThreadingHTTPServer):
    """Serves one run directory on the loopback address.

    Parameters
    ----------
    session : Session
        The run directory with its flow.
    port : int
        0 for a free one.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, session: Session, port: int = 0):
        super().__init__((HOST, port), Handler)
        self.session = session
        self.token = secrets.token_urlsafe(24)

    @property
    def address(self) -> str:
        """Address of the page, with its token."""
        return f"http://{HOST}:{self.server_port}/{self.token}/"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of a browser that has gone; tell of other failures."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class Handler(BaseHTTPRequestHandler):
    """Answers one browser."""

    server: Server
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "pymopex", ""
    timeout = 60

    def log_message(self, format: str, *arguments: Any) -> None:
        """Keep quiet: the terminal is the user's."""

    def do_GET(self) -> None:
        """Give a page, a file of the run, or data."""
        if self._is_allowed():
            self._answer(GETS, dict(parse_qsl(urlsplit(self.path).query, keep_blank_values=True)))

    def do_POST(self) -> None:
        """Act."""
        if not self._is_allowed():
            return
        length = self.headers.get("Content-Length", "")
        if not length.isdigit() or int(length) > _MOST:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a body of known length is needed")
            return
        body = self.rfile.read(int(length))
        if self.headers.get("Content-Type", "").split(";")[0] != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "JSON is needed")
            return
        try:
            words = json.loads(body)
        except ValueError:
            words = None
        if not isinstance(words, dict):
            self._refuse(HTTPStatus.BAD_REQUEST, "no JSON object")
            return
        self._answer(POSTS, words)

    @property
    def _parts(self) -> tuple[str, str, str]:
        """Token, action and name of the address."""
        token, _, rest = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        action, _, name = rest.partition("/")
        return token, action, name

    def _is_allowed(self) -> bool:
        """Tell whether a request is the user's own, and refuse it otherwise."""
        token = self._parts[0]
        if self._is_own() and hmac.compare_digest(token.encode(), self.server.token.encode()):
            return True
        self._refuse(HTTPStatus.FORBIDDEN, "not for you: open the address that 'mopex view' printed")
        return False

    def _answer(self, actions: dict[str, Any], given: dict[str, Any]) -> None:
        """Find the action of an address, and send what it gives."""
        _, action, name = self._parts
        try:
            if actions is GETS and action in ("", "static"):
                self._send_static(name or "index.html")
            elif actions is GETS and action == "file":
                self._send_file(name)
            elif action in actions:
                self._send(actions[action](self.server.session, given))
            else:
                other = action in POSTS or action in GETS
                status = HTTPStatus.METHOD_NOT_ALLOWED if other else HTTPStatus.NOT_FOUND
                self._refuse(status, f"no {self.command} of {action}")
        except Refused as problem:
            self._refuse(HTTPStatus.FORBIDDEN, str(problem))
        except (FileNotFoundError, IsADirectoryError, IndexError) as problem:
            self._refuse(HTTPStatus.NOT_FOUND, f"{problem}: not there")
        except (InputError, KeyError, ValueError, TypeError) as problem:
            text = str(problem) if isinstance(problem, InputError) else f"not understood: {problem!r}"
            self._refuse(HTTPStatus.BAD_REQUEST, text)

    def _is_own(self) -> bool:
        """Tell whether a request names this server, and was sent by its own page or by no page at all."""
        own = [f"{name}:{self.server.server_port}" for name in _NAMES]
        origin = self.headers.get("Origin")
        if origin is not None and origin not in [f"http://{host}" for host in own]:
            return False
        if self.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return False
        return self.headers.get("Host") in own and len(self.headers.get_all("Host", [])) == 1

    def _send(self, found: Any) -> None:
        """Send data: bytes as they are, all else as JSON."""
        if isinstance(found, bytes):
            self._reply(HTTPStatus.OK, "application/octet-stream", found)
        else:
            text = json.dumps(_plain(found), allow_nan=False, separators=(",", ":"))
            self._reply(HTTPStatus.OK, "application/json", text.encode())

    def _send_static(self, name: str) -> None:
        if "/" in name or name.startswith("."):
            raise FileNotFoundError(name)
        path = resources.files("pymopex.view").joinpath("static", name)
        kind = _TYPES.get(name[name.rfind(".") :])
        if kind is None or not path.is_file():
            raise FileNotFoundError(name)
        self._reply(HTTPStatus.OK, f"{kind}; charset=utf-8", path.read_bytes(), _PAGE_POLICY)

    def _send_file(self, name: str) -> None:
        """Send a file of the run as text, picture or page; the page cannot run anything."""
        kind, content = self.server.session.file(name)
        self._reply(HTTPStatus.OK, kind, content, _FILE_POLICY)

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        self.close_connection = True
        self._reply(status, "application/json", json.dumps({"error": reason}).encode())

    def _reply(
        self, status: HTTPStatus, kind: str, content: bytes, policy: str = "default-src 'none'"
    ) -> None:
        """Send an answer in one piece, which does not wait for the receiver's acknowledgement."""
        self.send_response(status)
        for name, value in {**_HEADERS, "Content-Security-Policy": policy}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self._headers_buffer.append(b"\r\n" + content)  # type: ignore[attr-defined]
        self.flush_headers()


def _plain(found: Any) -> Any:
    """Give data with None for numbers that are not finite, which JSON does not have."""
    if isinstance(found, float):
        return found if math.isfinite(found) else None
    if isinstance(found, dict):
        return {key: _plain(value) for key, value in found.items()}
    if isinstance(found, (list, tuple)):
        return [_plain(value) for value in found]
    return found
