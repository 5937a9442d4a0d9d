"""Interpolation against reproject and drizzle on the same frames, and what every method keeps.

    python benchmarks/interpolation_peers.py

A frame of 256 x 256 pixels of 1.22 arcsec with the distortion of IRAC 1, turned, on a mosaic of 0.6 arcsec pixels.
Area overlap stands beside ``reproject.reproject_exact``, drizzle beside ``drizzle.resample.Drizzle``; those that are
not installed are left out. Differences are relative to the mean level, well inside the frame, and where a twentieth of
the pixel is covered: on less, rounding of the corners of shrunken drops changes the weights.
"""

import math
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS
from pymopex.geometry import FrameMap, fiducial_frame, frame_wcs, pixel_solid_angle
from pymopex.interpolation import Interpolated, Interpolation, interpolate
from scipy.special import ndtr

SIDE, PIXEL, MOSAIC_PIXEL = 256, 1.22, 0.6  # pixels; arcsec
SIGMA = 0.65  # pixel, of the stars
APERTURE = 12.0  # arcsec
ANGLES = (15.0, 33.0, -76.0)  # deg
STARS = 9  # a side
METHODS = {
    "area overlap": Interpolation(1),
    "drizzle 1": Interpolation(2),
    "drizzle 0.7": Interpolation(2, driz_fac=0.7),
    "grid 8": Interpolation(3, grid_ratio=8),
    "bicubic": Interpolation(4),
}


def place(angle: float, *, distorted: bool = True) -> tuple[WCS, WCS, FrameMap]:
    """Place a turned, distorted frame on a mosaic."""
    c, s = (PIXEL / 3600 * f(math.radians(angle)) for f in (math.cos, math.sin))
    header = fits.Header({"NAXIS": 2, "NAXIS1": SIDE, "NAXIS2": SIDE, "CRPIX1": 128.0, "CRPIX2": 128.0})
    ending = "-SIP" if distorted else ""
    header.update(
        {"CTYPE1": f"RA---TAN{ending}", "CTYPE2": f"DEC--TAN{ending}", "CRVAL1": 150.0, "CRVAL2": 40.0}
    )
    header.update({"CD1_1": -c, "CD1_2": s, "CD2_1": s, "CD2_2": c})
    if distorted:
        header.update({"A_ORDER": 3, "A_2_0": -1.8e-5, "A_1_1": 2.1e-5, "A_0_2": 3.1e-6, "A_3_0": -2.1e-7})
        header.update({"B_ORDER": 3, "B_2_0": -2e-6, "B_1_1": -2.3e-5, "B_0_2": 2.4e-5, "B_0_3": -1.7e-7})
    wcs = frame_wcs(header)
    grid = fiducial_frame([wcs], [(SIDE, SIDE)], crota2=0.0).rescaled(
        -MOSAIC_PIXEL / 3600, MOSAIC_PIXEL / 3600
    )
    placed = FrameMap.make(wcs, (SIDE, SIDE), grid.wcs(), grid.shape)
    assert placed is not None
    return wcs, grid.wcs(), placed


def frames() -> dict[str, np.ndarray]:
    """Give a smooth and a noisy frame of mean level 1."""
    y, x = np.indices((SIDE, SIDE)) / SIDE
    noise = np.random.default_rng(1).normal(1, 0.1, (SIDE, SIDE))
    return {"smooth": 1 + 0.3 * np.sin(9 * x + 4 * y) * np.cos(5 * y), "noisy": noise}


def exact(data: np.ndarray, wcs: WCS, mosaic: WCS, placed: FrameMap) -> np.ndarray:
    """Interpolate with reproject."""
    from reproject import reproject_exact

    out, _ = reproject_exact((data, wcs), mosaic, shape_out=(placed.box.y1, placed.box.x1))
    return out[placed.box.slices]


def drizzled(fraction: float) -> Callable[..., np.ndarray]:
    """Interpolate with drizzle, its drops shrunk by a fraction."""

    def call(data: np.ndarray, wcs: WCS, mosaic: WCS, placed: FrameMap) -> np.ndarray:
        from drizzle.resample import Drizzle

        y, x = np.indices(data.shape).astype(float)
        at = np.stack(mosaic.all_world2pix(*wcs.all_pix2world(x, y, 0), 0), axis=-1)
        peer = Drizzle(kernel="square", out_shape=(placed.box.y1, placed.box.x1), fillval="NaN")
        peer.add_image(data.astype("f4"), exptime=1.0, pixmap=at, pixfrac=fraction)
        return peer.out_img[placed.box.slices]

    return call


PEERS = {
    "area overlap": ("reproject", exact),
    "drizzle 1": ("drizzle", drizzled(1.0)),
    "drizzle 0.7": ("drizzle", drizzled(0.7)),
}


