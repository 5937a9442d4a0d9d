import numpy as np
import pytest
from pymopex.pointing import PointingParams, Positions, mean_position, plane, refine

NOISE = 0.05  # arcsec, of a position
SHIFT = 0.03  # arcsec, largest rms error of the recovered shifts: about 50 stars a frame, rotation free
TURN = 0.008  # deg, the same of the turns


class Sky:
    """Frames of the same stars, with pointing errors."""

    def __init__(self, n=12, seed=1, hits=8):
        rng = np.random.default_rng(seed)
        self.centres = rng.uniform(-60, 60, (n, 2))
        self.stars = rng.uniform(-220, 220, (160, 2))
        self.shift = rng.normal(0, 0.8, (n, 2))
        self.turn = rng.normal(0, 0.05, n)
        frame, places = [], []
        for i, centre in enumerate(self.centres):
            rel = self.stars - centre
            seen = (np.abs(rel) < 150).all(axis=1) & (rng.uniform(size=len(rel)) < 0.8)
            angle = np.radians(self.turn[i])
            # the frame says where the stars are before the correction
            at = self.stars[seen] - self.shift[i] - angle * np.stack([rel[seen, 1], -rel[seen, 0]], axis=1)
            wrong = centre + rng.uniform(-150, 150, (hits, 2))
            places += [at + rng.normal(0, NOISE, at.shape), wrong]
            frame += [i] * (len(at) + hits)
        self.places, self.frame = np.concatenate(places), np.array(frame)

    def found(self):
        return Positions(self.frame, *self.places.T, np.full(len(self.frame), NOISE))

    def reference(self):
        n = len(self.stars)
        return Positions(np.full(n, -1), *self.stars.T, np.full(n, 0.1))

    def errors(self, got):
        return np.stack([got.east, got.north], axis=1) - self.shift, got.turn - self.turn


def test_absolute_pointing_is_recovered():
    sky = Sky()
    got = refine(sky.found(), sky.centres, PointingParams(), sky.reference())
    shift, turn = sky.errors(got)
    assert np.sqrt(np.mean(shift**2)) < SHIFT
    assert np.sqrt(np.mean(turn**2)) < TURN
    assert np.abs(shift / got.error[:, :2]).max() < 5
    assert 0.5 < np.sqrt(np.mean((turn / got.error[:, 2]) ** 2)) < 1.5
    assert got.before > 5 * got.rms
    assert set(got.group) == {1}


def test_relative_pointing_is_recovered_up_to_what_is_common():
    sky = Sky()
    got = refine(sky.found(), sky.centres, PointingParams())
    shift, turn = sky.errors(got)
    common = np.radians(turn.mean())  # a turn of the whole field moves the frames besides
    rel = sky.centres - sky.centres.mean(axis=0)
    shift = shift - shift.mean(axis=0) - common * np.stack([rel[:, 1], -rel[:, 0]], axis=1)
    assert np.sqrt(np.mean(shift**2)) < SHIFT
    assert np.std(turn) < TURN
    assert got.rms < 1.2 * NOISE
    assert abs(got.east.mean()) < 0.05
    assert abs(got.turn.mean()) < 0.01


def test_without_rotation():
    sky = Sky()
    sky.turn[:] = 0
    got = refine(sky.found(), sky.centres, PointingParams(rotation=False), sky.reference())
    np.testing.assert_allclose(got.turn, 0, atol=1e-9)


def test_a_frame_without_stars_keeps_its_pointing():
    sky = Sky(n=6)
    sky.frame[sky.frame == 5] = 4
    got = refine(sky.found(), np.concatenate([sky.centres[:5], [[5000.0, 0]]]), PointingParams())
    assert got.matches[5] == 0
    assert (got.east[5], got.north[5], got.turn[5]) == (0, 0, 0)
    assert got.group[5] != got.group[0]


def test_groups_that_share_nothing_are_told():
    one, two = Sky(n=4, seed=1), Sky(n=4, seed=2)
    frame = np.concatenate([one.frame, two.frame + 4])
    places = np.concatenate([one.places, two.places + 5000])
    found = Positions(frame, *places.T, np.full(len(frame), NOISE))
    got = refine(found, np.concatenate([one.centres, two.centres + 5000]), PointingParams())
    assert got.group.tolist() == [1] * 4 + [2] * 4


def test_no_sources_at_all():
    nothing = np.zeros(0)
    got = refine(
        Positions(nothing.astype(int), nothing, nothing, nothing), np.zeros((2, 2)), PointingParams()
    )
    assert got.matches.tolist() == [0, 0]
    assert got.east.tolist() == [0, 0]


def test_plane():
    east, north = plane(np.array([10.0, 10.0, 9.999]), np.array([60.0, 60.001, 60.0]), 10.0, 60.0)
    np.testing.assert_allclose(north[:2], [0, 3.6], atol=1e-6)
    np.testing.assert_allclose(east, [0, 0, -1.8], atol=1e-4)
    assert mean_position([359.9, 0.1], [0.0, 0.0]) == pytest.approx((0.0, 0.0), abs=1e-9) or mean_position(
        [359.9, 0.1], [0.0, 0.0]
    ) == pytest.approx((360.0, 0.0))


def test_settings_are_checked():
    with pytest.raises(ValueError, match="must be positive"):
        PointingParams(radius=0)
