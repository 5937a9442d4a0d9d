"""Speed of the PRF fit: time per source and frame, and how it compares with two general fitting programs.

    python benchmarks/fit_speed.py

Isolated sources and a blend of five in 100 simulated frames, fit box of 7 x 7 pixels. The figures are for one core,
compiled code; the time for compiling is left out. Collecting the pixels of a frame is timed on its own.
"""

import math
import platform
import time
from collections.abc import Callable

import numpy as np
from astropy.table import Table
from photutils.psf import ImagePSF, PSFPhotometry
from pymopex.fit_data import FrameImage, GroupData, gather_frame, join_frames
from pymopex.fitting import fit_group
from pymopex.prf import PRF, PRFTable, prf_table
from scipy.optimize import least_squares

FRAMES = 100
BOX = 7  # pixels
SIDE = 64  # pixels of a frame
SIGMA = 0.7  # pixel, of the Gaussian PRF: about IRAC channel 1
SAMPLING = 10  # samples per pixel
NOISE = 0.01  # image unit
PIXEL = 1.22  # arcsec
FLUX = 10.0  # image unit: 1 image unit per microjansky
BLEND = np.array([[0.0, 0.0], [2.5, 0.4], [-0.6, 2.6], [-2.4, -0.9], [0.8, -2.7]])  # pixel
REPEATS = 5  # the fastest counts
SINGLE = 40  # isolated sources in one image, for the comparison


def profile(offset: np.ndarray) -> np.ndarray:
    return np.exp(-0.5 * (offset / SIGMA) ** 2) / (SIGMA * math.sqrt(2 * math.pi))


