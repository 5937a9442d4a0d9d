"""Writing the selected rows and columns of a table, for Select and Select Detect."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymopex.kit.errors import InputError

if TYPE_CHECKING:
    from pymopex.kit.catalogues import Catalogue
    from pymopex.kit.task import Run


def check_selection(run: Run, key: str) -> list[str]:
    """Name what is wrong in the conditions, as far as it shows without the table."""
    from pymopex.selection import parse_condition

    text = getattr(run.params, key)
    try:
        if text:
            parse_condition(text)
    except ValueError as problem:
        return [f"{run.params.origin(key)}: {key} = {text}: {problem}"]
    return []


def select_table(run: Run, source: str, target: str, names: str, conditions: str) -> Catalogue:
    """Write the rows of `source` that fulfil the conditions, in the named columns, to `target`; gives them, too."""
    from pymopex import columns
    from pymopex.kit.catalogues import Catalogue, provenance
    from pymopex.kit.ipac import read_table
    from pymopex.kit.layers import write_table_whole
    from pymopex.selection import parse_columns, select

    table = read_table(source)
    try:
        chosen = select(conditions, table.columns)
        kept = parse_columns(names, list(table.columns))
    except ValueError as problem:
        raise InputError(f"{source}: {problem}") from None
    spec = [columns.by_name(name, table) for name in kept]
    rows = {name: table.columns[name][chosen.rows] for name in kept}
    keywords = [(kind, key, value) for key, (kind, value) in table.keywords.items()]
    write_table_whole(run, target, spec, rows, keywords)
    for clause, alone, together in chosen.counts:
        run.note(f"{clause}: {alone} rows alone, {together} with those before")
    run.note(f"{int(chosen.rows.sum())} of {len(chosen.rows)} rows kept")
    facts = {key: _fact(kind, value) for kind, key, value in keywords}
    return Catalogue(spec, rows, facts, [*table.comments, *provenance(run)])


def _fact(kind: str, value: str) -> float | int | str:
    """Give the value of a keyword as a number, if its kind says so."""
    convert = {"real": float, "double": float, "float": float, "int": int}.get(kind.casefold(), str)
    try:
        return convert(value)
    except ValueError:
        return value
