"""A satellite's trail, an asteroid and a saturated star: what the mosaic shows with the template as it is.

    python benchmarks/outlier_scenes.py FOLDER

Eight simulated frames of IRAC 1, coverage 6. One frame has the trail (30 sigma of a frame on its line), each has the
asteroid (400 sigma in all) 5 arcsec further east, and each a star of 20 times the light that saturates a pixel, with
bit 13 in the masks. Written is scenes.png: a frame, the mosaic without a search for outliers, and that of the template.
"""

import os
import sys
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from outlier_peers import NO_REJECTION, mosaic, names, read, run
from pymopex.geometry import frame_wcs
from pymopex.intruders import moving_source, trail
from pymopex.projection import sky_to_pixel
from pymopex.simulation import prf_lookup, simulation

SIDE = 96
FIELD = ("N_Frames=8", "Coverage=6", f"Array_Size={SIDE}", "Offset_Rms=0", "Brightest_Flux=3000")
CAMERA = simulation("I1", array_size=SIDE)
SATURATED = 1 << 13
TRAIL, PEAK = 3, 30.0  # frame; sigma
ASTEROID, STEP = 400.0, 5.0  # sigma; arcsec from frame to frame
STAR, FLUX = (150.004, 2.006), 20.0  # deg; levels of saturation


def source(header: fits.Header, place: tuple[float, float], amplitude: float) -> np.ndarray:
    x, y = sky_to_pixel(frame_wcs(header), *(np.array([at]) for at in place))
    return moving_source((SIDE, SIDE), (x, y), amplitude, prf_lookup(CAMERA))


def spoil(number: int, image: str, sigma: str, mask: str) -> None:
    """Add the light to a frame, in place."""
    data, header = fits.getdata(image, header=True)
    noise = float(np.nanmedian(fits.getdata(sigma)))
    data = data + source(header, (150.0 + (number - 3.5) * STEP / 3600, 2.0), ASTEROID * noise)
    data += source(header, STAR, FLUX * CAMERA.saturation)
    if number == TRAIL:
        data += trail(data.shape, (7, 80), (88, 15), peak=PEAK * noise)
    bits, mask_header = fits.getdata(mask, header=True)
    bits[data > CAMERA.saturation] |= SATURATED
    fits.writeto(image, np.minimum(data, CAMERA.saturation).astype("f4"), header, overwrite=True)
    fits.writeto(mask, bits, mask_header, overwrite=True)


def picture(folder: Path, frame: str) -> Path:
    panels = [("one frame", read(Path(frame)))]
    for title, out in (("mosaic, nothing rejected", "kept"), ("mosaic of the template", "out")):
        panels.append((title, read(folder / out / "Combine-mosaic/mosaic.fits")))
    low, high = np.nanpercentile(panels[-1][1], (1, 98))
    figure, axes = plt.subplots(1, 3, figsize=(13.5, 4.4), layout="constrained")
    for place, (title, image) in zip(axes, panels, strict=True):
        place.imshow(
            image,
            origin="lower",
            vmin=low,
            vmax=high + 0.3 * (high - low),
            cmap="gray",
            interpolation="nearest",
        )
        place.set_title(title)
        place.set_axis_off()
    figure.savefig(folder / "scenes.png", dpi=80)
    return folder / "scenes.png"


def main() -> None:
    folder = Path(sys.argv[1]).resolve()
    folder.mkdir(parents=True, exist_ok=True)
    run(folder, "mopex", "simulate", "OUTPUT_DIR=sim", *FIELD)
    lists = (names(folder, kind) for kind in ("images", "sigmas", "masks"))
    for number, files in enumerate(zip(*lists, strict=True)):
        spoil(number, *files)
    mosaic(folder, "sim/images.txt", "out")
    mosaic(folder, "sim/images.txt", "kept", *NO_REJECTION)
    path = picture(folder, names(folder, "images")[TRAIL])
    print(f"{path}: {os.path.getsize(path) / 1000:.0f} kB")


if __name__ == "__main__":
    main()
