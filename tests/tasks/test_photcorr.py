"""`mopex photcorr`: corrected fluxes of extraction tables."""

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit import sheets
from pymopex.kit.ipac import read_table

WARM = ("Instrument=I1", "Mission=warm")


@pytest.fixture(scope="module")
def copy(field, tmp_path_factory):
    return field.copy(tmp_path_factory.mktemp("photcorr") / "work")


@pytest.fixture
def out(copy, monkeypatch):
    """A copy of the products of the field, uncorrected; its parent is the working directory."""
    monkeypatch.chdir(copy)
    (copy / "out" / "photcorr.tbl").unlink(missing_ok=True)
    return copy / "out"


def correct(mopex, *words, status=0):
    found, log = mopex("photcorr", "out/apex_I1.nl", "do_multiprocess=off", *words)
    assert found == status, log
    return log if status else read_table("out/photcorr.tbl")


def test_legacy_columns_are_untouched_and_the_factors_multiply(out, mopex):
    table = correct(mopex, *WARM, "Colour_Correction=blackbody", "Temperature=5000", "Pixel_Phase=gaussians")
    before = read_table("out/extract.tbl")
    assert list(table.columns)[: len(before.columns)] == list(before.columns)
    for name, values in before.columns.items():
        np.testing.assert_array_equal(table.column(name), values)
        assert table.units[name] == before.units[name]
    assert before.keywords.items() <= table.keywords.items()
    factors = [table.column(f"{name}_corr") for name in ("prf", "array", "phase", "colour")]
    np.testing.assert_allclose(factors[0], 1 / 1.021, atol=1e-6)
    np.testing.assert_allclose(factors[3], 1 / 1.0063, atol=1e-6)
    total = np.prod(factors, axis=0)
    np.testing.assert_allclose(table.column("flux_corr"), before.column("flux") * total, rtol=4e-6)
    np.testing.assert_allclose(
        table.column("delta_flux_corr"), before.column("delta_flux") * total, rtol=1e-5
    )
    mag = -2.5 * np.log10(table.column("flux_corr") / 280.9e6)
    np.testing.assert_allclose(table.column("mag"), mag, atol=1e-5)
    assert table.keywords["CORR_CAMERA"] == ("char", "I1 warm")
    assert "table C.1" in table.keywords["CORR_PRF_CORR"][1]
    assert "1/1.0063 for blackbody 5000" in table.keywords["CORR_COLOUR_CORR"][1]
    assert "gaussians I1 warm, mean over" in table.keywords["CORR_PHASE_CORR"][1]


def test_mosaic_and_frames_give_the_same_array_location_correction(out, mopex):
    one = correct(mopex, *WARM, "Array_Correction=mosaic")
    assert "mosaic_arraycorr.fits, blue" in one.keywords["CORR_ARRAY_CORR"][1]
    two = correct(mopex, *WARM, "Array_Correction=frames", "ARRAY_CORR_IMAGE=corr.fits")
    assert "corr.fits, mean over" in two.keywords["CORR_ARRAY_CORR"][1]
    a, b = one.column("array_corr"), two.column("array_corr")
    assert np.nanstd(a) > 0.005  # the correction image varies by 14 % over the array
    assert np.nanmedian(np.abs(a - b)) < 0.002  # frames rejected at some pixels, borders of the frames
    assert np.nanstd(a - b) < np.nanstd(a) / 2


def test_mean_over_the_frames_by_hand(out, mopex, simulated):
    from pymopex.geometry import frame_wcs
    from pymopex.projection import pixel_solid_angle

    table = correct(mopex, *WARM, "Array_Correction=frames", "ARRAY_CORR_IMAGE=corr.fits")
    image = fits.getdata("corr.fits").astype("f8")
    row = int(np.argmax(table.column("flux")))
    ra, dec = (table.column(name)[row] for name in ("RA", "Dec"))
    values, area = [], None
    for name in (simulated / "images.txt").read_text().split():
        wcs = frame_wcs(fits.getheader(name))
        if area is None:
            y, x = np.mgrid[:96, :96]
            area = pixel_solid_angle(wcs, x.ravel(), y.ravel()).reshape(96, 96)
        x, y = (float(v) for v in wcs.all_world2pix(ra, dec, 0))
        if 4 <= x <= 91 and 4 <= y <= 91:
            values.append(image[round(y), round(x)] * area[round(y), round(x)] / area[48, 48])
    assert len(values) >= 2
    assert table.column("array_corr")[row] == pytest.approx(np.mean(values), abs=0.0015)  # nearest pixel


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (("Source_Colour=red",), 0),
        (("Source_Colour=index", "Spectral_Index=1"), 0.5),
        (("Source_Colour=index", "Spectral_Index=2"), 1),
    ],
)
def test_colour_of_the_sources_scales_the_array_location_correction(out, mopex, words, part):
    whole = correct(mopex, *WARM, "Array_Correction=mosaic").column("array_corr")
    found = correct(mopex, *WARM, "Array_Correction=mosaic", *words).column("array_corr")
    np.testing.assert_allclose(found, 1 + part * (whole - 1), atol=1e-6)


