"""How smooth the viewer is on a large mosaic: time to open it, of its tiles, of frames of the page, and memory.

    python benchmarks/viewer_tiles.py [SIDE]

Makes a mosaic of SIDE x SIDE pixels (12000) with stars and blank corners in a temporary folder, starts ``mopex view``
on it, and asks for tiles as the page does. With chromium and chromedriver it also drags and zooms the page, and tells
the times between its frames.
"""

import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

import numpy as np
from astropy.io import fits
from pymopex.columns import by_name
from pymopex.kit.ipac import Table, write_table

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "view"))
from chromium import Browser
from startup import processor

NAME = "mosaic.fits"
TABLE, SOURCES = "extract.tbl", 100_000
TILES = 60  # of each level
# Move the image for some seconds as a hand would, in steps at each frame; gives the times between frames.
MOVE = """
const canvas = document.getElementById('canvas'), times = [], [kind, seconds] = arguments;
const at = canvas.getBoundingClientRect(), x = at.left + at.width / 2, y = at.top + at.height / 2;
const send = (type, more) => canvas.dispatchEvent(new PointerEvent(type, {bubbles: true, pointerId: 1, ...more}));
canvas.setPointerCapture = () => {};
return new Promise((resolve) => {
  const begin = performance.now();
  let last = begin, n = 0;
  if (kind === 'drag') send('pointerdown', {clientX: x, clientY: y});
  const step = (now) => {
    times.push(now - last);
    last = now;
    n += 1;
    if (kind === 'drag') send('pointermove', {clientX: x - 9 * n, clientY: y - 5 * n});
    else canvas.dispatchEvent(new WheelEvent('wheel', {clientX: x, clientY: y, deltaY: n % 160 < 80 ? -40 : 40}));
    if (now - begin < 1000 * seconds) requestAnimationFrame(step);
    else { if (kind === 'drag') send('pointerup', {clientX: x, clientY: y}); resolve(times.slice(2)); }
  };
  requestAnimationFrame(step);
});
"""


