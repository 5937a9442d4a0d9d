"""Select: rows and columns of the extraction table."""

from __future__ import annotations

from pymopex.kit.selecting import check_selection, select_table
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name what is wrong in the conditions, and formats that there are not."""
    from pymopex.kit.catalogues import words

    p, problems = run.params, check_selection(run, "select_conditions")
    try:
        words(p.Catalogue_Formats)
    except ValueError as problem:
        problems.append(f"{p.origin('Catalogue_Formats')}: Catalogue_Formats = {problem}")
    return problems


def run(run: Run) -> None:
    """Write ``extract.tbl``: the rows of ``extract_raw.tbl`` that fulfil the conditions.

    Notes
    -----
    Further forms of it are written as ``extract.fits``, ``extract.ecsv``, ``extract.vot`` and ``extract.reg``
    (``Catalogue_Formats``), with units, meanings and the keywords of the table. Regions are green for a successful fit,
    yellow for one with chi2 above the threshold, and red for a failed one.
    """
    from pymopex.kit.catalogues import export, words

    p, source, target = run.params, run.existing("extract_raw"), run.path("extract")
    catalogue = select_table(run, source, target, p.select_columns, p.select_conditions)
    export(run, words(p.Catalogue_Formats), catalogue)
