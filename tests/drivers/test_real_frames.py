"""Overlap and Mosaic on frames of the archive: warm IRAC 1, hits not flagged, a saturated star, stray light."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.kit.ipac import read_table
from scipy import ndimage

FRAMES = Path(__file__).parents[3] / "shared" / "data" / "irac1_grb120119a"
SHIFT_TOLERANCE = 0.03  # arcsec, median offset of stars along each axis
POSITION_TOLERANCE = (
    0.15  # arcsec, median distance: the centroid of a star in one undersampled frame is no better
)
pytestmark = [
    pytest.mark.shared,
    pytest.mark.skipif(not FRAMES.is_dir(), reason="the real frames (../shared/data) are not here"),
]


@pytest.fixture(scope="module")
def images():
    """Eight long frames, after the three of the first exposure set."""
    return sorted(FRAMES.glob("*_cbcd.fits"))[3:11]


@pytest.fixture(scope="module")
def products(images, mopex, tmp_path_factory):
    """Output directory of Overlap and Mosaic with the shipped namelists."""
    folder = tmp_path_factory.mktemp("real")
    for name, kind in (("images", "cbcd"), ("sigmas", "cbunc"), ("masks", "bimsk")):
        paths = [str(image).replace("cbcd", kind) for image in images]
        (folder / f"{name}.txt").write_text("".join(f"{path}\n" for path in paths))
    with contextlib.chdir(folder):
        assert mopex("new", "flow", "I1")[0] == 0
        lists = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")
        status, log = mopex("flow", *lists, "overlap_I1.nl", "mosaic_I1.nl")
    assert status == 0, log
    assert "Warning" not in log
    return folder / "out"


def mosaic(products, part=""):
    return fits.getdata(products / "Combine-mosaic" / f"mosaic{part}.fits")


def test_offsets_make_the_backgrounds_agree(products, images):
    table = read_table(str(products / "Overlap_corr" / "offsets.tbl"))
    offsets = table.column("offset")
    assert len(offsets) == len(images)
    assert np.isfinite(offsets).all()
    assert np.abs(offsets).max() < 0.05  # MJy/sr
    assert len(set(table.column("group"))) == 1
    assert (table.column("no_overlap") == 0).all()
    before = [np.nanmedian(fits.getdata(image)) for image in images]
    after = np.array(before) + offsets
    assert after.std() < np.std(before)


def test_no_pixel_is_missing_inside_the_coverage(products):
    image, covg, unc, std = (mosaic(products, part) for part in ("", "_cov", "_unc", "_std"))
    assert np.isfinite(image[covg > 0]).all()
    assert np.isnan(image[covg == 0]).all()
    assert (unc[covg > 0] > 0).all()
    assert np.isfinite(std[covg > 1.5]).mean() > 0.999
    assert 6 < covg.max() < 8.001
    assert (
        np.abs(np.abs(fits.getheader(products / "Combine-mosaic" / "mosaic.fits")["CDELT1"]) * 3600 - 0.6)
        < 1e-4
    )


def test_share_of_rejected_pixels(products, images):
    table = read_table(str(products / "Rmask-mosaic" / "rejected.tbl"))
    share = table.column("rejected") / table.column("n_pixels")
    assert len(share) == len(images)
    assert (share > 0.001).all()
    assert (share < 0.03).all()


def scatter_of_all(products, shape):
    """Scatter of the interpolated frames before rejection."""
    sums = np.zeros((3, *shape))
    table = read_table(str(products / "Interp-mosaic" / "interp_correct_images.txt.tbl"))
    for name, x, y, nx, ny in zip(
        *(table.column(key) for key in ("name", "offset_x", "offset_y", "nx", "ny")), strict=True
    ):
        data, weight = (
            fits.getdata(products / "Interp-mosaic" / str(name).replace(".fits", f"{part}.fits")).astype("f8")
            for part in ("", "_covg")
        )
        weight[~np.isfinite(data)] = 0
        data[~np.isfinite(data)] = 0
        sums[:, y : y + ny, x : x + nx] += weight, weight * data, weight * data**2
    with np.errstate(invalid="ignore"):
        return np.sqrt(np.maximum(sums[2] / sums[0] - (sums[1] / sums[0]) ** 2, 0))


def test_rejection_takes_the_hits_out(products):
    """Where the sky is empty, many stacks scatter too much before rejection, and few after it."""
    image, covg, std = (mosaic(products, part) for part in ("", "_cov", "_std"))
    inside = covg > 5
    sky = np.median(image[inside])
    noise = 1.4826 * np.median(np.abs(image[inside] - sky))
    empty = inside & (np.abs(image - sky) < 4 * noise)
    share = [
        np.mean(scatter[empty] > 5 * np.median(scatter[empty]))
        for scatter in (scatter_of_all(products, image.shape), std)
    ]
    assert share[0] > 0.02
    assert share[1] < share[0] / 5


def stars(image, noise, header, count=40):
    """Pixel positions of the brightest stars that are neither saturated nor near the border."""
    peaks = (ndimage.maximum_filter(image, 9) == image) & (image > 30 * noise) & (image < 30)
    rows, columns = np.nonzero(peaks)
    ny, nx = image.shape
    inside = (rows > 12) & (columns > 12) & (rows < ny - 13) & (columns < nx - 13)
    rows, columns = rows[inside], columns[inside]
    order = np.argsort(-image[rows, columns])[:count]
    return columns[order], rows[order]


def centroid(image, x, y, radius):
    """First moments in a circle, the background taken off; NaN where the image ends."""
    column, row = round(float(x)), round(float(y))
    size = 3 * radius
    if not (size < column < image.shape[1] - size - 1 and size < row < image.shape[0] - size - 1):
        return np.nan, np.nan
    for _ in range(10):
        rows, columns = np.mgrid[row - size : row + size + 1, column - size : column + size + 1]
        part = image[rows, columns]
        part = np.clip(np.nan_to_num(part - np.nanmedian(part)), 0, None)
        weight = part * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * (radius / 1.5) ** 2))
        x, y = (weight * columns).sum() / weight.sum(), (weight * rows).sum() / weight.sum()
    return x, y


def test_stars_of_frames_and_mosaic_are_at_one_place_on_the_sky(products, images):
    combined, header = fits.getdata(products / "Combine-mosaic" / "mosaic.fits", header=True)
    sky_of_mosaic = WCS(header)
    offsets = []
    for image in images:
        data, frame_header = fits.getdata(image, header=True)
        status = fits.getdata(str(image).replace("cbcd", "bimsk")).astype(int)
        data = np.where(status & 32520, np.nan, data)
        noise = 1.4826 * np.nanmedian(np.abs(data - np.nanmedian(data)))
        sky_of_frame = WCS(frame_header)
        level = np.nan_to_num(data - np.nanmedian(data))
        for column, row in zip(*stars(level, noise, frame_header), strict=True):
            x, y = centroid(data, column, row, 3)
            ra, dec = sky_of_frame.all_pix2world(x, y, 0)
            there = centroid(combined, *sky_of_mosaic.all_world2pix(ra, dec, 0), 6)
            east, north = np.array(sky_of_mosaic.all_pix2world(*there, 0)) - (ra, dec)
            offsets.append((east * np.cos(np.radians(dec)) * 3600, north * 3600))
    offsets = np.array(offsets)
    offsets = offsets[np.isfinite(offsets).all(axis=1)]
    offsets = offsets[np.hypot(*offsets.T) < 1]  # hits of single frames have no star on the mosaic
    assert len(offsets) > 80
    assert np.abs(np.median(offsets, axis=0)).max() < SHIFT_TOLERANCE
    assert np.median(np.hypot(*offsets.T)) < POSITION_TOLERANCE
