"""Mosaic Geometry: lists of the frames that overlap the fiducial image frame.

A frame is kept if its outline, distortion included, and the fiducial frame have an area in common. MARGIN widens the
fiducial frame by so many of its pixels on each side; a negative one leaves out frames that barely touch it.
Modules behind this one use the reduced lists, and so do APEX and APEX QA behind Mosaic in a flow.

If no frame is left, the lists are written all the same, without a line; the modules behind are left out with a
warning, and the run ends with status 0.

References
----------
MOPEX User's Guide, Mosaic Geometry.
"""

from __future__ import annotations

from typing import Any

from pymopex.kit.checking import refused
from pymopex.kit.images import read_header
from pymopex.kit.layers import frame_map, tile_rows, write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.stages import listed
from pymopex.kit.task import Run

_ROLES = {
    "IMAGE_STACK_FILE_NAME": "image",
    "SIGMALIST_FILE_NAME": "sigma",
    "DCE_STATUS_MASK_LIST": "dmask",
    "RMASK_LIST": "rmask",
}


def check(run: Run) -> list[str]:
    """Name lists of one name: the reduced lists would overwrite each other."""
    names: dict[str, str] = {}
    problems = []
    for key, name in listed(run).items():
        if name in names:
            problems.append(
                f"{key} and {names[name]} both have the file name {name}; geom_{name} can hold one"
            )
        names[name] = key
    return problems


def run(run: Run) -> None:
    """Write the reduced lists ``geom_<list>``, the frame used, and where the frames kept and the tiles lie."""
    from pymopex.kit.fif import write_fif
    from pymopex.kit.files import whole

    p, frames, fiducial = run.params, run.frames(), run.fiducial("fif")
    jobs = [(files.image, fiducial, p.MARGIN, p.USE_REFINED_POINTING) for files in frames]
    inside = run.map(_inside, jobs, "headers")
    kept = [files for files, yes in zip(frames, inside, strict=True) if yes]
    for key, name in listed(run).items():
        path = run.path("geom_list", list=name)
        write_list(path, [getattr(files, _ROLES[key]) for files in kept])
        run.keep(path)
    with whole(run.path("geom_fif")) as temporary:
        write_fif(temporary, fiducial, "Output from Mosaic_Geom")
    run.keep(run.path("geom_fif"))
    _write_geometry(run, kept)
    run.note(f"{len(kept)} of {len(frames)} frames overlap {run.fiducial_path()}")
    if not kept:
        run.end(f"none of the frames overlaps {run.fiducial_path()}")


def _inside(job: Any) -> bool:
    from pymopex.footprint import overlaps
    from pymopex.geometry import frame_wcs

    image, fiducial, margin, refined = job
    header = read_header(image)
    with refused(image):
        wcs = frame_wcs(header, refined=refined)
        return overlaps(wcs, (header["NAXIS2"], header["NAXIS1"]), fiducial, margin)


def _write_geometry(run: Run, kept: list) -> None:
    """Write the places of tiles and of interpolated frames on the grid of the mosaic."""
    from pymopex import columns
    from pymopex.tasks.mosaic_interp import pixel_size
    from pymopex.tiling import tiles

    fiducial, size = run.fiducial("fif"), run.params_of("mosaic_coadder")
    with refused(run.fiducial_path()):
        grid = fiducial.rescaled(*pixel_size(run, fiducial.cdelt1, fiducial.cdelt2))
    boxes = tiles(grid.naxis1, grid.naxis2, size.TILEMAX_X, size.TILEMAX_Y)
    places = [(box, run.path("coadd_image", tile=number)) for number, box in enumerate(boxes, 1)]
    write_table_whole(run, run.path("geom_tiles"), columns.TILES, tile_rows(places))
    found = run.map(_place, [(files, grid, run.params.USE_REFINED_POINTING) for files in kept], "headers")
    rows: dict[str, list] = {"name": [f"interp_{files.base}.fits" for files in kept]}
    for column, side in (("nx", "nx"), ("ny", "ny"), ("offset_x", "x0"), ("offset_y", "y0")):
        rows[column] = [getattr(box, side) if box else 0 for box in found]
    write_table_whole(run, run.path("geom_frames"), columns.INTERP, rows)


def _place(job: Any) -> Any:
    files, grid, refined = job
    with refused(files.image):
        placed = frame_map(files, grid, refined)
    return placed.box if placed else None
