"""Detect: point sources on the co-added tiles."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of_settings
from pymopex.kit.images import Stamp, read_image, write_image
from pymopex.kit.layers import coadd_tiles, write_table_whole
from pymopex.kit.task import Run
from pymopex.kit.tile_noise import noise_tile

if TYPE_CHECKING:
    from pymopex.detection import DetectionParams

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


@dataclass(frozen=True)
class _Job:
    searched: str
    flux: str
    noise: str
    coverage: str
    measure_noise: bool
    how: DetectionParams
    target: str
    stamp: Stamp


def check(run: Run) -> list[str]:
    """Name thresholds and areas that contradict each other."""
    return problems_of_settings(run, lambda: _settings(run), _FIELDS)


def run(run: Run) -> None:
    """Write ``detect.tbl`` and ``detect_raw.tbl``: centroids in pixels of the mosaic, from 1, and peak values.

    Notes
    -----
    ``snr_input`` divides the background-subtracted image by its noise; of the filtered image, which is a
    signal-to-noise ratio already, the measured fluctuation takes the place of the noise, so that correlated
    noise does not lower the threshold. Tiles do not overlap: a source belongs to the tile that holds its centroid.
    """
    from pymopex import columns

    tiles = coadd_tiles(run, "image")
    jobs = [_job(run, number) for number in range(1, len(tiles) + 1)]
    found = run.map(_detect, jobs, "tiles")
    rows = _merge([box for box, _ in tiles], found)
    for product in ("detect_raw", "detect"):
        write_table_whole(run, run.path(product), columns.DETECT, rows)
    if run.params.Output_Type == "centroids_and_pixels_output":
        _write_pixels(run, tiles, jobs)
    run.keep(*(job.target for job in jobs))
    run.note(f"{len(rows['srcid'])} sources on {len(tiles)} tiles")


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


def _job(run: Run, number: int) -> _Job:
    p, how = run.params, _settings(run)
    by_probability = p.use_psp_to_detect == "1" and p.Probability_Threshold is not None
    divide = how.input_type == "snr_input" and not by_probability
    noise = (noise_tile(run, number) if p.use_psp_to_detect == "0" else "") if divide else ""
    return _Job(
        run.existing(_SEARCHED[p.use_psp_to_detect], tile=number),
        run.existing("tile_minback", tile=number),
        noise,
        run.existing("coadd_cov", tile=number),
        divide and not noise,
        how,
        run.path("tile_detect_map", tile=number),
        run.stamp(),
    )


def _detect(job: _Job) -> dict[str, Any]:
    import numpy as np
    from pymopex.detection import detect
    from pymopex.noise import faint_side_noise

    image, header = read_image(job.searched, dtype="f4")
    brightness, _ = read_image(job.flux, dtype="f4")
    coverage, _ = read_image(job.coverage, dtype="f4")
    bad = ~np.isfinite(image) | ~np.isfinite(brightness)
    noise = read_image(job.noise, dtype="f4")[0] if job.noise else None
    if job.measure_noise and not bad.all():
        noise = faint_side_noise(image, bad)
    found = detect(image, bad, job.how, coverage=coverage, noise=noise, brightness=brightness)
    write_image(job.target, found.labels.astype("i4"), header, job.stamp, (job.searched,))
    names = ("x", "y", "flux", "blend_id", "blend_size")
    return {name: np.asarray(getattr(found, name)) for name in names}


def _merge(boxes: list, found: list[dict[str, Any]]) -> dict[str, Any]:
    """Put the tables of the tiles together: positions on the mosaic from 1, blends numbered throughout."""
    import numpy as np

    parts: dict[str, list] = {name: [] for name in ("x", "y", "flux", "BlendId", "BlendSize")}
    blends = 0
    for box, table in zip(boxes, found, strict=True):
        parts["x"].append(table["x"] + box.x0 + 1)
        parts["y"].append(table["y"] + box.y0 + 1)
        parts["flux"].append(table["flux"])
        parts["BlendId"].append(table["blend_id"] + blends)
        parts["BlendSize"].append(table["blend_size"])
        blends += int(table["blend_id"].max(initial=0))
    rows: dict[str, Any] = {name: np.concatenate(values) for name, values in parts.items()}
    return {"srcid": np.arange(1, len(rows["x"]) + 1), **rows}


def _write_pixels(run: Run, tiles: list, jobs: list[_Job]) -> None:
    """Write the table of all detected pixels."""
    import numpy as np
    from pymopex import columns

    rows: dict[str, list] = {"srcid": [], "x": [], "y": [], "value": []}
    before = 0
    for (box, _), job in zip(tiles, jobs, strict=True):
        labels, image = read_image(job.target)[0], read_image(job.flux, dtype="f4")[0]
        y, x = np.nonzero(labels)
        rows["srcid"].append(labels[y, x] + before)
        rows["x"].append(x + box.x0 + 1)
        rows["y"].append(y + box.y0 + 1)
        rows["value"].append(image[y, x])
        before += int(labels.max(initial=0))
    path = run.path("complete", list=run.params.Complete_Table_Out_Filename)
    write_table_whole(run, path, columns.PIXELS, {name: np.concatenate(part) for name, part in rows.items()})
