"""`mopex make_prf`: the same PRF in any sampling, its map, and the kernel for detection."""

import shutil

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.prfmap import read_prf_map

TOLERANCE = 0.005  # image pixel: how well the PRF is centred


@pytest.fixture(scope="module")
def coarse(simulated, tmp_path_factory):
    """A folder with five of the PRFs that are sampled five times."""
    folder = tmp_path_factory.mktemp("prfs_x5")
    names = sorted(path.name for path in (simulated / "prfs_x5").iterdir())
    for name in (names[0], names[4], names[12], names[20], names[24]):
        shutil.copy(simulated / "prfs_x5" / name, folder)
    return folder


@pytest.fixture(scope="module", params=[(4, "spline"), (10, "spline"), (10, "linear"), (20, "linear")])
def made(request, coarse, mopex, tmp_path_factory):
    """Output directory, and samples per pixel."""
    magnification, method = request.param
    folder = tmp_path_factory.mktemp("prf")
    size = (f"Magnification={magnification}", f"Magnification_Method={method}", "Array_Size=96")
    status, log = mopex("make_prf", f"Input_Dir={coarse}", f"OUTPUT_DIR={folder}", *size)
    assert status == 0, log
    return folder, 5 * magnification


def images(made):
    folder, sampling = made
    paths = sorted(folder.glob(f"apex_sh_IRAC1_col*_x{sampling}.fits"))
    assert len(paths) == 5
    return [fits.getdata(path).astype("f8") for path in paths]


def test_size_and_border(made):
    sampling = made[1]
    for image in images(made):
        assert image.shape == (128 * sampling // 5 - 1,) * 2
        border = sampling // 2  # half a pixel, 2.5 samples of the input
        assert not image[:border].any()
        assert not image[:, -border:].any()
        assert image[border + 1].any()


def test_centre_does_not_depend_on_the_sampling(made):
    sampling = made[1]
    for image in images(made):
        reach = int(10.3 * sampling)
        middle = image.shape[0] // 2
        part = image[middle - reach : middle + reach + 1, middle - reach : middle + reach + 1]
        at = np.arange(-reach, reach + 1) / sampling
        for axis in (0, 1):
            assert abs(part.sum(axis=axis) @ at / part.sum()) < TOLERANCE


def test_sampling_of_the_header(made):
    folder, sampling = made
    for path in folder.glob("apex_sh_*.fits"):
        header = fits.getheader(path)
        assert (header["PRFXRSMP"], header["PRFYRSMP"]) == (sampling, sampling)


def test_map_covers_the_array(made):
    table = read_prf_map(str(made[0] / "prfmap.tbl"))
    assert len(table.files) == 5
    covered = np.zeros((96, 96), int)
    for x, y, nx, ny in table.regions:
        covered[y - 1 : y - 1 + ny, x - 1 : x - 1 + nx] += 1
    assert covered.max() == 1
    assert covered[0, 0] == covered[48, 48] == covered[95, 95] == 1


def test_kernel_is_a_centred_peak(made):
    kernel = fits.getdata(made[0] / "IRAC1_mosaic_detect_kernel.fits").astype("f8")
    middle = kernel.shape[0] // 2
    assert np.unravel_index(kernel.argmax(), kernel.shape) == (middle, middle)
    np.testing.assert_allclose(kernel, kernel[::-1, ::-1], atol=0.02 * kernel.max())
