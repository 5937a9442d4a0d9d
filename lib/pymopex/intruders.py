"""Light that belongs to single frames, to be added to simulated ones: satellites' trails and moving objects."""

from __future__ import annotations

import numpy as np

from pymopex.prf import PRFMap, PRFTable
from pymopex.residuals import render


def trail(
    shape: tuple[int, int],
    start: tuple[float, float],
    end: tuple[float, float],
    *,
    peak: float,
    width: float = 0.8,
) -> np.ndarray:
    """Draw the trail of a satellite: straight, of one brightness, Gaussian across.

    Parameters
    ----------
    shape : (ny, nx)
        Of the frame.
    start, end : (float, float)
        x and y of two places on the trail, which goes on beyond them [0-based pixel].
    peak : float
        Surface brightness on its line [image unit].
    width : float
        1-sigma width [pixel].

    Returns
    -------
    ndarray, shape (ny, nx)
        Surface brightness.

    Raises
    ------
    ValueError
        The two places are one.
    """
    along = np.subtract(end, start, dtype=float)
    length = float(np.hypot(*along))
    if length == 0:
        raise ValueError("a trail needs two places")
    y, x = np.indices(shape)
    off = ((x - start[0]) * along[1] - (y - start[1]) * along[0]) / length
    return peak * np.exp(-0.5 * (off / width) ** 2)


def moving_source(
    shape: tuple[int, int],
    places: tuple[np.ndarray, np.ndarray],
    amplitude: float,
    lookup: tuple[PRFMap, PRFTable],
) -> np.ndarray:
    """Draw a source that stands at several places during a frame, an equal time at each.

    Parameters
    ----------
    shape : (ny, nx)
        Of the frame.
    places : two ndarrays, shape (n,)
        x and y [0-based pixel]; one place: the source does not move during the frame.
    amplitude : float
        Sum of its pixels [image unit].
    lookup : (PRFMap, PRFTable)
        PRF, as from `pymopex.simulation.prf_lookup` of a simulation whose PRF does not vary.

    Returns
    -------
    ndarray, shape (ny, nx)
        Surface brightness.
    """
    x, y = (np.atleast_1d(np.asarray(at, dtype=float)) for at in places)
    where, table = lookup
    which, mix = where.mix_at(x, y)
    each = np.full(x.shape, amplitude / x.size)
    return render(x, y, each, which, table, shape, mix=mix)
