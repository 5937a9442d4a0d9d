"""The factors of Photometric Corrections that depend on where a source lies on the detector."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pymopex.kit.array_location import FrameJob, at_places, correction_image, look_up, mean_over_frames
from pymopex.kit.correcting import NONE, Camera, Factor, colour_factor, corrected_before
from pymopex.kit.errors import InputError
from pymopex.kit.images import read_image

if TYPE_CHECKING:
    import numpy as np

    from pymopex.kit.ipac import Table
    from pymopex.kit.task import Run


def check_camera(run: Run, seen: Camera) -> list[str]:
    """Refuse what is asked for by name and does not apply to the camera.

    Raises
    ------
    InputError
        With the reason.
    """
    p = run.params
    if not seen.is_irac and p.Array_Correction in ("mosaic", "frames"):
        raise InputError(
            f"{p.origin('Array_Correction')}: PHOTCORR.Array_Correction = {p.Array_Correction}: there is no "
            f"array-location correction of {seen}; take none"
        )
    if not seen.is_irac and p.Pixel_Phase != "none":
        raise InputError(
            f"{p.origin('Pixel_Phase')}: PHOTCORR.Pixel_Phase = {p.Pixel_Phase}: there is no pixel-phase correction "
            f"of {seen}; take none"
        )
    if p.Pixel_Phase == "radial" and seen.mission == "warm":
        raise InputError(
            f"{p.origin('Pixel_Phase')}: PHOTCORR.Pixel_Phase = radial: is of the cryogenic mission; take gaussians"
        )
    if p.Array_Correction in ("mosaic", "frames") and corrected_before(run):
        raise InputError(
            f"{p.origin('Array_Correction')}: PHOTCORR.Array_Correction = {p.Array_Correction}: the frames have the "
            "correction already (ARRAYLOC in their headers); take none or auto"
        )
    colour_factor(run, seen)
    return []


def by_place(run: Run, seen: Camera, table: Table) -> tuple[Factor, Factor]:
    """Give the array-location and pixel-phase factors of the sources."""
    import numpy as np

    from pymopex.photcorr import blueness

    p, how = run.params, _array_mode(run, seen)
    blue = {"blue": 1.0, "red": 0.0}.get(p.Source_Colour)
    part = blueness(p.Spectral_Index) if blue is None else blue
    model = (
        {"gaussians": seen.mission, "radial": "radial"}.get(p.Pixel_Phase)
        if seen.band in ("I1", "I2")
        else None
    )
    phase = (seen.band, model) if model else None
    located, phased = NONE, NONE
    if p.Pixel_Phase != "none" and not phase:
        phased = Factor(1.0, f"1: no pixel-phase correction of {seen.band}")
    factors = np.ones(len(table))
    if how == "frames" or phase:
        factors, phases, count = _over_frames(run, table, how == "frames", phase)
        frames = f"mean over {np.median(count) if len(count) else 0:g} frames (median)"
        if phase:
            phased = Factor(phases, f"{p.Pixel_Phase} {seen}, {frames}")
        if how == "frames":
            located = Factor(factors, f"{os.path.basename(run.calibration('ARRAY_CORR_IMAGE'))}, {frames}")
    if how == "mosaic":
        path = _mosaic(run) if p.Array_Corr_Mosaic else run.existing("mosaic_arraycorr")
        x, y = (table.column(name) for name in ("x", "y"))
        located = Factor(at_places(read_image(path, dtype="f8")[0], x - 1, y - 1), os.path.basename(path))
    if how in ("mosaic", "frames"):
        located = Factor(
            1 + part * (located.value - 1), f"{located.origin}, {p.Source_Colour}, {part:g} of it"
        )
    elif p.Array_Correction == "auto" and seen.is_irac:
        reason = (
            "the frames have it"
            if corrected_before(run)
            else "neither a correction mosaic nor ARRAY_CORR_IMAGE"
        )
        located = Factor(1.0, f"1: {reason}")
    return located, phased


def _mosaic(run: Run) -> str:
    return run.params.Array_Corr_Mosaic or run.path("mosaic_arraycorr")


def _array_mode(run: Run, seen: Camera) -> str:
    p = run.params
    if p.Array_Correction != "auto":
        return p.Array_Correction
    if not seen.is_irac or corrected_before(run):
        return "none"
    if os.path.exists(_mosaic(run)):
        return "mosaic"
    return "frames" if p.ARRAY_CORR_IMAGE else "none"


def _over_frames(
    run: Run, table: Table, locate: bool, phase: tuple[str, str] | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    image = correction_image(run) if locate else None
    ra, dec, p = table.column("RA"), table.column("Dec"), run.params
    n_edge = run.params_of("sourcestimate").N_Edge
    jobs = [FrameJob(f.image, ra, dec, p.USE_REFINED_POINTING, n_edge, image, phase) for f in run.frames()]
    return mean_over_frames(run.map(look_up, jobs), len(table))
