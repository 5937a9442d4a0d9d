"""Commands are started as from a shell; their log and progress come live, and they can be stopped."""

import time

import pytest
from pymopex.kit.errors import InputError
from pymopex.view.runner import Runner


@pytest.fixture
def runner():
    found = Runner()
    yield found
    found.close()


def wait(runner, until, seconds=20):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        state = runner.state()
        if until(state):
            return state
        time.sleep(0.02)
    raise AssertionError(state)


def test_log_and_status(runner):
    runner.start(["sh", "-c", "echo one; echo 'Error: two' >&2; exit 2"])
    state = wait(runner, lambda s: not s["running"])
    assert (state["status"], state["failed"]) == (2, True)
    assert state["lines"][0] == "$ sh -c 'echo one; echo '\"'\"'Error: two'\"'\"' >&2; exit 2'"
    assert set(state["lines"][1:-1]) == {"one", "Error: two"}
    assert state["lines"][-1] == "exit status 2"
    assert runner.state(state["next"])["lines"] == []


def test_the_module_at_work_and_its_progress_are_known(runner):
    script = (
        "echo '== mosaic: a.nl'; echo '/x/bin/mopex mosaic_interp a.nl'; sleep 0.3; "
        "printf '\\r  3 of 9 frames, 2 s left \\033[K' >&2; sleep 30"
    )
    runner.start(["sh", "-c", script])
    state = wait(runner, lambda s: s["progress"])
    assert (state["pipeline"], state["module"]) == ("mosaic", "mosaic_interp")
    assert state["progress"] == "3 of 9 frames, 2 s left"
    assert state["running"]


def test_stop_interrupts_what_runs_and_what_it_started(runner, tmp_path):
    runner.start(["sh", "-c", f"sh -c 'echo go; sleep 60; touch {tmp_path}/late'; touch {tmp_path}/late"])
    wait(runner, lambda s: "go" in s["lines"])
    started = time.monotonic()
    runner.stop()
    state = wait(runner, lambda s: not s["running"])
    assert state["status"] == 130
    assert time.monotonic() - started < 40  # of the 60 s that it sleeps
    assert list(tmp_path.iterdir()) == []


def test_one_command_at_a_time(runner):
    runner.start(["sleep", "60"])
    with pytest.raises(InputError, match="a command is at work"):
        runner.start(["true"])
    runner.stop()
    wait(runner, lambda s: not s["running"])
    runner.start(["true"])
    assert wait(runner, lambda s: not s["running"])["status"] == 0


def test_a_command_that_is_not_there(runner):
    with pytest.raises(InputError, match="no such command"):
        runner.start(["mopex-no-such-command"])
    assert not runner.running


def test_the_real_command_line(runner):
    runner.start(["mopex", "--version"])
    state = wait(runner, lambda s: not s["running"])
    assert state["status"] == 0
    assert state["lines"][1].startswith("pymopex ")
