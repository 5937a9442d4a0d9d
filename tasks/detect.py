"""Detect: point sources on the co-added tiles, or on the one image."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of_settings
from pymopex.kit.images import Stamp, read_cards, write_image
from pymopex.kit.layers import write_table_whole
from pymopex.kit.searched import Area, Searched, area_of, searched
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.detection import DetectionParams
    from pymopex.geometry import Box
    from pymopex.tile_merge import Merged

_FIELDS = {
    "threshold": "Detection_Threshold",
    "min_area": "Detection_Min_Area",
    "max_area": "Detection_Max_Area",
    "min_peak_fraction": "Detect_Min_Peak_Fraction",
    "peaks_radius": "Peaks_Radius",
    "max_level": "Max_Segmentation_Level",
    "extended_area": "Extended_Object_Area",
    "n_edge": "N_Edge",
}
_SEARCHED = {"0": "tile_minback", "1": "tile_psp", "2": "tile_filtered"}
_IMAGES = ("tile_detected", "tile_levels", "tile_peaks")
_MARGIN = 64  # pixels round a tile that are read besides, so that a source on its border is whole


_Paths = tuple[tuple["Box", str], ...]


@dataclass(frozen=True)
class _Job:
    """A tile with its margin, and the images that cover it, each with its place."""

    area: Area
    searched: _Paths
    flux: _Paths
    noise: _Paths
    coverage: _Paths
    measure_noise: bool
    with_pixels: bool
    how: DetectionParams
    source: str
    target: str
    images: tuple[str, ...]
    stamp: Stamp


def check(run: Run) -> list[str]:
    """Name thresholds and areas that contradict each other, and a least coverage without a map."""
    p = run.params
    if run.single and p.Minimum_Coverage and not p.COVERAGE_MAP:
        run.settings.warnings.append(
            f"{p.origin('Minimum_Coverage')}: DETECT.Minimum_Coverage is ignored: no COVERAGE_MAP is given"
        )
    return problems_of_settings(run, lambda: _settings(run), _FIELDS)


def run(run: Run) -> None:
    """Write ``detect.tbl`` and ``detect_raw.tbl``: centroids in pixels of the mosaic, from 1, and peak values.

    Notes
    -----
    Of one image the tables are ``<base>_detect.tbl`` and ``<base>_detect_raw.tbl``, in pixels of the image.

    With ``snr_input`` the background-subtracted image is divided by the uncertainties (``use_unc_to_detect``,
    ``use_std_to_detect``), or by the map of Gaussnoise. Of the filtered and the probability image the measured
    fluctuation takes the place of the noise, so that correlated noise does not lower the threshold: the map of PSP
    Gaussnoise, if that is on, else the scatter of the faint side.

    A tile is searched together with a margin from its neighbours. A source belongs to the tile that holds its
    centroid, and is listed once; a blend on a border is one blend.
    """
    from pymopex import columns

    tiles = searched(run)
    jobs = [_job(run, tile, tiles) for tile in tiles]
    found = run.map(_detect, jobs, "tiles")
    merged = _merge(tiles, found)
    rows = _rows(found, merged)
    for product in ("detect_raw", "detect"):
        write_table_whole(run, run.path(product), columns.DETECT, rows)
    if run.params.Output_Type == "centroids_and_pixels_output":
        path = run.path("complete", Complete_Table_Out_Filename=run.params.Complete_Table_Out_Filename)
        write_table_whole(run, path, columns.PIXELS, _pixels(found, merged))
    run.keep(*(path for job in jobs for path in (job.target, *job.images)))
    run.note(f"{len(rows['srcid'])} sources on {len(tiles)} {'image' if run.single else 'tiles'}")


def _settings(run: Run) -> DetectionParams:
    from pymopex.detection import DetectionParams

    p = run.params
    by_probability = p.use_psp_to_detect == "1" and p.Probability_Threshold is not None
    return DetectionParams(
        input_type="snr_input" if by_probability else p.Input_Type,
        threshold=p.Probability_Threshold if by_probability else p.Detection_Threshold,
        threshold_type=p.Threshold_Type,
        min_area=p.Detection_Min_Area,
        max_area=p.Detection_Max_Area,
        min_peak_fraction=p.Detect_Min_Peak_Fraction,
        extended_area=p.Extended_Object_Area,
        minimum_coverage=p.Minimum_Coverage,
        neighbor_type=p.Neighbor_Type,
        peaks_radius=p.Peaks_Radius,
        max_level=p.Max_Segmentation_Level,
        n_edge=p.N_Edge,
    )


def _job(run: Run, tile: Searched, tiles: list[Searched]) -> _Job:
    p, how = run.params, _settings(run)
    area = area_of(tile, tiles, _MARGIN + how.n_edge)
    searched = _SEARCHED[p.use_psp_to_detect]
    noise, measure = _noise(run, area)
    return _Job(
        area,
        area.paths(lambda other: run.existing(searched, tile=other.number)),
        area.paths(lambda other: run.existing("tile_minback", tile=other.number)),
        noise,
        area.paths(lambda other: other.coverage),
        measure,
        p.Output_Type == "centroids_and_pixels_output",
        how,
        run.path(searched, tile=tile.number),
        run.path("tile_detect_map", tile=tile.number),
        tuple(run.path(name, tile=tile.number) for name in _IMAGES if p.Detection_Images),
        run.stamp(),
    )


def _noise(run: Run, area: Area) -> tuple[_Paths, bool]:
    """Give the noise images, and whether to measure the noise instead."""
    p = run.params
    by_probability = p.use_psp_to_detect == "1" and p.Probability_Threshold is not None
    if p.Input_Type != "snr_input" or by_probability:
        return (), False
    if p.use_psp_to_detect == "0":
        paths = area.paths(lambda tile: tile.noise or _if_there(run, "tile_noise", tile.number))
        return paths, not paths
    if run.switched("psp_gaussnoise"):
        return area.paths(lambda tile: run.existing("tile_psp_noise", tile=tile.number)), False
    return (), True


def _if_there(run: Run, product: str, number: int) -> str:
    path = run.path(product, tile=number)
    return path if os.path.exists(path) else ""


def _detect(job: _Job) -> dict[str, Any]:
    """Search a tile and its margin; gives what is found on both, in pixels of the mosaic from 0."""
    import numpy as np
    from pymopex.detection import detect
    from pymopex.noise import faint_side_noise

    area = job.area
    image, brightness = area.read(job.searched), area.read(job.flux)
    coverage = area.read(job.coverage) if job.coverage else None
    noise = area.read(job.noise) if job.noise else None
    bad = ~np.isfinite(brightness)
    if job.measure_noise:
        noise = faint_side_noise(image, bad)
    found = detect(image, bad, job.how, coverage=coverage, noise=noise, brightness=brightness)
    header = read_cards(job.source)
    write_image(job.target, area.cut(found.labels), header, job.stamp, (job.source,))
    if job.images:
        for path, pixels in zip(job.images, _images(found, brightness), strict=True):
            write_image(path, area.cut(pixels), header, job.stamp, (job.source,))
    x0, y0 = area.area.x0, area.area.y0
    table = {"x": found.x + x0, "y": found.y + y0, "flux": found.flux, "blend_id": found.blend_id}
    if job.with_pixels:
        y, x = np.nonzero(found.labels)
        table |= {"label": found.labels[y, x], "px": x + x0, "py": y + y0, "value": brightness[y, x]}
    return table


def _images(found: Any, brightness: np.ndarray) -> tuple[np.ndarray, ...]:
    """Give the brightness of the detected pixels, their levels, and the brightness at the peak of each source."""
    import numpy as np
    from scipy.ndimage import maximum_position

    detected = np.where(found.labels > 0, brightness, 0).astype("f4")
    peaks = np.zeros_like(detected)
    if len(found):
        place = maximum_position(brightness, found.labels, np.arange(1, len(found) + 1))
        at = tuple(np.array(place, dtype=int).T)
        peaks[at] = brightness[at]
    return detected, found.levels.astype("i2"), peaks


def _merge(tiles: list[Searched], found: list[dict[str, Any]]) -> Merged:
    from pymopex.tile_merge import merge

    columns = ([table[name] for table in found] for name in ("x", "y", "blend_id"))
    return merge([tile.box for tile in tiles], *columns)


def _rows(found: list[dict[str, Any]], merged: Merged) -> dict[str, Any]:
    """Give the columns of the detection table."""
    import numpy as np

    x, y, flux = (
        np.concatenate([table[name] for table in found])[merged.rows] for name in ("x", "y", "flux")
    )
    rows = {"srcid": np.arange(1, len(merged.rows) + 1), "x": x + 1, "y": y + 1, "flux": flux}
    return {**rows, "BlendId": merged.blend_id, "BlendSize": merged.blend_size}


def _pixels(found: list[dict[str, Any]], merged: Merged) -> dict[str, np.ndarray]:
    """Give the columns of the table of all pixels of the listed sources."""
    import numpy as np

    counts = [len(table["x"]) for table in found]
    srcid = np.zeros(sum(counts), dtype=int)
    srcid[merged.rows] = np.arange(1, len(merged.rows) + 1)
    before = np.cumsum([0, *counts])
    number = np.concatenate(
        [srcid[table["label"] - 1 + start] for table, start in zip(found, before, strict=False)]
    )
    order = np.argsort(number, kind="stable")
    order = order[number[order] > 0]
    x, y, value = (np.concatenate([table[name] for table in found])[order] for name in ("px", "py", "value"))
    return {"srcid": number[order], "x": x + 1, "y": y + 1, "value": value}
