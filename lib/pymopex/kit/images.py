"""FITS images in and out: frames with their masks and uncertainties, products with their history."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pymopex import __version__
from pymopex.kit.errors import InputError
from pymopex.kit.files import whole

if TYPE_CHECKING:
    import numpy as np
    from astropy.io import fits


@dataclass(frozen=True)
class FrameFiles:
    """The files of one frame; empty names for those that are not given. ``index`` counts from 0 in list order."""

    index: int
    image: str
    sigma: str = ""
    dmask: str = ""
    rmask: str = ""
    pmask: str = ""

    @property
    def base(self) -> str:
        """File name of the image without folder and ending."""
        return _bare(self.image)

    @property
    def sigma_base(self) -> str:
        """File name of the uncertainty image without folder and ending."""
        return _bare(self.sigma) if self.sigma else f"{self.base}_sigma"


def _bare(path: str) -> str:
    """Give a file name without folder, ending, and ending of a compressed file."""
    name = os.path.basename(path)
    for packed in (".gz", ".bz2", ".xz", ".Z", ".fz"):
        name = name.removesuffix(packed)
    return os.path.splitext(name)[0]


@dataclass(frozen=True)
class FatalBits:
    """Which bits of the masks make a pixel unusable."""

    dmask: int = 0
    pmask: int = 0
    rmask: int = 0


@dataclass(frozen=True)
class Frame:
    """One frame: data and 1-sigma uncertainty (or None) in image units, and where pixels are bad (True)."""

    data: np.ndarray
    sigma: np.ndarray | None
    bad: np.ndarray
    header: fits.Header


@dataclass(frozen=True)
class Stamp:
    """What a product says of its making: the task and the parameters that made it."""

    task: str
    parameters: tuple[str, ...] = ()

    def add_to(self, header: fits.Header, inputs: tuple[str, ...] = ()) -> None:
        """Add HISTORY cards."""
        header.add_history(f"pymopex {__version__} {self.task}")
        for text in self.parameters:
            header.add_history(f"  {text}")
        for path in inputs:
            header.add_history(f"  from {os.path.basename(path)}")


def read_image(path: str, *, dtype: Any = None) -> tuple[np.ndarray, fits.Header]:
    """Read the first image of a FITS file: pixels in native byte order, and its header.

    Raises
    ------
    InputError
        If the file is missing, cannot be read, or holds no two-dimensional image.
    """
    import numpy as np

    with _opened(path, memmap=False) as hdu:
        data, header = hdu.data, hdu.header.copy()
    if data is None or data.ndim != 2:
        found = "no image" if data is None else f"an image of {data.ndim} axes"
        raise InputError(f"{path}: holds {found}; a two-dimensional image is needed")
    wanted = np.dtype(dtype) if dtype is not None else data.dtype.newbyteorder("=")
    return np.ascontiguousarray(data, dtype=wanted), header


def read_header(path: str) -> fits.Header:
    """Read the header of the first image of a FITS file, without its pixels.

    Raises
    ------
    InputError
        If the file is missing, is not FITS, or ends before its pixels do.
    """
    with _opened(path, memmap=True) as hdu:
        return hdu.header.copy()


@contextmanager
def _opened(path: str, *, memmap: bool) -> Iterator[Any]:
    """Open the first image of a FITS file; what is odd but readable is read without a word."""
    from astropy.io import fits

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with fits.open(path, memmap=memmap, lazy_load_hdus=True) as hdus:
                hdu = _image_hdu(hdus)
                _check_length(path, hdu)
                yield hdu
    except FileNotFoundError:
        raise InputError(f"{path}: no such file") from None
    except (OSError, TypeError, ValueError) as problem:
        raise InputError(f"{path}: cannot be read as FITS: {problem}") from None


def _check_length(path: str, hdu: Any) -> None:
    """Complain of a file that ends before its pixels do; that of a compressed image says nothing of its length."""
    from astropy.io.fits import CompImageHDU

    if isinstance(hdu, CompImageHDU):
        return
    end = hdu.fileinfo()["datLoc"] + hdu.size
    if not path.endswith((".gz", ".bz2", ".xz", ".Z")) and os.path.getsize(path) < end:
        raise OSError(f"the file has {os.path.getsize(path)} bytes, its header tells of {end}")


def _image_hdu(hdus: Any) -> Any:
    if hdus[0].header.get("NAXIS", 0) == 0 and len(hdus) > 1:
        return hdus[1]
    return hdus[0]


def read_frame(files: FrameFiles, bits: FatalBits, *, need_sigma: bool = True) -> Frame:
    """Read a frame with its uncertainty and masks.

    Raises
    ------
    InputError
        If a file cannot be read or is of another size.
    """
    import numpy as np

    from pymopex.masks import bad_pixels

    data, header = read_image(files.image, dtype=np.float32)
    sigma = None
    if need_sigma and files.sigma:
        sigma, _ = read_image(files.sigma, dtype=np.float32)
        _same_shape(files.sigma, sigma, data)
    masks = []
    for path in (files.dmask, files.pmask, files.rmask):
        mask = None
        if path:
            mask, _ = read_image(path)
            _same_shape(path, mask, data)
        masks.append(mask)
    bad = bad_pixels(
        data.shape,
        data=data,
        dmask=masks[0],
        dmask_pattern=bits.dmask,
        pmask=masks[1],
        pmask_pattern=bits.pmask,
        rmask=masks[2],
        rmask_pattern=bits.rmask,
    )
    if sigma is not None:
        bad |= ~(np.isfinite(sigma) & (sigma > 0))
    return Frame(data, sigma, bad, header)


def _same_shape(path: str, image: np.ndarray, data: np.ndarray) -> None:
    if image.shape != data.shape:
        got, want = f"{image.shape[1]} x {image.shape[0]}", f"{data.shape[1]} x {data.shape[0]}"
        raise InputError(f"{path}: is {got} pixels; the frame is {want}")


def write_image(path: str, data: np.ndarray, header: fits.Header, stamp: Stamp, inputs=()) -> str:
    """Write an image, whole or not at all, with HISTORY; gives its path."""
    from astropy.io import fits

    header = header.copy()
    for key in ("BSCALE", "BZERO", "BLANK"):
        header.remove(key, ignore_missing=True)
    stamp.add_to(header, tuple(inputs))
    with whole(path) as temporary:
        fits.PrimaryHDU(data, header).writeto(temporary, output_verify="silentfix")
    return path


def update_image(path: str, change: Callable[[np.ndarray], np.ndarray], stamp: Stamp) -> None:
    """Change the pixels of an image in its place, whole or not at all; other images of the file stay as they are."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            hdu = _image_hdu(hdus)
            hdu.data = change(hdu.data.astype(hdu.data.dtype.newbyteorder("=")))
            stamp.add_to(hdu.header)
            with whole(os.path.realpath(path)) as temporary:
                hdus.writeto(temporary, output_verify="silentfix")


def update_header(path: str, cards: Iterable[tuple[str, Any, str]], stamp: Stamp) -> None:
    """Set keywords of an image in its place, whole or not at all; pixels and other images stay as they are."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False, do_not_scale_image_data=True) as hdus:
            header = _image_hdu(hdus).header
            for key, value, comment in cards:
                header[key] = (value, comment)
            stamp.add_to(header)
            with whole(os.path.realpath(path)) as temporary:
                hdus.writeto(temporary, output_verify="silentfix")


def read_section(path: str, rows: slice, columns: slice) -> np.ndarray:
    """Read a rectangle of an image without reading the rest.

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    """
    import numpy as np

    with _opened(path, memmap=True) as hdu:
        part = hdu.section[rows, :][:, columns]  # whole rows are one piece of the file: one read
    return np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("="))
