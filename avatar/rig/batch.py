"""Many faces at once: `deform.py` for B sessions, each with its own identity, in torch.

The same steps in the same order as `Deformer.deform`, written without branches: a frame has fixed shapes, never waits
for the device and reads and writes the same memory every time, so it can be captured in a CUDA graph or compiled.
`set_slot` swaps an identity by copying into that memory; a captured graph stays valid.

Where the numpy path skips work (lips that are not open, no glasses), the arithmetic here comes to nothing by itself. A
frame is about 200 kernels, most of them tiny: what counts for a small batch is their number, so what depends on the
identity alone is multiplied out beforehand (batch_slots.py).

Shape suffixes: B sessions; V skin vertices, P vertices of the mouth's inside, K = 44 channels, D = 52 motion numbers,
L vertices of a line (lip or lid), M of the mouth ring, E of an eye ring, N rows that a ring carries along.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from avatar.motion import space
from avatar.motion.space import EXPRESSION_DIM, INDEX
from avatar.rig import deform, lids, lips
from avatar.rig.batch_geometry import cross_terms, euler_terms, gaze_axis, meet
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
    """The rigs of B sessions on one device. `build` makes one; nothing is kept from one frame to the next."""

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
        seal_from, seal_to = np.array([[0.4, 0.12, 0.4], [0.9, 0.3, 0.8]])  # lips.lip_seal
        self._seal_pairs = self._index([_CLOSE, _CLOSE, *lips._PRESS, *lips._ROLL])
        self._seal_slope_3 = self._constant(1.0 / (seal_to - seal_from))
        self._seal_start_3 = self._constant(-seal_from / (seal_to - seal_from))
        self._seal_jaw_3, self._seal_rest_3 = self._constant([1.0, 0.0, 0.0]), self._constant([0.0, 1.0, 1.0])
        bite_from, bite_to = np.array([[0.25, 0.2, 0.2], [0.5, 0.45, 0.4]])  # lips.labiodental: lower, upper, jaw
        self._bite_channels = self._index([*lips._ROLL[::-1], _JAW])
        self._bite_slope_3 = self._constant(1.0 / (bite_to - bite_from))
        self._bite_start_3 = self._constant(-bite_from / (bite_to - bite_from))
        self._close_K = self._marks([_CLOSE]) > 0
        self._ring_K, self._spread_K = self._marks([_PUCKER, _FUNNEL]), -_SPREAD_BACK * self._marks(deform._SPREADERS)
        self._brows_K = -deform.BLINK_HOLDS_BROWS * self._marks(deform._BROWS_UP)
        self._roll_K = deform.SEAL_ROLL * self._marks(deform._ROLL)
        self._likeness_K1 = -self._marks(lips._MOUTH)[:, None] / lips.LIKENESS
        self._corner_power = self._constant(lips.CORNER_POWER)
        self._blink_2 = self._index(_BLINK)
        self._flat_3, self._one, self._three = (self._constant(x) for x in ([1.0, 1.0, 0.0], 1.0, 3.0))
        self._apart_2 = self._constant([-0.5, 0.5])[:, None, None]
        self._slip_1 = self._constant(1.0 / SLIP)
        self._lid_follow_2 = self._constant([lids.UPPER_FOLLOW, lids.LOWER_FOLLOW])
        # upper and lower lid, from their middle, as a share of the opening (see `_lids`)
        self._lid_open_2 = self._constant([lids.REST - 1.0, lids.REST])
        self._lid_sag_2 = self._constant([1.0 - lids.REST, 1.0])
        self._lid_closed = self._constant(0.5 - lids.REST)
        self._sin_R11 = self._constant(lips._SIN)
        self._quarter_2 = self._constant([np.pi / 2, 0.0])
        euler = euler_terms()
        self._euler_329, self._euler_319 = self._constant(euler[:, 1:]), self._constant(euler[:, :1])
        self._cross_39, self._half_turns_2 = self._constant(cross_terms()), self._constant([1.0 / np.pi, 0.5 / np.pi])

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
        motion = torch.clamp(clean_BD, self._low_D, self._high_D)
        clamped_B = (motion != motion_BD).sum(1)
        seal_B1 = self._seal(motion)
        channels = torch.maximum(self._limit(motion[:, :EXPRESSION_DIM]), self._roll_K * seal_B1)

        offset = (channels @ self._basis_KX).view(self.count, -1, 3)
        skin = torch.baddbmm(slot["neutral_V3"], offset, slot["turn_33"].mT)
        near_lids = (channels[:, None] @ slot["near_lids_KN3"].flatten(2)).view(self.count, -1, 3)
        skin = skin.index_add_(1, self._near_lids, near_lids)
        share_B11, lip_moved, gap_B = self._lips(skin.index_select(1, self._lip_lines), channels, seal_B1)
        skin = skin.addcmul_(share_B11, slot["residual_V3"])

        terms_B82 = torch.sin(motion[:, EXPRESSION_DIM:, None] + self._quarter_2)  # cosine and sine of all angles
        pose = self._pose(motion[:, space.HEAD], terms_B82[:, :3])
        axis_B3 = gaze_axis(terms_B82[:, 6:])
        blink_B2 = motion.index_select(1, self._blink_2)
        in_head_y = (pose.R_B33[:, :, 1] * axis_B3).sum(1, keepdim=True)
        lid_moved = self._lids(skin.index_select(1, self._lid_lines), blink_B2, in_head_y)

        half = lid_moved.shape[1] // 2
        carried = [
            slot["lip_spread_NM"] @ lip_moved,
            slot["lid_spread_2NE"][:, 0] @ lid_moved[:, :half],
            slot["lid_spread_2NE"][:, 1] @ lid_moved[:, half:],
        ]
        skin = skin.index_add_(1, self._moved_rows, torch.cat([lip_moved, lid_moved, *carried], 1))
        skin = torch.lerp(skin, slot["rest_V3"], slot["rigid_V1"])  # glasses

        inside, normals = self._inside(channels, skin)
        vertices, count = skin.shape[1], inside.shape[1]
        posed = self.move(torch.cat([skin, inside, slot["ball_centre_23"]], 1), pose)
        ball = posed[:, vertices + count :]
        near_B2 = slot["ball_far_2"] / (slot["distance_1"] - ball[..., 2]) * pose.scale_B[:, None]
        radius_B2 = slot["ball_radius_2"] * near_B2
        return DeformedBatch(
            skin_BV3=posed[:, :vertices],
            pose=pose,
            gaze_B2=motion[:, space.GAZE],
            ball_centre_B23=ball,
            ball_radius_B2=radius_B2,
            iris_centre_B23=torch.addcmul(ball, radius_B2[..., None], axis_B3[:, None]),
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
        centre, pivot = slot["centre_3"][:, None], slot["pivot_3"][:, None]
        nearing = slot["nearing_3"][:, None]  # 1 / distance for x and y, 0 for z
        turn_B33 = pose.R_B33 * pose.scale_B[:, None, None]
        # undo the perspective: x and y grow by 1 - z / distance, z stays
        near = torch.addcmul(self._one, points_BN3[..., 2:], nearing, value=-1)
        points = torch.addcmul(slot["from_pivot_3"][:, None], points_BN3 - centre, near)
        points = torch.baddbmm(pivot + pose.t_B3[:, None], points, turn_B33.mT)
        near = torch.addcmul(self._one, points[..., 2:], nearing, value=-1)
        return torch.addcdiv(centre, points - centre, near)

    # channels

    def _seal(self, motion_BD: Tensor) -> Tensor:
        """lips.lip_seal: [B, 1]."""
        pressed = motion_BD.index_select(1, self._seal_pairs).view(self.count, 3, 2).amin(2)
        jaw = torch.addcmul(self._seal_rest_3, motion_BD[:, _JAW : _JAW + 1], self._seal_jaw_3)
        ratio = pressed / jaw.clamp_min_(lips.SEAL_JAW)
        ramp = torch.addcmul(self._seal_start_3, ratio, self._seal_slope_3)
        return self._smooth(ramp).amax(1, keepdim=True)

    def _limit(self, channels_BK: Tensor) -> Tensor:
        """deform.limit_channels."""
        jaw = channels_BK[:, _JAW : _JAW + 1]
        channels = torch.where(self._close_K, torch.minimum(channels_BK, jaw), channels_BK)
        ring = channels_BK[:, _PUCKER : _PUCKER + 1] + channels_BK[:, _FUNNEL : _FUNNEL + 1]
        held = deform._RING_MOST / ring.clamp_min(deform._RING_MOST) - 1.0
        scale = torch.addcmul(self._one, self._ring_K, held).addcmul_(self._spread_K, ring.clamp_max_(1.0))
        blink_B1 = channels_BK.index_select(1, self._blink_2).amax(1, keepdim=True)
        return channels * torch.addcmul(scale, self._brows_K * scale, blink_B1)

    def _labiodental(self, channels_BK: Tensor, unsealed_B1: Tensor) -> Tensor:
        """lips.labiodental: [B, 1]."""
        roll = channels_BK.index_select(1, self._bite_channels)
        rolled = self._smooth(torch.addcmul(self._bite_start_3, roll, self._bite_slope_3))
        return rolled[:, :1] * (1.0 - rolled[:, 1:]).prod(1, keepdim=True) * unsealed_B1

    def _smooth(self, ramp: Tensor) -> Tensor:
        """contact.smoothstep of a ramp that is 0 at its low end, 1 at its high end."""
        t = ramp.clamp(0.0, 1.0)
        return t.square() * torch.sub(self._three, t, alpha=2)

    # lips and lids

    def _lips(self, lines_BX3: Tensor, channels_BK: Tensor, seal_B1: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lips.share_of_source, round_opening and touch, for the lines alone.

        lines_BX3: upper and lower line after the linear channels. Returns the share [B, 1, 1], what the mouth ring
        moves beyond channels and residual [B, M, 3], and the opening left [B]. Closed lips are left alone: all terms
        vanish.
        """
        slot = self._slot
        upper, lower = lines_BX3.view(self.count, 2, -1, 3).unbind(1)
        opening = ((lower - upper) * slot["down_3"][:, None]).sum(-1)
        most = opening.amax(1, keepdim=True)
        share = (opening.clamp_min(0.0).mean(1, keepdim=True) * slot["source_gap_per_1"]).clamp_max_(1.0)
        likeness = ((channels_BK - slot["source_mouth_K"]).square() @ self._likeness_K1).exp_()
        share_B11 = torch.lerp(likeness, share, slot["source_open_1"])[..., None]

        pucker, funnel = channels_BK[:, _PUCKER : _PUCKER + 1], channels_BK[:, _FUNNEL : _FUNNEL + 1]
        power = torch.add(pucker, funnel, alpha=0.5).clamp_max_(1.0)
        taper = slot["bow_L"] ** torch.add(self._corner_power, power, alpha=lips.ROUND_POWER)
        half = torch.addcmul(opening, taper, most, value=-1).clamp_min_(0.0)
        lines = lines_BX3.view(self.count, 2, -1, 3)
        lines = torch.addcmul(lines, half[:, None, :, None], slot["opens_23"][:, :, None]).flatten(1, 2)
        arc_B3 = self._smooth(most * slot["arc_per_px_1"]) * self._flat_3
        lines = torch.addcmul(lines, slot["arc_XX"] @ lines, arc_B3[:, None])

        residual = slot["residual_lines_X3"]
        unsealed = (1.0 - seal_B1)[..., None]
        parted = torch.addcmul(lines, share_B11, residual)
        way_BX = slot["bite_X"] - (parted * slot["down_3"][:, None]).sum(-1)
        way_BX = way_BX * slot["bite_share_X"] * self._labiodental(channels_BK, unsealed[..., 0])
        parted = torch.addcmul(parted, way_BX[..., None], slot["down_3"][:, None]).view(self.count, 2, -1, 3)
        middle, slip, opening = meet(parted, slot["down_3"][:, None], self._slip_1, unsealed)
        met = torch.addcmul(middle, self._apart_2, slip)
        moved = met.flatten(1, 2) - torch.addcmul(lines_BX3, share_B11, residual)
        return share_B11, moved.index_select(1, self._lip_ring), opening.amax((1, 2))

    def _lids(self, lines_BX3: Tensor, blink_B2: Tensor, in_head_y_B1: Tensor) -> Tensor:
        """Lids.move: what both eye rings move, [B, 2 * E, 3].

        With o the opening (lower - upper) and m its middle, the closing line is m + (0.5 - REST) o, and both lids lie
        at m + share * o.
        """
        slot = self._slot
        lines = lines_BX3.view(self.count, 2, 2, -1, 3)
        drop_B2 = (in_head_y_B1 - slot["source_axis_3"][:, 1:2]) * slot["lid_travel_2"]
        follow_B22 = (drop_B2[..., None] * self._lid_follow_2).clamp_(*lids.FOLLOW_RANGE)
        open_B2 = 1.0 - blink_B2
        share_B22 = torch.addcmul(self._lid_open_2, follow_B22, self._lid_sag_2)
        share_B22 = torch.addcmul(self._lid_closed, share_B22, open_B2[..., None])
        middle, slip, _ = meet(lines, slot["down_3"][:, None, None], self._slip_1, None)
        moved = torch.addcmul(middle - lines, share_B22[..., None, None], slip)
        moved = moved.addcmul_((open_B2 * blink_B2)[..., None, None, None], slot["lid_bulge_22L3"])
        return moved.flatten(1, 3).index_select(1, self._lid_ring)

    # the mouth's inside

    def _inside(self, channels_BK: Tensor, skin_BV3: Tensor) -> tuple[Tensor, Tensor]:
        """Deformer._inside: points [B, P, 3] px and normals, before the head's pose."""
        slot = self._slot
        jaw_B6 = (channels_BK[:, None] @ slot["jaw_K6"])[:, 0]
        bent_B33 = self._bend(jaw_B6[:, :3]).mT
        tip = channels_BK[:, _TONGUE : _TONGUE + 1, None]
        jaw_BP1 = torch.addcmul(slot["jaw_P1"], tip, slot["jaw_held_P1"], value=-1)
        own = torch.addcmul(slot["inside_P3"], tip, slot["tongue_P3"])  # from the jaw's hinge
        swung = torch.baddbmm(jaw_B6[:, None, 3:], own, bent_B33)
        points = torch.addcmul(own + slot["hinge_3"][:, None], jaw_BP1, swung)
        straight = slot["inside_normals_P3"]
        normals = torch.addcmul(straight, jaw_BP1, straight @ bent_B33)
        rows, row_normals = self._lining(skin_BV3)
        return points.index_copy_(1, self._lining_P, rows), normals.index_copy_(1, self._lining_P, row_normals)

    def _lining(self, skin_BV3: Tensor) -> tuple[Tensor, Tensor]:
        """Lips.lining."""
        slot = self._slot
        ring, other = skin_BV3.index_select(1, self._lining_pairs).view(self.count, 2, -1, 3).unbind(1)
        across = (other - ring) * self._flat_3
        length = torch.linalg.vector_norm(across, dim=-1, keepdim=True)
        radius = torch.minimum(0.16 * length, slot["lining_most_1"][..., None]) * self._lining_share_C1
        inward = across / length.clamp_min_(1e-3)
        back = (radius + slot["lining_back_1"][..., None])[:, None]
        rows = torch.addcmul(ring[:, None], self._sin_R11, (radius * inward)[:, None])
        rows = rows.addcmul_(back, slot["lining_into_R13"])
        normals = torch.addcmul(slot["lining_normal_R13"], self._sin_R11, inward[:, None])
        return rows.flatten(1, 2), normals.flatten(1, 2)

    # head and jaw

    def _pose(self, head_B6: Tensor, terms_B32: Tensor) -> PoseBatch:
        """deform.head_pose; terms: cosine and sine of yaw, pitch and roll."""
        turns = torch.baddbmm(self._euler_319, terms_B32.transpose(0, 1), self._euler_329)
        yaw, pitch, roll = turns.view(3, self.count, 3, 3).unbind(0)
        shift = head_B6[:, 3:] * self._slot["shift_3"]
        return PoseBatch(R_B33=yaw @ pitch @ roll, t_B3=shift, scale_B=head_B6[:, 5].exp())

    def _bend(self, vector_B3: Tensor) -> Tensor:
        """deform.rotation minus one (Rodrigues): sin a / a * K + (1 - cos a) / a^2 * K K, by sinc that knows a = 0."""
        angle = torch.linalg.vector_norm(vector_B3, dim=1, keepdim=True)
        whole, half = torch.sinc(angle * self._half_turns_2)[..., None, None].unbind(1)
        cross = (vector_B3 @ self._cross_39).view(self.count, 3, 3)
        return torch.addcmul(whole * cross, half.square(), cross @ cross, value=0.5)

    # what all slots share

    def _take_topology(self, topology: Topology) -> None:
        lip_lines, lid_lines = topology.lip_lines_2L.ravel(), topology.lid_lines_22L.ravel()
        lid_ring = (topology.lid_ring_2E + topology.lid_lines_22L[0].size * np.arange(2)[:, None]).ravel()
        self._lip_lines, self._lip_ring = self._index(lip_lines), self._index(topology.lip_ring_M)
        self._lid_lines, self._lid_ring = self._index(lid_lines), self._index(lid_ring)
        moved = (lip_lines[topology.lip_ring_M], lid_lines[lid_ring], topology.lip_rows_N, topology.lid_rows_2N.ravel())
        self._moved_rows = self._index(np.concatenate(moved))
        self._near_lids = self._index(topology.near_lids_N)
        self._lining_P = self._index(topology.lining_P)
        self._lining_pairs = self._index(np.concatenate([topology.lining_around_C, topology.lining_across_C]))
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
