"""Stars near others: completeness, fluxes, positions and their errors by the distance of the nearest neighbour.

    python benchmarks/crowding.py OUT [CHANNEL]

OUT is a folder of `benchmarks/photometry.py --mode crowded`, which prints the same table. A neighbour counts if it has
a fifth of the star's flux at least. `alone` are the stars without any within three full widths, `several` those with
two or more; the others have one, at the distance given in full widths. Signal-to-noise ratios, and the bound that the
scatter is compared with, are those of the best possible fit of the star together with all others that are linked to it
by steps of three full widths (Cramer-Rao, positions and a background free). Scatter and pulls are standard deviations
within 4 robust widths, the tail is the share beyond; a width is good to 1 / sqrt(2 found).
"""

import contextlib
import sys
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from pymopex.comparison import match, sky_offsets, spread
from pymopex.fitting import FitSettings
from pymopex.instruments import INSTRUMENTS
from pymopex.kit.driver import open_settings
from pymopex.kit.fit_frames import FitJob
from pymopex.kit.ipac import Table, read_table
from pymopex.kit.task import Run
from pymopex.kit.truth import bounds
from pymopex.projection import unit_vectors
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

REACH = 3.0  # full widths
SHARE = 0.2  # of the flux of the star that a neighbour has at least
EDGES = (5.0, 10.0, 30.0, 100.0, 1000.0)  # signal-to-noise ratios
RADIUS = 1.0  # of a match [arcsec]; a third of a pixel of the camera at least
BLOCK = 400  # stars of a job
FEWEST = 20  # stars of a line


class Stars(NamedTuple):
    """The true stars that frames hold, and the 1-sigma bounds of u, v [arcsec] and flux."""

    ra: np.ndarray
    dec: np.ndarray
    flux: np.ndarray
    usable: np.ndarray
    bound: np.ndarray
    kind: np.ndarray


