"""Load: 5,000 frames, tables of 500,000 sources, a fiducial frame of 30,000 x 30,000 pixels: seconds and memory.

    python benchmarks/load.py FOLDER [frames] [tables] [fif]

Each part runs in a process of its own; prints seconds of processor time and the peak of memory.
"""

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

FRAMES, ROWS, SIDE = 5_000, 500_000, 30_000


def simulated(count: int) -> None:
    """Make frames of 32 pixels on a side with their namelist, by copies of a simulated one at other places."""
    from astropy.io import fits
    from pymopex.kit.cli import main

    assert main(["simulate", "OUTPUT_DIR=sim", "Array_Size=32", "N_Frames=4", "Coverage=3", "Seed=1"]) == 0
    assert main(["new", "mosaic", "I1"]) == 0
    names = {kind: Path(f"sim/{kind}.txt").read_text().split()[0] for kind in ("images", "sigmas", "masks")}
    side = int(np.ceil(np.sqrt(count)))
    os.makedirs("bcd", exist_ok=True)
    for kind, name in names.items():
        data, header = fits.getdata(name, header=True)
        paths = [f"bcd/{kind}_{i:05d}.fits" for i in range(count)]
        for i, path in enumerate(paths):
            if kind != "images":
                Path(path).write_bytes(Path(name).read_bytes())
                continue
            header["CRVAL1"], header["CRVAL2"] = 150 + 0.005 * (i % side), 0.005 * (i // side)
            fits.writeto(path, data, header, overwrite=True)
        Path(f"{kind}.txt").write_text("\n".join(paths) + "\n")


LISTS = ("-I", "images.txt", "-S", "sigmas.txt", "-d", "masks.txt", "-O", "out")


def frames() -> None:
    """Read the lists, check all frames, and make their fiducial frame."""
    from pymopex.kit.cli import main

    assert main(["fiducial_image_frame", "mosaic_I1.nl", *LISTS]) == 0


def tables() -> None:
    """Write, read, select from and write a table of sources."""
    from pymopex import columns
    from pymopex.kit.ipac import read_table, write_table

    spec = columns.extract_columns(True)
    value = np.random.default_rng(1).uniform(0, 100, ROWS)
    kinds = {"int": np.arange(ROWS), "double": value, "char": ["N"] * ROWS}
    write_table("sources.tbl", spec, {c.name: kinds[c.type] for c in spec})
    table = read_table("sources.tbl")
    assert len(table) == ROWS
    kept = table.column("SNR") > 50
    write_table("kept.tbl", spec, {name: values[kept] for name, values in table.columns.items()})


def fif() -> None:
    """Make the mosaic of four frames in a fiducial frame far larger than they are."""
    from pymopex.fiducial import FiducialFrame
    from pymopex.kit.cli import main
    from pymopex.kit.fif import write_fif

    middle, pixel = (SIDE + 1) / 2, 0.6 / 3600
    frame = FiducialFrame(
        projtype="TAN",
        crval1=150.0,
        crval2=0.0,
        crpix1=middle,
        crpix2=middle,
        crota2=0.0,
        naxis1=SIDE,
        naxis2=SIDE,
        cdelt1=-pixel,
        cdelt2=pixel,
        ctype1="RA---TAN",
        ctype2="DEC--TAN",
    )
    write_fif("wide.tbl", frame, "load")
    assert (
        main(["drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, "FIF_FILE_NAME=wide.tbl", "create_report=0"])
        == 0
    )


def measured(part: str) -> None:
    """Run a part in a process of its own and print what it took."""
    begin, child = time.time(), os.fork()
    if not child:
        globals()[part]()
        inner = resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = sum(r.ru_utime + r.ru_stime for r in inner)
        peak = max(r.ru_maxrss for r in inner) / 1024
        print(
            f"{part}: {spent:.1f} s of processor time, {peak:.0f} MB, {time.time() - begin:.0f} s", flush=True
        )
        os._exit(0)
    if os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]):
        sys.exit(f"{part} failed")


def main() -> None:
    os.makedirs(sys.argv[1], exist_ok=True)
    os.chdir(sys.argv[1])
    for part in sys.argv[2:] or ("frames", "tables", "fif"):
        if part != "tables":
            simulated(FRAMES if part == "frames" else 4)
        measured(part)


if __name__ == "__main__":
    main()
