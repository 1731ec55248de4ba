"""Many faces at once: `deform.py` for B sessions, each with its own identity, in torch.

The same steps in the same order as `Deformer.deform`, written without branches: a frame has fixed shapes, never waits
for the device and reads and writes the same memory every time, so it can be captured in a CUDA graph or compiled.
`set_slot` swaps an identity by copying into that memory; a captured graph stays valid.

Where the numpy path skips work (lips that are not open, no glasses), the arithmetic here comes to "nothing" by itself.

Shape suffixes: B sessions; V skin vertices, P vertices of the mouth's inside, K = 44 channels, D = 52 motion numbers,
L vertices of a line (lip or lid), M of the mouth ring, E of an eye ring, N rows that a ring carries along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from avatar.motion import space
from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import deform, lids, lips
from avatar.rig.batch_slots import SlotRow, Topology, check_same, slot_row
from avatar.rig.channels import shared_KV3
from avatar.rig.contact import SLIP
from avatar.rig.types import FittedRig

_BLINK: Final = (INDEX["eyeBlinkRight"], INDEX["eyeBlinkLeft"])
_CLOSE, _JAW, _TONGUE = INDEX["mouthClose"], INDEX["jawOpen"], INDEX["tongueHeight"]
_PUCKER, _FUNNEL = INDEX["mouthPucker"], INDEX["mouthFunnel"]
_SPREAD_BACK: Final = 0.55
"""How much pucker and funnel hold a smile or stretch back (deform.limit_channels)."""


@dataclass(frozen=True)
class PoseBatch:
    """Head poses relative to each portrait's own (types.HeadPose)."""

    R_B33: Tensor
    t_B3: Tensor
    scale_B: Tensor


@dataclass(frozen=True)
class DeformedBatch:
    """One frame of B faces; fields as in types.DeformedFace, with the session first. All on the batch's device."""

    skin_BV3: Tensor
    pose: PoseBatch
    gaze_B2: Tensor
    ball_centre_B23: Tensor
    ball_radius_B2: Tensor
    iris_centre_B23: Tensor
    iris_radius_B2: Tensor
    iris_axis_B23: Tensor
    blink_B2: Tensor
    mouth_BP3: Tensor
    mouth_normals_BP3: Tensor
    mouth_gap_B: Tensor
    motion_BD: Tensor
    """The motion after clamping."""
    clamped_B: Tensor
    """int64: how many numbers of each motion had to be clamped."""


