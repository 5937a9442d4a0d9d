"""The modules against artifacts on the frames of an archive request: what they change, with pictures.

    python benchmarks/artifacts.py FOLDER_OF_FRAMES OUT [NUMBER_OF_FRAMES]

The folder holds *_cbcd.fits, *_cbunc.fits and *_bimsk.fits of one exposure time. Pull-down, jailbars, latents and
residual background are mitigated by ``artifacts.sh`` in OUT; figures are printed, and pictures are written there.
"""

import sys
from pathlib import Path

import numpy as np
from astropy.io import fits
from pymopex.artifacts import LineSettings, column_offsets, nan_median, objects
from pymopex.kit.cli import main
from pymopex.kit.ipac import read_table
from pymopex.kit.mitigation import Trigger

STAGES = ("pulldown", "jailbars", "background")
SWITCHES = ("run_fix_pulldown=1", "run_fix_jailbars=1", "run_flag_latents=1", "run_fix_background=1")
COUNTS = 30000.0  # DN


def lists(folder, out, number):
    """Write the lists of the frames of the commonest exposure time; gives the names."""
    images = sorted(Path(folder).glob("*_cbcd.fits"))
    times = [fits.getheader(path)["EXPTIME"] for path in images]
    usual = max(set(times), key=times.count)
    images = [path for path, time in zip(images, times, strict=True) if time == usual][:number]
    for name, ending in (("images", "cbcd"), ("sigmas", "cbunc"), ("masks", "bimsk")):
        paths = [str(path).replace("_cbcd", f"_{ending}") for path in images]
        (out / f"{name}.txt").write_text("".join(f"{path}\n" for path in paths))
    return [str(path) for path in images]


def mitigate(out):
    """Run the driver in a folder."""
    words = [f"{key}={out}/{name}.txt" for key, name in _LISTS]
    (out / "artifacts.nl").write_text("###-Meta-Data-###:Flow=artifacts\n&PULLDOWN\n&END\n")
    fatal = "DCE_Status_Mask_Fatal_BitPattern=16640"  # bad and not flat-fielded
    status = main(
        ["drive", "artifacts", "-n", f"{out}/artifacts.nl", *words, "-O", str(out), fatal, *SWITCHES]
    )
    if status:
        sys.exit(status)


_LISTS = (
    ("IMAGE_STACK_FILE_NAME", "images"),
    ("SIGMALIST_FILE_NAME", "sigmas"),
    ("DCE_STATUS_MASK_LIST", "masks"),
)


def frame(path, original):
    """Read a frame, its bad pixels and what triggers pull-down in the original."""
    data, header = fits.getdata(path, header=True)
    mask = fits.getdata(original.replace("_cbcd", "_bimsk")).astype(int)
    level = Trigger(None, COUNTS).of(path, header)
    lit = (np.nan_to_num(fits.getdata(original)) >= level) | ((mask & 1 << 13) > 0)
    return data.astype(float), ((mask & (1 << 14 | 1 << 8)) > 0) | ~np.isfinite(data), lit


def column_levels(data, bad, lit):
    """Give the median offsets of the halves of columns with triggers from their neighbours."""
    found = []
    values = np.where(bad | objects(data, bad, threshold=5), np.nan, data)
    columns = np.nonzero(lit.any(axis=0))[0]
    others = np.nonzero(~lit.any(axis=0))[0]
    for c in columns:
        near = others[np.argsort(np.abs(others - c))[:16]]
        d = values[:, c] - nan_median(values[:, near], axis=1)
        rows = np.nonzero(lit[:, c])[0]
        for part in (d[: max(rows[0] - 15, 0)], d[rows[-1] + 16 :]):
            if np.isfinite(part).sum() > 30:
                found.append(np.nanmedian(part))
    return found


def pattern(paths, images):
    """Give the median of frames on the detector, each without its objects and level."""
    stack = []
    for path, original in zip(paths, images, strict=True):
        data, bad, _ = frame(path, original)
        out = bad | objects(data, bad, grow=3)
        stack.append(np.where(out, np.nan, data - np.median(data[~out])))
    return nan_median(np.array(stack), axis=0)


def panels(path, images, titles, scale):
    """Write a row of pictures in one scale."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from PIL import Image

    figure, axes = pyplot.subplots(1, len(images), figsize=(3.3 * len(images), 3.5), constrained_layout=True)
    for axis, image, title, (low, high) in zip(axes, images, titles, scale, strict=True):
        axis.imshow(image, origin="lower", cmap="gray", vmin=low, vmax=high, interpolation="nearest")
        axis.set_title(title, fontsize=9)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(path, dpi=80)
    pyplot.close(figure)
    Image.open(path).convert("L").quantize(24).save(path, optimize=True)


def report(out, images):
    """Print figures and write pictures."""
    stage = {name: [str(out / "Artifacts" / name / Path(p).name) for p in images] for name in STAGES}
    for name in (*STAGES, "latents"):
        table = read_table(str(out / "Artifacts" / f"{name}.tbl"))
        changed = int((table.column("corrected") > 0).sum())
        print(
            f"{name}: {changed} of {len(table)} frames changed, median rms {np.median(table.column('rms')):.4f} MJy/sr"
        )
    before, after, noise = [], [], []
    for i in range(0, len(images), 3):
        data, bad, lit = frame(images[i], images[i])
        before += column_levels(data, bad, lit)
        after += column_levels(frame(stage["pulldown"][i], images[i])[0], bad, lit)
        out_of = bad | objects(data, bad)
        noise.append(1.4826 * np.median(np.abs(data[~out_of] - np.median(data[~out_of]))))
    before, after = np.abs(before), np.abs(after)
    print(f"noise of a pixel {np.median(noise):.4f} MJy/sr")
    for q in (50, 90):
        old, new = np.percentile(before, q), np.percentile(after, q)
        print(f"offset of halves of columns, {q} %: {old:.4f} -> {new:.4f} MJy/sr")
    first, last = pattern(images, images), pattern(stage["background"], images)
    for name, image in (("before", first), ("after", last)):
        boxes = nan_median(image.reshape(16, 16, 16, 16).transpose(0, 2, 1, 3).reshape(256, 256), axis=1)
        print(f"residual background {name}: rms of boxes of 16 pixels {np.nanstd(boxes):.4f} MJy/sr")
    table = read_table(str(out / "Artifacts" / "pulldown.tbl"))
    worst = int(np.argmax(table.column("rms")))
    data, bad, lit = frame(images[worst], images[worst])
    fixed = frame(stage["pulldown"][worst], images[worst])[0]
    level, sigma = np.nanmedian(data), np.median(noise)
    span = (level - 4 * sigma, level + 12 * sigma)
    titles = (f"frame {worst + 1}", "without pull-down", "what was added")
    panels(out / "pulldown.png", (data, fixed, fixed - data), titles, (span, span, (-2 * sigma, 8 * sigma)))
    span = (-1.2 * sigma, 1.2 * sigma)
    titles = ("median of the frames", "after all modules")
    panels(out / "background.png", (first, last), titles, (span, span))
    found = column_offsets(data, bad, lit, LineSettings())
    print(f"frame {worst + 1}: {found.count} sides of columns")


if __name__ == "__main__":
    target = Path(sys.argv[2])
    target.mkdir(parents=True, exist_ok=True)
    names = lists(sys.argv[1], target, int(sys.argv[3]) if len(sys.argv) > 3 else None)
    if not (target / "Artifacts" / "background.tbl").exists():
        mitigate(target)
    report(target, names)
