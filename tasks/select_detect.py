"""Select Detect: rows and columns of the detection table."""

from __future__ import annotations

from pymopex.kit.selecting import check_selection, select_table
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name what is wrong in the conditions."""
    return check_selection(run, "select_detect_conditions")


def run(run: Run) -> None:
    """Overwrite ``detect.tbl`` with the rows of ``detect_raw.tbl`` that fulfil the conditions.

    Notes
    -----
    ``select_columns`` and ``select_conditions`` are those of Select; here the keys of Select Detect alone count.
    """
    p = run.params
    columns, conditions = p.select_detect_columns, p.select_detect_conditions
    select_table(run, run.existing("detect_raw"), run.path("detect"), columns, conditions)
