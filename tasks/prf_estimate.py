"""PRF Estimate: a PRF, or a set of them over the array, from the stamps of stars."""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of, refused
from pymopex.kit.errors import InputError
from pymopex.kit.files import whole
from pymopex.kit.images import write_image
from pymopex.kit.stamps import numbers, read_stamps, star_numbers
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.kit.ipac import Table
    from pymopex.prf import PRF
    from pymopex.prf_average import Estimate, Grid
    from pymopex.prf_zones import Zones

_LOOSE = 0.005  # error of the normalisation that is warned of


def check(run: Run) -> list[str]:
    """Name boxes given by one side, a column of fluxes that is not there, and stamps that are missing."""
    p, problems = run.params, []
    for pair in (("Fit_X", "Fit_Y"), ("Center_Box_X", "Center_Box_Y")):
        given, other = sorted(pair, key=lambda name: -getattr(p, name))
        if getattr(p, given) > 0 and not getattr(p, other):
            problems.append(f"{p.origin(given)}: PRF_ESTIMATE.{given} is given without {other}")
    if p.Flux_Column_Name and p.POINT_SOURCE_LIST not in run.promised:
        problems += problems_of(_try, _fluxes, run)
    if "crop_stack" not in run.pending:
        problems += problems_of(_try, run.existing, "stamp_table")
    return problems


def _try(action: Any, *arguments: Any) -> None:
    action(*arguments)


def run(run: Run) -> None:
    """Write ``PRF.fits``, ``PRF_unc.fits``, ``PRF_cov.fits``, the PRF map ``prfmap.tbl`` and the table of the stamps.

    Notes
    -----
    With ``PRF_Method = average``, the legacy algorithm: missing pixels are replaced by the median of their neighbours,
    a Gaussian is fitted if a box is given (``Fit_X``, ``Fit_Y``), stamps are interpolated with cubic convolution to
    samples counted from the star and divided by the flux, outliers are found in the stack, and the rest is averaged.
    Background must have been taken off by MedFilter. Interpolation blurs what the pixels undersample: the core of a
    PRF of IRAC 1 made so is a fifth too low, and too wide.

    With ``effective``, a spline with one knot per sample is fitted to all pixels of all stamps (Anderson & King 2000),
    each pixel at its own distance from the star: nothing is interpolated, and nothing blurred. With the box of the fit,
    places and fluxes follow in turn; a star has one place on the sky and one flux in all frames. It needs stars at
    many places in their pixels: several dithers, or some tens of stars. The constant under each stamp is told from the
    wing by its shape, a power of -3 of the radius. That needs stamps of 25 pixels or more, and MedFilter, which takes
    part of the wing away, should be off. For wavelengths beyond those of IRAC 2 take larger stamps, or MedFilter with
    ``Fit_Background = 0``.

    Beyond 3 to 5 pixels the fitted PRF is averaged over a pixel, and its sum over pixels is made the same for all
    places of the star in its pixel, or follows the place smoothly where that is certain: its normalisation would be
    noise otherwise. How well the normalisation, and with it the scale of all fluxes, is known stands in the header
    (``NORMERR``) and in the log; more stars make it better than more stamps of the same do. Take bright stars without
    neighbours (``Source_Conditions`` and ``Min_Separation`` of Crop Stack); ``benchmarks/prf_estimate.py`` measures
    what comes out for simulated ones.

    The number of samples is the size of the stamps times the factor, one less if that is even. Divided by the sum of
    the central PRF within ``Normalization_Radius``, so that APEX measures fluxes within that radius; APEX must be
    given the same factors. The PRF holds for images of the pixel scale of those it is made from.

    ``PRF_cov.fits`` counts the stamps, or the pixels, behind each sample. With zones, a PRF for each part of the array
    is written besides, ``PRF_col<x>_row<y>.fits``, named after its middle, and the map has them all.
    """
    from pymopex.kit.ipac import read_table

    p, path = run.params, run.existing("stamp_table")
    table = read_table(path)
    if not len(table):
        raise InputError(f"{path}: holds no stamps")
    stamps = read_stamps(table, os.path.dirname(path), _image_fluxes(run, table))
    with refused(path):
        grid, found = _estimate(run, table, stamps)
    files = [_write(run, found.whole, grid, "")]
    regions = [(1, 1, found.width, found.height)]
    if found.n > 1:
        files = [_write(run, one, grid, zone) for one, zone in zip(found.estimates, found.names, strict=True)]
        regions = found.regions
    target = run.path("prf_estimate_map")
    _write_map(target, files, regions, grid)
    _write_statistics(run, table, stamps, found)
    run.keep(target)
    _report(run, found, grid, p)


