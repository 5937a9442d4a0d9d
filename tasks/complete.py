"""Complete: completeness and reliability from artificial stars put into the frames of a finished run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.files import unfinished_prefix
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np

_EDGES = (3.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0, 300.0, 1000.0)
_BLOCK = 400  # stars of a job


def check(run: Run) -> list[str]:
    """Name fluxes that cannot be read, products of the run that are missing, and namelists that do not fit."""
    problems = []
    if run.pipeline != "apex":
        return [
            f"{run.settings.namelist.path}: is a namelist of {run.pipeline}; that of the finished run of apex is needed"
        ]
    try:
        _fluxes(run)
    except InputError as problem:
        problems.append(str(problem))
    for product in ("extract", "prf_table", "mosaic_cov"):
        if not os.path.exists(run.path(product)):
            problems.append(f"{run.path(product)}: missing; complete needs a finished run of Mosaic and APEX")
    try:
        _namelists(run)
    except InputError as problem:
        problems.append(str(problem))
    return problems


def run(run: Run) -> None:
    """Write ``completeness.tbl`` with its picture, and ``artificial_stars.tbl``.

    Notes
    -----
    The stars are drawn with the PRFs of the run into the frames that APEX used (behind Overlap the corrected ones, as
    they are), at places that the mosaic covers. Mosaic, with its outlier rejection, and APEX run again by the
    namelists of the run, in a folder of their own. The output directory may stand for the namelist that APEX left in
    it: ``mopex complete OUT Fluxes=5,10,20``.

    A star is found if a source of the new ``extract.tbl`` and it are the nearest of each other within ``Match_Radius``,
    among the artificial stars and the sources of the first catalogue. Sources of the new catalogue that belong to
    neither are false; the reliability is that of the sources that are new: artificial stars found over these and the
    false ones. Sources that are wrong in the first catalogue already do not count.

    Bins of flux and of the signal-to-noise ratio hold the stars by their true values, and the new sources by the
    measured ones. The signal-to-noise ratio of a star is its flux over the Cramer-Rao bound of the fit in all frames.
    """
    import numpy as np
    from pymopex import columns
    from pymopex.kit.layers import write_table_whole
    from pymopex.kit.pictures import completeness_picture

    random = np.random.default_rng(run.params.Seed)
    with _folder(run) as folder:
        found = [_one(run, random, number, folder) for number in range(1, run.params.N_Runs + 1)]
    stars = {name: np.concatenate([part[name] for part, _ in found]) for name in found[0][0]}
    new = {name: np.concatenate([part[name] for _, part in found]) for name in found[0][1]}
    write_table_whole(run, run.path("artificial"), columns.ARTIFICIAL, stars)
    rows = _summary(run, stars, new)
    table = {name: [row[name] for row in rows] for name in rows[0]}
    write_table_whole(run, run.path("completeness"), columns.COMPLETENESS, table)
    run.keep(completeness_picture(table, stars, run.path("completeness_picture")))
    _report(run, rows)


def _fluxes(run: Run) -> tuple[list[float], bool]:
    """Give the fluxes to choose from, or the two ends of a range, and whether they are these."""
    p = run.params
    low, high = p.Faintest_Flux, p.Brightest_Flux
    if not p.Fluxes:
        if low is None or high is None:
            raise InputError(
                "COMPLETE.Fluxes is not given: give it, or both Faintest_Flux and Brightest_Flux [uJy], with complete"
            )
        if not low < high:
            raise InputError(
                f"{p.origin('Brightest_Flux')}: COMPLETE.Brightest_Flux = {high:g} must be above "
                f"Faintest_Flux = {low:g}"
            )
        return [low, high], True
    try:
        values = [float(word) for word in str(p.Fluxes).replace(",", " ").split()]
    except ValueError:
        values = []
    if not values or not all(0 < value < 1e12 for value in values):
        raise InputError(
            f"{p.origin('Fluxes')}: COMPLETE.Fluxes = {p.Fluxes}: positive numbers are needed, such as 5, 10"
        )
    return values, False


def _namelists(run: Run) -> list[str]:
    """Give the namelists of the rerun: that of Mosaic, unless APEX made the mosaic itself, and that of APEX."""
    from pymopex.kit.artificial import namelist_of

    own = run.settings.namelist.path
    mosaic = run.params.Mosaic_Namelist
    if mosaic and not os.path.exists(mosaic):
        raise InputError(f"{run.params.origin('Mosaic_Namelist')}: Mosaic_Namelist = {mosaic}: no such file")
    mosaic = mosaic or namelist_of(run.globals.OUTPUT_DIR, "mosaic")
    if mosaic:
        return [mosaic, own]
    if not run.switched("mosaic_coadder"):
        raise InputError(
            f"{run.globals.OUTPUT_DIR}: holds no namelist of mosaic, and {own} makes no mosaic; give "
            "COMPLETE.Mosaic_Namelist"
        )
    return [own]


@contextmanager
def _folder(run: Run) -> Iterator[str]:
    """Make the folder of the reruns, which is gone in the end unless it is kept."""
    top = run.globals.OUTPUT_DIR
    if run.params.Keep_Runs:
        folder = os.path.join(top, "Complete")
        os.makedirs(folder, exist_ok=True)
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix=unfinished_prefix(), dir=top) as folder:
        yield folder


def _one(run: Run, random: Any, number: int, folder: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Put stars into the frames, run the flow on them, and give what was found of them and what else is new."""
    import numpy as np
    from pymopex.kit.artificial import blocks_of, put_stars, rerun, star_job
    from pymopex.kit.ipac import read_table
    from pymopex.kit.truth import bounds

    p, place = run.params, os.path.join(folder, f"run_{number}")
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(place)
    ra, dec, flux = _stars(run, random)
    table = os.path.abspath(run.existing("prf_table"))
    job = star_job(run, ra, dec, flux, table)
    dark = star_job(run, ra, dec, 0 * flux, table)
    jobs = [(part, flux) for part in blocks_of(dark, _BLOCK)]
    error = np.concatenate(run.map(bounds, jobs, "blocks of stars"))[:, 2]
    lists = put_stars(run, place, job, (p.Seed, number) if p.Photon_Noise else None, p.Gain)
    catalogue = read_table(rerun(run, place, _namelists(run), lists))
    stars, new = _matched(run, (ra, dec, flux), read_table(run.path("extract")), catalogue)
    if not p.Keep_Runs:
        shutil.rmtree(place)
    run.note(
        f"run {number}: {int(stars['found'].sum())} of {len(ra)} stars found; "
        f"{int(new['false'].sum())} sources are false"
    )
    return {"run": np.full(len(ra), number), "SNR": flux / error, **stars}, new


