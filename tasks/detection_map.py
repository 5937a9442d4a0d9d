"""Detection Map: which frames hold the sources of the user list."""

from __future__ import annotations

from typing import Any

from pymopex.kit.images import read_header
from pymopex.kit.layers import write_table_whole
from pymopex.kit.searched import pixel_grid
from pymopex.kit.task import Run
from pymopex.kit.user_list import check_user_list, positions


def check(run: Run) -> list[str]:
    """Name a user list that cannot be read; warn of a border other than that of Source Estimate."""
    p = run.params
    if run.switched("sourcestimate") and run.params_of("sourcestimate").N_Edge != p.N_Edge:
        run.settings.warnings.append(
            f"{p.origin('N_Edge')}: DETECTION_MAP.N_Edge = {p.N_Edge} is not that of SOURCESTIMATE, which counts for "
            "the fit"
        )
    return check_user_list(run)


def run(run: Run) -> None:
    """Write ``detection_map.tbl``: a row for each source in each frame that holds it.

    Notes
    -----
    Source Estimate finds the frames of a source by itself, so that it needs no map. A frame holds a source whose place,
    by the full WCS, is at least ``N_Edge`` pixels inside its edge; with a negative number, at most that far outside.
    """
    import numpy as np
    from pymopex import columns

    at = positions(run, pixel_grid(run))
    frames, p = run.frames(), run.params
    jobs = [(files.image, at.ra, at.dec, p.USE_REFINED_POINTING, p.N_Edge) for files in frames]
    found = run.map(_held, jobs)
    row, x, y = (np.concatenate([part[i] for part in found]) for i in range(3))
    frame = np.repeat(np.arange(len(frames)), [len(part[0]) for part in found])
    order = np.lexsort((frame, row))
    row, frame = row[order].astype(int), frame[order]
    names = np.array([files.base for files in frames])
    data = {"srcid": at.detid[row], "frame": frame + 1, "file": names[frame]}
    data |= {"x_frame": x[order] + 1, "y_frame": y[order] + 1}
    write_table_whole(run, run.path("detection_map"), columns.DETECTION_MAP, data)
    held = len(np.unique(row))
    run.note(
        f"{held} of {len(at.ra)} sources in {len(frames)} frames, {len(row) / max(held, 1):.1f} frames a source"
    )


def _held(job: Any) -> tuple[Any, Any, Any]:
    """Give the rows that a frame holds, and their places in it."""
    import numpy as np
    from pymopex.fit_data import place_sources
    from pymopex.geometry import frame_wcs
    from pymopex.kit.fit_frames import inside_frame, near_frame

    image, ra, dec, refined, n_edge = job
    header = read_header(image)
    wcs, shape = frame_wcs(header, refined=refined), (header["NAXIS2"], header["NAXIS1"])
    near = near_frame(wcs, shape, ra, dec, max(20.0, -n_edge))
    if not near.size:
        return near, np.zeros(0), np.zeros(0)
    x, y, _ = place_sources(wcs, ra[near], dec[near])
    inside = inside_frame(x, y, shape, n_edge)
    return near[inside], x[inside], y[inside]
