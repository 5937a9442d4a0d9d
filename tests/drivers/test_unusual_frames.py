"""Overlap and Mosaic on unusual frames: other cameras, headers, units and grids, missing companions."""

import contextlib
import math
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.kit.fif import read_fif
from pymopex.kit.ipac import read_table

TILES = Path(__file__).parents[3] / "shared" / "data" / "twomass_m17_west"
PIXEL = 1.22 / 3600  # deg, of the frames
OFFSET_TOLERANCE = 0.002  # MJy/sr, a tenth of the rms of the offsets; four frames of 96 pixels
POSITION_TOLERANCE = 0.1  # arcsec, of the brightest star, a twelfth of a pixel of the frames
IMAGES = ("-I", "images.txt", "-O", "out")
LISTS = (*IMAGES, "-S", "sigmas.txt", "-d", "masks.txt")
SHORT = tuple(f"run_{name} = 1" for name in ("fiducial_image_frame", "mosaic_interp"))
SHORT += ("run_mosaic_coadder = 1", "run_mosaic_combiner = 1")


def names(kind="images"):
    return [Path(name) for name in Path(f"{kind}.txt").read_text().split()]


def rewrite(kind, change):
    """Change the header (and the pixels, in place) of each image of a list."""
    for name in names(kind):
        with fits.open(name) as hdus:
            data, header = hdus[0].data.astype("f4"), hdus[0].header.copy()
        change(data, header)
        fits.writeto(name, data, header, overwrite=True)


def flow(mopex, *words):
    """Run Overlap and Mosaic with the shipped namelists; gives the log."""
    status, log = mopex("flow", *words, "overlap_I1.nl", "mosaic_I1.nl")
    assert status == 0, log
    assert log.splitlines()[-1] == "flow terminated normally"
    return log


def mosaic(part=""):
    return fits.getdata(f"out/Combine-mosaic/mosaic{part}.fits")


def offsets():
    return read_table("out/Overlap_corr/offsets.tbl").column("offset")


def short(mopex, *words, block=()):
    """Average the frames without a search for outliers; gives the mosaic and its header."""
    lines = (*SHORT, "DCE_Status_Mask_Fatal_BitPattern = 32520", "&FIDUCIALIMAGEFRAMEIN", *block, "&END")
    Path("short_mosaic.nl").write_text("\n".join(lines) + "\n")
    status, log = mopex("drive", "mosaic", "-n", "short_mosaic.nl", *LISTS, *words)
    assert status == 0, log
    return fits.getdata("out/Combine-mosaic/mosaic.fits", header=True)


@pytest.fixture
def truth(simulated, few):
    """The brightest unsaturated star that all four frames hold, and the offsets of the frames."""
    table = read_table(str(simulated / "truth/sources.tbl"))
    columns = {name: table.column(name) for name in ("ra", "dec", "flux", "saturated")}
    inside = columns["saturated"] == 0
    for name in names():
        x, y = WCS(fits.getheader(name)).all_world2pix(columns["ra"], columns["dec"], 0, quiet=True)
        inside &= (x > 6) & (x < 89) & (y > 6) & (y < 89)
    best = np.flatnonzero(inside)[np.argmax(columns["flux"][inside])]
    true = read_table(str(simulated / "truth/offsets.tbl")).column("offset")[:4]
    return SkyCoord(columns["ra"][best], columns["dec"][best], unit="deg"), true


def distance(image, header, star):
    """Arcseconds between a star, in the coordinates of an image, and the peak near it on the image."""
    x, y = (float(value) for value in WCS(header).all_world2pix(*degrees(star), 0))
    size = max(3, round(2.5 / (abs(header["CDELT1"]) * 3600)))
    column, row = round(x), round(y)
    for _ in range(5):
        rows, columns = np.mgrid[row - size : row + size + 1, column - size : column + size + 1]
        part = image[rows, columns]
        part = np.clip(part - np.median(part), 0, None)
        column, row = (round(float((part * axis).sum() / part.sum())) for axis in (columns, rows))
    apart = (part * columns).sum() / part.sum() - x, (part * rows).sum() / part.sum() - y
    return math.hypot(*apart) * header["CDELT2"] * 3600


def degrees(star):
    """Longitude and latitude of a star, in its own system."""
    return star.spherical.lon.deg, star.spherical.lat.deg


