import os
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pymopex.kit.errors import InputError
from pymopex.kit.lists import Entry, read_list, write_list


def test_lines_blanks_comments_and_endings(tmp_path):
    path = tmp_path / "list.txt"
    path.write_bytes(
        "\ufeff# frames\r\n\r\n/a b/one.fits  \r\n  /two.fits\r\n#/three.fits\r\n/four#.fits".encode()
    )
    assert read_list(str(path)) == [Entry("/a b/one.fits", 3), Entry("/two.fits", 4), Entry("/four#.fits", 6)]


def test_relative_paths(tmp_path, monkeypatch):
    (tmp_path / "lists").mkdir()
    (tmp_path / "work").mkdir()
    for name in ("work/here.fits", "lists/here.fits", "lists/beside.fits"):
        (tmp_path / name).write_text("")
    path = tmp_path / "lists" / "list.txt"
    path.write_text("here.fits\nbeside.fits\nnowhere.fits\n~/home.fits\n")
    monkeypatch.chdir(tmp_path / "work")
    found = [entry.path for entry in read_list(str(path))]
    beside = str(tmp_path / "lists" / "beside.fits")
    assert found == ["here.fits", beside, "nowhere.fits", os.path.expanduser("~/home.fits")]


def test_empty_list(tmp_path):
    path = tmp_path / "list.txt"
    path.write_text("\n# nothing\n")
    assert read_list(str(path)) == []


@pytest.mark.parametrize(
    "content, message",
    [
        (b"SIMPLE  =                    T", "list.txt:1: is a FITS file"),
        (b"/a.fits\n\x00\x01\x02\n", "list.txt:2: is no text"),
    ],
)
def test_what_is_no_list(tmp_path, content, message):
    path = tmp_path / "list.txt"
    path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_list(str(path))


def test_missing_list(tmp_path):
    with pytest.raises(InputError, match=r"none\.txt: no such file"):
        read_list(str(tmp_path / "none.txt"))
    with pytest.raises(InputError):
        read_list(str(tmp_path))


def test_round_trip(tmp_path):
    path, names = str(tmp_path / "sub" / "list.txt"), ["/a b.fits", "/ä.fits", os.fsdecode(b"/\xff.fits")]
    write_list(path, names)
    assert [entry.path for entry in read_list(path)] == names
    write_list(path, [])
    assert os.path.getsize(path) == 0


def test_a_failed_write_leaves_the_list(tmp_path):
    path = str(tmp_path / "list.txt")
    write_list(path, ["/a"])
    with pytest.raises(ValueError, match="control characters"):
        write_list(path, ["/b", "/c\n/d"])
    assert [entry.path for entry in read_list(path)] == ["/a"]
    assert os.listdir(tmp_path) == ["list.txt"]


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=60))
def test_reader_gives_entries_or_an_input_error(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "fuzz.txt"
    path.write_bytes(content)
    with suppress(InputError):
        assert all(entry.path.strip() and entry.line > 0 for entry in read_list(str(path)))