def _stars(run: Run, random: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Draw the stars of a rerun: right ascension, declination and flux."""
    import numpy as np
    from pymopex.artificial import draw_fluxes, draw_places
    from pymopex.kit.images import read_image
    from pymopex.kit.ipac import read_table
    from pymopex.kit.searched import pixel_grid

    p, grid = run.params, pixel_grid(run)
    pixel = grid.side * 3600
    values, even = _fluxes(run)
    flux = draw_fluxes(random, p.N_Stars, np.array(values), spread_out=even)
    coverage = read_image(run.path("mosaic_cov"), dtype="f4")[0]
    avoid = None
    if p.Avoid_Flux is not None:
        known = read_table(run.path("extract"))
        bright = known.column("flux") >= p.Avoid_Flux
        avoid = np.column_stack([known.column("x")[bright] - 1, known.column("y")[bright] - 1])
    try:
        at = draw_places(
            random,
            p.N_Stars,
            coverage >= p.Least_Coverage,
            p.Min_Separation / pixel,
            avoid,
            p.Avoid_Radius / pixel,
        )
    except ValueError as problem:
        raise InputError(
            f"{run.path('mosaic_cov')}: {problem}; take a smaller COMPLETE.N_Stars, Min_Separation, Least_Coverage "
            "or Avoid_Radius"
        ) from None
    ra, dec = grid.to_sky(at[:, 0] + 1, at[:, 1] + 1)
    return ra, dec, flux


def _matched(run: Run, stars: tuple, first: Any, catalogue: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """Match a catalogue with the stars and the first catalogue together."""
    import numpy as np
    from pymopex.comparison import match, sky_offsets

    ra, dec, flux = stars
    known = (np.asarray(first.column(name), float) for name in ("RA", "Dec"))
    both = [np.concatenate([own, other]) for own, other in zip((ra, dec), known, strict=True)]
    at = [np.asarray(catalogue.column(name), float) for name in ("RA", "Dec")]
    source, target = match(*at, *both, run.params.Match_Radius)
    n = len(ra)
    mine = target < n
    which, star = source[mine], target[mine]
    out: dict[str, Any] = {
        "RA": ra,
        "Dec": dec,
        "flux": flux,
        "found": np.zeros(n, int),
        "srcid": np.zeros(n, int),
    }
    out["found"][star], out["srcid"][star] = 1, catalogue.column("srcid")[which]
    out |= {name: np.full(n, np.nan) for name in ("flux_fit", "delta_flux", "east", "north")}
    measured, error = (np.asarray(catalogue.column(name), float) for name in ("flux", "delta_flux"))
    out["flux_fit"][star], out["delta_flux"][star] = measured[which], error[which]
    east, north = sky_offsets(at[0][which], at[1][which], ra[star], dec[star])
    out["east"][star], out["north"][star] = east, north
    fresh = np.ones(len(measured), bool)
    fresh[source[~mine]] = False
    false = fresh.copy()
    false[which] = False
    with np.errstate(invalid="ignore", divide="ignore"):
        return out, {"flux": measured[fresh], "SNR": (measured / error)[fresh], "false": false[fresh]}


def _summary(run: Run, stars: dict[str, Any], new: dict[str, Any]) -> list[dict[str, Any]]:
    """Make the rows of the table: bins of flux, then of signal-to-noise ratio."""
    import numpy as np
    from pymopex.artificial import Recovery, summary

    values, even = _fluxes(run)
    names = ("flux", "SNR", "flux_fit", "delta_flux", "east", "north")
    recovery = Recovery(*(np.asarray(stars[name], float) for name in names))
    if even:
        limits = list(pairwise(np.geomspace(values[0], values[1], run.params.N_Bins + 1).tolist()))
    else:
        limits = [(value, value) for value in sorted(set(values))]
    rows = summary(recovery, "flux", limits, new["flux"], new["false"])
    steps = [
        (low, high) for low, high in pairwise(_EDGES) if ((recovery.snr >= low) & (recovery.snr < high)).any()
    ]
    return rows + summary(recovery, "SNR", steps, new["SNR"], new["false"])


def _report(run: Run, rows: list[dict[str, Any]]) -> None:
    run.note("  of     from        to  stars  complete  new sources  reliable  flux bias   scatter")
    for row in rows:
        run.note(
            f"{row['by']:>4s} {row['low']:8.4g}  {row['high']:8.4g} {row['n_stars']:6d} "
            f"{100 * row['completeness']:7.2f} % {row['n_new']:12d} {100 * row['reliability']:7.2f} % "
            f"{100 * row['flux_bias']:+8.2f} % {100 * row['flux_scatter']:7.2f} %"
        )
