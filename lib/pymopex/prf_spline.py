"""Cubic splines with a knot at each sample of a PRF: equations, smoothness, values."""

from __future__ import annotations

import numpy as np
from scipy import sparse
from scipy.sparse.linalg import cg

from pymopex.prf_kernels import PAD
from pymopex.prf_normal import REACH

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
