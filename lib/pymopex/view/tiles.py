"""Images in tiles, at full size and reduced by powers of two, read where they are looked at.

A plain image stays in its file, mapped into memory. Tiles of the first reductions are averaged from its pixels when
they are asked for; those of higher ones come from an overview, an eighth of the size, that is made once.
"""

from __future__ import annotations

import hashlib
import threading
from functools import cached_property
from typing import Any

import numpy as np

from pymopex.kit.files import remembered
from pymopex.kit.images import mapped_image
from pymopex.kit.pictures import limits
from pymopex.view.sky import Sky

SIDE = 256
"""Pixels of a tile on a side."""
_DEEP = 3  # reductions by two of the overview
_STRIP = 512  # lines read at once for it
_SAMPLE = 1_000_000  # pixels that limits are taken from
_lock = threading.Lock()


class Picture:
    """An image that is looked at.

    Parameters
    ----------
    path : str
        FITS file.

    Raises
    ------
    InputError
        It cannot be read or holds no image of two axes.
    """

    def __init__(self, path: str):
        self._pixels, self._scale, self.header = mapped_image(path)
        self.shape: tuple[int, int] = self._pixels.shape
        self._lock = threading.Lock()

    @cached_property
    def sky(self) -> Sky:
        """Where its pixels are on the sky."""
        return Sky(self.header)

    @cached_property
    def levels(self) -> int:
        """Reductions, with the full size: the smallest one fits in a tile."""
        return max(0, int(np.ceil(np.log2(max(self.shape) / SIDE)))) + 1

    @cached_property
    def grid(self) -> str:
        """A word that is the same for images on the same grid of pixels."""
        known = [str(card) for card in self.sky.cards] if self.sky.known else []
        return hashlib.sha256("\n".join([str(self.shape), *known]).encode()).hexdigest()[:16]

    def pixels(self, y: slice, x: slice) -> np.ndarray:
        """Give pixels of a rectangle as float32, NaN where there are none."""
        part = self._pixels[y, x].astype("f4")
        zero, factor, blank = self._scale
        if blank is not None:
            part[self._pixels[y, x] == blank] = np.nan
        if (zero, factor) != (0, 1):
            part = part * np.float32(factor) + np.float32(zero)
        return part

    def tile(self, level: int, column: int, line: int) -> np.ndarray:
        """Give a tile.

        Parameters
        ----------
        level : int
            Reduction: a pixel of the tile is the mean of 2**level pixels on a side.
        column, line : int
            Place of the tile, from 0 at the lower left.

        Returns
        -------
        ndarray of float32, shape (ny, nx)
            First line at the bottom; smaller than `SIDE` at the upper and right edge.

        Raises
        ------
        IndexError
            There is no such tile.
        """
        low_y, low_x = line * SIDE, column * SIDE
        ny, nx = self.shape
        if not (0 <= level < self.levels and 0 <= low_y << level < ny and 0 <= low_x << level < nx):
            raise IndexError(f"no tile {level}/{column}/{line}")
        if level >= _DEEP:
            return self._overviews[level - _DEEP][low_y : low_y + SIDE, low_x : low_x + SIDE]
        step = 1 << level
        y, x = (slice(low * step, (low + SIDE) * step) for low in (low_y, low_x))
        return binned(self.pixels(y, x), step)

    def value(self, x: int, y: int) -> float:
        """Give the pixel at 0-based places; NaN outside."""
        ny, nx = self.shape
        if not (0 <= x < nx and 0 <= y < ny):
            return float("nan")
        return float(self.pixels(slice(y, y + 1), slice(x, x + 1))[0, 0])

    @property
    def _overviews(self) -> list[np.ndarray]:
        with self._lock:
            return self._made_overviews

    @cached_property
    def _made_overviews(self) -> list[np.ndarray]:
        step, ny = 1 << _DEEP, self.shape[0]
        strips = [binned(self.pixels(slice(y, y + _STRIP), slice(None)), step) for y in range(0, ny, _STRIP)]
        found = [np.concatenate(strips)]
        while max(found[-1].shape) > SIDE:
            found.append(binned(found[-1], 2))
        return found

    @cached_property
    def facts(self) -> dict[str, float]:
        """Limits for a grey scale, and extremes and percentiles of its pixels, from a sample of a large image."""
        level = max(0, int(np.ceil(np.log2(self.shape[0] * self.shape[1] / _SAMPLE) / 2)))
        step = 1 << level
        if level < _DEEP:
            sample = self.pixels(slice(0, None, step), slice(0, None, step))
        else:
            sample = self._overviews[level - _DEEP]
        good = sample[np.isfinite(sample)]
        if not good.size:
            return {"low": 0.0, "high": 1.0, "min": 0.0, "max": 1.0, "p1": 0.0, "p99": 1.0}
        low, high = limits(good)
        p1, p99 = np.percentile(good, [0.5, 99.5])
        ends = {"min": good.min(), "max": good.max(), "p1": p1, "p99": p99, "low": low, "high": high}
        return {name: float(value) for name, value in ends.items()}


def binned(image: np.ndarray, step: int) -> np.ndarray:
    """Average blocks of pixels.

    Parameters
    ----------
    image : ndarray of float32, shape (ny, nx)
        NaN where there are no data.
    step : int
        Pixels of a block on a side.

    Returns
    -------
    ndarray of float32, shape (ceil(ny / step), ceil(nx / step))
        Mean of the pixels with data; NaN where a block has none.
    """
    if step == 1:
        return image
    ny, nx = image.shape
    wide = np.pad(image, ((0, -ny % step), (0, -nx % step)), constant_values=np.nan)
    total: Any = wide.reshape(wide.shape[0], -1, step)
    if np.isnan(total.sum()):
        good = np.isfinite(total)
        count = good.sum(2, dtype="f4").reshape(-1, step, total.shape[1]).sum(1)
        total = np.where(good, total, 0)
    else:
        count = np.float32(step * step)
    total = total.sum(2).reshape(-1, step, total.shape[1]).sum(1)
    with np.errstate(invalid="ignore"):
        return (total / count).astype("f4")


@remembered(maxsize=24)
def _picture(path: str) -> Picture:
    return Picture(path)


def picture(path: str) -> Picture:
    """Open an image, once as long as its file stays what it is."""
    with _lock:
        return _picture(path)