def links(ra: np.ndarray, dec: np.ndarray, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of stars within a radius [arcsec], and their distances."""
    places = unit_vectors(ra, dec).T
    pairs = cKDTree(places).query_pairs(2 * np.sin(np.radians(radius / 3600) / 2), output_type="ndarray")
    chord = np.linalg.norm(places[pairs[:, 0]] - places[pairs[:, 1]], axis=1)
    return pairs, np.degrees(2 * np.arcsin(chord / 2)) * 3600


def kinds(flux: np.ndarray, pairs: np.ndarray, apart: np.ndarray) -> np.ndarray:
    """Kind of each star: 0 alone, 1 to 4 by the distance of its one neighbour, 5 for several."""
    number, nearest = np.zeros(len(flux), int), np.full(len(flux), np.inf)
    for a, b in ((0, 1), (1, 0)):
        one, other = pairs[:, a], pairs[:, b]
        counts = flux[other] >= SHARE * flux[one]
        np.add.at(number, one[counts], 1)
        np.minimum.at(nearest, one[counts], apart[counts])
    steps = np.searchsorted((1.0, 1.5, 2.0), nearest, side="right") + 1
    return np.where(number == 0, 0, np.where(number > 1, 5, steps))


NAMES = ("alone", "below 1", "1 to 1.5", "1.5 to 2", "2 to 3", "several")


def joint_bounds(
    run: Run, ra: np.ndarray, dec: np.ndarray, flux: np.ndarray, pairs: np.ndarray
) -> np.ndarray:
    """Bounds of stars that are fitted with all others linked to them."""
    links = coo_array((np.ones(len(pairs)), pairs.T), shape=(len(ra), len(ra)))
    n, group = connected_components(links, directed=False)
    p = run.params_of("sourcestimate")
    size = np.tile([p.Fitting_Area_X or 7, p.Fitting_Area_Y or 7], (len(ra), 1))
    common = (run.frames(), run.bits, p.USE_REFINED_POINTING, size, p.N_Edge)
    settings = FitSettings(background=p.Background_Fit)
    order = np.argsort(group, kind="stable")
    parts = [np.concatenate(part) for part in _blocks(order, group, n)]
    jobs = [
        (
            FitJob(ra, dec, 0 * flux, group, members, *common, settings, 0.0, run.existing("prf_table")),
            flux,
        )
        for members in parts
    ]
    out = np.full((len(ra), 3), np.nan)
    for members, found in zip(parts, run.map(bounds, jobs, "blocks of stars"), strict=True):
        out[members] = found
    return out


def _blocks(order: np.ndarray, group: np.ndarray, n: int) -> list[list[np.ndarray]]:
    """Groups in blocks of some hundred stars."""
    groups = np.split(order, np.searchsorted(group[order], np.arange(1, n)))
    blocks: list[list[np.ndarray]] = [[]]
    for one in groups:
        if sum(map(len, blocks[-1])) + len(one) > BLOCK and blocks[-1]:
            blocks.append([])
        blocks[-1].append(one)
    return blocks


def stars_of(run: Run, channel: str) -> Stars:
    """Read the truth."""
    table = read_table("data/truth/sources.tbl")
    held = np.asarray(table.column("n_frames")) > 0
    names = ("ra", "dec", "flux", "saturated", "n_frames")
    ra, dec, flux, saturated, n_frames = (np.asarray(table.column(name))[held] for name in names)
    pairs, apart = links(ra, dec, REACH * INSTRUMENTS[channel].band.fwhm)
    kind = kinds(flux, pairs, apart / INSTRUMENTS[channel].band.fwhm)
    bound = joint_bounds(run, ra, dec, flux, pairs)
    return Stars(ra, dec, flux, (saturated == 0) & (n_frames > 1), bound, kind)


def line(stars: Stars, table: Table, use: np.ndarray, star: np.ndarray, source: np.ndarray) -> str:
    """Figures of some stars, of which those in `star` are found."""
    here = use[star]
    star, source = star[here], source[here]

    def column(name: str) -> np.ndarray:
        return np.asarray(table.column(name), dtype=float)[source]

    off = column("flux") - stars.flux[star]
    place = np.array(sky_offsets(column("RA"), column("Dec"), stars.ra[star], stars.dec[star]))
    error = 3600 * np.array([column("delta_RA") * np.cos(np.radians(stars.dec[star])), column("delta_Dec")])
    flux = spread(off / stars.bound[star, 2])
    pull = spread(off / column("delta_flux"))
    pulls = " ".join(f"{spread(one).rms:6.3f}" for one in place / error)
    return (
        f"{use.sum():6d}  {100 * here.sum() / use.sum():7.2f} %  {100 * np.median(off / stars.flux[star]):+7.3f} %  "
        f"{flux.median:+7.3f}  {flux.rms:8.3f}  {spread(place / stars.bound[star, :2].T).rms:8.3f}   "
        f"{pull.rms:6.3f} {pulls}  {100 * pull.tail:5.2f} %  {np.median(column('chi2/dof')):6.3f}"
    )


def crowding_table(out: Path, channel: str) -> None:
    """Print the table of a finished run."""
    with contextlib.chdir(out):
        run = Run(open_settings(f"out/apex_{channel}.nl", {}, task="compare"))
        run.task = "compare"
        stars, table = stars_of(run, channel), read_table(run.path("extract"))
        run.pool.close()
    snr = stars.flux / stars.bound[:, 2]
    shown = np.flatnonzero(snr > 2)
    radius = max(RADIUS, INSTRUMENTS[channel].band.fwhm / 3)
    place = (np.asarray(table.column(name), float) for name in ("RA", "Dec"))
    source, star = match(*place, stars.ra[shown], stars.dec[shown], radius)
    star = shown[star]
    print(
        "\nneighbour    SNR from   to   stars   complete  flux bias  bias/sigma  scatter  position   pulls: flux  "
        "RA    Dec     tail    chi2/dof"
    )
    for number, name in enumerate(NAMES):
        for low, high in pairwise(EDGES):
            use = stars.usable & (snr >= low) & (snr < high) & (stars.kind == number)
            if use.sum() >= FEWEST:
                print(f"{name:12s} {low:8g} {high:5g}  {line(stars, table, use, star, source)}", flush=True)


if __name__ == "__main__":
    crowding_table(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else "I1")
