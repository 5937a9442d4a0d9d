"""The viewer in a real browser, from an empty folder to the light curve of a star, without any network."""

import json
import re
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest
from pymopex.kit.ipac import read_table

PRF = " ".join(
    f"{block}.{key}"
    for block in ("SOURCESTIMATE", "POINTSOURCEIMAGE")
    for key in ("PRF_ResampleX_Factor=20", "PRF_ResampleY_Factor=20", "Normalization_Radius=200")
)
INWARD = (
    "data",
    "blob",
    "chrome",
    "chrome-untrusted",
)  # what never leaves the browser; its empty first page asks so
TOLERANCE = 0.1  # pixel of the mosaic
READY = (
    "const c = document.getElementById('canvas');"
    "return c.dataset.name === arguments[0] && c.dataset.pending === '0'"
)
STATUS = "return document.getElementById('status').dataset.status"
# Middle of the light that is drawn round the middle of the canvas, in pixels of the screen from there.
LIGHT = """
const canvas = document.getElementById('canvas'), ratio = canvas.width / canvas.clientWidth, reach = arguments[0];
const side = Math.round(2 * reach * ratio), left = Math.round(canvas.width / 2 - side / 2);
const top = Math.round(canvas.height / 2 - side / 2);
const data = canvas.getContext('2d').getImageData(left, top, side, side).data;
let sum = 0, x = 0, y = 0;
for (let line = 0; line < side; line++) for (let column = 0; column < side; column++) {
  const value = data[4 * (line * side + column)];
  if (Math.hypot(line + .5 - side / 2, column + .5 - side / 2) > side / 2) continue;
  sum += value; x += value * (left + column + .5); y += value * (top + line + .5);
}
return [x / sum / ratio - canvas.clientWidth / 2, y / sum / ratio - canvas.clientHeight / 2, sum];
"""


@pytest.fixture
def viewer(browser, field, tmp_path, monkeypatch, serve):
    """A page on an empty run directory."""
    monkeypatch.chdir(tmp_path)
    Path("out").mkdir()
    with serve("out") as server:
        browser.open(server.address)
        browser.wait("return document.getElementById('add-pipeline').children.length > 3")
        yield browser


def build_and_run(browser, field):
    """Build the flow of the recipe from its templates, set inputs and a parameter, and run it."""
    assert "No flow yet" in browser.text("#steps")
    browser.choose("#add-pipeline", "flow")
    browser.choose("#add-instrument", "I1")
    browser.click("#add button")
    browser.wait("return document.querySelectorAll('.step').length === 4")
    prf = field.work / "prf"
    for flag, value in {
        **{"I": field.sim / "images.txt", "S": field.sim / "sigmas.txt", "d": field.sim / "masks.txt"},
        **{"M": field.sim / "pmask.fits", "m": prf / "prfmap.tbl"},
        **{"P": prf / "IRAC1_mosaic_detect_kernel.fits", "more": f"{PRF} create_report=0"},
    }.items():
        browser.type(f"input[data-flag={flag}]", str(value))
    browser.wait("return document.getElementById('command').textContent.includes('create_report=0')")
    browser.click(".module[data-task='mosaic.mosaic_rmask'] .name")
    browser.wait("return document.querySelector('#form [data-key=RM_THRESH]')")
    assert "Rmask" in browser.text("#form") or "RMask" in browser.text("#form")
    browser.type("#form [data-key=RM_THRESH]", "7000")
    browser.wait("return document.querySelector('#form [data-key=RM_THRESH].bad')")
    assert "too large; allowed: a number from 0" in browser.text("#form")
    browser.type("#form [data-key=RM_THRESH]", "0.45")
    browser.wait("return !document.querySelector('#form .bad:not(:empty)')")
    assert re.search(r"^\s*RM_THRESH = 0.45,", Path("out/flow/mosaic_I1.nl").read_text(), re.MULTILINE)
    browser.click(".module[data-task='mosaic.level'] input")
    browser.wait("return document.querySelector(\".module.off[data-task='mosaic.level']\")")
    browser.click(".module[data-task='mosaic.level'] input")
    browser.wait("return document.querySelector(\".module[data-task='mosaic.level']:not(.off)\")")
    browser.click("#run")
    browser.wait("return document.querySelector('.module.running')")
    assert browser.run("return document.getElementById('run').disabled")
    browser.wait(f"{STATUS} === '0'", seconds=120)
    log = browser.text("#log")
    assert log.startswith(f"$ flow.sh -I {field.sim}/images.txt -S ")
    assert "RM_THRESH" not in log
    assert "flow terminated normally\nexit status 0" in log
    assert browser.run("return document.querySelectorAll('.module.done').length") > 20