def _fluxes(run: Run) -> dict[int, float]:
    """Give the fluxes of the stars [uJy] by their number."""
    from pymopex.kit.ipac import read_table

    p = run.params
    if not p.POINT_SOURCE_LIST:
        raise InputError(f"{run.settings.namelist.path}: POINT_SOURCE_LIST: no list of stars is given (-E)")
    table = read_table(p.POINT_SOURCE_LIST)
    try:
        flux = numbers(table, p.Flux_Column_Name)
    except InputError as problem:
        raise InputError(
            f"{p.origin('Flux_Column_Name')}: PRF_ESTIMATE.Flux_Column_Name: {problem}"
        ) from None
    return dict(zip(star_numbers(table).tolist(), flux.tolist(), strict=True))


def _image_fluxes(run: Run, table: Table) -> np.ndarray:
    """Give the flux of the star of each stamp in image units: NaN for the sum of its pixels, 0 for a null."""
    import numpy as np

    if not run.params.Flux_Column_Name:
        return np.full(len(table), np.nan)
    known = _fluxes(run)
    stars = table.column("srcid").tolist()
    missing = next((star for star in stars if star not in known), None)
    if missing is not None:
        raise InputError(
            f"{run.params.POINT_SOURCE_LIST}: has no star {missing}, of which there are stamps: run crop_stack again"
        )
    return np.nan_to_num([known[star] for star in stars]) / table.column("conversion")


def _estimate(run: Run, table: Table, stamps: Any) -> tuple[Grid, Zones]:
    """Make the PRFs."""
    from pymopex.prf_average import Grid, StampRules
    from pymopex.prf_effective import EffectiveRules
    from pymopex.prf_zones import estimate

    p = run.params
    grid = Grid.of(stamps, p.PRF_ResampleX_Factor, p.PRF_ResampleY_Factor)
    if 2 * p.Zero_Edge >= min(grid.nx, grid.ny) - 2:
        raise InputError(
            f"{p.origin('Zero_Edge')}: PRF_ESTIMATE.Zero_Edge = {p.Zero_Edge}: leaves nothing of "
            f"{grid.nx} x {grid.ny} samples"
        )
    rules = StampRules(
        p.MinNumber_Replacement_Pixels,
        p.Reject_NaNs,
        p.Outlier_Threshold,
        p.Min_Outlier_Overlap,
        p.Max_Ratio_Outliers,
        p.Max_Number_Outliers,
        (p.Fit_X, p.Fit_Y),
        (p.Center_Box_X, p.Center_Box_Y),
        p.Weighted_Mean,
    )
    how = None
    if p.PRF_Method == "effective":
        how = EffectiveRules(p.Smoothing, p.Fit_Background, p.Fit_Frame_Offsets, p.Max_N_Iteration)
    size = tuple(int(table.keywords[key][1]) for key in ("NAXIS1", "NAXIS2"))
    place = table.column("x"), table.column("y")
    zones = p.PRF_Zones_X, p.PRF_Zones_Y
    return grid, estimate(stamps, grid, rules, how, place, size, zones, p.Min_Stamps_Per_Zone)


def _write(run: Run, one: Estimate, grid: Grid, zone: str) -> str:
    """Write a PRF with its uncertainty and coverage; gives its path."""
    import numpy as np
    from pymopex.prf import PRF

    p, edge = run.params, run.params.Zero_Edge
    samples, error = one.samples.copy(), one.error.copy()
    inner = np.zeros(samples.shape, dtype=bool)
    inner[edge : grid.ny - edge, edge : grid.nx - edge] = True
    samples[~inner], error[~inner] = 0.0, 0.0
    prf = PRF(samples, grid.factor_x, grid.factor_y)
    with refused("PRF_ESTIMATE"):
        total = prf.central_sum(p.Normalization_Radius)
        images = (prf.normalised(p.Normalization_Radius).samples, error / total, one.coverage)
    paths = [run.path(product, zone=zone) for product in ("prf", "prf_unc", "prf_cov")]
    header = _header(run, one, grid, zone)
    error = _sum_error(one, prf, p.Normalization_Radius)
    if math.isfinite(error):
        header["NORMERR"] = (error, "1-sigma error of the normalisation, relative")
    if one.response:
        header["PIXRESP"] = (one.response, "excess of the sum on the middle of a pixel")
    for path, image in zip(paths, images, strict=True):
        write_image(path, image.astype("f4"), header.copy(), run.stamp())
    run.keep(*paths)
    _report_error(run, error, zone)
    return paths[0]


