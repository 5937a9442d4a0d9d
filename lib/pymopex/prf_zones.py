"""A PRF of the whole array, and one for each of its zones."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from pymopex.prf_average import Estimate, Grid, StampRules, average
from pymopex.prf_effective import EffectiveRules, effective
from pymopex.stamps import Stamps


@dataclass(eq=False)
class Zones:
    """PRFs of an array and its zones.

    Parameters
    ----------
    whole : Estimate
        PRF from all stamps.
    estimates : list of Estimate
        PRF of each zone, row after row; that of the whole array where a zone has too few stamps.
    regions : list of (x0, y0, nx, ny)
        Lower left pixel, from 1, and size of each zone.
    zone : ndarray of int, shape (n,)
        Zone of each stamp, from 0.
    final : Estimate
        The stamps as the PRF of their zone left them.
    width, height : int
        Size of the array [pixel].
    notes : list of str
        What is to be told.
    """

    whole: Estimate
    estimates: list[Estimate]
    regions: list[tuple[int, int, int, int]]
    zone: np.ndarray
    final: Estimate
    width: int
    height: int
    notes: list[str] = field(default_factory=list)

    @property
    def n(self) -> int:
        """Number of zones."""
        return len(self.regions)

    @property
    def names(self) -> list[str]:
        """Endings of file names: column and row, from 1, of the middle of each zone."""
        return [f"_col{x0 + nx // 2:03d}_row{y0 + ny // 2:03d}" for x0, y0, nx, ny in self.regions]


def zone_regions(size: tuple[int, int], zones: tuple[int, int]) -> list[tuple[int, int, int, int]]:
    """Cut an array into zones of about the same size.

    Parameters
    ----------
    size : (int, int)
        Width and height of the array [pixel].
    zones : (int, int)
        Zones along x and y.

    Returns
    -------
    list of (x0, y0, nx, ny)
        Lower left pixel, from 1, and size, row after row.

    Raises
    ------
    ValueError
        More zones than pixels.
    """
    if zones[0] > size[0] or zones[1] > size[1]:
        raise ValueError(
            f"{zones[0]} x {zones[1]} zones (PRF_Zones_X, PRF_Zones_Y) in {size[0]} x {size[1]} pixels"
        )
    x, y = ([n * k // count for k in range(count + 1)] for n, count in zip(size, zones, strict=True))
    return [
        (1 + x[i], 1 + y[j], x[i + 1] - x[i], y[j + 1] - y[j])
        for j in range(zones[1])
        for i in range(zones[0])
    ]


def _zone_of(regions: list[tuple[int, int, int, int]], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Give the zone that holds each place [pixel, from 1]."""
    out = np.zeros(len(x), dtype=int)
    for number, (x0, y0, nx, ny) in enumerate(regions):
        inside = (x >= x0 - 0.5) & (x < x0 + nx - 0.5) & (y >= y0 - 0.5) & (y < y0 + ny - 0.5)
        out[inside] = number
    return out


def estimate(
    stamps: Stamps,
    grid: Grid,
    rules: StampRules,
    how: EffectiveRules | None,
    place: tuple[np.ndarray, np.ndarray],
    size: tuple[int, int],
    zones: tuple[int, int] = (1, 1),
    fewest: int = 10,
) -> Zones:
    """Make the PRF of an array, and those of its zones.

    Parameters
    ----------
    stamps : Stamps
        Stamps of stars.
    grid : Grid
        Samples of the PRF.
    rules : StampRules
        Rejection and fit.
    how : EffectiveRules or None
        Settings of the effective PRF; None takes the average.
    place : (ndarray, ndarray), each shape (n,)
        Place of each star on the array [pixel, from 1].
    size : (int, int)
        Width and height of the array [pixel].
    zones : (int, int)
        Zones along x and y.
    fewest : int
        Stamps that a zone needs for a PRF of its own.

    Returns
    -------
    Zones
        The PRFs and what became of the stamps.

    Raises
    ------
    ValueError
        No stamp can be used, or there are more zones than pixels.

    Notes
    -----
    Effective PRFs of zones share the stars: those have one place and one flux in all of them.
    """
    regions = zone_regions(size, zones)
    whole = average(stamps, grid, rules) if how is None else effective(stamps, grid, rules, how)[0]
    zone = _zone_of(regions, *place)
    found = Zones(whole, [whole] * len(regions), regions, zone, _copy(whole), *size, notes=list(whole.notes))
    if len(regions) == 1:
        return found
    count = np.bincount(zone[whole.used], minlength=len(regions))
    rich = np.flatnonzero(count >= fewest)
    for number in np.flatnonzero(count < fewest).tolist():
        found.notes.append(
            f"zone{found.names[number].replace('_', ' ')} has {count[number]} stamps (Min_Stamps_Per_Zone): "
            "it takes the PRF of the whole array"
        )
    if how is None:
        for number in rich.tolist():
            _take(found, number, zone == number, average(stamps.take(zone == number), grid, rules))
    elif rich.size:
        kept = np.isin(zone, rich)
        start = _part(whole, kept)
        parts = effective(stamps.take(kept), grid, rules, how, np.searchsorted(rich, zone[kept]), start)
        for number, one in zip(rich.tolist(), parts, strict=True):
            _take(found, number, zone == number, _part(one, zone[kept] == number))
    return found


_PER_STAMP = ("x", "y", "flux", "background", "chi2", "n_nans", "n_outliers", "reason")


def _part(one: Estimate, which: np.ndarray) -> Estimate:
    """Give an estimate with some of its stamps."""
    arrays = {name: getattr(one, name)[which] for name in _PER_STAMP}
    return replace(one, **arrays)


def _copy(one: Estimate) -> Estimate:
    return _part(one, np.arange(len(one.x)))


def _take(found: Zones, number: int, members: np.ndarray, one: Estimate) -> None:
    """Put the PRF of a zone, and what became of its stamps, into their places."""
    found.estimates[number] = one
    found.notes += one.notes
    for name in _PER_STAMP:
        getattr(found.final, name)[members] = getattr(one, name)
