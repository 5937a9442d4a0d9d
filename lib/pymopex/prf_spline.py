"""Cubic splines with a knot at each sample of a PRF: equations, smoothness, values, level of the wing."""

from __future__ import annotations

import numpy as np
from scipy import ndimage, sparse
from scipy.sparse.linalg import cg

from pymopex.prf_average import Grid
from pymopex.prf_kernels import PAD
from pymopex.prf_normal import REACH

_WING = 0.6  # part of the reach of the PRF from which on the wing is a power law
_WING_POWER = -3.0  # of the mean of the rings of a round pupil
_TAPER = (4.0, 7.0)  # pixel, between which samples lose their weight in the sums of a PRF
_WEAKEST = 1e-3  # weight of the smoothness where no pixel lies, of the median


def spline_matrix(normal: np.ndarray) -> sparse.csr_array:
    """Give the sparse matrix of the normal equations.

    Parameters
    ----------
    normal : ndarray, shape (ny, nx, 7, 7)
        Sums of `pymopex.prf_normal.accumulate`.

    Returns
    -------
    scipy.sparse.csr_array, shape (ny nx, ny nx)
        Coefficients are counted row after row.
    """
    rows, columns, n, m = normal.shape
    size = rows * columns
    offsets = [(a - REACH) * columns + b - REACH for a in range(n) for b in range(m)]
    stencil = normal.reshape(size, n * m)
    data = np.zeros((n * m, size))
    for k, offset in enumerate(offsets):
        if offset >= 0:
            data[k, offset:] = stencil[: size - offset, k]
        else:
            data[k, :offset] = stencil[-offset:, k]
    return sparse.dia_array((data, offsets), shape=(size, size)).tocsr()


def roughness(density: np.ndarray) -> sparse.csr_array:
    """Give the matrix of the squared third differences along both axes, each weighted like the pixels there.

    Parameters
    ----------
    density : ndarray, shape (ny, nx)
        Diagonal of the normal equations: how much the pixels tell of each coefficient.

    Returns
    -------
    scipy.sparse.csr_array, shape (ny nx, ny nx)
        Matrix R: c R c is the sum over the differences. A quadratic surface has none.
    """
    size = density.size
    middle = np.median(density[density > 0])
    local = np.maximum(density, _WEAKEST * middle).ravel()
    out = sparse.csr_array((size, size))
    rows, columns = density.shape
    third = [-1.0, 3.0, -3.0, 1.0]
    for along_y, n in ((True, rows), (False, columns)):
        line = sparse.diags_array(third, offsets=[0, 1, 2, 3], shape=(n - 3, n))
        eye = sparse.eye_array(columns if along_y else rows)
        d = (sparse.kron(line, eye) if along_y else sparse.kron(eye, line)).tocsr()
        share = (abs(d) > 0).astype(float)
        weight = np.exp((share @ np.log(local)) / 4)
        out = out + d.T @ sparse.diags_array(weight) @ d
    return out.tocsr()


def solve(matrix: sparse.csr_array, right: np.ndarray, start: np.ndarray | None) -> np.ndarray:
    """Solve the equations of a spline by conjugate gradients.

    Parameters
    ----------
    matrix : scipy.sparse.csr_array, shape (n, n)
        Positive definite.
    right : ndarray, shape (n,)
        Right-hand side.
    start : ndarray, shape (n,), or None
        A solution that is near.

    Returns
    -------
    ndarray, shape (n,)
        The coefficients.
    """
    diagonal = matrix.diagonal()
    scale = sparse.diags_array(1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0)))
    first = None if start is None else start / scale.diagonal()
    return scale @ cg(scale @ matrix @ scale, scale @ right, x0=first, rtol=1e-7, maxiter=3000)[0]


