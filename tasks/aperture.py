"""Aperture: aperture photometry on the mosaic, or on the one image."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import keyword_of, read_cards, read_frame, read_header, read_pixels
from pymopex.kit.layers import write_table_whole
from pymopex.kit.searched import image_of_mosaic
from pymopex.kit.task import Run
from pymopex.kit.user_list import check_user_list

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from pymopex.kit.ipac import Table


def check(run: Run) -> list[str]:
    """Name radii that are missing or contradict each other, and a user list that cannot be read."""
    p, problems = run.params, check_user_list(run)
    for number in range(1, p.N_Apertures + 1):
        if getattr(p, f"Aperture_Radius_{number}") is None:
            problems.append(f"{run.settings.namelist.path}: APERTURE.Aperture_Radius_{number} is not given")
    if p.Use_Annulus and p.Outer_Radius <= p.Inner_Radius:
        problems.append(
            f"{p.origin('Outer_Radius')}: APERTURE.Outer_Radius = {p.Outer_Radius}: not larger than "
            f"Inner_Radius = {p.Inner_Radius}"
        )
    return problems


def run(run: Run) -> None:
    """Add the aperture columns to ``extract_raw.tbl``, or write ``aperture.tbl`` at the positions given.

    Notes
    -----
    The table is written at the detected positions, or those of the user list, if ``use_extract_table_for_aperture``
    is 0 or ``aponly_fixed`` is 1. Of one image the tables are ``<base>_extract_raw.tbl`` and ``<base>_aperture.tbl``.
    Sources off the image have no flux.
    """
    from pymopex import columns
    from pymopex.photometry import aperture_photometry
    from pymopex.units import ujy_per_mjysr

    p = run.params
    fitted = p.use_extract_table_for_aperture and not p.aponly_fixed
    table, x, y = _fitted(run) if fitted else _given(run)
    image, sigma, bad, omega = _images(run)
    radii = [getattr(p, f"Aperture_Radius_{number}") for number in range(1, p.N_Apertures + 1)]
    result = aperture_photometry(
        image,
        sigma,
        bad,
        x - 1,
        y - 1,
        radii,
        annulus=(p.Inner_Radius, p.Outer_Radius) if p.Use_Annulus else None,
        statistic=p.Annulus_Compute_Type,
        min_pixels=p.Min_Number_Pixels,
    )
    factor = ujy_per_mjysr(omega(x - 1, y - 1))[:, None]
    rows = {name: table.columns[name] for name in table.columns if not _is_aperture(name)}
    for i in range(len(radii)):
        rows[f"aperture{i + 1}"] = (result.flux * factor)[:, i]
        rows[f"bad_pix{i + 1}"] = result.bad_pixels[:, i]
        rows[f"ap_unc{i + 1}"] = (result.uncertainty * factor)[:, i]
    before = [name for name in rows if not _is_aperture(name)]
    spec = [columns.by_name(name, table) for name in before] + columns.aperture_columns(len(radii))
    keywords = [(kind, key, value) for key, (kind, value) in table.keywords.items()]
    write_table_whole(run, run.path("extract_raw" if fitted else "aperture"), spec, rows, keywords)
    off = _off(image, x, y)
    outside = f"; {off} lie off the image" if off else ""
    run.note(f"{len(x)} sources, radii {', '.join(f'{r:g}' for r in radii)} pixels{outside}")


def _fitted(run: Run) -> tuple[Table, np.ndarray, np.ndarray]:
    """Give the extraction table, and the positions in it."""
    from pymopex.kit.ipac import read_table

    source, p = run.existing("extract_raw"), run.params
    table = read_table(source)
    try:
        return table, table.column(p.X_Column_Name), table.column(p.Y_Column_Name)
    except KeyError as problem:
        raise InputError(f"{source}: {problem}") from None


def _given(run: Run) -> tuple[Table, np.ndarray, np.ndarray]:
    """Give the detection table or the user list with all positions, and those in pixels."""
    from pymopex.kit.ipac import read_table
    from pymopex.kit.searched import pixel_grid
    from pymopex.kit.user_list import positions

    if not run.user_list:
        table = read_table(run.existing("detect"))
        return table, table.column("x"), table.column("y")
    at = positions(run, pixel_grid(run))
    known = {"srcid": at.detid, "RA": at.ra, "Dec": at.dec, "x": at.x, "y": at.y}
    names = {name.casefold() for name in known}
    others = {k: v for k, v in at.table.columns.items() if k.casefold() not in names}
    at.table.columns = {**known, **others}
    return at.table, at.x, at.y


def _off(image: np.ndarray, x: np.ndarray, y: np.ndarray) -> int:
    inside = (x >= 0.5) & (y >= 0.5) & (x < image.shape[1] + 0.5) & (y < image.shape[0] + 0.5)
    return int((~inside).sum())


def _is_aperture(name: str) -> bool:
    return name.startswith(("aperture", "bad_pix", "ap_unc"))


def _images(run: Run) -> tuple[Any, Any, Any, Any]:
    """Read the image, its uncertainty and bad pixels; and make the solid angle of a pixel a function of its place."""
    import numpy as np

    path, sigma = image_of_mosaic(run)
    unc, bad = read_pixels(sigma) if sigma else None, None
    if run.single:
        frame = read_frame(run.frames()[0], run.bits, need_sigma=False)
        image, bad = frame.data, frame.bad
    else:
        image = read_pixels(path).astype(np.float32, copy=False)
    if run.params.use_background_subtracted_image_for_aperture:
        image = _without_background(run, image)
    return image, unc, bad, _solid_angle(path, refined=run.single and run.params.USE_REFINED_POINTING)


def _solid_angle(path: str, *, refined: bool) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    """Give the solid angle of a pixel as a function of its place; the world coordinates of a mosaic are plain ones."""
    from pymopex.tangent_plane import TangentPlane

    cards = read_cards(path)
    plane = None if refined else TangentPlane.of(lambda key: keyword_of(cards, key))
    if plane is not None:
        return plane.solid_angle
    from pymopex.geometry import frame_wcs, pixel_solid_angle

    wcs = frame_wcs(read_header(path), refined=refined)
    return lambda x, y: pixel_solid_angle(wcs, x, y)


def _without_background(run: Run, image: Any) -> Any:
    """Read the background-subtracted image, or put the background-subtracted tiles together to a mosaic."""
    from pymopex.geometry import Box
    from pymopex.kit.layers import coadd_tiles, read_mosaic_part

    if run.single:
        return read_pixels(run.existing("minus_median_extract"))
    boxes = [box for box, _ in coadd_tiles(run, "image")]
    tiles = [(box, run.existing("tile_minback", tile=number)) for number, box in enumerate(boxes, 1)]
    return read_mosaic_part(tiles, Box(0, 0, image.shape[1], image.shape[0]))
