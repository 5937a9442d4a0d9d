"""mosaic_combine as scripts call it: tiles of a list on the grid of a table."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.fiducial import FiducialFrame
from pymopex.kit import cli
from pymopex.kit.fif import write_fif

GRID = FiducialFrame("TAN", 150.0, 2.0, 20.5, 15.5, 10.0, -3e-4, 3e-4, 40, 30, "RA---TAN", "DEC--TAN")


@pytest.fixture
def tiles(tmp_path, monkeypatch):
    """Four tiles of a mosaic with their list, relative and absolute paths mixed, and the whole image."""
    monkeypatch.chdir(tmp_path)
    whole = np.arange(1200, dtype="f4").reshape(30, 40)
    write_fif("mosaic_fif.tbl", GRID, "Output from Mosaic_INT")
    lines = ["# tiles"]
    Path("t").mkdir()
    for number, (y, x) in enumerate(((0, 0), (0, 20), (16, 0), (16, 20)), 1):
        part = whole[y : y + 16, x : x + 20]
        header = GRID.header()
        header["CRPIX1"] -= x
        header["CRPIX2"] -= y
        header["BUNIT"] = "MJy/sr"
        fits.writeto(f"t/tile_{number}.fits", part, header)
        lines.append(f"t/tile_{number}.fits" if number % 2 else str(tmp_path / f"t/tile_{number}.fits"))
    Path("tiles.txt").write_text("\n".join([*lines, "", ""]))
    return whole


def rewritten(path):
    """Do as scripts do: split the lines of a table on blanks and write the sizes again, as floats."""
    words = [line.split() for line in Path(path).read_text().splitlines()]
    values = {w[1]: w[3] for w in words if w[1] in ("NAXIS1", "NAXIS2")}
    assert values == {"NAXIS1": "40", "NAXIS2": "30"}
    lines = [" ".join([*w[:3], f"{float(w[3])}"]) if w[1] in values else " ".join(w) for w in words]
    Path(path).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("words", [("-o", "out.fits", "-f", "mosaic_fif.tbl", "-g", "tiles.txt"),
                                   ("-gtiles.txt", "-fmosaic_fif.tbl", "-oout.fits")])  # fmt: skip
def test_tiles_are_put_together(tiles, mopex, words):
    rewritten("mosaic_fif.tbl")
    status, log = mopex("legacy", "mosaic_combine", *words)
    assert status == 0, log
    assert log.splitlines()[-1] == "mosaic_combine terminated normally"
    assert "System Exit 0" in log.splitlines()
    image, header = fits.getdata("out.fits", header=True)
    np.testing.assert_array_equal(image, tiles)
    assert header["BUNIT"] == "MJy/sr"
    assert header["CRPIX1"] == 20.5


def test_missing_tiles_leave_holes(tiles, mopex):
    Path("two.txt").write_text("t/tile_1.fits\nt/tile_4.fits\n")
    status, log = mopex(
        "legacy", "mosaic_combine", "-o", "sub/out.fits", "-f", "mosaic_fif.tbl", "-g", "two.txt"
    )
    assert status == 0, log
    image = fits.getdata("sub/out.fits")
    assert np.isnan(image[:16, 20:]).all()
    np.testing.assert_array_equal(image[16:, 20:], tiles[16:, 20:])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("-o", "out.fits"), "-f fif_table is missing"),
        (("-o", "out.fits", "-f", "none.tbl", "-g", "tiles.txt"), "none.tbl: no such file"),
        (("-o", "out.fits", "-f", "mosaic_fif.tbl", "-g", "none.txt"), "none.txt: no such file"),
        (
            ("-o", "out.fits", "-f", "mosaic_fif.tbl", "-g", "off.txt"),
            "off.fits: its pixels are not those of the grid",
        ),
        (
            ("-o", "out.fits", "-f", "mosaic_fif.tbl", "-g", "empty.txt"),
            "empty.txt: the list of tiles is empty",
        ),
        (("-z", "1"), "-z: unknown flag; known are -o -f -g"),
        (("-o",), "-o: needs a value (image)"),
    ],
)
def test_refused_with_a_status_that_is_not_zero(tiles, mopex, words, told):
    data, header = fits.getdata("t/tile_1.fits", header=True)
    header["CRPIX1"] += 0.3
    fits.writeto("off.fits", data, header)
    Path("off.txt").write_text("off.fits\n")
    Path("empty.txt").write_text("\n# nothing\n")
    status, log = mopex("legacy", "mosaic_combine", *words)
    assert status == 2
    assert told in log
    assert not Path("out.fits").exists()


def test_installed_name(tiles, monkeypatch, capsys):
    words = ["/any/where/mosaic_combine", "-oout.fits", "-fmosaic_fif.tbl", "-gtiles.txt"]
    monkeypatch.setattr(sys, "argv", words)
    assert cli.legacy() == 0
    assert "mosaic_combine terminated normally" in capsys.readouterr().out


def test_status_as_a_process(tmp_path):
    code = "import sys; sys.argv[0] = 'mosaic_combine'; from pymopex.kit.cli import legacy; raise SystemExit(legacy())"
    done = subprocess.run(
        [sys.executable, "-c", code, "-f", "x.tbl"], cwd=tmp_path, capture_output=True, check=False
    )
    assert done.returncode == 2
