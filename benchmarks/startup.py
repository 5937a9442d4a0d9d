"""Start-up: time of what must come at once, in seconds.

    python benchmarks/startup.py

Each command runs in a process of its own, as from a shell; the median and the largest of the times are printed. The
limit is 0.3 s.
"""

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

REPEATS = 15
LIMIT = 0.3  # s
COMMANDS = (
    ("--version", 0),
    ("--help", 0),
    ("list", 0),
    ("sourcestimate --help", 0),
    ("sourcestimate --template", 0),
    ("drive apex --help", 0),
    ("view --help", 0),
    ("send --help", 0),
    ("medfilter mosaic_I1.nl Window_X=2", 2),
    ("drive mosaic -n mosaic_I1.nl -I images.txt OUTPUT_DRI=out", 2),
    ("flow -I images.txt overlap_I1.nl mosaic_I1.nl apex_I1.nl apex_qa_I1.nl MEDFILTER.Window_X=two", 2),
)


def seconds(program: str, words: list[str], status: int) -> float:
    started = time.perf_counter()
    found = subprocess.run([program, *words], capture_output=True)
    taken = time.perf_counter() - started
    if found.returncode != status:
        raise SystemExit(
            f"{' '.join(words)}: exit status {found.returncode}, not {status}\n{found.stdout.decode()}"
        )
    return taken


def processor() -> str:
    """Name of the processor, where the system tells it."""
    try:
        with open("/proc/cpuinfo") as file:
            names = [line.split(":")[1].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def main() -> None:
    program = shutil.which("mopex", path=os.path.dirname(sys.executable)) or "mopex"
    print(
        f"{processor()}, {os.cpu_count()} processors; {platform.system()}, Python {platform.python_version()}"
    )
    print("median  largest  command")
    slow = False
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        subprocess.run([program, "new", "flow", "I1"], check=True, capture_output=True)
        with open("images.txt", "w") as file:
            file.write("".join(f"frame{number}.fits\n" for number in range(1000)))
        for command, status in COMMANDS:
            times = [seconds(program, command.split(), status) for _ in range(REPEATS)]
            slow |= statistics.median(times) > LIMIT
            print(f"{statistics.median(times):6.3f}  {max(times):7.3f}  mopex {command}")
        os.chdir("/")
    print(f"slower than {LIMIT} s" if slow else f"all below {LIMIT} s")


if __name__ == "__main__":
    main()