def plain(header):
    """Take the distortion out of a header."""
    for key in list(header):
        if key[:2] in ("A_", "B_", "AP", "BP"):
            del header[key]
    for key in ("CTYPE1", "CTYPE2"):
        header[key] = header[key].replace("-SIP", "")


# ---- headers


def without_cd(data, header):
    """Write the CD matrix as CDELT and CROTA2."""
    plain(header)
    turn = math.atan2(-header["CD1_2"], header["CD2_2"])
    for key, value in (
        ("CDELT1", header["CD1_1"] / math.cos(turn)),
        ("CDELT2", header["CD2_2"] / math.cos(turn)),
        ("CROTA2", math.degrees(turn)),
    ):
        header[key] = value
    for key in ("CD1_1", "CD1_2", "CD2_1", "CD2_2"):
        del header[key]


def test_cdelt_and_crota2_in_place_of_a_cd_matrix(few, mopex):
    """The same frames, written both ways, give the same mosaic."""
    rewrite("images", lambda data, header: plain(header))
    before, header = short(mopex)
    rewrite("images", without_cd)
    assert "CD1_1" not in fits.getheader(names()[0])
    after, again = short(mopex)
    assert after.shape == before.shape
    assert again["CROTA2"] == pytest.approx(header["CROTA2"], abs=1e-3)
    assert np.nanmedian(np.abs(after - before)) < 1e-4
    flow(mopex, *LISTS)
    assert np.isfinite(mosaic()[mosaic("_cov") > 0]).all()


@pytest.mark.parametrize("code", ["SIN", "ZEA"])
def test_frames_of_another_projection(truth, mopex, code):
    """Over an arcminute the projections are the same; the names in CTYPE and what reads them are not."""
    before, _ = short(mopex)

    def change(data, header):
        for key in ("CTYPE1", "CTYPE2"):
            header[key] = header[key].replace("TAN", code)

    rewrite("images", change)
    after, header = short(mopex)
    assert after.shape == before.shape
    assert np.nanmedian(np.abs(after - before)) < 1e-3
    assert distance(after, header, truth[0]) < POSITION_TOLERANCE


def test_sin_frames_in_overlap_and_mosaic(truth, mopex):
    rewrite("images", lambda data, header: header.update(CTYPE1="RA---SIN-SIP", CTYPE2="DEC--SIN-SIP"))
    flow(mopex, *LISTS)
    assert (offsets() + truth[1]).std() < OFFSET_TOLERANCE


# ---- companions


def test_no_uncertainties_and_no_masks(truth, mopex):
    flow(mopex, *IMAGES)
    assert (offsets() + truth[1]).std() < OFFSET_TOLERANCE
    assert not Path("out/Combine-mosaic/mosaic_unc.fits").exists()
    assert Path("out/Combine-mosaic/mosaic_std.fits").exists()
    image, header = fits.getdata("out/Combine-mosaic/mosaic.fits", header=True)
    assert distance(image, header, truth[0]) < POSITION_TOLERANCE


def test_uncertainties_that_are_not_to_be_used(few, mopex):
    short(mopex, "have_uncertainties=0")
    assert not Path("out/Combine-mosaic/mosaic_unc.fits").exists()


# ---- units


@pytest.mark.parametrize("unit", ["DN", None])
def test_counts(truth, mopex, unit):
    """An unknown unit is counts: a mosaic pixel gets the counts of its part of the frame's pixels."""
    size = ("MOSAIC_PIXEL_RATIO_X=2", "MOSAIC_PIXEL_RATIO_Y=2")
    surface, _ = short(mopex, *size)

    def change(data, header):
        if unit is None:
            del header["BUNIT"]
        else:
            header["BUNIT"] = unit

    rewrite("images", change)
    counts, _ = short(mopex, *size)
    ratio = np.nanmedian(counts / surface)
    assert ratio == pytest.approx(1 / 4, rel=0.01)
    bright = np.nan_to_num(surface) > np.nanpercentile(surface, 99)
    assert np.abs(counts[bright] / surface[bright] * 4 - 1).max() < 0.05


def test_counts_in_overlap_and_mosaic(truth, mopex):
    rewrite("images", lambda data, header: header.update(BUNIT="DN"))
    flow(mopex, *LISTS)
    image, header = fits.getdata("out/Combine-mosaic/mosaic.fits", header=True)
    assert distance(image, header, truth[0]) < POSITION_TOLERANCE
    assert (offsets() + truth[1]).std() < OFFSET_TOLERANCE  # in counts of the frames, not of the mosaic


