import io

import pytest
from pymopex.kit import log


class Screen(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock(monkeypatch):
    """A clock that goes on by a second whenever it is read."""
    ticks = iter(range(10**6))
    monkeypatch.setattr(log.time, "monotonic", lambda: float(next(ticks)))


def test_progress_on_a_terminal(monkeypatch, clock):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    assert list(log.progress(range(4), 4, "frames")) == [0, 1, 2, 3]
    assert "1 of 4 frames, 3 s left" in screen.getvalue()
    assert screen.getvalue().endswith("\r\x1b[K")  # and the line is wiped


def test_no_progress_elsewhere(monkeypatch, clock):
    text = io.StringIO()
    monkeypatch.setattr("sys.stderr", text)
    assert list(log.progress(range(4), 4, "frames")) == [0, 1, 2, 3]
    assert text.getvalue() == ""


def test_no_progress_for_one_item(monkeypatch, clock):
    screen = Screen()
    monkeypatch.setattr("sys.stderr", screen)
    assert list(log.progress([7], 1, "frames")) == [7]
    assert screen.getvalue() == ""


def test_progress_passes_failures_on(monkeypatch):
    monkeypatch.setattr("sys.stderr", Screen())

    def items():
        yield 1
        raise OSError("full")

    with pytest.raises(OSError, match="full"):
        list(log.progress(items(), 3, "frames"))


def test_every_line_of_a_failure_bears_the_word(capsys):
    log.fail("a.nl:1: x\na.nl:2: y")
    assert capsys.readouterr().out == "Error: a.nl:1: x\nError: a.nl:2: y\n"


def test_peak_memory_is_in_megabytes():
    assert 5 < log.peak_memory() < 100_000
