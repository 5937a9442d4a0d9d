"""S/N Estimator by its command line, and the modules behind it that use its images."""

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import namelist
from pymopex.kit.parameters import Settings

ON = ("have_uncertainties=0", "compute_uncertainties_internally=1")
LEGACY = "Sky_Scatter=0"


def lists(folder):
    return ("-I", f"{folder}/images.txt", "-d", f"{folder}/masks.txt")


def spoil(path, key, value):
    with fits.open(path, mode="update") as hdus:
        if value is None:
            del hdus[0].header[key]
        else:
            hdus[0].header[key] = value


def test_gain_and_noise_of_the_namelist(few, mopex):
    words = ("Gain=100", "Read_Noise=9", "Confusion_Sigma=12", LEGACY, *ON)
    status, log = mopex("sn_estimator", "mosaic_I1.nl", *lists("."), "-O", "out", *words)
    assert status == 0, log
    assert "4 frames, 100 electrons per image unit" in log
    names = (few / "images.txt").read_text().split()
    listed = (few / "out/Sigma-mosaic/SigmaList.txt").read_text().split()
    assert [name.rsplit("/", 1)[1] for name in listed] == [
        name.rsplit("/", 1)[1].replace(".fits", "_sigma.fits") for name in names
    ]
    for name, sigma in zip(names, listed, strict=True):
        image = fits.getdata(name).astype("f8")
        wanted = np.sqrt((81 + 144) / 1e4 + np.clip(image, 0, None) / 100)
        np.testing.assert_allclose(fits.getdata(sigma), wanted, rtol=1e-5)
        assert np.array_equal(np.isnan(fits.getdata(sigma)), np.isnan(image))


def test_gain_and_noise_of_the_headers(few, mopex):
    for i, name in enumerate((few / "images.txt").read_text().split()):
        spoil(name, "EXPTIME", 10.0 + i)
    status, log = mopex("sn_estimator", "mosaic_I1.nl", *lists("."), "-O", "out", *ON, LEGACY)
    assert status == 0, log
    for i, name in enumerate((few / "images.txt").read_text().split()):
        header = fits.getheader(name)
        gain = (10 + i) * header["GAIN"] / header["FLUXCONV"]
        base = name.rsplit("/", 1)[1].removesuffix(".fits")
        sigma, made = fits.getdata(few / f"out/Sigma-mosaic/{base}_sigma.fits", header=True)
        assert made["GAIN_IU"] == pytest.approx(gain)
        assert made["RDNOISE"] == header["RONOISE"]
        dark = np.nanmin(sigma)
        assert dark >= header["RONOISE"] / gain * (1 - 1e-6)


@pytest.mark.parametrize(
    ("key", "value", "error"),
    [
        ("GAIN", None, "no GAIN in the header; give SNESTIMATORIN.Gain"),
        ("FLUXCONV", "high", "no number for FLUXCONV in the header; give SNESTIMATORIN.Gain"),
        ("EXPTIME", 0.0, "EXPTIME = 0.0 must be above 0"),
        ("RONOISE", None, "no RONOISE in the header; give SNESTIMATORIN.Read_Noise"),
        ("RONOISE", -1.0, "RONOISE = -1.0 must not be negative"),
    ],
)
def test_headers_that_do_not_tell(few, mopex, key, value, error):
    name = (few / "images.txt").read_text().split()[2]
    spoil(name, key, value)
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *lists("."), "-O", "out", *ON)
    assert status == 2
    assert log.splitlines() == [f"Error: {name}: {error}"]
    assert not (few / "out").exists()


def take_off(folder, level):
    """Subtract a constant from the frames."""
    for name in (folder / "images.txt").read_text().split():
        with fits.open(name, mode="update") as hdus:
            hdus[0].data = (hdus[0].data - level).astype("f4")


def skies(folder, out):
    """Uncertainties of the sky of the frames, over the true ones."""
    made = (folder / out / "Sigma-mosaic/SigmaList.txt").read_text().split()
    true = (folder / "sigmas.txt").read_text().split()
    return [
        np.nanmedian(fits.getdata(a)) / np.nanmedian(fits.getdata(b)) for a, b in zip(made, true, strict=True)
    ]


@pytest.mark.parametrize("text", ["0.12", "ZODY_EST", "SKYDRKZB + ZODY_EST"])
def test_photons_of_a_subtracted_background(few, mopex, text):
    """The simulated sky of IRAC 1 is 0.12 MJy/sr, and ZODY_EST tells so."""
    words = ("sn_estimator", "mosaic_I1.nl", *lists("."), *ON, LEGACY)
    assert mopex(*words, "-O", "whole")[0] == 0
    whole = skies(few, "whole")
    take_off(few, 0.12)
    status, log = mopex(*words, "-O", "without")
    assert status == 0
    assert "the sky of 4 frames scatters 1.3" in log
    assert max(skies(few, "without")) < 0.85
    status, log = mopex(*words, "-O", "told", f"Subtracted_Background={text}")
    assert status == 0, log
    assert "scatters" not in log
    np.testing.assert_allclose(skies(few, "told"), whole, rtol=1e-3)
    sigma = (few / "told/Sigma-mosaic/SigmaList.txt").read_text().split()[0]
    assert fits.getheader(sigma)["SUBBACK"] == pytest.approx(0.12)


