"""One motion vector -> one deformed face.

Order: expression channels (linear, with a few limits between channels that share muscles) -> lips meet, lids meet
(contact, spread biharmonically over the skin around) -> the mouth's inside follows jaw and lips -> head pose and
perspective. Everything that depends on the portrait only is computed once, in `Deformer.__init__`.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from numba import njit
from numpy.typing import NDArray

from avatar.motion import space
from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import mesh
from avatar.rig.contact import gap, meet, smoothstep
from avatar.rig.eyes import gaze_axis
from avatar.rig.mouth import LINING_ROWS
from avatar.rig.snap import LID_REACH, closing_line
from avatar.rig.spread import biharmonic
from avatar.rig.types import DeformedFace, FittedRig, HeadPose, Part

F32 = NDArray[np.float32]

LIP_REACH: Final = 10
"""Edges from the mouth ring that lip contact moves."""
CORNER_POWER: Final = 0.75
"""Opening along the lips, at most: largest opening * (4 t (1 - t)) ** CORNER_POWER, t = 0..1 corner to corner."""
LID_FOLLOW: Final = 0.8
"""Share of the iris' up-and-down way that the upper lid goes along."""
LOWER_LID_FOLLOW: Final = 0.35
UPPER_LINING: Final = 0.4
"""The upper lip shows this much of its lining, the lower lip all: we look at it from above."""
SEAL_ROLL: Final = 0.22
"""How much of mouthRoll* a sealed mouth gets: pressed lips roll inwards a little."""

_I = {name: INDEX[name] for name in space.ARKIT_NAMES}
_PAIRS_OF_ONE: Final = (("mouthPucker", "mouthFunnel", 1.25),)
_SPREADERS: Final = ("mouthSmileLeft", "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight")


