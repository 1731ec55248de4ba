"""The batched rig draws the faces of the numpy rig, whoever sits in its slots, without a branch on data."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from avatar.identity import prepare_identity
from avatar.motion import space
from avatar.motion.space import INDEX
from avatar.render.underlay import flatten_sides
from avatar.rig.batch import DeformedBatch, RigBatch
from avatar.rig.batch_slots import slot_row
from avatar.rig.fit import fit_rig
from avatar.rig.types import DeformedFace, FittedRig, Part
from tests import render_samples
from tests.portrait_pictures import astronaut, encoded
from tests.rig_samples import KINDS, portrait, sample_rig, source_motion
from tests.test_rig_rigid import frame_around

LIMIT_PX = 0.02
F32 = NDArray[np.float32]


@cache
def rigs() -> tuple[FittedRig, ...]:
    """Closed, open and turned sample heads, one with glasses, the default presenter and a photograph."""
    samples = [sample_rig(kind) for kind in KINDS]
    bare = portrait(identity=(0.3, 0.2), noise_px=0.5)
    frame = frame_around(bare.landmarks_N3)
    lenses = frame[:80, 0].reshape(2, 40, 2)
    lenses = lenses.mean(1, keepdims=True) + 0.7 * (lenses - lenses.mean(1, keepdims=True))  # rims close to the lids
    glasses = fit_rig(replace(bare, glasses_S22=frame, glasses_radius=3.0, lenses_2N2=lenses))
    assert glasses.rigid_V.any() and len(glasses.basis.own_rows_N)
    samples.append(glasses)
    nasa = FittedRig.unpack(prepare_identity(encoded(astronaut())).arrays)
    return (*samples, flatten_sides(render_samples.rig()), flatten_sides(nasa))


@cache
def batch() -> RigBatch:
    return RigBatch.build(rigs())


COUNT = 6


@st.composite
def motions(draw: st.DrawFn) -> F32:
    """A motion for each slot, anywhere in range, few channels or many: float32 [COUNT, 52]."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    out = rng.uniform(space.LOW_D, space.HIGH_D, (COUNT, space.DIM)).astype(np.float32)
    out[:, : space.EXPRESSION_DIM] *= rng.random((COUNT, space.EXPRESSION_DIM)) < draw(st.floats(0.0, 0.5))
    for name, value in draw(st.dictionaries(st.sampled_from(space.NAMES), st.floats(0, 1), max_size=6)).items():
        low, high = space.LOW_D[INDEX[name]], space.HIGH_D[INDEX[name]]
        out[:, INDEX[name]] = low + value * (high - low)
    return out


def assert_same(rig: FittedRig, face: DeformedFace, out: DeformedBatch, slot: int) -> None:
    """Every field of one slot against the numpy rig."""

    def away(batched: torch.Tensor, single: F32) -> float:
        return float(np.abs(batched[slot].numpy() - single).max())

    assert away(out.skin_BV3, face.skin_V3) < LIMIT_PX
    assert away(out.mouth_BP3, face.mouth_P3) < LIMIT_PX
    assert away(out.ball_centre_B23, face.ball_centre_23) < LIMIT_PX
    assert away(out.ball_radius_B2, face.ball_radius_2) < LIMIT_PX
    assert away(out.iris_centre_B23, face.iris_centre_23) < LIMIT_PX
    assert away(out.iris_radius_B2, face.iris_radius_2) < LIMIT_PX
    assert abs(float(out.mouth_gap_B[slot]) - face.mouth_gap) < LIMIT_PX
    assert away(out.iris_axis_B23, face.iris_axis_23) < 1e-5
    assert away(out.blink_B2, face.blink_2) < 1e-6
    assert away(out.gaze_B2, face.gaze_2) < 1e-6
    assert away(out.pose.R_B33, face.pose.R_33) < 1e-5
    assert away(out.pose.t_B3, face.pose.t_3) < 1e-3
    assert float(out.pose.scale_B[slot]) == pytest.approx(face.pose.scale, rel=1e-5)
    normals = np.abs(out.mouth_normals_BP3[slot].numpy() - face.mouth_normals_P3).max(1)
    solid = rig.mouth.part_P != Part.LIP
    assert normals[solid].max() < 1e-4
    # where lips touch, the lining has no room and its normals no meaning
    ring = face.skin_V3[rig.mouth_ring_M]
    room_M = np.linalg.norm((ring - ring[-np.arange(len(ring)) % len(ring)])[:, :2], axis=1)
    room_P = room_M[rig.mouth.lining_ring_P[~solid]]
    assert (normals[~solid] * np.minimum(room_P, 1.0)).max() < LIMIT_PX


@given(motions())
@settings(
    max_examples=50, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate)
)  # shrinking takes minutes
def test_every_slot_is_the_face_of_its_own_rig(motion_BD: F32) -> None:
    out = batch().deform(torch.from_numpy(motion_BD))
    for slot, rig in enumerate(rigs()):
        assert_same(rig, rig.deform(motion_BD[slot]), out, slot)


