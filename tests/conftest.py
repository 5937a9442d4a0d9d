"""A small simulated field and the products of the whole flow on it, made once for all tests."""

import contextlib
import io
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from pymopex.kit.cli import main

NAMELISTS = ("overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl", "apex_qa_I1.nl")

_FIELD = (
    *("Array_Size=96", "N_Frames=12", "Coverage=5", "Seed=1"),
    *("N_Stars=220", "Min_Separation=8", "Slope=-1.5", "Faintest_Flux=30", "Brightest_Flux=1e6"),
    *("Offset_Rms=0.02", "Flag_Hits=0.1"),
)
_PRF = tuple(
    f"{block}.{key}"
    for block in ("SOURCESTIMATE", "POINTSOURCEIMAGE")
    for key in ("PRF_ResampleX_Factor=20", "PRF_ResampleY_Factor=20", "Normalization_Radius=200")
)
_ALSO = (
    *("run_fix_coverage=1", "run_mosaic_medfilter=1"),
    *("run_extract_medfilter=1", "run_fit_radius=1", "run_select_detect=1"),
    *("make_array_corr_files=1", "make_array_corr_mosaic=1", "mosaic_corrected_images=1"),
    *("create_rmask_mosaic=1", "create_outlier_mosaic=1", "create_dual_outlier_mosaic=1"),
)


if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # a shell starts what runs in its background so
    signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass(frozen=True)
class Field:
    """Where the simulated data and the products are.

    The flow ran in the folder `work` with relative names: a copy of the folder is a run of its own.
    """

    sim: Path
    work: Path
    log: str

    @property
    def out(self):
        return self.work / "out"

    @property
    def flags(self):
        """Flags that give the lists and the permanent mask of the frames."""
        return self.flags_of(self.sim)

    @staticmethod
    def flags_of(folder, mask=True):
        words = ["-I", f"{folder}/images.txt", "-S", f"{folder}/sigmas.txt", "-d", f"{folder}/masks.txt"]
        return [*words, "-M", f"{folder}/pmask.fits"] if mask else words

    def copy(self, folder):
        """Copy the products, to work on them; gives the working directory of the copy."""
        shutil.copytree(self.work, folder)
        return folder


def run_mopex(*words):
    """Run the command line; gives the exit status and the log. Drivers write no report unless one is asked for."""
    if words[:1] in (("drive",), ("flow",)) and not any("create_report" in str(w) for w in words):
        words = (*words, "create_report=0") if len(words) > 2 and "--help" not in words else words
    log = io.StringIO()
    with contextlib.redirect_stdout(log):
        status = main([str(word) for word in words])
    return status, log.getvalue()


@pytest.fixture(scope="session")
def mopex():
    """The command line as a function."""
    return run_mopex


@pytest.fixture(scope="session")
def simulated(tmp_path_factory):
    """12 frames of IRAC 1, 96 pixels on a side, with hits, offsets, saturated stars, and their truth."""
    folder = tmp_path_factory.mktemp("field") / "sim"
    status, log = run_mopex("simulate", f"OUTPUT_DIR={folder}", *_FIELD)
    assert status == 0, log
    return folder


@pytest.fixture(scope="session")
def field(simulated):
    """The field with the products of all modules of the flow, made by two processes."""
    work = simulated.parent / "work"
    work.mkdir()
    y, x = np.mgrid[:96, :96]
    fits.writeto(work / "corr.fits", (1 + 0.001 * (x - 47.5) - 0.0005 * (y - 47.5)).astype("f4"))
    with contextlib.chdir(work):
        size = ("Magnification=4", "Magnification_Method=spline", "Array_Size=96")
        for words in (
            ("make_prf", f"Input_Dir={simulated}/prfs_x5", "OUTPUT_DIR=prf", *size),
            ("new", "flow", "I1"),
        ):
            status, log = run_mopex(*words)
            assert status == 0, log
        prfs = ("-m", "prf/prfmap.tbl", "-P", "prf/IRAC1_mosaic_detect_kernel.fits")
        switches = (
            *_ALSO,
            "create_report=1",
            "ARRAY_CORR_IMAGE=corr.fits",
            "do_multiprocess=manual",
            "ncpu_multiprocess=2",
        )
        words = (*Field.flags_of(simulated), *prfs, "-O", "out", *_PRF, *switches, *NAMELISTS)
        status, log = run_mopex("flow", *words)
    assert status == 0, log
    return Field(simulated, work, log)


@pytest.fixture(scope="session")
def few_frames(simulated):
    """Puts copies of four frames of the field that overlap, their lists and the namelists into a folder, to spoil."""

    def put(folder):
        folder.mkdir(exist_ok=True)
        (folder / "bcd").mkdir()
        for kind in ("images", "sigmas", "masks"):
            names = (simulated / f"{kind}.txt").read_text().split()[:4]
            copies = [f"bcd/{Path(shutil.copy(name, folder / 'bcd')).name}" for name in names]
            (folder / f"{kind}.txt").write_text("".join(f"{name}\n" for name in copies))
        with contextlib.chdir(folder):
            for pipeline in ("overlap", "mosaic", "apex"):
                assert run_mopex("new", pipeline, "I1")[0] == 0
        return folder

    return put


@pytest.fixture
def few(few_frames, tmp_path, monkeypatch):
    """The folder of four frames, which is the working directory."""
    monkeypatch.chdir(tmp_path)
    return few_frames(tmp_path)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """Four frames of 48 pixels on a side in ``bcd``, their lists, and namelists, to copy and spoil."""
    folder = tmp_path_factory.mktemp("tiny")
    field = ("Array_Size=48", "N_Frames=4", "Coverage=3", "Seed=2", "N_Stars=20")
    with contextlib.chdir(folder):
        status, log = run_mopex(
            "simulate", "OUTPUT_DIR=sim", *field, "Brightest_Flux=1e5", "Faintest_Flux=300"
        )
        assert status == 0, log
        (folder / "data" / "bcd").mkdir(parents=True)
        for kind in ("images", "sigmas", "masks"):
            names = Path(f"sim/{kind}.txt").read_text().split()
            copies = [f"bcd/{Path(shutil.copy(name, 'data/bcd')).name}" for name in names]
            Path(f"data/{kind}.txt").write_text("".join(f"{name}\n" for name in copies))
    with contextlib.chdir(folder / "data"):
        for pipeline in ("overlap", "mosaic", "apex"):
            assert run_mopex("new", pipeline, "I1")[0] == 0
    return folder / "data"