def open_products(browser, *names):
    browser.click("[data-tab=products]")
    for name in names:
        browser.wait("return document.querySelector(`.product[data-name='${arguments[0]}']`)", name)
        browser.click(f".product[data-name='{name}'] .name")


def view_of(browser):
    found = browser.run("return {...document.getElementById('canvas').dataset}")
    return {key: float(found[key]) for key in ("x", "y", "scale")}


def place_on_screen(browser, x, y):
    """Give where a pixel of the image, from 1, is on the canvas."""
    view = view_of(browser)
    width, height = browser.run(
        "const c = document.getElementById('canvas'); return [c.clientWidth, c.clientHeight]"
    )
    return (x - view["x"]) * view["scale"] + width / 2, height / 2 - (y - view["y"]) * view["scale"]


def check_a_star(browser, table, row):
    """Go to a star from its row: the image, the read-out and the light that is drawn agree with the table."""
    browser.click(f"#rows tr[data-row='{row}'] td")
    x, y = (float(table.column(name)[row]) for name in "xy")
    browser.wait("return Math.abs(document.getElementById('canvas').dataset.x - arguments[0]) < 0.01", x)
    view = view_of(browser)
    assert np.hypot(view["x"] - x, view["y"] - y) < TOLERANCE
    browser.wait("return document.querySelectorAll('#source svg.plot').length === 2")
    assert float(browser.text("#fit tr td:nth-child(2)").split()[0]) == float(table.column("flux")[row])
    left, top = place_on_screen(browser, x, y)
    browser.click_at("#canvas", left, top)  # the pointer is there now; the star stays chosen
    browser.wait("return document.getElementById('readout').dataset.ra")
    told = browser.run("return {...document.getElementById('readout').dataset}")
    sky = [float(told[key]) - float(table.column(name)[row]) for key, name in (("ra", "RA"), ("dec", "Dec"))]
    pixel = 1.22 / 2 / 3600  # deg
    far = np.hypot(sky[0] * np.cos(np.radians(float(told["dec"]))), sky[1]) / pixel
    assert (
        far < TOLERANCE + 0.09
    )  # the pointer stands on a whole pixel of the screen, an eighth of the image's
    browser.click("#right-close")
    browser.click("#overlays input")
    browser.choose("#stretch", "linear")
    browser.click("#full")
    browser.wait(READY, "Combine-mosaic/mosaic.fits")
    dx, dy, light = browser.run(LIGHT, 4.5 * view["scale"])
    assert light > 0
    assert np.hypot(dx, dy) / view["scale"] < TOLERANCE
    browser.click("#overlays input")
    browser.click("#auto")


def check_a_click(browser, table, row):
    """Choose a star on the image: its row and its light curve appear."""
    browser.click("#zoom-fit")
    x, y = (float(table.column(name)[row]) for name in "xy")
    browser.wait("const c = document.getElementById('canvas'); return c.dataset.scale < 7")
    browser.click_at("#canvas", *place_on_screen(browser, x, y))
    browser.wait(
        "const e = document.querySelector('#rows tr.chosen'); return e && +e.dataset.row === arguments[0]",
        row,
    )
    number = int(table.column("srcid")[row])
    browser.wait(
        "return document.querySelector('#source h2').textContent === arguments[0]", f"srcid {number}"
    )
    dots = browser.wait("return document.querySelectorAll('#source svg.plot circle').length")
    assert dots >= 2
    browser.wait("return document.querySelectorAll('#stamps figure').length === 3")


def check_filter(browser, table):
    limit = float(np.median(table.column("flux")))
    browser.type("#where", f"flux > {limit} and")
    browser.wait("return document.querySelector('#where.bad')")
    browser.type("#where", f"flux > {limit}")
    count = int((table.column("flux") > limit).sum())
    browser.wait(
        "return document.getElementById('table-note').textContent === arguments[0]",
        f"{count} of {len(table)} rows",
    )
    browser.type("#where", " ")
    browser.wait(
        "return document.getElementById('table-note').textContent === arguments[0]", f"{len(table)} rows"
    )


def check_blink_and_outlines(browser):
    open_products(browser, "Residual/mosaic/Combine/mosaic.fits")
    browser.wait(READY, "Residual/mosaic/Combine/mosaic.fits")
    browser.click("#blink")
    for name in ("Combine-mosaic/mosaic.fits", "Residual/mosaic/Combine/mosaic.fits"):
        browser.wait("return document.getElementById('canvas').dataset.name === arguments[0]", name)
    browser.click("#blink")
    browser.click("#frames")
    browser.click("#zoom-fit")
    browser.wait(
        "const c = document.getElementById('canvas');"
        "const at = {bubbles: true, clientX: c.getBoundingClientRect().left + c.clientWidth / 2,"
        " clientY: c.getBoundingClientRect().top + c.clientHeight / 2};"
        "c.dispatchEvent(new PointerEvent('pointermove', at));"
        "return /[1-9]\\d* frames$|cbcd.fits$/.test(document.getElementById('readout').textContent)"
    )


