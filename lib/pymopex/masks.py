"""The bits of the masks: what each means, which are fatal, and the bad pixels that follow."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class MaskKind:
    """A kind of mask.

    Parameters
    ----------
    title : str
        What the mask is.
    recommended : int
        Recommended fatal pattern: the sum of 2**bit over the bits that make a pixel bad.
    bits : dict of int to str
        Meaning of each bit.

    References
    ----------
    IRAC Instrument Handbook and MIPS Instrument Handbook, tables of mask bits; MOPEX User's Guide, Masks.
    """

    title: str
    recommended: int
    bits: dict[int, str] = field(default_factory=dict)


KINDS = {
    "imask": MaskKind(
        "IRAC status mask (bimsk.fits)",
        32520,
        {
            0: "reserved",
            1: "reserved",
            2: "optical ghost",
            3: "stray light",
            4: "donut of a saturated star",
            5: "muxbleed",
            6: "banding",
            7: "pull-down",
            8: "crosstalk",
            9: "cosmic ray",
            10: "latent image",
            11: "not flat-fielded",
            12: "not linear",
            13: "saturated",
            14: "bad or missing",
        },
    ),
    "dmask": MaskKind(
        "older IRAC status mask (bdmsk.fits)",
        32544,
        {
            0: "muxbleed not fully corrected",
            1: "first-frame correction not applied",
            2: "optical ghost",
            3: "electrical ghost",
            4: "sign wrap corrected",
            5: "latent image",
            6: "EBWC not applied",
            7: "questionable flat",
            8: "no flat",
            9: "cosmic ray",
            10: "saturated",
            11: "known to be bad",
            12: "linearisation not applied",
            13: "crosstalk or banding",
            14: "missing in downlink",
            15: "sign",
        },
    ),
    "pmask": MaskKind(
        "IRAC permanent mask",
        32767,
        {10: "excessive dark current", 14: "dead pixel"},
    ),
    "mips_pmask": MaskKind(
        "MIPS 70 and 160 micron permanent mask",
        16640,
        {
            2: "noisy",
            3: "electronic non-linearity",
            8: "bad half of the 70 micron array",
            14: "bad pixel",
        },
    ),
    "rmask": MaskKind(
        "outlier mask made by Mosaic RMask",
        15,
        {
            0: "radhit in the frame's own mask",
            1: "temporal outlier (Mosaic Outlier)",
            2: "dual outlier (Mosaic Dual Outlier)",
            3: "box outlier (Mosaic Box Outlier)",
        },
    ),
}


def _kind(kind: str) -> MaskKind:
    if kind not in KINDS:
        raise ValueError(f"mask {kind!r} is not one of {', '.join(KINDS)}")
    return KINDS[kind]


def recommended_pattern(kind: str) -> int:
    """Give the recommended fatal pattern of 'imask', 'dmask', 'pmask', 'mips_pmask' or 'rmask'.

    Raises
    ------
    ValueError
        There is no such kind of mask.
    """
    return _kind(kind).recommended


def bit_names(kind: str, pattern: int) -> list[str]:
    """Name the bits of a pattern, lowest first, such as ``9 cosmic ray``.

    Raises
    ------
    ValueError
        There is no such kind of mask, or the pattern is negative.
    """
    if pattern < 0:
        raise ValueError(f"mask pattern {pattern} is negative")
    bits = _kind(kind).bits
    set_bits = [bit for bit in range(pattern.bit_length()) if pattern >> bit & 1]
    return [f"{bit} {bits.get(bit, 'without a known meaning')}" for bit in set_bits]


def bad_pixels(
    shape: tuple[int, int],
    *,
    data: np.ndarray | None = None,
    dmask: np.ndarray | None = None,
    dmask_pattern: int = 0,
    pmask: np.ndarray | None = None,
    pmask_pattern: int = 0,
    rmask: np.ndarray | None = None,
    rmask_pattern: int = 0,
) -> np.ndarray:
    """Find the pixels that have a fatal bit in a mask, or no value.

    Parameters
    ----------
    shape : (ny, nx)
        Shape of the frame.
    data : ndarray, shape (ny, nx), optional
        The frame; what is not finite is bad.
    dmask, pmask, rmask : ndarray, shape (ny, nx), optional
        Status mask, permanent mask and outlier mask: integers of any kind, or floats that hold integers.
    dmask_pattern, pmask_pattern, rmask_pattern : int
        Fatal pattern of each; 0 switches the mask off.

    Returns
    -------
    ndarray of bool, shape (ny, nx)
        True where the pixel is bad.

    Raises
    ------
    ValueError
        An array has another shape.

    References
    ----------
    MOPEX User's Guide, Masks.
    """
    bad = np.zeros(shape, dtype=bool)
    if data is not None:
        _check_shape("data", data, shape)
        bad |= ~np.isfinite(data)
    masks = (
        ("dmask", dmask, dmask_pattern),
        ("pmask", pmask, pmask_pattern),
        ("rmask", rmask, rmask_pattern),
    )
    for name, mask, pattern in masks:
        if mask is not None and pattern:
            _check_shape(name, mask, shape)
            bad |= _fatal(np.asarray(mask), pattern)
    return bad


def set_bit(mask: np.ndarray, where: np.ndarray, bit: int) -> np.ndarray:
    """Set a bit of some pixels of a mask.

    Parameters
    ----------
    mask : ndarray, shape (ny, nx)
        Mask: integers of any kind, or floats that hold integers. Stays as it is.
    where : ndarray of bool, shape (ny, nx)
        Pixels that get the bit.
    bit : int
        Number of the bit, from 0.

    Returns
    -------
    ndarray, shape (ny, nx)
        Mask of the same type, or of a wider one if that cannot hold the bit. A float that is no integer of 64 bits
        stays as it is: it is bad anyway.

    Raises
    ------
    ValueError
        The shapes differ.
    """
    mask = np.asarray(mask)
    _check_shape("where", where, mask.shape)
    if mask.dtype.kind == "f":
        known = np.isfinite(mask) & (np.abs(mask) < 2.0**63) & where
        out = mask.copy()
        out[known] = (mask[known].astype(np.int64) | 1 << bit).astype(mask.dtype)
        return out
    dtype = mask.dtype if np.iinfo(mask.dtype).max >= 1 << bit else np.promote_types(np.int16, mask.dtype)
    if np.iinfo(dtype).max < 1 << bit:
        dtype = np.dtype(np.int32)
    return np.where(where, mask.astype(dtype) | np.array(1 << bit, dtype), mask).astype(dtype)


def _check_shape(name: str, array: np.ndarray, shape: tuple[int, int]) -> None:
    if np.shape(array) != tuple(shape):
        raise ValueError(f"{name} has shape {np.shape(array)}; the frame has {tuple(shape)}")


def _fatal(mask: np.ndarray, pattern: int) -> np.ndarray:
    """Compare bitwise; a float mask is bad where it holds no integer of 64 bits."""
    if mask.dtype.kind == "f":
        known = np.isfinite(mask) & (np.abs(mask) < 2.0**63)
        whole = np.where(known, mask, 0).astype(np.int64)
        return ~known | (whole & pattern != 0)
    return mask.astype(np.int64) & pattern != 0
