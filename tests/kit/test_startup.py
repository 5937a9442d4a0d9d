"""Help, lists, templates and parameter errors come at once: nothing heavy is imported for them."""

import json
import subprocess
import sys

import pytest

HEAVY = ("numpy", "astropy", "scipy", "numba", "photutils", "matplotlib", "tables")
PROBE = """
import contextlib, io, json, sys
from pymopex.kit import cli
with contextlib.redirect_stdout(io.StringIO()) as out:
    status = cli.main(sys.argv[1:])
print(json.dumps([status, [name for name in sys.modules if name in {heavy}], out.getvalue()]))
"""


def probe(*words, cwd=None):
    code = PROBE.format(heavy=HEAVY)
    found = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, cwd=cwd, check=True
    )
    assert found.stderr == ""
    return json.loads(found.stdout)


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["--help"], "usage: mopex TASK"),
        ([], "usage: mopex TASK"),
        (["--version"], "pymopex "),
        (["list"], "mosaic_interp"),
        (["sourcestimate", "--help"], "Fitting_Area_X"),
        (["sourcestimate", "--template"], "&SOURCESTIMATE"),
        (["drive", "apex", "--help"], "sourcestimate"),
        (["flow", "--help"], "flow.sh"),
        (["new"], "IRAC ch1"),
        (["cal", "--help"], "usage: mopex cal add"),
        (["prepare", "--help"], "Input_Dir"),
        (["view", "--help"], "usage: mopex view OUTPUT_DIR"),
        (["send", "--help"], "usage: mopex send FILE"),
        (["clean", "--help"], "usage: mopex clean NAMELIST"),
    ],
)
def test_texts(words, text):
    status, heavy, out = probe(*words)
    assert (status, heavy) == (0, [])
    assert text in out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["medfilte"], "did you mean medfilter?"),
        (["medfilter"], "one namelist is needed"),
        (["medfilter", "none.nl"], "no such namelist"),
        (["medfilter", "mosaic.nl", "Window_X=2"], "Window_X = 2: too small"),
        (["drive", "mosaic", "-n", "mosaic.nl", "OUTPUT_DRI=x"], "did you mean OUTPUT_DIR?"),
        (["drive", "mosaic", "-n", "mosaic.nl", "-I", "none.txt"], "none.txt: no such file"),
        (["drive", "mosaic", "-z"], "-z: unknown flag"),
        (["flow", "mosaic.nl", "MEDFILTER.Window_Y=two"], "Window_Y = two: not a number"),
        (["flow", "mosaic.nl", "none.nl", "apex.nl"], "none.nl: no such namelist"),
        (["flow", "mosaic.nl", "none.nl", "apex.nl"], "apex.nl: no module of apex is switched on"),
        (["flow", "mosaic.nl", "none.nl", "apex.nl"], "Bad_Key = 1: unknown key"),
        (["drive", "apex", "-n", "apex.nl"], "apex.nl: no module of apex is switched on"),
        (["new", "mosaik"], "did you mean mosaic?"),
        (["cal", "look"], "not understood"),
        (["prepare", "none"], "no such folder"),
        (["view"], "one output directory is needed"),
        (["send"], "a file is needed"),
        (["clean"], "a namelist is needed"),
        (["flow", "mosaic.nl", "--from", "medfiltre"], "no module of mosaic (did you mean medfilter?)"),
        (["medfilter", "mosaic.nl", "--only", "medfilter"], "--from and --only are for pipelines"),
    ],
)
def test_parameter_errors(tmp_path, words, text):
    lines = ["run_medfilter = 1", "IMAGE_STACK_FILE_NAME = images.txt", "Bad_Key = 1", "&MEDFILTER", "&END"]
    (tmp_path / "mosaic.nl").write_text("\n".join(lines) + "\n")
    (tmp_path / "apex.nl").write_text("OUTPUT_DIR = out\n")
    (tmp_path / "images.txt").write_text("frame.fits\n")
    status, heavy, out = probe(*words, cwd=tmp_path)
    assert status == 2
    assert set(heavy) <= {"numpy", "astropy"}  # the frames are looked at besides: all problems come together
    assert text in out


def test_new_namelists(tmp_path):
    status, heavy, _ = probe("new", "flow", "I1", cwd=tmp_path)
    assert (status, heavy) == (0, [])
