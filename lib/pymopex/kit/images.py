"""FITS images in and out: frames with their masks and uncertainties, products with their history."""

from __future__ import annotations

import os
import stat
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from pymopex import __version__
from pymopex.kit.errors import InputError
from pymopex.kit.files import remembered, whole

if TYPE_CHECKING:
    import numpy as np
    from astropy.io import fits
    from astropy.wcs import WCS

    from pymopex.kit.plain_fits import Cards, Plain


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
    """One frame: data and 1-sigma uncertainty (or None) in image units, where pixels are bad (True), and its file."""

    data: np.ndarray
    sigma: np.ndarray | None
    bad: np.ndarray
    path: str

    @cached_property
    def header(self) -> fits.Header:
        """Header of the image; read when it is asked for."""
        return read_header(self.path)


@dataclass(frozen=True)
class Stamp:
    """What a product says of its making: the task and the parameters that made it."""

    task: str
    parameters: tuple[str, ...] = ()

    def lines(self, inputs: tuple[str, ...] = ()) -> list[str]:
        """Give the texts of the HISTORY cards."""
        given = (f"from {os.path.basename(path)}" for path in inputs)
        return [f"pymopex {__version__} {self.task}", *(f"  {text}" for text in (*self.parameters, *given))]

    def add_to(self, header: fits.Header, inputs: tuple[str, ...] = ()) -> None:
        """Add HISTORY cards."""
        for text in self.lines(inputs):
            header.add_history(text)


def read_image(path: str, *, dtype: Any = None) -> tuple[np.ndarray, fits.Header]:
    """Read the first image of a FITS file: pixels in native byte order, and its header.

    Raises
    ------
    InputError
        If the file is missing, cannot be read, or holds no two-dimensional image.
    """
    import numpy as np

    from pymopex.kit import plain_fits

    with _refused(path):
        plain = plain_fits.find(path)
        if plain is not None and len(plain.shape) == 2:
            return _plain_pixels(path, plain, dtype), plain_fits.header_of(plain)
    with _opened(path, memmap=False) as hdu:
        data, header = hdu.data, hdu.header.copy()
    if data is None or data.ndim != 2:
        found = "no image" if data is None else f"an image of {data.ndim} axes"
        raise InputError(f"{path}: holds {found}; a two-dimensional image is needed")
    wanted = np.dtype(dtype) if dtype is not None else data.dtype.newbyteorder("=")
    return np.ascontiguousarray(data, dtype=wanted), header


def read_pixels(path: str) -> np.ndarray:
    """Read the pixels of the first image of a FITS file, in native byte order, without its header.

    Raises
    ------
    InputError
        As for `read_image`.
    """
    from pymopex.kit import plain_fits

    with _refused(path):
        plain = plain_fits.place_of(path)
        if plain is not None and len(plain.shape) == 2:
            return _plain_pixels(path, plain)
    return read_image(path)[0]


def _plain_pixels(path: str, plain: Plain, dtype: Any = None) -> np.ndarray:
    """Read the pixels of a plain image in native byte order, or as `dtype`."""
    import numpy as np

    from pymopex.kit import plain_fits

    return np.ascontiguousarray(plain_fits.pixels(path, plain), dtype=dtype)


def read_header(path: str) -> fits.Header:
    """Read the header of the first image of a FITS file, without its pixels.

    Raises
    ------
    InputError
        If the file is missing, is not FITS, or ends before its pixels do.
    """
    from pymopex.kit import plain_fits

    with _refused(path):
        plain = plain_fits.find(path)
        if plain is not None:
            return plain_fits.header_of(plain)
    with _opened(path, memmap=True) as hdu:
        return hdu.header.copy()


def read_cards(path: str) -> fits.Header | Cards:
    """Read the header of an image for a product that takes it over as it is: its cards, unread, if they are plain.

    Raises
    ------
    InputError
        As for `read_header`.
    """
    from pymopex.kit import plain_fits

    with _refused(path):
        plain = plain_fits.find(path)
        cards = plain_fits.cards_of(plain) if plain is not None else None
    return read_header(path) if cards is None else cards


def read_keyword(path: str, key: str) -> Any:
    """Read one keyword of the header of an image, which need not be read whole for it; None if it is not there.

    Raises
    ------
    InputError
        As for `read_header`.
    """
    return keyword_of(read_cards(path), key)