class Deformer:
    """Precomputed operators of one rig."""

    def __init__(self, rig: FittedRig) -> None:
        self.rig = rig
        count = len(rig.rest_V3)
        self._basis = np.ascontiguousarray(rig.basis_KV3.reshape(EXPRESSION_DIM, count * 3))
        self._down = _unit(rig.R_source_33[:2, 1])
        neutral, triangles = rig.neutral_V3, rig.triangles_T3
        near = mesh.rings_from(triangles, count, rig.mouth_ring_M) <= LIP_REACH
        self._lips = biharmonic(neutral, triangles, rig.mouth_ring_M, near)
        line = neutral[rig.lip_upper_L, :2]
        along = np.r_[0.0, np.cumsum(np.linalg.norm(np.diff(line, axis=0), axis=1))]
        t = along / along[-1]
        self._taper_L = np.asarray((4.0 * t * (1.0 - t)) ** CORNER_POWER, np.float32)
        self._lids = []
        for ring in rig.eye_ring_2E:
            near = mesh.rings_from(triangles, count, ring) <= LID_REACH
            self._lids.append(biharmonic(neutral, triangles, ring, near))
        self._lid_gap_2 = [
            float(max(gap(neutral[u], neutral[l], self._down).max(), 1e-3))
            for u, l in zip(rig.lid_upper_2L, rig.lid_lower_2L, strict=True)
        ]
        self._lid_bulge_2L = [self._bulge(eye) for eye in range(2)]
        self._source_axis = gaze_axis(rig.eyes.source_gaze_2).astype(np.float32)
        upper = np.isin(rig.mouth_ring_M, rig.lip_upper_L)
        self._lining_share_M = np.where(upper, UPPER_LINING, 1.0).astype(np.float32)
        self._lining = np.flatnonzero(rig.mouth.part_P == Part.LIP)
        # what the linear model leaves of the portrait's own lips; given back in full at the portrait's expression
        self._residual_V3 = np.zeros_like(neutral)
        self._source_gap = 0.0
        source = rig.source_expression_K
        linear = self._linear(limit_channels(source))
        self._source_gap = self._mean_gap(linear)
        self._source_mouth = source[_MOUTH].copy()
        linear = self._round_corners(linear)
        lids_as_taken = self._lids_moved(linear, source[[_I["eyeBlinkRight"], _I["eyeBlinkLeft"]]], np.zeros(2))
        self._residual_V3 = rig.rest_V3 - lids_as_taken

    def deform(self, motion_D: F32) -> DeformedFace:
        """Apply one motion vector, float32 [52], clamped to the safe range."""
        rig = self.rig
        motion, _ = space.clamp(motion_D)
        seal = lip_seal(motion)
        channels = limit_channels(motion[:EXPRESSION_DIM])
        if seal > 0.0:
            for name in ("mouthRollUpper", "mouthRollLower"):
                channels[_I[name]] = max(channels[_I[name]], SEAL_ROLL * seal)
        skin = self._linear(channels)
        share = self._residual_share(skin, channels)
        skin = self._round_corners(skin)
        skin += share * self._residual_V3
        mouth_gap = self._seal_lips(skin, seal)

        pose = head_pose(motion, rig.face_width)
        gaze = motion[space.GAZE].copy()
        axis = gaze_axis(gaze).astype(np.float32)
        blink = motion[[_I["eyeBlinkRight"], _I["eyeBlinkLeft"]]]
        # elevation of the eye in the head, against the portrait's own: the lids go along
        in_head = pose.R_33.T @ axis
        drop = rig.eyes.ball_radius_2 * float(in_head[1] - self._source_axis[1])
        skin = self._lids_moved(skin, blink, drop)

        mouth, normals = self._inside(channels, skin)
        ball = rig.move(rig.eyes.ball_centre_23, pose)
        near = pose.scale * rig.camera_distance / (rig.camera_distance - ball[:, 2])
        near = near * (1.0 - rig.eyes.ball_centre_23[:, 2] / rig.camera_distance)
        radius = (rig.eyes.ball_radius_2 * near).astype(np.float32)
        return DeformedFace(
            skin_V3=rig.move(skin, pose),
            pose=pose,
            gaze_2=gaze,
            ball_centre_23=ball,
            ball_radius_2=radius,
            iris_centre_23=ball + radius[:, None] * axis,
            iris_radius_2=(rig.eyes.iris_radius_2 * near).astype(np.float32),
            iris_axis_23=np.stack([axis, axis]),
            blink_2=blink,
            mouth_P3=rig.move(mouth, pose),
            mouth_normals_P3=np.ascontiguousarray(normals @ pose.R_33.T),
            mouth_gap=mouth_gap * pose.scale,
        )

    def _linear(self, channels_K: F32) -> F32:
        return self.rig.neutral_V3 + (channels_K @ self._basis).reshape(-1, 3)

    def _round_corners(self, skin_V3: F32) -> F32:
        """Taper the opening towards the corners: the linear channels alone cut the mouth off square there."""
        rig = self.rig
        upper, lower = rig.lip_upper_L, rig.lip_lower_L
        opening = gap(skin_V3[upper], skin_V3[lower], self._down)
        excess = np.maximum(opening - float(opening.max()) * self._taper_L, 0.0)
        before = skin_V3[rig.mouth_ring_M]
        half = 0.5 * excess[:, None] * self._down
        skin_V3[upper, :2] += half
        skin_V3[lower, :2] -= half
        skin_V3[self._lips.rows_N] += self._lips.matrix_NH @ (skin_V3[rig.mouth_ring_M] - before)
        return skin_V3

    def _mean_gap(self, skin_V3: F32) -> float:
        rig = self.rig
        return float(np.maximum(gap(skin_V3[rig.lip_upper_L], skin_V3[rig.lip_lower_L], self._down), 0.0).mean())

    def _residual_share(self, skin_V3: F32, channels_K: F32) -> float:
        """1 at the portrait's own expression; with open lips it goes with the opening, else with likeness."""
        if self._source_gap > 0.004 * self.rig.face_width:
            return min(1.0, self._mean_gap(skin_V3) / self._source_gap)
        away = channels_K[_MOUTH] - self._source_mouth
        return float(np.exp(-float(away @ away) / 0.08))

    def _seal_lips(self, skin_V3: F32, seal: float) -> float:
        """Lips never cross, and meet where `seal` says so; the skin around goes along. Returns the largest gap."""
        rig = self.rig
        upper, lower = rig.lip_upper_L, rig.lip_lower_L
        seal_L = np.full(len(upper), seal, np.float32)
        before = skin_V3[rig.mouth_ring_M]
        skin_V3[upper], skin_V3[lower] = meet(skin_V3[upper], skin_V3[lower], self._down, seal_L)
        skin_V3[self._lips.rows_N] += self._lips.matrix_NH @ (skin_V3[rig.mouth_ring_M] - before)
        return float(gap(skin_V3[upper], skin_V3[lower], self._down).max())

    def _lids_moved(self, skin_V3: F32, blink_2: NDArray[Any], drop_2: NDArray[Any]) -> F32:
        """Close the lids by `blink_2` towards their closing line; `drop_2` px: how far the iris looks down."""
        rig = self.rig
        skin = skin_V3.copy()
        for eye in range(2):
            upper, lower = rig.lid_upper_2L[eye], rig.lid_lower_2L[eye]
            blink = float(blink_2[eye])
            follow = float(np.clip(LID_FOLLOW * drop_2[eye] / self._lid_gap_2[eye], -0.4, 0.55))
            before = skin[self._lids[eye].handles_H]
            u, l = meet(skin[upper], skin[lower], self._down, np.zeros(len(upper), np.float32))
            closing = closing_line(u, l)
            u = closing + (u - closing) * ((1.0 - blink) * (1.0 - follow))
            sag = (LOWER_LID_FOLLOW * float(drop_2[eye]) * (1.0 - blink) / self._lid_gap_2[eye]) * (
                l - closing + (l - u)
            )
            l = closing + (l - closing) * (1.0 - blink) + 0.5 * sag * (abs(follow) > 0)
            u[:, 2] += self._lid_bulge_2L[eye] * (4.0 * blink * (1.0 - blink))
            skin[upper], skin[lower] = u, l
            spread = self._lids[eye]
            skin[spread.rows_N] += spread.matrix_NH @ (skin[spread.handles_H] - before)
        return skin

    def _bulge(self, eye: int) -> F32:
        """px that the middle of the ball stands out over the straight way of the closing lid."""
        rig = self.rig
        u, l = rig.neutral_V3[rig.lid_upper_2L[eye]], rig.neutral_V3[rig.lid_lower_2L[eye]]
        chord = np.linalg.norm(u - l, axis=1) / 2
        radius = max(1.15 * float(rig.eyes.ball_radius_2[eye]), float(chord.max()) * 1.2)
        return np.asarray(radius - np.sqrt(radius**2 - chord**2), np.float32)

    def _inside(self, channels_K: F32, skin_V3: F32) -> tuple[F32, F32]:
        rig, mouth = self.rig, self.rig.mouth
        motion_6 = channels_K @ rig.jaw_K6
        points, normals = _follow_jaw(
            mouth.vertices_P3,
            mouth.normals_P3,
            mouth.jaw_P,
            mouth.tongue_P3,
            channels_K[INDEX["tongueHeight"]],
            rotation(motion_6[:3]),
            np.ascontiguousarray(motion_6[3:]),
            rig.jaw_hinge_3,
        )
        points[self._lining], normals[self._lining] = self._roll_lips(skin_V3)
        return points, normals

    def _roll_lips(self, skin_V3: F32) -> tuple[F32, F32]:
        """Rows of the lips' lining: a half circle from the ring towards the opening and back inside."""
        rig = self.rig
        ring = skin_V3[rig.mouth_ring_M]
        count = len(ring)
        partner = ring[(-np.arange(count)) % count]  # the other lip's vertex of each pair
        across = partner - ring
        across[:, 2] = 0.0
        length = np.linalg.norm(across, axis=1)
        radius = np.minimum(0.16 * length, 0.018 * rig.face_width) * self._lining_share_M
        inward = across / np.maximum(length, 1e-3)[:, None]
        into = -rig.R_source_33[:, 2]
        depth = radius + np.float32(0.012 * rig.face_width)
        side, back = _LINING_SIN[:, None, None], (1.0 - _LINING_COS)[:, None, None]
        rows = ring + side * (radius[:, None] * inward) + back * (depth[:, None] * into)
        normals = side * inward - _LINING_COS[:, None, None] * into
        return rows.reshape(-1, 3), normals.reshape(-1, 3)


