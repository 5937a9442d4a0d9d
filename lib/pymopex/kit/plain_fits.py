"""FITS images of the plainest kind, read and written without looking at every card.

A frame is read and written a dozen times on its way to the mosaic, and the cards of its header cost more than its
pixels. What is not plain (scaled or blanked pixels, extensions, compressed files) is for astropy.
"""

from __future__ import annotations

import mmap
import os
import re
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from pymopex.kit.files import remembered

if TYPE_CHECKING:
    from astropy.io import fits

_BLOCK = 2880
_CARD = 80
_END = b"END" + 77 * b" "
_USUAL, _MOST = 12 * _BLOCK, 64 * _BLOCK  # of a header: read at once, and longer ones are for astropy
TYPES = {8: ">u1", 16: ">i2", 32: ">i4", 64: ">i8", -32: ">f4", -64: ">f8"}
"""Types of pixels in files, by BITPIX."""

_BITS = {np.dtype(code[1:]): bits for bits, code in TYPES.items()}
_SCALED = {b"BSCALE  ", b"BZERO   ", b"BLANK   "}
_STRUCTURE = {
    "SIMPLE",
    "XTENSION",
    "BITPIX",
    "NAXIS",
    "EXTEND",
    "PCOUNT",
    "GCOUNT",
    "GROUPS",
    "BSCALE",
    "BZERO",
    "BLANK",
}
_VALID = re.compile(r"(?:(?=.{8}= )[A-Z0-9_-]+ *= [ -~]{70}|(?:COMMENT |HISTORY | {8})[ -~]{72})*")
_NARROW = 4  # a part of fewer columns than the width over this is not read row by row
_SHOWN = 72  # characters of a HISTORY card
_PORTION = 1 << 18  # bytes of pixels read or written at once: what the second cache of a core holds easily


Cards = tuple[str, ...]
"""Header cards as they stand in a file."""


@dataclass(frozen=True)
class Plain:
    """Where the pixels of a plain image lie in its file: header, first byte, type, and array shape."""

    header: bytes
    offset: int
    dtype: np.dtype
    shape: tuple[int, ...]


