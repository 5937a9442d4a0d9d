"""Rows of the extraction table from the fits of the groups."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.fit_data import offset_sky
from pymopex.fitting import Deblend, FitStatus
from pymopex.kit.images import read_image
from pymopex.kit.searched import pixel_grid, searched
from pymopex.snr import fit_snr

if TYPE_CHECKING:
    from pymopex.kit.fit_blocks import Fitted
    from pymopex.kit.searched import PixelGrid
    from pymopex.kit.task import Run

_ARCSEC = 3600.0


def table_rows(run: Run, sources: Any, found: list[Fitted]) -> dict[str, Any]:
    """Give the columns of ``extract_raw.tbl``, in the order of the detections."""
    grid = pixel_grid(run)
    noise, coverage = _noise_maps(run), _coverage(run)
    limit = _shift_limit(run)
    factor = noise_correlation(run) ** 2
    rows = [
        row
        for fitted in found
        for row in _group_rows(
            sources, fitted, limit, factor * (fitted.fit.chi2_dof if run.params.Scale_Errors else 1)
        )
    ]
    rows.sort(key=lambda row: (row["detid"], row["added"]))
    data: dict[str, Any] = {name: np.array([row[name] for row in rows]) for name in _NAMES}
    ra, dec = np.asarray(data["RA"], float), np.asarray(data["Dec"], float)
    pixel = np.column_stack(grid.to_pixels(ra, dec))
    data["srcid"] = np.arange(1, len(rows) + 1)
    data["key"] = [row["key"] for row in rows]
    data["x"], data["y"] = pixel[:, 0], pixel[:, 1]
    _pixel_errors(grid, data, rows)
    ratios = [_snr(run, row, x, y, (noise, coverage), grid) for row, (x, y) in zip(rows, pixel, strict=True)]
    data["SNR"] = np.array(ratios) / noise_correlation(run)
    return data


_NAMES = (
    *("detid", "N_PS", "RA", "delta_RA", "Dec", "delta_Dec", "delta_RAD", "flux", "delta_flux", "bckgrnd"),
    *("chi2/dof", "ps_chi2/dof", "status", "FitX", "FitY", "n_frames", "deblend"),
)


def _group_rows(sources: Any, fitted: Fitted, limit: float, factor: float) -> list[dict[str, Any]]:
    """Give the rows of a group, the covariances of the fit times a factor."""
    rows = []
    for number, fit in enumerate(fitted.fit.sources):
        if fit.status is FitStatus.TOO_FEW_PIXELS:
            continue
        source = int(fitted.members[fit.parent])
        ra, dec = (float(v) for v in offset_sky(sources.ra[source], sources.dec[source], fit.u, fit.v))
        across = np.cos(np.radians(dec)) * _ARCSEC
        if fitted.factors is None:
            cov = fit.covariance * factor
        else:  # they hold chi2/dof, if that is asked for
            scale = np.sqrt(fitted.factors[number])[[0, 0, 1]]  # of u, v and flux
            cov = fit.covariance * np.outer(scale, scale)
        rows.append(
            {
                "detid": int(sources.detid[source]),
                "key": (int(fitted.members[0]), number),
                "added": number >= len(fitted.members),
                "N_PS": fitted.fit.n_ps,
                "RA": ra,
                "delta_RA": _root(cov[0, 0]) / across,
                "Dec": dec,
                "delta_Dec": _root(cov[1, 1]) / _ARCSEC,
                "delta_RAD": cov[0, 1] / across / _ARCSEC,
                "flux": fit.flux - fit.flux_bias,
                "delta_flux": _root(cov[2, 2]),
                "bckgrnd": fitted.fit.background,
                "chi2/dof": fitted.fit.chi2_dof,
                "ps_chi2/dof": fit.ps_chi2_dof,
                "status": fit.status.legacy,
                "FitX": int(sources.fit_size[source, 0]),
                "FitY": int(sources.fit_size[source, 1]),
                "n_frames": fit.n_frames,
                "deblend": _letters(sources, fitted, source, (ra, dec), np.inf if fit.added else limit),
                "covariance": cov[:2, :2],
                "scale": float(fitted.scale[fit.parent]),
                "box_variance": float(fitted.box_variance[fit.parent]),
                "central": float(fitted.central[fit.parent]),
            }
        )
    return rows


def _root(value: float) -> float:
    return float(np.sqrt(value)) if value >= 0 else float("nan")


def _letters(sources: Any, fitted: Fitted, source: int, place: tuple[float, float], limit: float) -> str:
    letters = ""
    if len(fitted.members) > 1:
        letters += Deblend.PASSIVE
    if any(fit.added for fit in fitted.fit.sources) or sources.added[fitted.members].any():
        letters += Deblend.ACTIVE
    if fitted.fit.capped:
        letters += Deblend.CAPPED
    if _shift(sources, source, *place) > limit:
        letters += Deblend.OUTSIDE
    if fitted.hole[list(fitted.members).index(source)] > 0:
        letters += Deblend.SATURATED
    return letters or str(Deblend.NONE)


def _shift(sources: Any, source: int, ra: float, dec: float) -> float:
    """Distance from the detected position [arcsec]."""
    east = (ra - sources.start_ra[source] + 180) % 360 - 180
    east *= np.cos(np.radians(dec)) * _ARCSEC
    return float(np.hypot(east, (dec - sources.start_dec[source]) * _ARCSEC))


def _shift_limit(run: Run) -> float:
    """Distance beyond which a source is marked [arcsec]; infinite if there is no limit."""
    p = run.params
    if p.Fixed_Positions or (p.MaxShift_X is None and p.MaxShift_Y is None):
        return float("inf")
    return max(p.MaxShift_X or 0, p.MaxShift_Y or 0) * frame_pixel(run)


def frame_pixel(run: Run) -> float:
    """Side of a frame's pixel [arcsec]."""
    from pymopex.geometry import frame_wcs, pixel_solid_angle
    from pymopex.kit.images import read_header

    header = read_header(run.frames()[0].image)
    centre = np.array([header["NAXIS1"] / 2]), np.array([header["NAXIS2"] / 2])
    omega = pixel_solid_angle(frame_wcs(header, refined=run.params.USE_REFINED_POINTING), *centre)
    return float(np.degrees(np.sqrt(omega[0])) * _ARCSEC)


