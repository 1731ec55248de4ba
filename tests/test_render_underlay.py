"""Around the face: welded to its rim, covering the frame in any pose, still where the shoulders are."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given, settings
from numpy.typing import NDArray

from avatar.render import raster
from avatar.render.underlay import Underlay, build_underlay, deform_underlay, flatten_sides
from avatar.rig.types import FittedRig
from tests.render_samples import motion, motions, rig


@cache
def flat() -> tuple[FittedRig, Underlay]:
    relief = flatten_sides(rig())
    return relief, build_underlay(relief)


def posed(motion_D: NDArray[np.float32]) -> NDArray[np.float32]:
    relief, underlay = flat()
    return deform_underlay(underlay, relief, relief.deform(motion_D))


def test_flattening_moves_depth_only() -> None:
    before, after = rig(), flat()[0]
    assert np.array_equal(before.rest_V3[:, :2], after.rest_V3[:, :2])
    lift = after.rest_V3[:, 2] - before.rest_V3[:, 2]
    assert lift.min() >= 0.0
    assert lift[before.oval_ring].max() > 0.1 * before.face_width
    assert lift[before.mouth_ring_M].max() < 0.01 * before.face_width
    assert np.allclose(after.neutral_V3 - before.neutral_V3, after.rest_V3 - before.rest_V3, atol=1e-3)


@settings(max_examples=30, deadline=None)
@given(motions())
def test_the_inner_ring_is_the_skins_rim(motion_D: NDArray[np.float32]) -> None:
    relief, underlay = flat()
    face = relief.deform(motion_D)
    points = deform_underlay(underlay, relief, face)
    assert np.array_equal(points[: len(relief.oval_ring)], face.skin_V3[relief.oval_ring])


@settings(max_examples=30, deadline=None)
@given(motions())
def test_no_motion_uncovers_the_frame(motion_D: NDArray[np.float32]) -> None:
    relief, underlay = flat()
    face = relief.deform(motion_D)
    points = np.concatenate([deform_underlay(underlay, relief, face), face.skin_V3])
    holes = [relief.mouth_ring_M, *relief.eye_ring_2E]
    first = len(underlay.rest_U3)
    lids = [np.array([[ring[0], ring[i], ring[i + 1]] for i in range(1, len(ring) - 1)]) for ring in holes]
    triangles = np.concatenate([underlay.triangles_T3, relief.triangles_T3 + first, *(lid + first for lid in lids)])
    depth = np.empty((relief.size, relief.size), np.float32)
    raster.clear(depth)
    out = np.empty((2, *depth.shape), np.float32)
    raster.raster_map(points, points[:, :2].copy(), triangles.astype(np.int32), depth, out)
    assert (depth != raster.FAR).all()


def test_shoulders_stay_when_the_head_turns() -> None:
    _, underlay = flat()
    still = posed(motion())
    low = (underlay.rest_U3[:, 1] > 0.93 * flat()[0].size) & (underlay.rest_U3[:, 1] < flat()[0].size)
    assert low.sum() > 5
    for turn in (motion(headYaw=0.26), motion(headPitch=-0.17), motion(headRoll=0.17)):
        assert np.abs(posed(turn) - still)[low, :2].max() < 1.0


def test_hair_goes_with_the_head() -> None:
    relief, _ = flat()
    count = len(relief.oval_ring)
    top = int(np.argmin(relief.rest_V3[relief.oval_ring, 1]))
    crown = 3 * count + top
    moved = posed(motion(headX=0.1)) - posed(motion())
    assert moved[crown, 0] > 0.95 * 0.1 * relief.face_width


def test_a_dropping_jaw_draws_the_neck_along_less_and_less() -> None:
    relief, underlay = flat()
    count = len(relief.oval_ring)
    chin = int(np.argmax(relief.rest_V3[relief.oval_ring, 1]))
    drop = (posed(motion(jawOpen=0.6)) - posed(motion()))[chin::count, 1]
    assert drop[0] > 0.03 * relief.face_width
    assert (np.diff(drop[:6]) <= 1e-3).all()
    assert abs(drop[8]) < 0.1 * drop[0]
    assert underlay.drag_UJ.min() >= 0.0
