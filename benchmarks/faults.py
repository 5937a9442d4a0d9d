"""Runs that meet with faults: killed at random moments, without space on the disk, files or memory.

    python benchmarks/faults.py kills FOLDER [NUMBER] [SEED]  NUMBER (200) runs killed, each followed by --resume
    python benchmarks/faults.py files FOLDER [FRAMES]    64 open files, FRAMES (2000) frames of 32 pixels
    python benchmarks/faults.py memory FOLDER            address space cut in steps
    python benchmarks/faults.py disk FOLDER              a full and a read-only file system (tmpfs; needs root)

FOLDER is made, and holds the simulated frames and the runs. `kills` runs Overlap, Mosaic, APEX and APEX QA on six
frames of 64 pixels and ends the run at a moment that is drawn evenly from its duration, by SIGKILL, SIGTERM and SIGINT
in turn, with one and two processes. Half of the reruns are ended again. All products are compared with those of a run
without a break.
"""

import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from contextlib import suppress
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))
import run_products

MOPEX = [sys.executable, "-m", "pymopex.kit.cli"]
FLOW = ("overlap_I1.nl", "mosaic_I1.nl", "apex_I1.nl", "apex_qa_I1.nl")
LISTS = ("-I", "sim/images.txt", "-S", "sim/sigmas.txt", "-d", "sim/masks.txt", "-M", "sim/pmask.fits")
PRFS = ("-m", "prf/prfmap.tbl", "-P", "prf/IRAC1_mosaic_detect_kernel.fits")
SAMPLING = [
    f"{block}.{key}"
    for block in ("SOURCESTIMATE", "POINTSOURCEIMAGE")
    for key in ("PRF_ResampleX_Factor=20", "PRF_ResampleY_Factor=20", "Normalization_Radius=200")
]
ALL = (*LISTS, *PRFS, *SAMPLING, *FLOW)
OWN = re.compile(r"provenance.*\.json|progress_\w+\.jsonl|report\.html|\w+\.nl")  # tell of the run itself
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)


def mopex(*words, **more):
    """Run a command; gives its status and its log."""
    done = subprocess.run(
        [*MOPEX, *words], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **more
    )
    return done.returncode, done.stdout


def must(*words):
    status, log = mopex(*words)
    if status:
        raise SystemExit(log)
    return log


def prepare(folder, size, frames, stars):
    """Simulate frames and write the namelists; the folder becomes the working directory."""
    shutil.rmtree(folder, ignore_errors=True)
    Path(folder).mkdir(parents=True)
    os.chdir(folder)
    field = (f"Array_Size={size}", f"N_Frames={frames}", "Coverage=4", "Seed=3", f"N_Stars={stars}")
    must("simulate", "OUTPUT_DIR=sim", *field, "Brightest_Flux=1e5", "Faintest_Flux=200")
    sampling = ("Magnification=4", "Magnification_Method=spline", f"Array_Size={size}")
    must("make_prf", "Input_Dir=sim/prfs_x5", "OUTPUT_DIR=prf", *sampling)
    must("new", "flow", "I1")


def products(folder):
    """Give the products of a run by their names."""
    return run_products.products(folder, OWN)


def halves(folder):
    """Give the files that are half written, and temporary folders."""
    return list(Path(folder).rglob(".*"))


def end(process, how):
    """End a run; an interrupt goes to all its processes, as Ctrl-C does, or to the first."""
    if how == signal.SIGINT and random.random() < 0.5:
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)


