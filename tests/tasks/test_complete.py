"""Complete: artificial stars through the flow again, and what is said of bad input."""

import contextlib
import hashlib

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.artificial import StarJob, add_stars, namelist_of
from pymopex.kit.errors import InputError
from pymopex.kit.images import FrameFiles, Stamp, read_image
from pymopex.kit.ipac import read_table
from pymopex.kit.namelist import read as read_namelist

BRIGHT = 400.0  # uJy, about 200 sigma
FLUX_TOLERANCE = 0.02  # of the flux of the bright artificial stars, median
PLACE_TOLERANCE = 0.03  # arcsec, median
WORDS = ("Fluxes=8,400", "N_Stars=14", "N_Runs=1", "Min_Separation=7", "Least_Coverage=3", "Seed=3")


def sums(folder):
    """Checksums of all files of a folder."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def done(field, tmp_path_factory, mopex):
    """A copy of the flow with the products of complete; its folder, the log, and the checksums before."""
    work = field.copy(tmp_path_factory.mktemp("complete") / "work")
    before = sums(work / "out")
    with contextlib.chdir(work):
        status, log = mopex("complete", "out", *WORDS)
    assert status == 0, log
    return work, log, before


def test_bright_stars_are_found_and_measured_and_faint_ones_less_often(done):
    work, log, _ = done
    table = read_table(str(work / "out/completeness.tbl"))
    by = np.asarray(table.column("by"), str)
    faint, bright = (
        np.flatnonzero((by == "flux") & (table.column("low") == flux))[0] for flux in (8.0, BRIGHT)
    )
    column = lambda name: np.asarray(table.column(name), float)  # noqa: E731
    assert column("n_stars")[[faint, bright]].tolist() == [7, 7]
    assert column("completeness")[bright] >= 6 / 7
    assert (
        column("completeness_low")[bright]
        < column("completeness")[bright]
        <= column("completeness_high")[bright]
    )
    assert column("reliability")[bright] == 1
    assert abs(column("flux_bias")[bright]) < FLUX_TOLERANCE
    stars = read_table(str(work / "out/artificial_stars.tbl"))
    found = (stars.column("found") == 1) & (stars.column("flux") == BRIGHT)
    assert np.median(np.hypot(stars.column("east")[found], stars.column("north")[found])) < PLACE_TOLERANCE
    assert (np.asarray(stars.column("SNR"))[found] > 50).all()
    assert f"run 1: {int(stars.column('found').sum())} of 14 stars found" in log


def test_the_run_stays_as_it_was_and_nothing_temporary_is_left(done):
    work, _, before = done
    after = sums(work / "out")
    new = {"completeness.tbl", "completeness.png", "artificial_stars.tbl"}
    assert set(after) - set(before) == new
    changed = {name for name in before if after[name] != before[name]}
    assert changed <= {"provenance.json"}
    assert list((work / "out").rglob(".*")) == []
    assert (work / "out/completeness.png").read_bytes().startswith(b"\x89PNG")


def test_the_same_seed_gives_the_same_stars(done):
    from pymopex.kit.driver import open_settings
    from pymopex.kit.task import Run
    from pymopex.tasks import complete

    work, _, _ = done
    with contextlib.chdir(work):
        run = Run(open_settings("out/apex_I1.nl", dict(word.split("=") for word in WORDS), task="complete"))
        run.task = "complete"
        ra, dec, flux = complete._stars(run, np.random.default_rng(3))
        run.pool.close()
    stars = read_table(str(work / "out/artificial_stars.tbl"))
    for values, name in ((ra, "RA"), (dec, "Dec"), (flux, "flux")):
        np.testing.assert_allclose(stars.column(name), values, atol=1e-7)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((), "COMPLETE.Fluxes is not given"),
        (("Fluxes=abc",), "Fluxes = abc: positive numbers are needed"),
        (("Fluxes=5,-1",), "positive numbers are needed"),
        (("Faintest_Flux=9", "Brightest_Flux=3"), "Brightest_Flux = 3 must be above Faintest_Flux = 9"),
        (("Faintest_Flux=9",), "give it, or both Faintest_Flux and Brightest_Flux"),
        (("Fluxes=9", "Mosaic_Namelist=nowhere.nl"), "Mosaic_Namelist = nowhere.nl: no such file"),
        (("Fluxes=9", "N_Stars=0"), "N_Stars = 0"),
        (("Fluxes=9", "N_Stars=900", "Min_Separation=60"), "of 900 stars; take a smaller COMPLETE.N_Stars"),
    ],
)
def test_bad_input_is_named(done, mopex, words, message):
    work, _, _ = done
    with contextlib.chdir(work):
        status, log = mopex("complete", "out/apex_I1.nl", *words)
    assert status == 2, log
    assert message in log
    assert list((work / "out").rglob(".*")) == []


def test_another_namelist_and_an_unfinished_run_are_named(done, mopex, tmp_path):
    work, _, _ = done
    with contextlib.chdir(work):
        status, log = mopex("complete", "out/mosaic_I1.nl", "Fluxes=9")
        assert (status, "namelist of mosaic; that of the finished run of apex is needed" in log) == (2, True)
        status, log = mopex("complete", "out/apex_I1.nl", "Fluxes=9", f"OUTPUT_DIR={tmp_path}")
        assert status == 2
        assert "extract.tbl: missing; complete needs a finished run" in log
        status, log = mopex("complete", str(tmp_path), "Fluxes=9")
        assert (status, "holds no namelist of apex" in log) == (2, True)
    (tmp_path / "apex_a.nl").write_text("#\n")
    (tmp_path / "apex_b.nl").write_text("#\n")
    with pytest.raises(InputError, match="holds 2 namelists of apex"):
        namelist_of(str(tmp_path), "apex")


@pytest.fixture
def star_job(done, tmp_path):
    """Makes the job that puts one star of 1e4 uJy into the first frame of the run."""
    from pymopex.kit.artificial import star_job as make
    from pymopex.kit.driver import open_settings
    from pymopex.kit.task import Run

    work, _, _ = done
    with contextlib.chdir(work):
        run = Run(open_settings("out/apex_I1.nl", {}, task="complete"))
        run.task = "sourcestimate"
        files = run.frames()[0]
        here = FrameFiles(0, *(str(work / name) if name else "" for name in (files.image, files.sigma)))
        fit = make(run, np.array([0.0]), np.array([0.0]), np.array([1e4]), str(work / "out/prf_table.npz"))
        run.pool.close()
    from astropy.wcs import WCS

    header = read_image(here.image)[1]
    sky = WCS(header).pixel_to_world(48.3, 40.6)
    fit.ra[0], fit.dec[0] = sky.ra.deg, sky.dec.deg

    def put(seed, gain=0.0):
        job = StarJob(
            fit, here, str(tmp_path / "i.fits"), str(tmp_path / "s.fits"), gain, seed, Stamp("complete")
        )
        add_stars(job)
        return [read_image(path, dtype="f8")[0] for path in (here.image, here.sigma, job.image, job.sigma)]

    return put, here


def test_light_that_is_put_in_is_the_flux_and_noise_is_that_of_its_photons(star_job):
    from pymopex.geometry import frame_wcs, pixel_solid_angle
    from pymopex.units import ujy_per_mjysr

    put, here = star_job
    image, sigma, plain, same = put(None)
    light = np.nan_to_num(plain - image)
    wcs = frame_wcs(read_image(here.image)[1])
    per_pixel = float(ujy_per_mjysr(pixel_solid_angle(wcs, np.array([48.3]), np.array([40.6])))[0])
    put_in = light[31:51, 38:59].sum() * per_pixel  # 10 pixels hold all but the far wings
    assert put_in == pytest.approx(1e4, rel=0.03)
    np.testing.assert_array_equal(same, sigma)
    _, _, noisy, larger = put((1, 1, 0), gain=2000.0)
    bright = light > 0.03  # more than 60 electrons
    pull = (noisy - plain)[bright] / np.sqrt(light[bright] / 2000)
    assert pull.std() == pytest.approx(1, abs=0.35)
    np.testing.assert_allclose(larger[bright] ** 2, sigma[bright] ** 2 + light[bright] / 2000, rtol=1e-4)
    np.testing.assert_array_equal(put((1, 1, 0), gain=2000.0)[2], noisy)


def test_a_header_without_gain_is_named(star_job, tmp_path):
    put, here = star_job
    data, header = read_image(here.image)
    del header["FLUXCONV"]
    path = tmp_path / "frame.fits"
    fits.writeto(path, data, header)
    object.__setattr__(here, "image", str(path))
    with pytest.raises(InputError, match=r"no FLUXCONV.*COMPLETE.Gain"):
        put((1, 1, 0))


def test_namelists_of_the_run_are_told_apart(done):
    work, _, _ = done
    assert namelist_of(str(work / "out"), "mosaic").endswith("mosaic_I1.nl")
    assert namelist_of(str(work / "out"), "apex").endswith("apex_I1.nl")
    assert read_namelist(namelist_of(str(work / "out"), "apex"))