def test_apertures(out, mopex):
    table = correct(mopex, *WARM, "Aperture_Correction=1", "Aperture_Correction_3=1.05")
    for number, factor in ((1, 1.2026), (2, 1.1132), (3, 1.05)):
        np.testing.assert_allclose(table.column(f"ap_corr{number}"), factor, atol=1e-6)
        total = factor * table.column("array_corr")
        np.testing.assert_allclose(
            table.column(f"aperture{number}_corr"), table.column(f"aperture{number}") * total, rtol=4e-6
        )
        np.testing.assert_allclose(
            table.column(f"ap_unc{number}_corr"), table.column(f"ap_unc{number}") * total, rtol=1e-5
        )
    assert "1.1132 for 6 pixels" in table.keywords["CORR_AP_CORR2"][1]
    assert table.keywords["CORR_AP_CORR3"][1] == "1.05 given"


def test_magnitudes_of_the_apertures_are_declared(out, mopex):
    table = correct(mopex, *WARM)
    assert table.units["ap_mag2"] == "mag"
    assert "delta_ap_mag3" in table.columns
    assert "mag" not in correct(mopex, *WARM, "Magnitudes=0").columns


def test_response_curve(out, mopex):
    w = np.linspace(3.1, 4.0, 50)
    lines = "".join(f"{a:.4f} {1 if 3.2 < a < 3.9 else 0}\n" for a in w)
    (out.parent / "response.txt").write_text(f"# wavelength response\n\n{lines}")
    words = ("Colour_Correction=power_law", "Spectral_Index=2", "Response_Curve=response.txt")
    table = correct(mopex, *WARM, *words)
    assert table.column("colour_corr")[0] == pytest.approx(1 / 1.011, abs=0.01)
    assert "from response.txt" in table.keywords["CORR_COLOUR_CORR"][1]


def test_the_camera_is_told_from_the_first_frame(out, mopex):
    table = correct(mopex, "Array_Correction=none")
    assert table.keywords["CORR_CAMERA"][1] in ("I1 warm", "I1 cryo")
    assert table.keywords["CORR_ARRAY_CORR"][1] == "none"
    assert (table.column("array_corr") == 1).all()


def test_mips_needs_no_prf_factor_and_has_no_array_location(out, mopex):
    table = correct(mopex, "Instrument=M1")
    assert (table.column("prf_corr") == 1).all()
    assert table.keywords["CORR_PRF_CORR"][1] == "1: table C.1 is of IRAC"
    assert table.column("mag")[0] == pytest.approx(
        -2.5 * np.log10(table.column("flux")[0] / 7.17e6), abs=1e-4
    )


def test_surface_brightness(out, mopex):
    words = ("Input_Table=out/detect.tbl", "Array_Correction=none", *WARM)
    assert "flux is in MJy/sr; PHOTCORR.Pixel_Size is needed" in correct(mopex, *words, status=2)
    table = correct(mopex, *words, "Pixel_Size=0.6", "PRF_Correction=0")
    np.testing.assert_allclose(table.column("flux_corr"), table.column("flux") * 8.4616, rtol=1e-4)
    assert table.keywords["CORR_UNIT"][1].startswith("8.46159 uJy/(MJy/sr)")


def test_sources_off_the_mosaic_are_null(out, mopex):
    text = (out / "extract.tbl").read_text().splitlines()
    table = read_table("out/extract.tbl")
    x = f"{table.column('x')[0]:.6f}"
    first = next(i for i, line in enumerate(text) if not line.startswith(("\\", "|")))
    text[first] = text[first].replace(x, f"{-99:.6f}".rjust(len(x))[: len(x)])
    (out / "moved.tbl").write_text("\n".join(text) + "\n")
    found = correct(mopex, *WARM, "Input_Table=out/moved.tbl", "Array_Correction=mosaic")
    assert np.isnan(found.column("flux_corr")[0])
    assert np.isfinite(found.column("flux_corr")[1:]).sum() > 0.9 * len(found)