def cut(words, how, moment):
    """Start a run and end it at a moment; gives its status, its log, and how long it took if it ended before [s]."""
    started = time.monotonic()
    process = subprocess.Popen(
        [*MOPEX, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        log, _ = process.communicate(timeout=moment)
        return process.returncode, log, time.monotonic() - started
    except subprocess.TimeoutExpired:
        end(process, how)
        log, _ = process.communicate(timeout=120)
    return process.returncode, log, 0.0


def kills(folder, number=200, seed=1):
    """Kill runs and resume them; an interrupt ends it with the table up to there."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell lets what it starts with & ignore it
    prepare(folder, 64, 6, 40)
    random.seed(seed)
    modes = {1: ("do_multiprocess=off",), 2: ("do_multiprocess=manual", "ncpu_multiprocess=2")}
    whole, duration = {}, {}
    for count, mode in modes.items():
        must("flow", "-O", "warm", "create_report=0", *mode, *ALL)  # compiles
        started = time.monotonic()
        shutil.rmtree("out", ignore_errors=True)
        must("flow", "-O", "out", "create_report=0", *mode, *ALL)
        duration[count], whole[count] = time.monotonic() - started, products("out")
        print(f"{count} processes: {duration[count]:.1f} s, {len(whole[count])} products", flush=True)
    print("same products with both:", whole[1] == whole[2], flush=True)
    rows = defaultdict(Counter)
    with suppress(KeyboardInterrupt):
        cut_runs(number, modes, duration, whole[1], rows)
    table(rows)


def cut_runs(number, modes, duration, whole, rows):
    """Cut runs, let them be resumed, and compare what they make."""
    for trial in range(number):
        how, count = SIGNALS[trial % 3], 1 + trial // 3 % 2
        row = rows[how.name, count]
        words = ("flow", "-O", "out", "create_report=0", *modes[count], *ALL)
        duration[count] = one_kill(words, how, duration[count], row)
        found = products("out")
        unlike = [name for name in whole if found.get(name) != whole[name]]
        more = sorted(set(found) - set(whole))
        row["equal"] += not unlike and not more
        row["halves behind --resume"] += bool(halves("out"))
        if unlike or more or halves("out"):
            print(f"trial {trial} ({how.name}, {count}): {unlike} {more} {halves('out')}", flush=True)
            shutil.copytree("out", f"bad{trial}", dirs_exist_ok=True)
        if (trial + 1) % 20 == 0:
            print(f"{trial + 1} runs cut", file=sys.stderr, flush=True)


def one_kill(words, how, duration, row):
    """Kill a run, and perhaps its reruns, and let the last of them end; gives how long a whole run takes now [s]."""
    shutil.rmtree("out", ignore_errors=True)
    status, log, took = cut(words, how, random.uniform(0, duration))
    wanted = {signal.SIGKILL: -9, signal.SIGTERM: 143, signal.SIGINT: 130}[how]
    ended = log.endswith("flow terminated normally\n")
    begun = "Warning" in log or "==" in log or "Error" in log  # Python has started, and so has the program
    row["kills"] += not took
    row["ended before"] += ended
    row["killed while Python started"] += not begun
    if begun and not ended and (status != wanted or "Traceback" in log):
        row["other end"] += 1
        print(f"{how.name}: status {status}: {log[-2000:]}", flush=True)
    row["halves at once"] += bool(halves("out"))
    for _ in range(2):
        if random.random() < 0.5:
            row["kills"] += not cut((*words, "--resume"), how, random.uniform(0, duration))[2]
    status, log = mopex(*words, "--resume")
    row["resumed"] += status == 0 and log.endswith("flow terminated normally\n")
    if status:
        print(log[-3000:], flush=True)
    row["modules skipped"] += sum(map(int, re.findall(r"(\d+) of \d+ modules are done and skipped", log)))
    row["modules skipped"] += sum(map(int, re.findall(r"all (\d+) modules are done", log)))
    row["runs"] += 1
    return took or duration


def table(rows):
    """Print what became of the runs."""
    names = ["runs", "kills", "ended before", "killed while Python started", "other end", "halves at once"]
    names += ["resumed", "modules skipped", "equal", "halves behind --resume"]
    print("| signal | processes | " + " | ".join(names) + " |")
    for (how, count), row in sorted(rows.items()):
        print(f"| {how} | {count} | " + " | ".join(str(row[name]) for name in names) + " |")


def files(folder, frames=2000):
    """Run with 64 open files."""
    prepare(folder, 32, frames, 100)

    def few():
        resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))

    for mode in (("do_multiprocess=off",), ("do_multiprocess=manual", "ncpu_multiprocess=2")):
        started = time.monotonic()
        words = ("-O", "out", "create_report=0", *mode, *ALL)
        status, log = mopex("flow", *words, preexec_fn=few)
        print(f"{frames} frames, 64 files, {mode[-1]}: status {status}, {time.monotonic() - started:.0f} s")
        if status:
            print(log[-2000:])


def memory(folder):
    """Run with less and less address space, and go on with enough."""
    prepare(folder, 64, 6, 40)
    must("flow", "-O", "out", "create_report=0", "do_multiprocess=off", *ALL)
    whole = products("out")
    for megabytes in (2000, 1000, 800, 700, 600, 550, 510, 400):

        def little(size=megabytes):
            resource.setrlimit(resource.RLIMIT_AS, (size << 20, size << 20))

        for mode in (("do_multiprocess=off",), ("do_multiprocess=manual", "ncpu_multiprocess=2")):
            shutil.rmtree("out", ignore_errors=True)
            words = ("flow", "-O", "out", "create_report=0", *mode, *ALL)
            status, log = mopex(*words, preexec_fn=little)
            errors = [line for line in log.splitlines() if line.startswith("Error")]
            print(f"{megabytes} MB, {mode[-1]}: status {status} {errors[:1]}", flush=True)
            if "Traceback" in log:
                print(log[-1500:])
            status, _ = mopex(*words, "--resume")
            print(f"  --resume with enough: status {status}, equal {products('out') == whole}", flush=True)


def disk(folder):
    """Run on a file system that fills up, and on one that is read-only; go on with space."""
    prepare(folder, 64, 6, 40)
    must("flow", "-O", "small/out", "create_report=0", "do_multiprocess=off", *ALL)
    whole = products("small/out")
    size = sum(len(data) for data in whole.values())
    for share in (0.1, 0.3, 0.5, 0.7, 0.9):
        mount(f"size={int(size * share) >> 10}k")
        try:
            words = ("flow", "-O", "small/out", "create_report=0", "do_multiprocess=off", *ALL)
            status, log = mopex(*words)
            errors = [line for line in log.splitlines() if line.startswith("Error")]
            print(f"{share:.0%} of the space: status {status} {errors}, halves {halves('small/out')}")
            subprocess.run(["mount", "-o", f"remount,size={4 * size >> 10}k", "small"], check=True)
            status, _ = mopex(*words, "--resume")
            print(f"  --resume with enough: status {status}, equal {products('small/out') == whole}")
            subprocess.run(["mount", "-o", "remount,ro", "small"], check=True)
            for rerun in (words, (*words, "--resume")):
                status, log = mopex(*rerun)
                errors = [line for line in log.splitlines() if line.startswith("Error")]
                print(f"  read-only: status {status} {errors}")
        finally:
            subprocess.run(["umount", "small"], check=True)


def mount(options):
    Path("small").mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", "small"], check=True)


if __name__ == "__main__":
    {"kills": kills, "files": files, "memory": memory, "disk": disk}[sys.argv[1]](
        os.path.abspath(sys.argv[2]), *map(int, sys.argv[3:])
    )