class RigBatch:
    """The rigs of B sessions on one device. `build` makes one; `deform` draws no random numbers and keeps no state."""

    def __init__(self, first: SlotRow, count: int, device: torch.device | str, dtype: torch.dtype) -> None:
        self.count: Final = count
        self.device: Final = torch.device(device)
        self.dtype: Final = dtype
        self._first = first
        self._rows_BF = torch.zeros(count, len(first.row_F), device=self.device, dtype=dtype)
        self._slot = {
            name: self._rows_BF[:, start : start + int(np.prod(shape))].view(count, *shape)
            for name, (start, shape) in first.fields.items()
        }
        self._take_topology(first.topology)
        self._basis_KX = self._constant(shared_KV3().reshape(EXPRESSION_DIM, -1))
        self._low_D, self._high_D = self._constant(space.LOW_D), self._constant(space.HIGH_D)
        self._spreaders_K = self._marks(deform._SPREADERS)
        self._ring_K = self._marks([_PUCKER, _FUNNEL])
        self._close_K = self._marks([_CLOSE]) > 0
        self._roll_K = deform.SEAL_ROLL * self._marks(deform._ROLL)
        self._mouth_K = self._index(lips._MOUTH)
        self._blink_2 = self._index(_BLINK)
        self._press_2, self._roll_2 = self._index(lips._PRESS), self._index(lips._ROLL)
        self._flat_3, self._depth_3 = self._constant([1.0, 1.0, 0.0]), self._constant([0.0, 0.0, 1.0])
        self._one = self._constant(1.0)
        self._sin_R11, self._cos_R11 = self._constant(lips._SIN), self._constant(lips._COS)
        self._arc_share_2 = self._constant([lips.UPPER_ARC, 1.0])[:, None, None]
        self._outwards_2 = self._constant([1.0, -1.0])[:, None, None]
        """Towards the other lip, as a factor of `down`."""
        self._euler_339, self._cross_39 = self._constant(_EULER), self._constant(_CROSS)
        self._eye_33 = torch.eye(3, device=self.device, dtype=dtype)

    @classmethod
    def build(
        cls,
        rigs: Sequence[FittedRig | SlotRow],
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
        *,
        slots: int | None = None,
    ) -> RigBatch:
        """A batch with one slot per rig, or with more; slots that are left over hold the first rig.

        Give SlotRow (`batch_slots.slot_row`) for rigs that are prepared elsewhere. ValueError for none, for more rigs
        than slots, or for rigs of different meshes.
        """
        count = len(rigs) if slots is None else slots
        if not 0 < len(rigs) <= count:
            raise ValueError(f"A batch of {count} slots cannot take {len(rigs)} rigs.")
        rows = [rig if isinstance(rig, SlotRow) else slot_row(rig) for rig in rigs]
        batch = cls(rows[0], count, device, dtype)
        for slot in range(count):
            batch.set_slot(slot, rows[slot] if slot < len(rows) else rows[0])
        return batch

    @property
    def slot_bytes(self) -> int:
        """Device memory of one identity."""
        return self._rows_BF.shape[1] * self._rows_BF.element_size()

    @property
    def shared_bytes(self) -> int:
        """Device memory that all slots share."""
        own = [value for value in vars(self).values() if isinstance(value, Tensor) and value is not self._rows_BF]
        return sum(tensor.numel() * tensor.element_size() for tensor in own)

    @property
    def addresses(self) -> tuple[int, ...]:
        """Where every buffer lies; what a captured graph counts on."""
        return tuple(value.data_ptr() for value in vars(self).values() if isinstance(value, Tensor))

    def set_slot(self, slot: int, rig: FittedRig | SlotRow) -> None:
        """Put an identity into a slot, between two frames. ValueError for a rig of another mesh.

        One copy into memory that stays where it is. With a FittedRig the operators are made first (about 50 ms, once
        per rig); give a SlotRow to keep that off the frame path.
        """
        row = rig if isinstance(rig, SlotRow) else slot_row(rig)
        check_same(self._first, row)
        self._rows_BF[slot].copy_(torch.from_numpy(row.row_F))

    def deform(self, motion_BD: Tensor) -> DeformedBatch:
        """Apply a motion vector [B, 52] to each slot; numbers out of range are clamped and counted."""
        slot = self._slot
        clean_BD = torch.nan_to_num(motion_BD.to(self.dtype), nan=0.0, posinf=1e9, neginf=-1e9)
        motion = torch.minimum(torch.maximum(clean_BD, self._low_D), self._high_D)
        clamped_B = (motion != motion_BD).sum(1)
        seal_B1 = self._seal(motion)
        channels = self._limit(motion[:, :EXPRESSION_DIM])
        channels = torch.maximum(channels, self._roll_K * seal_B1)

        offset = (channels @ self._basis_KX).view(self.count, -1, 3)
        skin = torch.baddbmm(slot["neutral_V3"], offset, slot["turn_33"].mT)
        near_lids = (channels[:, None] @ slot["near_lids_KN3"].flatten(2)).view(self.count, -1, 3)
        skin = skin.index_add(1, self._near_lids, near_lids)
        lines_B2L3 = skin.index_select(1, self._lip_lines).view(self.count, 2, -1, 3)
        share_B1 = self._share_of_source(lines_B2L3, channels)
        opened = self._round_opening(lines_B2L3, channels)
        moved_B2L3 = opened - lines_B2L3
        share_B11 = share_B1[:, :, None]
        skin = torch.addcmul(skin, share_B11, slot["residual_V3"])
        residual_B2L3 = slot["residual_V3"].index_select(1, self._lip_lines).view(self.count, 2, -1, 3)
        parted = torch.addcmul(opened, share_B11[..., None], residual_B2L3)
        met = _meet(parted, slot["down_3"][:, None], 1.0 - seal_B1[..., None])
        gap_B = self._gap(met).amax(1).clamp_min(0.0)
        moved_BM3 = (moved_B2L3 + (met - parted)).flatten(1, 2).index_select(1, self._lip_ring)

        pose = self._pose(motion[:, space.HEAD])
        axis_B3 = _gaze_axis(motion[:, space.GAZE])
        in_head_y = (pose.R_B33[:, :, 1] * axis_B3).sum(1, keepdim=True)
        drop_B2 = slot["ball_radius_2"] * (in_head_y - slot["source_axis_3"][:, 1:2])
        blink_B2 = motion.index_select(1, self._blink_2)
        lid_B2E3, lid_carried = self._lids(skin, blink_B2, drop_B2)

        carried = slot["lip_spread_NM"] @ moved_BM3
        skin = skin.index_add(1, self._moved_rows, torch.cat([moved_BM3, carried, lid_B2E3, lid_carried], 1))
        skin = torch.addcmul(skin, slot["rigid_V1"], slot["rest_V3"] - skin)

        inside, normals = self._inside(channels, skin)
        vertices, count = skin.shape[1], inside.shape[1]
        posed = self.move(torch.cat([skin, inside, slot["ball_centre_23"]], 1), pose)
        ball = posed[:, vertices + count :]
        distance = slot["distance_1"]
        near_B2 = (distance - slot["ball_centre_23"][..., 2]) / (distance - ball[..., 2]) * pose.scale_B[:, None]
        radius_B2 = slot["ball_radius_2"] * near_B2
        return DeformedBatch(
            skin_BV3=posed[:, :vertices],
            pose=pose,
            gaze_B2=motion[:, space.GAZE],
            ball_centre_B23=ball,
            ball_radius_B2=radius_B2,
            iris_centre_B23=ball + radius_B2[..., None] * axis_B3[:, None],
            iris_radius_B2=slot["iris_radius_2"] * near_B2,
            iris_axis_B23=axis_B3[:, None].expand(-1, 2, -1),
            blink_B2=blink_B2,
            mouth_BP3=posed[:, vertices : vertices + count],
            mouth_normals_BP3=normals @ pose.R_B33.mT,
            mouth_gap_B=gap_B * pose.scale_B,
            motion_BD=motion,
            clamped_B=clamped_B,
        )

    def move(self, points_BN3: Tensor, pose: PoseBatch) -> Tensor:
        """Carry points in portrait px along with each head; `FittedRig.move` for a batch."""
        slot = self._slot
        distance_B11, middle_B11 = slot["distance_1"][..., None], slot["middle_1"][..., None]
        centre_B13 = middle_B11 * self._flat_3
        pivot_B13 = slot["pivot_3"][:, None]
        # undo the perspective: x and y grow by 1 - z / distance, z stays
        near = 1.0 - points_BN3[..., 2:] * (self._flat_3 / distance_B11)
        points = torch.addcmul(centre_B13 - pivot_B13, points_BN3 - centre_B13, near)
        points = torch.baddbmm(pivot_B13 + pose.t_B3[:, None], points, (pose.R_B33 * pose.scale_B[:, None, None]).mT)
        near = 1.0 - points[..., 2:] * (self._flat_3 / distance_B11)
        return (points - centre_B13) / near + centre_B13

    # channels

    def _seal(self, motion_BD: Tensor) -> Tensor:
        """lips.lip_seal: [B, 1]."""
        closed = motion_BD[:, _CLOSE : _CLOSE + 1] / motion_BD[:, _JAW : _JAW + 1].clamp_min(lips.SEAL_JAW)
        press = motion_BD.index_select(1, self._press_2).amin(1, keepdim=True)
        roll = motion_BD.index_select(1, self._roll_2).amin(1, keepdim=True)
        return torch.maximum(
            torch.maximum(_smoothstep(0.4, 0.9, closed), _smoothstep(0.12, 0.3, press)), _smoothstep(0.4, 0.8, roll)
        )

    def _limit(self, channels_BK: Tensor) -> Tensor:
        """deform.limit_channels."""
        jaw = channels_BK[:, _JAW : _JAW + 1]
        channels = torch.where(self._close_K, torch.minimum(channels_BK, jaw), channels_BK)
        ring = channels_BK[:, _PUCKER : _PUCKER + 1] + channels_BK[:, _FUNNEL : _FUNNEL + 1]
        held = (deform._RING_MOST / ring.clamp_min(deform._RING_MOST)) - 1.0
        return channels * (1.0 + self._ring_K * held) * (1.0 - _SPREAD_BACK * self._spreaders_K * ring.clamp_max(1.0))

    # lips

    def _gap(self, lines_B2L3: Tensor) -> Tensor:
        """contact.gap: [B, L]."""
        return ((lines_B2L3[:, 1] - lines_B2L3[:, 0]) * self._slot["down_3"][:, None]).sum(-1)

    def _share_of_source(self, lines_B2L3: Tensor, channels_BK: Tensor) -> Tensor:
        """Lips.share_of_source: [B, 1]."""
        slot = self._slot
        gap = self._gap(lines_B2L3).clamp_min(0.0).mean(1, keepdim=True)
        opening = (gap / slot["source_gap_1"]).clamp_max(1.0)
        away = channels_BK.index_select(1, self._mouth_K) - slot["source_mouth_K"]
        likeness = torch.exp(-(away * away).sum(1, keepdim=True) / lips.LIKENESS)
        return torch.lerp(likeness, opening, slot["source_open_1"])

    def _round_opening(self, lines_B2L3: Tensor, channels_BK: Tensor) -> Tensor:
        """Lips.round_opening, the lines only. Closed lips are left alone: all terms vanish."""
        slot = self._slot
        opening = self._gap(lines_B2L3)
        most = opening.amax(1, keepdim=True)
        ring = (channels_BK[:, _PUCKER : _PUCKER + 1] + 0.5 * channels_BK[:, _FUNNEL : _FUNNEL + 1]).clamp_max(1.0)
        taper = slot["bow_L"] ** (lips.CORNER_POWER + lips.ROUND_POWER * ring)
        half = 0.5 * (opening - most * taper).clamp_min(0.0)
        lines = lines_B2L3 + self._outwards_2 * half[:, None, :, None] * slot["down_3"][:, None, None]
        arc = _smoothstep(0.0, 1.0, most / (lips.SMOOTH_OPEN * slot["face_width_1"]))
        smooth = slot["arc_LL"][:, None] @ lines - lines
        return lines + smooth * (arc[..., None, None] * self._arc_share_2 * self._flat_3)

    # lids

    def _lids(self, skin_BV3: Tensor, blink_B2: Tensor, drop_B2: Tensor) -> tuple[Tensor, Tensor]:
        """Lids.move: displacement of both eye rings [B, 2 * E, 3] and of the skin around them [B, 2 * N, 3]."""
        slot = self._slot
        lines = skin_BV3.index_select(1, self._lid_lines).view(self.count, 2, 2, -1, 3)
        drop = drop_B2 / slot["lid_gap_2"]
        follow = (lids.UPPER_FOLLOW * drop).clamp(*lids.FOLLOW_RANGE)[..., None, None]
        sag = (lids.LOWER_FOLLOW * drop).clamp(*lids.FOLLOW_RANGE)[..., None, None]
        open_share = 1.0 - blink_B2[..., None, None]
        met = _meet(lines, slot["down_3"][:, None, None], self._one)
        top, bottom = met[:, :, 0], met[:, :, 1]
        height = top - bottom
        closing = bottom + lids.REST * height
        bulge = slot["lid_bulge_2L"][..., None] * (4.0 * open_share * (1.0 - open_share))
        top = closing + (top - closing) * (open_share * (1.0 - follow)) + bulge * self._depth_3
        bottom = closing + (bottom - closing) * open_share - (sag * open_share) * height
        moved = (torch.stack([top, bottom], 2) - lines).flatten(1, 3).index_select(1, self._lid_ring)
        carried = slot["lid_spread_2NE"] @ moved.view(self.count, 2, -1, 3)
        return moved, carried.flatten(1, 2)

    # the mouth's inside

    def _inside(self, channels_BK: Tensor, skin_BV3: Tensor) -> tuple[Tensor, Tensor]:
        """Deformer._inside: points [B, P, 3] px and normals, before the head's pose."""
        slot = self._slot
        jaw_B6 = (channels_BK[:, None] @ slot["jaw_K6"])[:, 0]
        bent_B33 = self._rotation(jaw_B6[:, :3]) - self._eye_33
        tip = channels_BK[:, _TONGUE : _TONGUE + 1, None]
        points = torch.addcmul(slot["inside_P3"], tip, slot["tongue_P3"])
        swung = torch.baddbmm(jaw_B6[:, None, 3:], points - slot["hinge_3"][:, None], bent_B33.mT)
        jaw_BP1 = slot["jaw_P1"] * (1.0 - tip * slot["hold_P1"])
        points = torch.addcmul(points, jaw_BP1, swung)
        own = slot["inside_normals_P3"]
        normals = torch.addcmul(own, jaw_BP1, own @ bent_B33.mT)
        rows, row_normals = self._lining(skin_BV3)
        return points.index_copy(1, self._lining_P, rows), normals.index_copy(1, self._lining_P, row_normals)

    def _lining(self, skin_BV3: Tensor) -> tuple[Tensor, Tensor]:
        """Lips.lining."""
        slot = self._slot
        ring = skin_BV3.index_select(1, self._lining_around)
        across = (skin_BV3.index_select(1, self._lining_across) - ring) * self._flat_3
        length = across.square().sum(-1, keepdim=True).sqrt()
        width_B11 = slot["face_width_1"][..., None]
        radius = torch.minimum(0.16 * length, 0.018 * width_B11) * self._lining_share_C1
        inward = across / length.clamp_min(1e-3)
        into_B113 = slot["into_3"][:, None, None]
        back = (radius + 0.012 * width_B11)[:, None] * into_B113
        rows = ring[:, None] + self._sin_R11 * (radius * inward)[:, None] + (1.0 - self._cos_R11) * back
        normals = self._sin_R11 * inward[:, None] - self._cos_R11 * into_B113
        return rows.flatten(1, 2), normals.flatten(1, 2)

    # head and jaw

    def _pose(self, head_B6: Tensor) -> PoseBatch:
        """deform.head_pose."""
        angles = head_B6[:, :3]
        terms_3B3 = torch.stack([torch.ones_like(angles), angles.cos(), angles.sin()], -1).transpose(0, 1)
        yaw, pitch, roll = (terms_3B3 @ self._euler_339).view(3, self.count, 3, 3).unbind(0)
        shift = head_B6[:, 3:] * self._slot["face_width_1"] * self._flat_3
        return PoseBatch(R_B33=yaw @ pitch @ roll, t_B3=shift, scale_B=head_B6[:, 5].exp())

    def _rotation(self, vector_B3: Tensor) -> Tensor:
        """deform.rotation (Rodrigues), with sin(a) / a and (1 - cos a) / a^2 that need no case for a = 0."""
        angle = (vector_B3.square().sum(1) + 1e-12).sqrt()[:, None, None]
        cross = (vector_B3 @ self._cross_39).view(self.count, 3, 3)
        half = torch.sin(0.5 * angle) / angle
        return self._eye_33 + torch.sin(angle) / angle * cross + 2.0 * half * half * (cross @ cross)

    # what all slots share

    def _take_topology(self, topology: Topology) -> None:
        lip_lines, lid_lines = topology.lip_lines_2L.ravel(), topology.lid_lines_22L.ravel()
        lid_ring = (topology.lid_ring_2E + topology.lid_lines_22L[0].size * np.arange(2)[:, None]).ravel()
        self._lip_lines, self._lip_ring = self._index(lip_lines), self._index(topology.lip_ring_M)
        self._lid_lines, self._lid_ring = self._index(lid_lines), self._index(lid_ring)
        parts = (
            lip_lines[topology.lip_ring_M],
            topology.lip_rows_N,
            lid_lines[lid_ring],
            topology.lid_rows_2N.ravel(),
        )
        self._moved_rows = self._index(np.concatenate(parts))
        self._near_lids = self._index(topology.near_lids_N)
        self._lining_P = self._index(topology.lining_P)
        self._lining_around, self._lining_across = (
            self._index(topology.lining_around_C),
            self._index(topology.lining_across_C),
        )
        self._lining_share_C1 = self._constant(topology.lining_share_C1)

    def _constant(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.float64), dtype=self.dtype, device=self.device)

    def _index(self, values: Any) -> Tensor:
        return torch.as_tensor(np.asarray(values, np.int64), device=self.device)

    def _marks(self, channels: Any) -> Tensor:
        """1 at the given channels, 0 elsewhere: [K]."""
        marks = np.zeros(EXPRESSION_DIM)
        marks[np.asarray(channels)] = 1.0
        return self._constant(marks)


