"""Catalogues in the formats of other programs: FITS, ECSV, VOTable, HDF5, and regions for DS9."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from pymopex.columns import Column
from pymopex.kit.errors import InputError
from pymopex.kit.files import write_text

if TYPE_CHECKING:
    from astropy.table import Table

    from pymopex.kit.task import Run

FORMATS = {"fits": "extract_fits", "ecsv": "extract_ecsv", "votable": "extract_vot", "reg": "extract_reg"}
"""Formats by the word of the namelist, and their products; besides these there is ``h5``."""

COLOURS = {1: "green", 2: "yellow", 0: "red"}
"""Colours of regions by status: successful, chi2 above the threshold, failed."""

_RADIUS = 3.0  # arcsec, of a region


@dataclass(frozen=True)
class Catalogue:
    """A table to be written.

    Parameters
    ----------
    columns : sequence of Column
        Declarations, in order.
    values : dict of str to ndarray, shape (n,)
        Values by the name of the column.
    keywords : dict of str to object
        Facts of the whole table, such as Conversion.
    provenance : sequence of str
        What made it: program, task and parameters, a line each.
    """

    columns: Sequence[Column]
    values: dict[str, Any]
    keywords: dict[str, Any] = field(default_factory=dict)
    provenance: Sequence[str] = ()


def words(text: str) -> list[str]:
    """Read a list of formats.

    Parameters
    ----------
    text : str
        Words between commas or blanks: fits, ecsv, votable, reg, h5.

    Returns
    -------
    list of str
        Each once, in lower case.

    Raises
    ------
    ValueError
        A word is no format.
    """
    found = list(dict.fromkeys(word for word in re.split(r"[\s,]+", text.strip().casefold()) if word))
    unknown = [word for word in found if word not in FORMATS and word != "h5"]
    if unknown:
        raise ValueError(f"{', '.join(unknown)}: not among {', '.join([*FORMATS, 'h5'])}")
    return found


def astropy_table(catalogue: Catalogue) -> Table:
    """Give a catalogue as a table of astropy, with units, meanings, keywords and provenance.

    Parameters
    ----------
    catalogue : Catalogue
        The catalogue.

    Returns
    -------
    astropy.table.Table
        Missing numbers are NaN; a column of whole numbers that misses some is one of fractions.
    """
    from astropy.table import Column as AstropyColumn
    from astropy.table import Table

    table = Table()
    for column in catalogue.columns:
        values = catalogue.values[column.name]
        table[column.name] = AstropyColumn(values, unit=column.unit or None, description=column.meaning)
    table.meta.update(catalogue.keywords)
    table.meta["HISTORY"] = list(catalogue.provenance)
    return table


def provenance(run: Run) -> list[str]:
    """Give the lines that tell how the task at work makes its products."""
    from pymopex import __version__

    return [f"Output from pymopex {__version__} {run.task}", *run.params.cards()]


def export(run: Run, forms: Sequence[str], catalogue: Catalogue) -> None:
    """Write a catalogue in some formats as products of the task at work."""
    for form in forms:
        path = run.path(FORMATS.get(form, "extract_h5"))
        if form == "h5":
            from pymopex.kit.measurements import add_selected

            add_selected(path, catalogue)
        else:
            write_catalogue(path, form, catalogue)
        run.keep(path)


def write_catalogue(path: str, form: str, catalogue: Catalogue) -> None:
    """Write a catalogue, whole or not at all.

    Parameters
    ----------
    path : str
        The file.
    form : str
        A word of `FORMATS`.
    catalogue : Catalogue
        The catalogue.

    Raises
    ------
    InputError
        Regions are asked for and there are no columns RA and Dec.
    """
    _WRITERS[form](path, catalogue)


def _write_fits(path: str, catalogue: Catalogue) -> None:
    """Write a binary table; the meanings are the comments of its TTYPE cards."""
    import numpy as np
    from astropy.io import fits

    from pymopex.kit.files import whole

    columns = []
    for column in catalogue.columns:
        values = np.asarray(catalogue.values[column.name])
        form = (
            f"{max(1, values.dtype.itemsize // 4)}A"
            if values.dtype.kind == "U"
            else _FORMS[values.dtype.kind]
        )
        columns.append(fits.Column(column.name, form, unit=column.unit or None, array=values))
    hdu = fits.BinTableHDU.from_columns(columns, name="EXTRACT")
    for number, column in enumerate(catalogue.columns, 1):
        hdu.header.comments[f"TTYPE{number}"] = column.meaning[:_COMMENT]
    for key, value in catalogue.keywords.items():
        name = key if len(key) <= _CARD and "." not in key else f"HIERARCH {key}"
        hdu.header[name] = value
    for line in catalogue.provenance:
        hdu.header.add_history(line)
    with whole(path) as temporary:
        hdu.writeto(temporary, checksum=False)


_FORMS = {"i": "K", "f": "D", "b": "L"}
_COMMENT = 47  # letters of a card that a comment may have without being cut with a word of warning
_CARD = 8  # letters of a keyword


def _write_ecsv(path: str, catalogue: Catalogue) -> None:
    from pymopex.kit.files import whole

    with whole(path) as temporary:
        astropy_table(catalogue).write(temporary, format="ascii.ecsv", overwrite=True)


def _write_votable(path: str, catalogue: Catalogue) -> None:
    """Write a VOTable; keywords are its parameters, provenance its description."""
    from astropy.io import votable
    from astropy.io.votable.tree import Param

    from pymopex.kit.files import whole

    table = astropy_table(catalogue)
    table.meta.clear()
    table.rename_columns(table.colnames, [name.replace("/", "_") for name in table.colnames])
    tree = votable.from_table(table)
    tree.description = "\n".join(catalogue.provenance)
    first = tree.get_first_table()
    for entry, column in zip(first.fields, catalogue.columns, strict=True):
        entry.name = column.name  # the identifier, made from the name before, holds no slash
    for key, value in catalogue.keywords.items():
        kind = {"datatype": "char", "arraysize": "*"} if isinstance(value, str) else {"datatype": "double"}
        first.params.append(Param(tree, name=key, value=value, **kind))
    with whole(path) as temporary:
        tree.to_xml(temporary, tabledata_format="binary2")


def _write_regions(path: str, catalogue: Catalogue) -> None:
    """Write circles with the number of the source, coloured by its status."""
    write_text(path, regions(catalogue))


_WRITERS: dict[str, Callable[[str, Catalogue], None]] = {
    "fits": _write_fits,
    "ecsv": _write_ecsv,
    "votable": _write_votable,
    "reg": _write_regions,
}


def regions(catalogue: Catalogue) -> str:
    """Give the regions of DS9 of a catalogue.

    Parameters
    ----------
    catalogue : Catalogue
        With columns RA and Dec [deg]; srcid labels the circles and status colours them, if they are there.

    Returns
    -------
    str
        A line for each source with a place.

    Raises
    ------
    InputError
        There is no column RA or Dec.
    """
    import numpy as np

    by_name = {name.casefold(): values for name, values in catalogue.values.items()}
    if not {"ra", "dec"} <= set(by_name):
        raise InputError("Catalogue_Formats: reg needs the columns RA and Dec (select_columns)")
    ra, dec = by_name["ra"], by_name["dec"]
    label = by_name.get("srcid", np.arange(1, len(ra) + 1))
    status = by_name.get("status", np.ones(len(ra), int))
    lines = ["# Region file format: DS9 version 4.1", *(f"# {line}" for line in catalogue.provenance)]
    lines += ['global color=green width=1 font="helvetica 10 normal roman"', "fk5"]
    for one in zip(ra, dec, label, status, strict=True):
        if np.isfinite(one[:2]).all():
            colour = COLOURS.get(int(one[3]), "cyan")
            lines.append(f'circle({one[0]:.7f},{one[1]:.7f},{_RADIUS:g}") # color={colour} text={{{one[2]}}}')
    return "\n".join(lines) + "\n"


def read_light_curve(path: str, srcid: int) -> Table:
    """Read the measurements of one source in single frames.

    Parameters
    ----------
    path : str
        ``extract.h5`` of Source Estimate.
    srcid : int
        Number of the source in ``extract_raw.tbl``.

    Returns
    -------
    astropy.table.Table
        A row for each frame, with units and meanings, in the order of the frames; empty for a source without any.

    Raises
    ------
    InputError
        The file is missing or holds no light curves.

    Notes
    -----
    The index of the table is searched, so that the time does not grow with the number of sources.
    """
    import tables
    from astropy.table import Table

    try:
        with tables.open_file(path) as file:
            found = file.root.lightcurve
            rows = found.read_where("srcid == wanted", {"wanted": srcid})
            attributes = {name: _described(found, name) for name in found.colnames}
    except (OSError, tables.NoSuchNodeError) as problem:
        raise InputError(f"{path}: holds no light curves: {problem}") from None
    rows.sort(order="frame")
    table = Table(rows)
    for name, (unit, meaning) in attributes.items():
        table[name].unit, table[name].description = unit or None, meaning
    return table


def _described(table: Any, name: str) -> tuple[str, str]:
    number = table.colnames.index(name)
    return str(table.attrs[f"FIELD_{number}_UNIT"]), str(table.attrs[f"FIELD_{number}_MEANING"])
