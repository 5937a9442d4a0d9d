"""Where images lie: the fiducial frame of a mosaic, boxes on it, and frames placed on it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from pymopex.fiducial import FiducialFrame, fiducial_frame
from pymopex.pixel_map import MappedGrid, PixelMap
from pymopex.projection import exact_map, frame_wcs, perimeter, pixel_solid_angle

if TYPE_CHECKING:
    from astropy.wcs import WCS

__all__ = [
    "Box",
    "FiducialFrame",
    "FrameMap",
    "PixelMap",
    "fiducial_frame",
    "frame_wcs",
    "pixel_solid_angle",
]

_TOUCH = 1e-6  # pixel; less overlap than this is below the accuracy of the maps


@dataclass(frozen=True)
class Box:
    """A rectangle of whole pixels on the mosaic grid.

    Parameters
    ----------
    x0, y0 : int
        First pixel, 0-based.
    nx, ny : int
        Size in pixels.
    """

    x0: int
    y0: int
    nx: int
    ny: int

    @property
    def shape(self) -> tuple[int, int]:
        """Array shape (ny, nx)."""
        return self.ny, self.nx

    @property
    def x1(self) -> int:
        """First column after the box."""
        return self.x0 + self.nx

    @property
    def y1(self) -> int:
        """First row after the box."""
        return self.y0 + self.ny

    @property
    def slices(self) -> tuple[slice, slice]:
        """Slices (y, x) that cut the box out of the mosaic."""
        return slice(self.y0, self.y1), slice(self.x0, self.x1)

    def intersect(self, other: Box) -> Box | None:
        """Give the common part of two boxes, None if there is none."""
        x0, y0 = max(self.x0, other.x0), max(self.y0, other.y0)
        nx, ny = min(self.x1, other.x1) - x0, min(self.y1, other.y1) - y0
        return Box(x0, y0, nx, ny) if nx > 0 and ny > 0 else None

    def grown(self, margin: tuple[int, int], shape: tuple[int, int]) -> Box:
        """Give the box with a margin (x, y) on each side, as far as a mosaic of this array shape goes."""
        x0, y0 = max(0, self.x0 - margin[0]), max(0, self.y0 - margin[1])
        x1, y1 = min(shape[1], self.x1 + margin[0]), min(shape[0], self.y1 + margin[1])
        return Box(x0, y0, x1 - x0, y1 - y0)

    def within(self, outer: Box) -> tuple[slice, slice]:
        """Slices (y, x) that cut this box out of an array on `outer`.

        Raises
        ------
        ValueError
            The box is not inside `outer`.
        """
        if self.intersect(outer) != self:
            raise ValueError(f"{self} is not inside {outer}")
        x, y = self.x0 - outer.x0, self.y0 - outer.y0
        return slice(y, y + self.ny), slice(x, x + self.nx)


@dataclass(frozen=True, eq=False)
class FrameMap:
    """A frame placed on the mosaic.

    Parameters
    ----------
    shape : (ny, nx)
        Array shape of the frame.
    box : Box
        Bounding rectangle of the frame on the mosaic, clipped to the mosaic.
    to_frame : PixelMap
        Mosaic pixel to frame pixel, on the bounding rectangle, unclipped, and half a pixel round it.
    to_mosaic : PixelMap
        Frame pixel to mosaic pixel, on the frame and half a pixel round it.
    """

    shape: tuple[int, int]
    box: Box
    to_frame: PixelMap
    to_mosaic: PixelMap

    @classmethod
    def make(
        cls, frame_wcs: WCS, frame_shape: tuple[int, int], mosaic_wcs: WCS, mosaic_shape: tuple[int, int]
    ) -> FrameMap | None:
        """Place a frame on the mosaic.

        Parameters
        ----------
        frame_wcs, mosaic_wcs : astropy.wcs.WCS
            WCS of frame and mosaic.
        frame_shape, mosaic_shape : (ny, nx)
            Their array shapes.

        Returns
        -------
        FrameMap or None
            None if they do not overlap.

        Raises
        ------
        ValueError
            The frame cannot be mapped on the mosaic to 1e-5 pixel.
        """
        ny, nx = frame_shape
        outline = exact_map(frame_wcs, mosaic_wcs)(*perimeter(frame_shape, max(frame_shape) / 4))
        if not np.isfinite(outline).any():
            return None  # on the other side of the sky
        to_mosaic = PixelMap.between(frame_wcs, mosaic_wcs, (-0.5, nx - 0.5), (-0.5, ny - 0.5))
        x, y = to_mosaic.points(*perimeter(frame_shape, 1.0))
        x0, x1 = _covered(x)
        y0, y1 = _covered(y)
        box = Box(x0, y0, x1 - x0, y1 - y0).intersect(Box(0, 0, mosaic_shape[1], mosaic_shape[0]))
        if box is None:
            return None
        # The map of the whole frame, so that a mosaic and a part of it give the same values.
        x_range, y_range = (x0 - 0.5, x1 - 0.5), (y0 - 0.5, y1 - 0.5)
        return cls(frame_shape, box, PixelMap.between(mosaic_wcs, frame_wcs, x_range, y_range), to_mosaic)

    def pixels_on_frame(self) -> tuple[MappedGrid, tuple[int, int]]:
        """Give the corners of the mosaic pixels of the box in frame pixels; most columns and rows that one touches."""
        x, y = (self.box.x0, self.box.nx), (self.box.y0, self.box.ny)
        edges = (first - 0.5 + np.arange(count + 1) for first, count in (x, y))
        return self.to_frame.on_grid(*edges), self.to_frame.touched(1.0)


def _covered(x: np.ndarray) -> tuple[int, int]:
    """First pixel touched by an outline, and the first after it."""
    return math.floor(x.min() + 0.5 + _TOUCH), math.ceil(x.max() + 0.5 - _TOUCH)
