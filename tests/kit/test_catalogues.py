"""Catalogues in other formats, and the table of light curves."""

import numpy as np
import pytest
from astropy.io import fits
from astropy.io.votable import parse
from astropy.table import Table
from pymopex.columns import FRAMES, LIGHTCURVE, extract_columns
from pymopex.kit import measurements
from pymopex.kit.catalogues import (
    FORMATS,
    Catalogue,
    astropy_table,
    read_light_curve,
    regions,
    words,
    write_catalogue,
)
from pymopex.kit.errors import InputError
from pymopex.kit.ipac import read_table
from pymopex.kit.measurements import add_selected, column_name

tables = pytest.importorskip("tables")

NAMES = ("srcid", "RA", "Dec", "flux", "chi2/dof", "status", "deblend")
WIDTH_TOLERANCE = 0.15  # of the unit width of the pulls


@pytest.fixture
def catalogue():
    spec = [column for column in extract_columns(True) if column.name in NAMES]
    values = {
        "srcid": np.array([1, 2, 3]),
        "RA": np.array([150.0, 150.1, np.nan]),
        "Dec": np.array([2.0, 2.1, 2.2]),
        "flux": np.array([1.5, np.nan, 3.0]),
        "chi2/dof": np.array([1.0, 2.0, 3.0]),
        "status": np.array([1, 2, 0]),
        "deblend": np.array(["N", "PA", "N"]),
    }
    return Catalogue(spec, values, {"Conversion": 8.46, "Made": "today"}, ["Output from somewhere", "A = 1"])


def test_words():
    assert words("FITS, ecsv reg,,fits") == ["fits", "ecsv", "reg"]
    assert words("") == []
    with pytest.raises(ValueError, match="csv: not among fits, ecsv"):
        words("fits,csv")


def test_formats_hold_values_units_meanings_and_facts(catalogue, tmp_path):
    for form in ("fits", "ecsv", "votable"):
        path = str(tmp_path / f"a.{form}")
        write_catalogue(path, form, catalogue)
        keys = {"use_names_over_ids": True} if form == "votable" else {}
        found = Table.read(path, format={"ecsv": "ascii.ecsv"}.get(form, form), **keys)
        assert found.colnames == list(NAMES)
        for name in NAMES:
            column = np.ma.filled(found[name], np.nan) if found[name].dtype.kind == "f" else found[name]
            text = [t.decode() if isinstance(t, bytes) else t for t in column.tolist()]
            np.testing.assert_array_equal(text, catalogue.values[name])
        assert str(found["flux"].unit) == "uJy"
        assert str(found["RA"].unit) == "deg"
    header = fits.getheader(tmp_path / "a.fits", 1)
    assert header["CONVERSION"] == 8.46
    assert list(header["HISTORY"]) == list(catalogue.provenance)
    assert header.comments["TTYPE4"] == "fitted flux"
    ecsv = Table.read(tmp_path / "a.ecsv", format="ascii.ecsv")
    assert ecsv.meta["Conversion"] == 8.46
    assert ecsv["flux"].description == "fitted flux"
    tree = parse(str(tmp_path / "a.votable"))
    first = tree.get_first_table()
    assert [p.value for p in first.params] == [8.46, "today"]
    assert [f.name for f in first.fields] == list(NAMES)
    assert first.fields[3].description == "fitted flux"
    assert "A = 1" in tree.description


def test_regions(catalogue, tmp_path):
    write_catalogue(str(tmp_path / "a.reg"), "reg", catalogue)
    lines = (tmp_path / "a.reg").read_text().splitlines()
    assert lines[0] == "# Region file format: DS9 version 4.1"
    assert "fk5" in lines
    assert [line for line in lines if line.startswith("circle")] == [
        'circle(150.0000000,2.0000000,3") # color=green text={1}',
        'circle(150.1000000,2.1000000,3") # color=yellow text={2}',
    ]
    without = Catalogue(catalogue.columns[:1], {"srcid": np.array([1])})
    with pytest.raises(InputError, match="needs the columns RA and Dec"):
        regions(without)


@pytest.mark.parametrize("form", [*FORMATS, "h5"])
def test_failure_leaves_the_old_file(form, catalogue, tmp_path):
    path = tmp_path / "a"
    if form == "h5":
        add_selected(str(path), catalogue)
    else:
        write_catalogue(str(path), form, catalogue)
    before = path.read_bytes()
    spoiled = Catalogue(catalogue.columns, catalogue.values | {"flux": None, "RA": None}, {})
    with pytest.raises((TypeError, ValueError, KeyError, NotImplementedError)):
        add_selected(str(path), spoiled) if form == "h5" else write_catalogue(str(path), form, spoiled)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_table_of_astropy_without_rows(catalogue):
    empty = Catalogue(catalogue.columns, {name: np.asarray(v)[:0] for name, v in catalogue.values.items()})
    assert len(astropy_table(empty)) == 0


