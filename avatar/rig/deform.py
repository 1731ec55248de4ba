"""One motion vector -> one deformed face.

Order: expression channels (linear, with a few limits between channels that share muscles) -> lips meet, lids meet
(contact, spread biharmonically over the skin around) -> glasses stay with the head -> the mouth's inside follows jaw
and lips -> head pose and perspective. Everything that depends on the portrait only is computed once, in
`Deformer.__init__`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import kernels
from avatar.rig.channels import shared_KV3
from avatar.rig.eyes import gaze_axis
from avatar.rig.lids import Lids
from avatar.rig.lips import Lips, labiodental, lip_seal
from avatar.rig.types import DeformedFace, FittedRig, HeadPose, Part

F32 = NDArray[np.float32]

SEAL_ROLL: Final = 0.22
"""How much of mouthRoll* a sealed mouth gets: pressed lips roll inwards a little."""
TONGUE_HOLD: Final = 0.85
"""Share of the jaw's motion that the raised tip of the tongue does not follow: it stays at the upper teeth."""

_I = {name: INDEX[name] for name in space.ARKIT_NAMES}
_BLINK: Final = np.array([_I["eyeBlinkRight"], _I["eyeBlinkLeft"]])
_ROLL: Final = np.array([_I["mouthRollUpper"], _I["mouthRollLower"]])
_RING_MOST: Final = 1.25
"""Pucker and funnel together at most."""
BLINK_HOLDS_BROWS: Final = 0.5
"""How much of a brow's raise a closed eye takes back; else the skin between the two would be torn in streaks."""
_BROWS_UP: Final = np.array([_I["browInnerUp"], _I["browOuterUpLeft"], _I["browOuterUpRight"]])
_SPREADERS: Final = np.array([_I[f"mouth{n}{s}"] for n in ("Smile", "Stretch") for s in ("Left", "Right")])


class Deformer:
    """Precomputed operators of one rig. `deform` keeps no state between frames."""

    def __init__(self, rig: FittedRig) -> None:
        self.rig = rig
        self._neutral_V3 = np.ascontiguousarray(rig.neutral_V3)
        down = np.asarray(rig.R_source_33[:2, 1] / np.linalg.norm(rig.R_source_33[:2, 1]), np.float32)
        self._lips, self._lids = Lips(rig, down), Lids(rig, down)
        self._source_axis = gaze_axis(rig.eyes.source_gaze_2).astype(np.float32)
        self._lining = np.flatnonzero(rig.mouth.part_P == Part.LIP)
        self._hold_P = tongue_hold(rig.mouth.tongue_P3)
        # what the model leaves of the portrait itself; given back in full at the portrait's own expression
        channels = limit_channels(rig.source_expression_K)
        skin = self._linear(channels)
        self._lips.remember(skin, channels)
        self._lips.round_opening(skin, channels)
        if not self._lips.open_in_source:
            self._lips.touch(skin, 0.0)  # so that nothing parts them at rest
        self._lids.move(skin, rig.source_expression_K[_BLINK], np.zeros(2))
        self._residual_V3 = rig.rest_V3 - skin
        self._rigid_V1 = np.ascontiguousarray(rig.rigid_V[:, None]) if rig.rigid_V.any() else None

    def deform(self, motion_D: F32) -> DeformedFace:
        """Apply one motion vector, float32 [52], clamped to the safe range."""
        rig = self.rig
        motion, _ = space.clamp(motion_D)
        seal = lip_seal(motion)
        channels = limit_channels(motion[:EXPRESSION_DIM])
        if seal > 0.0:
            channels[_ROLL] = np.maximum(channels[_ROLL], SEAL_ROLL * seal)
        skin = self._linear(channels)
        share = self._lips.share_of_source(skin, channels)
        self._lips.round_opening(skin, channels)
        skin += np.float32(share) * self._residual_V3
        mouth_gap = self._lips.touch(skin, seal, labiodental(channels, seal))

        pose = head_pose(motion, rig.face_width)
        axis = gaze_axis(motion[space.GAZE]).astype(np.float32)
        in_head = pose.R_33.T @ axis  # the lids follow the eye in the head, against the portrait's own gaze
        drop_2 = rig.eyes.ball_radius_2 * (in_head[1] - self._source_axis[1])
        self._lids.move(skin, motion[_BLINK], drop_2)
        if self._rigid_V1 is not None:  # glasses
            skin += self._rigid_V1 * (rig.rest_V3 - skin)

        inside, normals = self._inside(channels, skin)
        ball = rig.move(rig.eyes.ball_centre_23, pose)
        distance = rig.camera_distance
        near = pose.scale * (distance - rig.eyes.ball_centre_23[:, 2]) / (distance - ball[:, 2])
        radius = np.asarray(rig.eyes.ball_radius_2 * near, np.float32)
        return DeformedFace(
            skin_V3=rig.move(skin, pose),
            pose=pose,
            gaze_2=motion[space.GAZE].copy(),
            ball_centre_23=ball,
            ball_radius_2=radius,
            iris_centre_23=ball + radius[:, None] * axis,
            iris_radius_2=np.asarray(rig.eyes.iris_radius_2 * near, np.float32),
            iris_axis_23=np.stack([axis, axis]),
            blink_2=motion[_BLINK],
            mouth_P3=rig.move(inside, pose),
            mouth_normals_P3=np.asarray(kernels.turn(normals, pose.R_33)),
            mouth_gap=mouth_gap * pose.scale,
        )

    def _linear(self, channels_K: F32) -> F32:
        own = self.rig.basis
        return np.asarray(
            kernels.blend(self._neutral_V3, shared_KV3(), own.turn_33, own.own_rows_N, own.own_KN3, channels_K)
        )

    def _inside(self, channels_K: F32, skin_V3: F32) -> tuple[F32, F32]:
        """The mouth's inside, px and normals, before the head's pose."""
        rig, mouth = self.rig, self.rig.mouth
        jaw_6 = channels_K @ rig.jaw_K6
        points, normals = kernels.follow_jaw(
            mouth.vertices_P3,
            mouth.normals_P3,
            mouth.jaw_P,
            mouth.tongue_P3,
            self._hold_P,
            channels_K[INDEX["tongueHeight"]],
            rotation(jaw_6[:3]),
            np.ascontiguousarray(jaw_6[3:]),
            rig.jaw_hinge_3,
        )
        points[self._lining], normals[self._lining] = self._lips.lining(skin_V3)
        return points, normals


