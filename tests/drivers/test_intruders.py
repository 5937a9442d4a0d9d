"""A satellite, an asteroid and saturated stars in the frames of a mosaic made with the template as it is."""

import contextlib
import os
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits
from pymopex.geometry import frame_wcs
from pymopex.intruders import moving_source, trail
from pymopex.kit.fif import read_fif
from pymopex.projection import sky_to_pixel
from pymopex.simulation import prf_lookup, simulation
from scipy.ndimage import binary_dilation

FIELD = {
    **{"N_Frames": 8, "Coverage": 6, "Array_Size": 72, "N_Stars": 60},
    **{"Offset_Rms": 0, "Hits_Per_Second": 0, "Brightest_Flux": 3000},
}
CAMERA = simulation("I1", array_size=72)
SATURATED = 1 << 13
FATAL = 32520
TRAIL, PEAK = 3, 30.0  # frame; sigma of a frame on the line of the trail
ASTEROID, STEP = 400.0, 5.0  # sigma of a frame: sum of its pixels; arcsec that it moves from frame to frame
PLACE = 150.0, 2.0  # deg, of the asteroid halfway
STAR, FLUX = (150.003, 2.004), 20.0  # deg; sum of its pixels over the level of saturation
TRAIL_TOLERANCE = (
    0.97  # share of the mosaic on the trail that is within 3 sigma of what it is without the trail
)
ASTEROID_TOLERANCE = (
    0.08  # of the light that it leaves without rejection; the wings stay, where they are faint
)
REJECTED_TOLERANCE = 0.03  # of the usable pixels within 4 pixels of saturated ones


def source(image, place, amplitude):
    """Light of a point source in a frame."""
    x, y = sky_to_pixel(frame_wcs(fits.getheader(image)), *(np.array([at]) for at in place))
    return moving_source((72, 72), (x, y), amplitude, prf_lookup(CAMERA))


def intruders(image, number, sigma):
    """Light of the satellite and of the asteroid in a frame."""
    at = PLACE[0] + (number - 3.5) * STEP / 3600, PLACE[1]
    added = source(image, at, ASTEROID * sigma)
    return added + trail((72, 72), (5, 60), (66, 11), peak=PEAK * sigma) if number == TRAIL else added


def saturate(images, masks):
    """Put a star that saturates into the frames and their masks."""
    for image, path in zip(images, masks, strict=True):
        data, header = fits.getdata(image, header=True)
        mask, mask_header = fits.getdata(path, header=True)
        data = data + source(image, STAR, FLUX * CAMERA.saturation)
        mask[data > CAMERA.saturation] |= SATURATED
        fits.writeto(image, np.minimum(data, CAMERA.saturation).astype("f4"), header, overwrite=True)
        fits.writeto(path, mask, mask_header, overwrite=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory, mopex):
    """Mosaics: of the frames as simulated, and of the spoilt ones with and without a search for outliers."""
    folder = tmp_path_factory.mktemp("scene")
    words = [f"{key}={value}" for key, value in FIELD.items()]
    status, log = mopex("simulate", f"OUTPUT_DIR={folder}/sim", *words)
    assert status == 0, log
    names = [(folder / "sim" / f"{kind}.txt").read_text().split() for kind in ("images", "sigmas", "masks")]
    images, sigmas, masks = names
    saturate(images, masks)
    sigma = float(np.nanmedian(fits.getdata(sigmas[0])))
    (folder / "spoilt").mkdir()
    for number, image in enumerate(images):
        data, header = fits.getdata(image, header=True)
        spoilt = (data + intruders(image, number, sigma)).astype("f4")
        fits.writeto(folder / "spoilt" / os.path.basename(image), spoilt, header)
    lists = {"clean": images, "spoilt": [str(folder / "spoilt" / os.path.basename(name)) for name in images]}
    off = [f"USE_{kind}OUTLIER_FOR_RMASK=0" for kind in ("", "DUAL_", "BOX_")]
    with contextlib.chdir(folder):
        assert mopex("new", "mosaic", "I1")[0] == 0
        for name, words in (("clean", ()), ("spoilt", ()), ("kept", off)):
            (folder / f"{name}.txt").write_text("\n".join(lists.get(name, lists["spoilt"])) + "\n")
            common = ("-I", f"{name}.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-O", name, *words)
            status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *common, "do_multiprocess=off")
            assert status == 0, log

    def read(name, part=""):
        return fits.getdata(folder / name / f"Combine-mosaic/mosaic{part}.fits").astype(float)

    grid = read_fif(str(folder / "clean/mosaic_fif.tbl"))
    return SimpleNamespace(folder=folder, read=read, sigma=sigma, images=images, masks=masks, grid=grid)


