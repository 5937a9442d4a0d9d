import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.kit.errors import InputError, InputErrors
from pymopex.kit.prfmap import PrfMapTable, read_prf_map, write_prf_map

FILES = [f"apex_sh_IRAC1_col{c:03d}_row{r:03d}_x100.fits" for c in (25, 77) for r in (25, 77)]
REGIONS = [(x, y, 51, 51) for x in (1, 52) for y in (1, 52)]
TABLE = PrfMapTable(FILES, REGIONS, (12701, 12703))


def read(tmp_path, text):
    path = tmp_path / "prfmap.tbl"
    path.write_text(text)
    return read_prf_map(str(path))


def written(tmp_path, table=TABLE):
    path = tmp_path / "prfmap.tbl"
    write_prf_map(str(path), table)
    return path.read_text()


def test_layout(tmp_path):
    lines = written(tmp_path).splitlines()
    assert [line.split()[-1] for line in lines[1:4]] == ["4", "12701", "12703"]
    assert lines[4] == f"\\char PRF_Filename_1 = {FILES[0]}"
    assert lines[8].strip("|").replace("|", " ").split() == [
        "PRFNum",
        "NAXIS1",
        "NAXIS2",
        "PRFPos1",
        "PRFPos2",
    ]
    assert lines[-1].split() == ["4", "51", "51", "52", "52"]


def test_round_trip(tmp_path):
    assert read(tmp_path, written(tmp_path)) == TABLE


def test_table_by_hand(tmp_path):
    text = (
        "\\char comment = made 2014\n\\int n = 25\n\\int x = 7\n\\int y = 9\n"
        "\\char PRF_Filename_1 =  a b.fits\n\\char prf_filename_2 = 'c.fits'\n"
        "|prfnum|NAXIS1|NAXIS2|PRFPos1|PRFPos2|\n|int|int|int|real|real|\n2 128 256 1 1\n1 128 256 129.0 1\n1 5 5 7 7\n"
    )
    found = read(tmp_path, text)
    assert found.files == ["c.fits", "a b.fits", "a b.fits"]
    assert found.regions == [(1, 1, 128, 256), (129, 1, 128, 256), (7, 7, 5, 5)]
    assert found.size == (7, 9)


def test_all_rows_that_cannot_be_used(tmp_path):
    text = written(tmp_path).replace("PRF_Filename_2", "Other").splitlines()
    text[-4] = "1 0 51 1 1"
    text[-1] = "4 51 51 52.5 52"
    with pytest.raises(InputErrors) as caught:
        read(tmp_path, "\n".join(text))
    assert [problem.partition("prfmap.tbl: ")[2] for problem in caught.value.problems] == [
        "row 1: a region of 0 x 51 pixels is empty",
        "row 2: PRF 2 has no line PRF_Filename_2",
        "row 4: holds something else than whole numbers",
    ]


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("PRFPos1", "Position", "no column PRFPos1 .* which has PRFNum"),
        ("|int    |int    |\n", "|int    |char   |\n", "column PRFPos2 holds text"),
    ],
)
def test_columns_that_cannot_be_used(tmp_path, old, new, message):
    with pytest.raises(InputError, match=message):
        read(tmp_path, written(tmp_path).replace(old, new))


def test_no_rows_and_no_file(tmp_path):
    header = "".join(line + "\n" for line in written(tmp_path).splitlines() if line[0] in "\\|")
    with pytest.raises(InputError, match="names no PRF"):
        read(tmp_path, header)
    with pytest.raises(InputError, match="no such file"):
        read_prf_map(str(tmp_path / "none.tbl"))


def test_as_many_files_as_regions(tmp_path):
    with pytest.raises(ValueError, match="4 PRFs for 3 regions"):
        write_prf_map(str(tmp_path / "a"), PrfMapTable(FILES, REGIONS[:3], (1, 1)))


@settings(max_examples=100, deadline=None)
@given(
    st.integers(0, 700),
    st.sampled_from(["", "x", "-1", "|", "\n", "nan", "1e9", "null", "0"]),
    st.integers(0, 9),
)
def test_reader_gives_a_map_or_an_input_error(tmp_path_factory, at, new, length):
    folder = tmp_path_factory.getbasetemp()
    text = written(folder)
    try:
        found = read(folder, text[:at] + new + text[at + length :])
    except InputError:
        return
    assert len(found.files) == len(found.regions) > 0
