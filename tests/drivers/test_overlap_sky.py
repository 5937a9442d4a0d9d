"""Overlap under skies that could pull the offsets: nebulosity, and a star that outshines a frame."""

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.kit.ipac import read_table
from scipy.ndimage import map_coordinates

TILES = Path(__file__).parents[3] / "shared" / "data" / "twomass_m17_west"
TOLERANCE = 0.001  # MJy/sr, rms of the errors; a twentieth of the rms of the offsets
SATURATION = 2000.0  # MJy/sr


def nebula(east, north):
    """Clouds of 5 to 30 arcsec and up to 5 MJy/sr, and a star with wings over all frames [arcsec from the middle]."""
    rng = np.random.default_rng(7)
    sky = 3e4 / (1 + (np.hypot(east - 20, north + 10) / 1.5) ** 2) ** 1.5
    for _ in range(40):
        x, y, width, peak = rng.uniform((-120, -120, 5, 0.5), (120, 120, 30, 5))
        sky += peak * np.exp(-((east - x) ** 2 + (north - y) ** 2) / (2 * width**2))
    return sky


def m17(east, north):
    """Nebulosity and stars of a 2MASS image, 1 arcsec a pixel, on a scale where its sky is 1 MJy/sr."""
    image = fits.getdata(sorted(TILES.glob("*.fits.gz"))[0]).astype(float) / 640
    at = [(image.shape[0] - 1) / 2 + north, (image.shape[1] - 1) / 2 - east]
    return map_coordinates(image, at, order=1, mode="nearest")


def put(sky, folder, simulated):
    """Add a sky to the frames; saturated pixels are flagged."""
    for kind in ("images", "masks"):
        (folder / kind).mkdir()
    lists = {kind: (simulated / f"{kind}.txt").read_text().split() for kind in ("images", "sigmas", "masks")}
    centre = WCS(fits.getheader(lists["images"][0])).wcs.crval
    for image, mask in zip(lists["images"], lists["masks"], strict=True):
        data, header = fits.getdata(image, header=True)
        y, x = np.indices(data.shape)
        ra, dec = WCS(header).all_pix2world(x, y, 0)
        added = sky((ra - centre[0]) * np.cos(np.radians(centre[1])) * 3600, (dec - centre[1]) * 3600)
        status, its_header = fits.getdata(mask, header=True)
        status = np.where(added > SATURATION, status | 1 << 13, status)
        fits.writeto(folder / "images" / Path(image).name, (data + added).astype("f4"), header)
        fits.writeto(folder / "masks" / Path(mask).name, status.astype("i2"), its_header)
    for kind, paths in lists.items():
        here = [path if kind == "sigmas" else f"{kind}/{Path(path).name}" for path in paths]
        (folder / f"{kind}.txt").write_text("".join(f"{path}\n" for path in here))


@pytest.mark.parametrize(
    "sky",
    [
        nebula,
        pytest.param(m17, marks=[
            pytest.mark.shared,
            pytest.mark.skipif(not TILES.is_dir(), reason="the real frames (../shared/data) are not here"),
        ]),
    ],
)  # fmt: skip
def test_stars_and_nebulosity_do_not_pull_the_offsets(simulated, tmp_path, monkeypatch, mopex, sky):
    """The sky's structure is tens to thousands of times the offsets; what is found differs little."""
    put(sky, tmp_path, simulated)
    monkeypatch.chdir(tmp_path)
    assert mopex("new", "overlap", "I1")[0] == 0
    words = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out", "do_multiprocess=off")
    status, log = mopex("drive", "overlap", "-n", "overlap_I1.nl", *words)
    assert status == 0, log
    found = read_table("out/Overlap_corr/offsets.tbl")
    true = read_table(str(simulated / "truth/offsets.tbl")).column("offset")
    assert len(set(found.column("group"))) == 1
    first = fits.getdata(Path("images.txt").read_text().split()[0])
    assert np.nanpercentile(first, 99) - np.nanpercentile(first, 1) > 20 * true.std()
    assert (found.column("offset") + true).std() < TOLERANCE
