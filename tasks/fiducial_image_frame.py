"""Fiducial Image Frame: the frame of the mosaic that holds all input frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of, problems_of_settings, refused
from pymopex.kit.errors import InputError
from pymopex.kit.images import frame_geometry, keyword_of, read_cards, read_header
from pymopex.kit.layers import write_table_whole
from pymopex.kit.task import Run

if TYPE_CHECKING:
    from pymopex.geometry import FiducialFrame


def check(run: Run) -> list[str]:
    """Name a projection that does not exist, and a grid that is given by halves, twice, or by no image."""
    problems = problems_of_settings(run, lambda: _try_projection(run), {"projection": "Projection_Type"})
    return problems + problems_of_settings(run, lambda: _given(run)) + problems_of(_like, run) + _edited(run)


def _edited(run: Run) -> list[str]:
    """Name the table of the output directory if a user edited it: it is not written over."""
    from pymopex.kit.fif import is_own

    path = run.fiducial_target()
    if is_own(path):
        return []
    return [
        f"{path}: was made or edited by hand, and is not written over; to use it, give it as FIF_FILE_NAME with "
        "run_fiducial_image_frame = 0, else rename it"
    ]


def _try_projection(run: Run) -> None:
    from pymopex.fiducial import FiducialFrame

    name = run.params.Projection_Type
    FiducialFrame(name, 0, 0, 1, 1, 0, -1, 1, 1, 1, f"RA---{name}", f"DEC--{name}").wcs()


def _like(run: Run) -> None:
    """Read the grid of the image to follow.

    Raises
    ------
    InputError
        It cannot be read, or its grid cannot be told by CDELT and CROTA2.
    """
    from pymopex.grids import grid_of

    name = run.params.Like_Image
    if not name:
        return
    header = read_header(name)
    if header.get("NAXIS") != 2:
        raise InputError(f"{name}: has {header.get('NAXIS')} axes; a two-dimensional image is needed")
    with refused(f"{name} (Like_Image)"):
        grid_of(header)


def _given(run: Run) -> dict[str, Any]:
    """Give the middle and the size that are asked for."""
    p = run.params
    found: dict[str, Any] = {}
    for name, keys in (("centre", ("Centre_RA", "Centre_Dec")), ("size", ("Size_X", "Size_Y"))):
        pair = tuple(getattr(p, key) for key in keys)
        given = [key for key, value in zip(keys, pair, strict=True) if value is not None]
        if len(given) == 1:
            raise InputError(f"{p.origin(given[0])}: {keys[0]} and {keys[1]} must be given together")
        if given and p.Like_Image:
            raise InputError(
                f"{p.origin(given[0])}: {keys[0]} and Like_Image are both given; give one of them"
            )
        if given:
            found[name] = pair
    return found


def _placed(run: Run, frame: FiducialFrame) -> FiducialFrame:
    """Give the grid that is asked for, in place of the one that holds all frames."""
    from pymopex.grids import grid_at, grid_of

    name = run.params.Like_Image
    if name:
        run.note(f"grid of {name}")
        return grid_of(read_header(name))
    given = _given(run)
    return grid_at(frame, **given) if given else frame


def run(run: Run) -> None:
    r"""Write ``FIF.tbl`` and ``header_list.tbl``.

    Notes
    -----
    With ``Like_Image`` the grid is that of an image, pixel size included, whatever ``MOSAIC_PIXEL_SIZE_X`` says.
    ``Centre_RA``, ``Centre_Dec``, ``Size_X`` and ``Size_Y`` put a grid of a given size round a position, with the
    orientation that the grid of all frames has. Neither takes ``Edge_Padding`` or ``MARGIN``.

    One grid for several channels: list the frames of all of them in one file, run this module alone on it with an
    output directory of its own and without other lists,

        mopex fiducial_image_frame mosaic.nl IMAGE_STACK_FILE_NAME=all.txt SIGMALIST_FILE_NAME= \
            DCE_STATUS_MASK_LIST= PMASK_FILE_NAME= OUTPUT_DIR=grid

    and give ``grid/FIF.tbl`` as ``FIF_FILE_NAME`` to the run of each channel, with ``run_fiducial_image_frame = 0`` and
    the same ``MOSAIC_PIXEL_SIZE_X`` and ``MOSAIC_PIXEL_SIZE_Y``.
    """
    from pymopex import columns
    from pymopex.geometry import fiducial_frame
    from pymopex.kit.confining import fiducial_leads_out
    from pymopex.kit.fif import write_fif
    from pymopex.kit.files import whole

    frames, p = run.frames(), run.params
    axes = run.map(_axes, [files.image for files in frames], "headers")
    wcss, shapes = zip(
        *(frame_geometry(files.image, p.USE_REFINED_POINTING) for files in frames), strict=True
    )
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
    frame = _placed(run, frame)
    path = run.fiducial_target()
    if p.FIF_FILE_NAME not in ("", path):
        why = "was made or edited by hand and stays as it is"
        if fiducial_leads_out(run):
            why = "(FIF_FILE_NAME) leads out of OUTPUT_DIR, where products stay"
        run.note(
            f"Warning: {p.FIF_FILE_NAME} {why}; the new frame is {path}; "
            "to use the one given, set run_fiducial_image_frame = 0"
        )
    with whole(path) as temporary:
        write_fif(temporary, frame, "Output from Fiducial_Image_Frame", sealed=True)
    run.keep(path)
    write_table_whole(
        run, run.path("header_list"), columns.HEADER_LIST, _header_rows(frames, axes, shapes, wcss)
    )
    size = f"{frame.cdelt2 * 3600:.4f} arcsec"
    run.note(f"{len(frames)} frames; fiducial frame of {frame.naxis1} x {frame.naxis2} pixels of {size}")


def _axes(path: str) -> tuple[str, str]:
    """Read the types of the axes of a frame."""
    cards = read_cards(path)
    return keyword_of(cards, "CTYPE1"), keyword_of(cards, "CTYPE2")


def _header_rows(frames, axes, shapes, wcss) -> dict[str, list]:
    rows: dict[str, list] = {name: [] for name in ("file", "naxis1", "naxis2", "ctype1", "ctype2")}
    numbers = ("crval1", "crval2", "crpix1", "crpix2", "cd1_1", "cd1_2", "cd2_1", "cd2_2")
    rows.update({name: [] for name in numbers})
    for files, (ctype1, ctype2), (ny, nx), wcs in zip(frames, axes, shapes, wcss, strict=True):
        rows["file"].append(files.image)
        rows["naxis1"].append(nx)
        rows["naxis2"].append(ny)
        rows["ctype1"].append(ctype1)
        rows["ctype2"].append(ctype2)
        values = [*wcs.wcs.crval, *wcs.wcs.crpix, *wcs.pixel_scale_matrix.ravel()]
        for name, value in zip(numbers, values, strict=True):
            rows[name].append(float(value))
    return rows
