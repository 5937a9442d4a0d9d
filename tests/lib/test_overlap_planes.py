"""Slopes of the overlap correction: planes come back, and what differences cannot tell stays out."""

from itertools import combinations

import numpy as np
import pytest
from astropy.wcs import WCS
from pymopex.geometry import Box
from pymopex.overlap import OverlapParams, PairOptions, PairSums, detector_axes, pair_sums, solve_offsets
from pymopex.overlap_kernels import Parts

EXACT = 1e-7  # image unit; values of a stack have single precision
SIZE, STEP, SIGMA = 24, 14, 0.01  # pixels, pixels, image unit
STRIP_FRAMES, STRIP_STEP, STRIP_SIDE = 100, 90, 256  # frames, native pixels: 3 degrees of IRAC
FRAME_NOISE = 0.01  # MJy/sr, of a native pixel
RAMP = 1.5e-3  # MJy/sr, of a strip whose frames have slopes of 2e-3 over the array and offsets of 20e-3


def frame_axes(boxes, turns):
    """Axes of frames that are boxes of the mosaic, their detectors turned."""
    axes = []
    for box, turn in zip(boxes, turns, strict=True):
        c, s = np.cos(turn), np.sin(turn)
        turned = np.array([[c, s], [-s, c]])
        middle = np.array([box.x0 + (box.nx - 1) / 2, box.y0 + (box.ny - 1) / 2])
        axes.append(np.column_stack([-turned @ middle, turned]))
    return np.array(axes)


def planes_of(offsets, slopes, axes):
    return np.pad(offsets[:, None], ((0, 0), (0, 2))) + np.einsum("nk,nkj->nj", slopes, axes)


def tilted_frames(noise, seed, side=4):
    """A square grid of frames with offsets and slopes: parts, axes, and the planes that were added."""
    rng = np.random.default_rng(seed)
    boxes = [Box(STEP * x, STEP * y, SIZE, SIZE) for y in range(side) for x in range(side)]
    n = len(boxes)
    axes = frame_axes(boxes, rng.uniform(0, 6, n))
    offsets, slopes = rng.normal(0, 0.1, n), rng.normal(0, 0.02, (n, 2))
    planes = planes_of(offsets, slopes, axes)
    total = STEP * (side - 1) + SIZE
    y, x = np.indices((total, total))
    sky = rng.uniform(0, 1, (total, total))
    data = [
        (sky + p[0] + p[1] * x + p[2] * y)[box.slices] + rng.normal(0, noise, box.shape)
        for p, box in zip(planes, boxes, strict=True)
    ]
    ones = [np.ones(box.shape, "f4") for box in boxes]
    whole = Box(0, 0, total, total)
    return Parts.build(whole, boxes, data, ones, [SIGMA * one for one in ones]), axes, offsets, slopes


def sky_tilt(slopes, axes):
    """Mean slope along the axes of the mosaic."""
    return np.einsum("nk,nkj->nj", slopes, axes)[:, 1:].mean(axis=0)


def without_tilt(offsets, slopes, axes):
    """The same planes without the mean tilt of the sky and the mean level."""
    tilt = np.array([0, *sky_tilt(slopes, axes)])
    rows = axes[:, :, 1:]
    own = np.linalg.solve(np.swapaxes(rows, 1, 2), np.broadcast_to(tilt[1:, None], (len(axes), 2, 1)))[..., 0]
    middle = np.linalg.solve(rows, -axes[:, :, 0, None])[..., 0]
    left = offsets - middle @ tilt[1:]
    return left - left.mean(), slopes - own


FREE = OverlapParams(top=100, bottom=100, slope_damping=0)


@pytest.mark.parametrize("sparse", [False, True])
def test_planes_come_back(sparse):
    parts, axes, offsets, slopes = tilted_frames(0, 1)
    sums = pair_sums(parts, range(len(parts.start)), PairOptions(moments=True))
    how = OverlapParams(top=100, bottom=100, slope_damping=0, sparse=sparse)
    found = solve_offsets(len(parts.start), sums, how, axes)
    true, tilted = without_tilt(offsets, slopes, axes)
    assert found.offsets == pytest.approx(-true, abs=20 * EXACT)
    assert found.slopes == pytest.approx(-tilted, abs=10 * EXACT)
    assert sky_tilt(found.slopes, axes) == pytest.approx([0, 0], abs=EXACT)


def test_pixels_count_from_the_corner_of_the_mosaic():
    """A tile elsewhere gives the same planes."""
    parts, axes, *_ = tilted_frames(0, 1)
    here, there = (
        pair_sums(parts, range(len(parts.start)), PairOptions(moments=True, corner=corner))
        for corner in ((0, 0), (5000, 3000))
    )
    moved = axes.copy()
    moved[:, :, 0] -= axes[:, :, 1:] @ [5000, 3000]
    one, two = (
        solve_offsets(len(parts.start), sums, FREE, at) for sums, at in ((here, axes), (there, moved))
    )
    assert two.offsets == pytest.approx(one.offsets, abs=EXACT)
    assert two.slopes == pytest.approx(one.slopes, abs=EXACT)


def test_errors_are_those_of_the_overlap_areas():
    """Pulls over many realisations have unit width, for offsets and slopes."""
    offset_pulls, slope_pulls = [], []
    for seed in range(12):
        parts, axes, offsets, slopes = tilted_frames(SIGMA, seed)
        sums = pair_sums(parts, range(len(parts.start)), PairOptions(moments=True))
        found = solve_offsets(len(parts.start), sums, FREE, axes)
        true, tilted = without_tilt(offsets, slopes, axes)
        offset_pulls.append((found.offsets + true) / found.uncertainty)
        slope_pulls.append((found.slopes + tilted) / found.slope_uncertainty)
    assert np.std(offset_pulls) == pytest.approx(1, abs=0.15)
    assert np.std(slope_pulls) == pytest.approx(1, abs=0.15)


