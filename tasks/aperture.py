"""Aperture: aperture photometry on the mosaic."""

from __future__ import annotations

import os
from typing import Any

from pymopex.kit.errors import InputError
from pymopex.kit.images import read_image
from pymopex.kit.layers import write_table_whole
from pymopex.kit.task import Run


def check(run: Run) -> list[str]:
    """Name radii that are missing or contradict each other."""
    p, problems = run.params, []
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
    """Add the aperture columns to ``extract_raw.tbl``, or write ``aperture.tbl`` at the detected positions."""
    from pymopex import columns
    from pymopex.kit.ipac import read_table
    from pymopex.photometry import aperture_photometry
    from pymopex.units import ujy_per_mjysr

    p = run.params
    source = run.existing("extract_raw" if p.use_extract_table_for_aperture else "detect")
    table = read_table(source)
    try:
        x, y = table.column(p.X_Column_Name), table.column(p.Y_Column_Name)
    except KeyError as problem:
        raise InputError(f"{source}: {problem}") from None
    image, sigma, omega = _images(run)
    radii = [getattr(p, f"Aperture_Radius_{number}") for number in range(1, p.N_Apertures + 1)]
    result = aperture_photometry(
        image,
        sigma,
        None,
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
    target = run.path("extract_raw" if p.use_extract_table_for_aperture else "aperture")
    keywords = [(kind, key, value) for key, (kind, value) in table.keywords.items()]
    write_table_whole(run, target, spec, rows, keywords)
    run.note(f"{len(x)} sources, radii {', '.join(f'{r:g}' for r in radii)} pixels")


def _is_aperture(name: str) -> bool:
    return name.startswith(("aperture", "bad_pix", "ap_unc"))


def _images(run: Run) -> tuple[Any, Any, Any]:
    """Read the mosaic and its uncertainty; and make the solid angle of its pixels a function of the place."""
    from pymopex.geometry import frame_wcs, pixel_solid_angle

    image, header = read_image(run.existing("mosaic"), dtype="f8")
    if run.params.use_background_subtracted_image_for_aperture:
        image = _without_background(run, image)
    path = run.path("mosaic_unc")
    sigma = read_image(path, dtype="f8")[0] if os.path.exists(path) else None
    wcs = frame_wcs(header)
    return image, sigma, lambda x, y: pixel_solid_angle(wcs, x, y)


def _without_background(run: Run, image: Any) -> Any:
    """Put the background-subtracted tiles together to a mosaic."""
    from pymopex.geometry import Box
    from pymopex.kit.layers import coadd_tiles, read_mosaic_part

    boxes = [box for box, _ in coadd_tiles(run, "image")]
    tiles = [(box, run.existing("tile_minback", tile=number)) for number, box in enumerate(boxes, 1)]
    return read_mosaic_part(tiles, Box(0, 0, image.shape[1], image.shape[0])).astype("f8")
