import time
from pathlib import Path

import numpy as np
import pytest
from astropy.io import ascii as astropy_ascii
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex import columns
from pymopex.columns import Column
from pymopex.kit.errors import InputError
from pymopex.kit.ipac import read_table, write_table

SPEC = (
    Column("srcid", "int", "", "d", "a number"),
    Column("RA", "double", "deg", ".9f", "a place"),
    Column("chi2/dof", "double", "", ".6g", "a ratio"),
    Column("deblend", "char", "", "s", "letters"),
)
DATA = {
    "srcid": [1, 22, -3],
    "RA": [274.072341123, 0.1, -1.0],
    "chi2/dof": [1.5, np.nan, 1e-300],
    "deblend": ["N", "AP", ""],
}


def read(tmp_path, text):
    path = tmp_path / "a.tbl"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_table(str(path))


def problem(tmp_path, text):
    with pytest.raises(InputError) as caught:
        read(tmp_path, text)
    return str(caught.value).replace(str(tmp_path), "")


def test_layout(tmp_path):
    path = tmp_path / "a.tbl"
    write_table(
        str(path),
        SPEC[:2] + SPEC[3:],
        DATA,
        keywords=[("real", "Conversion", 8.46)],
        comments=["Output from X"],
    )
    assert path.read_text() == (
        "\\char comment = Output from X\n"
        "\\real Conversion = 8.46\n"
        "|srcid|RA           |deblend|\n"
        "|int  |double       |char   |\n"
        "|     |deg          |       |\n"
        "|null |null         |null   |\n"
        "     1 274.072341123 N      \n"
        "    22   0.100000000 AP     \n"
        "    -3  -1.000000000 null   \n"
    )


def test_round_trip(tmp_path):
    path = str(tmp_path / "a.tbl")
    write_table(path, SPEC, DATA, keywords=[("real", "Conversion", "8.46"), ("char", "who", "me too")])
    table = read_table(path)
    assert list(table.columns) == ["srcid", "RA", "chi2/dof", "deblend"]
    assert table.column("SRCID").tolist() == [1, 22, -3]
    assert table.column("ra").tolist() == DATA["RA"]
    np.testing.assert_array_equal(table.column("chi2/dof"), DATA["chi2/dof"])
    assert table.column("deblend").tolist() == ["N", "AP", "null"]
    assert table.units["RA"] == "deg"
    assert table.types == {"srcid": "int", "RA": "double", "chi2/dof": "double", "deblend": "char"}
    assert table.keywords == {"Conversion": ("real", "8.46"), "who": ("char", "me too")}
    assert len(table) == 3


def test_astropy_reads_it(tmp_path):
    path = str(tmp_path / "a.tbl")
    write_table(path, SPEC, DATA, keywords=[("real", "Conversion", "8.46")], comments=["Output from X"])
    table = astropy_ascii.read(path, format="ipac")
    assert table.colnames == [column.name for column in SPEC]
    assert table["RA"].tolist() == DATA["RA"]
    assert table["chi2/dof"].mask.tolist() == [False, True, False]
    assert str(table["RA"].unit) == "deg"


def test_it_reads_what_astropy_writes(tmp_path):
    from astropy.table import Table

    path = str(tmp_path / "a.tbl")
    given = Table({"ra": [10.5, 20.25], "dec": [-1.0, 2.0], "n": [1, 2], "name": ["one", "two words"]})
    given["ra"].unit = "deg"
    given.write(path, format="ascii.ipac")
    table = read_table(path)
    for name in given.colnames:
        assert table.column(name).tolist() == given[name].tolist()
    assert table.column("n").dtype == np.int64
    assert table.units["ra"] == "deg"


@pytest.mark.parametrize("background", [False, True])
def test_zero_rows(tmp_path, background):
    path = str(tmp_path / "a.tbl")
    spec = columns.extract_columns(background)
    write_table(path, spec, {column.name: [] for column in spec})
    table = read_table(path)
    assert list(table.columns) == [column.name for column in spec]
    assert all(len(values) == 0 for values in table.columns.values())
    assert table.column("srcid").dtype == np.int64
    assert table.column("RA").dtype == np.float64
    assert len(astropy_ascii.read(path, format="ipac")) == 0


