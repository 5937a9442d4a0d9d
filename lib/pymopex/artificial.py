"""Artificial stars: their fluxes and places, and what became of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from pymopex.comparison import spread

_ROUNDS = 200  # draws of places before it is said that there is no room


def draw_fluxes(
    random: np.random.Generator, count: int, fluxes: np.ndarray, *, spread_out: bool
) -> np.ndarray:
    """Draw fluxes.

    Parameters
    ----------
    random : Generator
        Random numbers.
    count : int
        How many.
    fluxes : ndarray
        The values to choose from, in equal numbers as far as possible; or the two ends of a range.
    spread_out : bool
        Take `fluxes` as the ends of a range, over which the logarithms are distributed evenly.

    Returns
    -------
    ndarray, shape (count,)
        Fluxes in the unit of `fluxes`.

    Raises
    ------
    ValueError
        No flux is given, one is not positive, or a range has not two ends.
    """
    values = np.asarray(fluxes, dtype=float)
    if not values.size or not (values > 0).all() or not np.isfinite(values).all():
        raise ValueError("fluxes must be positive numbers")
    if not spread_out:
        return random.permutation(np.resize(values, count))
    if values.size != 2 or not values[0] < values[1]:
        raise ValueError(f"a range of fluxes goes from a lower to a higher one, not {values.tolist()}")
    low, high = np.log(values)
    return np.exp(random.uniform(low, high, count))


def draw_places(
    random: np.random.Generator,
    count: int,
    allowed: np.ndarray,
    separation: float,
    avoid: np.ndarray | None = None,
    radius: float = 0.0,
) -> np.ndarray:
    """Draw places on an image, evenly over the pixels that are allowed.

    Parameters
    ----------
    random : Generator
        Random numbers.
    count : int
        How many.
    allowed : ndarray of bool, shape (ny, nx)
        Where they may be.
    separation : float
        Least distance from each other [pixel].
    avoid : ndarray, shape (n, 2), or None
        Places (x, y) to stay away from [0-based pixel].
    radius : float
        Least distance from these [pixel].

    Returns
    -------
    ndarray, shape (count, 2)
        Places (x, y) [0-based pixel].

    Raises
    ------
    ValueError
        There is no room for so many.
    """
    pixels = np.flatnonzero(allowed)
    chosen = np.zeros((0, 2))
    tree = cKDTree(avoid) if avoid is not None and len(avoid) and radius > 0 else None
    for _ in range(_ROUNDS):
        if len(chosen) >= count or not pixels.size:
            break
        at = random.choice(pixels, count)
        new = np.column_stack([at % allowed.shape[1], at // allowed.shape[1]]) + random.uniform(
            -0.5, 0.5, (count, 2)
        )
        if tree is not None:
            new = new[tree.query(new)[0] >= radius]
        chosen = _apart(np.concatenate([chosen, new]), len(chosen), separation)[:count]
    if len(chosen) < count:
        raise ValueError(f"there is room for {len(chosen)} of {count} stars")
    return chosen


def _apart(points: np.ndarray, known: int, separation: float) -> np.ndarray:
    """Drop points that are too near to an earlier one; the first `known` are apart already."""
    if separation <= 0 or len(points) < 2:
        return points
    keep = np.ones(len(points), bool)
    near = cKDTree(points).query_ball_point(points, separation, return_sorted=True)
    for i in range(known, len(points)):
        keep[i] = not any(j < i and keep[j] for j in near[i])
    return points[keep]


def interval(found: int, total: int) -> tuple[float, float]:
    """Give the 68.3 per cent confidence interval of a rate.

    Parameters
    ----------
    found, total : int
        Successes, and trials.

    Returns
    -------
    low, high : float
        Limits of the Wilson interval; NaN without a trial.

    References
    ----------
    Wilson 1927, J. Am. Stat. Assoc. 22, 209; Brown, Cai & DasGupta 2001, Stat. Sci. 16, 101, equation 4.
    """
    if not total:
        return float("nan"), float("nan")
    rate, n = found / total, float(total)
    middle = (rate + 0.5 / n) / (1 + 1 / n)
    half = np.sqrt(rate * (1 - rate) / n + 0.25 / n**2) / (1 + 1 / n)
    return float(max(middle - half, 0.0)), float(min(middle + half, 1.0))


@dataclass(frozen=True, eq=False)
class Recovery:
    """Artificial stars and what was measured of them; arrays of one length, NaN for what was not found.

    Parameters
    ----------
    flux : ndarray
        Flux that was put in [microjansky].
    snr : ndarray
        That over the smallest error that a fit can have.
    measured, error : ndarray
        Flux of the source found, and its uncertainty [microjansky].
    east, north : ndarray
        Its position minus the true one [arcsec].
    """

    flux: np.ndarray
    snr: np.ndarray
    measured: np.ndarray
    error: np.ndarray
    east: np.ndarray
    north: np.ndarray

    @property
    def found(self) -> np.ndarray:
        """Which stars were found."""
        return np.isfinite(self.measured)


def summary(
    stars: Recovery, by: str, edges: list[tuple[float, float]], new: np.ndarray, false: np.ndarray
) -> list[dict[str, float | int | str]]:
    """Tabulate how well artificial stars were found and measured.

    Parameters
    ----------
    stars : Recovery
        The stars of all runs.
    by : {'flux', 'SNR'}
        What the bins are of.
    edges : list of (float, float)
        Lower and upper limit of each bin; the lower one belongs to it, and the upper one if it is the same.
    new : ndarray
        Measured flux, or signal-to-noise ratio, of the sources of the reruns that the first catalogue does not have.
    false : ndarray of bool
        Which of them belong to no artificial star.

    Returns
    -------
    list of dict
        A row for each bin: the columns of `pymopex.columns.COMPLETENESS`.

    Notes
    -----
    Bias is the median, scatter 1.4826 times the median absolute deviation; the error of a bias is 1.2533 times the
    scatter over the square root of the number, that of a median of normal errors. Of a bin of one flux, the new sources
    are those measured within half of it.
    """
    values = stars.flux if by == "flux" else stars.snr
    return [
        _row(stars, by, low, high, _inside(values, low, high), false[_inside(new, low, high)])
        for low, high in edges
    ]


def _inside(values: np.ndarray, low: float, high: float) -> np.ndarray:
    if low == high:  # one flux: what is measured of it scatters
        return np.abs(values - low) <= 0.5 * low
    return (values >= low) & (values < high)


def _row(
    stars: Recovery, by: str, low: float, high: float, these: np.ndarray, false: np.ndarray
) -> dict[str, float | int | str]:
    if low == high:
        these = stars.flux == low
    found = these & stars.found
    n, n_found, n_new, n_false = (int(k) for k in (these.sum(), found.sum(), false.size, false.sum()))
    flux = spread(stars.measured[found] / stars.flux[found] - 1)
    pull = spread((stars.measured[found] - stars.flux[found]) / stars.error[found])
    east, north = spread(1000 * stars.east[found]), spread(1000 * stars.north[found])
    complete, real = interval(n_found, n), interval(n_new - n_false, n_new)
    return {
        "by": by,
        "low": low,
        "high": high,
        "n_stars": n,
        "n_found": n_found,
        "completeness": n_found / n if n else np.nan,
        "completeness_low": complete[0],
        "completeness_high": complete[1],
        "n_new": n_new,
        "n_false": n_false,
        "reliability": 1 - n_false / n_new if n_new else np.nan,
        "reliability_low": real[0],
        "reliability_high": real[1],
        "flux_bias": flux.median,
        "delta_flux_bias": _MEDIAN * flux.width / np.sqrt(flux.n) if flux.n else np.nan,
        "flux_scatter": flux.width,
        "pull_width": pull.width,
        "east_bias": east.median,
        "north_bias": north.median,
        "position_scatter": np.hypot(east.width, north.width) / np.sqrt(2),
    }


_MEDIAN = 1.2533  # error of a median over that of a mean, of normal errors
