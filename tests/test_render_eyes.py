"""Eyes: the iris goes where the gaze says, lids hide it, nothing spills beyond them."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.render.decoder import Decoder
from avatar.render.eyes import eye_frames
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
