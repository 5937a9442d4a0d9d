"""A viewer in this process, and a browser."""

import contextlib
import shutil
import threading

import pytest
from chromium import Browser
from pymopex.view.actions import Session
from pymopex.view.server import Server


@contextlib.contextmanager
def serving(folder):
    """Serve a run directory, named as a user in the working directory would."""
    server = Server(Session(str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.session.runner.close()
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def serve():
    """Serves a run directory: a context that gives the server."""
    return serving


@pytest.fixture
def browser(tmp_path):
    """A browser with an empty profile; the test is skipped where there is none."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        pytest.skip("chromium and chromedriver are not installed")
    folder = tmp_path / "browser"
    folder.mkdir()
    found = Browser(folder)
    yield found
    found.close()