def test_writing_what_was_read_changes_nothing(tmp_path):
    first, second = str(tmp_path / "a.tbl"), str(tmp_path / "b.tbl")
    rng = np.random.default_rng(1)
    spec = columns.extract_columns(True) + columns.aperture_columns(2)
    data = {c.name: rng.integers(0, 99, 50) if c.type == "int" else rng.lognormal(0, 5, 50) for c in spec}
    data["deblend"] = ["A"] * 50
    data["flux"][3] = np.inf
    write_table(first, spec, data)
    table = read_table(first)
    write_table(second, [columns.by_name(name, table) for name in table.columns], table.columns)
    assert Path(first).read_bytes() == Path(second).read_bytes()


def test_values_with_blanks_stay_whole(tmp_path):
    path = str(tmp_path / "a.tbl")
    names = ["/my data/a b.fits", "c.fits", "größe.fits"]
    data = {"index": [1, 2, 3], "file": names, "offset": [1.0, np.nan, 3.0], "delta_offset": [0.0] * 3}
    data |= {"group": [1] * 3, "outlier": [0] * 3, "no_overlap": [0] * 3}
    write_table(path, columns.OFFSETS, data)
    table = read_table(path)
    assert table.column("file").tolist() == names
    np.testing.assert_array_equal(table.column("offset"), [1, np.nan, 3])


def test_line_breaks_cannot_break_the_table(tmp_path):
    path = str(tmp_path / "a.tbl")
    write_table(path, SPEC[3:], {"deblend": ["a\nb", "c\td"]}, comments=["one\ntwo"])
    assert read_table(path).column("deblend").tolist() == ["a?b", "c?d"]


def test_user_list_of_the_guide(tmp_path):
    table = read(
        tmp_path,
        "|RA                |Dec               |\n"
        "|double            |double            |\n"
        "274.072341         -2.544706\n274.1 -2.5\n  3.5   4.5\n",
    )
    assert table.column("RA").tolist() == [274.072341, 274.1, 3.5]
    assert table.column("Dec").tolist() == [-2.544706, -2.5, 4.5]


def test_hand_made_variants(tmp_path):
    text = (
        "\ufeff\\fixlen = T\r\n\\ free text\r\n# a remark\r\n| ra | dec | ID | name|\r\n| R | float | i | C |\r\n\r\n"
        "10.5\t-2.25\t7\tx\r\n 11.5 -3 8 y\r\n"
    )
    table = read(tmp_path, text)
    assert table.column("RA").tolist() == [10.5, 11.5]
    assert table.column("Dec").tolist() == [-2.25, -3]
    assert table.column("id").tolist() == [7, 8]
    assert table.column("name").tolist() == ["x", "y"]
    assert table.keywords == {"fixlen": ("", "T")}


def test_types_are_found_where_they_are_not_told(tmp_path):
    table = read(tmp_path, "|a|b|c|d\n 1 2.5 x null\n 2 3 y 4\n")
    assert table.types == {"a": "int", "b": "double", "c": "char", "d": "double"}
    assert table.column("a").tolist() == [1, 2]


def test_integers_that_are_none(tmp_path):
    table = read(tmp_path, "|a   |b   |c   |\n|int |int |int |\n 1.0  1.5  null\n 2    2    3\n")
    assert table.column("a").dtype == np.int64
    assert table.column("b").tolist() == [1.5, 2]
    np.testing.assert_array_equal(table.column("c"), [np.nan, 3])
    path = str(tmp_path / "b.tbl")
    write_table(path, [columns.by_name(name, table) for name in "abc"], table.columns)
    again = read_table(path)
    for name in "abc":
        np.testing.assert_array_equal(again.column(name), table.column(name))


def test_missing_column_names_those_there_are(tmp_path):
    table = read(tmp_path, "|RA|Dec|\n|double|double|\n")
    with pytest.raises(
        KeyError, match=r"no column Decl \(did you mean Dec\?\) in .*a.tbl, which has RA, Dec"
    ) as caught:
        table.column("Decl")
    assert isinstance(caught.value, InputError)
    assert "'" not in str(caught.value)


