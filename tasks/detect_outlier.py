"""Detect (bright objects, outliers): maps of the objects and hits in each frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of_settings
from pymopex.kit.images import read_cards, read_pixels, write_image
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.detection import DetectionParams

_FIELDS = {
    "threshold": "Detection_Threshold",
    "min_area": "Detection_Min_Area",
    "max_area": "Detection_Max_Area",
    "min_peak_fraction": "Detect_Min_Peak_Fraction",
}


def check(run: Run) -> list[str]:
    """Name thresholds and areas that contradict each other."""
    return problems_of_settings(run, lambda: _settings(run), _FIELDS)


def run(run: Run) -> None:
    """Write ``<base>_detmap.fits`` for each frame: 0 background, else the number of the cluster."""
    how, stamp = _settings(run), run.stamp()
    jobs = [
        (run.existing("minback", base=files.base), run.path("detmap", base=files.base), how, stamp)
        for files in run.frames()
    ]
    found = run.map(_map_frame, jobs)
    run.keep(*(path for _, path, _, _ in jobs))
    run.note(f"{len(jobs)} frames, {sum(found) / len(jobs):.1f} objects and hits a frame")


def _settings(run: Run) -> DetectionParams:
    from pymopex.detection import DetectionParams

    p = run.params
    return DetectionParams(
        input_type="image_input",
        threshold=p.Detection_Threshold,
        threshold_type=p.Threshold_Type,
        min_area=p.Detection_Min_Area,
        max_area=p.Detection_Max_Area,
        min_peak_fraction=p.Detect_Min_Peak_Fraction,
    )


def _map_frame(job: Any) -> int:
    import numpy as np
    from pymopex.detection import detection_map

    source, target, how, stamp = job
    image = read_pixels(source).astype("f4", copy=False)
    labels = detection_map(image, ~np.isfinite(image), how)
    write_image(target, labels.astype("i4"), read_cards(source), stamp, (source,))
    return int(labels.max(initial=0))