def compare() -> None:
    """Print differences to the peers, where all of the pixel lies well inside the frame."""
    print(f"{'method':13s} {'peer':10s} {'frame':7s} {'rms':>9s} {'largest':>9s}   CPU ms: pymopex, peer")
    missing = set()
    for name, (package, peer) in PEERS.items():
        for kind, data in frames().items():
            rows = []
            for angle in ANGLES:
                placed = place(angle)
                try:
                    theirs, slow = timed(lambda: peer(data, *placed))  # noqa: B023
                except ImportError:
                    missing.add(package)
                    break
                ours, fast = timed(lambda: interpolate(data, None, None, placed[2], METHODS[name]))  # noqa: B023
                off = (ours.data - theirs)[inside(placed) & (ours.coverage > 0.05)]
                rows.append((off[np.isfinite(off)], fast, slow))
            if rows:
                off = np.concatenate([row[0] for row in rows])
                fast, slow = (1e3 * np.median([row[k] for row in rows]) for k in (1, 2))
                print(
                    f"{name:13s} {package:10s} {kind:7s} {off.std():9.1e} {np.abs(off).max():9.1e}   "
                    f"{fast:.0f}, {slow:.0f}"
                )
    for package in sorted(missing):
        print(f"{package} is not installed: left out")


def timed(call: Callable[[], Any]) -> tuple[Any, float]:
    """Call twice; gives the result and the shorter processor time [s]."""
    spent = []
    for _ in range(2):
        begin = time.process_time()
        result = call()
        spent.append(time.process_time() - begin)
    return result, min(spent)


def inside(placed: tuple[WCS, WCS, FrameMap]) -> np.ndarray:
    """Pixels of the box that lie two frame pixels or more inside the frame."""
    box, to_frame = placed[2].box, placed[2].to_frame
    x, y = to_frame.grid(box.x0 + np.arange(box.nx), box.y0 + np.arange(box.ny))
    return (x > 2) & (x < SIDE - 3) & (y > 2) & (y < SIDE - 3)


def star(x: float, y: float) -> np.ndarray:
    """A Gaussian star of flux 1, integrated over pixels."""
    edges = np.arange(SIDE + 1) - 0.5
    return np.outer(np.diff(ndtr((edges - y) / SIGMA)), np.diff(ndtr((edges - x) / SIGMA)))


def areas(wcs: WCS, shape: tuple[int, int]) -> np.ndarray:
    y, x = np.indices(shape).astype(float)
    return pixel_solid_angle(wcs, x, y)


def keep() -> None:
    """Print what every method keeps: total flux, fluxes and places of stars."""
    print(
        f"\n{'frames':10s} {'method':13s} {'total flux':>11s} {'star flux':>11s} {'scatter':>8s} {'x mas':>8s}"
        f" {'y mas':>8s}  (means; truth 0)"
    )
    for kind, distorted in (("turned", False), ("distorted", True)):
        fields = [(place(angle, distorted=distorted), *stars(angle)) for angle in ANGLES]
        for name, how in METHODS.items():
            rows = [kept(placed, x, y, how) for placed, x, y in fields]
            total, flux, east, north, scatter = np.mean(rows, axis=0)
            print(
                f"{kind:10s} {name:13s} {total:+11.1e} {flux:+11.1e} {scatter:8.1e} "
                f"{1e3 * east:+8.3f} {1e3 * north:+8.3f}"
            )


def kept(
    at: tuple[WCS, WCS, FrameMap], x: np.ndarray, y: np.ndarray, how: Interpolation
) -> tuple[float, ...]:
    """Errors of total flux, of fluxes and places of stars (means), and scatter of the fluxes."""
    wcs, mosaic, placed = at
    data = np.sum([star(*one) for one in zip(x, y, strict=True)], axis=0)
    out = interpolate(data / areas(wcs, (SIDE, SIDE)), None, None, placed, how)
    weight = areas(mosaic, (placed.box.y1, placed.box.x1))[placed.box.slices]
    if how.driz_fac < 1:  # uneven coverage: values count with it, as in a co-add
        weight = weight * out.coverage / how.driz_fac**2
    X, Y = mosaic.all_world2pix(*wcs.all_pix2world(x, y, 0), 0)
    found = np.array([measure(out, weight, *one) for one in zip(X, Y, strict=True)])
    total = np.nansum(out.data.astype(float) * weight) / data.sum()
    return (total - 1, *(found.mean(axis=0) - [1, 0, 0]), found[:, 0].std())


def stars(angle: float) -> tuple[np.ndarray, np.ndarray]:
    """Places of isolated stars, anywhere in their pixels."""
    rng = np.random.default_rng(abs(int(angle)))
    grid = np.meshgrid(*2 * [np.linspace(28, 228, STARS)])
    return tuple(at.ravel() + rng.uniform(-0.5, 0.5, at.size) for at in grid)  # type: ignore[return-value]


def measure(out: Interpolated, weight: np.ndarray, x: float, y: float) -> tuple[float, float, float]:
    """Flux in a large aperture, and centroid minus true place [arcsec]."""
    rows, columns = np.indices(out.data.shape)
    dx, dy = columns + out.box.x0 - x, rows + out.box.y0 - y
    light = np.where(np.hypot(dx, dy) <= APERTURE / MOSAIC_PIXEL, np.nan_to_num(out.data) * weight, 0)
    total = float(light.sum())
    return total, *(float((light * d).sum() / total * MOSAIC_PIXEL) for d in (dx, dy))


if __name__ == "__main__":
    compare()
    keep()
