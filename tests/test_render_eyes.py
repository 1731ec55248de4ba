"""Eyes: the iris goes where the gaze says, lids hide it, nothing spills beyond them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.decoder import Decoder
from avatar.render.eyes import eye_frames, eyes_seen
from avatar.render.warp_mesh import to_frame
from avatar.rig.types import FittedRig
from tests.render_samples import decoder, identity, motion

SIZE = 512


def eye_box(rig: FittedRig, eye: int) -> tuple[slice, slice]:
    ring = rig.rest_V3[rig.eye_ring_2E[eye], :2]
    (x0, y0), (x1, y1) = ring.min(0) - 3, ring.max(0) + 3
    return slice(int(y0), int(y1) + 1), slice(int(x0), int(x1) + 1)


def dark_middle(picture: NDArray[np.uint8], box: tuple[slice, slice]) -> NDArray[np.float64]:
    """Centroid (x, y) of the darkest twentieth of the eye: the pupil."""
    luma = picture[box].astype(float).mean(-1)
    luma = luma[4:-4, 8:-8]
    y, x = np.nonzero(luma <= np.quantile(luma, 0.05))
    return np.array([x.mean(), y.mean()])


@pytest.mark.parametrize("eye", [0, 1])
def test_the_pupil_follows_the_gaze(eye: int) -> None:
    draw = decoder(SIZE)
    box = eye_box(draw.rig, eye)
    left = dark_middle(draw.render(motion(gazeAzimuth=-0.3)), box)
    right = dark_middle(draw.render(motion(gazeAzimuth=0.3)), box)
    expected = 2 * np.sin(0.3) * draw.rig.eyes.ball_radius_2[eye]
    assert right[0] - left[0] == pytest.approx(expected, rel=0.5)


def test_the_iris_is_where_the_rig_puts_it() -> None:
    draw = decoder(SIZE)
    for turn in (motion(), motion(headYaw=0.2, gazeAzimuth=-0.2), motion(headRoll=0.15, gazeElevation=0.15)):
        face = draw.rig.deform(turn)
        frames = eye_frames(draw.rig, face, 1.0)
        for eye in range(2):
            # the direction to the posed iris centre leads back to the iris of the portrait
            direction = (face.iris_centre_23[eye] - face.ball_centre_23[eye]) / face.ball_radius_2[eye]
            rows = frames[eye, 8:14].reshape(2, 3)
            found = frames[eye, 6:8] + frames[eye, 15] * (rows @ direction)
            assert np.abs(found - draw.rig.eyes.iris_centre_23[eye, :2]).max() < 0.1


@pytest.mark.parametrize("eye", [0, 1])
def test_a_blink_hides_the_white(eye: int) -> None:
    draw = decoder(SIZE)
    box = eye_box(draw.rig, eye)
    open_eye, shut = draw.render(motion()), draw.render(motion(eyeBlink=1.0))

    def whites(picture: NDArray[np.uint8]) -> int:
        colours = picture[box].astype(int)
        return int(((colours.min(-1) > 150) & (np.ptp(colours, axis=-1) < 40)).sum())

    assert whites(open_eye) > 40
    assert whites(shut) <= 0.1 * whites(open_eye)


def test_gaze_changes_nothing_but_the_eyes() -> None:
    draw = decoder(SIZE)
    change = np.abs(draw.render(motion(gazeAzimuth=0.3)).astype(int) - draw.render(motion()).astype(int)).max(-1)
    for eye in range(2):
        assert change[eye_box(draw.rig, eye)].max() > 30
        change[eye_box(draw.rig, eye)] = 0
    assert change.max() == 0


def test_an_eye_outside_the_frame_is_no_trouble() -> None:
    small = Decoder(identity(), size=128)
    for shift in (-0.25, 0.25):
        assert small.render(motion(headX=shift, headY=shift, headLogScale=0.25, headYaw=shift)).any()


gazes = st.tuples(st.floats(-20, 20), st.floats(-12, 12), st.floats(-15, 15), st.floats(-10, 10))
"""Degrees: gaze azimuth and elevation, head yaw and pitch."""


def looking(gaze: tuple[float, float, float, float], blink: float, **channels: float) -> NDArray[np.float32]:
    azimuth, elevation, yaw, pitch = np.radians(gaze).tolist()
    return motion(
        gazeAzimuth=azimuth, gazeElevation=elevation, headYaw=yaw, headPitch=pitch, eyeBlink=blink, **channels
    )


@settings(max_examples=25, deadline=None)
@given(gaze=gazes, squint=st.floats(0, 1), wide=st.floats(0, 1), size=st.sampled_from([256, 512]))
def test_a_blink_hides_more_and_more_and_then_all_of_the_eye(
    gaze: tuple[float, float, float, float], squint: float, wide: float, size: int
) -> None:
    draw = decoder(size)
    scale = size / draw.rig.size
    before = np.full(2, np.inf)
    for blink in np.linspace(0.0, 1.0, 7):
        face = draw.rig.deform(looking(gaze, float(blink), eyeSquint=squint, eyeWide=wide))
        seen = eyes_seen(draw._layers, draw.rig, face, to_frame(face.skin_V3, scale), scale, size).sum(1)
        assert np.isfinite(seen).all()
        # whole px of a small eye: a px on the lid's edge may round up once
        assert (seen <= before + 0.5).all()
        before = seen
    assert (before == 0.0).all()


@settings(max_examples=12, deadline=None)
@given(gaze=gazes, turned=st.floats(-20, 20), blink=st.floats(0, 1))
def test_nothing_of_an_eye_lies_outside_its_lids(
    gaze: tuple[float, float, float, float], turned: float, blink: float
) -> None:
    """What changes when only the eye turns is what shows of it: all inside the lids' outline."""
    draw = decoder(SIZE)
    gaze = (*gaze[:3], 0.0)  # on a level head: lids follow the eye's way up and down in the head
    first = draw.render(looking(gaze, blink)).astype(int)
    second = draw.render(looking((turned, *gaze[1:]), blink)).astype(int)
    changed = np.abs(second - first).max(-1) > 0
    skin = draw.rig.deform(looking(gaze, blink)).skin_V3
    for ring in draw.rig.eye_ring_2E:
        cover = np.empty((SIZE, SIZE), np.float32)
        raster.coverage(np.ascontiguousarray(skin[ring, :2]), 0, 0, cover)
        changed &= cover == 0.0
    assert not changed.any()


@pytest.mark.parametrize("eye", [0, 1])
def test_a_closed_eye_has_a_dark_fringe_under_its_lid(eye: int) -> None:
    draw = decoder(SIZE)
    face = draw.rig.deform(motion(eyeBlink=1.0))
    luma = draw.render(motion(eyeBlink=1.0)).astype(float).mean(-1)
    lid = face.skin_V3[draw.rig.lid_upper_2L[eye][4:-4], :2]
    reach = draw.rig.eyes.iris_radius_2[eye]

    def along(shift: float) -> float:
        return float(np.mean([luma[round(y + shift * reach), round(x)] for x, y in lid]))

    assert along(0.03) < 0.7 * along(-0.8)
    assert along(0.03) < 0.7 * along(1.0)


@pytest.mark.parametrize("name", ["sclera_2SS3", "iris_2SS4", "glint_2SS3", "lash_24", "lid_skin_2L4", "lid_soft_2"])
def test_what_eyes_are_painted_from_is_finite_and_in_range(name: str) -> None:
    values = getattr(decoder(SIZE)._layers, name)
    assert np.isfinite(values).all()
    assert values.min() >= 0
    assert values.max() <= 256
