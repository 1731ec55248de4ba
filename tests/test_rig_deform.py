"""Whatever the motion: finite points, lips that never cross, lids that meet, no folded skin, no jumps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.articulation import ARTICULATORS, to_motion
from avatar.motion.space import INDEX
from avatar.rig.contact import gap, meet
from avatar.rig.deform import limit_channels
from avatar.rig.lips import lip_seal
from avatar.rig.snap import signed_area
from avatar.rig.types import FittedRig, Part
from tests.rig_samples import KINDS, motion, sample_rig, source_motion

unit = st.floats(0.0, 1.0, width=32)
kinds = st.sampled_from(KINDS)


@st.composite
def motions(draw: st.DrawFn, *, head: bool = True) -> NDArray[np.float32]:
    """Any motion in range: a few channels anywhere in theirs, the rest at zero; head and gaze too when asked."""
    out = space.neutral()
    for k in draw(st.lists(st.integers(0, space.EXPRESSION_DIM - 1), max_size=10, unique=True)):
        out[k] = draw(unit) * space.HIGH_D[k]
    if head:
        for k in range(space.EXPRESSION_DIM, space.DIM):
            out[k] = space.LOW_D[k] + draw(unit) * (space.HIGH_D[k] - space.LOW_D[k])
    return out


def lip_gap(rig: FittedRig, skin_V3: NDArray[np.float32]) -> NDArray[np.float32]:
    down = rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1])
    return gap(skin_V3[rig.lip_upper_L], skin_V3[rig.lip_lower_L], down)


@given(kinds, motions())
@settings(max_examples=60, deadline=None)
def test_any_motion_gives_finite_points_inside_reason(kind: str, motion_D: NDArray[np.float32]) -> None:
    rig = sample_rig(kind)
    face = rig.deform(motion_D)
    for array in (face.skin_V3, face.mouth_P3, face.iris_centre_23, face.mouth_normals_P3, face.iris_axis_23):
        assert np.isfinite(array).all()
    assert np.abs(face.skin_V3[:, :2] - rig.size / 2).max() < rig.size


@given(kinds, motions(head=False))
@settings(max_examples=80, deadline=None)
def test_lips_never_cross(kind: str, motion_D: NDArray[np.float32]) -> None:
    rig = sample_rig(kind)
    assert lip_gap(rig, rig.deform(motion_D).skin_V3).min() > -0.02  # px; float32 and perspective


@given(kinds, motions(head=False), st.sampled_from(["press", "close", "roll"]))
@settings(max_examples=60, deadline=None)
def test_sealed_lips_meet_exactly(kind: str, motion_D: NDArray[np.float32], how: str) -> None:
    rig = sample_rig(kind)
    if how == "press":
        motion_D[[INDEX["mouthPressLeft"], INDEX["mouthPressRight"]]] = 0.3
    elif how == "roll":
        motion_D[[INDEX["mouthRollUpper"], INDEX["mouthRollLower"]]] = 0.8
    else:
        motion_D[INDEX["mouthClose"]] = max(0.9 * motion_D[INDEX["jawOpen"]], 0.027) + 1e-3
    face = rig.deform(motion_D)
    assert lip_seal(motion_D) == pytest.approx(1.0, abs=1e-5)
    assert np.abs(face.skin_V3[rig.lip_upper_L] - face.skin_V3[rig.lip_lower_L]).max() < 0.02
    assert face.mouth_gap < 0.02


@given(kinds, motions())
@settings(max_examples=60, deadline=None)
def test_lids_meet_in_a_blink_whatever_else_happens(kind: str, motion_D: NDArray[np.float32]) -> None:
    rig = sample_rig(kind)
    motion_D[[INDEX["eyeBlinkLeft"], INDEX["eyeBlinkRight"]]] = 1.0
    skin = rig.deform(motion_D).skin_V3
    for eye in range(2):
        assert np.abs(skin[rig.lid_upper_2L[eye]] - skin[rig.lid_lower_2L[eye]]).max() < 0.02


@given(kinds, st.sampled_from([0.0, 0.25, 0.5, 0.75]))
@settings(max_examples=20, deadline=None)
def test_a_blink_closes_steadily_and_leaves_the_corners(kind: str, blink: float) -> None:
    rig = sample_rig(kind)
    openings = []
    for value in (blink, blink + 0.25):
        skin = rig.deform(motion(eyeBlink=value)).skin_V3
        openings.append([np.linalg.norm(skin[u[8]] - skin[l[8]]) for u, l in _lids(rig)])  # noqa: E741
        for upper, _ in _lids(rig):
            assert np.allclose(skin[upper[[0, -1]], :2], rig.neutral_V3[upper[[0, -1]], :2], atol=0.3)
    assert (np.array(openings[1]) < np.array(openings[0])).all()


def _lids(rig: FittedRig) -> list[tuple[NDArray[np.int32], NDArray[np.int32]]]:
    return list(zip(rig.lid_upper_2L, rig.lid_lower_2L, strict=True))


@pytest.mark.parametrize("kind", KINDS)
def test_the_portraits_own_motion_gives_the_portrait_back(kind: str) -> None:
    rig = sample_rig(kind)
    skin = rig.deform(source_motion(rig)).skin_V3
    assert np.abs(skin[:, :2] - rig.rest_V3[:, :2]).max() < 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_at_rest_the_mouth_is_closed_and_the_eyes_are_open(kind: str) -> None:
    rig = sample_rig(kind)
    face = rig.deform(space.neutral())
    assert face.mouth_gap < 0.02
    for upper, lower in _lids(rig):
        assert np.linalg.norm(face.skin_V3[upper[8]] - face.skin_V3[lower[8]]) > 0.02 * rig.face_width


@given(kinds, motions(head=False))
@settings(max_examples=60, deadline=None)
def test_hardly_any_visible_skin_turns_over(kind: str, motion_D: NDArray[np.float32]) -> None:
    rig = sample_rig(kind)
    motion_D[: space.EXPRESSION_DIM] *= 0.6  # as large as expressions come together
    rest = signed_area(rig.rest_V3, rig.triangles_T3)
    visible = rest > 0
    area = signed_area(rig.deform(motion_D).skin_V3, rig.triangles_T3)[visible]
    assert -area[area < 0].sum() < 0.03 * rest[visible].sum()


@given(kinds, motions(), motions(), st.floats(0.0, 1.0))
@settings(max_examples=60, deadline=None)
def test_motion_is_continuous(
    kind: str, first_D: NDArray[np.float32], second_D: NDArray[np.float32], where: float
) -> None:
    """A thousandth of the way between any two motions moves no point far; lips that seal are the fastest."""
    rig = sample_rig(kind)
    near = first_D + np.float32(where) * (second_D - first_D)
    nearer = first_D + np.float32(min(where + 1e-3, 1.0)) * (second_D - first_D)
    a, b = rig.deform(near), rig.deform(nearer)
    assert np.abs(a.skin_V3 - b.skin_V3).max() < 2.5
    assert np.abs(a.mouth_P3 - b.mouth_P3).max() < 2.5
    assert np.abs(a.iris_centre_23 - b.iris_centre_23).max() < 0.5


def test_out_of_range_and_broken_numbers_are_clamped() -> None:
    rig = sample_rig()
    wild = np.full(space.DIM, 1e6, np.float32)
    wild[::7] = np.nan
    wild[3] = -np.inf
    clean, _ = space.clamp(wild)
    assert np.array_equal(rig.deform(wild).skin_V3, rig.deform(clean).skin_V3)


def test_frames_do_not_depend_on_each_other() -> None:
    rig = sample_rig("open")
    first = rig.deform(motion(jawOpen=0.3, eyeBlink=0.4)).skin_V3
    rig.deform(motion(mouthPucker=1.0, headYaw=0.2))
    assert np.array_equal(first, rig.deform(motion(jawOpen=0.3, eyeBlink=0.4)).skin_V3)


def test_head_moves_as_the_motion_space_says() -> None:
    rig = sample_rig()
    rest = rig.deform(space.neutral()).skin_V3
    nose, crown, chin = 1, 10, 152
    assert rig.deform(motion(headYaw=0.2)).skin_V3[nose, 0] > rest[nose, 0] + 5
    assert rig.deform(motion(headPitch=0.15)).skin_V3[nose, 1] < rest[nose, 1] - 3
    roll = rig.deform(motion(headRoll=0.15)).skin_V3
    assert roll[crown, 0] - roll[chin, 0] > rest[crown, 0] - rest[chin, 0] + 5
    shifted = rig.deform(motion(headX=0.1, headY=-0.05)).skin_V3
    assert np.allclose(shifted[:, :2].mean(0) - rest[:, :2].mean(0), rig.face_width * np.array([0.1, -0.05]), rtol=0.1)
    assert np.ptp(rig.deform(motion(headLogScale=0.2)).skin_V3[:, 0]) > 1.15 * np.ptp(rest[:, 0])


def test_move_carries_points_like_the_skin_and_keeps_them_at_rest() -> None:
    rig = sample_rig("turned")
    face = rig.deform(motion(headYaw=0.2, headPitch=-0.1, headX=0.05, headLogScale=0.1))
    still = rig.deform(space.neutral())
    moved = rig.move(still.skin_V3, face.pose)
    cheeks_and_mouth = rig.neutral_V3[:, 1] > rig.neutral_V3[rig.eye_ring_2E, 1].max() + 30  # lids follow the gaze
    assert np.allclose(moved[cheeks_and_mouth], face.skin_V3[cheeks_and_mouth], atol=0.01)
    assert np.allclose(rig.move(rig.rest_V3, still.pose), rig.rest_V3, atol=1e-2)


def test_eyes_look_where_they_are_told_and_lids_go_along() -> None:
    rig = sample_rig()
    ahead, up = rig.deform(space.neutral()), rig.deform(motion(gazeElevation=0.2))
    down, side = rig.deform(motion(gazeElevation=-0.2)), rig.deform(motion(gazeAzimuth=0.3))
    assert (side.iris_centre_23[:, 0] > ahead.iris_centre_23[:, 0] + 2).all()
    assert (up.iris_centre_23[:, 1] < ahead.iris_centre_23[:, 1] - 1).all()
    for upper, _ in _lids(rig):
        assert up.skin_V3[upper[8], 1] < ahead.skin_V3[upper[8], 1] - 0.3
        assert down.skin_V3[upper[8], 1] > ahead.skin_V3[upper[8], 1] + 0.3
    turned = rig.deform(motion(headPitch=0.17))  # the head tips up, the gaze stays on the visitor: lids come down
    relative = turned.skin_V3[rig.lid_upper_2L[0][8], 1] - turned.skin_V3[rig.lid_lower_2L[0][8], 1]
    assert relative > ahead.skin_V3[rig.lid_upper_2L[0][8], 1] - ahead.skin_V3[rig.lid_lower_2L[0][8], 1]


def test_jaw_opening_rounds_the_mouth_and_keeps_its_corners_narrow() -> None:
    rig = sample_rig()
    opening = lip_gap(rig, rig.deform(motion(jawOpen=0.5)).skin_V3)
    middle = opening[len(opening) // 2]
    assert middle > 0.08 * rig.face_width
    assert opening[1] < 0.4 * middle and opening[-2] < 0.4 * middle
    assert opening[0] == pytest.approx(0.0, abs=1e-3)


def test_channels_that_share_muscles_are_limited() -> None:
    limited = limit_channels(motion(mouthPucker=1.0, mouthFunnel=1.0, mouthSmile=1.0, mouthClose=1.0, jawOpen=0.2)[:44])
    assert limited[INDEX["mouthPucker"]] + limited[INDEX["mouthFunnel"]] <= 1.2501
    assert limited[INDEX["mouthSmileLeft"]] < 0.5
    assert limited[INDEX["mouthClose"]] == pytest.approx(0.2)


@given(st.integers(0, 10_000), unit)
@settings(max_examples=50, deadline=None)
def test_contact_is_a_projection(seed: int, seal: float) -> None:
    rng = np.random.default_rng(seed)
    upper, lower = rng.normal(size=(2, 9, 3)).astype(np.float32) * 4
    down = np.array([0.0, 1.0], np.float32)
    once = meet(upper, lower, down, np.full(9, seal, np.float32))
    again = meet(*once, down, np.zeros(9, np.float32))
    assert gap(*once, down).min() >= -1e-5
    assert np.allclose(once[0], again[0], atol=1e-4) and np.allclose(once[1], again[1], atol=1e-4)
    middle = (upper + lower) / 2
    assert np.allclose((once[0] + once[1]) / 2, middle, atol=1e-5)


def test_mouth_inside_follows_jaw_tongue_and_lips() -> None:
    rig = sample_rig()
    part = rig.mouth.part_P
    rest, opened = rig.deform(space.neutral()), rig.deform(motion(jawOpen=0.5))
    moved = opened.mouth_P3[:, 1] - rest.mouth_P3[:, 1]
    assert np.abs(moved[part == Part.TEETH_UPPER]).max() < 1e-3
    assert moved[part == Part.TEETH_LOWER].min() > 0.03 * rig.face_width
    tip = rig.deform(motion(jawOpen=0.5, tongueHeight=1.0)).mouth_P3[:, 1] - opened.mouth_P3[:, 1]
    assert tip[part == Part.TONGUE].min() < -0.03 * rig.face_width
    assert np.abs(tip[part != Part.TONGUE]).max() < 1e-3
    first_row = rig.mouth.lining_row_P == 0
    ring = opened.skin_V3[rig.mouth_ring_M][rig.mouth.lining_ring_P[first_row]]
    assert np.abs(opened.mouth_P3[first_row] - ring).max() < 0.01


@given(kinds, st.floats(0.0, 0.3), unit, unit, unit)
@settings(max_examples=40, deadline=None)
def test_the_articulations_closure_seals_the_lips(
    kind: str, jaw: float, spread: float, upper: float, lower: float
) -> None:
    """What avatar.motion asks for in P, B and M is what the rig takes for sealed lips, whatever comes along."""
    value_A = np.zeros(len(ARTICULATORS), np.float32)
    for name, value in (("jaw", jaw), ("closure", 1.0), ("spread", spread), ("upper", upper), ("lower", lower)):
        value_A[ARTICULATORS.index(name)] = value
    assert sample_rig(kind).deform(to_motion(value_A)).mouth_gap < 0.02