def samples_of(coefficients: np.ndarray) -> np.ndarray:
    """Give the values of a spline at the samples.

    Parameters
    ----------
    coefficients : ndarray, shape (ny + 2 PAD, nx + 2 PAD)
        Coefficients, as `pymopex.prf_kernels.values_at` takes them.

    Returns
    -------
    ndarray, shape (ny, nx)
        Values.
    """
    c = coefficients[PAD - 1 : 1 - PAD, PAD - 1 : 1 - PAD]
    c = (c[:-2] + 4 * c[1:-1] + c[2:]) / 6
    return (c[:, :-2] + 4 * c[:, 1:-1] + c[:, 2:]) / 6


def wing_level(samples: np.ndarray, grid: Grid) -> float:
    """Find the constant under the wing of a PRF, which falls with a power of the radius.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        PRF.
    grid : Grid
        Its samples.

    Returns
    -------
    float
        The constant a of a + b r^-3, by least squares over the outer part of the PRF.

    References
    ----------
    Born & Wolf, Principles of Optics, section 8.5: the rings of a round pupil fall with r^-3.
    """
    r = np.hypot(grid.y[:, None], grid.x)
    reach = min(grid.x[-1], grid.y[-1]) - 0.5
    wing = (r >= _WING * reach) & (r <= reach)
    columns = np.stack([np.ones(int(wing.sum())), r[wing] ** _WING_POWER], axis=1)
    return float(np.linalg.lstsq(columns, samples[wing], rcond=None)[0][0])


def quiet_wing(samples: np.ndarray, grid: Grid) -> np.ndarray:
    """Average the wing of a PRF over a pixel, so that the noise of its samples does not decide the normalisation.

    Parameters
    ----------
    samples : ndarray, shape (ny, nx)
        PRF.
    grid : Grid
        Its samples.

    Returns
    -------
    ndarray, shape (ny, nx)
        The same within 4 pixels, averaged beyond 7.

    Notes
    -----
    The sum by which a PRF is normalised takes one sample in a pixel: the others would tell nothing of it.
    """
    size = tuple(f + 1 - f % 2 for f in (grid.factor_y, grid.factor_x))
    core = _core(grid)
    return core * samples + (1 - core) * ndimage.uniform_filter(samples, size, mode="nearest")


def _core(grid: Grid) -> np.ndarray:
    """Weight that falls from 1 in the core to 0 in the wing."""
    r = np.hypot(grid.y[:, None], grid.x)
    return np.sin(np.pi / 2 * np.clip((_TAPER[1] - r) / (_TAPER[1] - _TAPER[0]), 0, 1)) ** 2


def even(coefficients: np.ndarray, grid: Grid) -> np.ndarray:
    """Give a PRF the same sum over pixels at all places of the star in its pixel.

    Parameters
    ----------
    coefficients : ndarray, shape (ny + 2 PAD, nx + 2 PAD)
        PRF.
    grid : Grid
        Its samples.

    Returns
    -------
    ndarray, same shape
        Samples that are a whole number of pixels apart have one sum, but for the wing, which is left out, since
        its noise would tell more than its light.
    """
    out = coefficients.copy()
    core = samples_of(coefficients) * _core(grid)
    fx, fy = grid.factor_x, grid.factor_y
    sums = np.array([[core[b::fy, a::fx].sum() for a in range(fx)] for b in range(fy)])
    for b in range(fy):
        for a in range(fx):
            out[(b + PAD) % fy :: fy, (a + PAD) % fx :: fx] *= sums.mean() / sums[b, a]
    return out


def shifted(coefficients: np.ndarray, dx: float, dy: float) -> np.ndarray:
    """Displace a spline by a small part of a sample.

    Parameters
    ----------
    coefficients : ndarray, shape (ny, nx)
        Coefficients.
    dx, dy : float
        What lies there comes to the middle [sample]; half a sample at most.

    Returns
    -------
    ndarray, same shape
        To first order: good for a start, which the next fit corrects.
    """
    by_y, by_x = np.gradient(coefficients)
    return coefficients + np.clip(dx, -0.5, 0.5) * by_x + np.clip(dy, -0.5, 0.5) * by_y