def _pixel_errors(grid: Any, data: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    """Turn the covariance of the sky offsets to the axes of the mosaic."""
    from pymopex.fit_data import place_sources

    if not rows:
        data["delta_x"] = data["delta_y"] = data["delta_xy"] = np.zeros(0)
        return
    _, _, jacobian = place_sources(grid.wcs, np.asarray(data["RA"], float), np.asarray(data["Dec"], float))
    covariance = np.array([row["covariance"] for row in rows])
    turned = jacobian @ covariance @ np.swapaxes(jacobian, 1, 2)
    with np.errstate(invalid="ignore"):
        data["delta_x"], data["delta_y"] = np.sqrt(turned[:, 0, 0]), np.sqrt(turned[:, 1, 1])
    data["delta_xy"] = turned[:, 0, 1]


def noise_correlation(run: Run) -> float:
    """Give the factor for the noise that neighbouring pixels of a mosaic share; 1 in the fit of frames."""
    return float(run.params.Noise_Correlation) if run.single else 1.0


def _noise_maps(run: Run) -> list:
    """Read the measured noise of the tiles, or of the one image, if the SNR column is to use it."""
    if run.params.use_data_unc_for_fitted_SNR:
        return []
    if not (run.single or os.path.exists(run.path("coadd_tiles"))):
        return []
    paths = [(tile.box, run.path("tile_noise", tile=tile.number)) for tile in searched(run)]
    return [(box, read_image(path)[0]) for box, path in paths if os.path.exists(path)]


def _coverage(run: Run) -> list:
    """Read the coverage of the one image, if it is given."""
    from pymopex.geometry import Box

    path = run.globals.COVERAGE_MAP if run.single else ""
    if not path:
        return []
    image = read_image(path)[0]
    return [(Box(0, 0, image.shape[1], image.shape[0]), image)]


def _snr(
    run: Run, row: dict[str, Any], x: float, y: float, maps: tuple[list, list], grid: PixelGrid
) -> float:
    """Give the SNR of a row by the recipe of the namelist.

    Notes
    -----
    With ``use_data_unc_for_fitted_SNR``, and where no noise was measured, recipe 1 is taken, with the uncertainties of
    the frames for the noise of the mean of all frames. Else the noise is that measured on the mosaic. The images of
    recipe 2 are the frames that hold the source, or the coverage of the one image there.
    """
    noise, coverage = maps
    p = run.params
    recipe = int(p.Use_Photerr_for_SNR)
    if not noise:
        variance = row["box_variance"]
        return row["flux"] * row["scale"] / np.sqrt(variance) if variance > 0 else float("nan")
    sigma = _at(noise, x, y)
    per_ujy = 1 / (_SQUARE_DEGREE_UJY * grid.side**2)
    shrink = row["scale"] / per_ujy  # mosaic pixel area over frame pixel area
    return fit_snr(
        recipe,
        row["flux"] * per_ujy,
        np.full((3, 3), sigma),
        noise_pixels=1 / max(row["central"] * shrink, 1e-30),
        gain=p.Gain_for_SNR,
        coverage=_at(coverage, x, y) if coverage else max(row["n_frames"], 1),
    )


_SQUARE_DEGREE_UJY = 1e12 * (np.pi / 180) ** 2


def _at(maps: list, x: float, y: float) -> float:
    for box, image in maps:
        column, row = round(x) - 1 - box.x0, round(y) - 1 - box.y0
        if 0 <= column < box.nx and 0 <= row < box.ny:
            return float(image[row, column])
    return float("nan")
