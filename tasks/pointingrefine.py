"""Pointing Refine: pointing of the frames refined by the sources that they share, or by a list of positions.

Sources are found in each frame and matched between the frames. Small shifts and turns of all frames are solved for
together, so that the sources agree: with each other (relative), or also with a list (absolute).

References
----------
README of pointingrefine.pl, distributed with MOPEX. Spitzer headers: RARFND, DECRFND, CT2RFND and their errors.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from pymopex.kit.checking import problems_of, problems_of_settings
from pymopex.kit.errors import InputError
from pymopex.kit.images import Stamp, read_frame, read_header, update_header
from pymopex.kit.ipac import read_table
from pymopex.kit.layers import write_table_whole
from pymopex.kit.lists import write_list
from pymopex.kit.task import Run

if TYPE_CHECKING:
    import numpy as np
    from pymopex.pointing import PointingParams, Positions, Refinement
    from pymopex.star_positions import StarParams

_FWHM = 2.0  # arcsec, where the header names no camera that is known
_FIELDS = {
    "radius": "Match_Radius",
    "min_matches": "Min_Matches",
    "floor": "Position_Floor",
    "prior_shift": "Pointing_Error",
    "prior_turn": "Rotation_Error",
    "snr": "SNR_Threshold",
    "fwhm": "Source_FWHM",
    "window": "Window",
}


def check(run: Run) -> list[str]:
    """Name a list that cannot be used, and frames whose headers cannot be written."""
    problems = problems_of_settings(run, lambda: _settings(run), _FIELDS)
    problems += problems_of(lambda: _reference(run, (0.0, 0.0)) and None)
    if run.params.Update_Headers:
        problems += [
            f"{path}: cannot be written, and Update_Headers = 1 (0 writes copies)"
            for path in (os.path.realpath(files.image) for files in run.frames())
            if not (os.access(path, os.W_OK) and os.access(os.path.dirname(path), os.W_OK))
        ]
    return problems


def run(run: Run) -> None:
    """Write RARFND, DECRFND, CT2RFND and their errors into the headers of the frames, and ``pointingrefine.tbl``.

    Notes
    -----
    The keywords stand beside the ordinary pointing, which stays; modules use them with USE_REFINED_POINTING = 1.
    CD11RFND to CD22RFND hold the matrix that goes with them. Like PA, CT2RFND is the position angle of +y, east of
    north. With Update_Headers = 0 the frames stay as they are, and copies of them get the keywords; their list is
    ``refined_<list>``.

    Without Reference_List the mean shift and turn of all frames stay as they are: frames are as wrong as before
    together, but agree. The list may have any further columns; its positions are those of the epoch of the frames.
    A frame that shares fewer than Min_Matches sources keeps its pointing. With USE_REFINED_POINTING = 1 the refined
    pointing of the headers is what is refined.
    """
    from pymopex import columns
    from pymopex.pointing import refine

    p, frames = run.params, run.frames()
    jobs = [(files, run.bits, _stars(run, files), p.USE_REFINED_POINTING) for files in frames]
    found = run.map(_find, jobs)
    middle, centres, positions = _in_plane(found)
    reference = _reference(run, middle)
    refined = refine(positions, centres, _settings(run), reference)
    cards = [_cards(entry, refined, i, middle) for i, entry in enumerate(found)]
    paths = [files.image if p.Update_Headers else run.path("refined", base=files.base) for files in frames]
    run.map(
        _write,
        [(files.image, path, c, run.stamp()) for files, path, c in zip(frames, paths, cards, strict=True)],
    )
    run.keep(*paths)
    if not p.Update_Headers:
        write_list(run.path("refined_list"), paths)
        run.keep(run.path("refined_list"))
    write_table_whole(run, run.path("pointing_table"), columns.POINTING, _rows(run, found, refined, cards))
    _tell(run, refined)


def _tell(run: Run, refined: Refinement) -> None:
    import numpy as np

    kept = int(np.count_nonzero(refined.matches == 0))
    run.note(
        f"{len(refined.east)} frames: scatter of the sources {refined.before:.3f} arcsec before, "
        f"{refined.rms:.3f} arcsec behind"
    )
    if kept:
        run.note(f"Warning: {kept} frames share too few sources and keep their pointing")
    groups = len(set(refined.group[refined.matches > 0]))
    if groups > 1:
        run.note(f"Warning: {groups} groups of frames share no source with each other")


def _settings(run: Run) -> PointingParams:
    from pymopex.pointing import PointingParams

    p = run.params
    return PointingParams(
        radius=p.Match_Radius,
        min_matches=p.Min_Matches,
        floor=p.Position_Floor,
        prior_shift=p.Pointing_Error,
        prior_turn=p.Rotation_Error,
        rotation=p.Refine_Rotation,
    )


def _stars(run: Run, files: Any) -> StarParams:
    from pymopex.star_positions import StarParams

    p, header = run.params, read_header(files.image)
    width, pixel = p.Source_FWHM or _width(header), _pixel(header)
    return StarParams(
        fwhm=width / pixel, snr=p.SNR_Threshold, half=max(3, round(1.5 * width / pixel)), window=p.Window
    )


def _width(header) -> float:
    """Width of point sources of a camera [arcsec]."""
    from pymopex.instruments import INSTRUMENTS

    name, channel = str(header.get("INSTRUME", "")).strip(), header.get("CHNLNUM")
    known = {(one.name, one.channel): one.band.fwhm for one in INSTRUMENTS.values()}
    return known.get((name, channel), _FWHM)


def _pixel(header) -> float:
    """Pixel size in the middle of a frame [arcsec]."""
    import numpy as np
    from pymopex.geometry import frame_wcs, pixel_solid_angle

    middle = (np.array([(header[f"NAXIS{k}"] - 1) / 2]) for k in (1, 2))
    return float(np.degrees(np.sqrt(pixel_solid_angle(frame_wcs(header), *middle)[0])) * 3600)


def _find(job: Any) -> dict[str, Any]:
    """Find the sources of a frame: right ascension, declination [deg], error [arcsec]; and its pointing."""
    import math

    from pymopex.geometry import frame_wcs
    from pymopex.projection import pixel_to_sky, rotate_sky, sky_system
    from pymopex.star_positions import find_stars

    files, bits, how, refined = job
    frame = read_frame(files, bits)
    stars = find_stars(frame.data, frame.sigma, frame.bad, how)
    wcs = frame_wcs(frame.header, refined=refined)
    if sky_system(wcs) != "J2000":
        raise InputError(f"{files.image}: its coordinates are not right ascension and declination")
    ra, dec = rotate_sky(*pixel_to_sky(wcs, stars.x, stars.y), sky_system(wcs), "J2000")
    cd = wcs.pixel_scale_matrix
    angle = math.degrees(math.atan2(cd[0, 1], cd[1, 1]))
    crval = [float(wcs.wcs.crval[k]) for k in (wcs.wcs.lng, wcs.wcs.lat)]
    error = stars.error * _pixel(frame.header)
    return {
        "file": files.image,
        "ra": ra,
        "dec": dec,
        "error": error,
        "crval": crval,
        "angle": angle,
        "cd": cd,
    }


def _in_plane(found: list[dict[str, Any]]) -> tuple[tuple[float, float], np.ndarray, Positions]:
    """Put the sources of all frames into one plane."""
    import numpy as np
    from pymopex.pointing import Positions, mean_position, plane

    places = np.array([entry["crval"] for entry in found])
    middle = mean_position(places[:, 0], places[:, 1])
    centres = np.stack(plane(places[:, 0], places[:, 1], *middle), axis=1)
    ra, dec, error = (np.concatenate([entry[key] for entry in found]) for key in ("ra", "dec", "error"))
    frame = np.repeat(np.arange(len(found)), [len(entry["ra"]) for entry in found])
    return middle, centres, Positions(frame, *plane(ra, dec, *middle), error)


def _reference(run: Run, middle: tuple[float, float]) -> Positions | None:
    """Read the list of positions, if one is given."""
    import numpy as np
    from pymopex.pointing import Positions, plane

    p = run.params
    if not p.Reference_List:
        return None
    table = read_table(p.Reference_List)
    ra, dec = (np.asarray(table.column(name), dtype=float) for name in ("RA", "Dec"))
    good = np.isfinite(ra) & np.isfinite(dec)
    if not good.any():
        raise InputError(f"{p.Reference_List}: holds no positions")
    n = int(good.sum())
    return Positions(np.full(n, -1), *plane(ra[good], dec[good], *middle), np.full(n, p.Reference_Error))


def _cards(entry: dict[str, Any], refined: Refinement, i: int, middle: tuple[float, float]) -> list:
    """Give the keywords of a frame."""
    import math

    import numpy as np
    from pymopex.fit_data import offset_sky
    from pymopex.pointing import plane

    at = plane(*entry["crval"], *middle)
    ra, dec = (
        float(v)
        for v in offset_sky(
            middle[0], middle[1], float(at[0]) + refined.east[i], float(at[1]) + refined.north[i]
        )
    )
    turn = math.radians(refined.turn[i])
    matrix = np.array([[math.cos(turn), math.sin(turn)], [-math.sin(turn), math.cos(turn)]]) @ entry["cd"]
    angle = (entry["angle"] + refined.turn[i] + 180) % 360 - 180
    east, north, rotation = refined.error[i]
    cards = [
        ("RARFND", ra, "[deg] Refined RA"),
        ("DECRFND", dec, "[deg] Refined DEC"),
        ("CT2RFND", angle, "[deg] Refined position angle of +y"),
        ("ERARFND", east / 3600 / max(math.cos(math.radians(dec)), 1e-6), "[deg] Error in RARFND"),
        ("EDECRFND", north / 3600, "[deg] Error in DECRFND"),
        ("ECT2RFND", rotation, "[deg] Error in CT2RFND"),
    ]
    names = ((0, 0), (0, 1), (1, 0), (1, 1))
    cards += [(f"CD{j + 1}{k + 1}RFND", float(matrix[j, k]), "Refined CD matrix") for j, k in names]
    return [(key, float(value), comment) for key, value, comment in cards]


def _write(job: tuple[str, str, list, Stamp]) -> None:
    import shutil

    from pymopex.kit.files import whole

    source, target, cards, stamp = job
    if target != source:
        with whole(target) as temporary:
            shutil.copyfile(source, temporary)
    update_header(target, cards, stamp)


def _rows(run: Run, found: list, refined: Refinement, cards: list) -> dict[str, Any]:
    error = refined.error
    return {
        "index": [files.index + 1 for files in run.frames()],
        "file": [os.path.basename(entry["file"]) for entry in found],
        "n_found": [len(entry["ra"]) for entry in found],
        "n_matched": refined.matches,
        "group": refined.group,
        "d_east": refined.east,
        "d_north": refined.north,
        "d_angle": refined.turn,
        "delta_east": error[:, 0],
        "delta_north": error[:, 1],
        "delta_angle": error[:, 2],
        **{key: [c[i][1] for c in cards] for i, key in enumerate(("ra", "dec", "angle"))},
    }
