"""Pixels of images in the plainest projection, the tangent plane without distortion."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

_TYPES = (("RA---TAN", "DEC--TAN"), ("GLON-TAN", "GLAT-TAN"), ("ELON-TAN", "ELAT-TAN"))
_NOT_PLAIN = (
    *("A_ORDER", "B_ORDER", "PC1_1", "PC1_2", "PC2_1", "PC2_2"),
    *("PV1_1", "PV2_1", "CUNIT1", "CUNIT2", "CROTA1"),
)
_MATRIX = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")


@dataclass(frozen=True)
class TangentPlane:
    """An image in the tangent plane.

    Parameters
    ----------
    x0, y0 : float
        Pixel at which the plane touches the sky, 0-based.
    matrix : (float, float, float, float)
        Degrees in the plane per pixel: of longitude along x and y, of latitude along x and y.
    """

    x0: float
    y0: float
    matrix: tuple[float, float, float, float]

    @classmethod
    def of(cls, keyword: Callable[[str], Any]) -> TangentPlane | None:
        """Read the keywords of an image; None if they tell anything else, or not all.

        Parameters
        ----------
        keyword : callable
            Gives the value of a keyword, None if there is none.
        """
        if (keyword("CTYPE1"), keyword("CTYPE2")) not in _TYPES:
            return None
        if any(keyword(key) is not None for key in _NOT_PLAIN):
            return None
        given = [keyword(key) for key in _MATRIX]
        scales, turn = [keyword("CDELT1"), keyword("CDELT2")], keyword("CROTA2") or 0
        if given == [None] * 4 and _are_numbers(*scales, turn):
            cosine, sine = math.cos(math.radians(turn)), math.sin(math.radians(turn))
            given = [scales[0] * cosine, -scales[1] * sine, scales[0] * sine, scales[1] * cosine]
        elif scales != [None, None]:
            return None
        place = keyword("CRPIX1"), keyword("CRPIX2")
        if not _are_numbers(*given, *place) or given[0] * given[3] == given[1] * given[2]:
            return None
        return cls(place[0] - 1, place[1] - 1, (given[0], given[1], given[2], given[3]))

    def solid_angle(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Solid angle of pixels [sr] at positions, 0-based: that in the plane times the cube of the cosine.

        The pixel is taken to be small: its own curvature counts less than 1e-9 up to sides of 10 arcsec.
        """
        a, b, c, d = (math.radians(value) for value in self.matrix)
        u, v = np.asarray(x, dtype=float) - self.x0, np.asarray(y, dtype=float) - self.y0
        square = (a * u + b * v) ** 2 + (c * u + d * v) ** 2
        return np.asarray(abs(a * d - b * c) * (1 + square) ** -1.5)


def _are_numbers(*values: Any) -> bool:
    return all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