def test_clipping_goes_by_the_planes():
    """Slopes far above the noise cost no pixel once they are known; hits are left out."""
    parts, axes, offsets, slopes = tilted_frames(SIGMA, 3)
    everything = np.arange(len(parts.start))
    clean = pair_sums(parts, everything, PairOptions(moments=True))
    exact = planes_of(-offsets, -slopes, axes)
    clipped = pair_sums(parts, everything, PairOptions(moments=True, clip_sigma=6), before=exact)
    assert clipped.weight == pytest.approx(clean.weight)
    parts.value[::50] += 1
    hit = pair_sums(parts, everything, PairOptions(moments=True, clip_sigma=6), before=exact)
    assert (hit.weight < 0.999 * clean.weight).mean() > 0.9
    found, wanted = (solve_offsets(len(parts.start), sums, FREE, axes) for sums in (hit, clean))
    assert np.abs((found.offsets - wanted.offsets) / wanted.uncertainty).max() < 1
    with pytest.raises(ValueError, match="before has the shape"):
        pair_sums(parts, everything, before=exact[:, :2])


def strip(seed, slope_rms):
    """Pairs of the frames of a long strip, with the noise of their native pixels; axes, true offsets and slopes."""
    rng = np.random.default_rng(seed)
    boxes = [Box(STRIP_STEP * k, 0, STRIP_SIDE, STRIP_SIDE) for k in range(STRIP_FRAMES)]
    axes = frame_axes(boxes, np.zeros(STRIP_FRAMES))
    offsets = rng.normal(0, 0.02, STRIP_FRAMES)
    slopes = rng.normal(0, slope_rms / STRIP_SIDE, (STRIP_FRAMES, 2))
    planes = planes_of(offsets, slopes, axes)
    first, second, sums, steps = [], [], [], []
    for m, n in combinations(range(STRIP_FRAMES), 2):
        common = boxes[m].intersect(boxes[n])
        if common is None:
            continue
        x, y = np.meshgrid(np.arange(common.x0, common.x1), np.arange(common.y0, common.y1))
        basis = np.stack([np.ones(x.size), x.ravel(), y.ravel()])
        known = basis @ basis.T / (2 * FRAME_NOISE**2)
        noise = basis @ rng.normal(0, 1, x.size) / (np.sqrt(2) * FRAME_NOISE)
        first.append(m)
        second.append(n)
        sums.append(known)
        steps.append(known @ (planes[n] - planes[m]) + noise)
    sums, steps = np.array(sums), np.array(steps)
    moments = sums[:, [0, 0, 1, 1, 2], [1, 2, 1, 2, 2]]
    pairs = PairSums(np.array(first), np.array(second), sums[:, 0, 0], steps[:, 0], moments, steps[:, 1:])
    return pairs, axes, offsets, slopes


def ramp(values):
    """Rms of the cubic polynomial that runs through values along a strip."""
    x = np.linspace(-1, 1, len(values))
    return np.polynomial.Polynomial.fit(x, values, 3)(x).std()


def test_no_ramp_over_a_long_strip():
    """The damping keeps slopes from adding up to a bend of the sky along 3 degrees."""
    left = {}
    for damping in (None, 1e-9):
        how = OverlapParams(top=100, bottom=100, slope_damping=damping)
        ramps = []
        for seed in range(4):
            pairs, axes, offsets, slopes = strip(seed, 2e-3)
            found = solve_offsets(STRIP_FRAMES, pairs, how, axes)
            true, _ = without_tilt(offsets, slopes, axes)
            ramps.append(ramp(found.offsets + true))
        left[damping] = np.sqrt(np.mean(np.square(ramps)))
    assert left[None] < RAMP
    assert left[1e-9] > 2 * left[None]


def test_frames_without_slopes_stay_so():
    """Planes fitted to frames that have none make little more of a ramp than offsets alone."""
    pairs, axes, offsets, _ = strip(5, 0)
    flat = solve_offsets(STRIP_FRAMES, pairs, OverlapParams(top=100, bottom=100))
    found = solve_offsets(STRIP_FRAMES, pairs, OverlapParams(top=100, bottom=100), axes)
    assert found.slopes.std() * STRIP_SIDE < 0.5e-3
    assert ramp(found.offsets + offsets) < ramp(flat.offsets + offsets) + 0.3 * RAMP


def test_axes_of_a_frame():
    """A turned frame of half the pixel size, with its middle away from the reference."""
    mosaic, frame = WCS(naxis=2), WCS(naxis=2)
    for wcs, scale in ((mosaic, 1e-4), (frame, 2e-4)):
        wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
        wcs.wcs.crval = [10.0, 20.0]
        wcs.wcs.cdelt = [-scale, scale]
    mosaic.wcs.crpix, frame.wcs.crpix = [101.0, 201.0], [11.0, 16.0]
    c, s = np.cos(0.3), np.sin(0.3)
    frame.wcs.pc = [[c, -s], [s, c]]
    axes = detector_axes(frame, (40, 30), mosaic)
    x, y = frame.all_world2pix(*mosaic.all_pix2world(120.0, 230.0, 0), 0)
    assert axes @ [1, 120, 230] == pytest.approx([x - 14.5, y - 19.5], abs=1e-6)