def test_measurements_of_the_field(field):
    raw = read_table(str(field.out / "extract_raw.tbl"))
    with tables.open_file(field.out / "extract.h5") as file:
        root = file.root
        names = [
            column_name(name) for name in raw.columns if not name.startswith(("aperture", "bad_", "ap_"))
        ]
        assert root.catalogue.colnames == names
        np.testing.assert_array_equal(root.catalogue.col("srcid"), raw.column("srcid"))
        np.testing.assert_allclose(root.catalogue.col("flux"), raw.column("flux"), rtol=1e-8)
        assert root.catalogue.attrs[f"FIELD_{names.index('flux')}_UNIT"] == "uJy"
        assert "fitted flux" in root.catalogue.attrs[f"FIELD_{names.index('flux')}_MEANING"]
        assert root.frames.colnames == [column.name for column in FRAMES]
        assert root.frames.nrows == 12
        assert (root.frames.col("exptime") > 0).all()
        assert root.lightcurve.colnames == [column.name for column in LIGHTCURVE]
        assert root.lightcurve.cols.srcid.is_indexed
        assert root.lightcurve.cols.frame.is_indexed
        assert root.lightcurve.will_query_use_indexing("srcid == 5")
        assert str(root.parameters._v_attrs.Fitting_Area_X) == "7"
        assert "sourcestimate" in str(root._v_attrs.program)
        frame = root.lightcurve.read_where("frame == 3")
        assert len(frame) == len(root.lightcurve.get_where_list("frame == 3")) > 0
        assert (frame["mjd"] == root.frames[2]["mjd"]).all()
        counts = np.bincount(root.lightcurve.col("srcid"), minlength=len(raw) + 1)[1:]
        assert (counts <= raw.column("n_frames")).all()
        rows = root.lightcurve[:]
        assert (np.lexsort((rows["frame"], rows["srcid"])) == np.arange(len(rows))).all()
        assert (counts == raw.column("n_frames")).mean() > 0.95
    assert not list(field.out.glob(".*"))


def test_light_curves_of_constant_stars(field):
    """Stars of the simulation do not vary: fluxes scatter by their uncertainties round that of all frames."""
    path = str(field.out / "extract.h5")
    with tables.open_file(path) as file:
        good = file.root.catalogue.read_where("(status == 1) & (n_frames >= 4) & (flux > 30 * delta_flux)")
    pulls, shifts = [], []
    for row in good:
        curve = read_light_curve(path, row["srcid"])
        assert (curve["srcid"] == row["srcid"]).all()
        assert (np.diff(curve["frame"]) > 0).all()
        share = np.sqrt(1 - 1 / len(curve))  # the mean is of the same frames
        pulls += list((curve["flux"] - row["flux"]) / curve["delta_flux"] / share)
        shifts += [*(curve["dx"] / curve["delta_dx"] / share), *(curve["dy"] / curve["delta_dy"] / share)]
    assert len(pulls) > 100
    for found in (pulls, shifts):
        low, middle, high = np.percentile(found, [16, 50, 84])
        assert abs(middle) < 0.25
        assert (high - low) / 2 == pytest.approx(1, abs=WIDTH_TOLERANCE)
    assert str(curve["flux"].unit) == "uJy"
    assert "this frame" in curve["flux"].description


def test_light_curve_of_no_source(field, tmp_path):
    assert len(read_light_curve(str(field.out / "extract.h5"), 10**6)) == 0
    with pytest.raises(InputError, match="holds no light curves"):
        read_light_curve(str(tmp_path / "none.h5"), 1)


def test_select_writes_further_formats(field, tmp_path, mopex, monkeypatch):
    monkeypatch.chdir(field.copy(tmp_path / "copy"))
    status, log = mopex(
        "select",
        "out/apex_I1.nl",
        "Catalogue_Formats=fits,ecsv,votable,reg,h5",
        "select_conditions=SNR > 100",
    )
    assert status == 0, log
    assert "WARNING" not in log
    expected = read_table("out/extract.tbl")
    assert 0 < len(expected) < len(read_table("out/extract_raw.tbl"))
    for name, form in (("fits", "fits"), ("ecsv", "ascii.ecsv"), ("vot", "votable")):
        found = Table.read(f"out/extract.{name}", format=form)
        np.testing.assert_array_equal(found["flux"], expected.column("flux"))
        assert "aperture1" in found.colnames
    with open("out/extract.reg", encoding="utf-8") as file:
        assert sum(line.startswith("circle") for line in file) == len(expected)
    with tables.open_file("out/extract.h5") as file:
        np.testing.assert_array_equal(file.root.selected.col("flux"), expected.column("flux"))
        assert file.root.selected.attrs.Conversion == pytest.approx(8.46, rel=0.01)
        assert file.root.lightcurve.nrows > 0
    status, log = mopex("select", "out/apex_I1.nl", "Catalogue_Formats=fits,xls")
    assert status == 2
    assert "Catalogue_Formats = xls: not among fits, ecsv, votable, reg, h5" in log


def test_measurements_are_the_same_each_time_and_none_on_request(field, tmp_path, mopex, monkeypatch):
    monkeypatch.chdir(field.copy(tmp_path / "copy"))
    made = []
    for mode in ("off", "on"):
        status, log = mopex("sourcestimate", "out/apex_I1.nl", f"do_multiprocess={mode}")
        assert status == 0, log
        with tables.open_file("out/extract.h5") as file:
            made.append([file.root[name][:].tobytes() for name in ("catalogue", "frames", "lightcurve")])
        monkeypatch.setattr(measurements, "_ROWS", 70)  # the second time in steps
    assert made[0] == made[1]
    (tmp_path / "copy/out/extract.h5").unlink()
    assert mopex("sourcestimate", "out/apex_I1.nl", "Write_HDF5=0")[0] == 0
    assert not (tmp_path / "copy/out/extract.h5").exists()
