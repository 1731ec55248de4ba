"""Light and folds of the skin: the portrait itself at rest, bounded, smooth in the motion, only inside the face."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.motion import space
from avatar.render import creases as creases_module
from avatar.render import shading
from avatar.render.creases_folds import GROUPS
from avatar.render.creases_pack import Creases, prepare_creases
from avatar.render.layers import Layers, prepare_layers
from avatar.render.shading import Shading, build_shading
from avatar.render.underlay import flatten_sides
from avatar.rig.types import FittedRig
from tests.render_samples import decoder, identity, motion, motions, rig

U8 = NDArray[np.uint8]


@cache
def posed_rig() -> FittedRig:
    return flatten_sides(rig())


@cache
def layers() -> Layers:
    return Layers.unpack(identity().arrays)


@cache
def creases() -> Creases:
    return prepare_creases(layers(), rig())


@cache
def made(size: int = 512) -> Shading:
    person = layers().person_HW4
    if size != person.shape[0]:
        person = np.asarray(cv2.resize(person, (size, size), interpolation=cv2.INTER_AREA), np.uint8)
    return build_shading(posed_rig(), layers().light_4, creases(), person)


def shaded(motion_D: NDArray[np.float32], size: int = 512) -> U8:
    texture = made(size).base_HW4.copy()
    made(size).apply(posed_rig().deform(motion_D), motion_D, texture)
    return texture


def resting() -> NDArray[np.float32]:
    """The portrait's own expression and pose."""
    motion_D = space.neutral()
    motion_D[: space.EXPRESSION_DIM] = rig().source_expression_K
    return motion_D


@pytest.mark.parametrize("size", [256, 512, 768])
def test_at_rest_the_texture_is_the_portrait(size: int) -> None:
    assert np.array_equal(shaded(resting(), size), made(size).base_HW4)


@settings(max_examples=25, deadline=None)
@given(motions())
def test_only_the_face_changes_and_within_bounds(motion_D: NDArray[np.float32]) -> None:
    texture, base = shaded(motion_D), made().base_HW4
    x0, y0, x1, y1 = made().box_4
    outside = np.ones(base.shape[:2], bool)
    outside[y0:y1, x0:x1] = False
    assert np.array_equal(texture[outside], base[outside])
    assert np.array_equal(texture[..., 3], base[..., 3])
    own_G, _ = made().weights(motion_D)
    own = np.abs(own_G).max() * max(int(np.abs(made().own_N3).max()), 1) * 2
    most = made().tint_3.max() * (shading.GAIN[1] - 1.0)
    assert np.abs(texture.astype(int) - base).max() <= (255 + own) * most + own + 1


@settings(max_examples=25, deadline=None)
@given(motions(), st.integers(0, space.DIM - 1))
def test_a_small_motion_is_a_small_change(motion_D: NDArray[np.float32], channel: int) -> None:
    nudged = motion_D.copy()
    nudged[channel] += 0.004 * (space.HIGH_D[channel] - space.LOW_D[channel])
    nudged, _ = space.clamp(nudged)
    change = np.abs(shaded(nudged).astype(int) - shaded(motion_D))
    assert change.max() <= 6
    assert change.mean() < 0.25


def test_nothing_of_the_frame_before_remains() -> None:
    texture = made().base_HW4.copy()
    for channels in ({"mouthSmile": 0.9}, {"browInnerUp": 0.8}):
        motion_D = motion(**channels)
        made().apply(posed_rig().deform(motion_D), motion_D, texture)
    assert np.array_equal(texture, shaded(motion(browInnerUp=0.8)))


@pytest.mark.parametrize(
    ("channel", "group"),
    [("mouthSmile", "smileLeft"), ("cheekSquint", "squintRight"), ("browInnerUp", "raise"), ("browDown", "frown")],
)
def test_folds_deepen_with_their_muscle(channel: str, group: str) -> None:
    """Where an expression draws its fold most, the skin gets darker with every bit of it."""
    place = list(GROUPS).index(group)
    layer = made().new_GYX[place]
    assert layer.min() < -0.03
    y, x = np.unravel_index(layer.argmin(), layer.shape)
    column = int(np.searchsorted(made().cell_x_X, x)) + int(made().box_4[0])
    row = int(np.searchsorted(made().cell_y_Y, y)) + int(made().box_4[1])
    steps = np.linspace(0.0, 1.0, 9)
    weights = np.array([made().weights(motion(**{channel: v}))[1][place] for v in steps])
    assert (np.diff(weights) >= 0).all() and weights[-1] > 0.2
    near = (slice(row - 1, row + 2), slice(column - 1, column + 2))
    first, last = (shaded(motion(**{channel: v}))[near][..., :3].astype(float).mean() for v in (steps[0], steps[-1]))
    assert last < first - 1.5


def test_light_stays_in_the_room() -> None:
    """With light from the picture's left, a face that turns to it gets lighter, one that turns away darker."""
    light_4 = np.array([0.7, -0.4, 0.0, 0.3], np.float32)
    shade = build_shading(posed_rig(), light_4, creases(), layers().person_HW4)
    x0, y0, x1, y1 = shade.box_4
    inside = (slice(y0 + 60, y1 - 60), slice(x0 + 60, x1 - 60))
    means = []
    for yaw in (-0.2, 0.0, 0.2):
        motion_D = resting()
        motion_D[space.INDEX["headYaw"]] = yaw
        texture = shade.base_HW4.copy()
        shade.apply(posed_rig().deform(motion_D), motion_D, texture)
        means.append(float(texture[inside][..., :3].mean()))
    assert means[0] > means[1] + 2 > means[2] + 4


@pytest.mark.parametrize(("number", "value"), [("headX", 0.1), ("headLogScale", 0.1)])
def test_moving_without_turning_changes_no_light(number: str, value: float) -> None:
    motion_D = resting()
    motion_D[space.INDEX[number]] = value
    change = np.abs(shaded(motion_D).astype(int) - made().base_HW4)
    assert change.max() <= 2


def test_a_decoder_shades_its_frames() -> None:
    prepared = prepare_layers(identity().arrays["rgb_HW3"], identity().arrays["matte_HW"], rig())
    assert np.isfinite(prepared.light_4).all()

    decoder().render(motion(mouthSmile=0.8))
    assert decoder().timings["shade"] > 0.0


def test_a_fold_without_colour_becomes_skin_not_red() -> None:
    # The bottom of a deep fold, [50, 0, 0] in a saturated photo, between skin of [200, 130, 100]: what takes it away
    # was found from colours no darker than DARKEST.
    skin, bottom = np.array([200, 130, 100], np.float32), np.array([50, 0, 0], np.float32)
    logs = np.log(skin) - np.log(np.maximum(bottom, creases_module.DARKEST))
    texture = np.full((4, 4, 4), 255, np.uint8)
    texture[..., :3] = bottom
    boxes = np.zeros((len(GROUPS), 4), np.int32)
    boxes[0] = (0, 0, 4, 4)
    one = replace(creases(), own_N3=np.tile(logs, (16, 1)).astype(np.float16), own_boxes_G4=boxes)
    added, _, _ = shading.own_differences(one, 1.0, texture, (0, 0, 4, 4))
    assert np.abs(bottom + added - skin).max() <= creases_module.DARKEST + 1
