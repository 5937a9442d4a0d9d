"""APEX and APEX QA as their own drivers, without Mosaic before them."""

import numpy as np
import pytest
from astropy.io import fits
from pymopex.frame_errors import frame_factors
from pymopex.kit.catalogues import read_light_curve
from pymopex.kit.ipac import read_table

FLUX = 0.02  # relative, median of the bright stars: no outlier mask here, the fit itself drops the hits


@pytest.fixture
def alone(field, mopex, tmp_path, monkeypatch):
    """A folder with the products of APEX on a mosaic of its own; gives the words that name its inputs."""
    work = field.copy(tmp_path / "work")
    monkeypatch.chdir(work)
    words = [*field.flags, "-O", "alone", "-m", "prf/prfmap.tbl"]
    sampling = ("PRF_ResampleX_Factor=20", "PRF_ResampleY_Factor=20", "Normalization_Radius=200")
    fit = [f"SOURCESTIMATE.{key}" for key in sampling]
    status, log = mopex("drive", "apex", "-n", "apex_I1.nl", *words, "-P", _kernel(work), *fit)
    assert status == 0, log
    return work, words, [f"POINTSOURCEIMAGE.{key}" for key in sampling]


def _kernel(work):
    return str(next((work / "prf").glob("*_mosaic_detect_kernel.fits")).relative_to(work))


def test_apex_makes_its_own_mosaic(alone, field):
    work, _, _ = alone
    for name in (
        "FIF.tbl",
        "mosaic_fif.tbl",
        "Combine-apex/mosaic.fits",
        "Coadd-apex/coadd_tiles.tbl",
        "detect.tbl",
    ):
        assert (work / "alone" / name).is_file(), name
    found, true = read_table("alone/extract.tbl"), read_table(str(field.sim / "truth" / "sources.tbl"))
    usable = (true.column("saturated") == 0) & (true.column("n_frames") > 2)
    bright = np.flatnonzero((true.column("flux") > 100) & usable)
    ratios = []
    for i in bright:
        apart = np.hypot(
            (found.column("RA") - true.column("ra")[i]) * np.cos(np.radians(true.column("dec")[i])),
            found.column("Dec") - true.column("dec")[i],
        )
        if apart.min() < 0.5 / 3600:
            ratios.append(found.column("flux")[apart.argmin()] / true.column("flux")[i])
    assert len(ratios) > 0.8 * len(bright)
    assert np.median(ratios) == pytest.approx(1, abs=FLUX)


def test_qa_with_a_namelist_of_its_own_for_the_mosaic(alone, mopex):
    work, words, sampling = alone
    status, log = mopex(
        "drive",
        "apex_qa",
        "-n",
        "apex_qa_I1.nl",
        "-u",
        "mosaic_I1.nl",
        *words,
        "-E",
        "alone/extract.tbl",
        *sampling,
    )
    assert status == 0, log
    top = work / "alone" / "Residual" / "mosaic"
    residual = fits.getdata(top / "Combine-mosaic" / "mosaic.fits")
    mosaic = fits.getdata(work / "alone" / "Combine-apex" / "mosaic.fits")
    seen = fits.getdata(work / "alone" / "Combine-apex" / "mosaic_cov.fits") > 2  # Detect searches no others
    assert np.nanmax(residual[seen]) < 0.2 * np.nanmax(mosaic)
    assert len(list((top / "Rmask-mosaic").glob("*_rmask.fits"))) == 12
    assert "mosaic_rmask" in log


def test_uncertainties_from_the_scatter_of_the_frames(field, mopex, tmp_path, monkeypatch):
    """Frame_Errors multiplies those of the fit by what the rows of extract.h5 tell."""
    monkeypatch.chdir(field.copy(tmp_path / "work"))
    tables = []
    for keys in ((), ("Frame_Errors=1",)):
        status, log = mopex("sourcestimate", "out/apex_I1.nl", "Detect_Residual=0", "Fit_Passes=1", *keys)
        assert status == 0, log
        tables.append(read_table("out/extract_raw.tbl"))
    plain, scattered = tables
    np.testing.assert_allclose(scattered.column("flux"), plain.column("flux"))
    told = 0
    for i, number in enumerate(plain.column("srcid")):
        curve = read_light_curve("out/extract.h5", int(number))
        if plain.column("status")[i] == 0 or len(curve) < 3:
            continue
        shifts = [
            np.column_stack([curve[f"{kind}{axis}"] for axis in ("dx", "dy")]) for kind in ("", "delta_")
        ]
        position, light = frame_factors((curve["flux"], curve["delta_flux"]), tuple(shifts), 1.0)
        for name, factor in (("delta_flux", light), ("delta_RA", position), ("delta_Dec", position)):
            wanted = np.sqrt(factor) * plain.column(name)[i]
            assert scattered.column(name)[i] == pytest.approx(wanted, rel=5e-3, abs=1e-9), (number, name)
        told += abs(light - 1) > 0.1
    assert told > 5


def test_fluxes_without_the_bias_of_a_free_position(field, mopex, tmp_path, monkeypatch):
    """Unbiased_Flux takes variance / flux off sources alone, and the SNR follows; single frames stay as they are."""
    monkeypatch.chdir(field.copy(tmp_path / "work"))
    tables, curves = {}, {}
    keys = ("Detect_Residual=0", "Fit_Passes=1", "Angular_Distance=0")
    for name, more in (
        ("plain", ("Unbiased_Flux=0",)),
        ("unbiased", ("Unbiased_Flux=1",)),
        ("wider", ("Unbiased_Flux=1", "Frame_Errors=1")),
        ("scaled", ("Unbiased_Flux=1", "Scale_Errors=1")),
        ("fixed", ("Unbiased_Flux=1", "Fixed_Positions=1")),
        ("fixed plain", ("Unbiased_Flux=0", "Fixed_Positions=1")),
    ):
        status, log = mopex("sourcestimate", "out/apex_I1.nl", *keys, *more)
        assert status == 0, log
        tables[name] = read_table("out/extract_raw.tbl")
        curves[name] = read_light_curve("out/extract.h5", int(tables[name].column("srcid")[0]))["flux"]

    def column(table, name):
        return np.asarray(tables[table].column(name), float)

    flux, error = column("plain", "flux"), column("plain", "delta_flux")
    taken = flux - column("unbiased", "flux")
    use = (column("plain", "status") == 1) & (flux > 4 * error)
    assert use.sum() > 20
    alone = error**2 / flux  # in noise that is the same in all pixels; photons of the star make it less
    assert (np.abs(taken[use]) < 1.5 * alone[use]).all()
    faint = np.argsort(np.where(use, flux / error, np.inf))[:3]
    assert (taken[faint] / alone[faint]).mean() == pytest.approx(1, abs=0.3)
    assert (taken[column("plain", "status") == 0] == 0).all()
    np.testing.assert_array_equal(error, column("unbiased", "delta_flux"))
    np.testing.assert_allclose(
        (column("unbiased", "SNR") / column("plain", "SNR"))[use], 1 - (taken / flux)[use], rtol=1e-4
    )
    np.testing.assert_array_equal(curves["plain"], curves["unbiased"])
    np.testing.assert_array_equal(column("wider", "flux"), column("unbiased", "flux"))
    np.testing.assert_array_equal(column("fixed", "flux"), column("fixed plain", "flux"))
    scaled = (flux - column("scaled", "flux"))[faint] / taken[faint]
    chi = column("plain", "chi2/dof")[faint]
    np.testing.assert_allclose(scaled, chi / np.minimum(chi, 1), rtol=0.1)