def keyword_of(header: fits.Header | Cards, key: str) -> Any:
    """Give the value of a keyword of a header that need not be read; None if it is not there."""
    from pymopex.card_values import value_of

    if not isinstance(header, tuple):
        return header.get(key)
    name = f"{key:8s}="
    return next((value_of(card) for card in header if card.startswith(name)), None)


@remembered(maxsize=1)
def kept_header(path: str) -> fits.Header:
    """Read a header to look at, not to change: that of the last image is kept."""
    return read_header(path)


def plain_shape(path: str) -> tuple[int, int] | None:
    """Give NAXIS1 and NAXIS2 of a plain image without its header; None for all others.

    Raises
    ------
    InputError
        If the file cannot be opened.
    """
    from pymopex.kit import plain_fits

    with _refused(path):
        plain = plain_fits.place_of(path)
    return (plain.shape[1], plain.shape[0]) if plain is not None and len(plain.shape) == 2 else None


@remembered(maxsize=8192)
def frame_geometry(path: str, refined: bool) -> tuple[WCS, tuple[int, int]]:
    """Read the WCS and the array shape of a frame, once per process."""
    from pymopex.projection import frame_wcs

    header = kept_header(path)
    return frame_wcs(header, refined=refined), (header["NAXIS2"], header["NAXIS1"])


@contextmanager
def _opened(path: str, *, memmap: bool) -> Iterator[Any]:
    """Open the first image of a FITS file; what is odd but readable is read without a word."""
    from astropy.io import fits

    with _refused(path), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=memmap, lazy_load_hdus=True) as hdus:
            hdu = _image_hdu(hdus)
            _check_length(path, hdu)
            yield hdu


@contextmanager
def _refused(path: str) -> Iterator[None]:
    """Name the file that cannot be read."""
    try:
        if stat.S_ISFIFO(os.stat(path).st_mode):
            raise OSError("is a pipe, not a file")  # opening one waits for ever
        yield
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

    data = read_pixels(files.image).astype(np.float32, copy=False)
    sigma = None
    if need_sigma and files.sigma:
        sigma = read_pixels(files.sigma).astype(np.float32, copy=False)
        _same_shape(files.sigma, sigma, data)
    masks = []
    for path in (files.dmask, files.pmask, files.rmask):
        mask = None
        if path:
            mask = read_pixels(path)
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
    return Frame(data, sigma, bad, files.image)


def _same_shape(path: str, image: np.ndarray, data: np.ndarray) -> None:
    if image.shape != data.shape:
        got, want = f"{image.shape[1]} x {image.shape[0]}", f"{data.shape[1]} x {data.shape[0]}"
        raise InputError(f"{path}: is {got} pixels; the frame is {want}")


def write_image(path: str, data: np.ndarray, header: fits.Header | Cards, stamp: Stamp, inputs=()) -> str:
    """Write an image, whole or not at all, with HISTORY; gives its path.

    Cards that were read unread (`read_cards`) are for images of the types that FITS has.
    """
    from pymopex.kit import plain_fits

    with whole(path) as temporary:
        if plain_fits.can_write(data):
            plain_fits.write(temporary, data, header, stamp.lines(tuple(inputs)))
        else:
            _write_scaled(temporary, data, header, stamp, tuple(inputs))
    return path


def write_image_of(
    path: str,
    shape: tuple[int, int],
    parts: Iterable[np.ndarray],
    header: fits.Header,
    stamp: Stamp,
    inputs: Iterable[str] = (),
) -> str:
    """Write a float32 image whose rows come in parts, as `write_image` does; one part is in memory at a time."""
    from pymopex.kit import plain_fits

    with whole(path) as temporary:
        plain_fits.write_rows(temporary, shape, "f4", header, stamp.lines(tuple(inputs)), parts)
    return path


def _write_scaled(path: str, data: np.ndarray, header: fits.Header, stamp: Stamp, inputs: tuple) -> None:
    """Write what FITS holds only with a zero point, such as unsigned integers."""
    from astropy.io import fits

    header = header.copy()
    for key in ("BSCALE", "BZERO", "BLANK"):
        header.remove(key, ignore_missing=True)
    stamp.add_to(header, inputs)
    fits.PrimaryHDU(data, header).writeto(path, output_verify="silentfix")