@pytest.mark.parametrize("unit", ["MJy/sr", "MJY SR-1", "MJy / sr", "microJy/arcsec^2", "uJy/arcsec**2"])
def test_spellings_of_surface_brightness(unit):
    from pymopex.kit.interpolate import is_surface_brightness

    assert is_surface_brightness(unit)
    assert not is_surface_brightness(unit.replace("Jy", "xy").replace("JY", "xy"))


# ---- grids


@pytest.mark.parametrize("code", ["TAN", "SIN", "ZEA", "ARC", "STG", "AIT", "CAR", "MOL", "SFL"])
def test_projections_of_the_mosaic(truth, mopex, code):
    image, header = short(mopex, block=(f"Projection_Type = {code}",))
    assert header["CTYPE1"] == f"RA---{code}"
    assert distance(image, header, truth[0]) < POSITION_TOLERANCE
    assert np.isfinite(image).mean() > 0.4
    table = Path("out/mosaic_fif.tbl").read_text()
    assert f"PROJTYPE = '{code}'" in table
    assert "CRVAL1" in table


def test_a_projection_that_does_not_exist(few, mopex):
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, "Projection_Type=TNA")
    assert status == 2
    assert "FIDUCIALIMAGEFRAMEIN: Projection_Type TNA cannot be used" in log
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("system", "axes", "frame"),
    [
        ("J2000", ("RA--", "DEC-"), "icrs"),
        ("Galactic", ("GLON", "GLAT"), "galactic"),
        ("Ecliptic", ("ELON", "ELAT"), "barycentricmeanecliptic"),
    ],
)
def test_coordinate_systems(truth, mopex, system, axes, frame):
    image, header = short(mopex, block=(f"Coordinate_System = {system}", "CROTA2 = 0"))
    assert (header["CTYPE1"][:4], header["CTYPE2"][:4]) == axes
    assert header["CROTA2"] == 0
    there = truth[0].transform_to(frame)
    x, y = WCS(header).all_world2pix(*degrees(there), 0)
    assert 0 < x < header["NAXIS1"]
    assert 0 < y < header["NAXIS2"]
    above = WCS(header).all_pix2world(x, y + 10, 0)  # up is north of this system
    assert above[1] > degrees(there)[1]
    assert above[0] == pytest.approx(degrees(there)[0], abs=2e-4)
    assert distance(image, header, there) < POSITION_TOLERANCE


@pytest.mark.parametrize("angle", ["0", "30", "-75.5", "180"])
def test_orientation_of_the_mosaic(truth, mopex, angle):
    image, header = short(mopex, block=(f"CROTA2 = {angle}",))
    assert abs(header["CROTA2"]) == pytest.approx(abs(float(angle)), abs=1e-6)
    assert distance(image, header, truth[0]) < POSITION_TOLERANCE


def test_mean_orientation_makes_the_smallest_mosaic(few, mopex):
    sizes = {}
    for angle in ("A", "0", "45"):
        image, _ = short(mopex, block=(f"CROTA2 = {angle}",))
        sizes[angle] = image.size
    assert sizes["A"] < sizes["0"] < 1.3 * sizes["45"]


@pytest.mark.parametrize("ratio", [0.5, 1, 3])
def test_pixel_ratio(truth, mopex, ratio):
    image, header = short(mopex, f"MOSAIC_PIXEL_RATIO_X={ratio}", f"MOSAIC_PIXEL_RATIO_Y={ratio}")
    assert -header["CDELT1"] == pytest.approx(PIXEL / ratio, rel=0.003)
    fiducial = read_fif("out/FIF.tbl")
    assert header["CDELT2"] == pytest.approx(fiducial.cdelt2 / ratio, rel=1e-9)
    assert image.shape[0] == pytest.approx(fiducial.naxis2 * ratio, abs=3)
    if ratio >= 1:
        assert distance(image, header, truth[0]) < POSITION_TOLERANCE


# ---- other cameras


