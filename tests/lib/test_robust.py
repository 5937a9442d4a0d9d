"""Pixels of hits that no mask holds: dropped from the fit at faint and at bright stars, and good pixels kept."""

import numpy as np
import pytest
from pymopex.fit_data import FrameImage, gather_frame, join_frames
from pymopex.fitting import FitSettings, fit_group
from pymopex.prf import PRF, prf_table
from pymopex.robust import fit_without_hits

N_FRAMES = 6
SIZE, BOX = 21, 7  # pixels
NOISE = 1.0  # image unit
SIGMA = 4.5
SAMPLING = 10
FLUX_TOLERANCE = 3.0  # sigma of the fit, beside that without hits


def gaussian(width):
    at = np.arange(-12 * SAMPLING, 12 * SAMPLING + 1) / SAMPLING
    part = np.exp(-0.5 * (at / width) ** 2) / (width * np.sqrt(2 * np.pi))
    return PRF(np.outer(part, part), SAMPLING, SAMPLING)


TABLE = prf_table([gaussian(0.75)])
SETTINGS = FitSettings(background=True)
PLACES = 10 + np.random.default_rng(5).uniform(-0.5, 0.5, (N_FRAMES, 2))


def frames(flux, seed=1, width=0.75, other=(0.0, 0.0, 0.0)):
    """Images of a star, and of another one at some distance [pixel], with the noise of their photons."""
    random = np.random.default_rng(seed)
    table = prf_table([gaussian(width)])
    y, x = np.indices((SIZE, SIZE))
    images = []
    for x0, y0 in PLACES:
        model = flux * table.evaluate(x - x0, y - y0)[0]
        model += other[2] * table.evaluate(x - x0 - other[0], y - y0 - other[1])[0]
        sigma = np.sqrt(NOISE**2 + 0.02 * model)
        data = model + sigma * random.standard_normal(model.shape)
        images.append((data.astype("f4"), sigma.astype("f4")))
    return images


def group_of(images):
    x, y = PLACES[:, :1], PLACES[:, 1:]
    bad = np.zeros((SIZE, SIZE), bool)
    pixels = [
        gather_frame(FrameImage(*image, bad), a, b, BOX, BOX)
        for image, a, b in zip(images, x, y, strict=True)
    ]
    jacobian = np.broadcast_to(np.eye(2), (N_FRAMES, 1, 2, 2))
    return join_frames(
        pixels, x, y, jacobian, np.ones((N_FRAMES, 1)), np.zeros((N_FRAMES, 1), int), (BOX, BOX)
    )


def fitted(images, sigma=SIGMA):
    return fit_without_hits(group_of(images), TABLE, SETTINGS, sigma)


@pytest.mark.parametrize("flux", [30.0, 1000.0, 30000.0])
@pytest.mark.parametrize("charge", [8.0, 30.0, 1000.0])
def test_a_hit_in_the_core_is_dropped(flux, charge):
    clean, hurt = frames(flux), frames(flux)
    x, y = np.rint(PLACES[2]).astype(int)
    hurt[2][0][y, x] += charge * hurt[2][1][y, x]
    hurt[2][0][y, x + 1] += 0.5 * charge * hurt[2][1][y, x + 1]
    truth = fitted(clean)[0].sources[0]
    found, group, dropped = fitted(hurt)
    source = found.sources[0]
    error = np.sqrt(truth.covariance[2, 2])
    assert dropped >= 1
    assert abs(source.flux - truth.flux) < FLUX_TOLERANCE * error / 2
    assert group.value.size == group_of(hurt).value.size - dropped
    if charge > 8:
        plain = fit_group(group_of(hurt), TABLE, SETTINGS).sources[0]
        assert abs(plain.flux - truth.flux) > FLUX_TOLERANCE * error


def test_noise_alone_loses_nothing():
    dropped = [fitted(frames(flux, seed))[2] for seed in range(10) for flux in (30.0, 3000.0)]
    assert sum(dropped) <= 2


def test_an_imperfect_prf_loses_no_core():
    for seed in range(5):
        assert fitted(frames(30000.0, seed, width=0.78))[2] <= 3  # of 294; the peak is wrong by 8 per cent


def test_a_neighbour_in_all_frames_is_no_hit():
    """A star that is not in the group: its pixels are off in every frame."""
    dropped = [fitted(frames(500.0, seed, other=(2.2, 1.1, 200.0)))[2] for seed in range(5)]
    assert max(dropped) <= 3


def test_few_frames_and_zero_sigma_keep_all():
    images = frames(1000.0)
    images[0][0][10, 10] += 1e4
    assert fitted(images, 0.0)[2] == 0
    group = group_of(images)
    few = group._replace(
        **{
            n: getattr(group, n)[:2]
            for n in ("rx", "ry", "jacobian", "scale", "prf", "mix", "box_x", "box_y")
        },
        first=group.first[:3],
        **{n: getattr(group, n)[: group.first[2]] for n in ("value", "weight", "px", "py")},
    )
    assert fit_without_hits(few, TABLE, SETTINGS, SIGMA)[2] == 0


def test_a_fifth_of_the_pixels_is_too_much():
    images = frames(100.0)
    for data, _ in images:
        data[::2] += 1000
    _, group, dropped = fitted(images)
    assert dropped == 0
    assert group.value.size == N_FRAMES * BOX * BOX


def test_where_keeps_frames_without_pixels():
    group = group_of(frames(100.0))
    keep = np.ones(group.value.size, bool)
    keep[: group.first[1]] = False
    part = group.where(keep)
    assert part.first.tolist() == [0, 0, *(group.first[2:] - group.first[1])]
    assert part.value == pytest.approx(group.value[keep])
