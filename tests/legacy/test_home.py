"""``mopex home``: what scripts copy from the folder of an installation."""

import os
import subprocess
from pathlib import Path

import pytest
from pymopex.kit import driver, home, namelist, templates
from pymopex.kit.parameters import Settings


@pytest.fixture(scope="module")
def made(tmp_path_factory, mopex):
    folder = tmp_path_factory.mktemp("home") / "mopex"
    status, log = mopex("home", folder)
    assert status == 0, log
    return folder


def test_namelists_are_those_of_new_and_those_for_a_given_frame(made):
    names = set(os.listdir(made / "cdf"))
    assert set(templates.texts()) <= names
    assert (made / "cdf/mosaic_I1.nl").read_text() == templates.make("mosaic", "I1")
    for name in ("overlap_I1_nofid.nl", "mosaic_I2_nofid.nl"):
        found = namelist.read(str(made / "cdf" / name))
        settings = Settings(found, driver.pipeline_of(found))
        assert not settings.triggered("fiducial_image_frame")
        assert settings.triggered("mosaic_interp")
        assert settings.problems == []


def test_environment_for_shells(made):
    place = str(made / "bin")
    script = f'. "{made}/mopex-script-env.sh"; echo "$PATH"; echo "$SIRTF_CDF"'
    done = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": "/bin:/usr/bin"}
    )
    path, folder = done.stdout.split()
    assert path.split(":")[0] == place
    assert folder == "cdf"
    assert f'setenv PATH "{place}:$PATH"' in (made / "mopex-script-env.csh").read_text()


def test_commands_and_calibration_files(made):
    assert (made / "cal").is_dir()
    for path in (made / "bin").iterdir():
        assert path.resolve().exists()
        assert path.name in home.command_names()
    assert "overlap.sh" in home.command_names()


def test_a_folder_that_holds_something_is_left_alone(tmp_path, mopex):
    Path(tmp_path, "a").write_text("x")
    status, log = mopex("home", tmp_path)
    assert status == 2
    assert "is not empty; name a new folder" in log
    assert os.listdir(tmp_path) == ["a"]
    assert mopex("home", tmp_path / "a")[0] == 2
    status, log = mopex("home")
    assert status == 2
    assert "mopex home FOLDER" in log