def check_positions(browser, table):
    """Make a user list by clicking on two stars."""
    browser.click("[data-tab=positions]")
    browser.click("#mark")
    rows = [int(np.argmax(table.column("x"))), int(np.argmin(table.column("x")))]
    for number, row in enumerate(rows, 1):
        browser.click_at("#canvas", *place_on_screen(browser, *(float(table.column(k)[row]) for k in "xy")))
        browser.wait("return document.querySelectorAll('#position-rows tr').length === arguments[0]", number)
    browser.click("#mark")
    browser.click("#position-use")
    browser.wait(
        "return document.getElementById('command').textContent.includes('INPUT_USER_LIST=out/user_list.tbl')"
    )
    made = read_table("out/user_list.tbl")
    scale = 1.0 / view_of(browser)["scale"] * 0.61 / 3600  # deg of a pixel of the screen
    np.testing.assert_allclose(made.column("Dec"), table.column("Dec")[rows], atol=1.5 * scale)


def check_deletion(browser):
    before = list(Path("out/Interp-mosaic").glob("*.fits"))
    assert before
    browser.click("[data-tab=flow]")
    browser.click("#delete-list")
    browser.wait("return document.getElementById('dialog').open")
    assert f"{before[0].parent.name}/{before[0].name}" in browser.text("#dialog")
    assert all(path.exists() for path in before)
    browser.click("#dialog-yes")
    browser.wait("return document.getElementById('log').textContent.includes('clean terminated normally')")
    browser.wait(f"{STATUS} === '0'")
    assert not any(path.exists() for path in before)


def check_parts_and_stop(browser):
    """Run one module alone, then from a module on, and stop it."""
    browser.click(".module[data-task='overlap.medfilter'] .name")
    browser.click("#run-only")
    browser.wait("return document.getElementById('log').textContent.includes('--only overlap.medfilter')")
    browser.wait(f"{STATUS} === '0'")
    browser.click("#run-from")
    browser.wait("return document.querySelector('.module.running')")
    browser.click("#stop")
    browser.wait(f"{STATUS} === '130'")
    assert "stopped" in browser.text("#status")


def machines_reached(net_log):
    """Give the addresses that the browser opened connections to, as its log of the network tells."""
    text = net_log.read_text()
    try:
        log = json.loads(text)
    except ValueError:  # the browser was closed while it wrote
        log = json.loads(text.rstrip().rstrip(",") + "]}")
    attempt = log["constants"]["logEventTypes"]["TCP_CONNECT_ATTEMPT"]
    found = [one["params"]["address"] for one in log["events"] if one["type"] == attempt and "params" in one]
    return {urlsplit(f"//{address}").hostname for address in found if address}


def test_from_templates_to_the_light_curve_of_a_star(viewer, field):
    build_and_run(viewer, field)
    table = read_table("out/extract.tbl")
    viewer.click("[data-tab=table]")
    open_products(viewer, "Combine-mosaic/mosaic.fits")
    viewer.wait(READY, "Combine-mosaic/mosaic.fits")
    open_products(viewer, "extract.tbl")
    viewer.wait("return document.querySelectorAll('#rows tbody tr').length > 20")
    good = np.array(["S" not in text and text == "N" for text in table.column("deblend").tolist()])
    stars = np.flatnonzero(good)[np.argsort(-table.column("flux")[good])]
    stars = [int(row) for row in stars if row < 100][2:4]
    check_filter(viewer, table)
    check_a_star(viewer, table, stars[0])
    check_a_click(viewer, table, stars[1])
    check_blink_and_outlines(viewer)
    check_positions(viewer, table)
    check_deletion(viewer)
    check_parts_and_stop(viewer)
    console = viewer.console()  # the browser notes the two mistakes that were made on purpose
    assert len(console) == 2, console
    assert all("400 (Bad Request)" in text for text in console)
    asked = viewer.requests()
    assert len(asked) > 100
    outward = [urlsplit(address) for address in asked if urlsplit(address).scheme not in INWARD]
    assert {address.hostname for address in outward} == {"127.0.0.1"}
    viewer.close()
    assert machines_reached(viewer.net_log) == {"127.0.0.1"}
