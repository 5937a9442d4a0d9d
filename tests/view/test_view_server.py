"""The server gives the run directory to its own page alone, and nothing else to anybody."""

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from importlib import resources

import numpy as np
import pytest
from astropy.io import fits

NAMELIST = "run_mosaic_interp = 1\nOUTPUT_DIR = out\n&MOSAICINTIN\n INTERP_METHOD = 1,\n&END\n"


@pytest.fixture
def server(tmp_path, monkeypatch, serve):
    """A small run directory, a secret beside it, and links that lead there."""
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "secret.txt").write_text("secret")
    (tmp_path / "secret.nl").write_text(NAMELIST)
    (out / "link.txt").symlink_to(tmp_path / "secret.txt")
    (out / "up").symlink_to(tmp_path)
    (out / ".hidden.txt").write_text("hidden")
    (out / "mosaic_I1.nl").write_text(NAMELIST)
    (out / "report.html").write_text("<p>report</p><script>alert(1)</script>")
    fits.writeto(out / "image.fits", np.ones((4, 6), "f4"))
    with serve("out") as found:
        yield found


def ask(server, method, path, body=None, token=None, **headers):
    """Send a request; gives status, headers and content."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    known = {"Host": f"127.0.0.1:{server.server_port}"}
    if body is not None:
        known["Content-Type"] = "application/json"
    known |= {name.replace("_", "-"): value for name, value in headers.items()}
    connection.putrequest(
        method,
        f"/{server.token if token is None else token}/{path}",
        skip_host=True,
        skip_accept_encoding=True,
    )
    content = None if body is None else (body if isinstance(body, bytes) else json.dumps(body).encode())
    for name, value in known.items():
        connection.putheader(name, value)
    if content is not None and "Content-Length" not in known:
        connection.putheader("Content-Length", str(len(content)))
    connection.endheaders(content)
    answer = connection.getresponse()
    found = answer.status, dict(answer.getheaders()), answer.read()
    connection.close()
    return found


def test_the_page_and_its_parts_need_no_other_place(server):
    status, headers, page = ask(server, "GET", "")
    assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert "default-src 'self'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer"
    for part in re.findall(r'(?:src|href)="([^"]+)"', page.decode()):
        assert ask(server, "GET", part)[0] == 200, part
    for path in resources.files("pymopex.view").joinpath("static").iterdir():
        text = path.read_text().replace("http://www.w3.org/2000/svg", "")
        assert not re.search(r"https?://|//\w+\.\w+|@import", text), path.name


def test_localhost_is_this_machine_too(server):
    host = f"localhost:{server.server_port}"
    assert ask(server, "GET", "state", Host=host, Origin=f"http://{host}")[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "https://127.0.0.1"},
        {"Sec_Fetch_Site": "cross-site"},
        {"Sec_Fetch_Site": "same-site"},
    ],
)
def test_foreign_requests_are_refused(server, headers):
    assert ask(server, "GET", "state", **headers)[0] == 403
    assert ask(server, "POST", "save", {"name": "a.nl", "text": NAMELIST}, **headers)[0] == 403
    assert ask(server, "POST", "save", b"text", Content_Type="text/plain", **headers)[0] == 403
    assert not any(name.endswith("a.nl") for name in _files(server))


def _files(server):
    return [
        os.path.join(folder, name)
        for folder, _, names in os.walk(server.session.folder.root)
        for name in names
    ]


@pytest.mark.parametrize("token", ["", "x", "wrong-token-of-some-length-00000"])
@pytest.mark.parametrize("path", ["", "static/app.js", "state", "file/report.html"])
def test_without_the_token_nothing_is_given(server, token, path):
    status, _, content = ask(server, "GET", path, token=token)
    assert status == 403
    assert b"not for you" in content


def test_the_token_is_new_every_time(server, serve):
    with serve("out") as other:
        assert other.token != server.token
        assert len(server.token) >= 32


@pytest.mark.parametrize(
    "name",
    [
        "../secret.txt",
        "..%2fsecret.txt",
        "%2e%2e/secret.txt",
        "up/secret.txt",
        "link.txt",
        "/etc/passwd",
        "%2fetc/passwd",
        ".hidden.txt",
        "a/../../secret.txt",
        "a%00.txt",
        ".",
        "",
    ],
)
def test_nothing_outside_the_run_directory_is_given(server, name):
    status, _, content = ask(server, "GET", f"file/{name}")
    assert status in (403, 404)
    assert b"secret" not in content.replace(b"secret.txt", b"")
    for action in ("image", "table", "namelist", "source"):
        assert ask(server, "GET", f"{action}?name={name}&row=0")[0] in (400, 403, 404), action


def test_namelists_outside_are_not_opened(server):
    for name in ("../secret.nl", "up/secret.nl"):
        assert ask(server, "GET", f"namelist?name={name}")[0] == 403
        assert ask(server, "POST", "open", {"name": name})[0] == 403


def test_links_are_not_among_the_products(server):
    names = [one["name"] for one in json.loads(ask(server, "GET", "products")[2])]
    assert names == ["image.fits", "mosaic_I1.nl", "report.html"]


@pytest.mark.parametrize("name", ["../server.py", "%2e%2e/server.py", "none.js", "../../kit/cli.py", "."])
def test_only_parts_of_the_page_are_static(server, name):
    assert ask(server, "GET", f"static/{name}")[0] == 404


def test_a_page_of_the_run_cannot_do_anything(server):
    status, headers, content = ask(server, "GET", "file/report.html")
    assert (status, content[:6]) == (200, b"<p>rep")
    assert headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")


@pytest.mark.parametrize("action", ["run", "stop", "save", "set", "clean", "user_list", "send"])
def test_what_changes_anything_is_a_post(server, action):
    assert ask(server, "GET", f"{action}?what=flow&name=mosaic_I1.nl")[0] == 405
    assert not server.session.runner.running


def test_a_post_is_json_of_known_length(server):
    save = {"name": "new.nl", "text": NAMELIST}
    assert ask(server, "POST", "save", save, Content_Type="text/plain")[0] == 415
    assert ask(server, "POST", "save", b"[1]")[0] == 400
    assert (
        ask(
            server,
            "POST",
            "save",
            b"{",
        )[0]
        == 400
    )
    assert ask(server, "POST", "save", b"", Content_Length="9999999999")[0] == 413
    assert ask(server, "POST", "products", {})[0] == 405
    assert ask(server, "PUT", "save", save)[0] == 501
    assert ask(server, "GET", "nothing")[0] == 404
    assert not any("new.nl" in name for name in _files(server))


@pytest.mark.parametrize("name", ["../new.nl", "up/new.nl", "flow/../../new.nl", "/tmp/new.nl", ".new.nl"])
def test_a_namelist_is_saved_inside_the_run_directory_only(server, name, tmp_path):
    assert ask(server, "POST", "save", {"name": name, "text": NAMELIST})[0] == 403
    assert not (tmp_path / "new.nl").exists()
    assert ask(server, "POST", "user_list", {"name": name[:-3] + ".tbl", "positions": [[1, 2]]})[0] == 403
    assert not (tmp_path / "new.tbl").exists()


def test_what_is_no_namelist_is_not_saved(server, tmp_path):
    status, _, content = ask(server, "POST", "save", {"name": "mosaic_I1.nl", "text": "&A\nB = 1\n"})
    assert status == 400
    assert "mosaic_I1.nl:1: &A has no &END" in json.loads(content)["error"]
    assert (tmp_path / "out" / "mosaic_I1.nl").read_text() == NAMELIST
    assert ask(server, "POST", "save", {"name": "mosaic.txt", "text": NAMELIST})[0] == 400
    assert not (tmp_path / "out" / "mosaic.txt").exists()


def test_a_namelist_is_saved_with_a_word_on_its_values(server, tmp_path):
    text = NAMELIST.replace("METHOD = 1", "METHOD = 9")
    status, _, content = ask(server, "POST", "save", {"name": "mosaic_I1.nl", "text": text})
    assert status == 200
    assert "MOSAICINTIN.INTERP_METHOD = 9: not a choice" in json.loads(content)["problems"][0]
    assert (tmp_path / "out" / "mosaic_I1.nl").read_text() == text


def test_it_answers_on_the_loopback_address_alone(server):
    assert server.server_address[0] == "127.0.0.1"
    others = ["127.0.0.2"]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))  # sends nothing; tells the address of this machine
            others.append(probe.getsockname()[0])
        except OSError:
            pass
    for address in others:
        with socket.socket() as one:
            one.settimeout(2)
            with pytest.raises(OSError):
                one.connect((address, server.server_port))


def test_numbers_that_are_none_are_null(server):
    answer = ask(server, "GET", "point?name=image.fits&x=100&y=1")[2]
    assert json.loads(answer) == {"value": None, "ra": None, "dec": None, "text": ""}
    assert json.loads(ask(server, "GET", "point?name=image.fits&x=6&y=4")[2])["value"] == 1


def test_the_command_says_where_and_ends_on_an_interrupt(tmp_path):
    words = [sys.executable, "-m", "pymopex.kit.cli", "view", "new", "--no-open"]
    process = subprocess.Popen(words, cwd=tmp_path, stdout=subprocess.PIPE, text=True)
    try:
        line = process.stdout.readline()
        assert re.fullmatch(r"new: http://127\.0\.0\.1:\d+/[\w-]{32}/\n", line)
        assert (tmp_path / "new").is_dir()
        assert process.stdout.readline() == "Ctrl-C ends the viewer\n"
        os.kill(process.pid, signal.SIGINT)
        assert process.communicate(timeout=20)[0].endswith("viewer ended\n")
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "one output directory is needed"),
        (("a", "b"), "one output directory is needed"),
        (("a", "--prot", "1"), "--prot: unknown option"),
        (("a", "--port", "x"), "--port x: a number"),
        (("a", "--port=70000"), "--port 70000: a number"),
        (("file", "--no-open"), "file: cannot be the output directory"),
    ],
)
def test_mistakes_are_told(words, text, mopex, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").write_text("")
    status, log = mopex("view", *words)
    assert status == 2
    assert text in log
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