def _meet(lines_L3: Tensor, down_3: Tensor, unsealed: Tensor) -> Tensor:
    """contact.meet for [..., 2, L, 3]; `unsealed` is 1 - seal."""
    upper, lower = lines_L3.unbind(-3)
    apart = lower - upper
    gap = (apart * down_3).sum(-1, keepdim=True)
    opening = gap.clamp_min(0.0) * unsealed
    slip = apart - gap * down_3
    length = slip.square().sum(-1, keepdim=True).sqrt().clamp_min(1e-6)
    slip = slip * torch.minimum(SLIP * opening / length, unsealed) + opening * down_3
    half, middle = 0.5 * slip, 0.5 * (upper + lower)
    return torch.stack([middle - half, middle + half], -3)


def _smoothstep(low: float, high: float, x: Tensor) -> Tensor:
    """contact.smoothstep."""
    t = ((x - low) * (1.0 / (high - low))).clamp(0.0, 1.0)
    return t * t * (3.0 - 2.0 * t)


def _gaze_axis(gaze_B2: Tensor) -> Tensor:
    """eyes.gaze_axis: [B, 3]."""
    sine, cosine = gaze_B2.sin(), gaze_B2.cos()
    return torch.stack([sine[:, 0] * cosine[:, 1], -sine[:, 1], cosine[:, 0] * cosine[:, 1]], 1)


def _euler() -> NDArray[np.float64]:
    """Yaw, pitch and roll matrices as sums: [3 angles, (1, cos, sin), 9] (deform.head_pose)."""
    out = np.zeros((3, 3, 3, 3))
    for angle, (axis, u, v) in enumerate(((1, 2, 0), (0, 1, 2), (2, 0, 1))):
        out[angle, 0, axis, axis] = 1.0
        out[angle, 1, u, u] = out[angle, 1, v, v] = 1.0
        out[angle, 2, u, v], out[angle, 2, v, u] = -1.0, 1.0
    return out.reshape(3, 3, 9)


def _cross() -> NDArray[np.float64]:
    """Vector -> matrix of the cross product with it: [3, 9]."""
    out = np.zeros((3, 3, 3))
    for axis, (u, v) in enumerate(((1, 2), (2, 0), (0, 1))):
        out[axis, u, v], out[axis, v, u] = -1.0, 1.0
    return out.reshape(3, 9)


_EULER: Final = _euler()
_CROSS: Final = _cross()
