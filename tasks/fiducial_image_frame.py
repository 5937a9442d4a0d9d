"""Fiducial Image Frame: the frame of the mosaic that holds all input frames."""

from __future__ import annotations

from pymopex.kit.checking import problems_of_settings, refused
from pymopex.kit.images import read_header
from pymopex.kit.layers import write_table_whole
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name a projection that does not exist."""
    return problems_of_settings(run, lambda: _try_projection(run), {"projection": "Projection_Type"})


def _try_projection(run: Run) -> None:
    from pymopex.fiducial import FiducialFrame

    name = run.params.Projection_Type
    FiducialFrame(name, 0, 0, 1, 1, 0, -1, 1, 1, 1, f"RA---{name}", f"DEC--{name}").wcs()


def run(run: Run) -> None:
    """Write ``FIF.tbl`` and ``header_list.tbl``."""
    from pymopex import columns
    from pymopex.geometry import fiducial_frame, frame_wcs
    from pymopex.kit.fif import write_fif
    from pymopex.kit.files import whole

    frames, p = run.frames(), run.params
    headers = run.map(read_header, [files.image for files in frames], "headers")
    shapes = [(header["NAXIS2"], header["NAXIS1"]) for header in headers]
    wcss = [frame_wcs(header, refined=p.USE_REFINED_POINTING) for header in headers]
    with refused(p.IMAGE_STACK_FILE_NAME):
        frame = fiducial_frame(
            wcss,
            shapes,
            padding=p.Edge_Padding,
            projection=p.Projection_Type,
            system=p.Coordinate_System,
            crota2=p.CROTA2,
            margin=p.MARGIN,
        )
    path = p.FIF_FILE_NAME or run.path("fif")
    with whole(path) as temporary:
        write_fif(temporary, frame, "Output from Fiducial_Image_Frame")
    run.keep(path)
    write_table_whole(run, run.path("header_list"), columns.HEADER_LIST, _header_rows(frames, headers, wcss))
    run.note(
        f"{len(frames)} frames; fiducial frame of {frame.naxis1} x {frame.naxis2} pixels of the frames' size"
    )


def _header_rows(frames, headers, wcss) -> dict[str, list]:
    rows: dict[str, list] = {name: [] for name in ("file", "naxis1", "naxis2", "ctype1", "ctype2")}
    numbers = ("crval1", "crval2", "crpix1", "crpix2", "cd1_1", "cd1_2", "cd2_1", "cd2_2")
    rows.update({name: [] for name in numbers})
    for files, header, wcs in zip(frames, headers, wcss, strict=True):
        rows["file"].append(files.image)
        rows["naxis1"].append(header["NAXIS1"])
        rows["naxis2"].append(header["NAXIS2"])
        rows["ctype1"].append(header["CTYPE1"])
        rows["ctype2"].append(header["CTYPE2"])
        values = [*wcs.wcs.crval, *wcs.wcs.crpix, *wcs.pixel_scale_matrix.ravel()]
        for name, value in zip(numbers, values, strict=True):
            rows[name].append(float(value))
    return rows
