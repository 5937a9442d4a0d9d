"""The numbers of a report: offsets, coverage, rejected pixels, sources and the quality of their fits."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.kit.images import read_image

if TYPE_CHECKING:
    from pymopex.kit.report import Products

APEX = ("apex", "apex_user_list", "apex_1frame", "apex_user_list_1frame")
_BRIGHT = 50  # sources
_CORE = 1.0  # arcsec, round a bright source


def facts(products: Products) -> Iterator[tuple[str, str]]:
    """Give names and values of what is known of a run."""
    for part in (_overlap, _mosaic, _rejected, _sources):
        yield from part(products)


def _overlap(products: Products) -> Iterator[tuple[str, str]]:
    table = products.table("offsets.tbl")
    if table is None:
        return
    offsets, error = table.column("offset"), table.column("delta_offset")
    yield "frames in Overlap", f"{len(offsets)}, {len(set(table.column('group')))} connected group(s)"
    yield "offsets", f"rms {offsets.std():.4g}, range {np.ptp(offsets):.4g} MJy/sr"
    if np.isfinite(error).any():
        yield "error of an offset, median", f"{np.nanmedian(error):.2g} MJy/sr"


def _mosaic(products: Products) -> Iterator[tuple[str, str]]:
    path, depth = products.find("mosaic.fits", ["mosaic"]), products.find("mosaic_cov.fits", ["mosaic"])
    if path is None or depth is None:
        return
    image, header = read_image(path, dtype="f4")
    coverage = read_image(depth, dtype="f4")[0]
    covered = coverage > 0
    yield "mosaic", f"{image.shape[1]} x {image.shape[0]} pixels of {abs(pixel_scale(header)):.3f} arcsec"
    if not covered.any():
        return
    steps = np.percentile(coverage[covered], [5, 50, 95])
    yield "coverage, 5 %, median, 95 %", ", ".join(f"{step:.1f}" for step in steps)
    yield "blank pixels inside", f"{np.isnan(image[covered]).sum()}"
    noise = products.find("mosaic_unc.fits", ["mosaic"])
    if noise:
        yield (
            "uncertainty of a pixel, median",
            f"{np.nanmedian(read_image(noise, dtype='f4')[0][covered]):.3g} MJy/sr",
        )


def pixel_scale(header: Any) -> float:
    """Give the side of a pixel of the mosaic [arcsec]."""
    from pymopex.geometry import frame_wcs

    matrix = frame_wcs(header).pixel_scale_matrix
    return float(np.sqrt(abs(np.linalg.det(matrix)))) * 3600


def _rejected(products: Products) -> Iterator[tuple[str, str]]:
    table = products.table("rejected.tbl")
    if table is None:
        return
    share = table.column("rejected").sum() / max(table.column("n_pixels").sum(), 1)
    yield "pixels of the frames rejected", f"{100 * share:.2f} %"
    found = at_bright_sources(products)
    if found is not None:
        yield (
            f"coverage lost at the {found[2]} brightest sources; in the sky",
            f"{100 * found[0]:.2f} %; {100 * found[1]:.2f} %",
        )


def lost_coverage(products: Products) -> tuple[np.ndarray, Any] | None:
    """Give the share of the coverage that outlier rejection took, on the mosaic [0 to 1], and the header."""
    before, after = products.find("covg_map.fits"), products.find("mosaic_cov.fits", ["mosaic"])
    if before is None or after is None or not os.path.samefile(products.folder, os.path.dirname(before)):
        return None
    whole, header = read_image(before, dtype="f4")
    left = read_image(after, dtype="f4")[0]
    if whole.shape != left.shape:
        return None
    share = np.full(whole.shape, np.nan, "f4")
    np.divide(whole - np.nan_to_num(left), whole, out=share, where=whole > 0)
    return np.clip(share, 0, 1), header


def at_bright_sources(products: Products) -> tuple[float, float, int] | None:
    """Give the share of the coverage lost at the brightest unsaturated sources, in the sky, and their number."""
    lost, table = lost_coverage(products), sources(products)
    if lost is None or table is None or not len(table.column("flux")):
        return None
    share, header = lost
    good = np.array(["S" not in str(letters) for letters in table.column("deblend")])
    bright = np.flatnonzero(good)[np.argsort(-table.column("flux")[good])][:_BRIGHT]
    reach = max(1, round(_CORE / pixel_scale(header)))
    values = []
    for x, y in zip(table.column("x")[bright], table.column("y")[bright], strict=True):
        column, line = round(float(x)) - 1, round(float(y)) - 1
        box = share[max(line - reach, 0) : line + reach + 1, max(column - reach, 0) : column + reach + 1]
        if np.isfinite(box).any():
            values.append(float(np.nanmean(box)))
    return (float(np.mean(values)), float(np.nanmean(share)), len(values)) if values else None


def sources(products: Products) -> Any:
    """Give the table of the sources: those of the selection, else all; None if there is none."""
    for name in ("extract.tbl", "extract_raw.tbl"):
        table = products.table(name, APEX)
        if table is not None and {"flux", "delta_flux", "x", "y", "deblend"} <= set(table.columns):
            return table
    return None


def _sources(products: Products) -> Iterator[tuple[str, str]]:
    detected, table = products.table("detect.tbl", APEX), sources(products)
    if detected is not None:
        yield "detections", str(len(detected.column("x")))
    if table is None:
        return
    snr, quality = table.column("SNR"), table.column("chi2/dof")
    yield "fitted sources", f"{len(snr)}; {np.sum(snr > 10)} above 10 sigma"
    if len(snr):
        yield "chi2/dof, median", f"{np.nanmedian(quality):.3f}"
        bright = quality[snr > 50]
        if bright.size:
            yield "chi2/dof above 50 sigma, median", f"{np.nanmedian(bright):.3f}"