def frame(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> FrameImage:
    columns, rows = (profile(np.arange(SIDE) - a[:, None]) for a in (x, y))
    data = FLUX * rows.T @ columns + NOISE * rng.standard_normal((SIDE, SIDE))
    return FrameImage(data.astype(np.float32), np.full(data.shape, NOISE, np.float32), data != data)


def observe(offsets: np.ndarray, count: int, rng: np.random.Generator) -> tuple[list[FrameImage], GroupData]:
    """Sources at offsets [pixel] from the middle of frames that are dithered and turned."""
    images, places, jacobians = [], [], []
    for _ in range(count):
        a = rng.uniform(0, 2 * math.pi)
        turn = np.array([[math.cos(a), math.sin(a)], [-math.sin(a), math.cos(a)]])
        place = SIDE / 2 + rng.uniform(-3, 3, 2) + offsets @ turn.T
        images.append(frame(*place.T, rng))
        places.append(place + turn @ [0.2, -0.15])  # where the fit starts
        jacobians.append(np.broadcast_to(turn / PIXEL, (len(offsets), 2, 2)))
    x, y = np.moveaxis(np.array(places), 2, 0)
    pixels = [gather_frame(image, *xy, BOX, BOX) for image, *xy in zip(images, x, y, strict=True)]
    ones, zeros = np.ones(x.shape), np.zeros(x.shape, int)
    return images, join_frames(pixels, x, y, np.array(jacobians), ones, zeros, (BOX, BOX))


def fastest(call: Callable[[], object], times: int = REPEATS) -> float:
    """Shortest processor time of a call [ms]; the first, which may compile, does not count."""
    call()
    spent = []
    for _ in range(times):
        begin = time.process_time()
        call()
        spent.append(time.process_time() - begin)
    return 1e3 * min(spent)


def scipy_fit(group: GroupData) -> np.ndarray:
    """Fit the same model, a Gaussian that needs no table, with scipy; u, v [arcsec] and fluxes."""
    number = np.repeat(np.arange(group.n_frames), np.diff(group.first))
    root = np.sqrt(group.weight)

    def residual(p: np.ndarray) -> np.ndarray:
        model = np.zeros(group.value.size)
        for n, (u, v, flux) in enumerate(p.reshape(-1, 3)):
            x, y = (at[:, n] + group.jacobian[:, n, k] @ [u, v] for k, at in enumerate((group.rx, group.ry)))
            model += flux * profile(group.px - x[number]) * profile(group.py - y[number])
        return root * (group.value - model)

    start = np.tile([0.0, 0.0, FLUX], group.n_sources)
    return least_squares(residual, start, method="lm", x_scale=np.tile([0.1, 0.1, FLUX], group.n_sources)).x


def machine() -> str:
    name = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as info:
            name = next(line.split(":")[1].strip() for line in info if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    return f"{name}, Python {platform.python_version()}, numpy {np.__version__}"


def one_image(table: PRFTable) -> None:
    """Isolated sources in one image against photutils."""
    rng = np.random.default_rng(2)
    side = 16 * math.ceil(math.sqrt(SINGLE))
    grid = np.stack(np.meshgrid(*2 * [np.arange(8, side, 16)]), -1).reshape(-1, 2)[:SINGLE]
    x, y = (grid + rng.uniform(-0.5, 0.5, grid.shape)).T
    columns, rows = (profile(np.arange(side) - a[:, None]) for a in (x, y))
    data = (FLUX * rows.T @ columns + NOISE * rng.standard_normal((side, side))).astype(np.float32)
    image = FrameImage(data, np.full(data.shape, NOISE, np.float32), np.zeros(data.shape, bool))
    jacobian, one, first = np.eye(2)[None, None] / PIXEL, np.ones((1, 1)), np.zeros((1, 1), int)

    def ours() -> None:
        for at_x, at_y in zip(x, y, strict=True):
            place = np.array([at_x + 0.2]), np.array([at_y - 0.15])
            pixels = gather_frame(image, *place, BOX, BOX)
            fit_group(
                join_frames([pixels], place[0][None], place[1][None], jacobian, one, first, (BOX, BOX)), table
            )

    at = np.arange(-80, 81) / SAMPLING
    psf = ImagePSF(np.outer(profile(at), profile(at)), oversampling=SAMPLING)
    init = Table({"x": x + 0.2, "y": y - 0.15})
    photometry = PSFPhotometry(psf, (BOX, BOX), aperture_radius=3)

    def theirs() -> None:
        photometry(data.astype(float), error=image.sigma.astype(float), init_params=init)

    a, b = fastest(ours) / SINGLE, fastest(theirs, 2) / SINGLE
    print(f"one image, per source: {a:.3f} ms; photutils PSFPhotometry {b:.2f} ms, ratio {b / a:.0f}")


def many_frames(table: PRFTable, name: str, offsets: np.ndarray, count: int) -> None:
    """One group in several frames against scipy."""
    images, group = observe(offsets, count, np.random.default_rng(1))
    fit = fit_group(group, table)
    ours, scipys = fastest(lambda: fit_group(group, table)), fastest(lambda: scipy_fit(group), 2)
    places = list(zip(images, group.rx, group.ry, strict=True))
    gather = fastest(lambda: [gather_frame(image, x, y, BOX, BOX) for image, x, y in places])
    print(
        f"{name}, frames: {count}: {ours:.2f} ms ({ours / count / len(offsets):.4f} ms per source and frame, "
        f"{fit.iterations} iterations, {group.value.size} pixels); collecting {gather:.2f} ms; "
        f"scipy least_squares {scipys:.0f} ms, ratio {scipys / ours:.0f}"
    )
    difference = scipy_fit(group).reshape(-1, 3)[:, 2] - [source.flux for source in fit.sources]
    sigma = [math.sqrt(source.covariance[2, 2]) for source in fit.sources]
    print(f"  fluxes agree to {np.max(np.abs(difference / sigma)):.1e} sigma; chi2/dof {fit.chi2_dof:.3f}")


def main() -> None:
    at = profile(np.arange(-80, 81) / SAMPLING)
    table = prf_table([PRF(np.outer(at, at), SAMPLING, SAMPLING)])
    print(machine())
    many_frames(table, "isolated source", BLEND[:1], FRAMES)
    many_frames(table, "blend of five", BLEND, FRAMES)
    many_frames(table, "blend of five", BLEND, 1)
    one_image(table)


if __name__ == "__main__":
    main()
