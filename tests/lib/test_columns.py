from types import SimpleNamespace

import pytest
from pymopex import columns
from pymopex.columns import Column

LEGACY = [
    *(
        "srcid",
        "detid",
        "N_PS",
        "RA",
        "delta_RA",
        "Dec",
        "delta_Dec",
        "delta_RAD",
        "x",
        "delta_x",
        "y",
        "delta_y",
    ),
    *(
        "delta_xy",
        "flux",
        "delta_flux",
        "chi2/dof",
        "ps_chi2/dof",
        "status",
        "SNR",
        "FitX",
        "FitY",
        "n_frames",
        "deblend",
    ),
]


def table(**columns_):
    types = {name: kind for name, (kind, _) in columns_.items()}
    return SimpleNamespace(types=types, units={name: unit for name, (_, unit) in columns_.items()})


def every_column():
    return [column for group in columns.declared().values() for column in group]


@pytest.mark.parametrize("column", every_column(), ids=lambda column: column.name)
def test_every_column_has_a_meaning_and_a_format(column):
    assert column.meaning
    assert " " not in column.name
    example = {"int": 12, "double": 1.5, "char": "N"}[column.type]
    assert f"%{column.format}" % example


def test_names_are_unique_in_a_table():
    for group in columns.declared().values():
        names = [column.name.casefold() for column in group]
        assert len(set(names)) == len(names)


def test_extract_columns_in_the_legacy_order():
    assert [column.name for column in columns.extract_columns(False)] == LEGACY
    names = [column.name for column in columns.extract_columns(True)]
    assert names == LEGACY[:15] + ["bckgrnd"] + LEGACY[15:]
    assert (LEGACY.index("SNR"), LEGACY.index("deblend")) == (18, 22)


def test_aperture_columns_by_kind():
    names = [column.name for column in columns.aperture_columns(2)]
    assert names == ["aperture1", "aperture2", "bad_pix1", "bad_pix2", "ap_unc1", "ap_unc2"]
    assert columns.aperture_columns(0) == []


def test_by_name_finds_the_declaration():
    of = table(RA=("double", "deg"), flux=("double", "uJy"), fitx=("int", ""), aperture12=("double", "uJy"))
    assert columns.by_name("RA", of) == next(c for c in columns.extract_columns(False) if c.name == "RA")
    assert columns.by_name("flux", of).unit == "uJy"
    assert columns.by_name("fitx", of).meaning == columns.by_name("FitX", of).meaning
    assert columns.by_name("aperture12", of).meaning == "flux in aperture 12"
    assert columns.by_name("FitX", table()).type == "int"


def test_by_name_keeps_the_spelling_and_the_unit():
    column = columns.by_name("ra", table(ra=("double", "rad")))
    assert (column.name, column.unit) == ("ra", "rad")
    assert columns.by_name("flux", table(flux=("double", "MJy/sr"))) == columns.DETECT[3]


@pytest.mark.parametrize("kind, form", [("int", "d"), ("double", "r"), ("char", "s")])
def test_by_name_makes_up_what_is_not_declared(kind, form):
    column = columns.by_name("other", table(other=(kind, "m")))
    assert column == Column("other", kind, "m", form, "other of the input table")


def test_by_name_does_not_take_text_for_a_number():
    assert columns.by_name("flux", table(flux=("char", ""))).type == "char"
