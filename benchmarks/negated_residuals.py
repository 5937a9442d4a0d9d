"""How many peaks of the search for further sources may be errors: the same search in the residuals, negated.

    python benchmarks/negated_residuals.py NAMELIST [KEY=VALUE ...]

NAMELIST is the one that a run of APEX has left in its output directory, such as that of ``benchmarks/real_aor.py``
(``OUT/apex_I1.nl``). Source Estimate runs again, in one process. For each part of the sky the peaks above some
significances are counted, among them those that the search takes; and so are those of the residuals with the opposite
sign, which no source makes: noise, and errors of the PRF, are about as often negative as positive. The rule about
single frames, of which one may hold a hit, is left out for both.
"""

import sys
from collections import Counter
from dataclasses import replace

import numpy as np
from pymopex.kit import cli, residual_search
from pymopex.residual_search import find_peaks

THRESHOLDS = (5.0, 7.0, 10.0)
counts: Counter = Counter()


def counting(scores, rules):
    """Find the peaks as usual, and count those of either sign."""
    if scores.count.any():
        nothing = np.zeros_like(scores.top)
        for sign, name in ((1, "as they are"), (-1, "negated")):
            both = replace(scores, top=sign * scores.top, first=nothing, first_norm=nothing)
            for threshold in THRESHOLDS:
                counts[name, threshold] += find_peaks(both, replace(rules, threshold=threshold))[0].size
    return find_peaks(scores, rules)


def main():
    residual_search.find_peaks = counting
    status = cli.main(["sourcestimate", *sys.argv[1:], "do_multiprocess=off"])
    print("peaks above       " + "".join(f"{threshold:8g}" for threshold in THRESHOLDS))
    for name in ("as they are", "negated"):
        print(f"{name:18}" + "".join(f"{counts[name, threshold]:8d}" for threshold in THRESHOLDS))
    return status


if __name__ == "__main__":
    raise SystemExit(main())
