"""Spoiled texts for the readers of namelists, lists, fiducial frames, PRF maps and IPAC tables: seconds and failures.

    python benchmarks/fuzz.py [CASES]

Runs the cases of tests/kit/test_fuzz.py, 100,000 unless a number is given, a fifth for each reader.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

TEST = Path(__file__).parent.parent / "tests" / "kit" / "test_fuzz.py"
READERS = 5


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    begin = time.time()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TEST)],
        env={**os.environ, "FUZZ_EXAMPLES": str(-(-cases // READERS))},
        check=False,
    )
    spent = os.times()
    cpu = spent.children_user + spent.children_system
    print(
        f"{cases} cases: {cpu:.0f} s of processor time, {time.time() - begin:.0f} s, exit status {done.returncode}"
    )


if __name__ == "__main__":
    main()