_ANGLE = np.linspace(0.0, 0.85 * np.pi, LINING_ROWS)
_LINING_SIN: Final = np.sin(_ANGLE).astype(np.float32)
_LINING_COS: Final = np.cos(_ANGLE).astype(np.float32)
_MOUTH: Final = np.array([INDEX[n] for n in space.ARKIT_NAMES if n.startswith(("mouth", "jaw"))], np.int64)


def lip_seal(motion_D: NDArray[Any]) -> float:
    """0..1: how far the lips are pressed together whatever the other channels say.

    1 when mouthClose >= 0.9 * max(jawOpen, 0.1), when both mouthPress >= 0.8, or when both mouthRoll >= 0.8.
    """
    closed = float(motion_D[_I["mouthClose"]]) / max(float(motion_D[_I["jawOpen"]]), 0.1)
    press = min(float(motion_D[_I["mouthPressLeft"]]), float(motion_D[_I["mouthPressRight"]]))
    roll = min(float(motion_D[_I["mouthRollUpper"]]), float(motion_D[_I["mouthRollLower"]]))
    return max(smoothstep(0.5, 0.9, closed), smoothstep(0.3, 0.8, press), smoothstep(0.4, 0.8, roll))


def limit_channels(channels_K: NDArray[Any]) -> F32:
    """Keep channels that share muscles from adding up to shapes that no face makes. Returns a copy.

    mouthClose counts up to jawOpen (ARKit: it closes the lips over an open jaw); pucker and funnel share one ring
    muscle; a smile or stretch is held back by pucker and funnel.
    """
    out = np.array(channels_K, np.float32)
    out[_I["mouthClose"]] = min(out[_I["mouthClose"]], out[_I["jawOpen"]])
    for first, second, most in _PAIRS_OF_ONE:
        total = float(out[_I[first]] + out[_I[second]])
        if total > most:
            out[[_I[first], _I[second]]] *= most / total
    ring = min(float(out[_I["mouthPucker"]] + out[_I["mouthFunnel"]]), 1.0)
    for name in _SPREADERS:
        out[_I[name]] *= 1.0 - 0.55 * ring
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
    return np.asarray(_move(points, turn, pose.t_3, pivot_3, np.float32(distance), np.float32(size / 2)), np.float32)


