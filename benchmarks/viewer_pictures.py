"""Pictures of the viewer for its page: a flow with the form of a module, and a mosaic with a star and its light curve.

    python benchmarks/viewer_pictures.py OUT FOLDER

OUT is the output directory of a finished flow, such as that of ``demo.sh``, named from the working directory of the
run; FOLDER gets the PNG files. Needs chromium and chromedriver.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "view"))
from chromium import Browser

COLOURS = 128  # of a picture: keeps it small
LOADED = "return document.getElementById('canvas').dataset.pending === '0'"


def shoot(browser: Browser, path: Path) -> None:
    browser.screenshot(path)
    with Image.open(path) as picture:
        small = picture.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    small.save(path, optimize=True)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def flow(browser: Browser) -> None:
    """The flow, a module with its form, and the log of a run of that module."""
    browser.click("[data-tab=flow]")
    browser.click(".module[data-task='mosaic.mosaic_rmask'] .name")
    browser.click("#run-only")
    browser.wait("return document.getElementById('log').textContent.includes('exit status 0')", seconds=120)
    browser.wait("return document.getElementById('status').dataset.status === '0'")


def star(browser: Browser) -> None:
    """The mosaic with the sources of ``extract.tbl``, one of them chosen."""
    browser.click("[data-tab=products]")
    browser.click(".product[data-name='Combine-mosaic/mosaic.fits'] .name")
    browser.wait(LOADED)
    browser.click(".product[data-name='extract.tbl'] .name")
    browser.wait("return document.querySelectorAll('#rows tbody tr').length > 20")
    browser.type("#where", "SNR > 100 and n_frames > 6 and N_PS = 1")
    browser.wait("return document.getElementById('table-note').textContent.includes(' of ')")
    browser.click("#rows tbody tr:nth-child(3) td")
    browser.wait("return document.querySelectorAll('#stamps figure').length === 3")
    for _ in range(2):
        browser.click("#zoom-out")
    browser.click("#frames")
    browser.wait(LOADED)
    time.sleep(1)  # outlines of the frames
    corner = browser.run(
        "const c = document.getElementById('canvas'); return [c.clientWidth / 2, c.clientHeight / 2]"
    )
    browser.click_at("#canvas", *corner)
    browser.wait("return document.getElementById('readout').textContent.includes('MJy')")
    browser.wait("return document.querySelectorAll('#stamps figure').length === 3")


def main() -> None:
    run, folder = sys.argv[1], Path(sys.argv[2])
    folder.mkdir(parents=True, exist_ok=True)
    words = [sys.executable, "-m", "pymopex.kit.cli", "view", run, "--no-open"]
    process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    with tempfile.TemporaryDirectory() as scratch:
        browser = Browser(Path(scratch))
        try:
            browser.open(process.stdout.readline().split()[-1])
            browser.wait("return document.querySelectorAll('.module').length > 0")
            flow(browser)
            shoot(browser, folder / "flow.png")
            star(browser)
            shoot(browser, folder / "star.png")
        finally:
            browser.close()
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
