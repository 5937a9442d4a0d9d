"""Select: rows and columns of the extraction table."""

from __future__ import annotations

from pymopex.kit.selecting import check_selection, select_table
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name what is wrong in the conditions."""
    return check_selection(run, "select_conditions")


def run(run: Run) -> None:
    """Write ``extract.tbl``: the rows of ``extract_raw.tbl`` that fulfil the conditions."""
    p = run.params
    select_table(run, run.existing("extract_raw"), run.path("extract"), p.select_columns, p.select_conditions)
