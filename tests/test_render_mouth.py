"""The mouth's inside: unseen when closed, teeth and dark when open, lit through the opening."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.render.decoder import Decoder
from avatar.render.images import LUMA
from avatar.render.mouth import shade_vertices
from avatar.render.mouth_light import lips_plane, rounded_light
from tests.render_samples import decoder, motion

SIZE = 512


def mouth_box(draw: Decoder, motion_D: NDArray[np.float32]) -> tuple[slice, slice]:
    ring = draw.rig.deform(motion_D).skin_V3[draw.rig.mouth_ring_M, :2]
    (x0, y0), (x1, y1) = np.floor(ring.min(0)).astype(int), np.ceil(ring.max(0)).astype(int) + 1
    return slice(y0, y1), slice(x0, x1)


def without_mouth(motion_D: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch) -> NDArray[np.uint8]:
    with monkeypatch.context() as patch:
        patch.setattr("avatar.render.decoder.draw_mouth", lambda *_: False)
        return decoder(SIZE).render(motion_D)


@pytest.mark.parametrize(
    "closed",
    [
        motion(),
        motion(mouthPress=1.0),
        motion(jawOpen=0.4, mouthClose=0.4),
        motion(mouthSmile=0.8, mouthPress=0.9),
        motion(headYaw=0.26, mouthPress=0.9),
    ],
)
def test_a_closed_mouth_shows_nothing_of_its_inside(
    closed: NDArray[np.float32], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert np.array_equal(decoder(SIZE).render(closed), without_mouth(closed, monkeypatch))


def test_an_open_mouth_is_dark_behind_and_has_teeth() -> None:
    wide = motion(jawOpen=0.5, mouthUpperUp=0.3, mouthLowerDown=0.3)
    draw = decoder(SIZE)
    inside = draw.render(wide)[mouth_box(draw, wide)].astype(float)
    luma = inside.mean(-1)
    skin = draw.render(motion())[mouth_box(draw, motion())].astype(float).mean()
    assert np.quantile(luma, 0.1) < 0.45 * skin
    assert luma.min() > 3.0  # dark, not black
    teeth = (inside.min(-1) > 110) & (np.ptp(inside, axis=-1) < 60)
    assert teeth.sum() > 20


def test_rounded_lips_shade_the_upper_teeth() -> None:
    draw = decoder(SIZE)

    def brightest(yaw: float, **channels: float) -> float:
        pose = motion(headYaw=yaw, **channels)
        ring = draw.rig.deform(pose).skin_V3[draw.rig.mouth_ring_M, :2]
        inside = np.zeros((SIZE, SIZE), np.uint8)
        cv2.fillPoly(inside, [np.rint(ring).astype(np.int32)], 1)
        seen = cv2.erode(inside, np.ones((5, 5), np.uint8)) > 0
        return float(np.quantile(draw.render(pose)[seen] @ LUMA, 0.97))

    for yaw in (-0.26, 0.0, 0.26):
        spread = brightest(yaw, jawOpen=0.2, mouthStretch=0.4, mouthUpperUp=0.3)
        rounded = brightest(yaw, jawOpen=0.25, mouthPucker=0.7, mouthFunnel=0.4, mouthUpperUp=0.3)
        assert rounded < 0.75 * spread
    light = [rounded_light(behind, 0.0, 200.0) for behind in range(-20, 20)]
    assert all(b <= a for a, b in pairwise(light)) and light[0] == 1.0 and light[-1] < 0.5
    assert rounded_light(10.0, 0.5, 200.0) > rounded_light(10.0, 0.0, 200.0)  # side teeth lie deeper anyway


def test_the_inside_stays_between_the_lips(monkeypatch: pytest.MonkeyPatch) -> None:
    wide = motion(jawOpen=0.5)
    draw = decoder(SIZE)
    change = np.abs(draw.render(wide).astype(int) - without_mouth(wide, monkeypatch).astype(int)).max(-1)
    assert change[mouth_box(draw, wide)].max() > 60
    change[mouth_box(draw, wide)] = 0
    assert change.max() == 0


def test_opening_is_gradual() -> None:
    """No pop: between neighbouring openings no picture jumps."""
    draw = decoder(SIZE)
    pictures = [draw.render(motion(jawOpen=float(share))).astype(int) for share in np.linspace(0.0, 0.3, 31)]
    box = mouth_box(draw, motion(jawOpen=0.3))
    steps = [np.abs(b[box] - a[box]).mean() for a, b in pairwise(pictures)]
    assert max(steps) < 14.0
    assert max(steps) < 4.0 * float(np.median(steps)) + 2.0


OPEN = {
    "AA": {"jawOpen": 0.42, "mouthLowerDown": 0.2, "mouthUpperUp": 0.15},
    "EE": {"jawOpen": 0.15, "mouthStretch": 0.4, "mouthSmile": 0.3, "mouthUpperUp": 0.25, "mouthLowerDown": 0.3},
    "smile": {"jawOpen": 0.1, "mouthSmile": 0.8, "mouthUpperUp": 0.3},
    "OO": {"jawOpen": 0.2, "mouthPucker": 0.7, "mouthFunnel": 0.4},
}


@pytest.mark.parametrize("yaw", [-0.26, 0.0, 0.26])
@pytest.mark.parametrize("name", list(OPEN))
def test_corners_go_from_lip_to_dark_red_and_are_never_black_or_grey(name: str, yaw: float) -> None:
    draw = decoder(SIZE)
    motion_D = motion(headYaw=yaw, **OPEN[name])
    picture = draw.render(motion_D).astype(np.float32)
    ring = draw.rig.deform(motion_D).skin_V3[draw.rig.mouth_ring_M, :2]
    corners = corner_pixels(picture, ring)
    assert len(corners) > 4
    tones = draw._layers.mouth_tone_43
    lips = draw._layers.lip_M3
    luma = corners @ LUMA
    darkest = 0.9 * min(float(tones[2] @ LUMA), float(tones[3] @ LUMA))
    assert luma.min() > darkest  # between the mouth's dark ...
    assert luma.max() < 1.15 * float((lips @ LUMA).max())  # ... and the lips
    assert (corners[:, 0] > 1.2 * corners[:, 1]).all() and (corners[:, 0] > 1.2 * corners[:, 2]).all()


def corner_pixels(picture: NDArray[np.float32], ring_M2: NDArray[np.float32]) -> NDArray[np.float32]:
    """Colours of the pixels inside an opening within a tenth of its width from either corner, [N, 3]."""
    inside = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(ring_M2 * 16).astype(np.int32)], 1, shift=4)
    y, x = np.nonzero(inside)
    low, high = ring_M2[:, 0].min(), ring_M2[:, 0].max()
    reach = 0.1 * (high - low)
    near = (x < low + reach) | (x > high - reach)
    return np.asarray(picture[y[near], x[near]])


def test_shading_is_brighter_towards_the_light() -> None:
    normals = np.array([[0, 0, 1], [0.7, 0, 0.7], [-0.7, 0, 0.7]], np.float32)
    one = np.ones(3, np.float32)
    out = np.empty((3, 5), np.float32)
    light = np.array([0.6, 0.4, 0.0, 0.4], np.float32)  # from image right
    shade_vertices(normals, np.zeros((3, 2), np.float32), one, one, 0 * one, light, out)
    assert out[1, 3] > out[0, 3] > out[2, 3]
    shade_vertices(normals, np.zeros((3, 2), np.float32), one, 0 * one, 0 * one, light, out)
    assert (out[:, 2] == 1).all() and (out[:, 3] == 0).all()  # the lining's first row: the lip's own colour


def test_the_lips_plane_follows_a_turned_mouth() -> None:
    x = np.linspace(0, 40, 20)
    ring = np.stack([x, np.sin(x), 5 + 0.25 * x], -1).astype(np.float32)
    assert lips_plane(ring) == pytest.approx([5.0, 0.25], abs=1e-3)