@pytest.mark.parametrize(
    "text, message",
    [
        ("", "/a.tbl: is no IPAC table: it has no header row that begins with |"),
        ("1 2 3\n", "/a.tbl: is no IPAC table"),
        (b"SIMPLE  =   T", "/a.tbl: is no text"),
        (b"\0\1", "/a.tbl: is no text"),
        ("|a|b|\n|double|\n", "/a.tbl:2: 1 cells; the row of names has 2"),
        ("|a|b|\n|double|complex|\n", "/a.tbl:2: type complex: not one of char, int"),
        ("|a|a|\n", "/a.tbl:1: more than one column is named a"),
        ("|a||\n", "/a.tbl:1: a column without a name"),
        ("|a|\n|int|\n||\n||\n||\n", "/a.tbl:5: a fifth header row"),
        ("|a|\n|int|\n1\n|b|\n", "/a.tbl:4: a header row below the first row"),
        ("|a|b|\n|int|int|\n1 2 3\n", "/a.tbl:3: 3 values, not under the 2 columns"),
        ("|a|b|\n|int|int|\n1 x\n", "/a.tbl:3: column b: x is not a number"),
        ("|a     |b    |\n|int   |int  |\n 1      x\n", "/a.tbl:3: column b: x is not a number"),
    ],
)
def test_problems_name_file_and_line(tmp_path, text, message):
    assert problem(tmp_path, text).startswith(message)


def test_missing_file():
    with pytest.raises(InputError, match=r"nowhere\.tbl: no such file"):
        read_table("nowhere.tbl")
    with pytest.raises(InputError):
        read_table("/")


def test_writer_checks_its_columns(tmp_path):
    with pytest.raises(ValueError, match="no values for column RA"):
        write_table(str(tmp_path / "a"), SPEC, {"srcid": [1]})
    with pytest.raises(ValueError, match=r"columns of \[1, 2\] rows"):
        write_table(str(tmp_path / "a"), SPEC[:2], {"srcid": [1], "RA": [1.0, 2.0]})


FRAGMENTS = st.lists(
    st.sampled_from(
        [
            "|",
            "|",
            " ",
            "\n",
            "\n",
            "\\",
            "=",
            "int",
            "double",
            "char",
            "a",
            "b",
            "1",
            "-2.5",
            "null",
            "\t",
            "ä",
        ]
    ),
    max_size=60,
).map("".join)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(
        st.binary(max_size=80), FRAGMENTS.map(str.encode), FRAGMENTS.map(lambda t: b"|a|b|\n" + t.encode())
    )
)
def test_reader_gives_a_table_or_an_input_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.tbl"
    path.write_bytes(content)
    try:
        table = read_table(str(path))
    except InputError:
        return
    assert len({len(values) for values in table.columns.values()}) == 1


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(-(2**63), 2**63 - 1), st.floats(), st.text(max_size=8)),
        max_size=6,
    )
)
def test_any_content_round_trips(tmp_path_factory, rows):
    path = str(tmp_path_factory.getbasetemp() / "round.tbl")
    spec = (
        Column("n", "int", "", "d", "n"),
        Column("v", "double", "", "r", "v"),
        Column("t", "char", "", "s", "t"),
    )
    n, v, t = ([row[i] for row in rows] for i in range(3))
    write_table(path, spec, {"n": np.array(n, dtype=np.int64), "v": np.array(v, float), "t": t})
    table = read_table(path)
    assert table.column("n").tolist() == n
    np.testing.assert_array_equal(table.column("v"), np.where(np.isfinite(v), v, np.nan))
    assert len(table.column("t")) == len(rows)


def test_fifty_thousand_rows_take_seconds(tmp_path):
    path, n = str(tmp_path / "a.tbl"), 50_000
    spec = columns.extract_columns(True)
    value = np.linspace(0, 1, n)
    data = {c.name: {"int": np.arange(n), "double": value, "char": ["N"] * n}[c.type] for c in spec}
    start = time.perf_counter()
    write_table(path, spec, data)
    assert read_table(path).column("srcid")[-1] == n - 1
    assert time.perf_counter() - start < 10  # s; takes about 1
