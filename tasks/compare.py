"""Compare: products of a flow against the truth of a simulation."""

from __future__ import annotations

import os
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.files import write_text
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np

_BLOCK = 400  # stars of a job
_EDGES = (3.0, 5.0, 7.0, 10.0, 20.0, 50.0, 100.0, 300.0, 1000.0, 1e9)
_FEWEST = 5  # stars of a bin


@dataclass(frozen=True)
class _Stars:
    """The true stars that frames hold, with the errors of the best possible fit: u, v [arcsec], flux [uJy]."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    saturated: np.ndarray
    n_frames: np.ndarray
    bound: np.ndarray

    @property
    def snr(self) -> np.ndarray:
        """Flux over its smallest possible error."""
        return self.flux / self.bound[:, 2]


def check(run: Run) -> list[str]:
    """Name a truth that is missing."""
    folder = run.params.Truth_Dir
    missing = [
        name for name in ("sources.tbl", "offsets.tbl") if not os.path.exists(os.path.join(folder, name))
    ]
    if not folder or missing:
        return [
            f"{run.params.origin('Truth_Dir')}: Truth_Dir = {folder}: holds no {' and no '.join(missing)}"
        ]
    return []


def run(run: Run) -> None:
    """Write ``comparison.txt``: offsets, rejected pixels, sources and fluxes against the truth; and a picture.

    Notes
    -----
    Run it with the namelist that APEX left in the output directory: it holds the lists and settings of the flow.
    The signal-to-noise ratio of a star is its true flux over the Cramer-Rao bound of the fit in all its frames.
    """
    from pymopex.kit.pictures import flow_picture

    lines = [*_offsets(run), *_rejected(run), *_sources(run)]
    for line in lines:
        run.note(line)
    write_text(run.path("comparison"), "\n".join(lines) + "\n")
    run.keep(run.path("comparison"))
    if all(os.path.exists(run.path(product)) for product in ("mosaic", "extract")):
        run.keep(flow_picture(run, run.path("comparison_picture")))


def _truth(run: Run, name: str) -> Any:
    from pymopex.kit.ipac import read_table

    return read_table(os.path.join(run.params.Truth_Dir, name))


def _offsets(run: Run) -> list[str]:
    """Compare the overlap correction with the constants that the frames were made with."""
    import numpy as np
    from pymopex.comparison import offset_residuals
    from pymopex.kit.ipac import read_table

    path = run.path("offsets")
    if not os.path.exists(path):
        return []
    found, true = read_table(path), _truth(run, "offsets.tbl")
    place = {os.path.basename(str(name)): i for i, name in enumerate(true.column("file"))}
    names = [os.path.basename(str(name)) for name in found.column("file")]
    if not set(names) <= set(place):
        raise InputError(f"{path}: holds frames that the truth does not know")
    offsets = true.column("offset")[[place[name] for name in names]]
    left = offset_residuals(found.column("offset"), offsets, found.column("group"))
    errors = found.column("delta_offset")
    errors = errors[np.isfinite(errors)]  # a table that was given has none
    expected = f"; expected from their uncertainties {np.mean(errors**2) ** 0.5:.6f}" if errors.size else ""
    return [
        f"offsets: true rms {offsets.std():.6f}, left after the correction {left.std():.6f} MJy/sr{expected}"
    ]


def _rejected(run: Run) -> list[str]:
    """Compare the outlier masks with the hits."""
    from pymopex.kit.truth import DEPTHS, RejectionJob, count_rejected, true_base

    stars = _truth(run, "sources.tbl")
    whole = stars.column("saturated") == 0
    ra, dec, flux = (stars.column(name)[whole] for name in ("ra", "dec", "flux"))
    hits = {files.index: _hits(run, true_base(files.base)) for files in run.frames()}
    if not os.path.exists(run.path("covg_map")) or not all(files.rmask for files in run.frames()):
        return []
    jobs = [
        RejectionJob(
            files,
            run.bits,
            run.params.USE_REFINED_POINTING,
            hits[files.index],
            run.path("covg_map"),
            run.fiducial(),
            ra,
            dec,
            flux,
            run.params.Hit_Sigma,
        )
        for files in run.frames()
    ]
    counted = run.map(count_rejected, jobs)
    lines = [
        f"rejected pixels: coverage, of hits above {run.params.Hit_Sigma:g} sigma, of clean pixels, of star cores"
    ]
    totals = []
    for i, depth in enumerate(DEPTHS):
        total = counted[0][i]
        for one in counted[1:]:
            total = total + one[i]
        totals.append(total)
        lines.append(_rejection_line(f"{depth}{'+' if depth == DEPTHS[-1] else ' '}", total))
    everything = totals[1]
    for total in totals[2:]:
        everything = everything + total
    return [*lines, _rejection_line("2+", everything)]


def _hits(run: Run, base: str) -> str:
    path = os.path.join(run.params.Truth_Dir, "hits", f"{base}_hits.fits")
    if not os.path.exists(path):
        raise InputError(f"{path}: no such file; the truth does not know this frame")
    return path


def _rejection_line(depth: str, n: Any) -> str:
    share = lambda part, whole: f"{100 * part / whole:9.4f} %" if whole else "     none  "  # noqa: E731
    parts = (
        share(n.hits_rejected, n.hits),
        share(n.clean_rejected, n.clean),
        share(n.cores_rejected, n.cores),
    )
    return f"  {depth:>3} {'  '.join(parts)}   ({n.hits} hits, {n.clean} clean, {n.cores} core pixels)"


def _sources(run: Run) -> list[str]:
    """Compare the extraction table with the stars."""
    import numpy as np
    from pymopex.comparison import match
    from pymopex.kit.ipac import read_table

    path = run.params.EXTRACTION_TABLE or run.path("extract")
    if not os.path.exists(path):
        return []
    table, stars = read_table(path), _stars(run)
    ra, dec = (np.asarray(table.column(name), dtype=float) for name in ("RA", "Dec"))
    shown = np.flatnonzero((stars.snr > 2) & np.isfinite(stars.snr))
    source, star = match(ra, dec, stars.ra[shown], stars.dec[shown], run.params.Match_Radius)
    star = shown[star]
    lines = _rates(stars, star, table, source)
    lonely = _isolated(stars, run.params.Isolation_Radius, run.params.Isolation_Flux)
    chosen = lonely[star] & (stars.saturated[star] == 0)
    return lines + _errors(stars, table, source[chosen], star[chosen])


def _stars(run: Run) -> _Stars:
    """Read the true stars and find their bounds."""
    import numpy as np

    table = _truth(run, "sources.tbl")
    held = table.column("n_frames") > 0
    names = ("ra", "dec", "flux", "saturated", "n_frames")
    ra, dec, flux, saturated, n_frames = (table.column(name)[held] for name in names)
    found = np.concatenate(run.map(*_bound_jobs(run, ra, dec, flux)))
    return _Stars(ra, dec, flux, saturated, n_frames, found)


def _bound_jobs(run: Run, ra: np.ndarray, dec: np.ndarray, flux: np.ndarray) -> tuple[Any, list, str]:
    """Make the jobs for the bounds, in the order of the stars."""
    import numpy as np
    from pymopex.fitting import FitSettings
    from pymopex.kit.fit_frames import FitJob
    from pymopex.kit.truth import bounds

    p = run.params_of("sourcestimate")
    size = np.tile([p.Fitting_Area_X or 7, p.Fitting_Area_Y or 7], (len(ra), 1))
    each = np.arange(len(ra))
    blocks = np.array_split(each, max(1, len(ra) // _BLOCK))
    settings = FitSettings(background=p.Background_Fit)
    common = (run.frames(), run.bits, p.USE_REFINED_POINTING, size, p.N_Edge, settings, 0.0)
    table = run.existing("prf_table")
    jobs = [(FitJob(ra, dec, 0 * flux, each, members, *common, table), flux) for members in blocks]
    return bounds, jobs, "blocks of stars"


def _isolated(stars: _Stars, radius: float, fraction: float) -> np.ndarray:
    """Tell which stars have no neighbour of some of their flux."""
    import numpy as np
    from pymopex.projection import unit_vectors
    from scipy.spatial import cKDTree

    tree = cKDTree(unit_vectors(stars.ra, stars.dec).T)
    pairs = tree.query_pairs(2 * np.sin(np.radians(radius / 3600) / 2), output_type="ndarray")
    alone = np.ones(len(stars.ra), bool)
    for a, b in ((0, 1), (1, 0)):
        disturbed = stars.flux[pairs[:, b]] > fraction * stars.flux[pairs[:, a]]
        alone[pairs[disturbed, a]] = False
    return alone


def _rates(stars: _Stars, star: np.ndarray, table: Any, source: np.ndarray) -> list[str]:
    """Completeness by the true signal-to-noise ratio, reliability by that of the table."""
    import numpy as np
    from pymopex.comparison import rates

    usable = np.isfinite(stars.snr) & (stars.saturated == 0) & (stars.n_frames > 1)
    found = np.zeros(len(stars.ra), bool)
    found[star] = True
    real = np.zeros(len(table.column("flux")), bool)
    real[source] = True
    measured = table.column("flux") / table.column("delta_flux")
    edges = np.array(_EDGES)
    complete = rates(stars.snr[usable], found[usable], edges)
    reliable = rates(measured, real, edges)
    total = usable & (stars.snr >= 5)
    above = measured >= 5
    lines = [
        f"sources: {len(real)} listed; of {int(total.sum())} stars above 5 sigma in two frames or more "
        f"{100 * found[total].mean():.2f} % found; of {int(above.sum())} sources above 5 sigma "
        f"{100 * real[above].mean():.2f} % real",
        "  SNR from  to     stars  complete   sources  reliable",
    ]
    for (low, high, n, rate), (_, _, m, trust) in zip(complete, reliable, strict=True):
        lines.append(f"  {low:8g} {high:6g} {n:6d}  {100 * rate:7.2f} %  {m:7d}  {100 * trust:7.2f} %")
    return lines


@dataclass(frozen=True)
class _Errors:
    """Errors of isolated stars: fluxes, and east and north, over the bounds and over the errors of the table."""

    snr: np.ndarray
    relative: np.ndarray
    flux: np.ndarray
    flux_pull: np.ndarray
    place: np.ndarray
    place_pull: np.ndarray
    mas: np.ndarray
    chi: np.ndarray


def _measured(stars: _Stars, table: Any, source: np.ndarray, star: np.ndarray) -> _Errors:
    import numpy as np
    from pymopex.comparison import sky_offsets

    def column(name: str) -> np.ndarray:
        return np.asarray(table.column(name), dtype=float)[source]

    place = np.array(sky_offsets(column("RA"), column("Dec"), stars.ra[star], stars.dec[star]))
    error = 3600 * np.array([column("delta_RA") * np.cos(np.radians(stars.dec[star])), column("delta_Dec")])
    off, bound = column("flux") - stars.flux[star], stars.bound[star]
    with np.errstate(divide="ignore", invalid="ignore"):
        return _Errors(
            stars.snr[star],
            off / stars.flux[star],
            off / bound[:, 2],
            off / column("delta_flux"),
            place / bound[:, :2].T,
            place / error,
            1000 * place,
            column("chi2/dof"),
        )


def _errors(stars: _Stars, table: Any, source: np.ndarray, star: np.ndarray) -> list[str]:
    """Errors of fluxes and positions of isolated stars, in units of the bounds and of the errors in the table."""
    import numpy as np
    from pymopex.comparison import spread

    of = _measured(stars, table, source, star)
    lines = [
        f"isolated stars: {len(star)}; errors of fluxes and positions (bias: median; bound: Cramer-Rao; scatter and "
        "pulls: standard deviation within 4 widths; tail: share of the others, in flux)",
        "  SNR from  to      n  flux bias    bias/sigma  scatter/bound  tail      pull flux    RA    Dec  "
        "east mas  north mas  position/bound  chi2/dof",
    ]
    for low, high in pairwise(_EDGES):
        use = (of.snr >= low) & (of.snr < high)
        if use.sum() < _FEWEST:
            continue
        flux, place = spread(of.flux[use]), spread(of.place[:, use].ravel())
        pulls = [spread(values[use]).rms for values in (of.flux_pull, *of.place_pull)]
        east, north = np.median(of.mas[:, use], axis=1)
        lines.append(
            f"  {low:8g} {high:6g} {use.sum():6d}  {100 * np.median(of.relative[use]):+8.3f} %  {flux.median:+9.3f}  "
            f"{flux.rms:12.3f}  {100 * flux.tail:5.2f} %  {pulls[0]:8.3f}  {pulls[1]:6.3f} {pulls[2]:6.3f}  "
            f"{east:+8.2f}  {north:+8.2f}  {place.rms:13.3f}  {np.median(of.chi[use]):10.3f}"
        )
    return lines
