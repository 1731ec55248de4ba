"""The upper teeth's edge is found in pictures that show it, and nowhere else."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from avatar.rig.mouth_fit import CM_PER_FACE, FRONT_CM, MOVE_CM, find_teeth, front_edge, move_teeth, tooth_mask
from avatar.rig.types import FittedRig, Part
from tests.rig_samples import motion, sample_rig

SKIN, LIP, DARK, WHITE = (205, 160, 140), (170, 90, 85), (50, 20, 20), (232, 220, 200)


@cache
def smiling(lower_row: bool = False) -> tuple[FittedRig, NDArray[np.uint8], NDArray[np.float32]]:
    """A rig, a flat drawing of its open smile, and the opening."""
    rig = sample_rig("closed")
    face = rig.deform(motion(jawOpen=0.12, mouthSmile=0.6, mouthUpperUp=0.5, mouthLowerDown=0.6))
    picture = np.full((rig.size, rig.size, 3), SKIN, np.uint8)

    def area(points: NDArray[np.float32], colour: tuple[int, int, int]) -> None:
        cv2.fillPoly(picture, [np.rint(points[:, :2] * 16).astype(np.int32)], colour, cv2.LINE_AA, shift=4)

    ring = face.skin_V3[rig.mouth_ring_M]
    area(face.skin_V3[rig.lip_outer_M], LIP)
    area(ring, DARK)
    inside = np.zeros(picture.shape[:2], np.uint8)
    cv2.fillPoly(inside, [np.rint(ring[:, :2] * 16).astype(np.int32)], 1, shift=4)
    outside = picture.copy()
    edge, _ = front_edge(rig.mouth)
    below = np.array([0.0, 1.0])
    if lower_row:
        area(np.concatenate([edge + 2.6 * below, (edge + 14.0 * below)[::-1]]), (205, 192, 172))
    area(np.concatenate([edge, (edge - 20.0 * below)[::-1]]), WHITE)
    picture[inside == 0] = outside[inside == 0]
    return rig, np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.6), np.uint8), ring[:, :2]


@pytest.mark.parametrize("lower_row", [False, True])
@pytest.mark.parametrize("moved_cm", [-0.4, -0.15, 0.0, 0.2, 0.45])
def test_the_edge_is_found_wherever_the_model_has_it(lower_row: bool, moved_cm: float) -> None:
    rig, picture, ring = smiling(lower_row)
    cm = rig.face_width * CM_PER_FACE
    vertices = rig.mouth.vertices_P3 + np.array([0, moved_cm * cm, 0], np.float32)
    mouth = replace(rig.mouth, vertices_P3=vertices)
    own = find_teeth(picture, mouth, ring, np.array([0.0, 1.0]), rig.face_width)
    assert own is not None
    assert own.shift == pytest.approx(-moved_cm * cm, abs=1.3)
    assert np.abs(own.white_3 - WHITE).max() < 30


def test_no_teeth_in_closed_lips_or_in_a_dark_mouth() -> None:
    rig, picture, ring = smiling()
    down = np.array([0.0, 1.0])
    closed = rig.neutral_V3[rig.mouth_ring_M, :2]
    assert find_teeth(picture, rig.mouth, closed, down, rig.face_width) is None
    grey = np.full_like(picture, 128)
    assert find_teeth(grey, rig.mouth, ring, down, rig.face_width) is None
    looks, white = tooth_mask(grey, ring, rig.face_width)
    assert looks.max() == 0.0 and (white == 0).all()


def test_teeth_and_tongue_move_within_bounds_and_nothing_else_does() -> None:
    rig, picture, ring = smiling()
    cm = rig.face_width * CM_PER_FACE
    far = replace(rig.mouth, vertices_P3=rig.mouth.vertices_P3 - np.array([0, 0.5 * cm, 0], np.float32))
    own = find_teeth(picture, far, ring, np.array([0.0, 1.0]), rig.face_width)
    assert own is not None
    moved = move_teeth(far, own, np.array([0.0, 1.0]), rig.face_width)
    step = moved.vertices_P3 - far.vertices_P3
    goes = np.isin(far.part_P, [Part.TEETH_UPPER, Part.TEETH_LOWER, Part.TONGUE])
    assert (step[~goes] == 0).all()
    assert np.abs(step).max() < 2.3 * MOVE_CM * cm
    _, along = front_edge(far)
    assert step[goes & (far.uv_P2[:, 1] == 1), 1].max() > 0.8 * MOVE_CM * cm
    assert along.min() >= -FRONT_CM and along.max() <= FRONT_CM
