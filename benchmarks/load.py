"""Load: 5,000 frames, tables of 500,000 sources, a fiducial frame of 30,000 x 30,000 pixels: seconds and memory.

    python benchmarks/load.py FOLDER [frames] [flows] [tables] [catalogues] [curves] [fif] [KEY=VALUE ...]

Each part runs in a process of its own; prints seconds of processor time and the peak of memory. Keys go to Mosaic in
the part ``fif``, which takes 65 GB of disk with all outlier methods; with COADDER_DIR the tiles are elsewhere, and
SIDE is another size of its fiducial frame.
"""

import os
import resource
import sys
import time
from pathlib import Path

import numpy as np

FRAMES, ROWS, SIDE = 5_000, 500_000, 30_000
EXPOSURES, BLOCK, QUERIES = 5, 400, 1_000  # of the part curves: frames, sources of a job, light curves


def new(pipeline: str) -> None:
    """Put the namelist of a pipeline here, unless it is here."""
    from pymopex.kit.cli import main

    if not os.path.exists(f"{pipeline}_I1.nl"):
        assert main(["new", pipeline, "I1"]) == 0


def simulated(count: int) -> None:
    """Make frames of 32 pixels on a side with their namelist, by copies of a simulated one at other places."""
    from astropy.io import fits
    from pymopex.kit.cli import main

    assert main(["simulate", "OUTPUT_DIR=sim", "Array_Size=32", "N_Frames=4", "Coverage=3", "Seed=1"]) == 0
    new("mosaic")
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


def flows() -> None:
    """Run Overlap and Mosaic on all frames."""
    from pymopex.kit.cli import main

    new("overlap")
    words = ("create_report=0", "do_multiprocess=off", "delete_intermediate_files=1")
    assert main(["flow", "overlap_I1.nl", "mosaic_I1.nl", *LISTS, *words]) == 0


def catalogues() -> None:
    """Select from a table of sources, and write the selected ones in all forms."""
    from pymopex.kit.cli import main

    if not os.path.exists("out/extract_raw.tbl"):
        tables()
        os.makedirs("out", exist_ok=True)
        os.replace("sources.tbl", "out/extract_raw.tbl")
    new("apex")
    words = ("OUTPUT_DIR=out", "select_conditions=SNR > 5", "Catalogue_Formats=fits,ecsv,votable,reg")
    assert main(["select", "apex_I1.nl", *words]) == 0


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


def curves() -> None:
    """Write ``extract.h5`` of as many sources in five frames, as Source Estimate does; add the selected; query it."""
    from pymopex import columns
    from pymopex.kit import light_curves, measurements
    from pymopex.kit.catalogues import Catalogue, read_light_curve
    from pymopex.kit.driver import open_settings
    from pymopex.kit.task import Run

    new("apex")
    overrides = {"IMAGE_STACK_FILE_NAME": "images.txt", "OUTPUT_DIR": "out", "do_multiprocess": "off"}
    run = Run(open_settings("apex_I1.nl", overrides))
    run.task = "sourcestimate"
    spec, frames = columns.extract_columns(True), len(run.frames())
    random = np.random.default_rng(1)
    value, sources = random.uniform(0, 100, ROWS), np.arange(ROWS)
    kinds = {"int": sources, "double": value, "char": np.full(ROWS, "N")}
    table = {c.name: kinds[c.type] for c in spec} | {"srcid": 1 + random.permutation(ROWS)}
    os.makedirs("parts", exist_ok=True)
    parts = []
    for first in range(0, ROWS, BLOCK):
        rows = np.zeros(BLOCK * frames, light_curves.PART)
        rows["first"], rows["frame"] = (
            np.repeat(sources[first : first + BLOCK], frames),
            np.tile(np.arange(frames) + 1, BLOCK),
        )
        for name in ("flux", "delta_flux", "chi2", "dx", "dy", "delta_dx", "delta_dy"):
            rows[name] = random.normal(100, 1, len(rows))
        parts.append(f"parts/{first:06d}.npy")
        light_curves.save_rows(parts[-1], [rows])
    spent("parts")
    catalogue = Catalogue(spec, table)
    measurements.write_measurements(run, catalogue, [(source, 0) for source in sources], parts)
    path = run.path("extract_h5")
    spent(f"written, {os.path.getsize(path) / 1e6:.0f} MB")
    kept = table["SNR"] > 50
    selected = Catalogue(spec, {name: np.asarray(values)[kept] for name, values in table.items()})
    measurements.add_selected(path, selected)
    spent(f"{kept.sum()} selected added")
    for srcid in random.integers(1, ROWS + 1, QUERIES):
        assert len(read_light_curve(path, srcid)) == frames
    spent(f"{QUERIES} light curves read")


def spent(what: str) -> None:
    """Print the processor time up to here."""
    print(f"  {what}: {time.process_time():.1f} s so far", flush=True)


def fif() -> None:
    """Make the mosaic of four frames in a fiducial frame far larger than they are."""
    from pymopex.fiducial import FiducialFrame
    from pymopex.kit.cli import main
    from pymopex.kit.fif import write_fif

    words = dict(word.split("=", 1) for word in sys.argv[2:] if "=" in word)
    side = int(words.pop("SIDE", SIDE))
    middle, pixel = (side + 1) / 2, 0.6 / 3600
    frame = FiducialFrame(
        projtype="TAN",
        crval1=150.0,
        crval2=0.0,
        crpix1=middle,
        crpix2=middle,
        crota2=0.0,
        naxis1=side,
        naxis2=side,
        cdelt1=-pixel,
        cdelt2=pixel,
        ctype1="RA---TAN",
        ctype2="DEC--TAN",
    )
    write_fif("wide.tbl", frame, "load")
    usual = ("FIF_FILE_NAME=wide.tbl", "run_fiducial_image_frame=0", "create_report=0", "do_multiprocess=off")
    keys = [f"{key}={value}" for key, value in words.items()]
    assert main(["drive", "mosaic", "-n", "mosaic_I1.nl", *LISTS, *usual, *keys]) == 0


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
    parts = [word for word in sys.argv[2:] if "=" not in word]
    for part in parts or ("frames", "flows", "tables", "catalogues", "curves", "fif"):
        if part not in ("tables", "catalogues"):
            simulated({"fif": 4, "curves": EXPOSURES}.get(part, FRAMES))
        measured(part)


if __name__ == "__main__":
    main()
