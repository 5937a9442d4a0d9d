"""Fluxes and places where the PRF changes over the array: with one PRF, the nearest of a map, or a mixture of four.

    python benchmarks/prf_map.py

Stars without noise at places all over an array of IRAC 1 whose PRF changes smoothly, fitted in boxes of 7 x 7 pixels
with a background: with the PRF of the middle of the array, with the nearest of 5 x 5 PRFs, and with the four round the
star mixed bilinearly. Errors of fluxes are in per cent, those of places in pixels.
"""

import time

import numpy as np
from pymopex.fit_data import FrameImage, gather_frame, join_frames
from pymopex.fitting import FitSettings, fit_group
from pymopex.prf import PRFGrid, PRFMap, PRFTable, prf_table
from pymopex.residuals import render
from pymopex.simulation import prf_lookup, prf_places, prfs, simulation

SIDE = 12  # stars along each axis of the array
BOX = 7  # pixels
PIXEL = 1.22  # arcsec
FLUX = 1000.0  # image unit: 1 image unit per microjansky
BACKGROUND = 0.1  # image unit


def stars(size: int) -> np.ndarray:
    """Places of the stars, as far as 6 pixels from the edge, at all phases of the pixel."""
    at = np.linspace(6, size - 7, SIDE)
    grid = np.stack(np.meshgrid(at, at), -1).reshape(-1, 2)
    return grid + np.random.default_rng(1).uniform(-0.5, 0.5, grid.shape)


def fit(
    image: FrameImage, at: np.ndarray, table: PRFTable, where: PRFMap | PRFGrid
) -> tuple[float, float, float]:
    """Fit one star; flux and place."""
    x, y = at[:1], at[1:]
    index, mix = where.mix_at(x, y)
    jacobian, scale = np.eye(2)[None, None] / PIXEL, np.ones((1, 1))
    pixels = gather_frame(image, x, y, BOX, BOX)
    group = join_frames(
        [pixels],
        x[None],
        y[None],
        jacobian,
        scale,
        index[None],
        (BOX, BOX),
        None if mix is None else mix[None],
    )
    source = fit_group(group, table, FitSettings(background=True)).sources[0]
    return source.flux, source.u / PIXEL, source.v / PIXEL


def main() -> None:
    sim = simulation("I1", variable_prf=True)
    truth, true_table = prf_lookup(sim)
    kept, places = prfs(sim), np.array(prf_places(sim), dtype=float)
    middle, table = prf_table([kept[len(kept) // 2]]), prf_table(kept)
    cells = np.array([[1 + k * sim.size // 5, (k + 1) * sim.size // 5 - k * sim.size // 5] for k in range(5)])
    regions = np.array([(x, y, nx, ny) for x, nx in cells for y, ny in cells])
    single = PRFMap.single(kept[0])
    ways = {
        "one PRF": (middle, single),
        "nearest of 25": (table, PRFMap(kept, regions)),
        "bilinear": (table, PRFGrid(*places.T)),
    }
    at = stars(sim.size)
    index, mix = truth.mix_at(*at.T)
    for name, (used, where) in ways.items():
        begin, found = time.perf_counter(), []
        for i, place in enumerate(at):
            shape = (sim.size, sim.size)
            one = [place[:1], place[1:], np.array([FLUX]), index[i : i + 1]]
            data = render(*one, true_table, shape, mix=None if mix is None else mix[i : i + 1]) + BACKGROUND
            image = FrameImage(
                data.astype(np.float32), np.full(shape, 0.1, np.float32), np.zeros(shape, bool)
            )
            found.append(fit(image, place, used, where))
        flux, u, v = np.array(found).T
        error, shift = 100 * (flux / FLUX - 1), np.hypot(u, v)
        print(
            f"{name:14s} flux: mean {error.mean():+.3f} %, rms {error.std():.3f} %, "
            f"largest {np.abs(error).max():.3f} %; "
            f"place: rms {np.sqrt((shift**2).mean()):.4f}, largest {shift.max():.4f} pixel; "
            f"{time.perf_counter() - begin:.1f} s"
        )


if __name__ == "__main__":
    main()
