"""Photometric Corrections: the published factors on the fluxes of an extraction table."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

from pymopex.kit.array_location import correction_problems
from pymopex.kit.checking import problems_of
from pymopex.kit.correcting import (
    Camera,
    Factor,
    aperture_factors,
    camera,
    colour_factor,
    prf_factor,
    read_response,
    spectrum,
    unit_factor,
)
from pymopex.kit.correcting_by_place import by_place, check_camera
from pymopex.kit.errors import InputError
from pymopex.kit.layers import write_table_whole
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.kit.ipac import Table


def check(run: Run) -> list[str]:
    """Name corrections that cannot be made, before any work starts."""
    p = run.params
    problems = problems_of(lambda: spectrum(run) and None)
    if p.Response_Curve:
        problems += problems_of(lambda: read_response(p.Response_Curve) and None)
    if p.Source_Colour == "index" and p.Spectral_Index is None:
        problems.append(f"{p.origin('Source_Colour')}: PHOTCORR.Source_Colour = index: needs Spectral_Index")
    if p.Array_Correction == "frames":
        problems += correction_problems(run)
    if problems:
        return problems
    return problems_of(lambda: check_camera(run, camera(run)))


def run(run: Run) -> None:
    """Write ``photcorr.tbl``: the table with corrected fluxes, all its columns untouched and the new ones behind.

    Notes
    -----
    Every factor multiplies the flux. ``flux_corr`` is ``flux`` times ``prf_corr``, ``array_corr``, ``phase_corr`` and
    ``colour_corr``; ``aperture<n>_corr`` has the factor ``ap_corr<n>`` in place of ``prf_corr``. Uncertainties are
    multiplied by the same; what the factors and the calibration are uncertain by (2 to 3 % for IRAC) is not in them.
    Keywords of the table tell where each factor comes from, and ``CORR_TOTAL_MEDIAN`` the median of the whole.

    PRF fluxes: over 1.021, 1.012, 1.022, 1.014 in IRAC 1 to 4 (table C.1), for PRFs normalised within 10 pixels.

    Array location: the value of ``mosaic_arraycorr.fits`` at the source, or the mean of the correction image over the
    frames that hold it (by ``N_Edge`` of Source Estimate). Blue sources (Rayleigh-Jeans) need all of it, red ones none;
    with ``Source_Colour = index`` the part alpha/2 of it, from 0 at alpha = 0 to 1 at alpha = 2. ``auto`` takes the
    mosaic if there is one, else the frames if ARRAY_CORR_IMAGE is given, else nothing, and says so.

    Pixel phase: 1 over the response of IRAC 1 and 2, mean over the frames; IRAC 3 and 4 have none. It was measured with
    apertures of 3 pixels on single frames; the PRF holds most of it already, so that it is off by default.

    Apertures: the published table whose radius and annulus agree within 3 %, else ``Aperture_Correction_<n>``.

    Colour: 1/K, from the tables of the handbook (power laws -2 to 2, blackbodies above 200 K), or integrated over a
    response curve. Tables and curves of IRAC agree to 0.5 % in channels 1 and 2 above 600 K, 1.2 % in channels 3 and 4,
    and 3 % at 200 K.

    What does not apply to MIPS: the PRF normalisation is 1 with a word on it; array location, pixel phase, and
    apertures of 70 and 160 micrometre are refused where they are asked for by name.
    """
    import numpy as np
    from pymopex.kit.ipac import read_table

    table, seen = read_table(_input(run)), camera(run)
    check_camera(run, seen)
    located, phased = by_place(run, seen, table)
    shared = {"array_corr": located, "phase_corr": phased, "colour_corr": colour_factor(run, seen)}
    numbers = _numbers(table)
    fitted = any(name.casefold() == "flux" for name in table.columns)
    if not fitted and not numbers:
        raise InputError(f"{table.path}: has neither flux nor aperture1; no fluxes to be corrected")
    new: dict[str, Any] = {name: _full(factor, len(table)) for name, factor in shared.items()}
    product = np.prod(list(new.values()), axis=0)
    words = {"camera": str(seen)} | {name: factor.origin for name, factor in shared.items()}
    if fitted:
        prf, unit = prf_factor(run, seen), unit_factor(run, table, "flux")
        new["prf_corr"] = _full(prf, len(table))
        words |= {"prf_corr": prf.origin, "unit": unit.origin}
        total = product * new["prf_corr"]
        new |= _corrected(run, seen, table, ("flux", "delta_flux"), ("", ""), total * unit.value)
        words["total_median"] = f"{np.nanmedian(total):.6f}" if len(total) else "none"
    for number, factor in aperture_factors(run, seen, numbers).items():
        names = (f"aperture{number}", f"ap_unc{number}")
        unit = unit_factor(run, table, names[0])
        new[f"ap_corr{number}"] = _full(factor, len(table))
        words[f"ap_corr{number}"] = factor.origin
        new |= _corrected(
            run, seen, table, names, (str(number), str(number)), product * factor.value * unit.value
        )
    _write(run, table, new, words)
    lost = int((~np.isfinite(product)).sum())
    run.note(
        f"{len(table)} sources of {table.path}, {seen}; " + "; ".join(f"{k} {v}" for k, v in words.items())
    )
    if lost:
        run.note(
            f"Warning: {lost} sources lie in no frame, or off the correction mosaic; their fluxes are null"
        )


def _input(run: Run) -> str:
    given = run.params.Input_Table
    if given:
        return given
    selected = run.path("extract")
    return selected if os.path.exists(selected) else run.existing("extract_raw")


def _numbers(table: Table) -> list[int]:
    found = (re.fullmatch(r"aperture([1-9]\d*)", name.casefold()) for name in table.columns)
    return sorted(int(match[1]) for match in found if match)


def _full(factor: Factor, n: int) -> np.ndarray:
    import numpy as np

    return np.broadcast_to(np.asarray(factor.value, float), (n,)).copy()


def _corrected(
    run: Run, seen: Camera, table: Table, names: tuple[str, str], ends: tuple[str, str], factor: np.ndarray
) -> dict[str, Any]:
    """Give a flux and its uncertainty times the factors, and its magnitude."""
    import numpy as np
    from pymopex.photcorr import magnitudes

    flux = table.column(names[0]) * factor
    known = any(name.casefold() == names[1] for name in table.columns)
    error = table.column(names[1]) * np.abs(factor) if known else np.full(len(flux), np.nan)
    found = {f"{names[0]}_corr": flux, f"{names[1]}_corr": error}
    if run.params.Magnitudes:
        kind = f"ap_mag{ends[0]}" if ends[0] else "mag"
        found[kind], found[f"delta_{kind}"] = magnitudes(seen.band, flux, error)
    return found


def _write(run: Run, table: Table, new: dict[str, Any], words: dict[str, str]) -> None:
    from pymopex import columns

    clash = [name for name in new if name.casefold() in {known.casefold() for known in table.columns}]
    if clash:
        raise InputError(
            f"{table.path}: has {', '.join(clash)} already: it is corrected; take the table it was made of"
        )
    spec = [columns.by_name(name, table) for name in table.columns] + [
        columns.corrected(name) for name in new
    ]
    keywords = [(kind, key, value) for key, (kind, value) in table.keywords.items()]
    keywords += [("char", f"CORR_{key.upper()}", text) for key, text in words.items()]
    write_table_whole(run, run.path("photcorr"), spec, {**table.columns, **new}, keywords)