def test_uncertainties_raised_to_the_scatter_of_the_sky(few, mopex):
    take_off(few, 0.12)
    words = ("sn_estimator", "mosaic_I1.nl", *lists("."), *ON)
    status, log = mopex(*words, "-O", "raised")
    assert status == 0, log
    assert "uncertainties of 4 frames raised to the scatter of their sky: 1.3" in log
    np.testing.assert_allclose(skies(few, "raised"), 1, atol=0.05)
    header = fits.getheader((few / "raised/Sigma-mosaic/SigmaList.txt").read_text().split()[0])
    assert header["SKYADDED"] < header["SKYSCAT"]


@pytest.mark.parametrize("text", ["-1", "nan", "ZODY_EST+", "zodiacal light", "LONGER_THAN_8"])
def test_impossible_backgrounds(few, mopex, text):
    words = ("sn_estimator", "mosaic_I1.nl", *lists("."), *ON, f"Subtracted_Background={text}")
    status, log = mopex(*words, "-O", "out")
    assert status == 2
    assert f"SNESTIMATORIN.Subtracted_Background = {text}: a number from 0, or keywords of the headers" in log
    assert not (few / "out").exists()


def test_keywords_that_headers_lack(few, mopex):
    words = (
        "sn_estimator",
        "mosaic_I1.nl",
        *lists("."),
        *ON,
        "Gain=9",
        "Read_Noise=9",
        "Subtracted_Background=NO_SKY",
    )
    status, log = mopex(*words, "-O", "out")
    assert status == 2
    assert log.count("no NO_SKY in the header; give SNESTIMATORIN.Subtracted_Background") == 4


def test_wrong_values_are_named_with_their_line(few, mopex):
    text = (few / "mosaic_I1.nl").read_text().replace(" Gain = 0,", " Gain = -5,")
    (few / "mosaic_I1.nl").write_text(text)
    line = 1 + text.splitlines().index(next(one for one in text.splitlines() if "Gain = -5" in one))
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *lists("."), "-O", "out", *ON)
    assert status == 2
    assert f"Error: mosaic_I1.nl:{line}: SNESTIMATORIN.Gain = -5: too small; allowed: a number from 0" in log


def switched(text):
    settings = Settings(namelist.parse(text, "a.nl"), "mosaic")
    return settings.triggered("sn_estimator"), settings.warnings


def test_given_uncertainties_overrule():
    on = "compute_uncertainties_internally = 1\n"
    assert switched("") == (False, [])
    assert switched(on) == (True, [])
    assert switched(on + "have_uncertainties = 0\nSIGMALIST_FILE_NAME = s.txt\n") == (True, [])
    told = "a.nl:1: compute_uncertainties_internally is ignored: "
    assert switched(on + "have_uncertainties = 1\n") == (False, [f"{told}have_uncertainties = 1"])
    assert switched(on + "SIGMALIST_FILE_NAME = s.txt\n") == (False, [f"{told}SIGMALIST_FILE_NAME = s.txt"])
    assert switched("have_uncertainties = 1\ncompute_uncertainties_internally = 0\n") == (False, [])


@pytest.fixture(scope="module")
def flown(few_frames, mopex, tmp_path_factory):
    """Overlap and Mosaic with uncertainties computed by the first."""
    folder = few_frames(tmp_path_factory.mktemp("sigmas"))
    import contextlib

    with contextlib.chdir(folder):
        words = (*lists("."), "-O", "out", *ON, "sigma_weighted_coadd=1", "overlap_I1.nl", "mosaic_I1.nl")
        status, log = mopex("flow", *words)
    assert status == 0, log
    return folder, log


def test_later_modules_use_the_uncertainties(flown):
    folder, _ = flown
    out = folder / "out"
    base = (folder / "images.txt").read_text().split()[0].rsplit("/", 1)[1].removesuffix(".fits")
    assert (out / f"Interp-overlap/interp_unc_{base}_sigma.fits").is_file()
    assert (out / f"Interp-mosaic/interp_unc_{base}_sigma.fits").is_file()
    cov = fits.getdata(out / "Combine-mosaic/mosaic_cov.fits")
    unc = fits.getdata(out / "Combine-mosaic/mosaic_unc.fits")
    sigma = fits.getdata(out / f"Sigma-overlap/{base}_sigma.fits")
    full = cov > 3.9
    assert np.median(unc[full] * np.sqrt(cov[full])) == pytest.approx(np.nanmedian(sigma), rel=0.2)


def test_a_flow_computes_them_once_from_the_frames_as_they_are(flown):
    folder, log = flown
    assert log.count("mopex sn_estimator") == 1
    assert "ignored" not in log
    assert not (folder / "out/Sigma-mosaic").exists()


def test_no_uncertainties_at_all(few, mopex):
    words = ("have_uncertainties=0", "sigma_weighted_coadd=1")
    status, log = mopex("drive", "mosaic", "-n", "mosaic_I1.nl", *lists("."), "-O", "out", *words)
    assert status == 2
    assert "sigma_weighted_coadd = 1: no uncertainties are given" in log