def test_corrected_frames_are_not_corrected_again(out, mopex, simulated, tmp_path):
    names = (simulated / "images.txt").read_text().split()
    data, header = fits.getdata(names[0], header=True)
    header["ARRAYLOC"] = True
    fits.writeto(tmp_path / "first.fits", data, header)
    (tmp_path / "images.txt").write_text("\n".join([f"{tmp_path}/first.fits", *names[1:]]) + "\n")
    words = (*WARM, f"IMAGE_STACK_FILE_NAME={tmp_path}/images.txt")
    table = correct(mopex, *words)
    assert (table.column("array_corr") == 1).all()
    assert table.keywords["CORR_ARRAY_CORR"][1] == "1: the frames have it"
    log = correct(mopex, *words, "Array_Correction=mosaic", status=2)
    assert "the frames have the correction already (ARRAYLOC in their headers); take none or auto" in log


@pytest.mark.parametrize(
    ("words", "error"),
    [
        (("Colour_Correction=blackbody",), "PHOTCORR.Colour_Correction = blackbody: needs Temperature"),
        (("Colour_Correction=power_law",), "needs Spectral_Index"),
        (("Colour_Correction=blackbody", "Temperature=100"), "below the table, which begins at 200 K"),
        (("Colour_Correction=power_law", "Spectral_Index=3"), "outside the table, -2 to 2"),
        (("Source_Colour=index",), "PHOTCORR.Source_Colour = index: needs Spectral_Index"),
        (("Pixel_Phase=radial",), "radial: is of the cryogenic mission"),
        (("Response_Curve=none.txt",), "none.txt: No such file or directory (Response_Curve)"),
        (("Array_Correction=frames",), "ARRAY_CORR_IMAGE: no array-location correction image is given"),
        (("Array_Correction=mosaic", "Array_Corr_Mosaic=gone.fits"), "gone.fits: no such file"),
        (
            ("Instrument=M1", "Array_Correction=mosaic"),
            "there is no array-location correction of M1; take none",
        ),
        (("Instrument=M2", "Pixel_Phase=gaussians"), "there is no pixel-phase correction of M2"),
        (("Instrument=M1", "Colour_Correction=power_law", "Spectral_Index=0"), "no colour corrections of M1"),
        (("Aperture_Correction=1", "APERTURE.Aperture_Radius_1=5"), "give the factor"),
        (("Input_Table=gone.tbl",), "gone.tbl"),
        (("Instrument=I5",), "I5"),
    ],
)
def test_bad_input_is_refused(out, mopex, words, error):
    given = words if words[0].startswith("Instrument") else (*WARM, *words)
    log = correct(mopex, *given, "ARRAY_CORR_IMAGE=", status=2)
    assert error in log
    assert "Traceback" not in log
    assert not (out / "photcorr.tbl").exists()


def test_a_line_of_the_response_that_is_none(out, mopex):
    (out.parent / "response.txt").write_text("3.1 0.1\nlambda R\n")
    log = correct(mopex, *WARM, "Response_Curve=response.txt", status=2)
    assert "response.txt:2: lambda R: no wavelength [um] and response" in log


def test_a_corrected_table_is_not_corrected_again(out, mopex):
    correct(mopex, *WARM)
    log = correct(mopex, *WARM, "Input_Table=out/photcorr.tbl", status=2)
    assert "has array_corr, phase_corr" in log
    assert "it is corrected" in log


def test_the_driver_runs_it_when_it_is_switched_on(out, mopex):
    assert "run_photcorr = 0" in (out.parent / "apex_I1.nl").read_text()
    off = [
        f"{sheets.sheet(task).triggers[0]}=0" for task in sheets.pipeline_tasks("apex") if task != "photcorr"
    ]
    words = (*off, "run_photcorr=1", "do_multiprocess=off", "-O", "out")
    words = (*words, "Array_Correction=none", "PHOTCORR.Instrument=I1", "Mission=warm")
    status, log = mopex("drive", "apex", "-n", "out/apex_I1.nl", *words)
    assert status == 0, log
    assert len(read_table("out/photcorr.tbl")) == len(read_table("out/extract.tbl"))