def tongue_hold(tongue_P3: F32) -> F32:
    """How far a raised tongue keeps to the upper teeth instead of following the jaw: most at its tip; [P]."""
    length = np.linalg.norm(tongue_P3, axis=1)
    return np.asarray(TONGUE_HOLD * length / max(float(length.max()), 1e-6), np.float32)


def limit_channels(channels_K: NDArray[Any]) -> F32:
    """Keep channels that share muscles from adding up to shapes that no face makes. Returns a copy.

    mouthClose counts up to jawOpen (ARKit: it closes the lips over an open jaw); pucker and funnel share one ring
    muscle; a smile or stretch is held back by pucker and funnel; closing eyes pull raised brows down.
    """
    out = np.array(channels_K, np.float32)
    out[_I["mouthClose"]] = min(out[_I["mouthClose"]], out[_I["jawOpen"]])
    ring = float(out[_I["mouthPucker"]] + out[_I["mouthFunnel"]])
    if ring > _RING_MOST:
        out[[_I["mouthPucker"], _I["mouthFunnel"]]] *= _RING_MOST / ring
    out[_SPREADERS] *= 1.0 - 0.55 * min(ring, 1.0)
    out[_BROWS_UP] *= 1.0 - BLINK_HOLDS_BROWS * float(out[_BLINK].max())
    return out


def head_pose(motion_D: NDArray[Any], face_width: float) -> HeadPose:
    """Rotation, shift and scale of the head relative to the portrait (axes and signs: motion/space.py)."""
    yaw, pitch, roll, x, y, log_scale = (float(v) for v in motion_D[space.HEAD])
    cy, sy, cp, sp, cr, sr = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch), np.cos(roll), np.sin(roll)
    turn_yaw = np.array([[cy, 0.0, sy], [0.0, 1.0, 0.0], [-sy, 0.0, cy]])
    turn_pitch = np.array([[1.0, 0.0, 0.0], [0.0, cp, -sp], [0.0, sp, cp]])
    turn_roll = np.array([[cr, -sr, 0.0], [sr, cr, 0.0], [0.0, 0.0, 1.0]])
    return HeadPose(
        R_33=(turn_yaw @ turn_pitch @ turn_roll).astype(np.float32),
        t_3=np.array([x * face_width, y * face_width, 0.0], np.float32),
        scale=float(np.exp(log_scale)),
    )


def move_points(points_N3: F32, pose: HeadPose, pivot_3: F32, distance: float, size: int) -> F32:
    """Carry portrait points (px, photo's pose) along with the head; the identity pose changes nothing.

    Perspective: the camera looks along the frame's middle from `distance` px in front of z = 0.
    """
    points = np.ascontiguousarray(points_N3, np.float32)
    turn = pose.R_33 * np.float32(pose.scale)
    return np.asarray(kernels.move(points, turn, pose.t_3, pivot_3, distance, size / 2), np.float32)


def rotation(vector_3: NDArray[Any]) -> F32:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector_3))
    if angle < 1e-9:
        return np.eye(3, dtype=np.float32)
    x, y, z = (float(v) / angle for v in vector_3)
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return np.asarray(np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k), np.float32)