def find(path: str) -> Plain | None:
    """Find the pixels of a file; None if it is not one plain image.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    with open(path, "rb") as file:
        head = file.read(_USUAL)
        if not head.startswith(b"SIMPLE  =                    T"):
            return None
        while (end := _end_of(head)) < 0 and len(head) < _MOST:
            more = file.read(4 * _BLOCK)
            if not more:
                return None
            head += more
        size = os.fstat(file.fileno()).st_size
    return _plain(head[:end], size) if end >= 0 else None


@remembered(maxsize=8192)
def place_of(path: str) -> Plain | None:
    """Find the pixels as `find` does, without the header; kept as long as the file is what it was."""
    plain = find(path)
    return None if plain is None else replace(plain, header=b"")


def _end_of(head: bytes) -> int:
    at = head.find(_END)
    while at >= 0 and at % _CARD:
        at = head.find(_END, at + 1)
    return at


def _is_structure(key: str) -> bool:
    """Tell whether a keyword says how the pixels lie in the file."""
    return key in _STRUCTURE or (key.startswith("NAXIS") and key[5:].isdigit())


def _plain(cards: bytes, size: int) -> Plain | None:
    if not _SCALED.isdisjoint(cards[at : at + 8] for at in range(0, len(cards), _CARD)):
        return None
    axes = _number(cards, 2, b"NAXIS   ")
    sides = [_number(cards, 3 + k, b"NAXIS%-3d" % (k + 1)) for k in range(axes)]
    bits = _number(cards, 1, b"BITPIX  ")
    if axes not in (2, 3) or min(sides) < 1 or bits not in TYPES:
        return None
    offset = -(-(len(cards) + _CARD) // _BLOCK) * _BLOCK
    dtype, shape = np.dtype(TYPES[bits]), tuple(sides[::-1])
    end = offset + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
    if not end <= size <= -(-end // _BLOCK) * _BLOCK:
        return None  # cut off, or with more behind it
    return Plain(cards, offset, dtype, shape)


def _number(cards: bytes, number: int, key: bytes) -> int:
    """Give the value of a card that must stand at a place; 0 if another stands there."""
    card = cards[number * _CARD : (number + 1) * _CARD]
    try:
        return int(card[10:30]) if card[:8] == key else 0
    except ValueError:
        return 0


def header_of(plain: Plain) -> fits.Header:
    """Give the header as astropy has it."""
    from astropy.io import fits

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what is odd but readable
        return fits.Header.fromstring(plain.header)


def cards_of(plain: Plain) -> Cards | None:
    """Give the cards of a header as they stand, without those of the structure; None if any is not valid."""
    text = plain.header.decode("latin-1")
    if not _VALID.fullmatch(text):
        return None
    cards = (text[at : at + _CARD] for at in range(0, len(text), _CARD))
    return tuple(card for card in cards if not _is_structure(card[:8].rstrip()))


def pixels(path: str, plain: Plain) -> np.ndarray:
    """Read all pixels, in native byte order."""
    ny, nx = int(np.prod(plain.shape[:-1])), plain.shape[-1]
    return _rows(path, plain.offset, plain.dtype, (ny, nx), slice(0, nx)).reshape(plain.shape)


def _rows(
    path: str,
    offset: int,
    dtype: np.dtype,
    shape: tuple[int, int],
    columns: slice,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Read some columns of rows that lie one behind the other from a place of a file on, in native byte order.

    Few rows are read at once, so that they are still in the fast cache when their bytes are turned round.
    """
    ny, nx = shape
    if out is None:
        out = np.empty((ny, columns.stop - columns.start), dtype.newbyteorder("="))
    step = max(1, min(ny, _PORTION // (nx * dtype.itemsize)))
    portion = np.empty((step, nx), dtype)
    file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        for row in range(0, ny, step):
            part = portion[: min(step, ny - row)]
            _read_into(file, part, offset + row * nx * dtype.itemsize)
            out[row : row + len(part)] = part[:, columns]
    finally:
        os.close(file)
    return out


def _read_into(file: int, out: np.ndarray, offset: int) -> None:
    left = out.reshape(-1).view(np.uint8).data
    while left:
        got = os.preadv(file, [left], offset)
        if not got:
            raise OSError("the file ends before its pixels do")
        left, offset = left[got:], offset + got


def section(
    path: str,
    plain: Plain,
    rows: slice,
    columns: slice,
    plane: int | None = None,
    out: np.ndarray | None = None,
) -> np.ndarray:
    """Read a rectangle, of a cube that of a plane, in native byte order; into `out` if it is given."""
    ny, nx = plain.shape[-2:]
    r0, r1, _ = rows.indices(ny)
    c0, c1, _ = columns.indices(nx)
    n_rows, c1 = max(0, r1 - r0), max(c0, c1)
    if out is not None and out.shape != (n_rows, c1 - c0):
        raise ValueError(f"has {c1 - c0} x {n_rows} pixels where {out.shape[1]} x {out.shape[0]} are needed")
    first = plain.offset + ((plane or 0) * ny + r0) * nx * plain.dtype.itemsize
    if not n_rows or _NARROW * (c1 - c0) > nx:
        return _rows(path, first, plain.dtype, (n_rows, nx), slice(c0, c1), out)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        part = np.frombuffer(mapped, plain.dtype, n_rows * nx, offset=first)
        if out is None:
            out = np.empty((n_rows, c1 - c0), plain.dtype.newbyteorder("="))
        out[...] = part.reshape(-1, nx)[:, c0:c1]
        del part  # the map cannot be closed under it
        return out


def can_write(data: Any) -> bool:
    """Tell whether an array is of a type that FITS has without scaling."""
    return isinstance(data, np.ndarray) and data.ndim > 0 and data.dtype.newbyteorder("=") in _BITS


def write(path: str, data: np.ndarray, header: fits.Header | Cards, history: list[str]) -> None:
    """Write an image; its structure is that of the array, whatever the header says."""
    write_rows(path, data.shape, data.dtype, header, history, [data])


def write_rows(
    path: str,
    shape: tuple[int, ...],
    dtype: Any,
    header: fits.Header | Cards,
    history: list[str],
    parts: Iterable[np.ndarray],
) -> None:
    """Write an image whose rows come in parts, of which one is in memory at a time."""
    bits = _BITS[np.dtype(dtype).newbyteorder("=")]
    cards = [
        _fixed("SIMPLE", "T", "conforms to FITS standard"),
        _fixed("BITPIX", bits, "array data type"),
        _fixed("NAXIS", len(shape), "number of array dimensions"),
        *(_fixed(f"NAXIS{k + 1}", side) for k, side in enumerate(shape[::-1])),
        *(header if isinstance(header, tuple) else cards_in(header)),
        *(_history(text) for text in history),
    ]
    head = ("".join(cards)).encode("ascii", "replace") + _END
    with open(path, "wb") as file:
        file.write(head + (-len(head) % _BLOCK) * b" ")
        size = 0
        for part in parts:
            for portion in _portions(np.asarray(part), np.dtype(TYPES[bits])):
                file.write(portion.data)
                size += portion.nbytes
        file.write(bytes(-size % _BLOCK))


def _portions(pixels: np.ndarray, dtype: np.dtype) -> Iterator[np.ndarray]:
    """Give pixels as a file has them, so few at once that they are in the fast cache when they are written."""
    flat = np.ascontiguousarray(pixels).reshape(-1)
    step = max(1, min(flat.size, _PORTION // dtype.itemsize))
    turned = np.empty(step, dtype)
    for at in range(0, flat.size, step):
        portion = turned[: min(step, flat.size - at)]
        portion[:] = flat[at : at + step]
        yield portion


def _fixed(key: str, value: Any, comment: str = "") -> str:
    return f"{key:8s}= {value!s:>20s}{' / ' + comment if comment else ''}".ljust(_CARD)


def cards_in(header: fits.Header) -> Cards:
    """Give the cards of a header as they will stand in a file, without those of the structure."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of cards that astropy mends
        return tuple(_image(card) for card in header.cards if not _is_structure(card.keyword))


def _image(card: Any) -> str:
    """Give a card as it stands in the file; one that was read and is not valid is mended by astropy."""
    raw = getattr(card, "_image", None)
    if raw is not None and not getattr(card, "_modified", True) and _VALID.fullmatch(raw):
        return raw
    return str(card)


def _history(text: str) -> str:
    plain = text.encode("ascii", "replace").decode()
    parts = [plain[k : k + _SHOWN] for k in range(0, len(plain), _SHOWN)]
    return "".join(f"HISTORY {part}".ljust(_CARD) for part in parts)
