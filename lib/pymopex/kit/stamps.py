"""Stars of a list and their stamps: positions, files, and the table that tells what each stamp holds."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex.kit.errors import InputError
from pymopex.kit.files import whole
from pymopex.kit.images import Stamp, read_header

if TYPE_CHECKING:
    import numpy as np

    from pymopex.kit.ipac import Table
    from pymopex.kit.task import Run
    from pymopex.stamps import Stamps


@dataclass(frozen=True, eq=False)
class StarList:
    """Stars of the list: number, degrees, and their row in the table."""

    srcid: np.ndarray
    ra: np.ndarray
    dec: np.ndarray
    table: Table


def stars_of(run: Run) -> StarList:
    """Read the positions of all stars of POINT_SOURCE_LIST.

    Raises
    ------
    InputError
        The table is missing, empty, or has no such columns.
    """
    from pymopex.kit.ipac import read_table

    p, table = run.params, read_table(run.globals.POINT_SOURCE_LIST)
    if not len(table):
        raise InputError(f"{table.path}: holds no stars (POINT_SOURCE_LIST)")
    pixels = p.TransformationType == "PlaneToPlane"
    names = p.X_Column_Name or ("x" if pixels else "RA"), p.Y_Column_Name or ("y" if pixels else "Dec")
    first, second = (numbers(table, name) for name in names)
    if pixels:
        first, second = _to_sky(run, first, second)
    return StarList(star_numbers(table), first, second, table)


def numbers(table: Table, name: str) -> np.ndarray:
    """Give a column of numbers; nulls are NaN.

    Raises
    ------
    InputError
        There is no such column, or it holds text.
    """
    values = table.column(name)
    if values.dtype.kind not in "if":
        raise InputError(f"{table.path}: column {name} holds text; numbers are needed")
    return values.astype(float)


def star_numbers(table: Table) -> np.ndarray:
    """Give the column srcid if it tells the rows apart, else count them from 1."""
    import numpy as np

    counted = np.arange(1, len(table) + 1)
    found = next((v for k, v in table.columns.items() if k.casefold() == "srcid"), counted)
    unique = found.dtype.kind == "i" and len(np.unique(found)) == len(found) and (found >= 0).all()
    return found if unique else counted


def _to_sky(run: Run, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turn pixels of the fiducial frame, or of the one image, into degrees."""
    from pymopex.kit.searched import PixelGrid, image_grid

    keys = run.globals
    if keys.FIF_FILE_NAME:
        frame = run.fiducial("fif")
        return PixelGrid(frame.wcs(), frame.shape, 0.0).to_sky(x, y)
    if not run.single:
        raise InputError(
            f"{run.params.origin('TransformationType')}: TransformationType = PlaneToPlane needs the table of the "
            "frame whose pixels the positions are: FIF_FILE_NAME (-F)"
        )
    return image_grid(keys.INPUT_FILE_NAME, refined=keys.USE_REFINED_POINTING).to_sky(x, y)


def check_stars(run: Run) -> list[str]:
    """Name a list of stars that is missing or cannot be used."""
    keys = run.globals
    if not keys.POINT_SOURCE_LIST:
        return [f"{run.settings.namelist.path}: POINT_SOURCE_LIST: no list of stars is given (-E)"]
    if keys.POINT_SOURCE_LIST in run.promised:
        return []
    try:
        stars_of(run)
    except InputError as problem:
        return [f"{keys.origin('POINT_SOURCE_LIST')}: POINT_SOURCE_LIST: {problem}"]
    return []


def write_stamp(path: str, data: np.ndarray, sigma: np.ndarray | None, header: Any, stamp: Stamp) -> None:
    """Write a stamp, with its uncertainty as the extension UNC, whole or not at all."""
    from astropy.io import fits

    stamp.add_to(header)
    hdus = fits.HDUList([fits.PrimaryHDU(data.astype("f4"), header)])
    if sigma is not None:
        hdus.append(fits.ImageHDU(sigma.astype("f4"), name="UNC"))
    with whole(path) as temporary:
        hdus.writeto(temporary, output_verify="silentfix")


def read_stamps(table: Table, folder: str, flux: np.ndarray) -> Stamps:
    """Read the stamps of a table.

    Parameters
    ----------
    table : Table
        ``stamps.tbl`` of Crop Stack.
    folder : str
        Where the stamps are.
    flux : ndarray, shape (n,)
        Fluxes in image units; where NaN, the sum of the pixels is taken.

    Raises
    ------
    InputError
        A stamp is missing, or of another size than the first.
    """
    import numpy as np

    from pymopex.stamps import Stamps

    data: list[np.ndarray] = []
    sigma: list[np.ndarray | None] = []
    for name in table.column("file"):
        path = os.path.join(folder, str(name))
        one, unc = _read_stamp(path)
        if data and one.shape != data[0].shape:
            raise InputError(
                f"{path}: is {one.shape[1]} x {one.shape[0]} pixels; the stamps before it are "
                f"{data[0].shape[1]} x {data[0].shape[0]}: run crop_stack again"
            )
        data.append(one)
        sigma.append(unc)
    images = np.array(data, dtype=float)
    errors = None if any(unc is None for unc in sigma) else np.array(sigma, dtype=float)
    flux = np.where(np.isnan(flux), np.nansum(images, axis=(1, 2)), flux)
    x, y = (table.column(a) - table.column(b) for a, b in (("x", "x0"), ("y", "y0")))
    names = [("dx_de", "dx_dn"), ("dy_de", "dy_dn")]
    jacobian = np.stack([np.stack([table.column(c) for c in row], axis=1) for row in names], axis=1)
    _, source = np.unique(table.column("srcid"), return_inverse=True)
    _, frame = np.unique(table.column("frame"), return_inverse=True)
    return Stamps(images, x, y, flux, errors, source, frame, jacobian)


def _read_stamp(path: str) -> tuple[np.ndarray, np.ndarray | None]:
    from astropy.io import fits

    try:
        with fits.open(path, memmap=False) as hdus:
            data = hdus[0].data
            sigma = hdus["UNC"].data if "UNC" in hdus else None
            if data is None or data.ndim != 2 or (sigma is not None and sigma.shape != data.shape):
                raise InputError(f"{path}: holds no stamp: run crop_stack again")
            return data.astype(float), None if sigma is None else sigma.astype(float)
    except FileNotFoundError:
        raise InputError(f"{path}: no such stamp: run crop_stack again") from None
    except (OSError, ValueError) as problem:
        raise InputError(f"{path}: cannot be read as FITS: {problem}") from None


def array_size(run: Run) -> tuple[int, int]:
    """Give width and height of the largest frame."""
    sizes = [read_header(files.image) for files in run.frames()]
    return max(h["NAXIS1"] for h in sizes), max(h["NAXIS2"] for h in sizes)