def _sum_error(one: Estimate, prf: PRF, radius: float | None) -> float:
    """Give the 1-sigma error of the sum that normalises a PRF, relative; NaN where it is not known."""
    import numpy as np
    from pymopex.prf import PRF

    pixels = PRF(np.ones_like(prf.samples), prf.factor_x, prf.factor_y).central_sum(radius)
    return math.hypot(one.level_error * pixels / prf.central_sum(radius), one.sum_error)


def _report_error(run: Run, error: float, zone: str) -> None:
    if not math.isfinite(error):
        return
    of = f"of zone{zone.replace('_', ' ')} " if zone else ""
    run.note(f"normalisation {of}good to {100 * error:.2f} % (1 sigma): fluxes scale with it")
    if error > _LOOSE:
        run.note(
            f"Warning: the normalisation of the PRF {of}is known to {100 * error:.1f} % only: more stars, brighter "
            "ones, or ones farther from others (Min_Separation) make it better"
        )


def _header(run: Run, one: Estimate, grid: Grid, zone: str) -> Any:
    from astropy.io import fits

    p, header = run.params, fits.Header()
    header["PRFXRSMP"] = (grid.factor_x, "samples per pixel along x")
    header["PRFYRSMP"] = (grid.factor_y, "samples per pixel along y")
    if zone:
        column, row = zone.removeprefix("_col").split("_row")
        header["PRFCOL"] = (column, "column of the array")
        header["PRFROW"] = (row, "row of the array")
    if p.Normalization_Radius is not None:
        header["NORMRAD"] = (p.Normalization_Radius, "[sample] the PRF sums to 1 inside")
    header["PRFMETH"] = (p.PRF_Method, "how the PRF was made")
    header["NSTAMPS"] = (int(one.used.sum()), "stamps used, of the whole array")
    return header


def _write_map(path: str, files: list[str], regions: list[tuple[int, int, int, int]], grid: Grid) -> None:
    from pymopex.kit.prfmap import PrfMapTable, write_prf_map

    with whole(path) as temporary:
        write_prf_map(
            temporary, PrfMapTable([os.path.basename(f) for f in files], regions, (grid.nx, grid.ny))
        )


def _write_statistics(run: Run, table: Table, stamps: Any, found: Zones) -> None:
    """Write what became of each stamp."""
    from pymopex import columns
    from pymopex.kit.layers import write_table_whole

    final = found.final
    dx, dy = final.x - stamps.x, final.y - stamps.y
    values = {
        **{name: table.column(name) for name in ("file", "srcid", "frame")},
        "x": table.column("x") + dx,
        "y": table.column("y") + dy,
        "dx": dx,
        "dy": dy,
        "flux": final.flux * table.column("conversion"),
        "bckgrnd": final.background,
        "chi2/dof": final.chi2,
        "zone": found.zone + 1,
        "n_nans": final.n_nans,
        "n_outliers": final.n_outliers,
        "used": final.used.astype(int),
        "reason": final.reason,
    }
    path = run.path("fit_statistics", FitStat_File_Name=run.params.FitStat_File_Name)
    write_table_whole(run, path, columns.FIT_STATISTICS, values)


def _report(run: Run, found: Zones, grid: Grid, p: Any) -> None:
    import numpy as np

    final = found.final
    run.note(
        f"{int(final.used.sum())} of {len(final.used)} stamps used; {grid.nx} x {grid.ny} samples, "
        f"{grid.factor_x} x {grid.factor_y} per pixel"
    )
    for reason, count in zip(*np.unique(final.reason[~final.used], return_counts=True), strict=True):
        run.note(f"{count} stamps rejected: {reason}")
    for text in dict.fromkeys(found.notes):
        run.note(text)