def on_mosaic(scene, number, place):
    """Places of a frame on the mosaic, rounded."""
    sky = frame_wcs(fits.getheader(scene.images[number])).all_pix2world(place[0], place[1], 0)
    return [np.rint(at).astype(int) for at in scene.grid.wcs().all_world2pix(*sky, 0)]


def test_a_satellite_leaves_no_trail(scene):
    along = np.linspace(0, 1, 300)
    x, y = on_mosaic(scene, TRAIL, (5 + 61 * along, 60 - 49 * along))
    depth = scene.read("clean", "_cov")[y, x]
    noise = scene.sigma / np.sqrt(np.maximum(depth, 1))
    left = np.abs(scene.read("spoilt") - scene.read("clean"))[y, x] / noise
    seen = (depth > 2.5) & np.isfinite(left)
    assert seen.sum() > 150
    assert (left[seen] < 3).mean() > TRAIL_TOLERANCE
    kept = np.abs(scene.read("kept") - scene.read("clean"))[y, x] / noise
    assert (kept[seen] < 3).mean() < 0.1


def test_an_asteroid_leaves_nothing_at_its_places_in_the_sky(scene):
    spoilt, kept, clean = (np.nan_to_num(scene.read(name)) for name in ("spoilt", "kept", "clean"))
    depth = np.nan_to_num(scene.read("clean", "_cov"))
    places = total = left = 0.0
    for number in range(8):
        place = PLACE[0] + (number - 3.5) * STEP / 3600, PLACE[1]
        x, y = (int(np.rint(at)) for at in scene.grid.wcs().all_world2pix(*place, 0))
        dark = clean[y, x] < 2 * np.median(
            clean
        )  # on a star that is much brighter than it, it cannot be told
        if depth[y, x] > 2.5 and dark:
            box = np.s_[y - 3 : y + 4, x - 3 : x + 4]
            places += 1
            total += (kept - clean)[box].sum()
            left += (spoilt - clean)[box].sum()
    assert places > 4
    assert total > 50 * scene.sigma
    assert abs(left) < ASTEROID_TOLERANCE * total


def test_a_saturated_star_keeps_what_is_not_saturated(scene):
    lost = beside = 0
    for image, path in zip(scene.images, scene.masks, strict=True):
        mask = fits.getdata(path)
        name = os.path.basename(image).replace(".fits", "_rmask.fits")
        rejected = fits.getdata(scene.folder / "clean/Rmask-mosaic" / name) > 0
        near = binary_dilation(mask & SATURATED > 0, np.ones((9, 9))) & (mask & FATAL == 0)
        beside += near.sum()
        lost += (near & rejected).sum()
    assert beside > 300
    assert lost <= REJECTED_TOLERANCE * beside
    x, y = (int(np.rint(at)) for at in scene.grid.wcs().all_world2pix(*STAR, 0))
    assert np.isnan(scene.read("clean")[y, x])  # saturated in every frame: no data, and no false value
    ring = scene.read("clean")[y - 12 : y + 13, x - 12 : x + 13]
    assert np.isfinite(ring[0]).all()
