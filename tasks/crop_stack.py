"""Crop Stack: stamps round the stars of a list."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of
from pymopex.kit.errors import InputError
from pymopex.kit.images import FatalBits, FrameFiles, Stamp, read_frame, read_header, read_image
from pymopex.kit.stamps import StarList, array_size, check_stars, numbers, stars_of, write_stamp
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np


def check(run: Run) -> list[str]:
    """Name a list that cannot be used, columns that it lacks, and stamps of even size."""
    from pymopex.selection import parse_condition

    p, problems = run.params, check_stars(run)
    if p.IMAGE_STACK_FILE_NAME and p.INPUT_FILE_NAME:
        problems.append(
            f"{p.origin('INPUT_FILE_NAME')}: INPUT_FILE_NAME = {p.INPUT_FILE_NAME}: a list of frames is given, too "
            f"(IMAGE_STACK_FILE_NAME, {p.origin('IMAGE_STACK_FILE_NAME')}); leave one of them empty"
        )
    for key in ("PostStamp_Xsize", "PostStamp_Ysize"):
        size = getattr(p, key)
        if size % 2 == 0:
            problems.append(
                f"{p.origin(key)}: CROP_STACK.{key} = {size}: is even, and the star is in the middle pixel; "
                f"write {size + 1}"
            )
    if p.Source_Conditions:
        try:
            parse_condition(p.Source_Conditions)
        except ValueError as problem:
            where = p.origin("Source_Conditions")
            problems.append(f"{where}: Source_Conditions = {p.Source_Conditions}: {problem}")
    if not problems and p.POINT_SOURCE_LIST not in run.promised:
        problems += problems_of(_try, run)
    return problems


def _try(run: Run) -> None:
    _chosen(run, stars_of(run))


def run(run: Run) -> None:
    """Write a stamp for each star and frame that holds it into ``CROP_STACK_DIR``, their list and their table.

    Notes
    -----
    A stamp is centred on the pixel that holds the star. Pixels that the masks call bad, or that are off the frame, are
    NaN. The frames are those behind MedFilter, if it is switched on. A second image, UNC, holds the uncertainties.
    The table has the place of each star in its frame, the solid angle of the pixel there as uJy per MJy/sr, and how
    the place changes with the position on the sky.
    """
    import numpy as np
    from pymopex import columns
    from pymopex.kit.layers import write_table_whole
    from pymopex.kit.lists import write_list

    p, stars = run.params, stars_of(run)
    rows = _chosen(run, stars)
    size = p.PostStamp_Xsize, p.PostStamp_Ysize
    job = _Job(
        run.bits,
        p.USE_REFINED_POINTING,
        stars.srcid[rows],
        stars.ra[rows],
        stars.dec[rows],
        size,
        run.stamp(),
    )
    jobs = [(job, files, *_source_of(run, files)) for files in run.frames()]
    found = [row for part in run.map(_cut_frame, jobs) for row in part]
    if not found:
        raise InputError(f"{stars.table.path}: none of its {rows.size} stars lies on a frame")
    table = {column.name: [row[column.name] for row in found] for column in columns.STAMPS}
    width, height = array_size(run)
    write_table_whole(
        run,
        run.path("stamp_table"),
        columns.STAMPS,
        table,
        [("int", "NAXIS1", width), ("int", "NAXIS2", height)],
    )
    target = run.path("stamp_list")
    write_list(target, [row["path"] for row in found])
    run.keep(target, *(row["path"] for row in found))
    held = len(np.unique(table["srcid"]))
    run.note(f"{len(found)} stamps of {size[0]} x {size[1]} pixels, {held} stars, {len(jobs)} images")
    if held < rows.size:
        run.note(f"{rows.size - held} stars lie on no frame")


def _chosen(run: Run, stars: StarList) -> np.ndarray:
    """Give the rows of the stars that fulfil the conditions and are alone."""
    import numpy as np
    from pymopex.selection import select
    from pymopex.stamps import isolated

    p, table = run.params, stars.table
    try:
        fits = select(p.Source_Conditions, table.columns).rows
    except ValueError as problem:
        raise InputError(f"{p.origin('Source_Conditions')}: {table.path}: {problem}") from None
    flux = np.full(len(table), np.nan)
    if p.Flux_Column_Name or (p.Min_Separation and "flux" in {name.casefold() for name in table.columns}):
        flux = numbers(table, p.Flux_Column_Name or "flux")
    alone = isolated(stars.ra, stars.dec, flux, p.Min_Separation, p.Neighbour_Fraction)
    rows = np.flatnonzero(fits & alone)
    if not rows.size:
        raise InputError(
            f"{table.path}: none of its {len(table)} stars is left: {int(fits.sum())} fulfil Source_Conditions, "
            f"{int(alone.sum())} are alone by Min_Separation"
        )
    return rows


def _source_of(run: Run, files: FrameFiles) -> tuple[str, str]:
    """Give the image that stamps are cut from, and the first part of their names."""
    image = run.existing("minback", base=files.base) if run.switched("medfilter") else files.image
    return image, run.path("stamp", base=files.base, srcid="{}")


@dataclass(frozen=True, eq=False)
class _Job:
    """What all frames share."""

    bits: FatalBits
    refined: bool
    srcid: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    size: tuple[int, int]
    stamp: Stamp


def _cut_frame(argument: Any) -> list[dict[str, Any]]:
    """Cut the stamps of one frame; gives their rows of the table."""
    import os

    import numpy as np
    from pymopex.fit_data import offset_sky
    from pymopex.geometry import frame_wcs, pixel_solid_angle
    from pymopex.kit.searched import PixelGrid
    from pymopex.stamps import cut
    from pymopex.units import ujy_per_mjysr

    job, files, image, names = argument
    header = read_header(files.image)
    shape = header["NAXIS2"], header["NAXIS1"]
    wcs = frame_wcs(header, refined=job.refined)
    grid = PixelGrid(wcs, shape, 0.0)
    x, y = (v - 1 for v in grid.to_pixels(job.ra, job.dec))
    with np.errstate(invalid="ignore"):
        inside = (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)
    which = np.flatnonzero(inside)
    if not which.size:
        return []
    frame = read_frame(files, job.bits)
    data = frame.data if image == files.image else read_image(image, dtype="f4")[0]
    data = np.where(frame.bad, np.float32(np.nan), data)
    scale = ujy_per_mjysr(pixel_solid_angle(wcs, x[which], y[which]))
    steps = []
    for east, north in ((1.0, 0.0), (0.0, 1.0)):
        ra, dec = offset_sky(
            job.ra[which], job.dec[which], np.full(which.size, east), np.full(which.size, north)
        )
        moved = grid.to_pixels(ra, dec)
        steps.append((moved[0] - 1 - x[which], moved[1] - 1 - y[which]))
    base, rows = wcs.to_header(relax=True), []
    for i, k in enumerate(which):
        stamp, x0, y0 = cut(data, x[k], y[k], job.size)
        sigma = None if frame.sigma is None else cut(frame.sigma, x[k], y[k], job.size)[0]
        path = names.format(job.srcid[k])
        row = {
            "file": os.path.basename(path),
            "path": path,
            "srcid": int(job.srcid[k]),
            "frame": files.index + 1,
            "image": os.path.basename(files.image),
            "x": x[k] + 1,
            "y": y[k] + 1,
            "x0": x0 + 1,
            "y0": y0 + 1,
            "conversion": scale[i],
            "n_bad": int((~np.isfinite(stamp)).sum()),
        }
        for name, (dx, dy) in zip("en", steps, strict=True):
            row[f"dx_d{name}"], row[f"dy_d{name}"] = dx[i], dy[i]
        write_stamp(path, stamp, sigma, _header(base, row), job.stamp)
        rows.append(row)
    return rows


def _header(base: Any, row: dict[str, Any]) -> Any:
    """Give the header of a stamp: where it lies on the sky, and what it holds."""
    header = base.copy()
    for axis, corner in ((1, row["x0"]), (2, row["y0"])):
        header[f"CRPIX{axis}"] = base.get(f"CRPIX{axis}", 0.0) - (corner - 1)
    header["IMAGE"] = row["image"]
    header["SRCID"] = (row["srcid"], "number of the star in the list")
    header["XSTAR"] = (row["x"] - row["x0"] + 1, "[pixel] place of the star, from 1")
    header["YSTAR"] = (row["y"] - row["y0"] + 1, "[pixel] the same along y")
    return header
