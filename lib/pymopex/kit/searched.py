"""The images that are searched for sources, the co-added tiles or one image, and the pixels that tables count."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from pymopex.kit.images import FrameFiles, read_header

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from astropy.wcs import WCS

    from pymopex.geometry import Box
    from pymopex.kit.task import Run


@dataclass(frozen=True)
class Searched:
    """One image that is searched: its number from 1, place, files, and noise and coverage ('' where there is none)."""

    number: int
    box: Box
    files: FrameFiles
    noise: str
    coverage: str


def searched(run: Run) -> list[Searched]:
    """Give the images that are searched: the co-added tiles, or the one image of a single-frame run."""
    from pymopex.geometry import Box
    from pymopex.kit.layers import coadd_tiles

    if not run.single:
        return [
            Searched(
                number,
                box,
                FrameFiles(number - 1, path),
                noise_tile(run, number),
                run.path("coadd_cov", tile=number),
            )
            for number, (box, path) in enumerate(coadd_tiles(run, "image"), 1)
        ]
    (files,) = run.frames()
    header, keys = read_header(files.image), run.globals
    noise = files.sigma if keys.use_unc_to_detect or keys.use_std_to_detect else ""
    return [Searched(1, Box(0, 0, header["NAXIS1"], header["NAXIS2"]), files, noise, keys.COVERAGE_MAP)]


@dataclass(frozen=True)
class Area:
    """A tile, the area worked on for it, which has a margin round it, and the images that cover the area."""

    tile: Box
    area: Box
    near: tuple[Searched, ...]

    def paths(self, path: Callable[[Searched], str]) -> tuple[tuple[Box, str], ...]:
        """Give the place and the path of one image of each tile; those without a path are left out."""
        found = ((tile.box, path(tile)) for tile in self.near)
        return tuple(pair for pair in found if pair[1])

    def read(self, paths: tuple[tuple[Box, str], ...]) -> np.ndarray:
        """Read the area; NaN where no image is."""
        from pymopex.kit.layers import read_mosaic_part

        return read_mosaic_part(list(paths), self.area)

    def cut(self, image: np.ndarray) -> np.ndarray:
        """Cut the tile out of an image of the area."""
        return image[self.tile.within(self.area)]


def area_of(tile: Searched, tiles: list[Searched], margin: int) -> Area:
    """Give the area of a tile with some pixels of its neighbours, so that its border is no border."""
    from pymopex.geometry import Box
    from pymopex.tile_merge import grown

    mosaic = Box(0, 0, max(other.box.x1 for other in tiles), max(other.box.y1 for other in tiles))
    area = grown(tile.box, margin, mosaic)
    return Area(tile.box, area, tuple(other for other in tiles if other.box.intersect(area)))


def noise_tile(run: Run, number: int) -> str:
    """Give the path of a tile's noise: uncertainty, standard deviation, or '' to measure it in the image.

    Notes
    -----
    With both switches on, the uncertainty tiles win; a tile that was not made counts as switched off. A single-frame
    run has one uncertainty image, which either switch takes.
    """
    keys = run.globals
    for wanted, product in ((keys.use_unc_to_detect, "coadd_unc"), (keys.use_std_to_detect, "coadd_std")):
        path = run.path(product, tile=number)
        if wanted and os.path.exists(path):
            return path
    return ""


def image_of_mosaic(run: Run) -> tuple[str, str]:
    """Give the image that apertures are put on, and its uncertainty ('' if there is none)."""
    if run.single:
        (files,) = run.frames()
        return files.image, files.sigma
    sigma = run.path("mosaic_unc")
    return run.existing("mosaic"), sigma if os.path.exists(sigma) else ""


@dataclass(frozen=True, eq=False)
class PixelGrid:
    """The pixels, from 1, that x and y of the tables count: those of the mosaic, or of the one image.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        World coordinates, with distortion.
    shape : (ny, nx)
        Size.
    side : float
        Side of a pixel in the middle [deg].
    """

    wcs: WCS
    shape: tuple[int, int]
    side: float

    def to_sky(self, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Right ascension and declination [deg] of pixels."""
        from pymopex.projection import pixel_to_sky, rotate_sky, sky_system

        if not len(x):
            return x, y
        return rotate_sky(*pixel_to_sky(self.wcs, x - 1, y - 1), sky_system(self.wcs), "J2000")

    def to_pixels(self, ra: np.ndarray, dec: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pixels of positions [deg]; NaN where the projection has none."""
        from pymopex.projection import rotate_sky, sky_system, sky_to_pixel

        if not len(ra):
            return ra, dec
        x, y = sky_to_pixel(self.wcs, *rotate_sky(ra, dec, "J2000", sky_system(self.wcs)))
        return x + 1, y + 1


def pixel_grid(run: Run) -> PixelGrid:
    """Give the pixels that the tables of a run count."""
    import numpy as np

    if run.single:
        return image_grid(run.frames()[0].image, refined=run.globals.USE_REFINED_POINTING)
    frame = run.fiducial("mosaic_fif" if os.path.exists(run.path("mosaic_fif")) else "fif")
    return PixelGrid(frame.wcs(), frame.shape, float(np.sqrt(abs(frame.cdelt1 * frame.cdelt2))))


def image_grid(path: str, *, refined: bool) -> PixelGrid:
    """Give the pixels of an image."""
    import numpy as np

    from pymopex.geometry import frame_wcs, pixel_solid_angle

    header = read_header(path)
    nx, ny = header["NAXIS1"], header["NAXIS2"]
    wcs = frame_wcs(header, refined=refined)
    omega = pixel_solid_angle(wcs, np.array([(nx - 1) / 2]), np.array([(ny - 1) / 2]))
    return PixelGrid(wcs, (ny, nx), float(np.degrees(np.sqrt(omega[0]))))
