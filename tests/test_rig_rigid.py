"""Glasses are hard: their frame goes with the head and nothing else; without glasses nothing changes."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.rig.contact import gap
from avatar.rig.fit import fit_rig
from avatar.rig.rigid import covered, rigid_weights, stroke_points
from avatar.rig.snap import signed_area
from avatar.rig.types import FittedRig, pack, unpack
from tests.rig_samples import motion, portrait
from tests.test_rig_deform import motions

RADIUS = 3.0


def frame_around(landmarks_N3: NDArray[np.float32]) -> NDArray[np.float32]:
    """Two round rims of 1.1 eye widths' radius, joined over the nose; [S, 2, 2] px."""
    strokes = []
    middles = []
    for outer, inner in ((33, 133), (263, 362)):
        a, b = landmarks_N3[outer, :2], landmarks_N3[inner, :2]
        middle, radius = (a + b) / 2, 0.8 * float(np.linalg.norm(a - b))
        turn = np.linspace(0, 2 * np.pi, 41)
        ring = middle + radius * np.stack([np.cos(turn), 0.8 * np.sin(turn)], 1)
        strokes += list(np.stack([ring[:-1], ring[1:]], 1))
        middles.append((middle, radius))
    (right, r0), (left, r1) = middles
    strokes.append(np.array([right + np.array([r0, 0]), left - np.array([r1, 0])]))
    return np.asarray(strokes, np.float32)


@cache
def rigs() -> tuple[FittedRig, FittedRig]:
    """The same face without and with glasses."""
    bare = portrait(identity=(0.6, -0.5, 0.4), noise_px=0.5)
    return fit_rig(bare), fit_rig(replace(bare, glasses_S22=frame_around(bare.landmarks_N3), glasses_radius=RADIUS))


def under_the_frame(rig: FittedRig) -> NDArray[np.int64]:
    """Corners of the triangles that the frame covers; the lid margins aside."""
    bare = portrait(identity=(0.6, -0.5, 0.4), noise_px=0.5)
    points = stroke_points(frame_around(bare.landmarks_N3).astype(float), RADIUS)
    corners = rig.triangles_T3[covered(rig.rest_V3[:, :2].astype(float), rig.triangles_T3, points)].reshape(-1)
    return np.setdiff1d(corners, rig.eye_ring_2E.reshape(-1))


@given(motions())
@settings(max_examples=80, deadline=None)
def test_the_frame_moves_with_the_head_alone(motion_D: NDArray[np.float32]) -> None:
    _, rig = rigs()
    face = rig.deform(motion_D)
    vertices = under_the_frame(rig)
    assert len(vertices) > 100
    expected = rig.move(rig.rest_V3[vertices], face.pose)
    assert np.abs(face.skin_V3[vertices] - expected).max() < 0.3  # px


def test_a_bare_face_has_no_hold() -> None:
    bare, glasses = rigs()
    assert not bare.rigid_V.any() and glasses.rigid_V.any()
    np.testing.assert_array_equal(bare.rest_V3, glasses.rest_V3)
    raised = motion(browOuterUp=1.0, eyeBlink=1.0)
    vertices = under_the_frame(glasses)
    moved = [np.abs(rig.deform(raised).skin_V3 - rig.rest_V3)[vertices].max() for rig in (bare, glasses)]
    assert moved[0] > 5.0 and moved[1] < 0.3, "the same motion moves bare skin there"
    away = glasses.rigid_V == 0
    np.testing.assert_array_equal(bare.deform(raised).skin_V3[away], glasses.deform(raised).skin_V3[away])


@given(st.floats(0.0, 1.0, width=32))
@settings(max_examples=20, deadline=None)
def test_eyes_blink_inside_the_lens(blink: float) -> None:
    _, rig = rigs()
    assert (rig.rigid_V[rig.eye_ring_2E] == 0).all()
    skin = rig.deform(motion(eyeBlink=blink)).skin_V3
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    for eye in range(2):
        opening = gap(skin[rig.lid_upper_2L[eye]], skin[rig.lid_lower_2L[eye]], down).max()
        assert opening < 0.05 if blink == 1.0 else opening > -0.02
    assert (brows(rig, motion(browOuterUp=1.0)) > 2.0).any(), "brows move above"


def brows(rig: FittedRig, motion_D: NDArray[np.float32]) -> NDArray[np.float32]:
    """How far the upper edge of each brow has moved, px."""
    upper = [70, 63, 105, 66, 107, 336, 296, 334, 293, 300]
    return np.asarray(np.abs(rig.deform(motion_D).skin_V3[upper, 1] - rig.rest_V3[upper, 1]))


@pytest.mark.parametrize(
    "weights", [{"eyeBlink": 1.0}, {"browDown": 1.0}, {"browOuterUp": 1.0, "browInnerUp": 1.0}, {"cheekSquint": 1.0},
                {"browDown": 0.8, "eyeSquint": 0.8, "eyeBlink": 0.7, "noseSneer": 0.6, "mouthSmile": 1.0}],
)  # fmt: skip
def test_skin_between_does_not_fold(weights: dict[str, float]) -> None:
    for rig in rigs():
        rest = signed_area(rig.rest_V3[:, :2], rig.triangles_T3)
        now = signed_area(rig.deform(motion(**weights)).skin_V3[:, :2], rig.triangles_T3)
        folded = (now * np.sign(rest) < -0.5) & (np.abs(rest) > 1.0)
        assert folded.mean() < 0.002


def test_weights_stay_between_their_neighbours() -> None:
    _, rig = rigs()
    assert rig.rigid_V.dtype == np.float32 and rig.rigid_V.min() == 0.0 and rig.rigid_V.max() == 1.0
    between = (rig.rigid_V > 0.02) & (rig.rigid_V < 0.98)
    assert between.sum() > 50, "a fall-off, no step"


def test_a_rig_keeps_its_glasses() -> None:
    _, rig = rigs()
    again = unpack(pack(rig))
    np.testing.assert_array_equal(again.rigid_V, rig.rigid_V)
    with pytest.raises(ValueError, match="prepare the portrait again"):
        unpack({**pack(rig), "rig.rigid_V": rig.rigid_V[:-1]})
    with pytest.raises(ValueError, match=r"rig\.rigid_V"):
        unpack({name: array for name, array in pack(rig).items() if name != "rig.rigid_V"})


def test_strokes_beyond_the_mesh_hold_nothing() -> None:
    rig, _ = rigs()
    beyond = np.array([[[0, 0], [5, 5]]], np.float32)
    assert not rigid_weights(
        rig.rest_V3, rig.triangles_T3, rig.eye_ring_2E, beyond, np.zeros((2, 0, 2)), 1.0, rig.face_width
    ).any()
