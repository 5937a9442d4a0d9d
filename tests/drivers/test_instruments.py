"""The flow with the template namelists of each instrument, on a few simulated frames of it."""

import contextlib
from pathlib import Path

import numpy as np
import pytest
from pymopex.kit.ipac import read_table

FLUX_TOLERANCE = 0.03  # median of fitted over true flux
SCATTER = 4.0  # sigma: farthest of a fitted flux from the true one, beside the following part of it
BESIDE = {"M3": 0.1}  # two rows in the fitting box hardly tell wings of neighbours from background
BESIDE_OTHERS = 0.02  # sampling of the PRF
POSITION_TOLERANCE = 0.15  # width of the PRF

WIDTHS = {"I2": 1.72, "I3": 1.88, "I4": 1.98, "M1": 5.9, "M2": 18.0, "M3": 40.0}  # arcsec
IRAC = ("Array_Size=48", "N_Frames=6", "N_Stars=30", "Min_Separation=10")
FIELDS = {
    "I2": (*IRAC, "Faintest_Flux=200", "Brightest_Flux=5000"),
    "I3": (*IRAC, "Faintest_Flux=1000", "Brightest_Flux=20000"),
    "I4": (*IRAC, "Faintest_Flux=1000", "Brightest_Flux=20000"),
    "M1": (
        *("Array_Size=48", "N_Frames=6", "N_Stars=40", "Min_Separation=25"),
        *("Faintest_Flux=5000", "Brightest_Flux=50000"),
    ),
    "M2": (
        "N_Frames=6",
        "Coverage=6",
        "N_Stars=20",
        "Min_Separation=90",
        "Faintest_Flux=200000",
        "Brightest_Flux=2e6",
    ),
    "M3": (
        *("N_Frames=20", "N_Columns=1", "Coverage=8", "N_Stars=60", "Min_Separation=130"),
        *("Faintest_Flux=2e6", "Brightest_Flux=1e7"),
    ),
}


def prfs_of(instrument, mopex):
    """PRFs for the fit and for detection as flags, and samples per pixel."""
    if instrument[0] == "M":
        frame, mosaic = (next(Path("sim").glob(name)) for name in ("prfs_x5/MIPS*.fits", "mips*_4x.fits"))
        return ["-p", frame, "-P", mosaic], 5
    channel = instrument[1]
    size = ("Magnification=2", "Magnification_Method=spline", "Array_Size=48")
    words = (
        "Input_Dir=sim/prfs_x5",
        f"Channel={channel}",
        f"OUTPUT_DIR=prf{channel}",
        "do_multiprocess=off",
        *size,
    )
    status, log = mopex("make_prf", *words)
    assert status == 0, log
    return [
        "-m",
        f"prf{channel}/prfmap.tbl",
        "-P",
        f"prf{channel}/IRAC{channel}_mosaic_detect_kernel.fits",
    ], 10


@pytest.mark.parametrize("instrument", FIELDS)
def test_flow_recovers_fluxes(instrument, mopex, tmp_path):
    with contextlib.chdir(tmp_path):
        where = ("OUTPUT_DIR=sim", f"Instrument={instrument}", "Roll_2=15", "Hits_Per_Second=0.1")
        status, log = mopex("simulate", *where, "do_multiprocess=off", *FIELDS[instrument])
        assert status == 0, log
        assert mopex("new", "flow", instrument)[0] == 0
        flags, factor = prfs_of(instrument, mopex)
        lists = (
            "-I",
            "sim/images.txt",
            "-S",
            "sim/sigmas.txt",
            "-d",
            "sim/masks.txt",
            "-M",
            "sim/pmask.fits",
        )
        sampling = [
            word
            for block in ("SOURCESTIMATE", "POINTSOURCEIMAGE")
            for word in (
                *(f"{block}.PRF_Resample{axis}_Factor={factor}" for axis in "XY"),
                f"{block}.Normalization_Radius={10 * factor}",
            )
        ]
        four = [f"{name}_{instrument}.nl" for name in ("overlap", "mosaic", "apex", "apex_qa")]
        status, log = mopex("flow", *lists, *flags, "-O", instrument, "do_multiprocess=off", *sampling, *four)
        assert status == 0, log
        ratios = check_sources(instrument)
        assert Path(f"{instrument}/Residual/mosaic/Combine/mosaic.fits").exists()
    tolerance = max(FLUX_TOLERANCE, BESIDE.get(instrument, 0.0))
    assert np.median(ratios) == pytest.approx(1, abs=tolerance)


def check_sources(instrument):
    """Every star on three frames at least is found, near its place and its flux; gives fitted over true fluxes."""
    truth, found = read_table("sim/truth/sources.tbl"), read_table(f"{instrument}/extract.tbl")
    ratios = []
    ra, dec, flux, n = (truth.column(name) for name in ("ra", "dec", "flux", "n_frames"))
    for star in np.flatnonzero(n >= 3):
        east = (found.column("RA") - ra[star]) * np.cos(np.radians(dec[star]))
        distance = 3600 * np.hypot(east, found.column("Dec") - dec[star])
        nearest = distance.argmin()
        assert distance[nearest] < POSITION_TOLERANCE * WIDTHS[instrument], flux[star]
        error = flux[star] / found.column("SNR")[nearest]
        ratios.append(found.column("flux")[nearest] / flux[star])
        assert (
            abs(ratios[-1] - 1) * flux[star]
            < SCATTER * error + BESIDE.get(instrument, BESIDE_OTHERS) * flux[star]
        )
    assert len(ratios) >= 2
    return np.array(ratios)
