"""Overlap and Mosaic on frames of MIPS 70 and 160 micron: few and large pixels, a dead half, two rows."""

import contextlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.kit.ipac import read_table

RA, DEC, TURN = 150.0, 2.2, 35.0  # deg
SKY, NOISE, OFFSET = 15.0, 0.02, 0.5  # MJy/sr
PEAK = 8.0  # MJy/sr, of the source
FLUX_TOLERANCE = 0.02
POSITION_TOLERANCE = 0.05  # of a pixel of the frames
OFFSET_TOLERANCE = 0.1  # of the rms of the offsets
DEAD = 16640  # bits 8 and 14 of the permanent mask: the bad half of 70 micron, bad pixels


@dataclass(frozen=True)
class Camera:
    """Pixels of the array and their sizes, width of the source, step of the frames, pixels of the mosaic [arcsec]."""

    shape: tuple[int, int]
    pixel: tuple[float, float]
    fwhm: float
    steps: tuple[tuple[float, float], ...]
    mosaic: float
    dead: bool = False
    cd: bool = True


SEVENTY = Camera(
    (32, 32),
    (9.85, 10.06),
    18.0,
    tuple((35.0 * (k % 3) + 40, 50.0 * (k // 3) - 60) for k in range(9)),
    4.0,
    dead=True,
)
HUNDRED_SIXTY = Camera(
    (2, 20), (15.96, 18.04), 40.0, tuple((8.0 * (k % 3), 6.0 * k - 150) for k in range(50)), 8.0, cd=False
)
CAMERAS = {"70": SEVENTY, "160": HUNDRED_SIXTY}


def header_of(camera, dx, dy):
    """A frame moved by some arcseconds along its axes."""
    ny, nx = camera.shape
    c, s = math.cos(math.radians(TURN)), math.sin(math.radians(TURN))
    header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "BUNIT": "MJy/sr", "EXPTIME": 10.0})
    header.update(
        {"CRPIX1": (nx + 1) / 2 - dx / camera.pixel[0], "CRPIX2": (ny + 1) / 2 - dy / camera.pixel[1]}
    )
    header.update({"CRVAL1": RA, "CRVAL2": DEC, "INSTRUME": "MIPS"})
    px, py = (size / 3600 for size in camera.pixel)
    if camera.cd:
        header.update({"CD1_1": -px * c, "CD1_2": -py * s, "CD2_1": -px * s, "CD2_2": py * c})
    else:
        header.update({"CDELT1": -px, "CDELT2": py, "CROTA2": TURN})
    return header


def light(camera, header):
    """The source at the reference position, integrated over the pixels."""
    ny, nx = camera.shape
    width, parts = camera.fwhm / 2.3548, (np.arange(9) + 0.5) / 9 - 0.5
    x = (np.arange(nx)[:, None] + parts + 1 - header["CRPIX1"]).ravel() * camera.pixel[0]
    y = (np.arange(ny)[:, None] + parts + 1 - header["CRPIX2"]).ravel() * camera.pixel[1]
    fine = np.outer(np.exp(-0.5 * (y / width) ** 2), np.exp(-0.5 * (x / width) ** 2))
    return PEAK * fine.reshape(ny, 9, nx, 9).mean(axis=(1, 3))


@pytest.fixture(scope="module", params=CAMERAS)
def made(request, mopex, tmp_path_factory):
    """Folder with the products of Overlap and Mosaic, the camera, and the offsets of the frames."""
    camera = CAMERAS[request.param]
    folder, rng = tmp_path_factory.mktemp("mips"), np.random.default_rng(4)
    offsets = rng.normal(0, OFFSET, len(camera.steps))
    lists = {"images": "bcd", "sigmas": "bunc", "masks": "bbmsk"}
    pmask = np.zeros(camera.shape, "i2")
    if camera.dead:
        pmask[:, 16:] = 1 << 8
        pmask[5, 3] = 1 << 14
    fits.writeto(folder / "pmask.fits", pmask)
    for number, (step, offset) in enumerate(zip(camera.steps, offsets, strict=True)):
        header = header_of(camera, *step)
        data = SKY + offset + light(camera, header) + rng.normal(0, NOISE, camera.shape)
        data[pmask > 0] = 1e4
        images = (data.astype("f4"), np.full(camera.shape, NOISE, "f4"), np.zeros(camera.shape, "i2"))
        for ending, image in zip(lists.values(), images, strict=True):
            fits.writeto(folder / f"{number:02d}_{ending}.fits", image, header)
    for name, ending in lists.items():
        lines = [f"{number:02d}_{ending}.fits\n" for number in range(len(camera.steps))]
        (folder / f"{name}.txt").write_text("".join(lines))
    with contextlib.chdir(folder):
        assert mopex("new", "overlap", "I1")[0] == mopex("new", "mosaic", "I1")[0] == 0
        size = camera.mosaic / 3600
        pixels = (f"MOSAIC_PIXEL_SIZE_X={-size}", f"MOSAIC_PIXEL_SIZE_Y={size}")
        words = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-M", "pmask.fits", "-O", "out")
        bits = (
            f"PMask_Fatal_BitPattern={DEAD}",
            "do_multiprocess=off",
            *pixels,
            "overlap_I1.nl",
            "mosaic_I1.nl",
        )
        status, log = mopex("flow", *words, *bits)
    assert status == 0, log
    return folder, camera, offsets


def test_offsets_come_back(made):
    folder, _, offsets = made
    found = read_table(str(folder / "out/Overlap_corr/offsets.tbl")).column("offset")
    assert (found + offsets).std() < OFFSET_TOLERANCE * offsets.std()


def test_source_keeps_flux_and_place(made):
    folder, camera, _ = made
    image, header = fits.getdata(folder / "out/Combine-mosaic/mosaic.fits", header=True)
    assert np.nanmax(image) < 2 * (SKY + PEAK)  # nothing of the dead half
    x, y = WCS(header).all_world2pix(RA, DEC, 0)
    rows, columns = np.indices(image.shape)
    r = np.hypot(columns - x, rows - y) * camera.mosaic
    inside, ring = r < 1.8 * camera.fwhm, (r > 2 * camera.fwhm) & (r < 3 * camera.fwhm)
    assert np.isfinite(image[inside]).all()
    star = np.where(inside, image - np.nanmedian(image[ring]), 0)
    flux = star.sum() * camera.mosaic**2
    # what interpolation blurs beyond the aperture is below the tolerance
    assert flux == pytest.approx(PEAK * 2 * math.pi * (camera.fwhm / 2.3548) ** 2, rel=FLUX_TOLERANCE)
    apart = math.hypot((star * (columns - x)).sum(), (star * (rows - y)).sum()) / star.sum() * camera.mosaic
    assert apart < POSITION_TOLERANCE * min(camera.pixel)


def test_few_pixels_are_rejected(made):
    folder, _, _ = made
    table = read_table(str(folder / "out/Rmask-mosaic/rejected.tbl"))
    assert table.column("rejected").sum() < 0.003 * table.column("n_pixels").sum()
    assert Path(folder / "out/Combine-mosaic/mosaic_unc.fits").is_file()