@pytest.fixture(scope="module")
def mips(mopex, tmp_path_factory):
    """Eight small frames of MIPS 24 through Overlap and Mosaic."""
    folder = tmp_path_factory.mktemp("mips")
    with contextlib.chdir(folder):
        field = ("Instrument=M1", "Array_Size=64", "N_Frames=8", "Coverage=4", "N_Stars=60", "Gradient=0")
        status, log = mopex("simulate", "OUTPUT_DIR=sim", *field, "Offset_Rms=0.3", "Flag_Hits=0", "Seed=2")
        assert status == 0, log
        assert mopex("new", "overlap", "I1")[0] == mopex("new", "mosaic", "I1")[0] == 0
        size = ("MOSAIC_PIXEL_SIZE_X=-3.4028E-4", "MOSAIC_PIXEL_SIZE_Y=3.4028E-4")
        lists = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-O", "out")
        flow(mopex, *lists, *size)
    return folder


def test_mips_frames(mips):
    found = read_table(str(mips / "out/Overlap_corr/offsets.tbl")).column("offset")
    true = read_table(str(mips / "sim/truth/offsets.tbl")).column("offset")
    assert true.std() > 0.1
    assert (found + true).std() < 0.1 * true.std()
    image = fits.getdata(mips / "out/Combine-mosaic/mosaic.fits")
    covg = fits.getdata(mips / "out/Combine-mosaic/mosaic_cov.fits")
    assert np.isfinite(image[covg > 0]).all()
    assert np.nanmedian(image) == pytest.approx(25, rel=0.02)  # MJy/sr, the sky of the simulation


def test_oblong_pixels_become_square(mips):
    header = fits.getheader(mips / "out/Combine-mosaic/mosaic.fits")
    assert -header["CDELT1"] == header["CDELT2"] == pytest.approx(3.4028e-4)
    frame = fits.getheader(mips / (mips / "sim/images.txt").read_text().split()[0])
    assert frame["PXSCAL2"] / abs(frame["PXSCAL1"]) == pytest.approx(2.60 / 2.49, rel=1e-3)


def _difference(tiles, pair):
    """Mean difference of two tiles where they overlap, without stars, and the number of pixels."""
    (first, header), (second, other) = (fits.getdata(tiles[i], header=True) for i in pair)
    y, x = np.mgrid[: first.shape[0], : first.shape[1]]
    px, py = np.rint(WCS(other).all_world2pix(*WCS(header).all_pix2world(x, y, 0), 0)).astype(int)
    inside = (px >= 0) & (px < second.shape[1]) & (py >= 0) & (py < second.shape[0])
    values = (first[inside] - second[py[inside], px[inside]]).astype("f8")
    values = values[np.isfinite(values)]
    for _ in range(10):
        values = values[np.abs(values - values.mean()) <= 3 * values.std()]
    return values.mean(), len(values)


@pytest.mark.shared
@pytest.mark.skipif(not TILES.is_dir(), reason="the real frames (../shared/data) are not here")
def test_2mass_tiles(few, mopex):
    """SIN, CDELT and CROTA2, compressed, counts, nebulosity, no companions; skies of 637 to 648 counts."""
    tiles = sorted(TILES.glob("*.fits.gz"))
    Path("images.txt").write_text("".join(f"{path}\n" for path in tiles))
    size = ("MOSAIC_PIXEL_SIZE_X=-5.5556E-4", "MOSAIC_PIXEL_SIZE_Y=5.5556E-4")
    flow(mopex, *IMAGES, *size)
    base = tiles[0].name.removesuffix(".fits.gz")
    assert Path(f"out/Overlap_corr/correct_{base}.fits").is_file()
    table = read_table("out/Overlap_corr/offsets.tbl")
    assert len(set(table.column("group"))) == 1
    pairs, added = ((0, 1), (0, 2), (0, 3), (1, 2), (2, 3)), offsets()
    steps, weights = np.transpose([_difference(tiles, pair) for pair in pairs])
    left = steps + [added[i] - added[j] for i, j in pairs]
    before, after = (np.sqrt(np.average(step**2, weights=weights)) for step in (steps, left))
    assert after < 0.6 * before  # the skies have slopes: no constants make all pairs agree
    image, covg = mosaic(), mosaic("_cov")
    assert np.isfinite(image[covg > 0]).all()
    assert np.nanmedian(image) == pytest.approx(
        4 * np.median([np.nanmedian(fits.getdata(p)) for p in tiles]), rel=0.02
    )