def update_image(path: str, change: Callable[[np.ndarray], np.ndarray], stamp: Stamp) -> None:
    """Change the pixels of an image in its place, whole or not at all; other images of the file stay as they are.

    An image that is so already by this stamp is left alone, so that a task which was cut can run again.
    """
    import numpy as np
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False) as hdus:
            hdu = _image_hdu(hdus)
            data = change(hdu.data.astype(hdu.data.dtype.newbyteorder("=")))
            if np.array_equal(data, hdu.data) and _bears(hdu.header, stamp):
                return
            hdu.data = data
            stamp.add_to(hdu.header)
            with whole(os.path.realpath(path)) as temporary:
                hdus.writeto(temporary, output_verify="silentfix")


def update_header(path: str, cards: Iterable[tuple[str, Any, str]], stamp: Stamp) -> None:
    """Set keywords of an image in its place, whole or not at all; pixels and other images stay as they are.

    An image that is so already by this stamp is left alone.
    """
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(path, memmap=False, do_not_scale_image_data=True) as hdus:
            header, cards = _image_hdu(hdus).header, list(cards)
            there = (
                key in header and str(header.cards[key]) == str(fits.Card(key, *rest)) for key, *rest in cards
            )
            if all(there) and _bears(header, stamp):
                return
            for key, value, comment in cards:
                header[key] = (value, comment)
            stamp.add_to(header)
            with whole(os.path.realpath(path)) as temporary:
                hdus.writeto(temporary, output_verify="silentfix")


def _bears(header: fits.Header, stamp: Stamp) -> bool:
    """Tell whether the last HISTORY cards of an image are those of a stamp."""
    from astropy.io import fits

    own = fits.Header()
    stamp.add_to(own)
    wanted = list(map(str, own["HISTORY"]))
    return list(map(str, header.get("HISTORY", ())))[-len(wanted) :] == wanted


def read_section(
    path: str, rows: slice, columns: slice, plane: int | None = None, out: np.ndarray | None = None
) -> np.ndarray:
    """Read a rectangle of an image, or of one plane of a cube, without reading the rest; into `out` if it is given.

    Raises
    ------
    InputError
        If the file is missing or cannot be read.
    """
    import numpy as np

    from pymopex.kit import plain_fits

    with _refused(path):
        plain = plain_fits.place_of(path)
        if plain is not None and (len(plain.shape) == 3) == (plane is not None):
            return plain_fits.section(path, plain, rows, columns, plane, out)
    with _opened(path, memmap=False) as hdu:  # astropy maps no scaled pixels; a section reads its rows alone
        wanted = (rows, slice(None)) if plane is None else (plane, rows, slice(None))
        part = hdu.section[wanted][:, columns]  # whole rows are one piece of the file: one read
    if out is not None:
        out[...] = part
        return out
    return np.ascontiguousarray(part, dtype=part.dtype.newbyteorder("="))


def mapped_image(path: str) -> tuple[np.ndarray, tuple[float, float, int | None], fits.Header]:
    """Map the first image of a FITS file into memory; nothing of it is read before it is used.

    Returns
    -------
    pixels : ndarray, shape (ny, nx)
        As the file holds them; of a compressed file, read into memory.
    scale : (float, float, int or None)
        Zero point and factor that make values of them, and the number that stands for no data.
    header : astropy.io.fits.Header
        Its header.

    Raises
    ------
    InputError
        If the file is missing, cannot be read, or holds no two-dimensional image.
    """
    import numpy as np
    from astropy.io.fits import CompImageHDU

    from pymopex.kit import plain_fits

    with _opened(path, memmap=True) as hdu:
        packed = isinstance(hdu, CompImageHDU) or path.endswith((".gz", ".bz2", ".xz", ".Z"))
        header, start = hdu.header.copy(), None if packed else hdu.fileinfo()["datLoc"]
    if start is None or header["NAXIS"] != 2:
        data, header = read_image(path, dtype=np.float32)
        return data, (0.0, 1.0, None), header
    shape = header["NAXIS2"], header["NAXIS1"]
    pixels = np.memmap(path, plain_fits.TYPES[header["BITPIX"]], "r", start, shape)
    scale = float(header.get("BZERO", 0)), float(header.get("BSCALE", 1))
    return pixels, (*scale, header.get("BLANK") if header["BITPIX"] > 0 else None), header