@njit(cache=True)  # type: ignore[untyped-decorator]
def _move(points_N3: F32, turn_33: F32, shift_3: F32, pivot_3: F32, distance: float, middle: float) -> F32:
    out = np.empty_like(points_N3)
    px, py = pivot_3[0] - middle, pivot_3[1] - middle
    for i in range(len(points_N3)):
        z = points_N3[i, 2]
        near = np.float32(1.0) - z / distance
        x, y = (points_N3[i, 0] - middle) * near - px, (points_N3[i, 1] - middle) * near - py
        z -= pivot_3[2]
        tx = turn_33[0, 0] * x + turn_33[0, 1] * y + turn_33[0, 2] * z + px + shift_3[0]
        ty = turn_33[1, 0] * x + turn_33[1, 1] * y + turn_33[1, 2] * z + py + shift_3[1]
        tz = turn_33[2, 0] * x + turn_33[2, 1] * y + turn_33[2, 2] * z + pivot_3[2] + shift_3[2]
        near = np.float32(1.0) - tz / distance
        out[i, 0], out[i, 1], out[i, 2] = tx / near + middle, ty / near + middle, tz
    return out


@njit(cache=True)  # type: ignore[untyped-decorator]
def _follow_jaw(
    points_P3: F32, normals_P3: F32, jaw_P: F32, tongue_P3: F32, tip: float, turn_33: F32, shift_3: F32, hinge_3: F32
) -> tuple[F32, F32]:
    """Points and normals after the tongue's own motion and the jaw's rigid one, blended by jaw_P."""
    points, normals = np.empty_like(points_P3), np.empty_like(normals_P3)
    for i in range(len(points_P3)):
        x = points_P3[i, 0] + tip * tongue_P3[i, 0]
        y = points_P3[i, 1] + tip * tongue_P3[i, 1]
        z = points_P3[i, 2] + tip * tongue_P3[i, 2]
        dx, dy, dz = x - hinge_3[0], y - hinge_3[1], z - hinge_3[2]
        for k in range(3):
            moved = turn_33[k, 0] * dx + turn_33[k, 1] * dy + turn_33[k, 2] * dz + hinge_3[k] + shift_3[k]
            own = x if k == 0 else (y if k == 1 else z)
            points[i, k] = own + jaw_P[i] * (moved - own)
            turned = (
                turn_33[k, 0] * normals_P3[i, 0] + turn_33[k, 1] * normals_P3[i, 1] + turn_33[k, 2] * normals_P3[i, 2]
            )
            normals[i, k] = normals_P3[i, k] + jaw_P[i] * (turned - normals_P3[i, k])
    return points, normals


def rotation(vector_3: NDArray[Any]) -> F32:
    """Rotation matrix of a rotation vector (Rodrigues)."""
    angle = float(np.linalg.norm(vector_3))
    if angle < 1e-9:
        return np.eye(3, dtype=np.float32)
    x, y, z = (float(v) / angle for v in vector_3)
    k = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    return (np.eye(3) + np.sin(angle) * k + (1.0 - np.cos(angle)) * (k @ k)).astype(np.float32)


def _unit(vector: NDArray[Any]) -> F32:
    return np.asarray(vector / np.linalg.norm(vector), np.float32)