def test_dense_motions_too() -> None:
    """All channels at once, lips pressed and open, far beyond what a face does."""
    rng = np.random.default_rng(3)
    for share in (1.0, 0.5, 0.2):
        motion = rng.random((COUNT, space.DIM)).astype(np.float32) * (space.HIGH_D - space.LOW_D) * share
        motion[:, space.EXPRESSION_DIM :] += space.LOW_D[space.EXPRESSION_DIM :] * share
        out = batch().deform(torch.from_numpy(motion))
        for slot, rig in enumerate(rigs()):
            assert_same(rig, rig.deform(motion[slot]), out, slot)


def test_the_portraits_own_motion_gives_the_portrait_back() -> None:
    motion = np.stack([source_motion(rig) for rig in rigs()])
    skin = batch().deform(torch.from_numpy(motion)).skin_BV3.numpy()
    for slot, rig in enumerate(rigs()):
        assert np.abs(skin[slot, :, :2] - rig.rest_V3[:, :2]).max() < 0.05


def test_sealed_lips_and_closed_lids_meet_as_exactly() -> None:
    motion = np.zeros((COUNT, space.DIM), np.float32)
    for name in ("jawOpen", "mouthClose", "eyeBlinkLeft", "eyeBlinkRight"):
        motion[:, INDEX[name]] = 1.0 if "Blink" in name else 0.3
    skin = batch().deform(torch.from_numpy(motion)).skin_BV3.numpy()
    for slot, rig in enumerate(rigs()):
        assert np.abs(skin[slot, rig.lip_upper_L] - skin[slot, rig.lip_lower_L]).max() < 1e-3
        assert np.abs(skin[slot, rig.lid_upper_2L] - skin[slot, rig.lid_lower_2L]).max() < 0.02


def test_out_of_range_and_broken_numbers_are_clamped_and_counted_per_slot() -> None:
    motion = np.zeros((COUNT, space.DIM), np.float32)
    motion[1, 3], motion[1, 5], motion[2, INDEX["headYaw"]], motion[4, 0] = np.nan, np.inf, -9.0, -np.inf
    out = batch().deform(torch.from_numpy(motion))
    assert out.clamped_B.tolist() == [0, 2, 1, 0, 1, 0]
    assert torch.isfinite(out.skin_BV3).all()
    for slot, rig in enumerate(rigs()):
        assert_same(rig, rig.deform(motion[slot]), out, slot)


def test_anything_else_travels_with_the_head() -> None:
    motion = np.zeros((COUNT, space.DIM), np.float32)
    motion[:, INDEX["headYaw"]], motion[:, INDEX["headX"]], motion[:, INDEX["headLogScale"]] = 0.2, 0.1, -0.2
    out = batch().deform(torch.from_numpy(motion))
    points = np.random.default_rng(0).uniform(0, 512, (COUNT, 40, 3)).astype(np.float32)
    points[..., 2] -= 300
    moved = batch().move(torch.from_numpy(points), out.pose).numpy()
    for slot, rig in enumerate(rigs()):
        assert np.abs(moved[slot] - rig.move(points[slot], rig.deform(motion[slot]).pose)).max() < LIMIT_PX


def test_a_slot_can_change_hands_without_moving_memory() -> None:
    """What a captured CUDA graph needs: same buffers before and after, the other slots untouched."""
    first, second = rigs()[0], rigs()[5]
    small = RigBatch.build([first, first], slots=3)
    motion = torch.zeros(3, space.DIM)
    motion[:, INDEX["jawOpen"]] = 0.4
    before = small.deform(motion).skin_BV3
    where = small.addresses
    small.set_slot(1, slot_row(second))
    after = small.deform(motion).skin_BV3
    assert small.addresses == where
    assert torch.equal(after[0], before[0])
    assert torch.equal(after[2], before[2])
    assert np.abs(after[1].numpy() - second.deform(motion[1].numpy()).skin_V3).max() < LIMIT_PX


def test_a_frame_has_no_branch_on_data_and_no_wait() -> None:
    """`fullgraph` refuses graph breaks, so also .item(), nonzero, and Python branches on tensors."""
    motion = torch.zeros(COUNT, space.DIM)
    traced = torch.compile(batch().deform, fullgraph=True, backend="eager")
    for opening in (0.0, 0.5):  # traced with closed lips, true for open ones
        motion[:, INDEX["jawOpen"]] = opening
        assert torch.equal(traced(motion).skin_BV3, batch().deform(motion).skin_BV3)


def test_rigs_of_different_meshes_are_refused() -> None:
    rig = rigs()[0]
    other = replace(rig, triangles_T3=np.ascontiguousarray(rig.triangles_T3[::-1]))
    with pytest.raises(ValueError, match="prepare them all again"):
        RigBatch.build([rig, other])
    with pytest.raises(ValueError, match="slots cannot take"):
        RigBatch.build([rig, rig], slots=1)