def make_mosaic(path: Path, side: int) -> None:
    """Noise, stars and blank corners, written in strips."""
    header = fits.Header()
    header["SIMPLE"], header["BITPIX"], header["NAXIS"] = True, -32, 2
    header["NAXIS1"] = header["NAXIS2"] = side
    header["CTYPE1"], header["CTYPE2"], header["BUNIT"] = "RA---TAN", "DEC--TAN", "MJy/sr"
    header["CRPIX1"] = header["CRPIX2"] = side / 2
    header["CRVAL1"], header["CRVAL2"] = 150.0, 2.0
    header["CDELT1"], header["CDELT2"] = -0.6 / 3600, 0.6 / 3600
    random = np.random.default_rng(1)
    stream = fits.StreamingHDU(str(path), header)
    x = np.arange(side)
    for start in range(0, side, 500):
        lines = np.arange(start, min(start + 500, side))
        strip = random.standard_normal((len(lines), side), dtype="f4") * 0.01 + 0.15
        for _ in range(side // 8):
            row, column = random.integers(1, len(lines) - 1), random.integers(1, side - 1)
            strip[row - 1 : row + 2, column - 1 : column + 2] += random.pareto(1.5) * 0.1
        strip[np.abs(lines[:, None] - side / 2) + np.abs(x - side / 2) > 0.9 * side] = np.nan
        stream.write(strip)
    stream.close()


def make_table(path: Path, side: int) -> None:
    """Sources all over the mosaic."""
    random = np.random.default_rng(3)
    spec = [by_name(name, Table(str(path))) for name in ("srcid", "x", "y", "flux", "SNR")]
    values = {"srcid": np.arange(1, SOURCES + 1), "SNR": random.uniform(5, 100, SOURCES)}
    values |= {name: random.uniform(1, side, SOURCES) for name in ("x", "y", "flux")}
    write_table(str(path), spec, values)


def get(address: str, path: str) -> tuple[bytes, float]:
    """Give what the server answers, and the time of it [ms]."""
    started = time.perf_counter()
    with urllib.request.urlopen(address + path) as answer:
        content = answer.read()
    return content, 1000 * (time.perf_counter() - started)


def memory(process: int, own: bool) -> float:
    """Peak memory of a process [MB], or what is its own at present: without pages of files that it maps."""
    text = Path(f"/proc/{process}/status").read_text()
    name = "RssAnon" if own else "VmHWM"
    return int(re.search(rf"{name}:\s+(\d+)", text)[1]) / 1024


def line(what: str, times: list[float]) -> None:
    print(f"{what:44s}{statistics.median(times):8.1f}{np.percentile(times, 95):8.1f}{max(times):8.1f}")


def ask_for_tiles(address: str, process: int) -> None:
    started = memory(process, own=True)
    content, opened = get(address, f"image?name={NAME}")
    print(f"open: limits and overview                   {opened:8.0f} ms, once")
    about, random = json.loads(content), np.random.default_rng(2)
    print(f"{'time [ms] of':44s}{'median':>8s}{'95 %':>8s}{'max':>8s}")
    for level in range(about["levels"]):
        count = -(-about["width"] // (about["side"] << level))
        places = random.integers(0, count, (TILES, 2))
        words = [f"tile?name={NAME}&level={level}&column={c}&line={r}" for c, r in places]
        line(f"a tile, reduced by {1 << level}", [get(address, word)[1] for word in words])
    points = [f"point?name={NAME}&x={x}&y={y}" for x, y in random.integers(1, about["width"], (TILES, 2))]
    line("value and sky position under the pointer", [get(address, word)[1] for word in points])
    grown = memory(process, own=True) - started
    print(f"memory of its own: {memory(process, own=True):.0f} MB, of it for the mosaic {grown:.0f} MB")


def use_a_page(address: str, folder: Path) -> None:
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        print("no chromium: the page is not measured")
        return
    browser = Browser(folder)
    try:
        browser.open(address)
        browser.click("[data-tab=products]")
        started = time.perf_counter()
        browser.click(f".product[data-name='{NAME}'] .name")
        browser.wait("return document.getElementById('canvas').dataset.pending === '0'")
        print(f"the page: from the click to the whole image {1000 * (time.perf_counter() - started):8.0f} ms")
        print(f"{'time [ms] between frames of the page':44s}{'median':>8s}{'95 %':>8s}{'max':>8s}")
        line("zoom", browser.run(MOVE, "zoom", 6))
        browser.click("#zoom-one")
        line("drag at 1:1", browser.run(MOVE, "drag", 6))
        browser.click("#zoom-fit")
        line("drag the whole image", browser.run(MOVE, "drag", 4))
        started = time.perf_counter()
        browser.click(f".product[data-name='{TABLE}'] .name")
        browser.wait("return document.querySelector('#overlays input')")
        browser.wait("return document.getElementById('table-note').textContent.includes('rows')")
        print(
            f"{SOURCES} sources: from the click to their marks {1000 * (time.perf_counter() - started):10.0f} ms"
        )
        time.sleep(2)
        line(f"drag the whole image with {SOURCES} marks", browser.run(MOVE, "drag", 4))
        started = time.perf_counter()
        browser.type("#where", "SNR > 99")
        browser.wait("return document.getElementById('table-note').textContent.includes(' of ')")
        print(f"filter them                                 {1000 * (time.perf_counter() - started):8.0f} ms")
    finally:
        browser.close()


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 12000
    print(f"{processor()}, {os.cpu_count()} processors; {platform.system()}; {side} x {side} pixels, float32")
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "out"
        run.mkdir()
        make_mosaic(run / NAME, side)
        make_table(run / TABLE, side)
        words = [sys.executable, "-m", "pymopex.kit.cli", "view", str(run), "--no-open"]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
        try:
            address = process.stdout.readline().split()[-1]
            ask_for_tiles(address, process.pid)
            use_a_page(address, Path(folder))
            mapped = memory(process.pid, own=False)
            print(f"peak memory of the server, with the pages of the file that it mapped: {mapped:.0f} MB")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
